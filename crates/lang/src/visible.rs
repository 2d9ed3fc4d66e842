//! Characters that a terminal does not show but acts on, and texts with those made visible.
//! Text of a model, a server or a caller could otherwise move the cursor, or hide or reverse other
//! text.

use std::borrow::Cow;
use std::fmt::Write as _;

/// Whether a character is a control character (C0, DEL, C1), or a mark that changes the direction
/// or the lines of the text around it.
pub fn is_hidden(character: char) -> bool {
    character.is_control()
        || matches!(
            character,
            '\u{61c}'
                | '\u{200e}'
                | '\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2066}'..='\u{2069}'
                | '\u{fff9}'..='\u{fffb}'
        )
}

/// A text with hidden characters escaped as in JSON, `\u001b`; line ends and tabs stay. JSON keeps
/// its meaning.
pub fn escaped(text: &str) -> Cow<'_, str> {
    if !text.contains(is_escaped) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len());
    push(&mut shown, text);
    Cow::Owned(shown)
}

/// The same for a text to which flowmill has added colours: `ESC [ digits m` stays.
pub fn escaped_but_styles(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("\u{1b}[") {
        push(&mut shown, &rest[..at]);
        let parameters = &rest[at + 2..];
        let length = parameters.len()
            - parameters
                .trim_start_matches(|letter: char| letter.is_ascii_digit() || letter == ';')
                .len();
        let end = if parameters[length..].starts_with('m') {
            let end = at + 2 + length + 1;
            shown.push_str(&rest[at..end]);
            end
        } else {
            push(&mut shown, "\u{1b}");
            at + 1
        };
        rest = &rest[end..];
    }
    push(&mut shown, rest);
    shown
}

fn is_escaped(character: char) -> bool {
    is_hidden(character) && !matches!(character, '\n' | '\t')
}

fn push(shown: &mut String, text: &str) {
    for character in text.chars() {
        if is_escaped(character) {
            // None of them is beyond the first 65,536.
            let _ = write!(shown, "\\u{:04x}", u32::from(character));
        } else {
            shown.push(character);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_acts_on_is_shown_and_the_rest_stays() {
        let check = |text: &str, expected: &str| assert_eq!(escaped(text), expected);
        check("größer 😀\n\ttab 👩‍🔬", "größer 😀\n\ttab 👩‍🔬");
        check("\u{1b}[31mred\u{7}", "\\u001b[31mred\\u0007");
        check("a\u{7f}b\u{9b}c\r", "a\\u007fb\\u009bc\\u000d");
        check("\u{202e}cod\u{2066}", "\\u202ecod\\u2066");
    }

    #[test]
    fn escaped_json_means_the_same() {
        let all: String = ('\0'..=char::MAX).filter(|c| is_hidden(*c)).collect();
        let written = serde_json::to_string(&all).expect("text is JSON");
        let shown = escaped(&written).into_owned();
        assert!(!shown.contains(is_hidden));
        assert_eq!(serde_json::from_str::<String>(&shown).ok(), Some(all));
    }

    #[test]
    fn our_own_colours_stay() {
        let check = |text: &str, expected: &str| assert_eq!(escaped_but_styles(text), expected);
        check(
            "\u{1b}[1m\u{1b}[31merror\u{1b}[0m: x",
            "\u{1b}[1m\u{1b}[31merror\u{1b}[0m: x",
        );
        check("\u{1b}[2Jx\u{1b}]0;t\u{7}", "\\u001b[2Jx\\u001b]0;t\\u0007");
        check("\u{1b}[1;2", "\\u001b[1;2");
    }
}
