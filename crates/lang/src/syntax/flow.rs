//! `flow`: what the workflow is called.

use super::grammar::{Shape, Table, key};
use super::view::View;

pub(crate) static FLOW: Table = Table::new(
    "flow",
    &[
        key(
            "name",
            Shape::Name,
            "the workflow's name; blanks around it are dropped",
        )
        .required(),
        key("description", Shape::Text, "what the workflow does"),
        key(
            "version",
            Shape::Text,
            "the workflow's own version, in quotes",
        ),
    ],
)
.notes(&["tags", "author", "authors", "license", "metadata"]);

/// `flow`, read.
pub(crate) struct Flow {
    pub(crate) name: Option<String>,
    pub(crate) description: Option<String>,
    pub(crate) version: Option<String>,
}

impl Flow {
    pub(crate) fn read(view: &View<'_>) -> Self {
        Self {
            name: view.string("name").map(|name| name.trim().to_owned()),
            description: view.string("description"),
            version: view.string("version"),
        }
    }
}
