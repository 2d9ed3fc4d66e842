//! Faults of values, written as part of a sentence.

use lang::fault::Fault;

/// Faults that a message lists. More would only make it harder to read.
const MAX_FAULTS: usize = 5;
/// Characters of a list of faults. Paths may hold keys of any length.
const MAX_LIST: usize = 1_000;

/// Faults as one phrase: `result.1: Input should be a valid integer; …`.
pub(crate) fn phrase(faults: &[Fault]) -> String {
    let phrase = |fault: &Fault| match fault.dotted_path() {
        path if path.is_empty() => fault.message.clone(),
        path => format!("{path}: {}", fault.message),
    };
    let mut phrases: Vec<String> = faults.iter().take(MAX_FAULTS).map(phrase).collect();
    if let Some(more @ 1..) = faults.len().checked_sub(MAX_FAULTS) {
        phrases.push(format!("and {more} more"));
    }
    shortened(phrases.join("; "), MAX_LIST)
}

/// A text cut off after that many characters.
pub(crate) fn shortened(mut text: String, max_chars: usize) -> String {
    if let Some((end, _)) = text.char_indices().nth(max_chars) {
        text.truncate(end);
        text.push('…');
    }
    text
}
