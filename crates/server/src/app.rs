//! The state that all handlers share: the service, the settings, and what is limited across
//! requests.

use std::sync::{Arc, OnceLock};

use service::Service;
use service::access::Access;
use service::limits::Addresses;
use telemetry::Telemetry;
use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;

use crate::answer_budget::AnswerBudget;
use crate::openapi::Documentation;
use crate::openapi::endpoint::Endpoint;
use crate::request::body_budget::BodyBudget;
use crate::settings::Settings;

/// Large bodies that are read at the same time: the values of each may take a hundred megabytes
/// meanwhile.
const READERS: usize = 2;

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
    endpoints: &'static [Endpoint],
    documentation: OnceLock<Documentation>,
    drains: TaskTracker,
    body_budget: BodyBudget,
    readers: Arc<Semaphore>,
    answer_budget: AnswerBudget,
    telemetry: Telemetry,
}

impl App {
    /// The state behind these endpoints.
    pub(crate) fn assembled(
        service: Service,
        settings: Settings,
        telemetry: Telemetry,
        endpoints: &'static [Endpoint],
    ) -> Self {
        let addresses = settings
            .address_requests_per_minute
            .map(|most| Addresses::new(most, service.host().clone()));
        Self(Arc::new(Inner {
            body_budget: BodyBudget::new(settings.max_body_bytes),
            readers: Arc::new(Semaphore::new(READERS)),
            answer_budget: AnswerBudget::new(settings.max_answer_bytes),
            has_root_paths: service.catalog().only().is_some(),
            service,
            settings,
            access: None,
            addresses,
            endpoints,
            documentation: OnceLock::new(),
            drains: TaskTracker::new(),
            telemetry,
        }))
    }

    pub(crate) fn service(&self) -> &Service {
        &self.0.service
    }

    /// Lets only callers with an API key in, if there is an `access` and it is in use.
    ///
    /// # Panics
    /// If it has been cloned: a clone would stay open to everyone.
    #[must_use]
    pub fn guarded(mut self, access: Option<Arc<Access>>) -> Self {
        let inner = Arc::get_mut(&mut self.0).expect("it is guarded before it is cloned");
        inner.access = access;
        self
    }

    /// The API keys; `None`: none are in use, and everyone is let in.
    pub(crate) fn access(&self) -> Option<&Arc<Access>> {
        let access = self.0.access.as_ref();
        access.filter(|access| access.is_in_use())
    }

    /// Counts requests per client; `None`: they are not limited.
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

    /// The documentation of all endpoints, made when it is asked for first.
    pub(crate) fn documentation(&self) -> &Documentation {
        let endpoints = self.0.endpoints;
        self.0
            .documentation
            .get_or_init(|| Documentation::of(endpoints))
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

    /// Request bodies that are still being read after their refusal. [`crate::serve()`] awaits
    /// them.
    pub(crate) fn drains(&self) -> &TaskTracker {
        &self.0.drains
    }
}
