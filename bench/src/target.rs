//! The two measured programs, which are started in the same way and get the same requests.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::load::{self, Question};
use crate::model_server::GREETING;
use crate::process::Process;

/// Longest time until a program is healthy, after which the measurement fails.
const START_LIMIT: Duration = Duration::from_secs(10);
/// Time between two health checks, which limits the error of the start time.
const START_POLL: Duration = Duration::from_micros(250);

const WORKFLOW: &str = include_str!("../workflows/greeting.yaml");

/// A program that can be measured.
#[derive(Debug, Clone)]
pub(crate) enum Program {
    /// The reference program.
    Reference,
    /// The flowmill binary.
    Flowmill(PathBuf),
    /// The flowmill binary, tracking its runs in the MLflow server at that address.
    Tracked(PathBuf, SocketAddr),
}

/// A started program.
pub(crate) struct Target {
    pub(crate) process: Process,
    pub(crate) address: SocketAddr,
    /// Time from the start of the process to its first healthy response.
    pub(crate) start_time: Duration,
}

impl Program {
    /// Starts the program in front of a model server; returns once it is healthy. Jobs are in
    /// memory.
    pub(crate) fn start(&self, model: SocketAddr, folder: &Path) -> Result<Target> {
        self.start_with(model, folder, &["--store", "memory"])
    }

    /// As [`start`](Self::start), with options of flowmill's own. Its store is a file in the folder
    /// unless they say otherwise.
    pub(crate) fn start_with(
        &self,
        model: SocketAddr,
        folder: &Path,
        options: &[&str],
    ) -> Result<Target> {
        self.start_workflow(WORKFLOW, model, folder, options)
    }

    /// As [`start_with`](Self::start_with), with another workflow of the same name, which only
    /// flowmill can serve.
    pub(crate) fn start_workflow(
        &self,
        workflow: &str,
        model: SocketAddr,
        folder: &Path,
        options: &[&str],
    ) -> Result<Target> {
        let model_url = format!("http://{model}/v1");
        let started = Instant::now();
        let (mut process, address, log) = match self {
            Self::Reference => {
                let (process, address) =
                    Process::start_own(&["reference", "--model-url", &model_url])?;
                (process, address, None)
            }
            Self::Flowmill(path) | Self::Tracked(path, _) => {
                let address = free_address()?;
                let log = folder.join(format!("flowmill-{}.log", address.port()));
                std::fs::write(folder.join("greeting.yaml"), workflow)?;
                let mut command = Command::new(path);
                command
                    .args([
                        "serve",
                        "greeting.yaml",
                        "--host",
                        "127.0.0.1",
                        "--model",
                        "openai/bench",
                    ])
                    .args(["--port", &address.port().to_string()])
                    .args(options)
                    // Settings of the user's environment must not leak in.
                    .env_clear()
                    .env("OPENAI_BASE_URL", &model_url)
                    .env("OPENAI_API_KEY", "bench")
                    .current_dir(folder);
                if let Self::Tracked(_, mlflow) = self {
                    command.env("MLFLOW_TRACKING_URI", format!("http://{mlflow}"));
                }
                (Process::start(&mut command, &log)?, address, Some(log))
            }
        };
        while !is_healthy(address) {
            let log = || {
                log.as_deref()
                    .and_then(|log| std::fs::read_to_string(log).ok())
                    .unwrap_or_default()
            };
            process
                .still_runs()
                .with_context(log)
                .with_context(|| format!("{self:?} did not start"))?;
            if started.elapsed() > START_LIMIT {
                bail!(
                    "{self:?} gave no healthy answer within {START_LIMIT:?}: {}",
                    log()
                );
            }
            std::thread::sleep(START_POLL);
        }
        let start_time = started.elapsed();
        Ok(Target {
            process,
            address,
            start_time,
        })
    }

    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Reference => "reference",
            Self::Flowmill(_) | Self::Tracked(..) => "flowmill",
        }
    }
}

impl Target {
    /// Checks that a run returns the model's answer before anything is measured.
    pub(crate) async fn check(&self) -> Result<()> {
        let answer = load::ask_once(self.address, &Question::run()).await?;
        let answer: Value = serde_json::from_slice(&answer).context("the answer is not JSON")?;
        let right = answer["status"] == "success" && answer["outputs"]["greeting"] == GREETING;
        ensure!(right, "an unexpected answer: {answer}");
        Ok(())
    }
}

/// A port that was free a moment ago.
fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}

fn is_healthy(address: SocketAddr) -> bool {
    let ask = || -> std::io::Result<bool> {
        let mut stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(START_LIMIT))?;
        stream
            .write_all(b"GET /health HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")?;
        let mut status = [0; 12];
        stream.read_exact(&mut status)?;
        Ok(status == *b"HTTP/1.1 200")
    };
    ask().unwrap_or(false)
}
