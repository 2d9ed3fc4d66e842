//! The options chosen for a deployment. They are stored as a label of the container, so that
//! `--replace` repeats them, except for those given anew.

use std::ffi::OsStr;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use ::deploy::package::OPTIONS_LABEL;
use ::deploy::plan::{ModelSource, Plan};
use ::deploy::shell;
use clap::parser::ValueSource;
use clap::{ArgMatches, Args as _, Command, FromArgMatches as _};
use serde::{Deserialize, Serialize};

use super::docker::Container;
use super::options::Args;
use crate::config::store::{is_postgres_elsewhere, is_postgres_url};
use crate::failure::{Exit, Failure, Result};

/// Options that belong to the deployment rather than to one command, by the names of their fields.
const KEPT: &[&str] = &[
    "output_dir",
    "target",
    "port",
    "host",
    "insecure",
    "sync_timeout",
    "drain_timeout",
    "store",
    "store_file",
    "replicas",
    "max_replicas",
    "mlflow",
    "no_mlflow",
    "mlflow_port",
    "env_file",
    "no_env_file",
    "platform",
    "registry",
    "model",
    "offline",
    "replay",
    "replies",
    "prices",
    "ca",
    "model_allow",
];

/// Options whose value is a path. They are stored as absolute paths, since the next command may run
/// in another folder.
const PATHS: &[&str] = &[
    "output_dir",
    "store_file",
    "env_file",
    "replay",
    "replies",
    "prices",
    "ca",
];

/// Groups of options that exclude each other: one that is given replaces the others of its group.
const ALTERNATIVES: &[&[&str]] = &[
    &["model", "offline", "replay", "replies"],
    &["store", "store_file"],
    &["env_file", "no_env_file"],
    &["mlflow", "no_mlflow"],
    &["no_mlflow", "mlflow_port"],
];

/// One option as it is written, such as `--port=9000`.
#[derive(Debug, Clone, PartialEq, Eq)]
struct ChosenOption {
    /// The name of its field.
    id: String,
    word: String,
    is_from_before: bool,
}

/// The label's value.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Label {
    options: Vec<String>,
    /// Names of variables whose values came from the shell.
    pub(super) from_shell: Vec<String>,
}

/// The chosen options, given now or taken over from before.
#[derive(Debug, Clone, Default)]
pub(super) struct ChosenOptions(Vec<ChosenOption>);

impl ChosenOptions {
    /// The options given on the command line and by the environment.
    pub(super) fn given(matches: &ArgMatches) -> Self {
        Self::from_sources(
            matches,
            &[ValueSource::CommandLine, ValueSource::EnvVariable],
        )
    }

    fn from_sources(matches: &ArgMatches, sources: &[ValueSource]) -> Self {
        let command = command();
        let choice = |id: &&str| {
            let source = matches.value_source(id)?;
            let argument = command
                .get_arguments()
                .find(|argument| argument.get_id() == *id)?;
            let long = argument.get_long()?;
            if !sources.contains(&source) {
                return None;
            }
            let word = if argument.get_action().takes_values() {
                let value = matches.get_raw(id)?.next()?;
                format!("--{long}={}", value_of(id, value))
            } else {
                format!("--{long}")
            };
            Some(ChosenOption {
                id: (*id).to_owned(),
                word,
                is_from_before: false,
            })
        };
        Self(KEPT.iter().filter_map(choice).collect())
    }

    /// Parses stored options.
    fn read(words: &[String]) -> Result<(Self, Args)> {
        let unfit = |error: clap::Error| {
            Failure::new(
                Exit::Io,
                "cannot read the options of the previous deployment from its container's label",
            )
            .details(error.to_string().lines().map(str::to_owned).collect())
            .hint("remove it with `flowmill undeploy` (its jobs are kept) and deploy it again with all options")
        };
        let file = std::iter::once("workflow.yaml");
        let words = file.chain(words.iter().map(String::as_str));
        let matches = command().try_get_matches_from(words).map_err(unfit)?;
        let args = Args::from_arg_matches(&matches).map_err(unfit)?;
        Ok((
            Self::from_sources(&matches, &[ValueSource::CommandLine]),
            args,
        ))
    }

    fn has(&self, id: &str) -> bool {
        self.0.iter().any(|choice| choice.id == id)
    }

    /// Whether an option was taken over from the previous deployment.
    pub(super) fn has_from_before(&self, id: &str) -> bool {
        self.0
            .iter()
            .any(|choice| choice.is_from_before && choice.id == id)
    }

    /// Whether this command itself asks to let in callers without a key.
    pub(super) fn opens_now(&self) -> bool {
        self.has("insecure") && !self.has_from_before("insecure")
    }

    /// Adds a choice that was made without an option.
    pub(super) fn add_path(&mut self, id: &'static str, path: &Path) {
        let asks = |of: &&&[&str]| of.contains(&id);
        let is_answered = ALTERNATIVES
            .iter()
            .filter(asks)
            .any(|alternatives| alternatives.iter().any(|id| self.has(id)));
        if !is_answered && !self.has(id) {
            let long = id.replace('_', "-");
            self.0.push(ChosenOption {
                id: id.to_owned(),
                word: format!("--{long}={}", value_of(id, path.as_os_str())),
                is_from_before: false,
            });
        }
    }

    fn words(&self) -> Vec<String> {
        self.0.iter().map(|choice| choice.word.clone()).collect()
    }

    /// The value of the container's label.
    pub(super) fn label(&self, from_shell: &[String]) -> String {
        let label = Label {
            options: self.words(),
            from_shell: from_shell.to_vec(),
        };
        serde_json::to_string(&label).expect("texts are JSON")
    }

    /// The command line that deploys it again.
    pub(super) fn update_command(&self, file: &Path, name: &str) -> String {
        let mut words = vec![
            "flowmill".to_owned(),
            "deploy".to_owned(),
            shell::word(&file.display().to_string()),
            format!("--name={}", shell::word(name)),
        ];
        words.extend(self.0.iter().map(|choice| shell::word(&choice.word)));
        words.push("--replace".to_owned());
        words.join(" ")
    }
}

/// The deployment whose container is to be replaced.
pub(super) struct PreviousDeployment {
    label: Label,
    /// Arguments of the server in it.
    arguments: Vec<String>,
    published: Option<(IpAddr, u16)>,
    /// The file that is mounted as its `.env`.
    pub(super) variables: Option<PathBuf>,
}

impl PreviousDeployment {
    pub(super) fn of(container: &Container) -> Result<Self> {
        let arguments = container.arguments();
        let published = container.published();
        let variables = container.mounted("/app/.env");
        let label = match container.label(OPTIONS_LABEL) {
            Some(text) => serde_json::from_str(text).map_err(|error| {
                Failure::new(
                    Exit::Io,
                    format!("cannot read the container's label {OPTIONS_LABEL}: {error}"),
                )
                .hint("remove it with `flowmill undeploy` (its jobs are kept) and deploy it again with all options")
            })?,
            // Created by a version that stored no options.
            None => Label {
                options: seen(&arguments, published, variables.as_deref()),
                from_shell: Vec::new(),
            },
        };
        Ok(Self {
            label,
            arguments,
            published,
            variables,
        })
    }

    /// Names of variables whose values came from the shell.
    pub(super) fn shell_variables(&self) -> &[String] {
        &self.label.from_shell
    }

    /// Whether only callers with an API key were let in.
    pub(super) fn wants_keys(&self) -> bool {
        !self.arguments.is_empty() && !self.arguments.iter().any(|word| word == "--insecure")
    }

    /// Takes over the options that are not given anew, and returns them.
    pub(super) fn keep(&self, args: &mut Args, given: &mut ChosenOptions) -> Result<Vec<String>> {
        let (before, kept) = ChosenOptions::read(&self.label.options)?;
        let is_answered = |id: &str| {
            given.has(id)
                || ALTERNATIVES
                    .iter()
                    .filter(|alternatives| alternatives.contains(&id))
                    .any(|alternatives| alternatives.iter().any(|id| given.has(id)))
        };
        let taken: Vec<ChosenOption> = before
            .0
            .into_iter()
            .filter(|choice| !is_answered(&choice.id))
            .map(|choice| ChosenOption {
                is_from_before: true,
                ..choice
            })
            .collect();
        let is_taken = |id: &str| taken.iter().any(|choice| choice.id == id);
        take(args, kept, is_taken);
        let words = taken.iter().map(|choice| choice.word.clone()).collect();
        given.0.extend(taken);
        given
            .0
            .sort_by_key(|choice| KEPT.iter().position(|id| *id == choice.id));
        Ok(words)
    }

    /// Changes that callers, or those who pay, would notice.
    pub(super) fn changes(&self, plan: &Plan<'_>) -> Vec<String> {
        let mut changes = Vec::new();
        if let Some((host, port)) = self.published
            && (host, port) != (plan.host, plan.port)
        {
            changes.push(format!(
                "the address changes from {host}:{port} to {}:{}",
                plan.host, plan.port
            ));
        }
        let stored = self.arguments.windows(2).find(|pair| pair[0] == "--store");
        let (before, now) = (stored.map(|pair| &*pair[1]), plan.store_argument());
        if before.is_some_and(|before| before != now) {
            changes.push(format!(
                "the job store changes from {} to {now}: the jobs of before are not moved",
                before.unwrap_or_default()
            ));
        }
        let answered = answers(&self.arguments);
        let answers = match &plan.model_source {
            ModelSource::Workflow => "the workflow's own models".to_owned(),
            ModelSource::Model(spec) => [spec.provider.as_deref(), spec.model.as_deref()]
                .into_iter()
                .flatten()
                .collect::<Vec<_>>()
                .join("/"),
            ModelSource::Offline => "the built-in offline model".to_owned(),
            ModelSource::Replay => "a cassette".to_owned(),
            ModelSource::Replies => "a script".to_owned(),
        };
        if !self.arguments.is_empty() && answered != answers {
            changes.push(format!("the models change from {answered} to {answers}"));
        }
        changes
    }
}

/// The options of a deployment as far as its container reveals them.
fn seen(
    arguments: &[String],
    published: Option<(IpAddr, u16)>,
    variables: Option<&Path>,
) -> Vec<String> {
    let mut options = Vec::new();
    if let Some((host, port)) = published {
        options.push(format!("--port={port}"));
        if !host.is_loopback() {
            options.push(format!("--host={host}"));
            if arguments.iter().any(|word| word == "--insecure") {
                options.push("--insecure".to_owned());
            }
        }
    }
    for pair in arguments.windows(2) {
        let (name, value) = (pair[0].as_str(), pair[1].as_str());
        match name {
            "--sync-timeout" | "--drain-timeout" | "--model" | "--model-allow" => {
                options.push(format!("{name}={value}"));
            }
            "--store" if value == "memory" || is_postgres_elsewhere(value) => {
                options.push(format!("--store={value}"));
            }
            "--store" => {
                let file = value.rsplit('/').next().unwrap_or(value);
                options.push(format!("--store=sqlite:{file}"));
            }
            _ => {}
        }
    }
    if arguments.iter().any(|word| word == "--offline") {
        options.push("--offline=true".to_owned());
    }
    if let Some(file) = variables.filter(|file| file.is_file()) {
        options.push(format!("--env-file={}", file.display()));
    }
    options
}

/// What answers the prompts of a server with these arguments.
fn answers(arguments: &[String]) -> String {
    let has = |word: &str| arguments.iter().any(|argument| argument == word);
    let model = arguments.windows(2).find(|pair| pair[0] == "--model");
    match model {
        Some(pair) => pair[1].clone(),
        None if has("--offline") => "the built-in offline model".to_owned(),
        None if has("--replay") => "a cassette".to_owned(),
        None if has("--replies") => "a script".to_owned(),
        None => "the workflow's own models".to_owned(),
    }
}

fn take(to: &mut Args, from: Args, is_taken: impl Fn(&str) -> bool) {
    macro_rules! take {
        ($to:expr, $from:expr, $($field:ident),+) => {
            $(if is_taken(stringify!($field)) {
                $to.$field = $from.$field;
            })+
        };
    }
    take!(
        to,
        from,
        output_dir,
        target,
        port,
        host,
        insecure,
        sync_timeout,
        drain_timeout,
        store,
        store_file,
        replicas,
        max_replicas,
        mlflow,
        no_mlflow,
        mlflow_port,
        env_file,
        no_env_file,
        platform,
        registry
    );
    take!(
        to.models,
        from.models,
        model,
        offline,
        replay,
        replies,
        prices,
        ca,
        model_allow
    );
}

/// The options of `flowmill deploy`, without the environment.
fn command() -> Command {
    let command = Args::augment_args(Command::new("deploy").no_binary_name(true));
    command.mut_args(|argument| argument.env(None::<&str>))
}

/// A value as it is kept. The URL of a database is a secret: it is kept in the mounted file alone.
fn value_of(id: &str, value: &OsStr) -> String {
    if id == "store" && is_postgres_url(&value.to_string_lossy()) {
        return "postgres".to_owned();
    }
    if PATHS.contains(&id)
        && let Ok(path) = std::path::absolute(value)
    {
        return path.to_string_lossy().into_owned();
    }
    value.to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use super::*;
    use crate::config::secret::Secret;

    fn given(line: &str) -> (Args, ChosenOptions) {
        let words = std::iter::once("workflow.yaml").chain(line.split_whitespace());
        let matches = command().try_get_matches_from(words).expect("options");
        let args = Args::from_arg_matches(&matches).expect("options");
        (args, ChosenOptions::given(&matches))
    }

    /// Deployed with one line, then with the other.
    fn replaced(first: &str, now: &str) -> (Args, ChosenOptions, Vec<String>) {
        let (_, first) = given(first);
        let container = json!({
            "Config": { "Labels": { OPTIONS_LABEL: first.label(&["KEY".to_owned()]) } },
        });
        let before = PreviousDeployment::of(&Container::described(container)).expect("a label");
        assert_eq!(before.shell_variables(), ["KEY"]);
        let (mut args, mut choices) = given(now);
        let kept = before.keep(&mut args, &mut choices).expect("a label");
        (args, choices, kept)
    }

    #[test]
    fn what_was_chosen_is_kept_except_for_what_is_chosen_anew() {
        let first = "--port 9000 --offline --env-file /k/keys.env --drain-timeout 5s --insecure";
        let (args, choices, kept) = replaced(first, "--drain-timeout 1m --replace");
        assert_eq!((args.port, args.models.offline), (9000, Some(true)));
        assert_eq!(args.env_file.as_deref(), Some(Path::new("/k/keys.env")));
        assert_eq!(args.drain_timeout.0, Duration::from_secs(60));
        assert!(args.insecure && !choices.opens_now());
        assert_eq!(
            kept,
            [
                "--port=9000",
                "--insecure",
                "--env-file=/k/keys.env",
                "--offline=true"
            ]
        );
        assert!(choices.has_from_before("offline") && !choices.has_from_before("drain_timeout"));
        assert_eq!(
            choices.update_command(Path::new("w.yaml"), "w"),
            "flowmill deploy w.yaml --name=w --port=9000 --insecure --drain-timeout=1m \
             --env-file=/k/keys.env --offline=true --replace"
        );
        // And once more, from what is kept now.
        let (args, ..) = replaced(&first.replace("5s", "1m"), "--replace");
        assert_eq!((args.port, args.drain_timeout.0.as_secs()), (9000, 60));
    }

    #[test]
    fn one_answer_to_a_question_stands_for_all() {
        let check = |first: &str, now: &str, expected: &[&str]| {
            let (_, _, kept) = replaced(first, now);
            assert_eq!(kept, expected, "{first} then {now}");
        };
        check("--offline", "--model openai/m", &[]);
        check("--model openai/m", "--offline=false", &[]);
        check("--replay /t/a.yaml", "--port 1", &["--replay=/t/a.yaml"]);
        check("--env-file /k", "--no-env-file", &[]);
        check("--no-env-file", "--env-file /k", &[]);
        check(
            "--target compose --mlflow",
            "--replace",
            &["--target=compose", "--mlflow"],
        );
        check(
            "--mlflow --target compose",
            "--no-mlflow",
            &["--target=compose"],
        );
        // These are for one command, not for a deployment.
        check("--force --ignore-gates --format json", "--replace", &[]);
    }

    #[test]
    fn the_url_of_a_database_is_kept_out_of_the_label() {
        let first = "--store postgres://me:canary@h/db --target compose --replicas 3";
        let (args, choices, kept) = replaced(first, "--replace");
        assert_eq!(
            kept,
            ["--target=compose", "--store=postgres", "--replicas=3"]
        );
        assert_eq!(args.store.as_ref().map(Secret::reveal), Some("postgres"));
        assert_eq!(args.replicas, Some(3));
        let texts = choices.label(&[]) + &choices.update_command(Path::new("w.yaml"), "w");
        assert!(!texts.contains("canary"), "{texts}");
        let (_, choices) = given(first);
        let texts = choices.label(&[]) + &choices.update_command(Path::new("w.yaml"), "w");
        assert!(!texts.contains("canary"), "{texts}");
        let (_, _, kept) = replaced("--store-file /k/url", "--store sqlite:a.db");
        assert!(kept.is_empty(), "{kept:?}");
    }

    #[test]
    fn paths_are_kept_whatever_folder_the_next_command_runs_in() {
        let (args, ..) = replaced("--env-file keys.env --output-dir package", "--replace");
        let here = std::env::current_dir().expect("a folder");
        assert_eq!(args.env_file, Some(here.join("keys.env")));
        assert_eq!(args.output_dir, here.join("package"));
    }

    #[test]
    fn a_container_without_the_label_shows_what_it_was_started_with() {
        let container = json!({
            "Config": { "Labels": {}, "Cmd": [
                "serve", "workflow.yaml", "--host", "0.0.0.0", "--port", "8000", "--store", "sqlite:/data/a.db",
                "--data-dir", "/data", "--drain-timeout", "5s", "--model", "openai/m", "--insecure",
            ] },
            "HostConfig": { "PortBindings": { "8000/tcp": [{ "HostIp": "127.0.0.1", "HostPort": "9000" }] } },
        });
        let before = PreviousDeployment::of(&Container::described(container)).expect("no label");
        let (mut args, mut choices) = given("--replace");
        let kept = before.keep(&mut args, &mut choices).expect("options");
        assert_eq!(
            kept,
            [
                "--port=9000",
                "--drain-timeout=5s",
                "--store=sqlite:a.db",
                "--model=openai/m"
            ]
        );
        assert_eq!(args.port, 9000);
        assert!(!before.wants_keys());
    }
}
