//! Receivers that are not there: what is sent to them is kept, and answered as a test tells them
//! to.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use engine::host::Host;
use outbound::{Answer, Error, Post, Request};
use serde_json::Value;

use crate::fixture::{HOUR, TestHost};

/// What a receiver does with one message.
#[derive(Debug, Clone, Copy)]
pub(super) enum Act {
    Answer(u16),
    /// 503, and the wish to be asked again after so many seconds.
    Busy(u64),
    /// 200 after this time.
    After(Duration),
    Unreachable,
    Hang,
}

/// What was sent.
#[derive(Debug, Clone)]
pub(super) struct Message {
    pub(super) at: Duration,
    pub(super) url: String,
    pub(super) headers: HashMap<&'static str, String>,
    pub(super) body: Value,
}

impl Message {
    pub(super) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }
}

type ActOn = dyn Fn(&str, usize) -> Act + Send + Sync;

pub(super) struct Receivers {
    host: Arc<TestHost>,
    act: Box<ActOn>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    messages: Vec<Message>,
    in_flight: HashMap<String, usize>,
    most_in_flight: HashMap<String, usize>,
}

impl Receivers {
    pub(super) fn new(
        host: Arc<TestHost>,
        act: impl Fn(&str, usize) -> Act + Send + Sync + 'static,
    ) -> Arc<Self> {
        Arc::new(Self {
            host,
            act: Box::new(act),
            state: Mutex::default(),
        })
    }

    pub(super) fn messages(&self) -> Vec<Message> {
        self.state.lock().unwrap().messages.clone()
    }

    pub(super) fn in_flight(&self) -> usize {
        self.state.lock().unwrap().in_flight.values().sum()
    }

    pub(super) fn most_in_flight(&self, host: &str) -> usize {
        self.state.lock().unwrap().most_in_flight[host]
    }
}

impl fmt::Debug for Receivers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receivers").finish_non_exhaustive()
    }
}

struct InFlight<'a>(&'a Receivers, String);

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        *self
            .0
            .state
            .lock()
            .unwrap()
            .in_flight
            .get_mut(&self.1)
            .unwrap() -= 1;
    }
}

#[async_trait]
impl Post for Receivers {
    async fn post(&self, request: Request) -> Result<Answer, Error> {
        let receiver = request.url.host_str().unwrap().to_owned();
        let message = Message {
            at: self.host.elapsed(),
            url: request.url.to_string(),
            headers: request.headers.into_iter().collect(),
            body: serde_json::from_slice(&request.body).unwrap(),
        };
        let number = {
            let mut state = self.state.lock().unwrap();
            state.messages.push(message);
            let now = state.in_flight.entry(receiver.clone()).or_default();
            *now += 1;
            let now = *now;
            let most = state.most_in_flight.entry(receiver.clone()).or_default();
            *most = now.max(*most);
            state.messages.len()
        };
        let _in_flight = InFlight(self, receiver.clone());
        let answer = |status| Answer {
            status,
            retry_after: None,
        };
        match (self.act)(&receiver, number) {
            Act::Answer(status) => Ok(answer(status)),
            Act::Busy(seconds) => Ok(Answer {
                retry_after: Some(Duration::from_secs(seconds)),
                ..answer(503)
            }),
            Act::After(time) => {
                tokio::time::sleep(time).await;
                Ok(answer(200))
            }
            Act::Unreachable => Err(Error("no connection to the receiver".to_owned())),
            Act::Hang => std::future::pending().await,
        }
    }
}

/// Lets time pass until something holds: less of it at first, so that little is missed.
pub(super) async fn until(mut holds: impl AsyncFnMut() -> bool) {
    let mut pause = Duration::from_millis(20);
    for _ in 0..10_000 {
        if holds().await {
            return;
        }
        pass(pause).await;
        pause = Duration::from_secs(20).min(pause * 3 / 2);
    }
    panic!("it does not hold for days");
}

/// Lets whatever is due in the next two days be done.
pub(super) async fn pass_days() {
    for _ in 0..20 {
        pass(HOUR * 5 / 2).await;
    }
}

/// In one jump: what is due every second is not done for each of them.
async fn pass(time: Duration) {
    tokio::time::advance(time).await;
    // Until what has become due is done.
    tokio::time::sleep(Duration::from_millis(2)).await;
}
