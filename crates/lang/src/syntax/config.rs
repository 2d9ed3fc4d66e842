//! `config`: settings for all nodes.

use super::grammar::{NO_LIMIT, Shape, Table, key};
use super::view::View;
use super::{budget, gates, llm, optimization};
use crate::workflow::Tracking;

pub(crate) static CONFIG: Table = Table::new(
    "config",
    &[
        key(
            "llm",
            Shape::Mapping(&llm::LLM),
            "model settings for all nodes",
        ),
        key(
            "execution",
            Shape::Mapping(&EXECUTION),
            "time limit and attempts",
        ),
        key(
            "budget",
            Shape::Mapping(&budget::BUDGET),
            "as `budget` at the top of the file, which wins",
        ),
        key(
            "gates",
            gates::SECTION,
            "limits on what a run measured, checked after the last node",
        ),
        key(
            "observability",
            Shape::Mapping(&OBSERVABILITY),
            "what is shown of runs; MLFLOW_TRACKING_URI switches tracking on",
        ),
        key(
            "storage",
            Shape::Mapping(&STORAGE),
            "accepted; has no effect on a run",
        ),
        key(
            "mlflow",
            Shape::Mapping(&MLFLOW),
            "as `observability.mlflow`, which wins",
        ),
        key(
            "ab_test",
            Shape::Mapping(&optimization::AB_TEST),
            "accepted; has no effect on a run",
        ),
    ],
)
.ignored(&[
    ("memory", "set `memory` on the nodes that use it"),
    ("sandbox", "set `sandbox` on the nodes with `code`"),
    ("tools", "set `tools` on the nodes that use them"),
    (
        "webhook",
        "remove it; webhooks are not part of the file format",
    ),
    (
        "webhooks",
        "remove it; webhooks are not part of the file format",
    ),
    (
        "agent",
        "remove it; only the Python original's documents show it",
    ),
    ("profiling", "remove it; every run is timed"),
    ("orchestration", "remove it; edges say what runs when"),
    ("timeout", "move it under `execution`"),
    ("timeout_seconds", "move it under `execution`"),
    ("max_retries", "move it under `execution`"),
    ("retries", "write `execution.max_retries`"),
    ("model", llm::UNDER_LLM),
    ("provider", llm::UNDER_LLM),
    ("temperature", llm::UNDER_LLM),
    ("max_tokens", llm::UNDER_LLM),
    ("api_base", llm::UNDER_LLM),
]);

static EXECUTION: Table = Table::new(
    "execution",
    &[
        key(
            "timeout",
            Shape::Int(1, NO_LIMIT),
            "longest time for one call of a model, in seconds",
        )
        .aliases(&["timeout_seconds"])
        .default("120"),
        key(
            "max_retries",
            Shape::Int(0, NO_LIMIT),
            "attempts per node; 0 counts as 1",
        )
        .default("3"),
    ],
)
.ignored(&[
    ("retries", "write `max_retries`"),
    ("max_attempts", "write `max_retries`"),
    ("timeout_ms", "write `timeout`, in seconds"),
]);
/// `timeout` where none is given.
pub(crate) const DEFAULT_TIMEOUT_SECONDS: i64 = 120;
/// `max_retries` where none is given.
pub(crate) const DEFAULT_ATTEMPTS: i64 = 3;

static OBSERVABILITY: Table = Table::new(
    "observability",
    &[
        key(
            "capture",
            CAPTURE,
            "what telemetry keeps of prompts, answers, inputs, outputs and tool data",
        )
        .default("\"full\""),
        key("logging", Shape::Mapping(&LOGGING), "how much is logged"),
        key(
            "mlflow",
            Shape::Mapping(&TRACKING),
            "where runs are tracked",
        ),
    ],
);

/// `capture`, of the workflow or of a node.
pub(crate) const CAPTURE: Shape = Shape::Word(&["none", "metadata", "full"]);

static LOGGING: Table = Table::new(
    "logging",
    &[key(
        "level",
        Shape::AnyCaseWord(&["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"]),
        "checked; has no effect",
    )
    .default("\"INFO\"")],
);

static TRACKING: Table = Table::new(
    "mlflow_tracking",
    &[
        key("enabled", Shape::Bool, "whether runs are tracked").default("false"),
        key("tracking_uri", Shape::Text, "where they are kept").default("\"file://./mlruns\""),
        key("experiment_name", Shape::Text, "name of the experiment").aliases(&["experiment"]),
        key("run_name", Shape::Text, "name of the run"),
        key("log_prompts", Shape::Bool, "whether prompts are kept").default("true"),
        key("log_artifacts", Shape::Bool, "whether artifacts are kept").default("true"),
        key(
            "artifact_level",
            Shape::Word(&["minimal", "standard", "full"]),
            "how much of them",
        )
        .default("\"standard\""),
        key(
            "async_logging",
            Shape::Bool,
            "whether a run does not wait for it",
        )
        .default("true"),
        key(
            "retention_days",
            Shape::Int(1, NO_LIMIT),
            "days that runs are kept",
        ),
        key("redact_pii", Shape::Bool, "whether personal data is masked").default("false"),
    ],
);

static STORAGE: Table = Table::new(
    "storage",
    &[
        key("backend", Shape::Text, "only `sqlite` is known").default("\"sqlite\""),
        key("path", Shape::Text, "the database's file").default("\"./workflows.db\""),
    ],
)
.ignored(&[("connection_string", "remove it; only `path` is known")]);

static MLFLOW: Table = Table::new(
    "mlflow",
    &[
        key("experiment", Shape::Text, "name of the experiment").aliases(&["experiment_name"]),
        key("run_name", Shape::Text, "name of the run"),
    ],
)
.ignored(&[
    ("enabled", "move it to `config.observability.mlflow`"),
    ("tracking_uri", "move it to `config.observability.mlflow`"),
    ("log_prompts", "move it to `config.observability.mlflow`"),
    ("log_artifacts", "move it to `config.observability.mlflow`"),
    ("artifact_level", "move it to `config.observability.mlflow`"),
    ("async_logging", "move it to `config.observability.mlflow`"),
    ("retention_days", "move it to `config.observability.mlflow`"),
    ("redact_pii", "move it to `config.observability.mlflow`"),
]);

/// `config`, read.
pub(crate) struct Config<'a> {
    pub(crate) view: Option<View<'a>>,
    pub(crate) timeout_seconds: i64,
    pub(crate) attempts: i64,
}

impl<'a> Config<'a> {
    pub(crate) fn read(view: Option<View<'a>>) -> Self {
        let section = |name: &str, table| view.as_ref().and_then(|view| view.mapping(name, table));
        let execution = section("execution", &EXECUTION);
        let number = |name: &str| execution.as_ref().and_then(|view| view.int(name));
        Self {
            timeout_seconds: number("timeout").unwrap_or(DEFAULT_TIMEOUT_SECONDS),
            attempts: number("max_retries").unwrap_or(DEFAULT_ATTEMPTS),
            view,
        }
    }

    /// `llm`.
    pub(crate) fn llm_section(&self) -> Option<View<'a>> {
        self.view.as_ref()?.mapping("llm", &llm::LLM)
    }

    /// Where and how runs are tracked: what `observability.mlflow` says before what `mlflow` says.
    pub(crate) fn tracked(&self) -> Tracking {
        let tracking = self.tracking();
        let experiment = tracking
            .as_ref()
            .and_then(|view| view.string("experiment_name"))
            .or_else(|| {
                let mlflow = self.view.as_ref()?.mapping("mlflow", &MLFLOW);
                mlflow?.string("experiment")
            });
        Tracking {
            experiment: experiment.filter(|name| !name.trim().is_empty()),
            artifact_level: tracking.and_then(|view| view.string("artifact_level")),
        }
    }

    /// `observability`.
    pub(crate) fn observability(&self) -> Option<View<'a>> {
        self.view.as_ref()?.mapping("observability", &OBSERVABILITY)
    }

    /// `observability.mlflow`.
    pub(crate) fn tracking(&self) -> Option<View<'a>> {
        self.observability()?.mapping("mlflow", &TRACKING)
    }

    /// `storage.backend` as written, where it is another than the known one.
    pub(crate) fn foreign_storage(&self) -> Option<super::view::Text<'a>> {
        let storage = self.view.as_ref()?.mapping("storage", &STORAGE)?;
        storage
            .text("backend")
            .filter(|backend| !backend.value.eq_ignore_ascii_case("sqlite"))
    }
}
