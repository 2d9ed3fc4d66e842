//! What to suggest for an unknown word: the nearest known one, or all of them. Owns which words are
//! near, and the wording of lists; the caller decides which words are known.

/// Most edits at which a word still counts as a misspelling.
const MAX_EDITS: usize = 2;

/// Letters of the longest word that is compared with others: a file can have very many words that
/// differ, and what a comparison takes grows with the square of their length.
const LONGEST: usize = 64;

/// Most words [`known_list`] spells out.
const LISTED: usize = 12;

/// What to offer in place of an unknown word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Suggestion {
    /// A sentence part for people: ``did you mean `topic`?``, ``known: `a`, `b` ``, or other
    /// advice.
    pub text: String,
    /// The bare word meant, when one is near enough.
    pub did_you_mean: Option<String>,
}

impl Suggestion {
    /// The nearest of the known words, else all of them; `None` when nothing is known.
    pub fn among<'a>(word: &str, known: impl IntoIterator<Item = &'a str> + Clone) -> Option<Self> {
        if let Some(meant) = nearest(word, known.clone()) {
            return Some(Self::meant(meant));
        }
        let known = known_list(known);
        (!known.is_empty()).then(|| Self::advice(format!("known: {known}")))
    }

    /// One word that was surely meant.
    pub fn meant(word: &str) -> Self {
        Self {
            text: format!("did you mean `{word}`?"),
            did_you_mean: Some(word.to_owned()),
        }
    }

    /// Advice that is no single word.
    pub fn advice(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            did_you_mean: None,
        }
    }
}

/// The candidate within 2 edits of `word`, ignoring case; the first declared on a tie. A word of
/// more than 64 letters has none.
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let (mut from, mut to) = (Vec::new(), Vec::new());
    lower_case(word, &mut from);
    if from.len() > LONGEST {
        return None;
    }
    let mut best: Option<(usize, &str)> = None;
    for candidate in candidates {
        lower_case(candidate, &mut to);
        // A word of which nothing is left is not a misspelling of anything.
        let something_left = from.len().max(to.len()).saturating_sub(1);
        let closer = match best {
            Some((0, _)) => break,
            Some((edits, _)) => edits - 1,
            None => MAX_EDITS,
        };
        let limit = closer.min(something_left);
        if from.len().abs_diff(to.len()) > limit {
            continue;
        }
        let edits = strsim::generic_levenshtein(&from, &to);
        if edits <= limit {
            best = Some((edits, candidate));
        }
    }
    best.map(|(_, candidate)| candidate)
}

/// The candidates as a list for a sentence: `` `a`, `b`, `c` and 3 more ``; empty for none.
pub fn known_list<'a>(candidates: impl IntoIterator<Item = &'a str>) -> String {
    let mut candidates = candidates.into_iter();
    let listed: Vec<String> = candidates
        .by_ref()
        .take(LISTED)
        .map(|word| format!("`{word}`"))
        .collect();
    match candidates.count() {
        0 => listed.join(", "),
        more => format!("{} and {more} more", listed.join(", ")),
    }
}

fn lower_case(word: &str, letters: &mut Vec<char>) {
    letters.clear();
    for letter in word.chars() {
        if letter.is_ascii() {
            letters.push(letter.to_ascii_lowercase());
        } else {
            letters.extend(letter.to_lowercase());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(word: &str, candidates: &[&str], expected: Option<&str>) {
        assert_eq!(
            nearest(word, candidates.iter().copied()),
            expected,
            "{word} among {candidates:?}"
        );
    }

    #[test]
    fn nearest_is_within_two_edits_ignoring_case() {
        check("topci", &["message", "topic"], Some("topic"));
        check("TOPIC", &["topic"], Some("topic"));
        check("tpc", &["topic"], Some("topic"));
        check("tp", &["topic"], None);
        check("strr", &["str", "int"], Some("str"));
        check("number", &["str", "int", "float", "bool"], None);
        check("žluť", &["zluť"], Some("zluť"));
    }

    #[test]
    fn first_declared_wins_a_tie() {
        check("flag", &["flaw", "flat"], Some("flaw"));
        check("flag", &["slat", "flat"], Some("flat"));
        check("flag", &["slat", "Flag", "flag"], Some("Flag"));
    }

    #[test]
    fn replacing_every_letter_is_no_misspelling() {
        check("a", &["b"], None);
        check("ab", &["cd", "cb"], Some("cb"));
        check("", &["ab"], None);
        check("q", &["q1"], Some("q1"));
    }

    #[test]
    fn very_long_words_have_no_nearest() {
        let (word, longer) = ("w".repeat(63), "w".repeat(64));
        check(&word, &[&longer], Some(&longer));
        check(&longer, &[&word], Some(&word));
        check(&"w".repeat(65), &[&longer], None);
    }

    #[test]
    fn long_lists_are_cut() {
        let words: Vec<String> = (0..14).map(|n| format!("f{n}")).collect();
        let list = known_list(words.iter().map(String::as_str));
        assert!(
            list.starts_with("`f0`, `f1`") && list.ends_with("`f11` and 2 more"),
            "{list}"
        );
        assert_eq!(known_list([]), "");
    }

    #[test]
    fn a_far_word_lists_what_is_known() {
        let far = Suggestion::among("elephant", ["a", "b"]).expect("something is known");
        assert_eq!(
            (far.text.as_str(), far.did_you_mean),
            ("known: `a`, `b`", None)
        );
        assert_eq!(Suggestion::among("x", []), None);
    }
}
