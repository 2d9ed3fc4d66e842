//! The place of a run in a distributed trace, and the ids in its log lines.
//!
//! A trace context is that of the W3C (`traceparent`). The ids of log lines are in a task-local, so
//! they cost nothing until a line is written.

use std::fmt;
use std::future::Future;
use std::str::FromStr;

use uuid::Uuid;

/// A W3C trace context: the trace, the parent span, and whether the trace is recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceParent {
    /// Not zero.
    pub trace_id: [u8; 16],
    /// Not zero.
    pub span_id: [u8; 8],
    /// The caller decided that this trace is recorded.
    pub sampled: bool,
}

/// The text is not a valid `traceparent`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a W3C traceparent")]
pub struct InvalidTraceParent;

impl FromStr for TraceParent {
    type Err = InvalidTraceParent;

    /// Reads `00-<32 hex>-<16 hex>-<2 hex>`, and of later versions the part that they share with
    /// it.
    fn from_str(text: &str) -> Result<Self, InvalidTraceParent> {
        let mut parts = text.trim().split('-');
        let mut next = || parts.next().ok_or(InvalidTraceParent);
        let version: [u8; 1] = hex(next()?)?;
        let trace_id = hex(next()?)?;
        let span_id = hex(next()?)?;
        let [flags] = hex::<1>(next()?)?;
        let has_more = parts.next().is_some();
        let is_whole = trace_id != [0; 16] && span_id != [0; 8];
        if version == [0xff] || (version == [0] && has_more) || !is_whole {
            return Err(InvalidTraceParent);
        }
        Ok(Self {
            trace_id,
            span_id,
            sampled: flags & 1 == 1,
        })
    }
}

impl fmt::Display for TraceParent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let flags = u8::from(self.sampled);
        write!(
            f,
            "00-{:032x}-{:016x}-{flags:02x}",
            u128::from_be_bytes(self.trace_id),
            u64::from_be_bytes(self.span_id)
        )
    }
}

/// Reads lower-case hexadecimal digits, as the specification demands.
fn hex<const N: usize>(text: &str) -> Result<[u8; N], InvalidTraceParent> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Ok(byte - b'0'),
        b'a'..=b'f' => Ok(byte - b'a' + 10),
        _ => Err(InvalidTraceParent),
    };
    let text = text.as_bytes();
    if text.len() != 2 * N {
        return Err(InvalidTraceParent);
    }
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(text.chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Ok(bytes)
}

/// The ids of a run in log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RunIds {
    /// The job's id.
    pub job: Uuid,
    /// The trace it belongs to.
    pub trace_id: [u8; 16],
}

impl RunIds {
    /// The ids of a run with that parent. Without a parent, the trace id is the job's id.
    pub fn of(job: Uuid, parent: Option<TraceParent>) -> Self {
        Self {
            job,
            trace_id: parent.map_or(*job.as_bytes(), |parent| parent.trace_id),
        }
    }

    /// The trace id in hexadecimal digits.
    pub fn trace_hex(&self) -> String {
        format!("{:032x}", u128::from_be_bytes(self.trace_id))
    }
}

tokio::task_local! {
    static CURRENT: RunIds;
}

/// Runs a future on behalf of a run. Not an `async fn`, which would hold the future twice.
pub fn within<F: Future>(ids: RunIds, work: F) -> impl Future<Output = F::Output> {
    CURRENT.scope(ids, work)
}

/// The run on whose behalf the current task works.
pub fn current() -> Option<RunIds> {
    CURRENT.try_with(|ids| *ids).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_parent_is_read_as_it_is_written() {
        let text = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        assert_eq!(text.parse::<TraceParent>().unwrap().to_string(), text);
        let unsampled = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00";
        assert!(!unsampled.parse::<TraceParent>().unwrap().sampled);
        let later = "cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-what-may-come";
        assert!(later.parse::<TraceParent>().is_ok());
    }

    #[test]
    fn what_is_no_trace_parent_is_refused() {
        for text in [
            "",
            "00",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e473-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0x",
        ] {
            assert_eq!(
                text.parse::<TraceParent>(),
                Err(InvalidTraceParent),
                "{text}"
            );
        }
    }

    #[tokio::test]
    async fn ids_are_those_of_the_run_that_is_polled() {
        let ids = RunIds::of(Uuid::from_u128(7), None);
        assert_eq!(current(), None);
        within(ids, async {
            assert_eq!(current(), Some(ids));
            assert!(ids.trace_hex().ends_with("07"));
        })
        .await;
        assert_eq!(current(), None);
    }
}
