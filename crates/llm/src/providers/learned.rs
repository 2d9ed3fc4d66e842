//! What was learned from a server's refusals, for one model, one schema and one temperature, and
//! for a limited time.

use std::time::Duration;

use super::detour::RequestFeatures;

/// How long a refusal is remembered. After that the server is asked as before: it may have been
/// changed, or its refusal may have been an exception.
const LASTS: Duration = Duration::from_secs(60 * 60);

/// More detours than any dialect has.
const MAX_DETOURS: usize = 8;

/// A set of a dialect's detours, by index.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct DetourSet(u8);

impl DetourSet {
    pub(super) fn has(self, index: usize) -> bool {
        self.0 & (1 << index) != 0
    }

    pub(super) fn add(&mut self, index: usize) {
        debug_assert!(index < MAX_DETOURS, "a dialect has more detours than fit");
        self.0 |= 1 << index;
    }

    pub(super) fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub(super) fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub(super) fn indexes(self) -> impl Iterator<Item = usize> {
        (0..MAX_DETOURS).filter(move |index| self.has(*index))
    }
}

/// For one kind of request to one model. Times are readings of the injected clock.
#[derive(Debug, Default)]
pub(super) struct LearnedDetours {
    /// The temperature of the requests; another one is another kind of request.
    temperature: Option<f64>,
    /// By detour: it is taken at once until then.
    learned: [Option<Duration>; MAX_DETOURS],
    /// By detour: the feature that it avoids has worked, which counts until then.
    proven: [Option<Duration>; MAX_DETOURS],
}

impl LearnedDetours {
    /// Detours to take before anything is refused.
    pub(super) fn known(&self, features: &RequestFeatures, now: Duration) -> DetourSet {
        let mut known = DetourSet::default();
        if self.temperature == features.temperature {
            for (index, until) in self.learned.iter().enumerate() {
                if until.is_some_and(|until| now < until) {
                    known.add(index);
                }
            }
        }
        known
    }

    /// Notes that an answer came. `taken` are the detours that refusals of this call led to; the
    /// features that the detours `intact` avoid were sent and not refused. Returns the detours that
    /// are remembered: not those around a feature that has worked lately.
    pub(super) fn answered(
        &mut self,
        features: &RequestFeatures,
        taken: DetourSet,
        intact: DetourSet,
        now: Duration,
    ) -> DetourSet {
        if self.temperature != features.temperature {
            *self = Self {
                temperature: features.temperature,
                ..Self::default()
            };
        }
        let until = now.saturating_add(LASTS);
        for index in intact.indexes() {
            self.proven[index] = Some(until);
        }
        let mut learned = DetourSet::default();
        for index in taken.indexes() {
            if self.proven[index].is_none_or(|until| until <= now) {
                self.learned[index] = Some(until);
                learned.add(index);
            }
        }
        learned
    }

    /// Forgets everything: the remembered detours are refused as well.
    pub(super) fn forget(&mut self) {
        self.learned = Default::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn features(temperature: f64) -> RequestFeatures {
        RequestFeatures {
            has_schema: true,
            has_odd_names: false,
            temperature: Some(temperature),
            has_token_limit: false,
            stream: false,
        }
    }

    fn detours(indexes: &[usize]) -> DetourSet {
        let mut detours = DetourSet::default();
        for index in indexes {
            detours.add(*index);
        }
        detours
    }

    #[test]
    fn a_lesson_ends_after_an_hour() {
        let mut learned = LearnedDetours::default();
        let none = DetourSet::default();
        let new = learned.answered(&features(0.0), detours(&[1, 3]), none, MINUTE);
        assert_eq!(new, detours(&[1, 3]));
        assert_eq!(learned.known(&features(0.0), MINUTE * 60), detours(&[1, 3]));
        assert_eq!(learned.known(&features(0.0), MINUTE * 61), none);
    }

    #[test]
    fn what_has_worked_is_not_given_up_for_one_refusal() {
        let mut learned = LearnedDetours::default();
        let none = DetourSet::default();
        assert_eq!(
            learned.answered(&features(0.0), none, detours(&[1]), Duration::ZERO),
            none
        );
        let refused = |learned: &mut LearnedDetours, now| {
            learned.answered(&features(0.0), detours(&[1]), none, now)
        };
        assert_eq!(refused(&mut learned, MINUTE), none);
        assert_eq!(learned.known(&features(0.0), MINUTE), none);
        // It has not worked for an hour.
        assert_eq!(refused(&mut learned, MINUTE * 60), detours(&[1]));
    }

    #[test]
    fn another_temperature_is_another_question() {
        let mut learned = LearnedDetours::default();
        let none = DetourSet::default();
        learned.answered(&features(0.0), detours(&[2]), none, Duration::ZERO);
        assert_eq!(learned.known(&features(0.7), MINUTE), none);
        assert_eq!(learned.known(&features(0.0), MINUTE), detours(&[2]));
    }

    #[test]
    fn a_lesson_that_is_refused_is_forgotten() {
        let mut learned = LearnedDetours::default();
        learned.answered(
            &features(0.0),
            detours(&[0]),
            DetourSet::default(),
            Duration::ZERO,
        );
        learned.forget();
        assert_eq!(learned.known(&features(0.0), MINUTE), DetourSet::default());
    }
}
