//! Models of a replica that shares its store: none is asked while the replica cannot rely on its
//! lease. Its jobs may have been given to others then, who ask the same.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use engine::host::Host;
use llm::Error;
use llm::chat::{ChatReply, ChatRequest, Delta};
use llm::model::{ChatModel, ModelSpec, Models};
use llm::tokens::UsageCeiling;

use crate::replica_lease::ReplicaLease;

/// Models that are asked only under the lease.
#[derive(Debug)]
pub(crate) struct ReliedOnModels {
    pub(crate) models: Arc<dyn Models>,
    pub(crate) guard: LeaseGuard,
}

/// Tells whether the lease holds.
#[derive(Debug, Clone)]
pub(crate) struct LeaseGuard {
    pub(crate) lease: Arc<ReplicaLease>,
    pub(crate) host: Arc<dyn Host>,
}

impl LeaseGuard {
    /// Waits until the lease can be relied on. A run whose lease is lost is dropped while it waits.
    async fn relied_on(&self) {
        loop {
            let renewal = self.lease.renewal();
            if self.lease.is_relied_on(self.host.elapsed()) {
                return;
            }
            renewal.await;
        }
    }
}

impl Models for ReliedOnModels {
    fn find(&self, spec: &ModelSpec) -> Result<Arc<dyn ChatModel>, Error> {
        Ok(Arc::new(ReliedOnModel {
            model: self.models.find(spec)?,
            guard: self.guard.clone(),
        }))
    }

    fn is_sequential(&self) -> bool {
        self.models.is_sequential()
    }

    fn price_table(&self) -> Option<Arc<str>> {
        self.models.price_table()
    }

    fn max_retry_after(&self) -> Duration {
        self.models.max_retry_after()
    }
}

#[derive(Debug)]
struct ReliedOnModel {
    model: Arc<dyn ChatModel>,
    guard: LeaseGuard,
}

#[async_trait]
impl ChatModel for ReliedOnModel {
    fn name(&self) -> &str {
        self.model.name()
    }

    fn cost_usd(&self, input_tokens: u64, output_tokens: u64) -> Option<f64> {
        self.model.cost_usd(input_tokens, output_tokens)
    }

    fn usage_ceiling(&self, request: &ChatRequest) -> UsageCeiling {
        self.model.usage_ceiling(request)
    }

    async fn chat(
        &self,
        request: &ChatRequest,
        on_delta: &(dyn Fn(Delta) + Send + Sync),
    ) -> Result<ChatReply, Error> {
        self.guard.relied_on().await;
        self.model.chat(request, on_delta).await
    }
}
