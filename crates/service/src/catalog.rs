//! The workflows this process serves, replaceable while it runs (`--watch`). A job keeps the
//! version it was accepted with: its definition is stored with it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use engine::outcome::Failure;
use engine::plan::Plan;
use jobs::job::Definition;
use lang::source::Source;
use lang::workflow::Workflow;
use llm::model::Models;
use serde_json::Value;

/// A loaded workflow with what is derived from it once.
#[derive(Debug)]
pub struct LoadedWorkflow {
    /// The workflow's name, shared with its jobs.
    pub name: Arc<str>,
    /// The checked workflow.
    pub workflow: Arc<Workflow>,
    /// The workflow made ready to run.
    pub plan: Plan,
    /// The JSON Schema of its inputs.
    pub input_schema: Value,
    /// The JSON Schema of its outputs.
    pub output_schema: Value,
    /// The text that is stored with its jobs.
    pub definition: Arc<Definition>,
    /// Whether [`engine::run::preflight`] has passed, whose answer does not change.
    runnable: AtomicBool,
}

impl LoadedWorkflow {
    /// `workflow` is the result of checking `source`.
    pub fn new(source: &Source, workflow: Arc<Workflow>) -> Self {
        Self {
            name: Arc::from(workflow.name.as_str()),
            input_schema: workflow.input_schema(),
            output_schema: workflow.output_schema(),
            definition: Arc::new(Definition {
                hash: Arc::from(workflow.definition_hash.as_str()),
                name: source.name.clone(),
                text: source.text.clone(),
            }),
            plan: Plan::new(workflow.clone()),
            workflow,
            runnable: AtomicBool::new(false),
        }
    }

    /// From the text stored with a job; `None` where this version of flowmill refuses it.
    pub(crate) fn from_definition(definition: &Definition) -> Option<Self> {
        let source = Source {
            name: definition.name.clone(),
            text: definition.text.clone(),
        };
        lang::check(&source)
            .workflow
            .map(|workflow| Self::new(&source, workflow))
    }

    /// Whether it can run at all; an error says what prevents it.
    pub fn preflight(&self, models: &dyn Models) -> Result<(), Failure> {
        if !self.runnable.load(Ordering::Relaxed) {
            engine::run::preflight(&self.plan, models)?;
            self.runnable.store(true, Ordering::Relaxed);
        }
        Ok(())
    }
}

/// The current version of every workflow, in the order they were first put in.
#[derive(Debug, Default)]
pub struct Catalog {
    workflows: RwLock<Vec<Arc<LoadedWorkflow>>>,
}

impl Catalog {
    /// Adds a workflow; it replaces an earlier version with the same name.
    pub fn put(&self, loaded: LoadedWorkflow) -> Arc<LoadedWorkflow> {
        let loaded = Arc::new(loaded);
        let mut workflows = self
            .workflows
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        match workflows
            .iter_mut()
            .find(|earlier| earlier.name == loaded.name)
        {
            Some(earlier) => *earlier = loaded.clone(),
            None => workflows.push(loaded.clone()),
        }
        loaded
    }

    /// Removes a workflow (its file now names another one). Its jobs continue.
    pub fn remove(&self, name: &str) {
        self.workflows
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .retain(|loaded| &*loaded.name != name);
    }

    /// The workflow with that name.
    pub fn get(&self, name: &str) -> Option<Arc<LoadedWorkflow>> {
        self.find(|loaded| &*loaded.name == name)
    }

    /// The one workflow, where there is exactly one.
    pub fn only(&self) -> Option<Arc<LoadedWorkflow>> {
        match self.read().as_slice() {
            [only] => Some(only.clone()),
            _ => None,
        }
    }

    /// All workflows.
    pub fn all(&self) -> Vec<Arc<LoadedWorkflow>> {
        self.read().clone()
    }

    /// The current version with that definition.
    pub(crate) fn with_hash(&self, hash: &str) -> Option<Arc<LoadedWorkflow>> {
        self.find(|loaded| &*loaded.definition.hash == hash)
    }

    fn find(&self, is_it: impl Fn(&LoadedWorkflow) -> bool) -> Option<Arc<LoadedWorkflow>> {
        self.read().iter().find(|loaded| is_it(loaded)).cloned()
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, Vec<Arc<LoadedWorkflow>>> {
        self.workflows
            .read()
            .unwrap_or_else(PoisonError::into_inner)
    }
}
