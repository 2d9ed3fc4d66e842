//! Where PostgreSQL's programs are, and as whom they run.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::rigs;

/// The folder of `initdb`, `postgres` and `pgbench`.
///
/// `None` means the test should return; why was printed.
///
/// # Panics
/// When there is none and `CI=true`.
pub(super) fn find() -> Option<PathBuf> {
    let found = by_pg_config()
        .into_iter()
        .chain(of_debian())
        .chain(of_path())
        .find(|folder| has_server(folder));
    found.or_else(|| {
        rigs::skip(
            "postgres",
            "PostgreSQL is not installed; scripts/test, run as root on Debian, installs it",
        )
    })
}

/// Whether the server of those programs can load that library; some systems package them apart.
pub(super) fn has_library(programs: &Path, name: &str) -> bool {
    let output = Command::new(programs.join("pg_config"))
        .arg("--pkglibdir")
        .output();
    let folder = output
        .ok()
        .and_then(|output| String::from_utf8(output.stdout).ok());
    folder.is_some_and(|folder| {
        let library = Path::new(folder.trim()).join(format!("{name}.so"));
        library.is_file()
    })
}

/// User and group for servers: PostgreSQL refuses to run as root.
///
/// `None`: this process may run them itself.
pub(super) fn owner() -> Option<(u32, u32)> {
    if !rustix::process::geteuid().is_root() {
        return None;
    }
    let users = fs::read_to_string("/etc/passwd").expect("there are users");
    let owner = ["postgres", "nobody"]
        .iter()
        .find_map(|name| ids(&users, name));
    Some(owner.expect("root can become `postgres` or `nobody`"))
}

fn ids(users: &str, name: &str) -> Option<(u32, u32)> {
    users.lines().find_map(|line| {
        let mut fields = line.split(':');
        if fields.next() != Some(name) {
            return None;
        }
        let mut ids = fields.skip(1);
        Some((ids.next()?.parse().ok()?, ids.next()?.parse().ok()?))
    })
}

fn has_server(folder: &Path) -> bool {
    ["initdb", "postgres"]
        .iter()
        .all(|program| folder.join(program).is_file())
}

fn by_pg_config() -> Option<PathBuf> {
    let output = Command::new("pg_config").arg("--bindir").output().ok()?;
    let folder = String::from_utf8(output.stdout).ok()?;
    Some(PathBuf::from(folder.trim()))
}

/// Newest first.
fn of_debian() -> Vec<PathBuf> {
    let versions = fs::read_dir("/usr/lib/postgresql");
    let mut versions: Vec<(u32, PathBuf)> = versions
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let version = entry.file_name().to_str()?.parse().ok()?;
            Some((version, entry.path().join("bin")))
        })
        .collect();
    versions.sort_unstable_by(|a, b| b.cmp(a));
    versions.into_iter().map(|(_, folder)| folder).collect()
}

fn of_path() -> Vec<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_a_user() {
        let users = "root:x:0:0:root:/root:/bin/sh\npostgres:x:105:110::/var:/bin/bash\n";
        assert_eq!(ids(users, "postgres"), Some((105, 110)));
        assert_eq!(ids(users, "nobody"), None);
    }
}
