//! The part of `[serve]` about how much callers may use, and how their addresses are known.

use std::fmt;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::str::FromStr;

use ipnet::IpNet;
use serde::{Deserialize, Deserializer, de};
use service::limits::Limits;

use super::serve::Options;
use crate::report::{Failure, Result};

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

/// Above 0.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(transparent)]
pub(crate) struct Dollars(pub f64);

impl FromStr for Dollars {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        text.trim()
            .trim_start_matches('$')
            .parse()
            .ok()
            .filter(|amount: &f64| amount.is_finite() && *amount > 0.0)
            .map(Self)
            .ok_or_else(|| format!("`{text}` is no amount above 0; write US dollars such as 2.50"))
    }
}

/// Networks and addresses, with commas or blanks between.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Networks(pub Vec<IpNet>);

impl FromStr for Networks {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        text.split(|character: char| character.is_whitespace() || character == ',')
            .filter(|part| !part.is_empty())
            .map(|part| {
                let address = || part.parse::<IpAddr>().map(IpNet::from);
                part.parse().or_else(|_| address()).map_err(|_| {
                    format!("`{part}` is no network; write such as 10.0.0.0/8 or 192.0.2.7")
                })
            })
            .collect::<Result<_, _>>()
            .map(Self)
    }
}

impl<'de> Deserialize<'de> for Networks {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(de::Error::custom)
    }
}

impl fmt::Display for Dollars {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_are_read() {
        let check = |text: &str, expected: Option<usize>| {
            let read = text.parse::<Networks>().ok();
            assert_eq!(read.map(|Networks(all)| all.len()), expected, "{text}");
        };
        check("10.0.0.0/8, 192.0.2.7 fd00::/8", Some(3));
        check("", Some(0));
        check("proxy.internal", None);
        check("10.0.0.0/33", None);
    }

    #[test]
    fn amounts_are_above_zero() {
        for text in ["2.50", "$2.5", " 2.5"] {
            assert_eq!(text.parse(), Ok(Dollars(2.5)), "{text}");
        }
        for text in ["0", "-1", "NaN", "inf", "much", ""] {
            assert!(text.parse::<Dollars>().is_err(), "{text}");
        }
    }

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
