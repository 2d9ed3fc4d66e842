//! A node that asks a model: renders the prompt, asks, reads the answer, and retries where that can
//! help.

mod attempt;
mod format;
mod paid_call;
mod prompt;
mod repair;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use lang::workflow::{LlmSettings, ModelNode, NodeId, Workflow};
use llm::chat::{
    ChatRequest, ExtraHeaders, Message, OutputFormat, Part, Role, Sampling, ToolChoice,
};
use llm::model::{ModelSpec, Models};

use crate::backoff;
use crate::context::{Context, millis};
use crate::event::EventKind;
use crate::outcome::{Failure, FailureCode, NodeUsage};
use crate::steps::kind::{Execution, Kind};
use crate::steps::outputs::Outputs;
use prompt::PromptInFlight;

/// The parts of a model node's requests that are the same in every run.
#[derive(Debug)]
pub(crate) struct ModelPlan {
    /// What the model has to answer.
    format: OutputFormat,
    /// The model that is asked.
    model: ModelSpec,
}

impl Kind for ModelPlan {
    type Node = ModelNode;

    fn plan(workflow: &Arc<Workflow>, id: NodeId, node: &ModelNode) -> Self {
        Self {
            format: format::of(workflow, id),
            model: model_spec(&node.llm),
        }
    }

    /// Refuses a model that is not configured.
    fn preflight(&self, node_id: &str, models: &dyn Models) -> Result<(), Failure> {
        let found = models.find(&self.model);
        found.map_err(|error| Failure::of_model(node_id, &error, 1, ""))?;
        Ok(())
    }

    async fn execute(
        &self,
        node: &ModelNode,
        execution: &Execution<'_>,
        usage: &mut NodeUsage,
    ) -> Result<Outputs, Failure> {
        let Execution {
            context,
            node_id,
            item,
            ..
        } = *execution;
        let settings = &context.workflow.execution;
        let prompt = prompt::render(&node.prompt, execution)?;
        let _in_flight = PromptInFlight::enter(&node.prompt, execution, &prompt);
        let model = context
            .environment
            .models
            .find(&self.model)
            .map_err(|error| Failure::of_model(node_id, &error, 1, ""))?;

        let prompt_length = prompt.len();
        let mut request = ChatRequest {
            label: node_id.clone(),
            messages: vec![Message::new(Role::User, prompt)],
            output: Some(self.format.clone()),
            temperature: node.llm.temperature,
            max_tokens: node.llm.max_tokens,
            timeout: settings.timeout,
            stream: context.stream,
            trace_parent: None,
            tools: Arc::default(),
            tool_choice: ToolChoice::default(),
            sampling: Sampling::default(),
            extra_headers: ExtraHeaders::default(),
        };
        if execution.was_in_flight {
            usage.add(&paid_call::book_interrupted(
                execution,
                model.as_ref(),
                &request,
            ));
        }
        let attempts = settings.max_attempts.max(1);
        let mut attempt = 1;
        let warned = Mutex::default();
        // An answer that was cut off once is likely to be cut off again, at the same cost: it is
        // retried only once.
        let mut was_cut_off = false;
        loop {
            let result = attempt::make(
                execution,
                model.as_ref(),
                &mut request,
                attempt,
                &warned,
                usage,
            )
            .await?;
            let (reason, wait) = match result {
                Ok(reply) => match repair::read(
                    &execution.node().output,
                    &reply,
                    node.llm.max_tokens,
                    context.workflow.sensitive.as_ref(),
                ) {
                    Ok(outputs) => return Ok(outputs),
                    Err(rejected)
                        if attempt >= attempts || (rejected.is_at_limit() && was_cut_off) =>
                    {
                        let reason = format_args!(
                            "the answer does not fit the output schema{}: {}",
                            after(attempt),
                            rejected.reason
                        );
                        let code = FailureCode::OutputInvalid;
                        return Err(Failure {
                            cut_off: rejected.cut_off,
                            ..Failure::of_node(code, node_id, reason)
                        });
                    }
                    Err(rejected) => {
                        was_cut_off |= rejected.is_at_limit();
                        context
                            .capture
                            .learn_quoted(execution.node, rejected.answer());
                        if let Some(Part::Text(text)) = request.messages[0].parts.first_mut() {
                            text.truncate(prompt_length);
                            text.push_str(&repair::remark(&rejected));
                        }
                        (rejected.reason, Duration::ZERO)
                    }
                },
                Err(error) if !error.kind.is_retryable() || attempt >= attempts => {
                    return Err(Failure::of_model(node_id, &error, attempt, ""));
                }
                Err(error) => wait_after(context, node_id, attempt, error)?,
            };
            context.events.emit(EventKind::NodeRetried {
                node: node_id.clone(),
                item,
                attempt,
                reason,
                wait_ms: millis(wait),
            });
            if !wait.is_zero() {
                context.host().sleep(wait).await;
            }
            attempt += 1;
        }
    }
}

fn model_spec(settings: &LlmSettings) -> ModelSpec {
    ModelSpec {
        provider: settings.provider.clone(),
        model: settings.model.clone(),
        api_base: settings.api_base.clone(),
        api_key_env: settings.api_key_env.clone(),
    }
}

/// The reason of a failed attempt, and how long to wait before the next one: as long as the
/// provider asks, but no longer than the operator allows. Fails if the next attempt would come
/// after the run's deadline.
fn wait_after(
    context: &Context<'_>,
    node_id: &str,
    attempt: u32,
    error: llm::Error,
) -> Result<(String, Duration), Failure> {
    let delay = |asked| backoff::before_model_call(attempt, asked, context.host().random());
    let wait = delay(error.retry_after);
    if context
        .remaining()
        .is_some_and(|remaining| wait >= remaining)
    {
        let seconds = wait.as_secs_f64().round();
        let why =
            format!("; the next attempt, in {seconds} s, would come after the run's deadline");
        return Err(Failure::of_model(node_id, &error, attempt, &why));
    }
    let longest = context.environment.models.max_retry_after();
    Ok(match error.retry_after {
        Some(asked) if asked > longest => {
            let reason = format!(
                "{} (it asks to wait {} s; the next attempt comes after {} s, the longest wait allowed)",
                error.message,
                asked.as_secs(),
                longest.as_secs_f64()
            );
            (reason, delay(Some(longest)))
        }
        _ => (error.message, wait),
    })
}

/// ` after 3 attempts`, where there was more than one.
fn after(attempts: u32) -> String {
    if attempts > 1 {
        format!(" after {attempts} attempts")
    } else {
        String::new()
    }
}
