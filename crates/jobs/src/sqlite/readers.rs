//! A few threads that read beside the writer, each on a connection of its own. A reader sees what had
//! been committed when it began.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

use super::fault::unavailable;
use super::open::connect_reader;
use super::writer::StartError;
use crate::store::Error;

/// Enough that a long page does not hold up the polls.
const THREADS: usize = 3;

/// Questions that wait at most; beyond it callers wait for a place.
const QUEUE: usize = 1024;

type Question = Box<dyn FnOnce(&Connection) + Send>;

#[derive(Debug)]
pub(super) struct Readers {
    /// `None` once they are to end.
    questions: Option<mpsc::Sender<Question>>,
    threads: Vec<JoinHandle<()>>,
}

impl Readers {
    pub(super) fn start(file: &Path, busy_timeout: Duration) -> Result<Self, StartError> {
        let (sender, receiver) = mpsc::channel(QUEUE);
        let receiver = Arc::new(Mutex::new(receiver));
        let mut readers = Self {
            questions: Some(sender),
            threads: Vec::new(),
        };
        for _ in 0..THREADS {
            let connection = connect_reader(file, busy_timeout)?;
            let receiver = receiver.clone();
            let thread = thread::Builder::new()
                .name("store-reader".to_owned())
                .spawn(move || answer(&connection, &receiver))?;
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
            // Whoever asked may have gone.
            let _ = reply.send(read(connection).map_err(|error| unavailable(&error)));
        });
        let stopped = || Error::Unavailable("it has been closed".to_owned());
        self.questions
            .as_ref()
            .ok_or_else(stopped)?
            .send(question)
            .await
            .map_err(|_| stopped())?;
        answer.await.map_err(|_| stopped())?
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

fn answer(connection: &Connection, questions: &Mutex<mpsc::Receiver<Question>>) {
    loop {
        // Held only to take a question, never while it is answered.
        let next = questions
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .blocking_recv();
        match next {
            Some(question) => question(connection),
            None => return,
        }
    }
}
