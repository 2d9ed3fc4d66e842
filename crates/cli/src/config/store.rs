//! The job store as people write it: `sqlite:PATH`, `postgres://USER@HOST/DATABASE` or `memory`.
//!
//! The URL of a database may hold a password. So options hold it as a [`Secret`] that is read here and
//! not by clap, whose errors repeat what they refuse; and a [`Store`] is printed without it.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use jobs::postgres::Url;

use super::environment::Environment;
use super::secret::Secret;
use super::text;
use crate::failure::{Failure, Result};

/// File name of the default store.
const FILE_NAME: &str = "flowmill.db";

/// The variable with the store.
pub(crate) const VARIABLE: &str = "FLOWMILL_STORE";

/// The variable with the file that has the store.
pub(crate) const FILE_VARIABLE: &str = "FLOWMILL_STORE_FILE";

/// A job store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Store {
    /// In the memory of the process; its jobs are lost when the process ends.
    Memory,
    /// In a SQLite file. The path is relative to the working directory.
    Sqlite(PathBuf),
    /// In a PostgreSQL database, which several servers may share.
    Postgres(Box<PostgresUrl>),
}

/// The URL of a PostgreSQL database. It may hold a password and is printed without it.
#[derive(Clone)]
pub(crate) struct PostgresUrl {
    text: Secret,
    url: Url,
}

impl Store {
    /// The default store.
    pub(crate) fn default_in(data_dir: &Path) -> Self {
        Self::Sqlite(data_dir.join(FILE_NAME))
    }

    /// Whether several servers may use it at the same time.
    pub(crate) fn is_shared(&self) -> bool {
        self.postgres().is_some()
    }

    /// The URL, of a PostgreSQL database.
    pub(crate) fn postgres(&self) -> Option<&PostgresUrl> {
        match self {
            Self::Postgres(url) => Some(url),
            Self::Memory | Self::Sqlite(_) => None,
        }
    }
}

impl PostgresUrl {
    /// The URL as it was given, with its password.
    pub(crate) fn text(&self) -> &Secret {
        &self.text
    }

    /// The URL as it is connected to.
    pub(crate) fn url(&self) -> &Url {
        &self.url
    }

    /// Whether it holds a password.
    pub(crate) fn has_password(&self) -> bool {
        let text = self.text.reveal();
        let (_, rest) = text.split_once("://").unwrap_or_default();
        let user = rest.split_once('@').map_or("", |(user, _)| user);
        user.contains(':') || rest.contains("password=")
    }
}

impl FromStr for PostgresUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let authority = text.split('?').next().unwrap_or(text);
        // What follows the first one would be taken for the host, and shown.
        if authority.matches('@').count() > 1 {
            return Err(
                "the store's URL has several @; write %40 for one in the user or the password"
                    .to_owned(),
            );
        }
        Ok(Self {
            url: text
                .parse()
                .map_err(|error: jobs::postgres::UrlError| error.to_string())?,
            text: Secret::from(text.to_owned()),
        })
    }
}

impl PartialEq for PostgresUrl {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for PostgresUrl {}

impl fmt::Display for PostgresUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.url.fmt(f)
    }
}

impl fmt::Debug for PostgresUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The store as it is written on the command line, without its password.
impl fmt::Display for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Memory => f.write_str("memory"),
            Self::Sqlite(path) => write!(f, "sqlite:{}", path.display()),
            Self::Postgres(url) => url.fmt(f),
        }
    }
}

/// Whether a text stands for a PostgreSQL database that is named elsewhere.
pub(crate) fn is_postgres_elsewhere(text: &str) -> bool {
    matches!(text, "postgres" | "postgresql")
}

/// Whether a text is the URL of a PostgreSQL database.
pub(crate) fn is_postgres_url(text: &str) -> bool {
    text.starts_with("postgres://") || text.starts_with("postgresql://")
}

/// The error shows no text that could hold a password.
impl FromStr for Store {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        const FORMS: &str = "sqlite:PATH, postgres://USER@HOST/DATABASE, or memory";
        match text.split_once(':') {
            _ if is_postgres_url(text) => text.parse().map(Box::new).map(Self::Postgres),
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
            Some(("redis" | "rediss" | "redis+sentinel" | "valkey" | "valkeys", _)) => Err(
                "Redis and Valkey are not supported as job stores yet; write postgres://USER@HOST/DATABASE for servers that share their jobs, or sqlite:PATH for one server"
                    .to_owned(),
            ),
            _ if text.contains("://") || text.contains('@') => {
                Err(format!("the URL is not that of a store; write {FORMS}"))
            }
            _ => Err(format!("`{text}` is not a store; write {FORMS}")),
        }
    }
}

/// The options that name a store, of one layer of the settings.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Named<'a> {
    /// `--store`
    pub store: Option<&'a Secret>,
    /// `--store-file`
    pub file: Option<&'a Path>,
}

impl Named<'_> {
    /// The store that the options name; `None` if they name none. `postgres` alone is the database
    /// that a file or a variable of the environment names.
    pub(crate) fn read(self, environment: Option<&Environment>) -> Result<Option<Store>> {
        let text = self.store.map(Secret::reveal).map(str::trim);
        match (text, self.file) {
            (None, None) => Ok(None),
            (Some(text), Some(_)) if !is_postgres_elsewhere(text) => Err(Failure::usage(
                "--store and --store-file exclude each other; give one of them",
            )),
            (text, Some(file)) => read_file(file, text.is_some()).map(Some),
            (Some(text), None) if is_postgres_elsewhere(text) => {
                let variable =
                    |name| environment.and_then(|environment| environment.variable(name));
                match (variable(VARIABLE), variable(FILE_VARIABLE)) {
                    (Some(url), _) if is_postgres_url(url.trim()) => {
                        read(url.trim(), VARIABLE).map(Some)
                    }
                    (_, Some(file)) => read_file(Path::new(&file), true).map(Some),
                    _ => Err(Failure::usage(format!(
                        "--store {text} needs the database: {VARIABLE} in the environment or in .env does not hold its URL"
                    ))
                    .hint(format!(
                        "set {VARIABLE}=postgres://USER:PASSWORD@HOST/DATABASE, or give --store-file a file with the URL"
                    ))),
                }
            }
            (Some(text), None) => read(text, "--store (FLOWMILL_STORE)").map(Some),
        }
    }

    /// Warns if a password stands on the command line.
    pub(crate) fn warning(self, is_flag: impl Fn(&str) -> bool) -> Option<&'static str> {
        let text = self.store.filter(|_| is_flag("store"))?;
        let url: PostgresUrl = text.reveal().trim().parse().ok()?;
        url.has_password().then_some(PASSWORD_SHOWN)
    }
}

/// Why a password belongs elsewhere.
pub(crate) const PASSWORD_SHOWN: &str = "the command line holds the password of the database, where `ps` shows it to every user of this machine; put the URL into FLOWMILL_STORE, or into a file for --store-file";

/// The same for `--store-listen-url`.
pub(crate) const LISTEN_PASSWORD_SHOWN: &str = "--store-listen-url holds the password of the database, and `ps` shows the command line to every user of this machine; put it into FLOWMILL_STORE_LISTEN_URL";

fn read(text: &str, source: &str) -> Result<Store> {
    text.parse()
        .map_err(|reason| Failure::usage(format!("{source}: {reason}")))
}

/// The store in the first line of a file.
fn read_file(path: &Path, must_be_postgres: bool) -> Result<Store> {
    let text = text::read(path)?;
    let shown = format!("`{}`", path.display());
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let (Some(line), None) = (lines.next(), lines.next()) else {
        return Err(Failure::usage(format!(
            "{shown} must hold the store's URL and nothing else, such as postgres://USER:PASSWORD@HOST/DATABASE"
        )));
    };
    match read(line, &shown)? {
        store if must_be_postgres && !store.is_shared() => Err(Failure::usage(format!(
            "{shown} names no PostgreSQL database; write postgres://USER:PASSWORD@HOST/DATABASE into it, or leave out --store postgres"
        ))),
        store => Ok(store),
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
    fn a_password_is_in_no_text_about_a_store() {
        let check = |text: &str, shown: &str| {
            let store: Store = text.parse().expect(text);
            assert_eq!(store.to_string(), shown);
            assert_eq!(format!("{store:?}"), format!("Postgres({shown})"));
            assert!(store.is_shared());
        };
        check("postgres://me:canary@h/db", "postgres://me@h:5432/db");
        check("postgresql://me:can%40ary@h:1/db", "postgres://me@h:1/db");
        for text in [
            "redis://me:canary@h",
            "rediss://:canary@h",
            "mysql://me:canary@h/db",
            "me:canary@h",
            "postgres://me:a@canary@h/db",
            "postgres://me:canary@h/db?sslmode=canary",
            "postgres://me:canary@h:canary/db",
            "postgres:me:canary@h",
        ] {
            let error = text.parse::<Store>().expect_err(text);
            assert!(!error.contains("canary"), "{text}: {error}");
            assert!(
                error.contains("write") || error.contains("correct"),
                "{text}: {error}"
            );
        }
    }

    #[test]
    fn a_password_on_the_command_line_is_warned_of() {
        let check = |text: &str, is_flag: bool, expected: bool| {
            let text = Secret::from(text.to_owned());
            let named = Named {
                store: Some(&text),
                file: None,
            };
            assert_eq!(named.warning(|_| is_flag).is_some(), expected, "{text:?}");
        };
        check("postgres://me:canary@h/db", true, true);
        check("postgres://me@h/db?password=canary", true, true);
        check("postgres://me:canary@h/db", false, false);
        check("postgres://me@h:5432/db", true, false);
        check("sqlite:a.db", true, false);
    }

    #[test]
    fn a_file_may_name_the_store() {
        let project = testing::TempProject::new();
        let read = |text: &str, store: Option<&str>| {
            let file = project.write("url", text);
            let store = store.map(|text| Secret::from(text.to_owned()));
            let named = Named {
                store: store.as_ref(),
                file: Some(&file),
            };
            named
                .read(None)
                .map(|store| store.map(|store| store.to_string()))
        };
        let shown = Ok(Some("postgres://me@h:5432/db".to_owned()));
        assert_eq!(read("\npostgres://me:canary@h/db\n", None), shown);
        assert_eq!(read("postgres://me:canary@h/db", Some("postgres")), shown);
        assert_eq!(read("memory", None), Ok(Some("memory".to_owned())));
        for (text, store) in [
            ("", None),
            ("postgres://me:canary@h/db\nmore", None),
            ("memory", Some("postgres")),
            ("postgres://me:canary@h/db", Some("sqlite:a.db")),
            ("redis://me:canary@h", None),
        ] {
            let failure = read(text, store).expect_err(text);
            assert!(!failure.message.contains("canary"), "{}", failure.message);
        }
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
