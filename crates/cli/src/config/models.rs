//! `[models]`: what answers the prompts: the workflow's own models, one model for all nodes, the
//! built-in offline model, a cassette, or scripted replies.

use std::path::PathBuf;
use std::time::Duration;

use clap::builder::BoolishValueParser;
use llm::model::ModelSpec;
use serde::Deserialize;

use super::allowed::AllowList;
use super::layers::Layers;
use super::units::{PositiveDuration, Size};
use crate::failure::{Failure, Result};

/// As given on the command line, in the environment, or in the file.
#[derive(Debug, Clone, Default, clap::Args, Deserialize)]
#[serde(deny_unknown_fields)]
#[command(next_help_heading = "Models")]
#[group(skip)]
pub(crate) struct Options {
    /// Use this model for every node instead of those that the workflow names, such as
    /// openai/gpt-4o-mini
    #[arg(long, value_name = "PROVIDER/MODEL", env = "FLOWMILL_MODEL")]
    pub model: Option<String>,

    /// Use the built-in offline model: no key, no network; it makes up answers that fit each schema
    #[arg(
        long, value_name = "BOOL", env = "FLOWMILL_OFFLINE",
        num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = BoolishValueParser::new()
    )]
    pub offline: Option<bool>,

    /// Record every model call to a cassette
    #[arg(long, value_name = "FILE", env = "FLOWMILL_RECORD")]
    pub record: Option<PathBuf>,

    /// Replay answers from a cassette: no key, no network
    #[arg(long, value_name = "FILE", env = "FLOWMILL_REPLAY")]
    pub replay: Option<PathBuf>,

    /// Take answers from a script, {node: [reply, …]}, to test a workflow's logic
    #[arg(long, value_name = "FILE", env = "FLOWMILL_REPLIES")]
    pub replies: Option<PathBuf>,

    /// Prices that replace or add to the built-in ones (TOML or JSON)
    #[arg(long, value_name = "FILE", env = "FLOWMILL_PRICES")]
    pub prices: Option<PathBuf>,

    /// Certificates to trust besides the built-in roots (PEM)
    #[arg(long, value_name = "FILE", env = "FLOWMILL_CA")]
    pub ca: Option<PathBuf>,

    /// Hosts, addresses and networks that an `api_base` in a workflow may reach besides the public
    /// internet, such as models.internal,10.0.0.0/8 [default: all but link-local addresses and
    /// cloud metadata]
    #[arg(long, value_name = "LIST", env = "FLOWMILL_MODEL_ALLOW")]
    pub model_allow: Option<AllowList>,

    /// Longest wait before a retry that a provider's Retry-After may impose on a run without a
    /// deadline [default: 10m]
    #[arg(long, value_name = "TIME", env = "FLOWMILL_MAX_RETRY_AFTER")]
    pub max_retry_after: Option<PositiveDuration>,

    /// Memory for all model answers that are being received at the same time [default: 128MB]
    #[arg(long, value_name = "SIZE", env = "FLOWMILL_MODEL_ANSWER_MEMORY")]
    pub model_answer_memory: Option<Size>,
}

/// The settings in effect.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Settings {
    /// What answers the prompts.
    pub source: ModelSource,
    /// The cassette to record to.
    pub record: Option<PathBuf>,
    /// A price table that overrides the built-in one.
    pub prices: Option<PathBuf>,
    /// Certificates to trust besides the built-in roots.
    pub ca: Option<PathBuf>,
    /// Hosts and networks that an `api_base` in a workflow may reach.
    pub allow: Option<AllowList>,
    /// Longest wait before a retry that a provider may impose.
    pub max_retry_after: Option<Duration>,
    /// Bytes for all answers that are being received at the same time.
    pub answer_memory: Option<usize>,
}

/// What answers the prompts.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum ModelSource {
    /// The models that the nodes name.
    Workflow,
    /// One model for all nodes.
    Override(ModelSpec),
    /// The built-in model.
    Offline,
    /// A cassette.
    Replay(PathBuf),
    /// A script.
    Replies(PathBuf),
}

impl Options {
    /// The keys of the section.
    pub(crate) const KEYS: &[&str] = &[
        "model",
        "offline",
        "record",
        "replay",
        "replies",
        "prices",
        "ca",
        "model_allow",
        "max_retry_after",
        "model_answer_memory",
    ];

    /// Separates what clap merges: the sources on the command line and those from the environment.
    pub(crate) fn layers(self, is_flag: impl Fn(&str) -> bool, file: Self) -> Layers<Self> {
        let mut flags = self.clone();
        flags.model = flags.model.filter(|_| is_flag("model"));
        flags.offline = flags.offline.filter(|_| is_flag("offline"));
        flags.replay = flags.replay.filter(|_| is_flag("replay"));
        flags.replies = flags.replies.filter(|_| is_flag("replies"));
        Layers {
            flags,
            environment: self,
            file,
        }
    }

    /// Decides what answers the prompts. `--model`, `--offline`, `--replay` and `--replies` exclude
    /// each other: the highest layer that gives any of them decides, and it may give only one.
    pub(crate) fn settle(layers: Layers<Self>) -> Result<Settings> {
        let layers = layers.highest_first();
        let mut source = ModelSource::Workflow;
        for layer in &layers {
            if let Some(chosen) = layer.source()? {
                source = chosen;
                break;
            }
        }
        let first = |pick: fn(&Self) -> &Option<PathBuf>| {
            layers.iter().find_map(|layer| pick(layer).clone())
        };
        let record = first(|layer| &layer.record);
        if record.is_some() && matches!(source, ModelSource::Replay(_) | ModelSource::Replies(_)) {
            return Err(Failure::usage(
                "--record needs a model to record, not a cassette or a script",
            )
            .hint("leave out --record, or --replay and --replies"));
        }
        Ok(Settings {
            source,
            record,
            prices: first(|layer| &layer.prices),
            ca: first(|layer| &layer.ca),
            allow: layers.iter().find_map(|layer| layer.model_allow.clone()),
            max_retry_after: layers
                .iter()
                .find_map(|layer| layer.max_retry_after.map(|PositiveDuration(time)| time)),
            answer_memory: layers
                .iter()
                .find_map(|layer| layer.model_answer_memory.map(|Size(bytes)| bytes)),
        })
    }

    /// The one source this layer gives, if any. `offline = false` says that the models are asked.
    fn source(&self) -> Result<Option<ModelSource>> {
        let mut given = Vec::new();
        if let Some(model) = &self.model {
            let spec = ModelSpec::parse(model).map_err(|error| Failure::usage(error.message))?;
            given.push(("--model", ModelSource::Override(spec)));
        }
        if let Some(path) = &self.replay {
            given.push(("--replay", ModelSource::Replay(path.clone())));
        }
        if let Some(path) = &self.replies {
            given.push(("--replies", ModelSource::Replies(path.clone())));
        }
        match self.offline {
            Some(true) => given.push(("--offline", ModelSource::Offline)),
            Some(false) if given.is_empty() => given.push(("--offline", ModelSource::Workflow)),
            _ => {}
        }
        match given.as_slice() {
            [(first, _), (second, _), ..] => Err(Failure::usage(format!(
                "{first} and {second} cannot be used together: each says who answers"
            ))),
            _ => Ok(given.pop().map(|(_, source)| source)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(words: &[&str]) -> Options {
        let mut options = Options::default();
        for word in words {
            match *word {
                "offline" => options.offline = Some(true),
                "online" => options.offline = Some(false),
                "replay" => options.replay = Some("tape".into()),
                "replies" => options.replies = Some("script".into()),
                "record" => options.record = Some("new".into()),
                model => options.model = Some(model.to_owned()),
            }
        }
        options
    }

    #[test]
    fn the_highest_layer_that_names_a_source_settles_it() {
        let check =
            |flags: &[&str], env: &[&str], file: &[&str], expected: Result<ModelSource, &str>| {
                let layers = Layers {
                    flags: options(flags),
                    environment: options(env),
                    file: options(file),
                };
                let settled = Options::settle(layers)
                    .map(|settings| settings.source)
                    .map_err(|failure| failure.message);
                match (settled, expected) {
                    (Err(message), Err(part)) => assert!(message.contains(part), "{message}"),
                    (settled, expected) => assert_eq!(settled, expected.map_err(str::to_owned)),
                }
            };
        let openai = || {
            ModelSource::Override(ModelSpec {
                provider: Some("openai".into()),
                model: Some("m".into()),
                ..ModelSpec::default()
            })
        };
        check(&[], &[], &[], Ok(ModelSource::Workflow));
        check(&["offline"], &["openai/m"], &[], Ok(ModelSource::Offline));
        check(&["openai/m"], &["offline"], &["replay"], Ok(openai()));
        check(
            &[],
            &["replay"],
            &["offline"],
            Ok(ModelSource::Replay("tape".into())),
        );
        check(&["online"], &["offline"], &[], Ok(ModelSource::Workflow));
        check(&["online", "openai/m"], &[], &[], Ok(openai()));
        check(
            &["offline", "replay"],
            &[],
            &[],
            Err("--replay and --offline"),
        );
        check(
            &["openai/m", "replies"],
            &[],
            &[],
            Err("--model and --replies"),
        );
        check(
            &["record"],
            &["replies"],
            &[],
            Err("--record needs a model"),
        );
        check(
            &["record", "offline"],
            &["replies"],
            &[],
            Ok(ModelSource::Offline),
        );
        check(&["opnai/m"], &[], &[], Err("provider"));
    }
}
