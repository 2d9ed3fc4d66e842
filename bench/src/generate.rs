//! A workflow file of any size: a chain of nodes, each of which reads what the one before wrote.

use std::fmt::{Arguments, Write};

/// One node in so many is left by routes rather than by a plain edge.
const ROUTES_EVERY: usize = 5;

/// A correct workflow of `nodes` nodes, each as in the greeting example, with conditions in
/// between.
pub(crate) fn workflow(nodes: usize) -> String {
    let mut text = String::new();
    let mut add = |part: Arguments| text.write_fmt(part).expect("a String takes everything");
    add(format_args!(
        "schema_version: \"1.0\"

flow:
  name: large

state:
  fields:
    text_0: {{type: str, required: true}}
"
    ));
    for node in 1..=nodes {
        add(format_args!(
            "    text_{node}: {{type: str, default: \"\"}}\n"
        ));
    }
    add(format_args!("\nnodes:\n"));
    for node in 1..=nodes {
        let before = node - 1;
        add(format_args!(
            "  - id: step_{node}
    prompt: \"Improve this text, carefully and briefly: {{text_{before}}}\"
    output_schema:
      type: object
      fields:
        - {{name: text_{node}, type: str}}
    outputs: [text_{node}]
"
        ));
    }
    add(format_args!("\nedges:\n  - {{from: START, to: step_1}}\n"));
    for node in 1..nodes {
        let next = node + 1;
        if node % ROUTES_EVERY == 0 {
            add(format_args!(
                "  - from: step_{node}
    routes:
      - {{condition: {{logic: \"{{state.text_{node}}} == 'done'\"}}, to: END}}
      - {{condition: {{logic: default}}, to: step_{next}}}
"
            ));
        } else {
            add(format_args!("  - {{from: step_{node}, to: step_{next}}}\n"));
        }
    }
    add(format_args!("  - {{from: step_{nodes}, to: END}}\n"));
    text
}
