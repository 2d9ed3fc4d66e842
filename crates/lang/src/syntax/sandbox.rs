//! `sandbox`: limits on a node's code.

use super::grammar::{Shape, Table, key};

pub(crate) static SANDBOX: Table = Table::new(
    "sandbox",
    &[
        key(
            "mode",
            Shape::Word(&["python", "docker"]),
            "where the code runs",
        )
        .default("\"python\""),
        key("enabled", Shape::Bool, "whether the code is confined").default("true"),
        key(
            "network",
            Shape::Either(&[
                Shape::Bool,
                Shape::Open("setting", &Shape::Any, 0),
                Shape::Text,
            ]),
            "network access",
        )
        .aliases(&["network_enabled"])
        .default("true"),
        key(
            "preset",
            Shape::Word(&["low", "medium", "high", "max"]),
            "the usual limits by name",
        )
        .aliases(&["resource_preset"])
        .default("\"medium\""),
        key(
            "resources",
            Shape::Mapping(&RESOURCES),
            "single limits, over those of the preset",
        ),
        key("timeout", TIMEOUT, "time limit in seconds, over all others")
            .aliases(&["timeout_seconds"]),
    ],
);

const TIMEOUT: Shape = Shape::Int(1, 3600);

static RESOURCES: Table = Table::new(
    "sandbox_resources",
    &[
        key(
            "cpu",
            Shape::Above(0.0),
            "processors; applies in docker mode",
        ),
        key(
            "memory",
            Shape::Any,
            "memory, such as `512m`; applies in docker mode",
        ),
        key("timeout", TIMEOUT, "time limit in seconds"),
    ],
);
