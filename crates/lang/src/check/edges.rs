//! Edges: what they name, which kinds a node may have, and what leaves each node as a result.

mod collected;
mod ends;
mod kinds;

use std::collections::{HashMap, HashSet};

pub(super) use collected::check_collected;

use super::conditions::condition;
use super::context::Context;
use super::names::{NodeIds, Scope};
use super::scope::Fields;
use crate::diagnostic::{code, quoted};
use crate::expr::Condition;
use crate::suggest::Suggestion;
use crate::syntax::edge::{Edge as Written, Kind};
use crate::syntax::location::Location;
use crate::syntax::node::Node as WrittenNode;
use crate::syntax::view::Text;
use crate::workflow::{Exits, FanOut, FieldId, NodeId, Target};

/// The edges, resolved.
pub(super) struct Edges {
    pub(super) start: Vec<Target>,
    /// What leaves each node.
    pub(super) exits: Vec<Exits>,
    /// For each target of a fan-out, the lists whose items it runs for.
    pub(super) items: HashMap<NodeId, Vec<FieldId>>,
    /// Every fan-out, with the location of its `collect_field`.
    pub(super) fan_outs: Vec<(FanOut, Location)>,
    /// Every way from one node to another, for the graph rules.
    pub(super) links: Vec<Link>,
    /// Nodes with an edge that could not be resolved: it might lead anywhere.
    pub(super) open: HashSet<NodeId>,
    /// Whether there is an edge whose source could not be resolved: it might leave any node.
    pub(super) stray: bool,
    /// A START edge could not be resolved.
    pub(super) start_open: bool,
}

/// One way from a node.
pub(super) struct Link {
    pub(super) from: NodeId,
    pub(super) to: Target,
    /// Whether it is taken in any state.
    pub(super) always: bool,
    pub(super) location: Location,
}

/// Where an edge begins.
#[derive(Clone, Copy, PartialEq, Eq)]
enum From {
    Start,
    Node(NodeId),
}

pub(super) fn lower(
    edges: &[Written<'_>],
    nodes: &[WrittenNode<'_>],
    fields: &Fields<'_>,
    ids: &NodeIds<'_>,
    context: &mut Context<'_>,
) -> Edges {
    let comparisons = context.comparisons.clone();
    let scope = Scope {
        fields,
        nodes: Some(ids),
        variables: &[],
        item: None,
        comparisons,
        refuses_bare_fields: false,
    };
    let result = Edges {
        start: Vec::new(),
        exits: vec![Exits::default(); nodes.len()],
        items: HashMap::new(),
        fan_outs: Vec::new(),
        links: Vec::new(),
        open: HashSet::new(),
        stray: false,
        start_open: false,
    };
    let mut lowering = Lowering {
        nodes,
        fields,
        ids,
        scope,
        context,
        result,
        plain: HashSet::new(),
        started: false,
    };
    for edge in edges {
        lowering.edge(edge);
    }
    lowering.result
}

struct Lowering<'a, 'c> {
    nodes: &'a [WrittenNode<'a>],
    fields: &'a Fields<'a>,
    ids: &'a NodeIds<'a>,
    scope: Scope<'a>,
    context: &'a mut Context<'c>,
    result: Edges,
    /// Unconditional edges seen so far.
    plain: HashSet<(NodeId, Target)>,
    /// A START edge was seen.
    started: bool,
}

impl Lowering<'_, '_> {
    fn edge(&mut self, edge: &Written<'_>) {
        let from = edge.from.as_ref().and_then(|text| self.source(text));
        let owner = match &edge.from {
            Some(from) => format!("edge from {}", quoted(&from.value)),
            None => "this edge".to_owned(),
        };
        let before = self.result.links.len();
        let sound = match &edge.kind {
            Kind::NotOne(count) => {
                let found = if *count == 0 {
                    "none of them"
                } else {
                    "several"
                };
                let message = format!(
                    "{owner}: exactly one of `to`, `routes`, `loop` and `parallel` is needed, and it has {found}"
                );
                let advice = Suggestion::advice("split it into one edge for each, or add `to:`");
                self.context
                    .error(code::EDGE_KIND, &edge.view.head(), message, Some(advice));
                false
            }
            Kind::Unsound => false,
            Kind::To(targets) | Kind::Branches(targets) => self.plain(edge, targets, from, &owner),
            Kind::Routes(routes) => self.routes(edge, routes, from, &owner),
            Kind::Loop(repeat) => self.repeat(edge, repeat, from, &owner),
            Kind::Parallel(parallel) => self.parallel(edge, parallel, from, &owner),
        };
        self.stray_parts(edge, &owner);
        match from {
            None => self.result.stray = true,
            Some(From::Start) => {
                self.started = true;
                self.result.start_open |= !sound;
            }
            Some(From::Node(node)) if !sound => {
                self.result.open.insert(node);
            }
            Some(From::Node(_)) => {}
        }
        for link in &mut self.result.links[before..] {
            link.location = edge.view.head();
        }
    }

    /// Warns of `condition` and `join` where they have no effect.
    fn stray_parts(&mut self, edge: &Written<'_>, owner: &str) {
        let plain = matches!(edge.kind, Kind::To(_) | Kind::Branches(_));
        if let (false, Some(text)) = (plain, &edge.condition) {
            let message = format!("{owner}: `condition` applies only beside `to`");
            self.context
                .warning(code::STRAY_CONDITION, &text.location, message, None);
        }
        if let (false, Some(text)) = (plain, &edge.join) {
            let message = format!(
                "{owner}: `join` applies only beside a list of nodes in `parallel` or `to`"
            );
            self.context
                .warning(code::JOIN, &text.location, message, None);
        }
    }

    /// Edges with `to`, or with a list of branches and the node that joins them.
    fn plain(
        &mut self,
        edge: &Written<'_>,
        texts: &[Text<'_>],
        from: Option<From>,
        owner: &str,
    ) -> bool {
        let targets: Vec<Option<Target>> =
            texts.iter().map(|text| self.target(text, owner)).collect();
        let join = edge.join.as_ref().map(|text| self.target(text, owner));
        let given = edge
            .condition
            .as_ref()
            .filter(|text| text.value.trim() != "default");
        let sound = targets.iter().all(Option::is_some) && join != Some(None);
        let targets: Vec<Target> = targets.into_iter().flatten().collect();
        match (from, given) {
            (Some(From::Start), None) => self.start(edge, &targets, sound),
            (Some(From::Start), Some(text)) => {
                let message = "START: its edge must not have a condition";
                let advice = Suggestion::advice(
                    "begin with a node and put the condition on an edge that leaves it",
                );
                self.context
                    .error(code::START_BRANCHES, &text.location, message, Some(advice));
                self.start(edge, &targets, false);
            }
            (Some(From::Node(node)), Some(text)) => {
                let condition = self.condition(text, owner);
                for target in &targets {
                    self.link(node, *target, false);
                }
                self.result.exits[node.0]
                    .conditional
                    .extend(condition.map(|condition| (condition, targets.clone())));
            }
            (Some(From::Node(node)), None) => {
                for (target, text) in targets.iter().zip(texts) {
                    self.always(node, *target, &text.location, owner);
                }
            }
            // The condition is checked even where nothing can be done with it.
            (None, Some(text)) => {
                self.condition(text, owner);
            }
            (None, None) => {}
        }
        if let Some(Some(join)) = join {
            for target in &targets {
                if let Target::Node(branch) = target
                    && *target != join
                    && self.plain.insert((*branch, join))
                {
                    self.result.exits[branch.0].always.push(join);
                    self.link(*branch, join, true);
                }
            }
        }
        sound
    }

    fn always(&mut self, node: NodeId, target: Target, location: &Location, owner: &str) {
        if self.plain.insert((node, target)) {
            self.result.exits[node.0].always.push(target);
            self.link(node, target, true);
        } else {
            let message = format!("{owner}: the same edge appears earlier; it counts once");
            self.context.warning(
                code::DUPLICATE_EDGE,
                location,
                message,
                Some(Suggestion::advice("remove one of them")),
            );
        }
    }

    fn start(&mut self, edge: &Written<'_>, targets: &[Target], sound: bool) {
        let new: Vec<Target> = targets
            .iter()
            .copied()
            .filter(|target| !self.result.start.contains(target))
            .collect();
        if self.started && !new.is_empty() && sound && !self.result.start_open {
            let message =
                "START: another edge leads somewhere else; one edge says where the workflow begins";
            let advice = Suggestion::advice("to begin with several nodes, list them: `to: [a, b]`");
            self.context.error(
                code::START_BRANCHES,
                &edge.view.head(),
                message,
                Some(advice),
            );
        }
        for target in new {
            if !self.result.start.contains(&target) {
                self.result.start.push(target);
            }
        }
    }

    fn link(&mut self, from: NodeId, to: Target, always: bool) {
        self.result.links.push(Link {
            from,
            to,
            always,
            location: Location::default(),
        });
    }

    fn condition(&mut self, text: &Text<'_>, owner: &str) -> Option<Condition> {
        if !self.fields.known {
            return None;
        }
        condition(text, &self.scope, owner, self.context)
    }
}

/// A bound that the shape check has passed.
pub(super) fn iterations(written: i64) -> u32 {
    u32::try_from(written).unwrap_or(1).max(1)
}
