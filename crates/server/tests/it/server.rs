//! A server of its own for each test.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use jobs::memory::{Limits, MemoryStore};
use jobs::signals::NoSignals;
use lang::source::Source;
use outbound::{Answer as Reply, Error as NoReply, Post, Request};
use server::App;
use service::access::Access;
use service::catalog::LoadedWorkflow;
use service::webhooks::Webhooks;
use service::{Config, Service};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::client::{Answer, Call};
use crate::machine::Machine;
use crate::models::{Actor, Part};

/// Takes no webhook.
#[derive(Debug)]
struct Nobody;

#[async_trait::async_trait]
impl Post for Nobody {
    async fn post(&self, _: Request) -> Result<Reply, NoReply> {
        Err(NoReply("nobody is there".to_owned()))
    }
}

/// One node that repeats `message`.
pub(crate) const ECHO: &str = r#"
schema_version: "1.0"
flow: {name: echo, version: "2.1", description: Repeats what it is told.}
state:
  fields:
    message: {type: str, required: true, description: text to repeat}
    result: {type: str, default: ""}
nodes:
  - id: say
    prompt: "Say {state.message}"
    outputs: [result]
    output_schema: {type: str}
edges:
  - {from: START, to: say}
  - {from: say, to: END}
config:
  execution: {max_retries: 1}
"#;

/// The echo workflow under another name.
pub(crate) fn echo_named(name: &str) -> String {
    ECHO.replace("name: echo", &format!("name: {}", serde_json::json!(name)))
}

pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) model: Actor,
    pub(crate) service: Service,
    pub(crate) shutdown: CancellationToken,
    pub(crate) serving: JoinHandle<()>,
}

impl Server {
    /// The echo workflow on a model that plays this part.
    pub(crate) fn start(part: Part) -> Self {
        Self::with(
            part,
            &[ECHO],
            server::Settings::default(),
            service::Settings::default(),
        )
    }

    /// These workflows, with these settings.
    pub(crate) fn with(
        part: Part,
        workflows: &[&str],
        settings: server::Settings,
        limits: service::Settings,
    ) -> Self {
        Self::guarded(part, workflows, settings, limits, None)
    }

    /// The same, for callers with a key.
    pub(crate) fn guarded(
        part: Part,
        workflows: &[&str],
        settings: server::Settings,
        limits: service::Settings,
        access: Option<Access>,
    ) -> Self {
        Self::guarded_by(part, workflows, settings, limits, access.map(Arc::new))
    }

    /// The same, where something else has a part in access.
    pub(crate) fn guarded_by(
        part: Part,
        workflows: &[&str],
        settings: server::Settings,
        limits: service::Settings,
        access: Option<Arc<Access>>,
    ) -> Self {
        let model = Actor::new(part);
        let service = Service::new(Config {
            store: Arc::new(MemoryStore::new(Limits::default())),
            signals: Arc::new(NoSignals),
            models: Arc::new(model.clone()),
            host: Arc::new(Machine::new()),
            webhooks: Some(Webhooks {
                sender: Arc::new(Nobody),
                policy: Arc::default(),
                default: None,
            }),
            accounts: access.as_ref().map(|access| access.accounts().clone()),
            settings: limits,
        });
        for text in workflows {
            let source = Source {
                name: "workflow.yaml".into(),
                text: (*text).into(),
            };
            let checked = lang::check(&source);
            let workflow = checked
                .workflow
                .unwrap_or_else(|| panic!("{:?}", checked.diagnostics));
            service
                .catalog()
                .put(LoadedWorkflow::new(&source, workflow));
        }
        let listener = server::bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        let address = listener.local_addr().unwrap();
        let shutdown = CancellationToken::new();
        let app = App::new(service.clone(), settings).guarded(access);
        let serving = tokio::spawn(server::serve(listener, app, shutdown.clone()));
        Self {
            address,
            model,
            service,
            shutdown,
            serving,
        }
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        Call::get(path).send(self.address).await
    }

    pub(crate) async fn post(&self, path: &str, body: &str) -> Answer {
        Call::post(path, body).send(self.address).await
    }

    pub(crate) async fn send(&self, call: Call) -> Answer {
        call.send(self.address).await
    }

    /// A job that has been accepted and whose model has been asked.
    pub(crate) async fn start_job(&self) -> String {
        let calls = self.model.calls();
        let id = self
            .post("/jobs", r#"{"inputs": {"message": "hi"}}"#)
            .await
            .job_id();
        self.until_asked(calls + 1).await;
        id
    }

    /// Until the model has been asked this often.
    pub(crate) async fn until_asked(&self, calls: usize) {
        tokio::time::timeout(Duration::from_secs(10), async {
            while self.model.calls() < calls {
                tokio::task::yield_now().await;
            }
        })
        .await
        .expect("the model is asked");
    }

    /// Waits until a run stands in the listing, which it need not from its first moment; its id.
    pub(crate) async fn until_listed(&self) -> String {
        tokio::time::timeout(Duration::from_secs(10), async {
            loop {
                let page = self.get("/jobs").await.json();
                if let Some(id) = page["jobs"][0]["job_id"].as_str() {
                    return id.to_owned();
                }
            }
        })
        .await
        .expect("the run is listed")
    }
}
