//! The layers that settings come from.

/// One section as each layer gives it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Layers<T> {
    /// The command line.
    pub flags: T,
    /// The environment and `.env`.
    pub environment: T,
    /// `flowmill.toml`.
    pub file: T,
}

impl<T> Layers<T> {
    /// In the order they count.
    pub(crate) fn highest_first(self) -> [T; 3] {
        [self.flags, self.environment, self.file]
    }
}
