//! Prompts that a server repeats in its errors.

use std::collections::HashSet;

/// Shortest line of a prompt that is hidden, in bytes; shorter ones are too common.
const MIN_ECHO: usize = 16;
/// Longest text that is searched; far more than is shown.
const MAX_TEXT: usize = 8 << 10;
/// Lines that may be found before the whole text is held to be an echo.
const MAX_FOUND: usize = 200;
/// Replaces a hidden line.
const MARK: &str = "…";

/// The text, whose blanks are single ones, with `…` in place of every longer line of the prompts.
/// The work grows with the length of the prompts, whatever stands in them.
pub(super) fn hide<'a>(text: &str, prompts: impl Iterator<Item = &'a str>) -> String {
    let end = (0..=MAX_TEXT.min(text.len()))
        .rev()
        .find(|end| text.is_char_boundary(*end));
    let end = end.unwrap_or_default();
    let (mut text, is_cut) = (text[..end].to_owned(), end < text.len());
    // A line can only be there if its beginning is.
    let beginnings: HashSet<Vec<u8>> = text
        .as_bytes()
        .windows(MIN_ECHO)
        .map(<[u8]>::to_vec)
        .collect();
    let mut found = 0;
    for line in prompts.flat_map(str::lines) {
        let line = line.split_whitespace().collect::<Vec<_>>().join(" ");
        let Some(beginning) = line.as_bytes().get(..MIN_ECHO) else {
            continue;
        };
        if !beginnings.contains(beginning) || !text.contains(&line) {
            continue;
        }
        text = text.replace(&line, MARK);
        found += 1;
        if found > MAX_FOUND {
            return MARK.to_owned();
        }
    }
    // What is left of a line that was cut.
    if is_cut && let Some(last) = text.rfind(MARK) {
        text.truncate(last + MARK.len());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, prompt: &str, expected: &str) {
        assert_eq!(hide(text, [prompt].into_iter()), expected);
    }

    #[test]
    fn longer_lines_of_a_prompt_are_hidden() {
        let prompt = "Write about\nthe  secret merger of A and B\nHi there";
        check(
            "bad: 'the secret merger of A and B' Hi there",
            prompt,
            "bad: '…' Hi there",
        );
        check("", prompt, "");
        check(
            "größer als erlaubt ist das",
            "ist das größer als",
            "größer als erlaubt ist das",
        );
    }

    #[test]
    fn what_is_left_of_a_line_that_was_cut_is_not_shown() {
        let secret = "a secret sentence of the prompt. ".repeat(400);
        let text = format!("too long: {secret}and the rest of it that nobody may see");
        let prompt = "a secret sentence of the prompt.";
        let hidden = hide(&text, [prompt].into_iter());
        assert!(!hidden.contains("secret"), "{hidden}");
        assert!(!hidden.contains("nobody"), "{hidden}");
    }

    #[test]
    fn an_echo_of_very_many_lines_is_hidden_as_a_whole() {
        let lines: Vec<String> = (0..300)
            .map(|n| format!("a line of the prompt {n:03}"))
            .collect();
        let text = lines.join(" ");
        check(&text, &lines.join("\n"), MARK);
    }
}
