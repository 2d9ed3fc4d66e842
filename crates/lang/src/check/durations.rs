//! Durations of the file.

use std::time::Duration;

use super::context::Context;
use crate::diagnostic::{code, quoted};
use crate::duration;
use crate::suggest::Suggestion;
use crate::syntax::view::View;

/// Longest time kept: a day.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

/// The duration at a key: a number of seconds, or text with units.
pub(super) fn duration(
    view: &View<'_>,
    key: &str,
    owner: &str,
    context: &mut Context<'_>,
) -> Option<Duration> {
    let item = view.get(key)?;
    let Some(text) = item.text() else {
        let seconds = view.float(key).filter(|seconds| *seconds > 0.0)?;
        return Some(
            Duration::try_from_secs_f64(seconds)
                .unwrap_or(LONGEST)
                .min(LONGEST),
        );
    };
    if let Some(found) = duration::parse(&text.value).filter(|found| !found.is_zero()) {
        return Some(found.min(LONGEST));
    }
    let message = format!(
        "{owner}: `{key}` is {}, which is not a valid duration; it must be greater than zero",
        quoted(&text.value)
    );
    let advice = Suggestion::advice("write a number of seconds, or text such as `30s`");
    context.error(code::BAD_VALUE, &text.location, message, Some(advice));
    None
}
