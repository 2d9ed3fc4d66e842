//! Watching a job: its stored events from any position, then what happens as it happens, without a
//! gap or a repetition, to the last event.

use std::borrow::Cow;

use async_stream::try_stream;
use futures_util::Stream;
use jobs::job::{Job, JobId};
use jobs::store::Error;
use serde::Serialize;
use tokio::sync::broadcast::Receiver;

use crate::event_log::LiveEvent;
use crate::events::{Event, FinalEvent, SERVER_STOPPING, is_final};
use crate::followers::{Halt, PAGE, Seen};
use crate::numbered::Numbered;
use crate::shared::{Service, Shared};
use crate::submission::Accepted;

/// Shown to the watchers of a job that does not end in this process.
#[derive(Debug, Serialize)]
#[serde(tag = "event")]
enum Notice {
    #[serde(rename = "server_stopping")]
    ServerStopping { job_id: JobId },
}

impl Service {
    /// A job's events with an id above `after` (0 for all), up to its last one, or to one that says
    /// that this process stops executing runs. Ends at once when there is no such job. The run
    /// never waits for a slow reader.
    pub fn events(
        &self,
        id: JobId,
        after: u64,
    ) -> impl Stream<Item = Result<Event, Error>> + Send + use<> {
        self.watch(id, after, None)
    }

    /// All events of a run that was just accepted. Where the request asked for deltas, they include
    /// those from before this call.
    pub fn follow(
        &self,
        accepted: &Accepted,
    ) -> impl Stream<Item = Result<Event, Error>> + Send + use<> {
        let reserved = accepted
            .run
            .as_ref()
            .and_then(|run| run.take_reserved_watcher());
        self.watch(accepted.id, 0, reserved)
    }

    fn watch(
        &self,
        id: JobId,
        after: u64,
        reserved: Option<Receiver<LiveEvent>>,
    ) -> impl Stream<Item = Result<Event, Error>> + Send + use<> {
        let shared = self.shared.clone();
        try_stream! {
            let mut last = after;
            if let Some(mut live) = reserved {
                while let Some(event) = next(&mut live, &mut last).await {
                    let ended = event.is_final();
                    yield event;
                    if ended {
                        return;
                    }
                }
            }
            loop {
                // In this order: what happens after `watch` is received, what was stored before is
                // read, and a job that has ended when it is read has all its events in the store.
                let is_last_look = shared.lifecycle.abandon_runs.is_cancelled();
                let live = shared.runs.get(id).and_then(|run| run.watch());
                let mut follower = live.is_none().then(|| shared.followers.watch(id, last));
                let Some(job) = shared.store.get(id).await? else { return };
                loop {
                    let page = shared.store.events(id, last, PAGE).await?;
                    let is_last_page = page.len() < PAGE;
                    for event in page {
                        last = event.id;
                        let event = Event::from(event);
                        let ended = event.is_final();
                        yield event;
                        if ended {
                            return;
                        }
                    }
                    if is_last_page {
                        break;
                    }
                }
                if job.status.is_final() {
                    if let Some(event) = shared.unstored_end(&job, after, last).await? {
                        yield event;
                    }
                    return;
                }
                if let Some(mut live) = live {
                    while let Some(event) = next(&mut live, &mut last).await {
                        let ended = event.is_final();
                        yield event;
                        if ended {
                            return;
                        }
                    }
                }
                let Some(follower) = &mut follower else { continue };
                if is_last_look {
                    yield shared.server_stopping(id);
                    return;
                }
                if shared.runs.get(id).is_some() {
                    // It has come meanwhile.
                    continue;
                }
                follower.has_read(last);
                loop {
                    let seen = tokio::select! {
                        biased;
                        () = shared.lifecycle.abandon_runs.cancelled() => break,
                        seen = follower.next() => seen,
                    };
                    match seen {
                        Seen::Event(event) => {
                            last = event.id;
                            let event = Event::from(event);
                            let ended = event.is_final();
                            yield event;
                            if ended {
                                return;
                            }
                        }
                        Seen::Delta(delta) => yield delta.into(),
                        Seen::Halt(Halt::Unknown) => return,
                        // It is read to its end, or watched here.
                        Seen::Halt(Halt::Here | Halt::Ended) => break,
                    }
                }
            }
        }
    }
}

/// What comes next; `None` when the store must be asked: the watcher lagged, or the run has left.
async fn next(live: &mut Receiver<LiveEvent>, last: &mut u64) -> Option<Event> {
    loop {
        match live.recv().await.ok()? {
            LiveEvent::Event { event, .. } if event.id <= *last => {}
            LiveEvent::Event { previous, .. } if previous > *last => return None,
            LiveEvent::Event { event, .. } => {
                *last = event.id;
                return Some(event.into());
            }
            LiveEvent::Delta { after, .. } if after < *last => {}
            LiveEvent::Delta { event, .. } => return Some(event),
        }
    }
}

impl Shared {
    /// Live only, and without a position of its own.
    fn server_stopping(&self, job_id: JobId) -> Event {
        let notice = Numbered {
            id: 0,
            at: self.host.now(),
            kind: Notice::ServerStopping { job_id },
        };
        Event {
            id: None,
            kind: Cow::Borrowed(SERVER_STOPPING),
            data: notice.written(),
        }
    }

    /// The last event of a job that was cancelled while it waited: no worker had it that could have
    /// stored one, so it is made of the record, the same each time. `None` where a worker did store
    /// the last event, or the watcher has had this one: it began `after` it.
    async fn unstored_end(&self, job: &Job, after: u64, last: u64) -> Result<Option<Event>, Error> {
        let read_nothing = last == after;
        if read_nothing && after > 0 {
            let begun_at = self.store.events(job.id, after - 1, 1).await?;
            if begun_at
                .first()
                .is_none_or(|event| event.id != after || is_final(&event.kind))
            {
                return Ok(None);
            }
        }
        let event = FinalEvent::Cancelled {
            execution_time_ms: job.execution_time_ms.unwrap_or(0),
        };
        let id = last + 1;
        let at = job.completed_at.unwrap_or(job.created_at);
        Ok(Some(Event {
            id: Some(id),
            kind: Cow::Borrowed(event.name()),
            data: Numbered {
                id,
                at,
                kind: event,
            }
            .written(),
        }))
    }
}
