//! The origins whose web pages may call the API from a browser.

use std::str::FromStr;

use axum::http::{HeaderValue, Uri};

/// The origins whose pages may call the API.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Origins {
    any: bool,
    named: Vec<HeaderValue>,
}

/// An origin, such as `https://app.example`, or `*` for every origin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin(HeaderValue);

const ANY: &str = "*";

impl FromStr for Origin {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let unfit = || {
            format!(
                "`{text}` is not an origin; write one such as https://app.example or http://localhost:3000, or *"
            )
        };
        if text == ANY {
            return Ok(Self(HeaderValue::from_static(ANY)));
        }
        if text.contains('*') {
            return Err(format!(
                "`{text}` would never match: origins are compared as a whole; name each one, or write * alone for all"
            ));
        }
        let uri: Uri = text.parse().map_err(|_| unfit())?;
        let is_web = matches!(uri.scheme_str(), Some("http" | "https"));
        let authority = uri.authority().ok_or_else(unfit)?;
        let is_bare = uri.path() == "/" && uri.query().is_none() && !text.ends_with('/');
        if !is_web || !is_bare || authority.as_str().contains('@') {
            return Err(unfit());
        }
        // As browsers write it: in lower case, without the default port.
        let text = text.to_ascii_lowercase();
        let text = match uri.scheme_str() {
            Some("https") => text.strip_suffix(":443").unwrap_or(&text),
            _ => text.strip_suffix(":80").unwrap_or(&text),
        };
        text.parse().map(Self).map_err(|_| unfit())
    }
}

impl FromIterator<Origin> for Origins {
    fn from_iter<T: IntoIterator<Item = Origin>>(origins: T) -> Self {
        let mut all = Self::default();
        for Origin(origin) in origins {
            if origin == ANY {
                all.any = true;
            } else {
                all.named.push(origin);
            }
        }
        all
    }
}

impl Origins {
    /// Whether every origin is allowed.
    pub(crate) fn allow_any(&self) -> bool {
        self.any
    }

    pub(crate) fn is_empty(&self) -> bool {
        !self.any && self.named.is_empty()
    }

    /// The `Access-Control-Allow-Origin` for that origin; `None`: its pages may not call the API.
    pub(crate) fn allowed(&self, origin: &HeaderValue) -> Option<HeaderValue> {
        if self.any {
            return Some(HeaderValue::from_static(ANY));
        }
        self.named.contains(origin).then(|| origin.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_a_scheme_and_a_host_as_browsers_write_them() {
        let check = |text: &str, expected: Option<&str>| {
            let origin = text.parse::<Origin>().ok();
            let shown = origin
                .as_ref()
                .map(|Origin(origin)| origin.to_str().expect("ASCII"));
            assert_eq!(shown, expected, "{text}");
        };
        check("https://app.example", Some("https://app.example"));
        check("https://APP.example:443", Some("https://app.example"));
        check("http://localhost:3000", Some("http://localhost:3000"));
        check("http://[::1]:80", Some("http://[::1]"));
        check("*", Some("*"));
        for text in [
            "",
            "null",
            "app.example",
            "https://app.example/",
            "https://app.example/path",
            "https://app.example?x",
            "https://me@app.example",
            "ftp://app.example",
            "https://*.example/",
            "https://*.example",
            "http://localhost:*",
            "*.example",
        ] {
            check(text, None);
        }
    }
}
