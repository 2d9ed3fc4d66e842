//! The offline model conforms to every schema a workflow can ask for.

use llm::chat::{ChatReply, Content};
use llm::offline::Offline;
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use crate::ask::{ask, free, shaped, streamed};

fn answer(schema: &Value) -> (ChatReply, String) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let request = streamed(shaped(
        "Write a short article about otters, with care",
        schema.clone(),
    ));
    let (reply, pieces) = runtime.block_on(ask(&Offline, "google/gemini-2.5-flash-lite", &request));
    (reply.unwrap(), pieces)
}

fn bounded(
    kind: &'static str,
    min: &'static str,
    max: &'static str,
    least: i64,
    most: i64,
) -> impl Strategy<Value = Value> {
    (least..most, 0..20_i64, any::<(bool, bool)>()).prop_map(
        move |(low, span, (has_min, has_max))| {
            let mut schema = Map::from_iter([("type".to_owned(), json!(kind))]);
            if has_min {
                schema.insert(min.to_owned(), json!(low));
            }
            if has_max {
                schema.insert(max.to_owned(), json!(low + span));
            }
            Value::Object(schema)
        },
    )
}

fn with_pattern() -> impl Strategy<Value = Value> {
    let patterns = prop::sample::select(vec![
        "^[a-z]+$",
        "^[A-Z]{2,4}-[0-9]{3}$",
        "[0-9]",
        "^(low|medium|high)$",
        r"^\d{4}-\d{2}-\d{2}$",
        r"^\S+@\S+\.\S+$",
        "^#[0-9a-f]{6}$",
        "^[^ ]*$",
        "otters",
        "^.{3,}$",
        r"^\w+( \w+)*$",
    ]);
    (patterns, 0..9_u64).prop_map(|(pattern, min)| match pattern {
        // Patterns that cannot grow keep their own length.
        "^[A-Z]{2,4}-[0-9]{3}$"
        | "^(low|medium|high)$"
        | r"^\d{4}-\d{2}-\d{2}$"
        | "^#[0-9a-f]{6}$" => {
            json!({"type": "string", "pattern": pattern})
        }
        _ => json!({"type": "string", "pattern": pattern, "minLength": min, "maxLength": min + 30}),
    })
}

fn with_format() -> impl Strategy<Value = Value> {
    prop::sample::select(vec![
        "date",
        "date-time",
        "time",
        "email",
        "uri",
        "uuid",
        "ipv4",
        "ipv6",
    ])
    .prop_map(|format| json!({"type": "string", "format": format}))
}

fn schema() -> impl Strategy<Value = Value> {
    let number = bounded("number", "minimum", "maximum", -50, 50);
    let halves = (-50.0..50.0_f64, 0.0..3.0_f64)
        .prop_map(|(low, span)| json!({"type": "number", "minimum": low, "maximum": low + span}));
    let scalar = prop_oneof![
        Just(json!({"type": "boolean"})),
        Just(json!({"type": ["string", "null"]})),
        Just(json!({"enum": ["low", 7, null]})),
        Just(json!({"const": "fixed"})),
        bounded("string", "minLength", "maxLength", 0, 200),
        bounded("integer", "minimum", "maximum", -50, 50),
        number,
        halves,
        with_pattern(),
        with_format(),
    ];
    scalar.prop_recursive(4, 24, 4, |inner| {
        let list = (inner.clone(), bounded("array", "minItems", "maxItems", 0, 4)).prop_map(|(items, mut list)| {
            list["items"] = items;
            list
        });
        let map = (inner.clone(), bounded("object", "minProperties", "maxProperties", 0, 4)).prop_map(|(values, mut map)| {
            map["additionalProperties"] = values;
            map
        });
        let object = prop::collection::btree_map("[a-z]{1,6}", inner.clone(), 0..4).prop_map(|fields| {
            let required: Vec<&String> = fields.keys().collect();
            json!({"type": "object", "properties": fields, "required": required, "additionalProperties": false})
        });
        let choice = inner.prop_map(|schema| json!({"anyOf": [{"type": "null"}, schema]}));
        prop_oneof![list, map, object, choice]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, ..ProptestConfig::default() })]

    #[test]
    fn answers_conform_and_never_change(schema in schema()) {
        let schema = json!({"type": "object", "properties": {"result": schema}, "required": ["result"]});
        let (reply, pieces) = answer(&schema);
        let Content::Json(value) = reply.content else { panic!("no structure") };
        let validator = jsonschema::options().should_validate_formats(true).build(&schema).unwrap();
        prop_assert!(validator.is_valid(&value), "{} does not conform to {}", value, schema);
        prop_assert_eq!(pieces, value.to_string());
        prop_assert_eq!(answer(&schema).0.content, Content::Json(value));
    }
}

#[test]
fn answers_say_where_they_come_from() {
    let (reply, _) = answer(
        &json!({"type": "object", "properties": {"title": {"type": "string"}}, "required": ["title"]}),
    );
    assert_eq!(
        reply.content,
        Content::Json(
            json!({"title": "[offline] title: Write a short article about otters, with care"})
        )
    );
    assert_eq!(
        (
            reply.provider.as_str(),
            reply.model.as_str(),
            reply.cost_usd
        ),
        ("offline", "builtin", Some(0.0))
    );
    assert_eq!(
        (reply.usage.input_tokens, reply.usage.output_tokens),
        (12, 19)
    );
}

#[tokio::test]
async fn free_text() {
    let reply = ask(&Offline, "offline", &free("otters")).await.0.unwrap();
    assert_eq!(
        reply.content,
        Content::Text("[offline] ask: otters".to_owned())
    );
}
