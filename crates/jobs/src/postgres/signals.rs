//! Signals by `NOTIFY`, on a connection of its own.
//!
//! A notification takes a lock of the whole server until its transaction ends, so none is sent within a
//! transaction of a job: all that is to be told goes in one statement of its own, at most one each
//! [`PAUSE`]. The connection listens, too. It is never in a transaction, since the server must keep
//! every notification that a listener has not read; and where this process stops reading, the server
//! ends the connection after [`UNREAD_FOR`].
//!
//! While there is no connection nothing is heard, and replicas find out by looking. When there is one
//! again, subscribers are told to look everything up.

use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, broadcast};
use tokio::task::JoinHandle;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{AsyncMessage, Client};
use uuid::Uuid;

use super::connect::{Target, Wire, cause};
use super::options::Options;
use super::signal_batch::{self, Batch};
use crate::signals::{HEARD_BUFFER, Heard, Reception, Signal, Signals, Subscription};

/// Of all replicas on one database.
const CHANNEL: &str = "flowmill";

/// Between two notifications.
const PAUSE: Duration = Duration::from_millis(20);

/// How long the server waits for this process to read.
const UNREAD_FOR: Duration = Duration::from_secs(60);

/// How long connecting may take: several hosts may have to be tried.
const CONNECT_WITHIN: Duration = Duration::from_secs(8);

/// How long the server may take to answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// After that time without a word the server is asked whether it is there.
const SILENT_FOR: Duration = Duration::from_secs(10);

/// Pauses before connecting again.
const FIRST_RETRY: Duration = Duration::from_millis(100);
const LONGEST_RETRY: Duration = Duration::from_secs(10);

/// Signals to and from all replicas on one database.
#[derive(Debug)]
pub struct PostgresSignals {
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

#[derive(Debug)]
struct Shared {
    /// Tells our notifications from those of others.
    id: Uuid,
    batch: Mutex<Batch>,
    /// There is something to be sent.
    waits: Notify,
    heard: broadcast::Sender<Heard>,
    /// One of our own notifications has arrived.
    heard_self: Notify,
    is_connected: AtomicBool,
    losses: AtomicU64,
}

impl PostgresSignals {
    /// Connects, now or when the server is there, and stays connected until this is dropped. `id` is a
    /// fresh one.
    ///
    /// # Panics
    /// Outside a Tokio runtime.
    pub fn start(options: &Options, id: Uuid) -> Self {
        let url = options.listen_url.as_ref().unwrap_or(&options.url);
        let target = Target::new(url, &options.tls);
        let shared = Arc::new(Shared {
            id,
            batch: Mutex::default(),
            waits: Notify::new(),
            heard: broadcast::Sender::new(HEARD_BUFFER),
            heard_self: Notify::new(),
            is_connected: AtomicBool::new(false),
            losses: AtomicU64::new(0),
        });
        let task = tokio::spawn(stay_connected(shared.clone(), target));
        Self { shared, task }
    }
}

impl Drop for PostgresSignals {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Signals for PostgresSignals {
    fn publish(&self, signal: Signal) {
        let is_added = self.shared.batch().add(signal);
        if is_added {
            self.shared.waits.notify_one();
        } else {
            self.shared.losses.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn subscribe(&self) -> Subscription {
        Subscription::of(self.shared.heard.subscribe())
    }

    fn reception(&self) -> Reception {
        Reception {
            is_connected: Some(self.shared.is_connected.load(Ordering::Relaxed)),
            losses: self.shared.losses.load(Ordering::Relaxed),
        }
    }
}

impl Shared {
    fn batch(&self) -> MutexGuard<'_, Batch> {
        self.batch.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, heard: Heard) {
        // Fails where nobody subscribes.
        let _ = self.heard.send(heard);
    }
}

async fn stay_connected(shared: Arc<Shared>, target: Target) {
    let mut retry = FIRST_RETRY;
    let mut is_known_as_lost = false;
    loop {
        let lost = connected(&shared, &target).await;
        if shared.is_connected.swap(false, Ordering::Relaxed) {
            shared.losses.fetch_add(1, Ordering::Relaxed);
            retry = FIRST_RETRY;
            is_known_as_lost = false;
        }
        // Once, until it works again.
        if std::mem::replace(&mut is_known_as_lost, true) {
            tracing::debug!(%lost, "still no signals from other replicas");
        } else {
            tracing::warn!(
                %lost,
                "no signals from other replicas; they are found by looking once a second, and it is tried again"
            );
        }
        shared.batch().drop_deltas();
        // Not all replicas at once.
        let spread = 0.5 + f64::from(shared.id.as_bytes()[15]) / 512.0;
        tokio::time::sleep(retry.mul_f64(spread)).await;
        retry = (retry * 2).min(LONGEST_RETRY);
    }
}

/// Sends and hears until the connection ends; returns why it did.
async fn connected(shared: &Shared, target: &Target) -> String {
    let (client, mut wire) = match target.connect(CONNECT_WITHIN).await {
        Ok(connected) => connected,
        Err(error) => return error.to_string(),
    };
    let hearing = pin!(hear(shared, &mut wire));
    let sending = pin!(send(shared, target, &client));
    tokio::select! {
        biased;
        lost = hearing => lost,
        lost = sending => lost,
    }
}

/// Reads whatever arrives, at once.
async fn hear(shared: &Shared, wire: &mut Wire) -> String {
    loop {
        match poll_fn(|context| wire.poll_message(context)).await {
            Some(Ok(AsyncMessage::Notification(notification))) => {
                match signal_batch::read(notification.payload()) {
                    Some((from, _)) if from == shared.id => shared.heard_self.notify_one(),
                    Some((_, signals)) => {
                        for signal in signals {
                            shared.tell(Heard::Signal(signal));
                        }
                    }
                    None => tracing::debug!("a notification of something else"),
                }
            }
            Some(Ok(_)) => {}
            Some(Err(error)) => return cause(&error),
            None => return "the connection has ended".to_owned(),
        }
    }
}

async fn send(shared: &Shared, target: &Target, client: &Client) -> String {
    let Err(lost) = try_send(shared, target, client).await;
    lost
}

async fn try_send(shared: &Shared, target: &Target, client: &Client) -> Result<Infallible, String> {
    // A server on another system than Linux may refuse this one.
    let unread_for = format!("SET tcp_user_timeout = {}", UNREAD_FOR.as_millis());
    let _ = answered(client.batch_execute(&unread_for)).await;
    answered(client.batch_execute(&format!("LISTEN {CHANNEL}"))).await?;
    prove_hearing(shared, target).await?;
    shared.is_connected.store(true, Ordering::Relaxed);
    tracing::debug!("connected to the signals of other replicas");
    shared.tell(Heard::Rescan);
    loop {
        let waits = tokio::time::timeout(SILENT_FOR, shared.waits.notified()).await;
        if waits.is_err() {
            answered(client.query_typed("SELECT 1", &[])).await?;
            continue;
        }
        loop {
            let payload = {
                let mut batch = shared.batch();
                if batch.is_empty() {
                    break;
                }
                batch.take_payload(shared.id)
            };
            notify(client, &payload).await?;
            tokio::time::sleep(PAUSE).await;
        }
    }
}

/// Fails where notifications of other connections do not arrive: before a pooler that has no sessions,
/// those of a connection's own would.
async fn prove_hearing(shared: &Shared, target: &Target) -> Result<(), String> {
    let connected = target.connect(CONNECT_WITHIN).await;
    let (other, wire) = connected.map_err(|error| error.to_string())?;
    let sending = async {
        notify(&other, &Batch::default().take_payload(shared.id)).await?;
        let hears = tokio::time::timeout(ANSWER_WITHIN, shared.heard_self.notified());
        hears.await.map_err(|_| {
            "the server does not pass notifications on; if there is a pooler before it, give the \
             server's own address with --store-listen-url"
                .to_owned()
        })
    };
    tokio::select! {
        biased;
        proved = sending => proved,
        _ended = wire => Err("the connection has ended".to_owned()),
    }
}

/// One statement, and so a transaction of its own.
async fn notify(client: &Client, payload: &str) -> Result<(), String> {
    let params: [(&(dyn ToSql + Sync), Type); 2] = [(&CHANNEL, Type::TEXT), (&payload, Type::TEXT)];
    answered(client.query_typed("SELECT pg_notify($1, $2)", &params))
        .await
        .map(|_| ())
}

async fn answered<T>(
    answer: impl Future<Output = Result<T, tokio_postgres::Error>>,
) -> Result<T, String> {
    match tokio::time::timeout(ANSWER_WITHIN, answer).await {
        Ok(answer) => answer.map_err(|error| cause(&error)),
        Err(_) => Err("the server does not answer".to_owned()),
    }
}
