//! Puts the other crates together: the models that answer prompts, the webhooks, and the
//! certificates that both trust.

use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use lang::workflow::{FieldId, Workflow};
use llm::cassette::{Player, Recorder};
use llm::model::{Models, Override};
use llm::offline::Offline;
use llm::pricing::PriceTable;
use llm::scripted::Scripted;
use outbound::policy::UrlRefusal;
use outbound::{Client, Policy};
use service::webhooks::{DefaultWebhook, Webhooks};

use crate::config::allowed::AllowList;
use crate::config::environment::Environment;
use crate::config::models::{ModelSource, Settings};
use crate::config::{text, webhooks};
use crate::failure::{Exit, Failure, Result};
use crate::recording::{PublishAt, Recording};
use crate::system_host::SystemHost;

/// The models that answer prompts.
#[derive(Debug)]
pub(crate) struct AssembledModels {
    /// Finds the model for each node.
    pub models: Arc<dyn Models>,
    /// A note for stderr if the answers do not come from the models that the workflow names.
    pub notice: Option<String>,
    /// The cassette that is recorded.
    pub recording: Option<Recording>,
}

/// The hosts that an `api_base` in a workflow file may reach.
#[derive(Debug)]
pub(crate) struct Reach(Policy);

impl Reach {
    /// Without a list, everything but link-local addresses and cloud metadata; with one, the public
    /// internet and what the list allows.
    pub(crate) fn of(allowed: Option<&AllowList>) -> Self {
        Self(match allowed {
            None => Policy::for_authors(),
            Some(AllowList(rules)) => Policy::new(rules.iter().cloned()),
        })
    }
}

impl llm::Reach for Reach {
    fn allows(&self, host: &str, address: IpAddr) -> bool {
        self.0.allows(host, address)
    }
}

/// Refuses to record a workflow with sensitive fields: a cassette contains prompts and answers
/// unmasked, since it could not be replayed otherwise.
pub(crate) fn refuse_recording(record: Option<&Path>, workflow: &Workflow) -> Result<()> {
    let Some(sensitive) = workflow.sensitive.as_ref().filter(|_| record.is_some()) else {
        return Ok(());
    };
    let mut fields = (0..workflow.fields.len()).filter(|index| sensitive.touches(FieldId(*index)));
    let name = fields
        .next()
        .map_or("", |index| &workflow.fields[index].name);
    let message = format!(
        "--record would write the sensitive field `{name}` of workflow `{}` into the cassette in plain text",
        workflow.name
    );
    let hint = "record with made-up values from a copy of the file without `sensitive`; the cassette works with either file";
    Err(Failure::usage(message).hint(hint))
}

/// How a cassette is recorded.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RecordOptions {
    /// Replaces an existing cassette.
    pub force: bool,
    /// When the cassette takes its final name.
    pub publish_at: PublishAt,
}

/// Builds the models.
pub(crate) fn models(
    settings: &Settings,
    record_options: RecordOptions,
    environment: &Environment,
) -> Result<AssembledModels> {
    let registry = || -> Result<Arc<dyn Models>> {
        let mut prices = PriceTable::built_in();
        if let Some(path) = &settings.prices {
            let shown = path.display();
            prices = prices
                .with_overrides(&text::read(path)?)
                .map_err(|error| Failure::usage(format!("`{shown}`: {error}")))?;
        }
        let extra_roots_pem = settings.ca.as_deref().map(roots).transpose()?;
        let usual = llm::Settings::default();
        let settings = llm::Settings {
            environment: environment.variables().collect(),
            extra_roots_pem,
            reach: Some(Arc::new(Reach::of(settings.allow.as_ref()))),
            prices: Arc::new(prices),
            clock: Arc::new(SystemHost::new()),
            max_retry_after: settings.max_retry_after.unwrap_or(usual.max_retry_after),
            max_bodies_bytes: settings.answer_memory.unwrap_or(usual.max_bodies_bytes),
            ..usual
        };
        Ok(Arc::new(llm::Registry::new(settings).map_err(|error| {
            Failure::new(Exit::NotReady, error.message)
        })?))
    };
    let (models, notice): (Arc<dyn Models>, _) = match &settings.source {
        ModelSource::Workflow => (registry()?, None),
        ModelSource::Override(spec) => {
            let notice = format!("every node uses {}", spec_name(spec));
            (
                Arc::new(Override::new(registry()?, spec.clone())),
                Some(notice),
            )
        }
        ModelSource::Offline => (
            Arc::new(Offline),
            Some(
                "offline: the built-in model makes up the answers; no provider is called"
                    .to_owned(),
            ),
        ),
        ModelSource::Replay(path) => {
            let player = Player::parse(&text::read(path)?).map_err(|error| {
                Failure::new(
                    Exit::Invalid,
                    format!("`{}` is not a cassette: {error}", path.display()),
                )
            })?;
            (
                Arc::new(player),
                Some(format!(
                    "replay: the answers come from the cassette {}",
                    path.display()
                )),
            )
        }
        ModelSource::Replies(path) => {
            let script = Scripted::parse(&text::read(path)?).map_err(|error| {
                Failure::new(
                    Exit::Invalid,
                    format!("`{}` is not a script of replies: {error}", path.display()),
                )
            })?;
            (
                Arc::new(script),
                Some(format!(
                    "replies: the answers come from the script {}",
                    path.display()
                )),
            )
        }
    };
    let Some(path) = &settings.record else {
        return Ok(AssembledModels {
            models,
            notice,
            recording: None,
        });
    };
    let recording = Recording::begin(path, record_options.force, record_options.publish_at)?;
    let shown = path.display();
    let replies = recording.clone();
    let recorder = Recorder::new(models, Box::new(recording.clone()), move || {
        replies.has_reply()
    })
    .map_err(|error| Failure::unwritable(path, &error))?;
    let notice = notice
        .into_iter()
        .chain([format!("record: every model call is written to {shown}")]);
    Ok(AssembledModels {
        models: Arc::new(recorder),
        notice: Some(notice.collect::<Vec<_>>().join("; ")),
        recording: Some(recording),
    })
}

/// Builds the webhooks.
pub(crate) fn webhooks(settings: &webhooks::Settings, ca: Option<&Path>) -> Result<Webhooks> {
    let policy = Arc::new(Policy::new(settings.allow.0.iter().cloned()));
    let default = match (&settings.url, &settings.secret) {
        (None, None) => None,
        (None, Some(_)) => {
            return Err(Failure::usage(
                "--webhook-secret needs --webhook-url: it signs the messages to that address",
            ));
        }
        (Some(url), secret) => {
            // Neither address nor secret is repeated: both may be secret.
            let url = policy.read(url.reveal()).map_err(|unfit| {
                let failure = Failure::usage(format!("--webhook-url cannot be used: {unfit}"));
                match unfit {
                    UrlRefusal::NotAllowed => {
                        failure.hint("allow its host or address with --webhook-allow")
                    }
                    UrlRefusal::NotAUrl | UrlRefusal::Scheme => failure,
                }
            })?;
            let key = secret
                .as_ref()
                .map(|secret| secret.reveal().parse())
                .transpose();
            let key = key
                .map_err(|bad| Failure::usage(format!("--webhook-secret cannot be used: {bad}")))?;
            Some(DefaultWebhook { url, key })
        }
    };
    let client = Client::new(policy.clone(), tls(ca)?)
        .map_err(|error| Failure::new(Exit::NotReady, error.to_string()))?;
    Ok(Webhooks {
        sender: Arc::new(client),
        policy,
        default,
    })
}

/// A TLS client that trusts the built-in roots and those of a file.
pub(crate) fn tls(ca: Option<&Path>) -> Result<rustls::ClientConfig> {
    let pem = ca.map(roots).transpose()?;
    outbound::tls::client(pem.as_deref()).map_err(|error| Failure::new(Exit::NotReady, error.0))
}

fn roots(path: &Path) -> Result<Vec<u8>> {
    text::read(path).map(String::into_bytes)
}

fn spec_name(spec: &llm::model::ModelSpec) -> String {
    [&spec.provider, &spec.model]
        .into_iter()
        .flatten()
        .map(String::as_str)
        .collect::<Vec<_>>()
        .join("/")
}
