//! Sets up telemetry and the MLflow client from the environment.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use engine::host::Host;
use lang::source::Source;
use telemetry::mlflow::{
    ArtifactLevel, Client, ModelUri, Registry, Settings as MlflowSettings, SettingsError,
};
use telemetry::{Settings, StartError, Telemetry};

use crate::config::environment::Environment;
use crate::config::text;
use crate::failure::{Exit, Failure, Result};
use crate::runtime;

/// How long the process waits at its end for telemetry to be sent. A sink that does not answer
/// delays it by a few seconds only.
pub(crate) const CLOSE_LIMIT: Duration = Duration::from_secs(15);

/// Starts telemetry as `MLFLOW_*` and `OTEL_*` say; without them it only counts.
pub(crate) fn start(
    artifacts: Option<ArtifactLevel>,
    ca: Option<&Path>,
    environment: &Environment,
    host: Arc<dyn Host>,
) -> Result<Telemetry> {
    let settings = Settings {
        environment: environment.variables().collect(),
        extra_roots_pem: certificates(ca)?,
        artifacts,
    };
    Telemetry::start(&settings, host).map_err(|error| match error {
        StartError::Mlflow(error) => refused(&error),
        StartError::Otlp(error) => Failure::usage(error.to_string()),
        StartError::Http(error) => Failure::new(Exit::NotReady, error.to_string()),
        StartError::Thread(error) => Failure::new(Exit::Io, error.to_string()),
    })
}

fn refused(error: &SettingsError) -> Failure {
    Failure::usage(error.to_string()).hint(error.hint)
}

fn certificates(ca: Option<&Path>) -> Result<Option<Vec<u8>>> {
    Ok(ca.map(text::read).transpose()?.map(String::into_bytes))
}

/// A client for the server that `MLFLOW_TRACKING_URI` names.
pub(crate) fn mlflow(
    ca: Option<&Path>,
    environment: &Environment,
    host: Arc<dyn Host>,
) -> Result<Client> {
    let variables: outbound::Environment = environment.variables().collect();
    let settings = MlflowSettings::read(&variables)
        .map_err(|error| refused(&error))?
        .ok_or_else(|| {
            Failure::usage("no MLflow server is configured")
                .hint("set MLFLOW_TRACKING_URI, such as http://127.0.0.1:5000")
        })?;
    let http = telemetry::http::client(&variables, certificates(ca)?.as_deref())
        .map_err(|error| Failure::new(Exit::NotReady, error.to_string()))?;
    Ok(Client::new(http, settings, host))
}

/// The text of a workflow in MLflow's registry; `None` if the path does not name one.
pub(crate) fn registered(
    path: &Path,
    ca: Option<&Path>,
    environment: &Environment,
    host: &Arc<dyn Host>,
) -> Result<Option<Source>> {
    let Some(uri) = path.to_str().filter(|path| path.starts_with("models:")) else {
        return Ok(None);
    };
    let uri: ModelUri = uri
        .parse()
        .map_err(|error: telemetry::mlflow::NoModelUri| Failure::usage(error.to_string()))?;
    let client = mlflow(ca, environment, host.clone())?;
    let shown = client.shown();
    let fetched = runtime::of_one_thread()?.block_on(Registry::new(client).fetch(&uri));
    let source = fetched.map_err(|error| unreached(&shown, &error))?;
    Ok(Some(source))
}

/// The failure of a request that MLflow refused or did not answer.
pub(crate) fn unreached(shown: &str, error: &telemetry::mlflow::Error) -> Failure {
    let failure = Failure::new(Exit::Io, format!("MLflow at {shown}: {error}"));
    match error {
        telemetry::mlflow::Error::Unreachable(_) => {
            failure.hint("run `flowmill mlflow check` to test the connection step by step")
        }
        telemetry::mlflow::Error::Refused { .. } => failure,
    }
}
