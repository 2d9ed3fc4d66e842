//! Cross-field rules: when each is due, and whether it holds.

use std::borrow::Cow;

use crate::fault::{Fault, Path};
use crate::ids::FieldId;
use crate::reference::{Root, Scope};
use crate::rule::Rule;
use crate::value::Value;

use super::Workflow;

impl Workflow {
    /// The rules that are settled by the inputs alone: no node writes any field they read.
    /// [`Workflow::accept_inputs`] checks them.
    pub fn rules_for_inputs(&self) -> impl Iterator<Item = &Rule> {
        self.rules
            .iter()
            .filter(|rule| !rule.reads.iter().any(|read| self.is_written(*read)))
    }

    /// The faults, with empty paths, of the rules that a node's outputs have made due and that do
    /// not hold. A rule is due when the node wrote a field it reads and all node-written fields it
    /// reads have been written by now, as `has_been_written` tells; a rule in a loop is due every
    /// time.
    pub fn rules_broken_after(
        &self,
        just_written: &[FieldId],
        has_been_written: &dyn Fn(FieldId) -> bool,
        state: &[Value],
    ) -> Vec<Fault> {
        let is_due = |rule: &&Rule| {
            rule.reads.iter().any(|read| just_written.contains(read))
                && rule
                    .reads
                    .iter()
                    .all(|read| !self.is_written(*read) || has_been_written(*read))
        };
        let broken: Vec<&Rule> = self
            .rules
            .iter()
            .filter(is_due)
            .filter(|rule| !rule.holds_in(state))
            .collect();
        if broken.is_empty() {
            return Vec::new();
        }
        let state = Value::Object(self.state_object(state));
        broken
            .into_iter()
            .map(|rule| rule.fault(Path::Root, &state))
            .collect()
    }

    fn is_written(&self, field: FieldId) -> bool {
        !self.fields[field.0].written_by.is_empty()
    }
}

impl Rule {
    /// Whether the rule holds in a state. An unset field is null, so an order comparison with it
    /// fails.
    pub(crate) fn holds_in(&self, state: &[Value]) -> bool {
        self.condition.holds(&State(state))
    }
}

/// The scope of a rule: the state alone.
struct State<'a>(&'a [Value]);

impl Scope for State<'_> {
    fn get(&self, root: Root) -> Option<Cow<'_, Value>> {
        match root {
            Root::Field(field) => self.0.get(field.0).map(Cow::Borrowed),
            _ => None,
        }
    }
}
