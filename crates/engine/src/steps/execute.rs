//! One execution of a node: the part that is the same for every kind. Evaluates the node's inputs
//! and emits the events that a node starts and ends with.

use std::sync::Arc;

use serde_json::Value;

use crate::context::millis;
use crate::event::EventKind;
use crate::outcome::{Failure, FailureCode, NodeUsage};
use crate::steps::kind::Execution;
use crate::steps::kinds::KindPlan;
use crate::steps::outputs::Outputs;

/// The end of an execution.
#[derive(Debug)]
pub(crate) struct Executed {
    /// One value per output of the node.
    pub(crate) result: Result<Vec<Value>, Failure>,
    /// What the execution took. Failed executions have it, too.
    pub(crate) usage: NodeUsage,
}

/// Executes a node of that kind, from its first event to its last.
pub(crate) async fn execute(kind: &KindPlan, execution: &Execution<'_>) -> Executed {
    let Execution {
        context,
        node_id,
        item,
        ..
    } = execution;
    let started = context.host().elapsed();
    context.events.emit(EventKind::NodeStarted {
        node: Arc::clone(node_id),
        iteration: execution.variables.counters(execution.node).finished + 1,
        item: *item,
    });
    let mut usage = NodeUsage::default();
    let result = match inputs(execution) {
        Ok(inputs) => {
            let variables = execution.variables.with_inputs(&inputs);
            let execution = Execution {
                variables,
                ..*execution
            };
            kind.execute(&execution, &mut usage).await
        }
        Err(failure) => Err(failure),
    };
    let result = result.map_err(|mut failure| {
        if let Some(index) = item {
            failure.message = format!("{} (item {index})", failure.message);
        }
        failure
    });
    context.events.emit(match &result {
        Ok(outputs) => EventKind::NodeCompleted {
            node: Arc::clone(node_id),
            item: *item,
            outputs: Arc::new(outputs.named(context.workflow, execution.node())),
            sealed: None,
            usage: usage.clone(),
            duration_ms: millis(context.since(started)),
            elapsed_ms: millis(context.run_time()),
        },
        Err(failure) => EventKind::NodeFailed {
            node: Arc::clone(node_id),
            item: *item,
            code: failure.code,
            error: failure.message.clone(),
            duration_ms: millis(context.since(started)),
        },
    });
    Executed {
        result: result.map(Outputs::into_values),
        usage,
    }
}

/// Evaluates the node's own inputs.
fn inputs(execution: &Execution<'_>) -> Result<Vec<Value>, Failure> {
    let node = execution.node();
    let inputs = node.inputs.iter();
    let inputs = inputs.map(|input| input.template.value(&execution.variables));
    inputs
        .collect::<Result<_, _>>()
        .map_err(|error| Failure::of_node(FailureCode::PlaceholderUnresolved, &node.id, error))
}
