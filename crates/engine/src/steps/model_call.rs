//! One execution of a model node: render the prompt, ask, read the answer, and try again where that
//! can help.

use std::borrow::Cow;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use lang::workflow::{ModelNode, NodeId};
use llm::chat::{ChatReply, ChatRequest, Delta, Message, Role};
use llm::error::ErrorKind;
use llm::model::ChatModel;
use serde_json::{Map, Value};

use crate::capture::MaskedScope;
use crate::context::{Context, millis};
use crate::event::EventKind;
use crate::observer::Call;
use crate::outcome::{Failure, FailureCode, NodeUsage};
use crate::paid_call::{PaidCall, SetAside, book_interrupted};
use crate::repair;
use crate::scope::Variables;

/// What is to be executed: a node, perhaps for one item of a fan-out.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Execution<'a> {
    pub(crate) node: NodeId,
    /// The item and its index.
    pub(crate) item: Option<(usize, &'a Value)>,
    /// The run as it was before the step.
    pub(crate) variables: Variables<'a>,
    /// An earlier attempt at the run may have begun it, and its end is not known.
    pub(crate) was_in_flight: bool,
}

impl Execution<'_> {
    fn index(&self) -> Option<usize> {
        self.item.map(|(index, _)| index)
    }
}

/// How an execution went.
#[derive(Debug)]
pub(crate) struct Executed {
    /// One value per output of the node.
    pub(crate) result: Result<Vec<Value>, Failure>,
    /// Also where it failed.
    pub(crate) usage: NodeUsage,
}

/// Runs it to its outputs. Emits its events, the last of them when it is done.
pub(crate) async fn execute(context: &Context<'_>, execution: Execution<'_>) -> Executed {
    let id = &context.plan.node_plan(execution.node).id;
    let item = execution.index();
    let started = context.host().elapsed();
    context.events.emit(EventKind::NodeStarted {
        node: id.clone(),
        iteration: execution.variables.counters(execution.node).finished + 1,
        item,
    });
    let mut usage = NodeUsage::default();
    let result = ask(context, &execution, &mut usage)
        .await
        .map_err(|mut failure| {
            if let Some(index) = item {
                failure.message = format!("{} (item {index})", failure.message);
            }
            context.capture.masked_failure(failure)
        });
    context.events.emit(match &result {
        Ok(outputs) => {
            let outputs = Arc::new(named(context, execution.node, outputs));
            let (outputs, sealed) = match context.capture.masked_outputs(&outputs) {
                Some(masked) => (Arc::new(masked), Some(outputs)),
                None => (outputs, None),
            };
            EventKind::NodeCompleted {
                node: id.clone(),
                item,
                outputs,
                sealed,
                usage: usage.clone(),
                duration_ms: millis(context.since(started)),
                elapsed_ms: millis(context.run_time()),
            }
        }
        Err(failure) => EventKind::NodeFailed {
            node: id.clone(),
            item,
            code: failure.code,
            error: failure.message.clone(),
            duration_ms: millis(context.since(started)),
        },
    });
    Executed { result, usage }
}

fn named(context: &Context<'_>, node: NodeId, outputs: &[Value]) -> Value {
    let workflow = context.plan.workflow();
    let fields = context.plan.node(node).output.fields.iter();
    let names = fields.map(|field| workflow.fields[field.target.0].name.clone());
    Value::Object(names.zip(outputs.iter().cloned()).collect::<Map<_, _>>())
}

async fn ask(
    context: &Context<'_>,
    execution: &Execution<'_>,
    usage: &mut NodeUsage,
) -> Result<Vec<Value>, Failure> {
    let node = context.plan.node(execution.node);
    let node_plan = context.plan.node_plan(execution.node);
    let (Some(asked), Some(model_plan)) = (node.kind.model(), node_plan.model()) else {
        // Not reached as long as a workflow with such a node is refused as a whole.
        let reason = "nodes of this kind are not supported yet";
        return Err(Failure::of_node(
            FailureCode::NotSupported,
            &node.id,
            reason,
        ));
    };
    let settings = &context.plan.workflow().execution;
    let prompt = prompt(context, execution, asked)?;
    let _in_flight = InFlight::enter(context, execution, asked, &prompt);
    let model = context
        .environment
        .models
        .find(&model_plan.model)
        .map_err(|error| Failure::of_model(&node.id, &error, 1, ""))?;

    let prompt_length = prompt.len();
    let mut request = ChatRequest {
        label: node_plan.id.clone(),
        messages: vec![Message {
            role: Role::User,
            text: prompt,
        }],
        output: Some(model_plan.format.clone()),
        temperature: asked.llm.temperature,
        max_tokens: asked.llm.max_tokens,
        timeout: settings.timeout,
        stream: context.stream,
        trace_parent: None,
    };
    if execution.was_in_flight {
        usage.add(&book_interrupted(
            context,
            execution.node,
            model.as_ref(),
            &request,
        ));
    }
    let attempts = settings.max_attempts.max(1);
    let mut attempt = 1;
    let warned = Mutex::default();
    // What was cut off once is most likely cut off again, and as dear: it is tried once more.
    let mut was_cut_off = false;
    loop {
        let set_aside = SetAside::of(context, execution.node, model.as_ref(), &request).await?;
        usage.llm_calls += 1;
        let this_call = Call {
            node: &node_plan.id,
            item: execution.index(),
            attempt,
            model: model.name(),
            began: context.host().elapsed(),
        };
        let observer = context.environment.observer.as_ref();
        request.trace_parent = observer
            .call_begins(&this_call)
            .map(|parent| parent.to_string());
        let paid = set_aside.call(context, execution.node, model.as_ref(), &request);
        let result = call(context, model.as_ref(), &request, execution, &paid, &warned).await;
        observer.call_ended(&this_call, &request, result.as_ref());
        usage.add(&match &result {
            Ok(reply) => paid.answered(reply),
            Err(error) => paid.failed(error),
        });
        let (reason, wait) = match result {
            Ok(reply) => {
                match repair::read(
                    &node.output,
                    &reply,
                    asked.llm.max_tokens,
                    context.plan.workflow().sensitive.as_ref(),
                ) {
                    Ok(outputs) => return Ok(outputs),
                    Err(misfit) if attempt >= attempts || (misfit.is_cut_off && was_cut_off) => {
                        let reason = format_args!(
                            "the answer does not fit the output schema{}: {}",
                            after(attempt),
                            misfit.reason
                        );
                        return Err(Failure::of_node(
                            FailureCode::OutputInvalid,
                            &node.id,
                            reason,
                        ));
                    }
                    Err(misfit) => {
                        was_cut_off |= misfit.is_cut_off;
                        context
                            .capture
                            .learn_quoted(execution.node, misfit.answer());
                        let text = &mut request.messages[0].text;
                        text.truncate(prompt_length);
                        text.push_str(&repair::remark(&misfit));
                        (misfit.reason, Duration::ZERO)
                    }
                }
            }
            Err(error) if !error.kind.is_retryable() || attempt >= attempts => {
                return Err(Failure::of_model(&node.id, &error, attempt, ""));
            }
            Err(error) => {
                let wait = llm::backoff::delay(attempt, error.retry_after, context.host().random());
                if context
                    .remaining()
                    .is_some_and(|remaining| wait >= remaining)
                {
                    let seconds = wait.as_secs_f64().round();
                    let why = format!(
                        "; the next attempt, in {seconds} s, would come after the run's deadline"
                    );
                    return Err(Failure::of_model(&node.id, &error, attempt, &why));
                }
                within_patience(context, attempt, error, wait)
            }
        };
        context.events.emit(EventKind::NodeRetried {
            node: node_plan.id.clone(),
            item: execution.index(),
            attempt,
            reason: match context.capture.text(&reason) {
                Cow::Owned(masked) => masked,
                Cow::Borrowed(_) => reason,
            },
            wait_ms: millis(wait),
        });
        if !wait.is_zero() {
            context.host().sleep(wait).await;
        }
        attempt += 1;
    }
}

/// The node's own inputs first, then the prompt over them and the state.
fn prompt(
    context: &Context<'_>,
    execution: &Execution<'_>,
    asked: &ModelNode,
) -> Result<String, Failure> {
    let node = context.plan.node(execution.node);
    let unresolved = |error: lang::template::RenderError| {
        Failure::of_node(FailureCode::PlaceholderUnresolved, &node.id, error)
    };
    let inputs = node
        .inputs
        .iter()
        .map(|input| input.template.value(&execution.variables));
    let inputs = inputs.collect::<Result<Vec<_>, _>>().map_err(unresolved)?;
    asked
        .prompt
        .render(&execution.variables.with_inputs(&inputs))
        .map_err(unresolved)
}

/// One attempt, held to the node's time limit whatever the model's client does about it. `warned` is what was
/// said of earlier attempts: it is not repeated.
async fn call(
    context: &Context<'_>,
    model: &dyn ChatModel,
    request: &ChatRequest,
    execution: &Execution<'_>,
    paid: &PaidCall<'_>,
    warned: &Mutex<Option<String>>,
) -> Result<ChatReply, llm::Error> {
    let show = |text: Option<String>| {
        if let Some(text) = text {
            context.events.emit(EventKind::LlmDelta {
                node: request.label.clone(),
                item: execution.index(),
                text,
            });
        }
    };
    let deltas = context.capture.deltas(execution.node);
    let on_delta = |delta: Delta| match delta {
        Delta::Text(text) => {
            paid.received(&text);
            show(deltas.push(text));
        }
        Delta::Warning(message) => {
            let mut warned = warned.lock().unwrap_or_else(PoisonError::into_inner);
            if warned.as_ref() != Some(&message) {
                *warned = Some(message.clone());
                context.events.emit(EventKind::NodeWarning {
                    node: request.label.clone(),
                    item: execution.index(),
                    message,
                });
            }
        }
    };
    let result = tokio::select! {
        biased;
        reply = model.chat(request, &on_delta) => reply,
        () = context.host().sleep(request.timeout) => {
            let message = format!("{} gave no answer within {} s", model.name(), request.timeout.as_secs_f64());
            Err(llm::Error::new(ErrorKind::Timeout, message))
        }
    };
    show(deltas.finish());
    if let Ok(reply) = &result {
        context.capture.learn_answer(execution.node, &reply.content);
    }
    result
}

/// A prompt that [`Capture`](crate::capture::Capture) knows while it is in flight.
struct InFlight<'a> {
    context: &'a Context<'a>,
    prompt: Option<String>,
}

impl<'a> InFlight<'a> {
    fn enter(
        context: &'a Context<'a>,
        execution: &Execution<'_>,
        asked: &ModelNode,
        prompt: &str,
    ) -> Self {
        let masked = masked_prompt(context, execution, asked);
        let prompt = masked.map(|masked| {
            context.capture.enter_prompt(prompt, masked);
            prompt.to_owned()
        });
        Self { context, prompt }
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        if let Some(prompt) = &self.prompt {
            self.context.capture.leave_prompt(prompt);
        }
    }
}

/// What the prompt looks like with every sensitive placeholder masked; `None` where no field is sensitive.
fn masked_prompt(
    context: &Context<'_>,
    execution: &Execution<'_>,
    asked: &ModelNode,
) -> Option<String> {
    let node = context.plan.node(execution.node);
    let workflow = context.plan.workflow();
    let scope = MaskedScope::of(workflow, execution.node, execution.variables)?;
    let inputs = node.inputs.iter().map(|input| input.template.value(&scope));
    let inputs = inputs.collect::<Result<Vec<_>, _>>().ok()?;
    let variables = execution.variables.with_inputs(&inputs);
    asked.prompt.render(&scope.over(variables)).ok()
}

/// Why an attempt failed, and how long to wait for the next one. A provider may ask for a day, which nobody
/// should spend waiting without a word.
fn within_patience(
    context: &Context<'_>,
    attempt: u32,
    error: llm::Error,
    wait: Duration,
) -> (String, Duration) {
    let most = context.environment.models.max_retry_after();
    match error.retry_after {
        Some(asked) if asked > most => {
            let reason = format!(
                "{} (it asks to wait {} s; the next attempt comes after {} s, the longest wait that is set)",
                error.message,
                asked.as_secs(),
                most.as_secs_f64()
            );
            let wait = llm::backoff::delay(attempt, Some(most), context.host().random());
            (reason, wait)
        }
        _ => (error.message, wait),
    }
}

/// ` after 3 attempts`, where there was more than one.
fn after(attempts: u32) -> String {
    if attempts > 1 {
        format!(" after {attempts} attempts")
    } else {
        String::new()
    }
}
