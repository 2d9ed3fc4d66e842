//! Named text formats, as JSON Schema defines them (RFC 3339, 5321, 3986, 9562, 2673, 4291).

use std::net::{Ipv4Addr, Ipv6Addr};

use crate::field::Format;

impl Format {
    /// Every format, under the name a file gives it.
    pub const ALL: [Self; 8] = [
        Self::Date,
        Self::DateTime,
        Self::Time,
        Self::Email,
        Self::Uri,
        Self::Uuid,
        Self::Ipv4,
        Self::Ipv6,
    ];

    /// The name in files and JSON Schemas.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Date => "date",
            Self::DateTime => "date-time",
            Self::Time => "time",
            Self::Email => "email",
            Self::Uri => "uri",
            Self::Uuid => "uuid",
            Self::Ipv4 => "ipv4",
            Self::Ipv6 => "ipv6",
        }
    }

    /// The format of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|format| format.as_str() == name)
    }

    /// The name of the format in "Input should be a valid …".
    pub(super) fn noun(self) -> &'static str {
        match self {
            Self::Date => "date",
            Self::DateTime => "date-time, such as 2024-01-31T12:00:00Z",
            Self::Time => "time, such as 12:00:00Z",
            Self::Email => "email address",
            Self::Uri => "URI",
            Self::Uuid => "UUID",
            Self::Ipv4 => "IPv4 address",
            Self::Ipv6 => "IPv6 address",
        }
    }

    pub(super) fn fits(self, text: &str) -> bool {
        match self {
            Self::Date => is_date(text),
            Self::DateTime => {
                text.is_char_boundary(10) && text.len() > 11 && {
                    let (date, time) = text.split_at(10);
                    is_date(date) && time.strip_prefix(['T', 't', ' ']).is_some_and(is_time)
                }
            }
            Self::Time => is_time(text),
            Self::Email => is_email(text),
            Self::Uri => is_uri(text),
            Self::Uuid => matches_shape(text, "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx"),
            Self::Ipv4 => text.parse::<Ipv4Addr>().is_ok(),
            Self::Ipv6 => text.parse::<Ipv6Addr>().is_ok(),
        }
    }
}

/// `d` stands for a digit, `x` for a hexadecimal one, anything else for itself.
fn matches_shape(text: &str, shape: &str) -> bool {
    text.len() == shape.len()
        && text
            .bytes()
            .zip(shape.bytes())
            .all(|(byte, shape)| match shape {
                b'd' => byte.is_ascii_digit(),
                b'x' => byte.is_ascii_hexdigit(),
                other => byte == other,
            })
}

fn is_date(text: &str) -> bool {
    matches_shape(text, "dddd-dd-dd") && text.parse::<jiff::civil::Date>().is_ok()
}

/// `hh:mm:ss`, an optional fraction, and a zone: `Z` or `±hh:mm`.
fn is_time(text: &str) -> bool {
    let Some((clock, rest)) = text.split_at_checked(8) else {
        return false;
    };
    let number = |part: &str| part.parse::<u8>().unwrap_or(u8::MAX);
    // A second of 60 is a leap second.
    if !matches_shape(clock, "dd:dd:dd")
        || number(&clock[..2]) > 23
        || number(&clock[3..5]) > 59
        || number(&clock[6..]) > 60
    {
        return false;
    }
    let zone = match rest.strip_prefix('.') {
        Some(fraction) => {
            let zone = fraction.trim_start_matches(|digit: char| digit.is_ascii_digit());
            if zone.len() == fraction.len() {
                return false;
            }
            zone
        }
        None => rest,
    };
    match zone.strip_prefix(['+', '-']) {
        Some(offset) => {
            matches_shape(offset, "dd:dd")
                && number(&offset[..2]) <= 23
                && number(&offset[3..]) <= 59
        }
        None => matches!(zone, "Z" | "z"),
    }
}

/// One `@` between a local part without spaces and a host name; quoted local parts are not
/// accepted.
fn is_email(text: &str) -> bool {
    let Some((local, host)) = text.rsplit_once('@') else {
        return false;
    };
    let in_local =
        |letter: char| letter.is_alphanumeric() || "!#$%&'*+-/=?^_`{|}~.".contains(letter);
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label
                .chars()
                .all(|letter| letter.is_alphanumeric() || letter == '-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    (1..=64).contains(&local.len())
        && local.chars().all(in_local)
        && !local.starts_with('.')
        && !local.ends_with('.')
        && !local.contains("..")
        && host.len() <= 253
        && host.split('.').all(label)
}

/// A scheme, a colon, and something after it made of the characters URIs may have.
fn is_uri(text: &str) -> bool {
    let Some((scheme, rest)) = text.split_once(':') else {
        return false;
    };
    let in_scheme = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte);
    let in_rest =
        |byte: u8| byte.is_ascii_alphanumeric() || b"-._~:/?#[]@!$&'()*+,;=%".contains(&byte);
    let escaped = |tail: &str| {
        tail.as_bytes()
            .get(..2)
            .is_some_and(|hex| hex.iter().all(u8::is_ascii_hexdigit))
    };
    let no_host = |rest: &str| rest == "//";
    scheme.starts_with(|first: char| first.is_ascii_alphabetic())
        && scheme.bytes().all(in_scheme)
        && !rest.is_empty()
        && !no_host(rest)
        && rest.bytes().all(in_rest)
        && rest.split('%').skip(1).all(escaped)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(name: &str, good: &[&str], bad: &[&str]) {
        let format = Format::from_name(name).expect("a known format");
        for text in good {
            assert!(format.fits(text), "{text:?} is a {name}");
        }
        for text in bad {
            assert!(!format.fits(text), "{text:?} is no {name}");
        }
    }

    #[test]
    fn formats_accept_what_their_standards_say() {
        check(
            "date",
            &["2024-02-29"],
            &[
                "2023-02-29",
                "2024-2-9",
                "20240229",
                "2024-13-01",
                "",
                "２024-02-29",
            ],
        );
        check(
            "date-time",
            &[
                "2024-01-31T12:00:00Z",
                "2024-01-31t12:00:00.5+02:00",
                "2024-01-31 12:00:60z",
            ],
            &[
                "2024-01-31",
                "2024-01-31T12:00:00",
                "2024-01-31T12:00Z",
                "2024-01-31T24:00:00Z",
                "2024-01-3éT12:00:00Z",
            ],
        );
        check(
            "time",
            &["00:00:00Z", "23:59:59.123-23:59"],
            &["1:00:00Z", "12:00:00", "12:00:00.Z", "12:00:00+24:00"],
        );
        check(
            "email",
            &["ada@example.org", "a.b+c@localhost", "žofie@příklad.cz"],
            &[
                "ada",
                "@x.org",
                "a@",
                "a b@x.org",
                "a..b@x.org",
                "a@b@c.org",
                "a@-x.org",
                "a@x..org",
            ],
        );
        check(
            "uri",
            &[
                "https://example.org/a?b=c#d",
                "mailto:ada@example.org",
                "urn:x:1",
                "file:///tmp",
            ],
            &[
                "example.org",
                "//x",
                "http://",
                "http:",
                "1x:y",
                "http://a b",
                "http://é.org",
                "x:%zz",
                "x:%4",
            ],
        );
        check(
            "uuid",
            &["018f2c3d-1111-7abc-8def-0123456789aB"],
            &["018f2c3d11117abc8def0123456789ab", "{}", ""],
        );
        check(
            "ipv4",
            &["127.0.0.1"],
            &["127.0.0.256", "1.2.3", "01.2.3.4"],
        );
        check(
            "ipv6",
            &["::1", "fe80::1:2"],
            &[":::", "1.2.3.4", "fe80::%eth0"],
        );
    }

    #[test]
    fn every_format_is_found_by_its_name() {
        for format in Format::ALL {
            assert_eq!(Format::from_name(format.as_str()), Some(format));
        }
        assert_eq!(Format::from_name("hostname"), None);
    }
}
