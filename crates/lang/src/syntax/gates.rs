//! Quality gates, in each of the forms files use: `config.gates` as a mapping or a plain list, and
//! `optimization.quality_gates`.

use super::grammar::{Shape, Table, key};
use super::view::{Item, Text};
use crate::workflow::OnGateFail;

const ON_FAIL: Shape = Shape::AnyCaseWord(&["warn", "fail", "block_deploy"]);

pub(crate) const SECTION: Shape = Shape::Either(&[
    Shape::Mapping(&GATES),
    Shape::List(&Shape::Mapping(&GATE), 0),
]);

static GATES: Table = Table::new(
    "gates",
    &[
        key("gates", Shape::List(&Shape::Mapping(&GATE), 0), "the gates").default("[]"),
        key("on_fail", ON_FAIL, "what a failed gate does").default("\"warn\""),
    ],
);

static GATE: Table = Table::new(
    "gate",
    &[
        key(
            "metric",
            Shape::Text,
            "`duration_ms`, `cost_usd` or `total_tokens`",
        )
        .required(),
        key("max", NUMBER, "fails above").aliases(&["threshold"]),
        key("min", NUMBER, "fails below").aliases(&["min_threshold"]),
        key(
            "action",
            ON_FAIL,
            "what a failure of this gate does, over the section's `on_fail`",
        )
        .aliases(&["on_fail"]),
    ],
)
.identity("metric")
.notes(&["name", "description"]);

const NUMBER: Shape = Shape::Float(f64::MIN, f64::MAX);

/// A section of gates, read.
pub(crate) struct Section<'a> {
    pub(crate) gates: Vec<Gate<'a>>,
    pub(crate) on_fail: Option<OnGateFail>,
}

/// A gate, read.
pub(crate) struct Gate<'a> {
    pub(crate) metric: Text<'a>,
    pub(crate) max: Option<f64>,
    pub(crate) min: Option<f64>,
    pub(crate) action: Option<OnGateFail>,
}

impl<'a> Section<'a> {
    pub(crate) fn read(item: &Item<'a>) -> Self {
        let view = item.mapping(&GATES);
        let list = view
            .as_ref()
            .map_or_else(|| item.list(), |view| view.list("gates"));
        Self {
            gates: list
                .unwrap_or_default()
                .iter()
                .filter_map(Gate::read)
                .collect(),
            on_fail: view.and_then(|view| on_fail(&view.string("on_fail")?)),
        }
    }
}

impl<'a> Gate<'a> {
    fn read(item: &Item<'a>) -> Option<Self> {
        let view = item.mapping(&GATE)?;
        Some(Self {
            metric: view.text("metric")?,
            max: view.float("max"),
            min: view.float("min"),
            action: view.string("action").and_then(|action| on_fail(&action)),
        })
    }
}

fn on_fail(word: &str) -> Option<OnGateFail> {
    match word.to_ascii_lowercase().as_str() {
        "warn" => Some(OnGateFail::Warn),
        "fail" => Some(OnGateFail::Fail),
        "block_deploy" => Some(OnGateFail::BlockDeploy),
        _ => None,
    }
}
