//! Which names exist where: state fields everywhere, a node's inputs in its prompt, loop counters
//! and the item of a fan-out where the engine has them.

use std::collections::{HashMap, HashSet};

use super::comparisons::Comparisons;
use super::scope::Fields;
use crate::names::{Named, Names};
use crate::reference::Root;
use crate::types::Type;
use crate::workflow::NodeId;

static INT: Type = Type::Int;

/// The prefix of a loop counter's name.
const LOOP_ITERATION: &str = "_loop_iteration_";

/// The nodes by id.
#[derive(Default)]
pub(super) struct NodeIds<'a> {
    pub(super) index: HashMap<&'a str, NodeId>,
    /// In file order.
    pub(super) names: Vec<&'a str>,
    /// False when a node's id is missing or unsound: then an unknown id may be that node's.
    pub(super) complete: bool,
}

/// A variable of a node: its name, and its type where that is settled.
pub(super) type Variable<'a> = (&'a str, Option<&'static Type>);

/// The item of a fan-out.
#[derive(Clone, Copy)]
pub(super) struct ParallelItem<'a> {
    /// Its type, if that is settled.
    pub(super) ty: Option<&'a Type>,
}

/// The names that can be used at one point of the file.
#[derive(Clone)]
pub(super) struct Scope<'a> {
    pub(super) fields: &'a Fields<'a>,
    /// The nodes whose loop counters can be read here.
    pub(super) nodes: Option<&'a NodeIds<'a>>,
    /// The node's own variables, which win over fields unless `state.` is written.
    pub(super) variables: &'a [Variable<'a>],
    /// Only in the target of a fan-out.
    pub(super) item: Option<ParallelItem<'a>>,
    /// Bounds the names listed for suggestions.
    pub(super) comparisons: Comparisons,
    /// See [`Names::refuses_bare_fields`].
    pub(super) refuses_bare_fields: bool,
}

impl Names for Scope<'_> {
    fn field(&self, name: &str) -> Option<Named<'_>> {
        if let Some(id) = self.fields.id(name) {
            return Some(Named {
                root: Root::Field(id),
                ty: self.fields.ty(id),
            });
        }
        if let (Some(ids), Some(node)) = (self.nodes, name.strip_prefix(LOOP_ITERATION)) {
            let id = *ids.index.get(node)?;
            return Some(Named {
                root: Root::LoopIteration(id),
                ty: Some(&INT),
            });
        }
        match (name, self.item) {
            ("_parallel_item", Some(item)) => Some(Named {
                root: Root::ParallelItem,
                ty: item.ty,
            }),
            ("_parallel_index", Some(_)) => Some(Named {
                root: Root::ParallelIndex,
                ty: Some(&INT),
            }),
            _ => None,
        }
    }

    fn variable(&self, name: &str) -> Option<Named<'_>> {
        match self
            .variables
            .iter()
            .position(|(variable, _)| *variable == name)
        {
            Some(index) => Some(Named {
                root: Root::Input(index),
                ty: self.variables[index].1,
            }),
            None => self.field(name),
        }
    }

    fn fields(&self) -> Vec<&str> {
        if !self.comparisons.spend(self.fields.list.len()) {
            return Vec::new();
        }
        let item = ["_parallel_item", "_parallel_index"]
            .into_iter()
            .filter(|_| self.item.is_some());
        self.fields.names().chain(item).collect()
    }

    fn variables(&self) -> Vec<&str> {
        self.variables
            .iter()
            .map(|(name, _)| *name)
            .chain(self.fields())
            .collect()
    }

    fn refuses_bare_fields(&self) -> bool {
        self.refuses_bare_fields
    }
}

/// The names of a field's own checks: `value`, and the field's name for the same.
pub(super) struct OwnValue<'a> {
    pub(super) name: &'a str,
    pub(super) ty: &'a Type,
    /// The fields beside it, which a check cannot read.
    pub(super) beside: &'a HashSet<&'a str>,
}

impl Names for OwnValue<'_> {
    fn field(&self, name: &str) -> Option<Named<'_>> {
        (name == "value" || name == self.name).then_some(Named {
            root: Root::CheckedValue,
            ty: Some(self.ty),
        })
    }

    fn fields(&self) -> Vec<&str> {
        vec!["value", self.name]
    }

    fn refuses_bare_fields(&self) -> bool {
        true
    }

    fn is_out_of_reach(&self, name: &str) -> bool {
        self.beside.contains(name)
    }
}
