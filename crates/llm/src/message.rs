//! One turn of a conversation and the parts it is made of.
//!
//! **To add a kind of part** (an image, a file, a tool call or its result, a piece that only its
//! provider understands): add the variant of [`Part`]. The compiler then leads to each place that
//! translates parts, one function per dialect (`providers/*/request.rs`), and to those that count,
//! show, record or hide them.

use std::borrow::Cow;
use std::ops::{Deref, DerefMut};

/// One turn of a conversation.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Message {
    /// Who speaks.
    pub role: Role,
    /// What is said, in order.
    pub parts: Parts,
}

impl Message {
    /// A turn that is one text.
    pub fn new(role: Role, text: impl Into<String>) -> Self {
        Self {
            role,
            parts: Part::Text(text.into()).into(),
        }
    }

    /// Its texts, joined.
    pub fn text(&self) -> Cow<'_, str> {
        match &*self.parts {
            [Part::Text(text)] => text.into(),
            parts => parts.iter().map(Part::text).collect::<String>().into(),
        }
    }
}

/// Who speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Instructions.
    System,
    /// The caller.
    User,
    /// The model.
    Assistant,
}

/// A part of a turn.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Part {
    /// A text.
    Text(String),
}

impl Part {
    /// Its text; empty if it is not a text.
    pub fn text(&self) -> &str {
        match self {
            Self::Text(text) => text,
        }
    }
}

/// The parts of a turn. A single part, as nearly every turn has, needs no allocation of its own.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Parts(Kept);

/// A single part is never in a list, so that equal parts compare as equal.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Kept {
    One(Part),
    Several(Vec<Part>),
}

impl From<Part> for Parts {
    fn from(part: Part) -> Self {
        Self(Kept::One(part))
    }
}

impl From<Vec<Part>> for Parts {
    fn from(mut parts: Vec<Part>) -> Self {
        Self(match parts.pop() {
            Some(only) if parts.is_empty() => Kept::One(only),
            last => {
                parts.extend(last);
                Kept::Several(parts)
            }
        })
    }
}

impl FromIterator<Part> for Parts {
    fn from_iter<I: IntoIterator<Item = Part>>(parts: I) -> Self {
        Vec::from_iter(parts).into()
    }
}

impl Deref for Parts {
    type Target = [Part];

    fn deref(&self) -> &[Part] {
        match &self.0 {
            Kept::One(part) => std::slice::from_ref(part),
            Kept::Several(parts) => parts,
        }
    }
}

impl DerefMut for Parts {
    fn deref_mut(&mut self) -> &mut [Part] {
        match &mut self.0 {
            Kept::One(part) => std::slice::from_mut(part),
            Kept::Several(parts) => parts,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(texts: &[&str]) -> Vec<Part> {
        texts
            .iter()
            .map(|text| Part::Text((*text).to_owned()))
            .collect()
    }

    #[test]
    fn parts_are_equal_however_they_were_put_together() {
        let message = Message::new(Role::User, "a");
        assert_eq!(message.parts, Parts::from(parts(&["a"])));
        assert_eq!(message.parts.to_vec(), parts(&["a"]));
        let several: Parts = parts(&["a", "b"]).into_iter().collect();
        assert_eq!(several.to_vec(), parts(&["a", "b"]));
        assert_ne!(message.parts, several);
        assert!(Parts::from(Vec::new()).is_empty());
    }

    #[test]
    fn the_text_of_a_turn_is_that_of_all_its_parts() {
        let message = Message {
            role: Role::User,
            parts: parts(&["Tell me ", "more."]).into(),
        };
        assert_eq!(message.text(), "Tell me more.");
        let one = Message::new(Role::User, "Hi");
        assert!(matches!(one.text(), Cow::Borrowed("Hi")));
    }
}
