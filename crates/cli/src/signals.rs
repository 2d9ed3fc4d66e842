//! Ctrl-C, SIGTERM and SIGHUP.

use std::io::{IsTerminal as _, stdin};

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::failure::{Exit, Failure, Result};

/// The signals that ask for an end, from the moment this is made: none is missed between two waits.
#[derive(Debug)]
pub(crate) struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hang_up: Option<HangUp>,
}

/// SIGHUP, which ends a process that does not listen for it.
#[derive(Debug)]
struct HangUp {
    signal: Signal,
    effect: HangUpEffect,
}

#[derive(Debug)]
enum HangUpEffect {
    /// Somebody else has files read again.
    Reload,
    /// The terminal is gone at which the process was started.
    End,
    /// None, which is said.
    Nothing,
}

impl Signals {
    /// Takes the signals over; without this they end the process. Needs a Tokio runtime.
    pub(crate) fn listen() -> Result<Self> {
        Ok(Self {
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
            hang_up: None,
        })
    }

    /// Takes SIGHUP over as well. Where nothing is read again at it, it asks for an end if the process was
    /// started at a terminal, which is gone then; the process of a service goes on.
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

    /// Waits for the next that asks for an end.
    pub(crate) async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
            () = hung_up(self.hang_up.as_mut()) => {}
        }
    }
}

/// Waits for a SIGHUP that asks for an end.
async fn hung_up(hang_up: Option<&mut HangUp>) {
    let Some(hang_up) = hang_up else {
        return std::future::pending().await;
    };
    while hang_up.signal.recv().await.is_some() {
        match hang_up.effect {
            HangUpEffect::Reload => {}
            HangUpEffect::End => return,
            HangUpEffect::Nothing => {
                tracing::info!("SIGHUP has no effect here: the server goes on; SIGTERM stops it");
            }
        }
    }
}

fn listen(kind: SignalKind) -> Result<Signal> {
    signal(kind)
        .map_err(|error| Failure::new(Exit::Io, format!("signals cannot be listened for: {error}")))
}
