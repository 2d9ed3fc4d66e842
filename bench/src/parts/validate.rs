//! `flowmill validate` of a large file: the whole process, start and end included.

use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Result, ensure};

use super::{Bench, milliseconds};
use crate::generate;
use crate::report::{Budget, Line};
use crate::target::Program;

const NODES: usize = 1000;
const VALIDATE_MS: Budget = Budget::AtMost(50.0);

pub(super) fn measure(bench: &Bench) -> Result<Vec<Line>> {
    let Program::Flowmill(flowmill) = &bench.flowmill else {
        return Ok(Vec::new());
    };
    let file = bench.folder().join("large.yaml");
    std::fs::write(&file, generate::workflow(NODES))?;
    let mut times = Vec::new();
    for _ in 0..bench.scale.starts {
        let mut command = Command::new(flowmill);
        command
            .arg("validate")
            .arg(&file)
            .env_clear()
            .current_dir(bench.folder())
            .stdin(Stdio::null());
        let started = Instant::now();
        let output = command.output()?;
        times.push(milliseconds(started.elapsed()));
        ensure!(
            output.status.success(),
            "validate refused the generated file: {}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Ok(vec![
        Line::alone(format!("validate {NODES} nodes"), "ms", &times).within(VALIDATE_MS),
    ])
}
