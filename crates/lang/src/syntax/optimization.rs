//! `optimization` and `optimize`: prompt optimisation, which files may configure and which changes
//! nothing at run time; and `ab_test`, likewise.

use super::gates;
use super::grammar::{NO_LIMIT, Shape, Table, key};

/// `optimization` at the top of the file.
pub(crate) static OPTIMIZATION: Table = Table::new(
    "optimization",
    &[
        key("enabled", Shape::Bool, "accepted; has no effect").default("false"),
        key("strategy", Shape::Text, "accepted; has no effect").default("\"BootstrapFewShot\""),
        key("metric", Shape::Text, "accepted; has no effect").default("\"semantic_match\""),
        key("max_demos", DEMOS, "accepted; has no effect").default("4"),
        key(
            "quality_gates",
            gates::SECTION,
            "gates, as under `config.gates`",
        )
        .aliases(&["gates"]),
    ],
)
.ignored(&[("ab_test", "move it under `config`")]);

/// `optimize` on a node.
pub(crate) static OPTIMIZE: Table = Table::new(
    "optimize",
    &[
        key("enabled", Shape::Bool, "accepted; has no effect").default("false"),
        key("strategy", Shape::Text, "accepted; has no effect"),
        key("metric", Shape::Text, "accepted; has no effect"),
        key("max_demos", DEMOS, "accepted; has no effect"),
    ],
);

const DEMOS: Shape = Shape::Int(1, NO_LIMIT);

/// `config.ab_test`.
pub(crate) static AB_TEST: Table = Table::new(
    "ab_test",
    &[
        key("enabled", Shape::Bool, "accepted; has no effect on a run").default("false"),
        key("experiment", Shape::Text, "name of the experiment").required(),
        key(
            "variants",
            Shape::List(&Shape::Mapping(&VARIANT), 1),
            "what is compared",
        )
        .required(),
        key("run_count", Shape::Int(1, 10), "runs of each variant").default("3"),
        key("parallel", Shape::Bool, "whether variants run side by side").default("true"),
    ],
);

static VARIANT: Table = Table::new(
    "variant",
    &[
        key("name", Shape::Text, "the variant's name").required(),
        key("prompt", Shape::Text, "the prompt it tries"),
        key(
            "config_overrides",
            Shape::Open("setting", &Shape::Any, 0),
            "settings it changes",
        ),
        key("node_id", Shape::Text, "the node whose prompt it replaces"),
    ],
)
.identity("name");
