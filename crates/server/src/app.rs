//! What every handler shares: the service beneath and the settings.

use std::num::{NonZeroU32, NonZeroUsize};
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use lang::json::Bounds;
use service::Service;
use service::access::Access;
use service::limits::Addresses;
use telemetry::Telemetry;
use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;

use crate::answer_budget::AnswerBudget;
use crate::middleware::cors::Origins;
use crate::middleware::host::AllowedHosts;
use crate::openapi::Documented;
use crate::request::body;
use crate::request::body_budget::BodyBudget;
use crate::request::prefix::RootPath;
use crate::tls::Tls;

/// Times and limits of the HTTP side.
#[derive(Debug, Clone)]
pub struct Settings {
    /// How long `POST /run` waits for the end of its run when the client names no time of its own.
    pub sync_timeout: Duration,
    /// The longest wait a client may ask for with `Prefer: wait=N`.
    pub max_wait: Duration,
    /// The largest request body taken, in bytes.
    pub max_body_bytes: usize,
    /// The longest time a request body may take to arrive.
    pub body_timeout: Duration,
    /// How many values a request body may hold: texts, numbers, lists, objects and the like.
    pub max_body_values: usize,
    /// The longest text in a request body, in bytes as it is written there.
    pub max_text_bytes: usize,
    /// The longest time a request's head may take to arrive once it has begun, and a TLS handshake.
    pub head_timeout: Duration,
    /// After which an idle connection is closed.
    pub idle_timeout: Duration,
    /// How long a client may leave what is written to it unread.
    pub write_timeout: Duration,
    /// Memory for answers larger than 64 KiB that are being sent at the same time, in bytes.
    pub max_answer_bytes: usize,
    /// The most connections at once; `None`: as many as come.
    pub max_connections: Option<NonZeroUsize>,
    /// The most connections at once from one address (of IPv6: one /64 network).
    pub max_connections_per_address: Option<NonZeroUsize>,
    /// TLS instead of plain HTTP.
    pub tls: Option<Tls>,
    /// Whose web pages may call the API from a browser.
    pub origins: Origins,
    /// Where a proxy shows this server to its clients.
    pub root_path: RootPath,
    /// The names, besides those of loopback, by which clients may ask for this server; `None`: any.
    pub allowed_hosts: Option<AllowedHosts>,
    /// How often an event stream carries a comment line, so that nobody between takes it for dead.
    pub comment_every: Duration,
    /// Networks of proxies that say truly whom they ask for.
    pub trusted_proxies: Vec<IpNet>,
    /// Requests a minute without a good API key, from each address; `None`: any number.
    pub address_requests_per_minute: Option<NonZeroU32>,
    /// After `shutdown`, how long answers in flight may take before their connections are cut.
    pub close_timeout: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            sync_timeout: Duration::from_secs(30),
            max_wait: Duration::from_secs(5 * 60),
            max_body_bytes: 10 * 1024 * 1024,
            body_timeout: Duration::from_secs(60),
            max_body_values: 500_000,
            max_text_bytes: usize::MAX,
            head_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(75),
            write_timeout: Duration::from_secs(30),
            max_answer_bytes: 256 << 20,
            max_connections: None,
            max_connections_per_address: None,
            tls: None,
            origins: Origins::default(),
            root_path: RootPath::default(),
            allowed_hosts: None,
            comment_every: Duration::from_secs(5),
            trusted_proxies: Vec::new(),
            address_requests_per_minute: None,
            close_timeout: Duration::from_secs(5),
        }
    }
}

impl Settings {
    /// Of the JSON in request bodies.
    pub(crate) fn bounds(&self) -> Bounds {
        Bounds {
            values: self.max_body_values,
            text_bytes: self.max_text_bytes,
        }
    }
}

/// The application behind the port; cheap to clone.
#[derive(Debug, Clone)]
pub struct App(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    service: Service,
    settings: Settings,
    access: Option<Arc<Access>>,
    addresses: Option<Addresses>,
    has_root_paths: bool,
    documented: Vec<Documented>,
    drains: TaskTracker,
    body_budget: BodyBudget,
    readers: Arc<Semaphore>,
    answer_budget: AnswerBudget,
    telemetry: Telemetry,
}

impl App {
    /// The API of a service, open to everyone who reaches it. The root paths (`/run`,
    /// `/schema`, …) exist when `service` serves exactly one workflow at this moment.
    pub fn new(service: Service, settings: Settings) -> Self {
        let telemetry = Telemetry::counting(service.host().clone());
        Self::observed(service, settings, telemetry)
    }

    /// As [`App::new`], with the telemetry that also watches the service's runs.
    pub fn observed(service: Service, settings: Settings, telemetry: Telemetry) -> Self {
        let has_root_paths = service.catalog().only().is_some();
        let documented = crate::router::documented(has_root_paths);
        let addresses = settings
            .address_requests_per_minute
            .map(|most| Addresses::new(most, service.host().clone()));
        Self(Arc::new(Inner {
            body_budget: BodyBudget::new(settings.max_body_bytes),
            readers: Arc::new(Semaphore::new(body::READERS)),
            answer_budget: AnswerBudget::new(settings.max_answer_bytes),
            service,
            settings,
            access: None,
            addresses,
            has_root_paths,
            documented,
            drains: TaskTracker::new(),
            telemetry,
        }))
    }

    pub(crate) fn service(&self) -> &Service {
        &self.0.service
    }

    /// The same, only for callers with a key where there is an `access`.
    ///
    /// # Panics
    /// Where clones of it are about: it must not be open to some.
    #[must_use]
    pub fn guarded(mut self, access: Option<Arc<Access>>) -> Self {
        let inner = Arc::get_mut(&mut self.0).expect("it is guarded before it is served");
        inner.access = access;
        self
    }

    /// Who lets callers in; `None`: everyone is.
    pub(crate) fn access(&self) -> Option<&Arc<Access>> {
        self.0.access.as_ref()
    }

    /// Who counts requests by their address; `None`: nobody.
    pub(crate) fn addresses(&self) -> Option<&Addresses> {
        self.0.addresses.as_ref()
    }

    pub(crate) fn telemetry(&self) -> &Telemetry {
        &self.0.telemetry
    }

    pub(crate) fn settings(&self) -> &Settings {
        &self.0.settings
    }

    /// Whether `/run` and the like mean the only workflow.
    pub(crate) fn has_root_paths(&self) -> bool {
        self.0.has_root_paths
    }

    /// Every endpoint with its documentation, in the order of [`crate::router`].
    pub(crate) fn documented(&self) -> &[Documented] {
        &self.0.documented
    }

    /// The memory for request bodies that are arriving.
    pub(crate) fn body_budget(&self) -> &BodyBudget {
        &self.0.body_budget
    }

    /// The memory for large answers that are being sent.
    pub(crate) fn answer_budget(&self) -> &AnswerBudget {
        &self.0.answer_budget
    }

    /// Permits to read large bodies.
    pub(crate) fn readers(&self) -> &Arc<Semaphore> {
        &self.0.readers
    }

    /// Request bodies that are still being read after their refusal; [`crate::serve()`] awaits them.
    pub(crate) fn drains(&self) -> &TaskTracker {
        &self.0.drains
    }
}
