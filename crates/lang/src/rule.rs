//! A condition on values, in the author's words: a rule across the state, or a field's own check.

use crate::expr::Condition;
use crate::fault::{Fault, FaultKind, Path};
use crate::ids::FieldId;
use crate::value::Value;

/// A condition that must hold, and what to say when it does not.
#[derive(Debug, Clone)]
pub struct Rule {
    /// The condition that must hold.
    pub condition: Condition,
    /// The condition as written.
    pub text: String,
    /// The author's message, or one made from the condition.
    pub message: String,
    /// State fields it reads.
    pub reads: Vec<FieldId>,
}

impl Rule {
    /// The fault of a value that breaks the rule, in the author's words.
    pub(crate) fn fault(&self, path: Path<'_>, input: &Value) -> Fault {
        let context = serde_json::json!({ "error": self.message });
        Fault::worded(
            FaultKind::AssertionError,
            path,
            input,
            self.message.as_str(),
            Some(context),
        )
    }
}

impl PartialEq for Rule {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text && self.message == other.message
    }
}
