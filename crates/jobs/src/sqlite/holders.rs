//! Who holds the jobs that run. Only one process has the file, so who is alive is known to it alone,
//! and not stored: after a start nobody is, and all jobs that the file has as running have lapsed.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard};

use crate::allotments::Allotments;
use crate::id::ReplicaId;
use crate::replicas::Replicas;

#[derive(Debug)]
pub(super) struct Holders {
    replicas: Mutex<Replicas>,
    allotments: Mutex<Allotments>,
    /// Some jobs may have lapsed that no claim has taken yet. Whoever lets jobs lapse sets it after
    /// that; a claim clears it before it looks for them, and sets it again unless it finds none.
    may_have_lapsed: AtomicBool,
}

impl Default for Holders {
    fn default() -> Self {
        Self {
            replicas: Mutex::default(),
            allotments: Mutex::default(),
            may_have_lapsed: AtomicBool::new(true),
        }
    }
}

impl Holders {
    pub(super) fn replicas(&self) -> MutexGuard<'_, Replicas> {
        self.replicas
            .lock()
            .expect("nothing panics while it holds the replicas")
    }

    pub(super) fn allotments(&self) -> MutexGuard<'_, Allotments> {
        self.allotments
            .lock()
            .expect("nothing panics while it holds the allotments")
    }

    /// Has the next claim look for jobs that have lapsed.
    pub(super) fn some_may_have_lapsed(&self) {
        self.may_have_lapsed.store(true, Ordering::SeqCst);
    }

    /// Whether jobs may have lapsed that no claim has taken yet. From now on that is not so until it is
    /// said again.
    pub(super) fn clear_may_have_lapsed(&self) -> bool {
        self.may_have_lapsed.swap(false, Ordering::SeqCst)
    }

    pub(super) fn deregister(&self, id: ReplicaId) {
        self.replicas().deregister(id);
        self.some_may_have_lapsed();
    }
}
