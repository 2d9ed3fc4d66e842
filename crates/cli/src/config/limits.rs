//! The part of `[serve]` about how much callers may use, and how their addresses are known.

use std::net::IpAddr;
use std::num::NonZeroU32;

use ipnet::IpNet;
use service::limits::Limits;

use super::addresses::Networks;
use super::serve::options::Options;
use super::units::Dollars;
use crate::failure::{Failure, Result};

/// Requests a minute without a good key, from one address: enough for people who open pages, too little to be
/// a burden.
const FROM_STRANGERS: NonZeroU32 = NonZeroU32::new(300).expect("it is not 0");

/// Decided.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Settings {
    /// Of keys that have no limits of their own.
    pub keys: Limits,
    /// Requests a minute without a good key, from one address; 0: any number. `None`: as it is reached.
    pub per_address: Option<u32>,
    /// Proxies that say truly whom they ask for.
    pub trusted_proxies: Vec<IpNet>,
}

impl Settings {
    /// Takes what is unset from the file.
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

    /// What counts at that address. Where keys keep others out but everyone may knock, knocking is limited; an
    /// open server on loopback has one user, and one with --insecure another guard.
    pub(crate) fn per_address(&self, host: IpAddr, has_keys: bool) -> Option<NonZeroU32> {
        match self.per_address {
            Some(most) => NonZeroU32::new(most),
            None => (has_keys && !host.is_loopback()).then_some(FROM_STRANGERS),
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
        assert_eq!(unset.per_address(everywhere, true), Some(FROM_STRANGERS));
        assert_eq!(unset.per_address(everywhere, false), None);
        assert_eq!(unset.per_address(loopback, true), None);
        assert_eq!(settings(Some(0)).per_address(everywhere, true), None);
        assert_eq!(
            settings(Some(5)).per_address(loopback, false),
            NonZeroU32::new(5)
        );
    }
}
