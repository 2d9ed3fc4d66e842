//! Names of attributes and operations: the OpenTelemetry semantic conventions for generative AI,
//! version 0.1.0 (they build on the general conventions 1.45.0), and those that MLflow 3.17 reads.

use serde::Serialize;

/// Version of the conventions for generative AI, sent as the version of the scope.
pub(crate) const GEN_AI_VERSION: &str = "0.1.0";

pub(crate) const OPERATION: &str = "gen_ai.operation.name";
pub(crate) const CHAT: &str = "chat";
pub(crate) const INVOKE_AGENT: &str = "invoke_agent";
pub(crate) const INVOKE_WORKFLOW: &str = "invoke_workflow";
pub(crate) const AGENT_NAME: &str = "gen_ai.agent.name";
pub(crate) const PROVIDER: &str = "gen_ai.provider.name";
pub(crate) const REQUEST_MODEL: &str = "gen_ai.request.model";
pub(crate) const REQUEST_TEMPERATURE: &str = "gen_ai.request.temperature";
pub(crate) const REQUEST_MAX_TOKENS: &str = "gen_ai.request.max_tokens";
pub(crate) const REQUEST_STREAM: &str = "gen_ai.request.stream";
pub(crate) const OUTPUT_TYPE: &str = "gen_ai.output.type";
pub(crate) const RESPONSE_MODEL: &str = "gen_ai.response.model";
pub(crate) const FINISH_REASONS: &str = "gen_ai.response.finish_reasons";
pub(crate) const INPUT_TOKENS: &str = "gen_ai.usage.input_tokens";
pub(crate) const OUTPUT_TOKENS: &str = "gen_ai.usage.output_tokens";
pub(crate) const CACHED_TOKENS: &str = "gen_ai.usage.cache_read.input_tokens";
pub(crate) const INPUT_MESSAGES: &str = "gen_ai.input.messages";
pub(crate) const OUTPUT_MESSAGES: &str = "gen_ai.output.messages";

pub(crate) const ERROR_TYPE: &str = "error.type";
pub(crate) const HTTP_METHOD: &str = "http.request.method";
pub(crate) const HTTP_ROUTE: &str = "http.route";
pub(crate) const HTTP_STATUS: &str = "http.response.status_code";
pub(crate) const URL_PATH: &str = "url.path";
pub(crate) const URL_SCHEME: &str = "url.scheme";
pub(crate) const SERVICE_NAME: &str = "service.name";
pub(crate) const SERVICE_VERSION: &str = "service.version";

/// Our own names, for which the conventions have none.
pub(crate) const WORKFLOW_VERSION: &str = "flowmill.workflow.version";
pub(crate) const DEFINITION_HASH: &str = "flowmill.workflow.definition_hash";
pub(crate) const JOB_ID: &str = "flowmill.job.id";
pub(crate) const RESUMED: &str = "flowmill.run.resumed";
pub(crate) const ITERATION: &str = "flowmill.node.iteration";
pub(crate) const ITEM: &str = "flowmill.node.item";
pub(crate) const ATTEMPT: &str = "flowmill.attempt";
pub(crate) const COST: &str = "flowmill.usage.cost_usd";
pub(crate) const ESTIMATED: &str = "flowmill.usage.estimated";
pub(crate) const LLM_CALLS: &str = "flowmill.usage.llm_calls";
pub(crate) const RETRY_REASON: &str = "flowmill.retry.reason";
pub(crate) const RETRY_WAIT_MS: &str = "flowmill.retry.wait_ms";
pub(crate) const RETRY: &str = "retry";

pub(crate) const MLFLOW_TYPE: &str = "mlflow.spanType";
pub(crate) const MLFLOW_INPUTS: &str = "mlflow.spanInputs";
pub(crate) const MLFLOW_OUTPUTS: &str = "mlflow.spanOutputs";
pub(crate) const MLFLOW_TOKENS: &str = "mlflow.chat.tokenUsage";
pub(crate) const MLFLOW_COST: &str = "mlflow.llm.cost";
pub(crate) const MLFLOW_MODEL: &str = "mlflow.llm.model";
pub(crate) const MLFLOW_PROVIDER: &str = "mlflow.llm.provider";
pub(crate) const MLFLOW_TRACE_NAME: &str = "mlflow.traceTag.mlflow.traceName";
pub(crate) const MLFLOW_TRACE_TAG: &str = "mlflow.traceTag.";

/// The conventions' name of a provider.
pub(crate) fn provider(name: &str) -> &str {
    match name {
        "google" => "gcp.gemini",
        other => other,
    }
}

/// The value of [`ERROR_TYPE`] for one of our codes: its name in JSON, such as `model_error`.
pub(crate) fn error_type(code: impl Serialize) -> String {
    let value = serde_json::to_value(code).unwrap_or_default();
    value.as_str().unwrap_or("_OTHER").to_owned()
}
