//! What edges name: nodes, `START`, `END`, and state fields.

use super::{From, Lowering};
use crate::diagnostic::{code, quoted};
use crate::suggest::Suggestion;
use crate::syntax::view::Text;
use crate::types::Type;
use crate::workflow::{FieldId, Target};

impl Lowering<'_, '_> {
    /// Where an edge begins.
    pub(super) fn source(&mut self, text: &Text<'_>) -> Option<From> {
        match &*text.value {
            "START" => Some(From::Start),
            "END" => {
                let advice = Suggestion::advice("remove the edge, or name the node it leaves");
                self.context.error(
                    code::BAD_ENDPOINT,
                    &text.location,
                    "nothing leaves `END`",
                    Some(advice),
                );
                None
            }
            name => {
                let id = self.ids.index.get(name).copied();
                if id.is_none() {
                    self.unknown(text, "START", "an edge leaves");
                }
                id.map(From::Node)
            }
        }
    }

    /// Where an edge leads.
    pub(super) fn target(&mut self, text: &Text<'_>, owner: &str) -> Option<Target> {
        match &*text.value {
            "END" => Some(Target::End),
            "START" => {
                let message = format!("{owner}: nothing leads into `START`");
                let advice = Suggestion::advice("name the first node instead");
                self.context
                    .error(code::BAD_ENDPOINT, &text.location, message, Some(advice));
                None
            }
            name => {
                let id = self.ids.index.get(name).copied();
                if id.is_none() {
                    self.unknown(text, "END", &format!("{owner} leads to"));
                }
                id.map(Target::Node)
            }
        }
    }

    /// An unknown node, unless it may be one whose id could not be read.
    fn unknown(&mut self, text: &Text<'_>, special: &str, sentence: &str) {
        if self.ids.complete {
            let known = std::iter::once(special).chain(self.ids.names.iter().copied());
            let suggestion = self.context.suggest(&text.value, known);
            let message = format!(
                "{sentence} {}, but there is no such node",
                quoted(&text.value)
            );
            self.context
                .error(code::UNKNOWN_NODE, &text.location, message, suggestion);
        }
    }

    /// A state field of the kind an edge needs.
    pub(super) fn field(
        &mut self,
        text: &Text<'_>,
        owner: &str,
        kind: &str,
        fits: fn(&Type) -> bool,
    ) -> Option<FieldId> {
        if !self.fields.known {
            return None;
        }
        let name = &*text.value;
        let Some(id) = self.fields.id(name) else {
            let message = format!("{owner}: there is not a state field {}", quoted(name));
            let suggestion = self.context.suggest(name, self.fields.names());
            self.context
                .error(code::UNKNOWN_FIELD, &text.location, message, suggestion);
            return None;
        };
        if let Some(ty) = self.fields.ty(id).filter(|ty| !fits(ty)) {
            let message = format!(
                "{owner}: the field {} is `{ty}`, and a `{kind}` is needed here",
                quoted(name)
            );
            self.context
                .error(code::FIELD_TYPE, &text.location, message, None);
        }
        Some(id)
    }
}
