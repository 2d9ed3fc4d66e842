//! The layers that settings come from.

/// One section of the settings in each layer.
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
    /// The layers, the one with the highest precedence first.
    pub(crate) fn highest_first(self) -> [T; 3] {
        [self.flags, self.environment, self.file]
    }
}
