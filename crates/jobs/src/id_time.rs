//! The time in the ids of jobs: they are UUIDs of version 7, which begin with the milliseconds since
//! 1970. It may differ from a job's `created_at`.

use jiff::Timestamp;
use uuid::Uuid;

use crate::id::JobId;

/// When an id was made, in milliseconds since 1970.
pub(crate) fn time_in(id: JobId) -> i64 {
    i64::try_from(id.0.as_u128() >> 80).expect("48 bits fit")
}

/// No job made later than `after` has a smaller id.
pub(crate) fn first_id(after: Timestamp, skew_ms: u64) -> JobId {
    let ms = after.as_millisecond().saturating_sub_unsigned(skew_ms);
    JobId(Uuid::from_u128(u128::try_from(ms).unwrap_or(0) << 80))
}

/// No job made earlier than `before` has a greater id.
pub(crate) fn last_id(before: Timestamp, skew_ms: u64) -> JobId {
    let ms = before.as_millisecond().saturating_add_unsigned(skew_ms);
    // Before 1970 there is no id.
    let ms = u128::try_from(ms).unwrap_or(0).min((1 << 48) - 1);
    JobId(Uuid::from_u128((ms << 80) | ((1 << 80) - 1)))
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;

    #[test]
    fn ids_at_the_limits_of_a_time() {
        let time: Timestamp = "2026-11-24T00:00:00.0005Z".parse().unwrap();
        let id = |ms: i64, rest: u128| {
            let ms = u128::try_from(time.as_millisecond() + ms).unwrap();
            JobId(Uuid::from_u128((ms << 80) | rest))
        };
        assert_eq!(first_id(time, 7), id(-7, 0));
        assert_eq!(last_id(time, 7), id(7, (1 << 80) - 1));
        let all = (JobId(Uuid::nil()), JobId(Uuid::max()));
        assert_eq!((first_id(time, u64::MAX), last_id(time, u64::MAX)), all);
        let early = Timestamp::UNIX_EPOCH - SignedDuration::from_secs(1);
        assert_eq!(last_id(early, 0), JobId(Uuid::from_u128((1 << 80) - 1)));
    }
}
