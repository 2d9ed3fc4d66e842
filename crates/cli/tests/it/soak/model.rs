//! A provider that is often unwell, until it is healed.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use fastrand::Rng;
use serde_json::json;
use testing::{FakeModel, Reply, Request};

/// It, and the switch.
pub(super) struct Faulty {
    pub(super) fake: FakeModel,
    is_well: Arc<AtomicBool>,
}

impl Faulty {
    /// From now on every answer is right.
    pub(super) fn heal(&self) {
        self.is_well.store(true, Ordering::SeqCst);
    }
}

/// Answers what it was asked, seven times of ten.
pub(super) fn faulty(seed: u64) -> Faulty {
    let rng = Mutex::new(Rng::with_seed(seed));
    let is_well = Arc::new(AtomicBool::new(false));
    let healed = is_well.clone();
    let fake = FakeModel::answering(move |request| {
        if healed.load(Ordering::SeqCst) {
            return right(request);
        }
        let mut rng = rng.lock().unwrap_or_else(PoisonError::into_inner);
        match rng.u8(0..100) {
            0..6 => Reply::status(429).retry_after(0),
            6..12 => Reply::status(500),
            12..14 => Reply::status(503).retry_after(1),
            14..17 => Reply::hang(),
            17..21 => Reply::garbage(),
            21..24 => Reply::truncated("half of it"),
            24..26 => Reply::hang_midway("half of it"),
            26..30 => right(request).after(Duration::from_millis(rng.u64(10..400))),
            _ => right(request),
        }
    });
    Faulty { fake, is_well }
}

fn right(request: &Request) -> Reply {
    Reply::json(json!({"result": request.prompt()}))
}
