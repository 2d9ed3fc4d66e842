//! Everything that is read and checked before the engine is involved: the workflow, its gates, its
//! models and their variables.

use std::path::Path;
use std::sync::Arc;

use ::deploy::name::Name;
use ::deploy::plan::{self, Attached, Plan, Purpose};
use ::deploy::variables::{self, API_KEYS, MLFLOW};
use lang::workflow::Workflow;
use serde_json::Value;
use service::catalog::LoadedWorkflow;

use super::choices::{ChosenOptions, PreviousDeployment};
use super::options::{Args, host};
use super::secrets::Secrets;
use super::{access, gates};
use crate::assemble::Reach;
use crate::commands::context::Context;
use crate::config::models::ModelSource;
use crate::config::secret::Secret;
use crate::config::store::{Named, Store, is_postgres_elsewhere};
use crate::config::{models, serve, text};
use crate::failure::{Exit, Failure, Result};
use crate::printer;
use crate::runtime;
use crate::sample;

/// Everything that was read, checked.
pub(super) struct Prepared<'a> {
    source: lang::source::Source,
    loaded: LoadedWorkflow,
    settings: Option<&'a str>,
    model_source: plan::ModelSource,
    attached: Vec<Attached>,
    model_allow: Option<String>,
    store: plan::Store,
    pub(super) secrets: Secrets,
    openapi: Value,
    sample: Value,
}

impl<'a> Prepared<'a> {
    /// Reads and checks a workflow's gates, its models and their variables. Some of the options may
    /// come from the previous deployment.
    pub(super) fn of(
        args: &Args,
        (source, workflow): (lang::source::Source, Arc<Workflow>),
        choices: &mut ChosenOptions,
        before: Option<&PreviousDeployment>,
        context: &'a Context,
    ) -> Result<Self> {
        let layers = args.models.clone().layers(
            |id| context.is_flag(id) || choices.has_from_before(id),
            context.project.models.clone(),
        );
        let models = models::Options::settle(layers)?;
        if !args.ignore_gates {
            let store = gate_store(args, context)?;
            gates::check(&workflow, &store, models.ca.as_deref())?;
        }
        let (model_source, attached) = model_source(&models)?;
        let loaded = LoadedWorkflow::new(&source, Arc::clone(&workflow));

        let mut secrets =
            Secrets::read(args.env_file.as_deref(), args.no_env_file || args.generate)?;
        let store = store(args, before, &mut secrets)?;
        let wanted = variables::of(&workflow, &model_source);
        if !args.generate {
            secrets.add_from_shell(&wanted);
            secrets.take_from_shell(API_KEYS);
            if let Some(before) = before {
                secrets.take_from_before(before.shell_variables(), before.variables.as_deref());
            }
            if args.mlflow {
                secrets.set_unless_set(MLFLOW.0, MLFLOW.1);
            }
            secrets.check(&wanted)?;
            secrets
                .warnings(&wanted)
                .iter()
                .for_each(|warning| printer::warning(warning));
            preflight(
                &loaded,
                &model_source,
                &secrets,
                Reach::of(models.allow.as_ref()),
            )?;
        }
        access::check(args, &secrets)?;
        if let Some(file) = &secrets.file {
            choices.add_path("env_file", file);
        }
        let runtime = runtime::of_one_thread()?;
        Ok(Self {
            openapi: server::openapi_document(&loaded),
            sample: runtime.block_on(sample::of(&loaded.input_schema)),
            settings: context.project.text.as_deref(),
            source,
            loaded,
            model_source,
            attached,
            model_allow: models.allow.as_ref().map(ToString::to_string),
            store,
            secrets,
        })
    }

    /// The plan: every decision, from the options and what was read.
    pub(super) fn plan(&'a self, args: &Args, choices: &ChosenOptions) -> Result<Plan<'a>> {
        let workflow = &*self.loaded.workflow;
        let name = name(args, workflow)?;
        let is_shared = self.store == plan::Store::Postgres;
        let replicas = args.replicas.unwrap_or(if is_shared { 2 } else { 1 });
        if replicas > 1 && !is_shared {
            return Err(Failure::usage(format!(
                "{replicas} replicas need a job store that they share"
            ))
            .hint("add --store postgres, with FLOWMILL_STORE=postgres://USER:PASSWORD@HOST/DATABASE in .env, or leave out --replicas"));
        }
        if let Some(most) = args.max_replicas {
            if !is_shared {
                return Err(Failure::usage(
                    "--max-replicas needs a job store that the servers share",
                )
                .hint("add --store postgres"));
            }
            if most < replicas {
                return Err(Failure::usage(format!(
                    "--max-replicas {most} is less than the {replicas} that there are at least"
                ))
                .hint("raise --max-replicas, or lower --replicas"));
            }
        }
        if args.port.checked_add(replicas - 1).is_none() {
            return Err(Failure::usage(format!(
                "{replicas} replicas need a port each, and there are not as many from --port {} on",
                args.port
            )));
        }
        // With --generate it is not known yet which keys there will be; if any are needed, the
        // package has a place for them.
        let needs_any = variables::of(workflow, &self.model_source)
            .iter()
            .any(|variable| variable.required);
        let (access, in_cluster) = access::of(args, &self.secrets);
        Ok(Plan {
            name,
            workflow,
            source: &self.source.text,
            is_json: args
                .file
                .extension()
                .is_some_and(|extension| extension.eq_ignore_ascii_case("json")),
            settings: self.settings,
            model_source: self.model_source.clone(),
            attached: self.attached.clone(),
            openapi: &self.openapi,
            sample: &self.sample,
            store: self.store.clone(),
            replicas,
            max_replicas: args.max_replicas,
            sync_timeout: args.sync_timeout.map(|time| time.0),
            drain_timeout: args.drain_timeout.0,
            host: host(args),
            port: args.port,
            mlflow: (!args.no_mlflow && args.mlflow_port != 0).then_some(args.mlflow_port),
            secrets: !self.secrets.is_empty()
                || needs_any
                || is_shared
                || access == plan::Access::Keys,
            access,
            in_cluster,
            options: (!args.generate).then(|| choices.label(&self.secrets.from_shell)),
            model_allow: self.model_allow.clone(),
            registry: args.registry.clone(),
            version: env!("CARGO_PKG_VERSION"),
        })
    }
}

/// The name of the container, its image and its volume.
pub(super) fn name(args: &Args, workflow: &Workflow) -> Result<Name> {
    match &args.name {
        None => Ok(Name::near(&workflow.name)),
        Some(name) => Name::parse(name).map_err(|error| {
            Failure::usage(error.to_string()).hint(format!("--name {}", error.suggestion))
        }),
    }
}

/// Where jobs are kept. The URL of a database becomes a variable of the container.
fn store(
    args: &Args,
    before: Option<&PreviousDeployment>,
    secrets: &mut Secrets,
) -> Result<plan::Store> {
    let named = Named {
        store: args.store.as_ref(),
        file: args.store_file.as_deref(),
    };
    let text = args.store.as_ref().map(Secret::reveal).map(str::trim);
    if !text.is_some_and(is_postgres_elsewhere) || args.store_file.is_some() {
        return Ok(match named.read(None)? {
            None => plan::Store::default(),
            Some(Store::Memory) => plan::Store::Memory,
            Some(Store::Sqlite(path)) => plan::Store::file(&path.to_string_lossy())
                .map_err(|error| Failure::usage(error.to_string()))?,
            Some(Store::Postgres(url)) => {
                if !args.generate {
                    secrets.set(variables::STORE, url.text().reveal());
                }
                plan::Store::Postgres
            }
        });
    }
    if !args.generate {
        secrets.take_from_shell(variables::STORE);
        if let Some(before) = before {
            secrets.take_from_before(before.shell_variables(), before.variables.as_deref());
        }
        secrets.check_store()?;
    }
    Ok(plan::Store::Postgres)
}

/// The store whose runs the gates are checked against.
fn gate_store(args: &Args, context: &Context) -> Result<Store> {
    let named = Named {
        store: args.runs.as_ref(),
        file: None,
    };
    match named.read(Some(&context.environment))? {
        Some(store) => Ok(store),
        None => serve::store_here(&context.environment, &context.project.serve),
    }
}

/// What answers the prompts, with the files that it needs.
fn model_source(settings: &models::Settings) -> Result<(plan::ModelSource, Vec<Attached>)> {
    if settings.record.is_some() {
        return Err(Failure::usage(
            "a deployment cannot record a cassette: its file system is read-only",
        )
        .hint("deploy without --record and FLOWMILL_RECORD"));
    }
    let mut attached = Vec::new();
    let mut attach = |purpose, path: &Path| -> Result<()> {
        attached.push(Attached {
            purpose,
            text: text::read(path)?,
        });
        Ok(())
    };
    let model_source = match &settings.source {
        ModelSource::Workflow => plan::ModelSource::Workflow,
        ModelSource::Override(spec) => plan::ModelSource::Model(spec.clone()),
        ModelSource::Offline => plan::ModelSource::Offline,
        ModelSource::Replay(path) => {
            attach(Purpose::Cassette, path)?;
            plan::ModelSource::Replay
        }
        ModelSource::Replies(path) => {
            attach(Purpose::Replies, path)?;
            plan::ModelSource::Replies
        }
    };
    if let Some(path) = &settings.prices {
        attach(Purpose::Prices, path)?;
    }
    if let Some(path) = &settings.ca {
        attach(Purpose::Certificates, path)?;
    }
    Ok((model_source, attached))
}

/// Reports now what would prevent the server in the container from starting.
fn preflight(
    loaded: &LoadedWorkflow,
    model_source: &plan::ModelSource,
    secrets: &Secrets,
    reach: Reach,
) -> Result<()> {
    let models: Arc<dyn llm::model::Models> = match model_source {
        plan::ModelSource::Workflow => secrets.models(None, reach)?,
        plan::ModelSource::Model(spec) => secrets.models(Some(spec), reach)?,
        // These models answer any request.
        plan::ModelSource::Offline | plan::ModelSource::Replay | plan::ModelSource::Replies => {
            Arc::new(llm::offline::Offline)
        }
    };
    loaded.preflight(&*models).map_err(|failure| {
        Failure::new(
            Exit::NotReady,
            format!("not deployed: its runs would fail: {}", failure.message),
        )
    })
}
