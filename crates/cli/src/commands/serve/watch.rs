//! `--watch`: reloads a workflow file when it changes.
//!
//! Compares the files' content instead of asking the system for notifications: this works on every
//! file system and with every editor's way of saving, and a few small files cost nothing to read.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use lang::source::Source;
use service::Service;
use service::catalog::LoadedWorkflow;
use tokio_util::sync::CancellationToken;

use crate::config::text;
use crate::printer;
use crate::workflow_file::CheckedFile;

/// Time between two checks.
const PAUSE: Duration = Duration::from_millis(300);

/// Checks for which a file may be missing while it is replaced.
const GONE_AFTER: u32 = 3;

/// A file and its last known content.
#[derive(Debug)]
pub(super) struct Watched {
    path: PathBuf,
    /// The name of the workflow that was last loaded from it.
    name: Arc<str>,
    /// The content that was last loaded or refused.
    settled: Arc<str>,
    /// Checks since the file could last be read.
    missed: u32,
    /// The content at the last check, if it differs. It is loaded when the next check finds the
    /// same: an editor may be in the middle of writing.
    fresh: Option<Arc<str>>,
}

impl Watched {
    pub(super) fn new(path: PathBuf, source: &Source, workflow: &LoadedWorkflow) -> Self {
        Self {
            path,
            name: workflow.name.clone(),
            settled: source.text.clone(),
            missed: 0,
            fresh: None,
        }
    }

    /// Notes that the file could not be read; true once it has been missing long enough for a
    /// warning.
    fn is_gone(&mut self) -> bool {
        self.missed = self.missed.saturating_add(1);
        self.missed == GONE_AFTER
    }

    /// Notes what a check found; true if the content is new and has been stable since the previous
    /// check.
    fn look(&mut self, text: &Arc<str>) -> bool {
        if *text == self.settled {
            self.fresh = None;
            return false;
        }
        if self.fresh.as_ref() != Some(text) {
            self.fresh = Some(Arc::clone(text));
            return false;
        }
        self.fresh = None;
        self.settled = Arc::clone(text);
        true
    }
}

/// Watches until `stop`.
pub(super) async fn watch(
    service: Service,
    mut files: Vec<Watched>,
    is_recording: bool,
    stop: CancellationToken,
) {
    while stop
        .run_until_cancelled(tokio::time::sleep(PAUSE))
        .await
        .is_some()
    {
        for file in &mut files {
            let path = file.path.clone();
            let read = tokio::task::spawn_blocking(move || text::read_workflow(&path)).await;
            // A file that is missing for a moment is being replaced; if it stays missing, its last
            // version stays loaded.
            let Ok(Ok(source)) = read else {
                if file.is_gone() {
                    printer::warning(&format!(
                        "{} is missing or cannot be read; the last version of `{}` stays loaded",
                        file.path.display(),
                        file.name
                    ));
                }
                continue;
            };
            file.missed = 0;
            if file.look(&source.text) {
                take_up(&service, file, source, is_recording);
            }
        }
    }
}

/// Checks a changed file and replaces its old version, or warns why not.
fn take_up(service: &Service, file: &mut Watched, source: Source, is_recording: bool) {
    let shown = file.path.display().to_string();
    let keeps = |reason: &str| {
        printer::warning(&format!(
            "{shown} {reason}; the previous version stays loaded"
        ));
    };
    let report = CheckedFile::check(source);
    report.print_findings();
    let Some(workflow) = report.checked.workflow else {
        return keeps("has errors");
    };
    let name: Arc<str> = workflow.name.as_str().into();
    if name != file.name && service.catalog().get(&name).is_some() {
        return keeps(&format!(
            "now has the name `{name}`, which another file has"
        ));
    }
    if is_recording && workflow.sensitive.is_some() {
        return keeps(
            "now has sensitive fields, which --record would write to the cassette in plain text",
        );
    }
    let loaded = LoadedWorkflow::new(&report.source, workflow);
    if let Err(failure) = loaded.preflight(&**service.models()) {
        return keeps(&format!("cannot run here ({})", failure.message));
    }
    service.catalog().put(loaded);
    if name == file.name {
        printer::note(&format!("{shown} changed: `{name}` was reloaded"));
        return;
    }
    service.catalog().remove(&file.name);
    let before = std::mem::replace(&mut file.name, Arc::clone(&name));
    printer::warning(&format!(
        "{shown} changed: its workflow is now called `{name}`; `{before}` is no longer served, and clients and API \
         keys that name it are refused"
    ));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_counts_once_it_stands_still() {
        let mut file = Watched {
            path: PathBuf::new(),
            name: "x".into(),
            settled: "old".into(),
            missed: 0,
            fresh: None,
        };
        let mut check =
            |text: &str, expected: bool| assert_eq!(file.look(&text.into()), expected, "{text}");
        check("old", false);
        check("", false);
        check("new", false);
        check("new", true);
        check("new", false);
        check("other", false);
        check("new", false);
        check("other", false);
        check("other", true);
    }
}
