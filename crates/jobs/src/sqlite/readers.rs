//! A few threads that read beside the writer, each on a connection of its own. A reader sees what
//! had been committed when it began.
//!
//! The writer can have all of them closed; each is opened again when it is next needed.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

use super::fault::{StartError, panicked, unavailable};
use super::open::connect_reader;
use crate::store::Error;

/// Number of threads: enough that a long page does not hold up the polls.
const THREADS: usize = 3;

/// Most queued questions; further callers wait until there is space in the queue.
const QUEUE: usize = 1024;

type Question = Box<dyn FnOnce(rusqlite::Result<&Connection>) + Send>;

/// The readers' connections.
#[derive(Debug)]
pub(super) struct Connections {
    file: PathBuf,
    busy_timeout: Duration,
    /// Each is `None` until it is needed, and locked while it answers a question.
    each: [Mutex<Option<Connection>>; THREADS],
}

impl Connections {
    /// Connections to a database that may not exist yet.
    pub(super) fn to(file: &Path, busy_timeout: Duration) -> Arc<Self> {
        Arc::new(Self {
            file: file.to_owned(),
            busy_timeout,
            each: Default::default(),
        })
    }

    fn opened<'a>(&self, own: &'a mut Option<Connection>) -> rusqlite::Result<&'a Connection> {
        let connection = match own.take() {
            Some(connection) => connection,
            None => connect_reader(&self.file, self.busy_timeout)?,
        };
        Ok(own.insert(connection))
    }

    /// Closes all of them after their current questions, and keeps them closed while the result
    /// lives.
    pub(super) fn close(&self) -> Vec<MutexGuard<'_, Option<Connection>>> {
        let mut closed: Vec<_> = self.each.iter().map(locked).collect();
        for connection in &mut closed {
            **connection = None;
        }
        closed
    }
}
#[derive(Debug)]
pub(super) struct Readers {
    /// `None` once the threads have been told to end.
    questions: Option<mpsc::Sender<Question>>,
    threads: Vec<JoinHandle<()>>,
}

impl Readers {
    /// Starts the threads on an existing database. Opens each connection at once, to find out
    /// whether that works.
    pub(super) fn start(connections: &Arc<Connections>) -> Result<Self, StartError> {
        let (sender, receiver) = mpsc::channel(QUEUE);
        let receiver = Arc::new(Mutex::new(receiver));
        let mut readers = Self {
            questions: Some(sender),
            threads: Vec::new(),
        };
        for number in 0..THREADS {
            connections.opened(&mut locked(&connections.each[number]))?;
            let (connections, receiver) = (connections.clone(), receiver.clone());
            let thread = thread::Builder::new()
                .name("store-reader".to_owned())
                .spawn(move || answer(&connections, number, &receiver))?;
            readers.threads.push(thread);
        }
        Ok(readers)
    }

    pub(super) async fn read<T, F>(&self, read: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let question: Question = Box::new(move |connection| {
            let answer = connection.and_then(read);
            // Whoever asked may have gone.
            let _ = reply.send(answer.map_err(|error| unavailable(&error)));
        });
        let stopped = || Error::Unavailable("it has been closed".to_owned());
        self.questions
            .as_ref()
            .ok_or_else(stopped)?
            .send(question)
            .await
            .map_err(|_| stopped())?;
        answer.await.map_err(|_| panicked())?
    }
}

impl Drop for Readers {
    fn drop(&mut self) {
        self.questions = None;
        for thread in self.threads.drain(..) {
            // A panic of the thread has been printed, and its caller was told.
            let _ = thread.join();
        }
    }
}

fn answer(connections: &Connections, number: usize, questions: &Mutex<mpsc::Receiver<Question>>) {
    let own = &connections.each[number];
    loop {
        // Held only to take a question, never while answering it.
        let next = locked(questions).blocking_recv();
        let Some(question) = next else {
            *locked(own) = None;
            return;
        };
        let mut own = locked(own);
        let answered = AssertUnwindSafe(|| question(connections.opened(&mut own)));
        if catch_unwind(answered).is_err() {
            // Printed already; whoever asked is told.
            *own = None;
        }
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
