//! Any body is read or refused, and what is read is a state or has faults that point into it.
#![no_main]

use std::sync::{Arc, LazyLock};

use lang::fault::PathSegment;
use lang::source::Source;
use lang::value::Value;
use lang::workflow::Workflow;
use libfuzzer_sys::fuzz_target;

const WORKFLOW: &str = r#"
schema_version: "1.0"
flow: {name: fuzz}
state:
  fields:
    s: {type: str, min_length: 1, pattern: "^[a-z]+$"}
    i: {type: int, minimum: 0, maximum: 10}
    f: {type: float, default: 0.5}
    b: {type: bool, default: false}
    l: {type: "list[int]", max_items: 3}
    d: {type: "dict[str, list[float]]", default: {}}
    o: {type: object, schema: {name: {type: str, required: true}, inner: {type: object, schema: {n: int}}}}
    out: {type: str, default: ""}
nodes:
  - {id: say, prompt: "{s} {i} {f} {b} {l} {d} {o}", output_schema: {type: str}, outputs: [out]}
edges:
  - {from: START, to: say}
  - {from: say, to: END}
"#;

static CHECKED: LazyLock<Arc<Workflow>> = LazyLock::new(|| {
    lang::check(&Source { name: "fuzz.yaml".into(), text: WORKFLOW.into() }).workflow.expect("the workflow is valid")
});

fuzz_target!(|text: &str| {
    let Ok(Value::Object(inputs)) = lang::json::read(text) else { return };
    match CHECKED.accept_inputs(&inputs) {
        Ok(state) => {
            // What was accepted once is accepted again, unchanged.
            let object = CHECKED.state_object(&state);
            assert_eq!(CHECKED.accept_inputs(&object).as_ref(), Ok(&state));
        }
        Err(faults) => {
            assert!(!faults.is_empty());
            for fault in faults {
                assert!(matches!(fault.path.first(), Some(PathSegment::Key(_))), "{fault:?}");
            }
        }
    }
});
