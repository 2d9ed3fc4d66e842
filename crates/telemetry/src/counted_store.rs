//! A job store that is measured: how long each verb takes.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use engine::host::Host;
use jobs::forward::{ForwardingStore, Verb};
use jobs::store::{Error, JobStore};
use prometheus::Histogram;

use crate::metrics::Metrics;

/// Passes everything on to a store and notes the time it takes.
pub struct CountedStore {
    store: Arc<dyn JobStore>,
    host: Arc<dyn Host>,
    seconds: Verbs,
}

struct Verbs {
    submit: Histogram,
    claim: Histogram,
    heartbeat: Histogram,
    checkpoint: Histogram,
    finish: Histogram,
    cancel: Histogram,
    read: Histogram,
    list: Histogram,
    delivery: Histogram,
    remove: Histogram,
}

impl CountedStore {
    /// Around that store.
    pub fn new(store: Arc<dyn JobStore>, host: Arc<dyn Host>, metrics: &Metrics) -> Self {
        Self {
            store,
            host,
            seconds: Verbs {
                submit: metrics.store("submit"),
                claim: metrics.store("claim"),
                heartbeat: metrics.store("heartbeat"),
                checkpoint: metrics.store("checkpoint"),
                finish: metrics.store("finish"),
                cancel: metrics.store("cancel"),
                read: metrics.store("read"),
                list: metrics.store("list"),
                delivery: metrics.store("delivery"),
                remove: metrics.store("remove"),
            },
        }
    }
}

impl Verbs {
    /// Where the time of a call is noted; `None` for calls that are not measured.
    fn of(&self, verb: Verb) -> Option<&Histogram> {
        match verb {
            Verb::Submit => Some(&self.submit),
            Verb::Claim => Some(&self.claim),
            Verb::Heartbeat => Some(&self.heartbeat),
            Verb::Checkpoint { .. } | Verb::Park(_) => Some(&self.checkpoint),
            Verb::Finish => Some(&self.finish),
            Verb::Cancel => Some(&self.cancel),
            Verb::Read | Verb::Definition => Some(&self.read),
            Verb::List => Some(&self.list),
            Verb::Deliver => Some(&self.delivery),
            Verb::Remove => Some(&self.remove),
            Verb::Release | Verb::HandBack(_) | Verb::Wake | Verb::Ping => None,
        }
    }
}

fn since(now: Duration, started: Duration) -> f64 {
    now.saturating_sub(started).as_secs_f64()
}

impl fmt::Debug for CountedStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.store.fmt(f)
    }
}

impl ForwardingStore for CountedStore {
    type Inner = dyn JobStore;

    fn inner(&self) -> &(dyn JobStore + 'static) {
        &*self.store
    }

    async fn around<T: Send + 'static>(
        &self,
        verb: Verb,
        call: impl Future<Output = Result<T, Error>> + Send,
    ) -> Result<T, Error> {
        let Some(seconds) = self.seconds.of(verb) else {
            return call.await;
        };
        let started = self.host.elapsed();
        let result = call.await;
        seconds.observe(since(self.host.elapsed(), started));
        result
    }
}
