//! The path below which clients see this server.

use std::str::FromStr;
use std::sync::Arc;

use axum::http::Extensions;

/// The longest path, in bytes.
const LONGEST: usize = 256;

/// A path such as `/app1`, without a slash at its end; empty where the server is shown at the root.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RootPath(Option<Arc<str>>);

impl RootPath {
    pub(crate) fn as_str(&self) -> &str {
        self.0.as_deref().unwrap_or_default()
    }

    /// The root path of a request.
    pub(crate) fn of(extensions: &Extensions) -> Self {
        extensions.get().cloned().unwrap_or_default()
    }
}

impl FromStr for RootPath {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let path = text.trim().trim_end_matches('/');
        if path.is_empty() {
            return Ok(Self::default());
        }
        // Nothing that could be a host, a query, or end a header.
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/-._~%".contains(&byte);
        let fits = path.starts_with('/')
            && !path.contains("//")
            && path.split('/').all(|part| part != ".." && part != ".")
            && path.len() <= LONGEST
            && path.bytes().all(is_plain);
        if fits {
            Ok(Self(Some(path.into())))
        } else {
            Err(format!("`{text}` is not a path; write one such as /app1"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_is_a_plain_path() {
        let check = |text: &str, expected: Option<&str>| {
            let path = text.parse::<RootPath>().ok();
            assert_eq!(path.as_ref().map(RootPath::as_str), expected, "{text}");
        };
        check("/app1", Some("/app1"));
        check("/a/b/", Some("/a/b"));
        check("/", Some(""));
        check("", Some(""));
        for text in [
            "app1",
            "//evil.example",
            "/a//b",
            "/a/../b",
            "https://evil.example",
            "/a?b",
            "/a\r\nb",
            "/\\evil.example",
        ] {
            check(text, None);
        }
    }
}
