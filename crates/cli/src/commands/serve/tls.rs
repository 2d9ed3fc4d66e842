//! The certificate and its key: loaded at the start, and reloaded when a file changes or at SIGHUP.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::Duration;

use server::Tls;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::config::exposure::TlsFiles;
use crate::config::text;
use crate::failure::{Failure, Result};
use crate::printer;

/// Time between two checks for changes.
const PAUSE: Duration = Duration::from_secs(2);

/// Identifies the state of the files without reading them: inode, size and modification time of
/// each.
type Stamp = [Option<(u64, u64, i64, i64)>; 2];

/// The certificate that is served, and the last known state of its files.
#[derive(Debug)]
pub(super) struct Watched {
    tls: Tls,
    files: TlsFiles,
    /// State of the files that were last loaded or refused.
    settled: Stamp,
    /// State at the last check, if it differs: one file may be replaced before the other.
    fresh: Option<Stamp>,
}

impl Watched {
    /// Loads the certificate and its key for the first time. A server that cannot do so does not
    /// start.
    pub(super) fn open(files: &TlsFiles) -> Result<Self> {
        let settled = stamp(files);
        let (chain, key) = read(files)?;
        let tls = Tls::new(chain.as_bytes(), key.as_bytes())
            .map_err(|error| Failure::usage(unfit(files, &error)))?;
        Ok(Self {
            tls,
            files: files.clone(),
            settled,
            fresh: None,
        })
    }

    /// The configuration for the port.
    pub(super) fn tls(&self) -> Tls {
        self.tls.clone()
    }

    /// Watches for changes until `stop`.
    pub(super) async fn watch(mut self, stop: CancellationToken) {
        let mut hangups = match signal(SignalKind::hangup()) {
            Ok(hangups) => hangups,
            Err(error) => {
                tracing::warn!(%error, "cannot listen for SIGHUP; certificates will not be reloaded");
                return;
            }
        };
        loop {
            let is_told = tokio::select! {
                () = stop.cancelled() => return,
                _ = hangups.recv() => true,
                () = tokio::time::sleep(PAUSE) => false,
            };
            let files = self.files.clone();
            let Ok(seen) = tokio::task::spawn_blocking(move || stamp(&files)).await else {
                continue;
            };
            if self.look(seen) || is_told {
                self.settled = seen;
                self.fresh = None;
                self.take_up().await;
            }
        }
    }

    /// Whether the files have changed and been stable since the previous check.
    fn look(&mut self, seen: Stamp) -> bool {
        if seen == self.settled {
            self.fresh = None;
            return false;
        }
        self.fresh.replace(seen) == Some(seen)
    }

    async fn take_up(&self) {
        let files = self.files.clone();
        let outcome = match tokio::task::spawn_blocking(move || read(&files)).await {
            Ok(Ok((chain, key))) => self
                .tls
                .replace(chain.as_bytes(), key.as_bytes())
                .map_err(|error| unfit(&self.files, &error)),
            Ok(Err(failure)) => Err(failure.message),
            Err(_ended) => return,
        };
        match outcome {
            Ok(()) => printer::note(&format!(
                "{} was reloaded; new connections use it",
                self.files.cert.display()
            )),
            Err(reason) => {
                printer::warning(&format!("{reason}; the previous certificate stays in use"));
            }
        }
    }
}

fn stamp(files: &TlsFiles) -> Stamp {
    let of = |path: &Path| {
        let seen = fs::metadata(path).ok()?;
        Some((seen.ino(), seen.size(), seen.mtime(), seen.mtime_nsec()))
    };
    [of(&files.cert), of(&files.key)]
}

fn read(files: &TlsFiles) -> Result<(String, String)> {
    Ok((text::read(&files.cert)?, text::read(&files.key)?))
}

fn unfit(files: &TlsFiles, error: &server::TlsError) -> String {
    format!(
        "`{}` and `{}`: {error}",
        files.cert.display(),
        files.key.display()
    )
}

#[cfg(test)]
mod tests {
    use testing::TempProject;

    use super::*;

    #[test]
    fn a_change_counts_once_it_stands_still() {
        let project = TempProject::with_file(
            "tls.pem",
            include_str!("../../../tests/it/certificates/certificate.pem"),
        );
        project.write(
            "tls.key",
            include_str!("../../../tests/it/certificates/key.pem"),
        );
        let files = TlsFiles {
            cert: project.path("tls.pem"),
            key: project.path("tls.key"),
        };
        let mut watched = Watched::open(&files).expect("a pair");
        let old = watched.settled;
        let new = [old[0], Some((1, 2, 3, 4))];
        assert!(!watched.look(old));
        assert!(!watched.look(new));
        assert!(watched.look(new));
        assert!(!watched.look([None, None]), "it is being replaced");
        assert!(!watched.look(old));
        assert!(!watched.look(new), "seen anew");
    }

    #[test]
    fn a_pair_that_is_none_is_named_without_its_content() {
        let project = TempProject::with_file("tls.pem", "no certificate");
        project.write("tls.key", "very secret");
        let files = TlsFiles {
            cert: project.path("tls.pem"),
            key: project.path("tls.key"),
        };
        let failure = Watched::open(&files).expect_err("no pair");
        assert!(failure.message.contains("BEGIN CERTIFICATE"), "{failure:?}");
        assert!(!failure.message.contains("very secret"), "{failure:?}");
    }
}
