//! Where a stored job continues: from its progress and the events after it.

use engine::outcome::Usage;
use engine::progress::Progress;
use engine::run::Start;
use jobs::job::{JobId, Workload};
use jobs::store::{Error, JobStore, PROGRESS_EVENT};
use lang::workflow::InitialState;

use crate::catalog::LoadedWorkflow;

/// Events read from the store at once.
const PAGE: usize = 256;

/// Where a job begins or continues; `None` where its record cannot be read. `last_event` is the id
/// of the last one stored, where that is known.
pub(crate) async fn of(
    store: &dyn JobStore,
    id: JobId,
    workflow: &LoadedWorkflow,
    work: &Workload,
    last_event: Option<u64>,
) -> Result<Option<Start>, Error> {
    let Some(begun) = recorded(workflow, work) else {
        return Ok(None);
    };
    let mut last = match &begun {
        Start::Fresh(_) => 0,
        Start::Resume(progress) => progress.last_event,
    };
    let mut later = Vec::new();
    while last_event.is_none_or(|last_event| last < last_event) {
        let page = store.events(id, last, PAGE).await?;
        last = page.last().map_or(last, |event| event.id);
        let is_last_page = page.len() < PAGE;
        later.extend(page);
        if is_last_page {
            break;
        }
    }
    if later.is_empty() {
        return Ok(Some(begun));
    }
    let mut progress = match begun {
        Start::Fresh(state) => Box::new(Progress::new(&workflow.workflow, state)),
        Start::Resume(progress) => progress,
    };
    for event in later {
        if event.kind == PROGRESS_EVENT {
            let Ok(event) = event.data.read() else {
                return Ok(None);
            };
            if progress.replay(&workflow.plan, &event).is_err() {
                return Ok(None);
            }
        }
        progress.last_event = event.id;
    }
    progress.settle(&workflow.plan);
    Ok(Some(Start::Resume(progress)))
}

/// The start according to the record alone.
fn recorded(workflow: &LoadedWorkflow, work: &Workload) -> Option<Start> {
    let Some(progress) = &work.progress else {
        return initial(workflow, work).map(Start::Fresh);
    };
    let mut progress: Box<Progress> = progress.read().ok()?;
    if progress.lacks_inputs() {
        progress.with_inputs(initial(workflow, work)?);
    }
    Some(Start::Resume(progress))
}

/// The initial state from the inputs; `None` where this version of flowmill or of the workflow
/// refuses them.
fn initial(workflow: &LoadedWorkflow, work: &Workload) -> Option<InitialState> {
    let inputs = work.inputs.read().ok()?;
    workflow.workflow.initial_state(&inputs).ok()
}

/// What a run had used before this start: its usage, and its time in milliseconds.
pub(crate) fn taken(start: &Start) -> (Usage, u64) {
    match start {
        Start::Fresh(_) => (Usage::default(), 0),
        Start::Resume(progress) => (progress.usage.clone(), progress.elapsed_ms),
    }
}
