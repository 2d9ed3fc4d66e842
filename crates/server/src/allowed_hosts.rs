//! The names by which clients may ask for this server.

use std::net::IpAddr;
use std::str::FromStr;

/// A name that `Host` may have, or `*` for any.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AllowedHost(String);

/// The names that `Host` may have, besides those of loopback.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AllowedHosts {
    /// These names.
    pub named: Vec<AllowedHost>,
    /// And every IP address: unlike a name, an address cannot be pointed at this server by someone
    /// else.
    pub any_address: bool,
}

impl FromStr for AllowedHost {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let name = text.trim().to_ascii_lowercase();
        let name = name.trim_end_matches('.');
        let is_address = name.parse::<IpAddr>().is_ok();
        let is_name = !name.is_empty()
            && name
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte));
        if name == "*" || is_name || is_address {
            Ok(Self(name.to_owned()))
        } else {
            Err(format!(
                "`{text}` is not a host name; write one such as flowmill.internal, without a port, or * for any"
            ))
        }
    }
}

impl AllowedHost {
    pub(crate) fn is(&self, host: &str) -> bool {
        self.0 == "*" || self.0 == host
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_allowed_host_is_a_name_or_an_address_without_a_port() {
        for text in ["flowmill.internal", "Box", "10.0.0.1", "::1", "*"] {
            assert!(text.parse::<AllowedHost>().is_ok(), "{text}");
        }
        for text in ["", "a:80", "https://a", "*.a", "a b"] {
            assert!(text.parse::<AllowedHost>().is_err(), "{text}");
        }
    }
}
