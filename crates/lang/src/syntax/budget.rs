//! `budget`: limits on what one run may spend, at the top of the file or under `config`.

use super::grammar::{NO_LIMIT, Shape, Table, key};
use super::view::View;
use crate::workflow::Budget;

pub(crate) static BUDGET: Table = Table::new(
    "budget",
    &[
        key(
            "max_cost_usd",
            Shape::Float(0.0, f64::MAX),
            "most US dollars",
        ),
        key(
            "max_tokens",
            Shape::Int(0, NO_LIMIT),
            "most tokens, those of questions and answers together",
        ),
        key(
            "max_llm_calls",
            Shape::Int(0, NO_LIMIT),
            "most calls of a model, retries included",
        ),
        key(
            "max_tool_calls",
            Shape::Int(0, NO_LIMIT),
            "most calls of tools, retries included",
        ),
    ],
);

/// The limits given; those of the first section win.
pub(crate) fn read(first: Option<&View<'_>>, second: Option<&View<'_>>) -> Budget {
    let count = |name: &str| {
        let value = [first, second]
            .into_iter()
            .flatten()
            .find_map(|view| view.int(name))?;
        u64::try_from(value).ok()
    };
    Budget {
        max_cost_usd: [first, second]
            .into_iter()
            .flatten()
            .find_map(|view| view.float("max_cost_usd")),
        max_tokens: count("max_tokens"),
        max_llm_calls: count("max_llm_calls"),
        max_tool_calls: count("max_tool_calls"),
    }
}
