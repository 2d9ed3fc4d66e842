//! One call of a model: paid for, held to its time limit, and reported to the observer.

use std::sync::{Mutex, PoisonError};

use llm::chat::{ChatReply, ChatRequest, Delta};
use llm::error::ErrorKind;
use llm::model::ChatModel;

use super::paid_call::{PaidCall, Reservation};
use crate::event::EventKind;
use crate::observer::Call;
use crate::outcome::{Failure, NodeUsage};
use crate::steps::kind::Execution;

/// Calls the model once. The outer error means that no further call is allowed. `warned` holds the
/// last warning of earlier attempts, which is not repeated.
pub(crate) async fn make(
    execution: &Execution<'_>,
    model: &dyn ChatModel,
    request: &mut ChatRequest,
    attempt: u32,
    warned: &Mutex<Option<String>>,
    usage: &mut NodeUsage,
) -> Result<Result<ChatReply, llm::Error>, Failure> {
    let reservation = Reservation::of(execution, model, request).await?;
    usage.llm_calls += 1;
    let this_call = Call {
        node: execution.node_id,
        item: execution.item,
        attempt,
        model: model.name(),
        began: execution.context.host().elapsed(),
    };
    let observer = execution.context.environment.observer.as_ref();
    request.trace_parent = observer
        .call_begins(&this_call)
        .map(|parent| parent.to_string());
    let paid = reservation.call(execution, model, request);
    let result = call(execution, model, request, &paid, warned).await;
    observer.call_ended(&this_call, request, result.as_ref());
    usage.add(&match &result {
        Ok(reply) => paid.answered(reply),
        Err(error) => paid.failed(error),
    });
    Ok(result)
}

/// Makes the call, and ends it at the node's time limit whether or not the model's client does.
async fn call(
    execution: &Execution<'_>,
    model: &dyn ChatModel,
    request: &ChatRequest,
    paid: &PaidCall<'_>,
    warned: &Mutex<Option<String>>,
) -> Result<ChatReply, llm::Error> {
    let context = execution.context;
    let pieces = context
        .events
        .pieces(execution.node, execution.node_id, execution.item);
    let on_delta = |delta: Delta| match delta {
        Delta::Text(text) => {
            paid.received(&text);
            pieces.push(text);
        }
        Delta::Warning(message) => {
            let mut warned = warned.lock().unwrap_or_else(PoisonError::into_inner);
            if warned.as_ref() != Some(&message) {
                *warned = Some(message.clone());
                context.events.emit(EventKind::NodeWarning {
                    node: execution.node_id.clone(),
                    item: execution.item,
                    message,
                });
            }
        }
    };
    let result = tokio::select! {
        biased;
        reply = model.chat(request, &on_delta) => reply,
        () = context.host().sleep(request.timeout) => {
            let message = format!("{} did not answer within {} s", model.name(), request.timeout.as_secs_f64());
            Err(llm::Error::new(ErrorKind::Timeout, message))
        }
    };
    pieces.finish();
    if let Ok(reply) = &result {
        context.capture.learn_answer(execution.node, &reply.content);
    }
    result
}
