//! The job store as people write it: `sqlite:PATH` or `memory`.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::Deserialize;

/// File name of the default store.
const FILE_NAME: &str = "flowmill.db";

/// A job store.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(crate) enum Store {
    /// In the memory of the process; its jobs are lost when the process ends.
    Memory,
    /// In a SQLite file. The path is relative to the working directory.
    Sqlite(PathBuf),
}

impl Store {
    /// The default store.
    pub(crate) fn default_in(data_dir: &Path) -> Self {
        Self::Sqlite(data_dir.join(FILE_NAME))
    }
}

/// The store as it is written on the command line.
impl fmt::Display for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Memory => f.write_str("memory"),
            Self::Sqlite(path) => write!(f, "sqlite:{}", path.display()),
        }
    }
}

impl FromStr for Store {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            // SQLite keeps these in memory, or elsewhere than the path says.
            Some(("sqlite", path)) if path.starts_with(":memory:") || path.starts_with("file:") => {
                Err(format!(
                    "`{text}` does not name a file; write sqlite:PATH, such as sqlite:{FILE_NAME}, or memory to lose the jobs when the process ends"
                ))
            }
            // Ambiguous: some programs take such a URL for a relative path, others for an absolute
            // one.
            Some(("sqlite", path)) if path.starts_with("//") => Err(format!(
                "`{text}` is a URL; write sqlite:PATH, such as sqlite:{FILE_NAME} or sqlite:/var/lib/{FILE_NAME}"
            )),
            None if text == "memory" => Ok(Self::Memory),
            Some(("sqlite", path)) if !path.is_empty() => Ok(Self::Sqlite(path.into())),
            _ => Err(format!(
                "`{text}` is not a store; write sqlite:PATH, such as sqlite:{FILE_NAME}, or memory"
            )),
        }
    }
}

impl TryFrom<String> for Store {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stores_are_read_as_they_are_written() {
        let check = |text: &str, expected: Option<Store>| {
            let read = text.parse::<Store>().ok();
            if let Some(store) = &read {
                assert_eq!(store.to_string(), text);
            }
            assert_eq!(read, expected, "{text}");
        };
        let sqlite = |path: &str| Some(Store::Sqlite(path.into()));
        check("memory", Some(Store::Memory));
        check("sqlite:jobs.db", sqlite("jobs.db"));
        check("sqlite:/var/lib/a b.db", sqlite("/var/lib/a b.db"));
        check("sqlite:c:odd", sqlite("c:odd"));
        check("sqlite:", None);
        check("sqlite", None);
        check("memory:", None);
        check("flowmill.db", None);
        check("redis:x", None);
        check("sqlite::memory:", None);
        check("sqlite:file:jobs.db?mode=memory", None);
        check("sqlite:///jobs.db", None);
    }

    #[test]
    fn the_default_is_in_the_data_directory() {
        let check = |folder: &str, expected: &str| {
            assert_eq!(Store::default_in(Path::new(folder)).to_string(), expected);
        };
        check("", "sqlite:flowmill.db");
        check("data", "sqlite:data/flowmill.db");
    }
}
