//! Which addresses may be reached besides the public internet, and which texts are URLs at all.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use ipnet::IpNet;
use reqwest::Url;

use crate::address::{is_metadata, is_public};

/// The longest URL that is accepted, in bytes.
const MAX_URL: usize = 2_048;

/// One rule of what is allowed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rule {
    /// `10.1.0.0/16`, or a single address.
    Net(IpNet),
    /// A host by its name, whatever address it resolves to.
    Host(String),
    /// `*.example.internal`: every subdomain of that name.
    Subdomains(String),
}

impl FromStr for Rule {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if let Ok(net) = text.parse::<IpNet>() {
            return Ok(Self::Net(net.trunc()));
        }
        let bare = text
            .strip_prefix('[')
            .and_then(|text| text.strip_suffix(']'))
            .unwrap_or(text);
        if let Ok(address) = bare.parse::<IpAddr>() {
            return Ok(Self::Net(address.into()));
        }
        let (name, rule): (&str, fn(String) -> Self) = match text.strip_prefix("*.") {
            Some(name) => (name, Self::Subdomains),
            None => (text, Self::Host),
        };
        // As the host of a URL: in lower case, and in ASCII.
        let parsed = Url::parse(&format!("http://{name}/")).ok();
        let host = parsed.as_ref().and_then(Url::domain).filter(|_| {
            name.chars()
                .all(|c| c.is_alphanumeric() || matches!(c, '-' | '_' | '.'))
        });
        host.map(|host| rule(host.to_owned())).ok_or_else(|| {
            format!(
                "`{text}` is not a host, address or network; write one such as hooks.internal, \
                 *.internal, 10.0.0.7 or 10.0.0.0/8"
            )
        })
    }
}

/// Which addresses may be reached: by default the public internet, and whatever the rules allow.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Policy {
    base: Base,
    rules: Vec<Rule>,
}

/// The addresses that need no rule.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Base {
    /// For URLs from callers, inputs and models.
    #[default]
    Public,
    /// For URLs from files that the operator has chosen.
    AllButMetadata,
}

/// Why a URL is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UrlRefusal {
    /// Too long, or not an absolute URL.
    NotAUrl,
    /// A scheme other than `http` and `https`.
    Scheme,
    /// It leads to an address that is not public and not allowed.
    NotAllowed,
}

impl fmt::Display for UrlRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotAUrl => "it is not an absolute URL of at most 2,048 bytes",
            Self::Scheme => "its scheme must be https or http",
            Self::NotAllowed => {
                "it leads to a private, local or reserved address, which this server does not allow"
            }
        })
    }
}

impl Policy {
    /// Allows the public internet, and whatever one of the rules allows.
    pub fn new(rules: impl IntoIterator<Item = Rule>) -> Self {
        Self {
            base: Base::Public,
            rules: rules.into_iter().collect(),
        }
    }

    /// A policy for URLs in files that the operator has chosen, such as a workflow's `api_base`.
    /// They may name private servers, but not the addresses at which clouds serve credentials.
    pub fn for_authors() -> Self {
        Self {
            base: Base::AllButMetadata,
            rules: Vec::new(),
        }
    }

    /// Parses a URL, and refuses one whose address is not allowed. A name is checked when the
    /// client resolves it.
    pub fn read(&self, text: &str) -> Result<Url, UrlRefusal> {
        if text.len() > MAX_URL {
            return Err(UrlRefusal::NotAUrl);
        }
        let url = Url::parse(text).map_err(|_| UrlRefusal::NotAUrl)?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(UrlRefusal::Scheme);
        }
        let host = url.host_str().ok_or(UrlRefusal::NotAUrl)?;
        let allowed = match literal(&url) {
            Some(address) => self.allows(host, address),
            None if is_this_machine(host) => [
                [127, 0, 0, 1].into(),
                IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1]),
            ]
            .into_iter()
            .any(|address| self.allows(host, address)),
            None => true,
        };
        allowed.then_some(url).ok_or(UrlRefusal::NotAllowed)
    }

    /// Whether a connection to that address is allowed, where `host` resolved to it.
    pub fn allows(&self, host: &str, address: IpAddr) -> bool {
        let needs_no_rule = match self.base {
            Base::Public => is_public(address),
            Base::AllButMetadata => !is_metadata(address),
        };
        needs_no_rule || self.rules.iter().any(|rule| rule.allows(host, address))
    }
}

/// The form in which a rule is written.
impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Net(net) => write!(f, "{net}"),
            Self::Host(name) => f.write_str(name),
            Self::Subdomains(name) => write!(f, "*.{name}"),
        }
    }
}

impl Rule {
    fn allows(&self, host: &str, address: IpAddr) -> bool {
        let host = host.strip_suffix('.').unwrap_or(host);
        match self {
            Self::Net(net) => net.contains(&address) || net.contains(&address.to_canonical()),
            Self::Host(name) => host.eq_ignore_ascii_case(name),
            Self::Subdomains(name) => host
                .to_ascii_lowercase()
                .strip_suffix(name)
                .and_then(|rest| rest.strip_suffix('.'))
                .is_some_and(|rest| !rest.is_empty()),
        }
    }
}

/// The IP address in a URL without a name. It is never resolved.
pub(crate) fn literal(url: &Url) -> Option<IpAddr> {
    if url.domain().is_some() {
        return None;
    }
    let host = url.host_str()?;
    host.trim_matches(['[', ']']).parse().ok()
}

/// Whether a name means this machine, whoever resolves it.
fn is_this_machine(host: &str) -> bool {
    let host = host.strip_suffix('.').unwrap_or(host);
    host == "localhost" || host.ends_with(".localhost")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(rules: &str) -> Policy {
        Policy::new(
            rules
                .split_whitespace()
                .map(|rule| rule.parse().expect(rule)),
        )
    }

    #[track_caller]
    fn check(rules: &str, url: &str, expected: Result<(), UrlRefusal>) {
        let read = policy(rules).read(url).map(|_| ());
        assert_eq!(read, expected, "{url} with `{rules}`");
    }

    #[test]
    fn only_absolute_web_addresses_are_read() {
        check("", "https://example.com/hook?a=b", Ok(()));
        check("", "http://example.com:8080", Ok(()));
        check("", "https://user:pass@example.com/", Ok(()));
        check("", "example.com/hook", Err(UrlRefusal::NotAUrl));
        check("", "/hook", Err(UrlRefusal::NotAUrl));
        check("", "", Err(UrlRefusal::NotAUrl));
        check("", "https://", Err(UrlRefusal::NotAUrl));
        check("", "https://exa mple.com/", Err(UrlRefusal::NotAUrl));
        check("", "ftp://example.com/", Err(UrlRefusal::Scheme));
        check("", "file:///etc/passwd", Err(UrlRefusal::Scheme));
        check("", "javascript:alert(1)", Err(UrlRefusal::Scheme));
        let long = format!("https://example.com/{}", "x".repeat(MAX_URL));
        check("", &long, Err(UrlRefusal::NotAUrl));
    }

    #[test]
    fn addresses_that_are_not_public_are_refused_however_they_are_written() {
        for host in [
            "127.0.0.1",
            "127.1",
            "2130706433",
            "0x7f000001",
            "0177.0.0.1",
            "10.0.0.1:8080",
            "169.254.169.254",
            "[::1]",
            "[::ffff:127.0.0.1]",
            "[::ffff:a9fe:a9fe]",
            "[fd00:ec2::254]",
            "0",
            "localhost",
            "LOCALHOST.",
            "a.localhost",
            "user@127.0.0.1",
            "example.com@127.0.0.1",
            "127.0.0.1.",
            "\u{ff11}\u{ff12}\u{ff17}.0.0.1",
        ] {
            check("", &format!("http://{host}/"), Err(UrlRefusal::NotAllowed));
        }
        check("", "http://8.8.8.8/", Ok(()));
        check("", "http://127.0.0.1.example.com/", Ok(()));
    }

    #[test]
    fn a_rule_allows_what_it_names_and_no_more() {
        check("127.0.0.1", "http://127.0.0.1:9000/", Ok(()));
        check("127.0.0.1", "http://[::ffff:127.0.0.1]/", Ok(()));
        check("127.0.0.1", "http://localhost/", Ok(()));
        check(
            "127.0.0.1",
            "http://127.0.0.2/",
            Err(UrlRefusal::NotAllowed),
        );
        check("[::1]", "http://localhost/", Ok(()));
        check("::1", "http://[::1]/", Ok(()));
        check("10.1.2.3/8", "http://10.9.9.9/", Ok(()));
        check("10.0.0.0/8", "http://11.0.0.1/", Ok(()));
        check(
            "10.0.0.0/8",
            "http://192.168.0.1/",
            Err(UrlRefusal::NotAllowed),
        );
        check("localhost", "http://localhost/", Ok(()));
        check(
            "localhost",
            "http://127.0.0.1/",
            Err(UrlRefusal::NotAllowed),
        );
        check("0.0.0.0/0 ::/0", "http://[fe80::1]/", Ok(()));
    }

    #[test]
    fn an_author_may_name_any_server_but_those_with_credentials() {
        let read = |url: &str| Policy::for_authors().read(url).map(|_| ());
        for url in [
            "http://localhost:11434",
            "http://127.0.0.1/v1",
            "http://10.0.0.7:8080/v1",
            "http://[fd00::7]/v1",
            "https://api.openai.com/v1",
        ] {
            assert_eq!(read(url), Ok(()), "{url}");
        }
        for url in [
            "http://169.254.169.254/latest/meta-data",
            "http://0xa9fea9fe/",
            "http://[::ffff:169.254.169.254]/",
            "http://[fd00:ec2::254]/",
            "http://[fe80::1]/",
        ] {
            assert_eq!(read(url), Err(UrlRefusal::NotAllowed), "{url}");
        }
    }

    #[test]
    fn a_rule_is_shown_as_it_is_written() {
        for text in ["10.0.0.0/8", "::1/128", "hooks.internal", "*.internal"] {
            assert_eq!(text.parse::<Rule>().expect(text).to_string(), text);
        }
    }

    #[test]
    fn a_name_is_allowed_wherever_it_leads() {
        let private = IpAddr::from([10, 0, 0, 1]);
        let check = |rules: &str, host: &str, expected| {
            assert_eq!(
                policy(rules).allows(host, private),
                expected,
                "{rules} {host}"
            );
        };
        check("hooks.internal", "hooks.internal", true);
        check("hooks.internal", "HOOKS.internal.", true);
        check("hooks.internal", "a.hooks.internal", false);
        check("hooks.internal", "internal", false);
        check("*.internal", "hooks.internal", true);
        check("*.internal", "a.hooks.internal", true);
        check("*.internal", "internal", false);
        check("*.internal", "hooksinternal", false);
        check("*.internal", ".internal", false);
        check("10.0.0.1", "any.example", true);
        check("", "any.example", false);
    }

    #[test]
    fn what_is_no_rule_says_what_one_looks_like() {
        for text in [
            "",
            "*",
            "*.",
            "a b",
            "http://x",
            "10.0.0.0/40",
            "x/8",
            "x:80",
            "a,b",
        ] {
            let refused = text.parse::<Rule>().expect_err(text);
            assert!(refused.contains("10.0.0.0/8"), "{refused}");
        }
    }
}
