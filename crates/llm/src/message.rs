//! One turn of a conversation and the parts it is made of.
//!
//! **To add a kind of part** (an image, a file, a tool call or its result, a piece that only its
//! provider understands): add the variant of [`Part`]. The compiler then leads to each place that
//! translates parts, one function per dialect (`providers/*/request.rs`), and to those that count,
//! show, record or hide them.

use std::borrow::Cow;
use std::ops::{Deref, DerefMut};

use serde::{Deserialize, Serialize};

pub use crate::part::{Arguments, OpaquePart, Part, ToolCall, ToolResult};

/// One turn of a conversation. Stored turns of every version are read with this type.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
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

    /// The user's turn that answers the calls of the turn before, in their order.
    pub fn of_results(results: impl IntoIterator<Item = ToolResult>) -> Self {
        Self {
            role: Role::User,
            parts: results.into_iter().map(Part::ToolResult).collect(),
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Instructions.
    System,
    /// The caller, and the results of the model's calls.
    User,
    /// The model.
    Assistant,
}

/// The parts of a turn. A single part, as nearly every turn has, needs no allocation of its own.
/// Serialised as a list.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(from = "Vec<Part>", into = "Vec<Part>")]
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

impl From<Parts> for Vec<Part> {
    fn from(parts: Parts) -> Self {
        match parts.0 {
            Kept::One(part) => vec![part],
            Kept::Several(parts) => parts,
        }
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

    /// T26: what a provider alone understands outlives a crash as it came.
    #[test]
    fn turns_are_read_back_as_they_were_stored() {
        let call = |id: &str, arguments: &str| {
            Part::ToolCall(ToolCall {
                id: id.to_owned(),
                name: "search".to_owned(),
                arguments: Arguments::read(arguments),
            })
        };
        let opaque = Part::Opaque(OpaquePart {
            provider: "google".to_owned(),
            of_call: Some("call_1".to_owned()),
            value: serde_json::json!({"z": "sig==", "a": 1.50}),
        });
        let turn = Message {
            role: Role::Assistant,
            parts: vec![
                Part::Text("Let me see.".to_owned()),
                opaque,
                call("call_1", r#"{"z": 1, "a": "2"}"#),
                call("call_2", r#"{"z": "#),
            ]
            .into(),
        };
        let stored = serde_json::to_string(&turn).unwrap();
        assert_eq!(
            stored,
            r#"{"role":"assistant","parts":[{"type":"text","text":"Let me see."},{"type":"opaque","provider":"google","of_call":"call_1","value":{"z":"sig==","a":1.5}},{"type":"tool_call","id":"call_1","name":"search","arguments":{"z":1,"a":"2"}},{"type":"tool_call","id":"call_2","name":"search","arguments":"{\"z\": "}]}"#
        );
        let read: Message = serde_json::from_str(&stored).unwrap();
        assert_eq!(read, turn);
        assert_eq!(serde_json::to_string(&read).unwrap(), stored);
        let results = Message::of_results([ToolResult {
            call_id: "call_1".to_owned(),
            name: "search".to_owned(),
            content: "no such file".to_owned(),
            is_error: true,
        }]);
        let stored = serde_json::to_string(&results).unwrap();
        assert_eq!(
            serde_json::from_str::<Message>(&stored).unwrap(),
            results,
            "{stored}"
        );
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
