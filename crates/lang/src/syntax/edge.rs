//! `edges` and loops: which node follows which.

use super::grammar::{Shape, Table, key};
use super::location::Location;
use super::view::{Item, Text, View};

pub(crate) static EDGE: Table = Table::new(
    "edge",
    &[
        key("from", Shape::Text, "the node it leaves, or `START`")
            .aliases(&["from_"])
            .no_list(
                "write an edge for each node it leaves; a node waits for every branch that still leads to it",
            )
            .required(),
        key(
            "to",
            Shape::Either(&[Shape::Text, Shape::List(&Shape::Text, 1)]),
            "the node it leads to, or `END`; a list fans out",
        ),
        key(
            "routes",
            Shape::List(&Shape::Mapping(&ROUTE), 0),
            "targets with conditions, the first that holds is taken",
        ),
        key(
            "loop",
            Shape::Mapping(&LOOP),
            "runs the node again until a field is true",
        ),
        key(
            "parallel",
            Shape::Either(&[Shape::Mapping(&PARALLEL), Shape::List(&Shape::Text, 1)]),
            "runs a node once per item of a list; or a list of nodes that run side by side",
        ),
        key(
            "join",
            Shape::Text,
            "the node that waits for all of a `parallel` list",
        ),
        key(
            "condition",
            CONDITION,
            "the edge is taken only if this holds",
        ),
    ],
)
.identity("from")
.notes(&["name", "id", "label", "description", "metadata"])
.ignored(&[
    ("when", "write `condition`"),
    ("if", "write `condition`"),
    ("source", "write `from`"),
    ("target", "write `to`"),
]);

const CONDITION: Shape = Shape::Either(&[Shape::Condition, Shape::Mapping(&LOGIC)]);

static LOGIC: Table = Table::new(
    "condition",
    &[key("logic", Shape::Condition, "the condition, or `default`").required()],
);

static ROUTE: Table = Table::new(
    "route",
    &[
        key(
            "condition",
            CONDITION,
            "when to take it; `default` marks the fallback",
        )
        .required(),
        key("to", Shape::Text, "the node it leads to, or `END`")
            .no_list("a route leads to one node; edges of that node may lead on to several")
            .required(),
    ],
)
.identity("to")
.notes(&["name", "label", "description"])
.ignored(&[
    ("when", "write `condition`"),
    ("if", "write `condition`"),
    ("target", "write `to`"),
]);

static LOOP: Table = Table::new(
    "loop",
    &[
        key(
            "condition_field",
            Shape::Text,
            "the bool field that ends the loop",
        )
        .required(),
        key("exit_to", Shape::Text, "where to go then").default("\"END\""),
        key("max_iterations", ITERATIONS, "executions at most").default("10"),
    ],
);

/// The node form of a loop.
pub(crate) static NODE_LOOP: Table = Table::new(
    "node_loop",
    &[
        key("until", Shape::Condition, "ends the loop when it holds"),
        key("max_iterations", ITERATIONS, "executions at most").default("10"),
        key(
            "break_on_error",
            Shape::Bool,
            "whether a failing iteration ends the loop instead of the run",
        )
        .default("false"),
    ],
);

const ITERATIONS: Shape = Shape::Int(1, 100);
/// `max_iterations` where none is given.
pub(crate) const DEFAULT_ITERATIONS: i64 = 10;

const MAX_ITEMS: Shape = Shape::Int(1, 1_000_000);
/// `max_items` of a fan-out where neither the edge nor the field of its items gives any.
pub(crate) const DEFAULT_MAX_ITEMS: usize = 1_000;

static PARALLEL: Table = Table::new(
    "parallel",
    &[
        key("items_field", Shape::Text, "the list field with the items").required(),
        key(
            "target_node",
            Shape::Text,
            "the node that runs once per item",
        )
        .required(),
        key(
            "collect_field",
            Shape::Text,
            "the list field that gathers the results",
        )
        .required(),
        key(
            "max_items",
            MAX_ITEMS,
            "items at most, where their field has no `max_items` of its own; a longer list fails the run",
        )
        .default("1000"),
    ],
);

/// An edge, read.
pub(crate) struct Edge<'a> {
    pub(crate) view: View<'a>,
    pub(crate) from: Option<Text<'a>>,
    pub(crate) kind: Kind<'a>,
    pub(crate) condition: Option<Text<'a>>,
    pub(crate) join: Option<Text<'a>>,
}

/// The kind of an edge.
pub(crate) enum Kind<'a> {
    /// `to`.
    To(Vec<Text<'a>>),
    Routes(Vec<Route<'a>>),
    Loop(Loop<'a>),
    Parallel(Parallel<'a>),
    /// `parallel` as a list of nodes.
    Branches(Vec<Text<'a>>),
    /// An edge of the wrong shape, which has been reported.
    Unsound,
    /// None of the four keys, or several.
    NotOne(usize),
}

impl<'a> Edge<'a> {
    pub(crate) fn read(item: &Item<'a>) -> Option<Self> {
        let view = item.mapping(&EDGE)?;
        // An empty `routes` counts as absent.
        let routes = view
            .get("routes")
            .filter(|routes| routes.list().is_none_or(|list| !list.is_empty()));
        let given = [
            view.get("to"),
            routes,
            view.get("loop"),
            view.get("parallel"),
        ];
        let count = given.iter().flatten().count();
        let [to, routes, repeat, parallel] = given;
        let kind = if count == 1 {
            to.and_then(|to| texts(&to).map(Kind::To))
                .or_else(|| {
                    routes
                        .and_then(|routes| Route::read_all(&routes))
                        .map(Kind::Routes)
                })
                .or_else(|| {
                    repeat
                        .and_then(|repeat| Loop::read(&repeat))
                        .map(Kind::Loop)
                })
                .or_else(|| parallel.and_then(|parallel| read_parallel(&parallel)))
                .unwrap_or(Kind::Unsound)
        } else {
            Kind::NotOne(count)
        };
        Some(Self {
            from: view.text("from"),
            kind,
            condition: view
                .get("condition")
                .and_then(|condition| condition_text(&condition)),
            join: view.text("join"),
            view,
        })
    }
}

fn texts<'a>(item: &Item<'a>) -> Option<Vec<Text<'a>>> {
    match item.list() {
        Some(items) => items.iter().map(Item::text).collect(),
        None => Some(vec![item.text()?]),
    }
}

/// The text of a condition, written directly or under `logic`.
fn condition_text<'a>(item: &Item<'a>) -> Option<Text<'a>> {
    item.text().or_else(|| item.mapping(&LOGIC)?.text("logic"))
}

/// A route, read.
pub(crate) struct Route<'a> {
    pub(crate) location: Location,
    pub(crate) condition: Option<Text<'a>>,
    pub(crate) to: Option<Text<'a>>,
}

impl<'a> Route<'a> {
    fn read_all(item: &Item<'a>) -> Option<Vec<Self>> {
        item.list()?.iter().map(Self::read).collect()
    }

    fn read(item: &Item<'a>) -> Option<Self> {
        let view = item.mapping(&ROUTE)?;
        Some(Self {
            location: view.head(),
            condition: view
                .get("condition")
                .and_then(|condition| condition_text(&condition)),
            to: view.text("to"),
        })
    }

    /// Whether it is the fallback.
    pub(crate) fn is_default(&self) -> bool {
        self.condition
            .as_ref()
            .is_some_and(|condition| condition.value.trim() == "default")
    }
}

/// A loop edge, read.
pub(crate) struct Loop<'a> {
    pub(crate) until: Option<Text<'a>>,
    pub(crate) exit_to: Option<Text<'a>>,
    /// Whether `exit_to` is not given, which means END.
    pub(crate) exits_to_end: bool,
    pub(crate) max_iterations: i64,
}

impl<'a> Loop<'a> {
    fn read(item: &Item<'a>) -> Option<Self> {
        let view = item.mapping(&LOOP)?;
        Some(Self {
            until: view.text("condition_field"),
            exit_to: view.text("exit_to"),
            exits_to_end: view.entry("exit_to").is_none(),
            max_iterations: view.int("max_iterations").unwrap_or(DEFAULT_ITERATIONS),
        })
    }
}

/// A `loop` on a node, read.
pub(crate) struct NodeLoop<'a> {
    pub(crate) until: Option<Text<'a>>,
    pub(crate) max_iterations: i64,
    pub(crate) break_on_error: bool,
}

impl<'a> NodeLoop<'a> {
    pub(crate) fn read(view: &View<'a>) -> Self {
        Self {
            until: view.text("until"),
            max_iterations: view.int("max_iterations").unwrap_or(DEFAULT_ITERATIONS),
            break_on_error: view.bool("break_on_error").unwrap_or(false),
        }
    }
}

/// A fan-out over items, read.
pub(crate) struct Parallel<'a> {
    pub(crate) items: Option<Text<'a>>,
    pub(crate) target: Option<Text<'a>>,
    pub(crate) collect: Option<Text<'a>>,
    pub(crate) max_items: Option<i64>,
}

fn read_parallel<'a>(item: &Item<'a>) -> Option<Kind<'a>> {
    match item.mapping(&PARALLEL) {
        Some(view) => Some(Kind::Parallel(Parallel {
            items: view.text("items_field"),
            target: view.text("target_node"),
            collect: view.text("collect_field"),
            max_items: view.int("max_items"),
        })),
        None => Some(Kind::Branches(
            item.list()?.iter().map(Item::text).collect::<Option<_>>()?,
        )),
    }
}
