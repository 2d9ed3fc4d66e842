//! A text that is sent and never shown.

use std::fmt;

/// A key, or something as good as one. Neither printed nor serialized; what of an answer repeats it is masked
/// by [`Subject`](crate::transport::failure::Subject).
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Secret(Box<str>);

impl Secret {
    /// The text itself.
    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }
}

impl<T: Into<Box<str>>> From<T> for Secret {
    fn from(text: T) -> Self {
        Self(text.into())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(hidden)")
    }
}

#[cfg(test)]
mod tests {
    use super::Secret;

    #[test]
    fn it_is_not_printed() {
        assert_eq!(
            format!("{:?}", Some(Secret::from("sk-1"))),
            "Some((hidden))"
        );
    }
}
