//! The keys that say how a node's model may use its tools.

use crate::syntax::grammar::{Key, Shape, Table, key};
use crate::syntax::tools;
use crate::syntax::view::{Item, Text, View};
use crate::workflow::{AnswerBy, OnLimit, ToolUse};

pub(crate) const TOOLS: Key = key("tools", tools::TOOLS, "tools offered to the model");

pub(crate) const TOOL_CHOICE: Key = key(
    "tool_choice",
    CHOICE_SHAPE,
    "whether the model must call a tool in its first turn",
)
.default("\"auto\"");

const CHOICE_SHAPE: Shape =
    Shape::Either(&[Shape::Word(&["auto", "required"]), Shape::Mapping(&CHOICE)]);

static CHOICE: Table = Table::new(
    "tool_choice",
    &[key("tool", Shape::Name, "the tool that must be called").required()],
);

pub(crate) const MAX_TURNS: Key = key(
    "max_turns",
    Shape::Int(1, 1_000),
    "most calls of the model for one execution of the node",
)
.default("10");

pub(crate) const MAX_TOOL_CALLS: Key = key(
    "max_tool_calls",
    Shape::Int(0, 10_000),
    "most calls of tools for one execution of the node",
)
.default("50");

pub(crate) const PARALLEL: Key = key(
    "parallel",
    Shape::Int(1, 100),
    "most calls of tools of one turn that run at the same time",
)
.default("4");

pub(crate) const ON_LIMIT: Key = key(
    "on_limit",
    Shape::Word(&["answer", "fail"]),
    "at a limit: one last turn without tools, or failure of the node",
)
.default("\"answer\"");

pub(crate) const ANSWER_BY: Key = key(
    "answer_by",
    Shape::Word(&["tool", "format"]),
    "whether the model answers by calling a tool or by structured output",
)
.default("\"tool\"");

/// The keys that mean something only beside `tools`.
pub(crate) const ONLY_WITH_TOOLS: &[&str] = &[
    "tool_choice",
    "max_turns",
    "max_tool_calls",
    "parallel",
    "on_limit",
    "answer_by",
];

/// Tools and how they may be used, read.
pub(crate) struct Turns<'a> {
    /// Sound entries of `tools`.
    pub(crate) tools: Vec<tools::Tool<'a>>,
    /// Whether the list holds nothing else.
    pub(crate) complete: bool,
    /// The tool that must be called first.
    pub(crate) first: Option<Text<'a>>,
    /// Whether some tool must be called first.
    pub(crate) required: bool,
    view: View<'a>,
}

impl<'a> Turns<'a> {
    pub(super) fn read(node: &View<'a>) -> Self {
        let items = node.list("tools").unwrap_or_default();
        let tools: Vec<_> = items.iter().filter_map(tools::Tool::read).collect();
        Self {
            complete: tools.len() == items.len(),
            tools,
            first: node
                .mapping("tool_choice", &CHOICE)
                .and_then(|choice| choice.text("tool")),
            required: node.string("tool_choice").as_deref() == Some("required"),
            view: node.clone(),
        }
    }

    /// The keys given that mean something only beside tools.
    pub(crate) fn settings(&self) -> impl Iterator<Item = (&'static str, Item<'a>)> {
        ONLY_WITH_TOOLS
            .iter()
            .filter_map(|name| Some((*name, self.view.get(name)?)))
    }

    /// The limits, without tools and choice.
    pub(crate) fn limits(&self) -> ToolUse {
        let usual = ToolUse::default();
        let count = |name: &str, usual: u32| {
            let count = self.view.int(name);
            count
                .and_then(|count| u32::try_from(count).ok())
                .unwrap_or(usual)
        };
        ToolUse {
            max_turns: count("max_turns", usual.max_turns),
            max_tool_calls: count("max_tool_calls", usual.max_tool_calls),
            parallel: count("parallel", usual.parallel),
            on_limit: match self.view.string("on_limit").as_deref() {
                Some("fail") => OnLimit::Fail,
                _ => usual.on_limit,
            },
            answer_by: match self.view.string("answer_by").as_deref() {
                Some("format") => AnswerBy::Format,
                _ => usual.answer_by,
            },
            ..usual
        }
    }
}
