//! `--watch`: a workflow file that changes is loaded again.
//!
//! Looks at the files' content instead of asking the system for changes: that works on every file system
//! and through every editor's way of saving, and a few small files cost nothing to read.

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

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(300);

/// Looks that a file may be away for while it is replaced.
const GONE_AFTER: u32 = 3;

/// A file and what was last seen of it.
#[derive(Debug)]
pub(super) struct Watched {
    path: PathBuf,
    /// The name of the workflow it gave last.
    name: Arc<str>,
    /// What was last taken up or refused.
    settled: Arc<str>,
    /// Looks since the file could be read last.
    missed: u32,
    /// What the last look found, if that differs. Taken up when the next look finds the same: an editor
    /// may be half way through writing.
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

    /// Notes that the file could not be read; true once it has stayed away long enough to be told of.
    fn is_gone(&mut self) -> bool {
        self.missed = self.missed.saturating_add(1);
        self.missed == GONE_AFTER
    }

    /// Notes what a look found; true when there is something new that has stood still since the look before.
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
            // A file that is away for a moment is being replaced; one that stays away keeps its last version.
            let Ok(Ok(source)) = read else {
                if file.is_gone() {
                    printer::warning(&format!(
                        "{} is gone or cannot be read; `{}` is served as it was last",
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

/// Checks a changed file and puts it in the place of its old version, or says why not.
fn take_up(service: &Service, file: &mut Watched, source: Source, is_recording: bool) {
    let shown = file.path.display().to_string();
    let keeps =
        |reason: &str| printer::warning(&format!("{shown} {reason}; the version before it stays"));
    let report = CheckedFile::check(source);
    report.print_findings();
    let Some(workflow) = report.checked.workflow else {
        return keeps("has errors");
    };
    let name: Arc<str> = workflow.name.as_str().into();
    if name != file.name && service.catalog().get(&name).is_some() {
        return keeps(&format!("is now called `{name}` like another one"));
    }
    if is_recording && workflow.sensitive.is_some() {
        return keeps("has sensitive fields now, which a cassette would hold in the open");
    }
    let loaded = LoadedWorkflow::new(&report.source, workflow);
    if let Err(failure) = loaded.preflight(&**service.models()) {
        return keeps(&format!("cannot run here ({})", failure.message));
    }
    service.catalog().put(loaded);
    if name == file.name {
        printer::note(&format!("{shown} changed: `{name}` was loaded again"));
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
