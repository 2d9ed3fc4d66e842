//! Ctrl-C, SIGTERM and SIGHUP.

use std::io::{IsTerminal as _, stdin};

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::failure::{Exit, Failure, Result};

/// The signals that ask the process to stop. They are collected from the creation of this value on,
/// so that none is lost between two waits.
#[derive(Debug)]
pub(crate) struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hang_up: Option<HangUp>,
}

/// SIGHUP, which would end the process if nothing listened for it.
#[derive(Debug)]
struct HangUp {
    signal: Signal,
    effect: HangUpEffect,
}

#[derive(Debug)]
enum HangUpEffect {
    /// Files are reloaded elsewhere.
    Reload,
    /// The process stops, because the terminal that started it is gone.
    End,
    /// Nothing happens, and a log line says so.
    Nothing,
}

impl Signals {
    /// Starts to listen; without this the signals end the process. Needs a Tokio runtime.
    pub(crate) fn listen() -> Result<Self> {
        Ok(Self {
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
            hang_up: None,
        })
    }

    /// Listens for SIGHUP as well. If nothing is reloaded at it (`reloads` is false), it stops a
    /// process that was started from a terminal, since that terminal is gone; a background service
    /// continues.
    pub(crate) fn with_hang_up(self, reloads: bool) -> Result<Self> {
        let hang_up = HangUp {
            signal: listen(SignalKind::hangup())?,
            effect: if reloads {
                HangUpEffect::Reload
            } else if stdin().is_terminal() {
                HangUpEffect::End
            } else {
                HangUpEffect::Nothing
            },
        };
        Ok(Self {
            hang_up: Some(hang_up),
            ..self
        })
    }

    /// Waits for the next signal that asks the process to stop.
    pub(crate) async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
            () = hung_up(self.hang_up.as_mut()) => {}
        }
    }
}

/// Waits for a SIGHUP that stops the process.
async fn hung_up(hang_up: Option<&mut HangUp>) {
    let Some(hang_up) = hang_up else {
        return std::future::pending().await;
    };
    while hang_up.signal.recv().await.is_some() {
        match hang_up.effect {
            HangUpEffect::Reload => {}
            HangUpEffect::End => return,
            HangUpEffect::Nothing => {
                tracing::info!(
                    "SIGHUP has no effect: the server keeps running; send SIGTERM to stop it"
                );
            }
        }
    }
}

fn listen(kind: SignalKind) -> Result<Signal> {
    signal(kind)
        .map_err(|error| Failure::new(Exit::Io, format!("cannot listen for signals: {error}")))
}
