//! `nodes`: the steps, what each needs and what it writes. Keys of only one kind of node are
//! in the file of that kind.

pub(crate) mod code;
pub(crate) mod model;
pub(crate) mod tool;
pub(crate) mod turns;

use super::config::CAPTURE;
use super::grammar::{Shape, Table, key};
use super::location::Location;
use super::state::{INNER_FIELD, SENSITIVE};
use super::view::{Item, Text, View};
use super::{edge, llm, memory, optimization};
use crate::yaml::Key;

pub(crate) static NODE: Table = Table::new(
    "node",
    &[
        key(
            "id",
            Shape::Text,
            "the node's name, a word of letters, digits and `_`",
        )
        .required(),
        key(
            "kind",
            Shape::Word(&["model", "code", "tool"]),
            "what the node does; by default what its other keys say",
        ),
        key("description", Shape::Text, "what the node does"),
        key(
            "inputs",
            Shape::Open("input", &Shape::Template, 0),
            "variables of the node, templates over the state",
        ),
        model::PROMPT,
        model::SYSTEM,
        key(
            "output_schema",
            Shape::Mapping(&OUTPUT_SCHEMA),
            "what must come back",
        )
        .required_unless(&[("tool", None), ("kind", Some("tool"))]),
        key(
            "outputs",
            Shape::Either(&[
                Shape::List(&Shape::Text, 0),
                Shape::Open("output", &Shape::Text, 0),
            ]),
            "the state fields it writes; with `tool` also a mapping from fields to keys of the result",
        )
        .required(),
        model::LLM,
        turns::TOOLS,
        turns::TOOL_CHOICE,
        turns::MAX_TURNS,
        turns::MAX_TOOL_CALLS,
        turns::PARALLEL,
        turns::ON_LIMIT,
        turns::ANSWER_BY,
        tool::TOOL,
        tool::ARGS,
        code::CODE,
        code::SANDBOX,
        key(
            "memory",
            Shape::Mapping(&memory::MEMORY),
            "values kept between runs",
        ),
        key(
            "loop",
            Shape::Mapping(&edge::NODE_LOOP),
            "repeats the node before its edges are followed",
        ),
        key(
            "optimize",
            Shape::Mapping(&optimization::OPTIMIZE),
            "accepted; has no effect",
        ),
        key(
            "capture",
            CAPTURE,
            "what is kept of its prompts, answers and tool data, over `config.observability.capture`",
        ),
        key(
            "log_prompts",
            Shape::Bool,
            "overrides the observability setting",
        ),
        key(
            "log_artifacts",
            Shape::Bool,
            "overrides the observability setting",
        ),
        key(
            "mlflow",
            Shape::Mapping(&MLFLOW),
            "experiment names for this node",
        ),
    ],
)
.identity("id")
.notes(&["name", "label", "tags", "metadata"])
.ignored(&[
    (
        "optimization",
        "remove it; prompts are not optimised at run time",
    ),
    (
        "agent",
        "remove it; only the Python original's documents show it",
    ),
    ("profiling", "remove it; every run is timed"),
    ("timeout", llm::TIMEOUT),
    ("timeout_seconds", llm::TIMEOUT),
    ("max_retries", llm::RETRIES),
    ("retries", llm::RETRIES),
    ("system_prompt", llm::SYSTEM),
    ("model", llm::UNDER_LLM),
    ("provider", llm::UNDER_LLM),
    ("temperature", llm::UNDER_LLM),
    ("max_tokens", llm::UNDER_LLM),
    ("api_base", llm::UNDER_LLM),
    ("depends_on", "write an edge from each of those nodes to this one"),
    ("next", "write an edge from this node to that one"),
    ("condition", "put it on an edge that leads to this node"),
    ("when", "put it as `condition` on an edge that leads to this node"),
]);

static MLFLOW: Table = Table::new(
    "node_mlflow",
    &[
        key("experiment", Shape::Text, "name of the experiment"),
        key("run_name", Shape::Text, "name of the run"),
    ],
);

static OUTPUT_SCHEMA: Table = Table::new(
    "output_schema",
    &[
        key(
            "type",
            Shape::Type,
            "the type of the answer; `object` for several outputs",
        )
        .required(),
        key(
            "fields",
            Shape::List(&Shape::Mapping(&OUTPUT_FIELD), 0),
            "the outputs of a `type: object`",
        ),
        key(
            "description",
            Shape::Text,
            "what the answer is, told to the model",
        ),
    ],
);

static OUTPUT_FIELD: Table = Table::new(
    "output field",
    &[
        key("name", Shape::Text, "the state field it goes to").required(),
        key(
            "type",
            Shape::Type,
            "the same type as that of the state field",
        )
        .required(),
        key(
            "description",
            Shape::Text,
            "what it holds, told to the model",
        ),
        SENSITIVE,
        key(
            "schema",
            Shape::Open("field", &INNER_FIELD, 1),
            "the inner fields of a `type: object`",
        )
        .aliases(&["schema_"])
        .when("type", "object"),
    ],
)
.identity("name");

/// A node, read.
pub(crate) struct Node<'a> {
    pub(crate) view: View<'a>,
    pub(crate) id: Option<Text<'a>>,
    pub(crate) inputs: Vec<(&'a Key, Text<'a>)>,
    /// Absent when it is not a list of texts only.
    pub(crate) outputs: Option<Vec<Text<'a>>>,
    /// The mapping form: state fields, and the keys of a result that go there.
    pub(crate) renamed_outputs: Option<Vec<(&'a Key, Text<'a>)>>,
    pub(crate) schema: Option<OutputSchema<'a>>,
    pub(crate) memory: Option<memory::Memory<'a>>,
    pub(crate) repeat: Option<edge::NodeLoop<'a>>,
    pub(crate) model: model::Model<'a>,
    /// Its code: a node with code runs it, whatever other keys it has.
    pub(crate) code: Option<code::Code<'a>>,
    /// A call of a tool without a model, whether or not the node is of that kind.
    pub(crate) call: Option<tool::Call<'a>>,
    /// What `kind` says.
    pub(crate) stated_kind: Option<Text<'a>>,
}

/// What a node does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Model,
    Code,
    Tool,
}

impl<'a> Node<'a> {
    pub(crate) fn read(item: &Item<'a>) -> Option<Self> {
        let view = item.mapping(&NODE)?;
        let inputs = view
            .get("inputs")
            .and_then(|inputs| inputs.entries())
            .unwrap_or_default();
        Some(Self {
            id: view.text("id"),
            inputs: inputs
                .into_iter()
                .filter_map(|(key, item)| Some((key, item.text()?)))
                .collect(),
            outputs: view
                .list("outputs")
                .and_then(|items| items.iter().map(Item::text).collect()),
            renamed_outputs: view.get("outputs").and_then(|outputs| {
                let entries = outputs.entries()?.into_iter();
                entries
                    .map(|(key, item)| Some((key, item.text()?)))
                    .collect()
            }),
            schema: view
                .mapping("output_schema", &OUTPUT_SCHEMA)
                .map(|schema| OutputSchema::read(&schema)),
            memory: view
                .mapping("memory", &memory::MEMORY)
                .map(|memory| memory::Memory::read(&memory)),
            repeat: view
                .mapping("loop", &edge::NODE_LOOP)
                .map(|repeat| edge::NodeLoop::read(&repeat)),
            model: model::Model::read(&view),
            code: code::Code::read(&view),
            call: tool::Call::read(&view),
            stated_kind: view.text("kind"),
            view,
        })
    }

    /// What it does: what `kind` says, else what its keys say. Keys decide as in old files: code
    /// first, then a prompt.
    pub(crate) fn kind(&self) -> Kind {
        let stated = self.stated_kind.as_ref().map(|kind| &*kind.value);
        match stated {
            Some("model") => Kind::Model,
            Some("code") => Kind::Code,
            Some("tool") => Kind::Tool,
            _ if self.code.is_some() => Kind::Code,
            _ if self.view.get("tool").is_some() && self.view.get("prompt").is_none() => Kind::Tool,
            _ => Kind::Model,
        }
    }

    /// Its id for messages.
    pub(crate) fn name(&self) -> String {
        self.id
            .as_ref()
            .map_or_else(|| "?".to_owned(), |id| id.value.to_string())
    }
}

/// `output_schema`, read.
pub(crate) struct OutputSchema<'a> {
    pub(crate) location: Location,
    pub(crate) ty: Option<Text<'a>>,
    /// Absent when the key is; unsound fields are left out and make `complete` false.
    pub(crate) fields: Option<Vec<OutputField<'a>>>,
    pub(crate) complete: bool,
    pub(crate) description: Option<String>,
}

/// A field of an `output_schema`.
pub(crate) struct OutputField<'a> {
    pub(crate) view: View<'a>,
    pub(crate) name: Text<'a>,
    pub(crate) ty: Text<'a>,
}

impl<'a> OutputSchema<'a> {
    fn read(view: &View<'a>) -> Self {
        let items = view.list("fields");
        let fields: Option<Vec<_>> = items
            .as_ref()
            .map(|items| items.iter().filter_map(OutputField::read).collect());
        Self {
            location: view.head(),
            ty: view.text("type"),
            complete: items.map_or(0, |items| items.len()) == fields.as_ref().map_or(0, Vec::len),
            fields,
            description: view.string("description"),
        }
    }
}

impl<'a> OutputField<'a> {
    fn read(item: &Item<'a>) -> Option<Self> {
        let view = item.mapping(&OUTPUT_FIELD)?;
        Some(Self {
            name: view.text("name")?,
            ty: view.text("type")?,
            view,
        })
    }
}
