//! The prompt of a model node, and the form in which others than the model may see it.

use lang::template::{RenderError, Template};

use crate::capture::{Capture, MaskedScope};
use crate::outcome::{Failure, FailureCode};
use crate::steps::kind::Execution;

/// Renders the prompt over the state and the node's inputs.
pub(crate) fn render(template: &Template, execution: &Execution<'_>) -> Result<String, Failure> {
    let unresolved = |error: RenderError| {
        Failure::of_node(FailureCode::PlaceholderUnresolved, execution.node_id, error)
    };
    template.render(&execution.variables).map_err(unresolved)
}

/// A prompt whose masked form [`Capture`] knows until this is dropped.
pub(crate) struct PromptInFlight<'a> {
    capture: &'a Capture,
    /// Absent where no field is sensitive.
    prompt: Option<String>,
}

impl<'a> PromptInFlight<'a> {
    pub(crate) fn enter(template: &Template, execution: &Execution<'a>, prompt: &str) -> Self {
        let capture = execution.context.capture;
        let prompt = masked(template, execution).map(|masked| {
            capture.enter_prompt(prompt, masked);
            prompt.to_owned()
        });
        Self { capture, prompt }
    }
}

impl Drop for PromptInFlight<'_> {
    fn drop(&mut self) {
        if let Some(prompt) = &self.prompt {
            self.capture.leave_prompt(prompt);
        }
    }
}

/// The prompt with every sensitive placeholder masked; `None` where no field is sensitive.
fn masked(template: &Template, execution: &Execution<'_>) -> Option<String> {
    let workflow = execution.context.workflow;
    let scope = MaskedScope::of(workflow, execution.node, execution.variables)?;
    let inputs = execution.node().inputs.iter();
    let inputs = inputs.map(|input| input.template.value(&scope));
    let inputs = inputs.collect::<Result<Vec<_>, _>>().ok()?;
    let variables = execution.variables.with_inputs(&inputs);
    template.render(&scope.over(variables)).ok()
}
