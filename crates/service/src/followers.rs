//! Following jobs whose runs are not here: clients that watch them, and clients that wait for their
//! end.
//!
//! One task looks at the store for all of them (`tails`). A follower is registered before its client
//! reads the store, and goes on from the last event that was read: nothing is missed, nothing comes
//! twice.
//!
//! A follower holds one page of events, and the store is not asked for more until its client has taken
//! them. So a slow client costs nothing but that page.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jobs::job::{JobId, Status};
use jobs::signals::Delta;
use jobs::store::{StoredEvent, Tail};
use tokio::sync::Notify;

/// Events read at once, for each follower.
pub(crate) const PAGE: usize = 256;

/// How often the replica of a run is told that its job is watched here.
const TELL_EVERY: Duration = Duration::from_secs(5);

/// Behind every event: for those who wait for the end only.
const PAST_ALL: u64 = i64::MAX as u64;

/// From where followers go on, and which.
pub(crate) type Positions = BTreeMap<(JobId, u64), Vec<Arc<Inbox>>>;

/// Who follows which job.
#[derive(Debug)]
pub(crate) struct Followers {
    jobs: Mutex<BTreeMap<JobId, Followed>>,
    /// Deltas that are kept for a client that does not take them.
    buffer: usize,
    wake: Notify,
}

#[derive(Debug, Default)]
struct Followed {
    inboxes: Vec<Arc<Inbox>>,
    /// Something has happened to it.
    is_due: bool,
    /// As of the last look.
    status: Option<Status>,
    /// When it was told last that the job is watched here.
    told_at: Option<Duration>,
}

impl Followed {
    fn is_watched(&self) -> bool {
        self.inboxes.iter().any(|inbox| inbox.wants_events)
    }
}

/// What has arrived for one follower.
#[derive(Debug)]
pub(crate) struct Inbox {
    wants_events: bool,
    contents: Mutex<Contents>,
    changed: Notify,
}

#[derive(Debug)]
struct Contents {
    /// The id of the last event that has arrived.
    after: u64,
    events: Vec<StoredEvent>,
    deltas: VecDeque<Delta>,
    end: Option<Halt>,
}

/// Why there is no more to follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Halt {
    /// The run is here now.
    Here,
    /// The job has ended, and all its events have been shown.
    Ended,
    /// There is no such job.
    Unknown,
}

/// What a follower sees next.
#[derive(Debug)]
pub(crate) enum Seen {
    Event(StoredEvent),
    Delta(Delta),
    Halt(Halt),
}

/// One client that follows a job, until this is dropped.
#[derive(Debug)]
pub(crate) struct Follower<'a> {
    followers: &'a Followers,
    job: JobId,
    inbox: Arc<Inbox>,
    /// The id of the last event that was shown.
    last: u64,
    events: VecDeque<StoredEvent>,
    deltas: VecDeque<Delta>,
    end: Option<Halt>,
}

impl Followers {
    pub(crate) fn new(buffer: usize) -> Self {
        Self {
            jobs: Mutex::default(),
            buffer,
            wake: Notify::new(),
        }
    }

    /// Follows the events of a job, from the event after this one.
    pub(crate) fn watch(&self, job: JobId, after: u64) -> Follower<'_> {
        self.follow(job, after, true)
    }

    /// Waits for the end of a job only.
    pub(crate) fn wait(&self, job: JobId) -> Follower<'_> {
        self.follow(job, PAST_ALL, false)
    }

    fn follow(&self, job: JobId, after: u64, wants_events: bool) -> Follower<'_> {
        let inbox = Arc::new(Inbox {
            wants_events,
            contents: Mutex::new(Contents {
                after,
                events: Vec::new(),
                deltas: VecDeque::new(),
                end: None,
            }),
            changed: Notify::new(),
        });
        let mut jobs = self.jobs();
        let is_first = jobs.is_empty();
        let followed = jobs.entry(job).or_default();
        let tells = wants_events && followed.told_at.is_none();
        followed.inboxes.push(inbox.clone());
        drop(jobs);
        if is_first || tells {
            self.wake.notify_one();
        }
        Follower {
            followers: self,
            job,
            inbox,
            last: after,
            events: VecDeque::new(),
            deltas: VecDeque::new(),
            end: None,
        }
    }

    /// Something may have happened to a job.
    pub(crate) fn may_have_changed(&self, job: JobId) {
        if let Some(followed) = self.jobs().get_mut(&job) {
            followed.is_due = true;
            self.wake.notify_one();
        }
    }

    /// Something may have happened to every job.
    pub(crate) fn all_may_have_changed(&self) {
        for followed in self.jobs().values_mut() {
            followed.is_due = true;
            followed.told_at = None;
        }
        self.wake.notify_one();
    }

    /// The run of a job is here from now on.
    pub(crate) fn arrived(&self, job: JobId) {
        if let Some(followed) = self.jobs().get(&job) {
            for inbox in &followed.inboxes {
                inbox.end(Halt::Here);
            }
        }
    }

    /// A piece of an answer in a run elsewhere.
    pub(crate) fn show(&self, delta: &Delta) {
        if let Some(followed) = self.jobs().get(&delta.job) {
            for inbox in followed.inboxes.iter().filter(|inbox| inbox.wants_events) {
                inbox.show(delta, self.buffer);
            }
        }
    }

    /// Waits until a look may be due.
    pub(crate) async fn woken(&self) {
        self.wake.notified().await;
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.jobs().is_empty()
    }

    /// What to ask the store for: of jobs that something has happened to, or of all.
    pub(crate) fn begin_look(&self, at_all: bool) -> Positions {
        let mut positions = Positions::new();
        for (job, followed) in self.jobs().iter_mut() {
            if !(std::mem::take(&mut followed.is_due) || at_all) {
                continue;
            }
            for inbox in &followed.inboxes {
                if let Some(after) = inbox.takes_events_after() {
                    let inboxes = positions.entry((*job, after)).or_default();
                    inboxes.push(inbox.clone());
                }
            }
        }
        positions
    }

    /// Jobs whose replicas have to be told that they are watched here.
    pub(crate) fn to_tell(&self, now: Duration) -> Vec<JobId> {
        let mut jobs = Vec::new();
        for (job, followed) in self.jobs().iter_mut() {
            let is_fresh = followed
                .told_at
                .is_some_and(|told_at| now.saturating_sub(told_at) < TELL_EVERY);
            if !is_fresh && followed.is_watched() {
                followed.told_at = Some(now);
                jobs.push(*job);
            }
        }
        jobs
    }

    /// A look has found this. Another replica may run the job now, which has not been told.
    pub(crate) fn found(&self, job: JobId, status: Status) {
        if let Some(followed) = self.jobs().get_mut(&job)
            && followed.status.replace(status) != Some(status)
        {
            followed.told_at = None;
        }
    }

    fn jobs(&self) -> MutexGuard<'_, BTreeMap<JobId, Followed>> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inbox {
    fn contents(&self) -> MutexGuard<'_, Contents> {
        self.contents.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn end(&self, halt: Halt) {
        self.contents().end = Some(halt);
        self.changed.notify_one();
    }

    fn show(&self, delta: &Delta, buffer: usize) {
        let mut contents = self.contents();
        if contents.deltas.len() < buffer {
            contents.deltas.push_back(delta.clone());
            self.changed.notify_one();
        }
    }

    /// From where it goes on; `None` where its client has not taken what is there.
    fn takes_events_after(&self) -> Option<u64> {
        let contents = self.contents();
        (contents.events.is_empty() && contents.end.is_none()).then_some(contents.after)
    }

    pub(crate) fn deliver(&self, tail: Option<&Tail>) {
        let mut contents = self.contents();
        match tail {
            None => contents.end = Some(Halt::Unknown),
            Some(Tail { status, events }) => {
                let has_more = self.wants_events && events.len() >= PAGE;
                if !has_more && status.is_final() {
                    // A run that is here tells its end itself.
                    contents.end.get_or_insert(Halt::Ended);
                }
                if let Some(last) = events.last().filter(|_| self.wants_events) {
                    contents.after = contents.after.max(last.id);
                    contents.events.clone_from(events);
                }
                if contents.events.is_empty() && contents.end.is_none() {
                    return;
                }
            }
        }
        drop(contents);
        self.changed.notify_one();
    }
}

impl Follower<'_> {
    /// The client has read the events up to this one.
    pub(crate) fn has_read(&mut self, last: u64) {
        self.last = last;
        let mut contents = self.inbox.contents();
        contents.after = contents.after.max(last);
    }

    /// Waits for what comes next.
    pub(crate) async fn next(&mut self) -> Seen {
        loop {
            if let Some(delta) = self.next_delta() {
                return Seen::Delta(delta);
            }
            if let Some(event) = self.events.pop_front() {
                if event.id <= self.last {
                    continue;
                }
                self.last = event.id;
                return Seen::Event(event);
            }
            if let Some(halt) = self.end {
                return Seen::Halt(halt);
            }
            if !self.take() {
                self.inbox.changed.notified().await;
            }
        }
    }

    /// A delta that follows the last event, without those that came too late.
    fn next_delta(&mut self) -> Option<Delta> {
        while self.deltas.front()?.after < self.last {
            self.deltas.pop_front();
        }
        let follows = self.deltas.front()?.after == self.last;
        follows.then(|| self.deltas.pop_front()).flatten()
    }

    /// Takes what has arrived, if anything has.
    fn take(&mut self) -> bool {
        let mut contents = self.inbox.contents();
        let events = std::mem::take(&mut contents.events);
        let deltas = std::mem::take(&mut contents.deltas);
        self.end = contents.end;
        drop(contents);
        let has_arrived = !events.is_empty() || !deltas.is_empty() || self.end.is_some();
        if events.len() >= PAGE {
            // There may be more.
            self.followers.may_have_changed(self.job);
        }
        self.events.extend(events);
        self.deltas.extend(deltas);
        let most = self.followers.buffer;
        self.deltas.truncate(most);
        has_arrived
    }
}

impl Drop for Follower<'_> {
    fn drop(&mut self) {
        let mut jobs = self.followers.jobs();
        if let Some(followed) = jobs.get_mut(&self.job) {
            followed
                .inboxes
                .retain(|inbox| !Arc::ptr_eq(inbox, &self.inbox));
            if followed.inboxes.is_empty() {
                jobs.remove(&self.job);
            }
        }
    }
}
