//! The look of log lines: for people, or a JSON object each. A line that is written on behalf of a
//! run says which (`job`) and in which trace (`trace`).

use std::fmt::{self, Debug, Write as _};

use engine::trace::{self, RunIds};
use lang::visible;
use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::{Compact, Format as Text, Writer};
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

/// How lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// For people.
    Text {
        /// With colours.
        color: bool,
    },
    /// A JSON object per line: `timestamp`, `level`, `message`, the line's own fields, `job`,
    /// `trace`, `target`.
    Json,
}

/// Writes log lines to stderr from now on. `filter` is in the form of `RUST_LOG`.
///
/// # Panics
/// When it is called a second time.
pub fn start(filter: &str, format: Format) {
    let lines = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new(filter))
        .with_writer(std::io::stderr);
    match format {
        Format::Text { color } => {
            let text = tracing_subscriber::fmt::format()
                .compact()
                .with_target(false);
            lines
                .with_ansi(color)
                .event_format(TextLines(text.with_ansi(color)))
                .init();
        }
        Format::Json => lines.event_format(JsonLines).init(),
    }
}

/// Lines for people, with the ids of the run at their end.
struct TextLines(Text<Compact>);

impl<S, N> FormatEvent<S, N> for TextLines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut line = String::new();
        self.0
            .format_event(context, Writer::new(&mut line), event)?;
        let line = line.trim_end_matches('\n');
        // What others wrote is a part of its line, and moves no cursor. Values have their escape
        // characters escaped before; those that are left are our colours.
        let line = visible::escaped_but_styles(line);
        writer.write_str(&line.replace('\n', "\\n"))?;
        let Some(ids) = trace::current() else {
            return writeln!(writer);
        };
        if !names_job(event) {
            write!(writer, " job={}", ids.job)?;
        }
        writeln!(writer, " trace={}", ids.trace_hex())
    }
}

fn names_job(event: &Event<'_>) -> bool {
    event.metadata().fields().field("job").is_some()
}

/// A JSON object per line.
struct JsonLines;

impl<S, N> FormatEvent<S, N> for JsonLines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut at = String::new();
        SystemTime.format_time(&mut Writer::new(&mut at))?;
        let line = object(event, &at, trace::current());
        let line = Value::Object(line).to_string();
        writeln!(writer, "{}", visible::escaped(&line))
    }
}

fn object(event: &Event<'_>, at: &str, ids: Option<RunIds>) -> Map<String, Value> {
    let mut members = Members(Map::new());
    members.0.insert("timestamp".to_owned(), at.into());
    let level = event.metadata().level().as_str();
    members.0.insert("level".to_owned(), level.into());
    event.record(&mut members);
    let Members(mut line) = members;
    if let Some(ids) = ids {
        line.entry("job")
            .or_insert_with(|| ids.job.to_string().into());
        line.entry("trace")
            .or_insert_with(|| ids.trace_hex().into());
    }
    line.insert("target".to_owned(), event.metadata().target().into());
    line
}

struct Members(Map<String, Value>);

impl Members {
    fn put(&mut self, field: &Field, value: impl Into<Value>) {
        self.0.insert(field.name().to_owned(), value.into());
    }
}

impl Visit for Members {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let mut text = String::new();
        let _ = write!(text, "{value:?}");
        self.put(field, text);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value);
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use tracing_subscriber::fmt::MakeWriter;
    use uuid::Uuid;

    use super::*;

    /// Takes what is written.
    #[derive(Clone, Default)]
    struct Sheet(Arc<Mutex<Vec<u8>>>);

    impl std::io::Write for Sheet {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    impl<'a> MakeWriter<'a> for Sheet {
        type Writer = Self;

        fn make_writer(&'a self) -> Self {
            self.clone()
        }
    }

    async fn within_a_run(say: impl FnOnce()) {
        let ids = RunIds {
            job: Uuid::from_u128(0xabc),
            trace_id: [0x11; 16],
        };
        trace::within(ids, async { say() }).await;
    }

    fn written(sheet: &Sheet) -> String {
        String::from_utf8(sheet.0.lock().unwrap().clone()).unwrap()
    }

    #[tokio::test]
    async fn json_lines_carry_their_fields_and_the_ids_of_the_run() {
        let sheet = Sheet::default();
        let subscriber = tracing_subscriber::fmt()
            .with_writer(sheet.clone())
            .event_format(JsonLines)
            .finish();
        let guard = tracing::subscriber::set_default(subscriber);
        tracing::info!(port = 8000, "listening");
        within_a_run(|| tracing::warn!(error = %"no answer", tries = 2_u64, "trying again")).await;
        within_a_run(|| tracing::warn!(job = %"another", "lost")).await;
        drop(guard);
        let lines: Vec<Value> = written(&sheet)
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        assert_eq!(lines[0]["message"], "listening");
        assert_eq!(lines[0]["port"], 8000);
        assert_eq!(lines[0].get("job"), None);
        assert_eq!(lines[1]["level"], "WARN");
        assert_eq!(lines[1]["error"], "no answer");
        assert_eq!(lines[1]["tries"], 2);
        assert_eq!(lines[1]["job"], "00000000-0000-0000-0000-000000000abc");
        assert_eq!(lines[1]["trace"], "11".repeat(16));
        assert_eq!(lines[2]["job"], "another");
    }

    #[tokio::test]
    async fn text_lines_end_with_the_ids_of_the_run() {
        let sheet = Sheet::default();
        let text = tracing_subscriber::fmt::format().compact().with_ansi(false);
        let subscriber = tracing_subscriber::fmt()
            .with_ansi(false)
            .with_writer(sheet.clone())
            .event_format(TextLines(text))
            .finish();
        let guard = tracing::subscriber::set_default(subscriber);
        tracing::info!("listening");
        within_a_run(|| tracing::warn!("trying again")).await;
        within_a_run(|| tracing::warn!(job = 7, "lost")).await;
        drop(guard);
        let text = written(&sheet);
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[0].ends_with("listening"), "{text}");
        let ids = format!(
            "trying again job=00000000-0000-0000-0000-000000000abc trace={}",
            "11".repeat(16)
        );
        assert!(lines[1].ends_with(&ids), "{text}");
        assert!(!lines[2].contains("000abc"), "{text}");
    }
}
