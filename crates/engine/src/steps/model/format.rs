//! The form that a model's answer must have.

use std::sync::Arc;

use lang::workflow::{NodeId, Workflow};
use llm::chat::{AnswerFilter, OutputFormat};

/// The longest name that every provider accepts for an output format.
const MAX_NAME: usize = 64;

/// The node's output schema, as it is sent to a model.
pub(crate) fn of(workflow: &Arc<Workflow>, id: NodeId) -> OutputFormat {
    let node = &workflow.nodes[id.0];
    let fitting = Arc::clone(workflow);
    OutputFormat {
        name: Arc::from(name(&node.id)),
        description: node.output.description.as_deref().map(Arc::from),
        schema: Arc::new(node.output.json_schema()),
        filter: AnswerFilter::new(move |answer| fitting.nodes[id.0].output.read(answer).is_ok()),
    }
}

/// `Output_<node id>`, in the characters and length that every provider accepts for a function's
/// name.
fn name(node_id: &str) -> String {
    let plain = |c: char| {
        if c.is_ascii_alphanumeric() || c == '-' {
            c
        } else {
            '_'
        }
    };
    "Output_"
        .chars()
        .chain(node_id.chars().map(plain))
        .take(MAX_NAME)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn format_names_are_what_every_provider_takes() {
        let check = |id: &str, expected: &str| assert_eq!(name(id), expected);
        check("ask", "Output_ask");
        check("ask_2", "Output_ask_2");
        check("größe", "Output_gr__e");
        check(&"x".repeat(100), &format!("Output_{}", "x".repeat(57)));
    }
}
