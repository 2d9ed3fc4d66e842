//! The way one call takes through the wordings of a dialect: from what was learnt, on past each
//! refusal, to an answer or to the refusal that nothing gets around.

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
    /// Taken at once, from what was learned before.
    known: DetourSet,
    /// Taken after refusals of this call.
    taken: DetourSet,
    /// A server that fails may say anything: nothing is learnt from it.
    has_failed: bool,
    /// The first refusal of a way to ask for structure. It names the fault; what is said of the
    /// ways around it only puzzles.
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

    /// How to ask now.
    pub(super) fn wording(&self) -> D::Wording {
        self.wording
    }

    /// Goes on past a refusal, or gives back the one to report.
    pub(super) fn refused(&mut self, refused: Refused) -> Result<(), Refused> {
        let refusal = &refused.0;
        let is_about_wording = detour::is_about_wording(refusal, D::DETOURS);
        if is_about_wording && refusal.status < 500 && !self.known.is_empty() {
            // What was learnt holds no more: from the beginning, once.
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

    /// An answer came. Remembers what led to it, and names what of it is new.
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
        let learnt = lock(self.learned).answered(&self.features, taken, intact, now);
        learnt.indexes().map(|index| D::DETOURS[index].about)
    }

    /// What the workflow set and the model was asked without: the last of the detours says it.
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
