//! How one call finds a wording that the server takes: it starts from what was learned, and tries
//! the next detour after each refusal, until an answer comes or no detour is left.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::Dialect;
use super::detour::{self, RefusedFeature, RequestFeatures};
use super::learned::{DetourSet, LearnedDetours};
use crate::transport::failure::Refusal;

/// A refusal, and how long its header asked to wait.
pub(super) type Refused = (Refusal, Option<Duration>);

/// The wordings of one call.
pub(super) struct WordingSearch<'a, D: Dialect> {
    dialect: &'a D,
    features: RequestFeatures,
    learned: &'a Mutex<LearnedDetours>,
    wording: D::Wording,
    /// Detours taken at once, since they were learned before.
    known: DetourSet,
    /// Detours taken after refusals of this call.
    taken: DetourSet,
    /// A refusal was a server error, which may say anything: nothing is learned from this call.
    has_failed: bool,
    /// The first refusal of a way to ask for structure. It is the one to report; refusals of the
    /// fallbacks would only confuse.
    first: Option<Refused>,
}

impl<'a, D: Dialect> WordingSearch<'a, D> {
    /// Begins with the detours that `learned` holds.
    pub(super) fn new(
        dialect: &'a D,
        features: RequestFeatures,
        learned: &'a Mutex<LearnedDetours>,
        now: Duration,
    ) -> Self {
        let known = lock(learned).known(&features, now);
        let mut search = Self {
            dialect,
            features,
            learned,
            wording: dialect.wording(),
            known: DetourSet::default(),
            taken: DetourSet::default(),
            has_failed: false,
            first: None,
        };
        for index in known.indexes() {
            if (D::DETOURS[index].applies)(&search.wording, &features) {
                search.wording = (D::DETOURS[index].next)(search.wording);
                search.known.add(index);
            }
        }
        search
    }

    /// The wording to send now.
    pub(super) fn wording(&self) -> D::Wording {
        self.wording
    }

    /// Takes the next detour after a refusal, or returns the refusal to report.
    pub(super) fn refused(&mut self, refused: Refused) -> Result<(), Refused> {
        let refusal = &refused.0;
        let is_about_wording = detour::is_about_wording(refusal, D::DETOURS);
        if is_about_wording && refusal.status < 500 && !self.known.is_empty() {
            // What was learned holds no more: from the beginning, once.
            lock(self.learned).forget();
            self.known = DetourSet::default();
            self.taken = DetourSet::default();
            self.wording = self.dialect.wording();
            return Ok(());
        }
        let Some(index) = detour::around(refusal, &self.wording, &self.features, D::DETOURS) else {
            return Err(match self.first.take() {
                Some((mut first, retry_after)) if is_about_wording => {
                    first.message.push_str(OTHER_WAYS);
                    (first, retry_after)
                }
                _ => refused,
            });
        };
        self.has_failed |= refusal.status >= 500;
        self.wording = (D::DETOURS[index].next)(self.wording);
        self.taken.add(index);
        if D::DETOURS[index].about == RefusedFeature::Structure {
            self.first.get_or_insert(refused);
        }
        Ok(())
    }

    /// Notes that an answer came and remembers the detours that led to it; returns the newly
    /// learned features.
    pub(super) fn answered(&self, now: Duration) -> impl Iterator<Item = RefusedFeature> + use<D> {
        let mut intact = DetourSet::default();
        for (index, detour) in D::DETOURS.iter().enumerate() {
            if (detour.applies)(&self.wording, &self.features) {
                intact.add(index);
            }
        }
        let taken = if self.has_failed {
            DetourSet::default()
        } else {
            self.taken
        };
        let learned = lock(self.learned).answered(&self.features, taken, intact, now);
        learned.indexes().map(|index| D::DETOURS[index].about)
    }

    /// Which setting of the workflow was left out or changed, according to the last of the detours.
    pub(super) fn given_up(&self, model: &str) -> Option<String> {
        let detours = self.known.union(self.taken);
        let given_up = |index: usize| D::DETOURS[index].about.given_up(model, &self.features);
        detours.indexes().filter_map(given_up).last()
    }
}

/// Added to the first refusal.
const OTHER_WAYS: &str = " (other ways to ask for the answer's shape were refused, too)";

fn lock(learned: &Mutex<LearnedDetours>) -> MutexGuard<'_, LearnedDetours> {
    // Every change leaves them whole.
    learned.lock().unwrap_or_else(PoisonError::into_inner)
}
