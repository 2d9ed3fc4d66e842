//! Variables with sensitive values masked.

use std::borrow::Cow;

use lang::privacy::Sensitive;
use lang::reference::{Root, Scope};
use lang::workflow::{FieldId, NodeId, Workflow};
use serde_json::Value;

/// A scope in which every sensitive variable is masked, to render the masked form of a prompt.
pub(crate) struct MaskedScope<'a, S> {
    pub(crate) scope: S,
    pub(crate) sensitive: &'a Sensitive,
    /// The list whose item is processed, if that list is sensitive.
    pub(crate) items: Option<FieldId>,
}

impl<'a, S> MaskedScope<'a, S> {
    /// The masked scope of a node; `None` where no field is sensitive.
    pub(crate) fn of(workflow: &'a Workflow, node: NodeId, scope: S) -> Option<Self> {
        let sensitive = workflow.sensitive.as_ref()?;
        let mut fan_outs = workflow
            .nodes
            .iter()
            .filter_map(|node| node.exits.fan_out.as_ref());
        let items = fan_outs
            .find(|fan_out| fan_out.target == node && sensitive.touches(fan_out.items))
            .map(|fan_out| fan_out.items);
        Some(Self {
            scope,
            sensitive,
            items,
        })
    }

    /// Masks another scope in the same way.
    pub(crate) fn over<T>(&self, scope: T) -> MaskedScope<'a, T> {
        MaskedScope {
            scope,
            sensitive: self.sensitive,
            items: self.items,
        }
    }
}

impl<S: Scope> Scope for MaskedScope<'_, S> {
    fn get(&self, root: Root) -> Option<Cow<'_, Value>> {
        let value = self.scope.get(root)?;
        let field = match root {
            Root::Field(field) => Some(field),
            // Every scalar in an item of a sensitive list is masked, as in the list itself.
            Root::ParallelItem => self.items,
            Root::Input(_) | Root::LoopIteration(_) | Root::ParallelIndex | Root::CheckedValue => {
                None
            }
        };
        Some(match field {
            Some(field) if self.sensitive.touches(field) => {
                Cow::Owned(self.sensitive.mask_scalars(field, &value).into_owned())
            }
            _ => value,
        })
    }
}
