//! The part of `[serve]` that limits callers and says how their addresses are determined.

use std::net::IpAddr;
use std::num::NonZeroU32;

use ipnet::IpNet;
use service::limits::Limits;

use super::addresses::Networks;
use super::serve::options::Options;
use super::units::Dollars;
use crate::failure::{Failure, Result};

/// Requests per minute without a valid key allowed per client address: enough for people who open
/// pages, too few to be a burden.
const WITHOUT_KEY_PER_MINUTE: NonZeroU32 = NonZeroU32::new(300).expect("it is not 0");

/// The limits in effect.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Settings {
    /// Limits of keys that have none of their own.
    pub keys: Limits,
    /// Requests per minute without a valid key allowed per client address; 0 for no limit. `None`:
    /// the default depends on the server's address and keys.
    pub per_address: Option<u32>,
    /// Networks of proxies whose forwarding headers are trusted.
    pub trusted_proxies: Vec<IpNet>,
}

impl Settings {
    /// Fills unset options from the settings file.
    pub(crate) fn settle(options: &Options, file: &Options) -> Result<Self> {
        let keys = Limits {
            requests_per_minute: options
                .key_requests_per_minute
                .or(file.key_requests_per_minute),
            max_running: options.key_max_running.or(file.key_max_running),
            max_queued: options.key_max_queued.or(file.key_max_queued),
            tokens_per_day: options.key_tokens_per_day.or(file.key_tokens_per_day),
            cost_per_day_usd: options
                .key_cost_per_day
                .or(file.key_cost_per_day)
                .map(|Dollars(amount)| amount),
        };
        keys.check()
            .map_err(|reason| Failure::usage(reason.to_owned()))?;
        let trusted = options
            .trusted_proxy
            .as_ref()
            .or(file.trusted_proxy.as_ref());
        Ok(Self {
            keys,
            per_address: options
                .address_requests_per_minute
                .or(file.address_requests_per_minute),
            trusted_proxies: trusted.map(|Networks(all)| all.clone()).unwrap_or_default(),
        })
    }

    /// The limit per client address of a server that listens on `host`. By default only a server
    /// with keys that others can reach has one: an open server on loopback has one user, and one
    /// with `--insecure` is guarded by something else.
    pub(crate) fn per_address(&self, host: IpAddr, has_keys: bool) -> Option<NonZeroU32> {
        match self.per_address {
            Some(most) => NonZeroU32::new(most),
            None => (has_keys && !host.is_loopback()).then_some(WITHOUT_KEY_PER_MINUTE),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strangers_are_limited_where_keys_keep_them_out() {
        let settings = |per_address| Settings {
            keys: Limits::default(),
            per_address,
            trusted_proxies: Vec::new(),
        };
        let (loopback, everywhere) = (
            "127.0.0.1".parse().expect("one"),
            "0.0.0.0".parse().expect("one"),
        );
        let unset = settings(None);
        assert_eq!(
            unset.per_address(everywhere, true),
            Some(WITHOUT_KEY_PER_MINUTE)
        );
        assert_eq!(unset.per_address(everywhere, false), None);
        assert_eq!(unset.per_address(loopback, true), None);
        assert_eq!(settings(Some(0)).per_address(everywhere, true), None);
        assert_eq!(
            settings(Some(5)).per_address(loopback, false),
            NonZeroU32::new(5)
        );
    }
}
