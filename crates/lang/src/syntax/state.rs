//! `state`: the fields, their constraints and checks, and the rules across them.

use super::grammar::{Key as TableKey, NO_LIMIT, Shape, Table, key};
use super::location::Location;
use super::view::{Item, Text, View};
use crate::yaml::Key;

pub(crate) static STATE: Table = Table::new(
    "state",
    &[
        key(
            "fields",
            Shape::Open("field", &Shape::Mapping(&FIELD), 1),
            "the fields by name",
        )
        .required(),
        key(
            "rules",
            Shape::List(&RULE_SHAPE, 0),
            "conditions across fields that the inputs must meet",
        ),
        key(
            "additional_inputs",
            ADDITIONAL_INPUTS,
            "whether inputs that are not fields are dropped or refused",
        )
        .default("\"allow\""),
    ],
)
.notes(&["description"]);

pub(crate) const ADDITIONAL_INPUTS: Shape = Shape::Word(&["allow", "forbid"]);

pub(crate) static FIELD: Table = Table::new(
    "field",
    &[
        key(
            "type",
            Shape::Type,
            "the field's type, such as `str` or `list[int]`",
        )
        .required(),
        key("required", Shape::Bool, "whether the caller must give it").default("false"),
        key(
            "default",
            Shape::Any,
            "its value when the caller gives none; null means no default",
        ),
        key("description", Shape::Text, "what it holds"),
        SENSITIVE,
        key(
            "schema",
            Shape::Open("field", &INNER_FIELD, 1),
            "the inner fields of a `type: object`",
        )
        .aliases(&["schema_"])
        .when("type", "object"),
        key(
            "pattern",
            Shape::Text,
            "regular expression a text must match somewhere",
        ),
        key(
            "min_length",
            Shape::Int(0, NO_LIMIT),
            "fewest characters of a text",
        ),
        key(
            "max_length",
            Shape::Int(0, NO_LIMIT),
            "most characters of a text",
        ),
        key("minimum", NUMBER, "smallest number"),
        key("maximum", NUMBER, "largest number"),
        key("enum", Shape::List(&Shape::Any, 1), "the allowed values"),
        key(
            "format",
            Shape::Word(&[
                "date",
                "date-time",
                "time",
                "email",
                "uri",
                "uuid",
                "ipv4",
                "ipv6",
            ]),
            "the format of a text",
        ),
        key(
            "min_items",
            Shape::Int(0, NO_LIMIT),
            "fewest items of a list or entries of a dict",
        ),
        key(
            "max_items",
            Shape::Int(0, NO_LIMIT),
            "most items of a list or entries of a dict",
        ),
        key(
            "checks",
            Shape::Either(&[
                Shape::Condition,
                Shape::Mapping(&RULE),
                Shape::List(&RULE_SHAPE, 0),
            ]),
            "conditions on the field's own value, called `value` there",
        )
        .aliases(&["check"]),
    ],
)
.notes(&["title", "example", "examples"]);

/// On a field of the state, of an object or of an output.
pub(crate) const SENSITIVE: TableKey = key(
    "sensitive",
    Shape::Bool,
    "whether its value is masked wherever the run is shown but in its own result",
)
.default("false");

const NUMBER: Shape = Shape::Float(f64::MIN, f64::MAX);

/// In a `schema`, a field is its type or a whole field.
pub(crate) static INNER_FIELD: Shape = Shape::Either(&[Shape::Type, Shape::Mapping(&FIELD)]);

static RULE_SHAPE: Shape = Shape::Either(&[Shape::Condition, Shape::Mapping(&RULE)]);

static RULE: Table = Table::new(
    "rule",
    &[
        key("assert", Shape::Condition, "the condition that must hold").required(),
        key("message", Shape::Text, "what to say when it does not"),
    ],
);

/// `state`, read.
pub(crate) struct State<'a> {
    pub(crate) fields: Vec<Field<'a>>,
    pub(crate) rules: Vec<Rule<'a>>,
    pub(crate) additional_inputs: Option<String>,
}

impl<'a> State<'a> {
    pub(crate) fn read(view: &View<'a>) -> Self {
        Self {
            fields: view
                .get("fields")
                .map(|fields| Field::read_all(&fields))
                .unwrap_or_default(),
            rules: view
                .list("rules")
                .unwrap_or_default()
                .iter()
                .filter_map(Rule::read)
                .collect(),
            additional_inputs: view.string("additional_inputs"),
        }
    }
}

/// A field, inner or outer.
pub(crate) struct Field<'a> {
    pub(crate) key: &'a Key,
    pub(crate) location: Location,
    /// Absent for an inner field that is nothing but its type, and for one of the wrong shape.
    pub(crate) view: Option<View<'a>>,
    pub(crate) ty: Option<Text<'a>>,
    pub(crate) checks: Vec<Rule<'a>>,
}

impl<'a> Field<'a> {
    /// The entries of a mapping from names to fields.
    pub(crate) fn read_all(fields: &Item<'a>) -> Vec<Self> {
        let entries = fields.entries().unwrap_or_default();
        entries
            .into_iter()
            .map(|(key, item)| Self::read(key, &item))
            .collect()
    }

    fn read(key: &'a Key, item: &Item<'a>) -> Self {
        let location = Location::new(item.location.path.clone(), key.span);
        let view = item.mapping(&FIELD);
        let ty = view
            .as_ref()
            .map_or_else(|| item.text(), |view| view.text("type"));
        let checks = view
            .as_ref()
            .and_then(|view| view.get("checks"))
            .map(|checks| match checks.list() {
                Some(items) => items.iter().filter_map(Rule::read).collect(),
                None => Rule::read(&checks).into_iter().collect(),
            });
        Self {
            key,
            location,
            view,
            ty,
            checks: checks.unwrap_or_default(),
        }
    }
}

/// A condition that must hold.
pub(crate) struct Rule<'a> {
    pub(crate) assert: Text<'a>,
    pub(crate) message: Option<String>,
}

impl<'a> Rule<'a> {
    fn read(item: &Item<'a>) -> Option<Self> {
        if let Some(assert) = item.text() {
            return Some(Self {
                assert,
                message: None,
            });
        }
        let view = item.mapping(&RULE)?;
        Some(Self {
            assert: view.text("assert")?,
            message: view.string("message"),
        })
    }
}
