//! The graph as a whole: every node is reached from START and reaches END, and no cycle runs
//! forever.

use std::collections::HashSet;

use super::context::Context;
use super::edges::{Edges, Link};
use super::names::NodeIds;
use crate::diagnostic::{code, quoted};
use crate::source::Span;
use crate::suggest::Suggestion;
use crate::syntax::location::Location;
use crate::syntax::node::Node as Written;
use crate::syntax::view::View;
use crate::workflow::{NodeId, Target};

pub(super) fn check(
    edges: &Edges,
    nodes: &[Written<'_>],
    ids: &NodeIds<'_>,
    file: &View<'_>,
    context: &mut Context<'_>,
) {
    let graph = Graph::new(edges, nodes.len());
    if edges.start.is_empty() && !edges.start_open && !edges.stray {
        let location = file
            .get("edges")
            .map(|edges| edges.location)
            .unwrap_or_default();
        let location = Location::new(
            location.path,
            Span::new(
                location.span.start,
                (location.span.start + 1).min(location.span.end),
            ),
        );
        let advice = Suggestion::advice("add `{from: START, to: <first node>}`");
        context.error(
            code::NO_START,
            &location,
            "no edge leaves `START`, so nothing ever runs",
            Some(advice),
        );
        return;
    }
    // Nodes that edges can name: others are reported for their ids.
    let known: HashSet<NodeId> = ids.index.values().copied().collect();
    let named = |index: &usize| known.contains(&NodeId(*index));
    let location = |index: usize| {
        nodes[index].id.as_ref().map_or_else(
            || nodes[index].view.head(),
            |id| Location::new(nodes[index].view.location.path.clone(), id.location.span),
        )
    };

    let reached = graph.reached(edges);
    // An edge that could not be resolved might lead there.
    let missing_edges =
        edges.stray || edges.start_open || edges.open.iter().any(|node| reached[node.0]);
    if !missing_edges {
        for index in (0..nodes.len())
            .filter(named)
            .filter(|index| !reached[*index])
        {
            let message = format!(
                "node {} is never reached from START",
                quoted(&nodes[index].name())
            );
            let advice = Suggestion::advice("add an edge that leads to it, or remove the node");
            context.error(code::UNREACHABLE, &location(index), message, Some(advice));
        }
    }
    if !edges.stray {
        let ends = graph.reaches_end(edges);
        for index in (0..nodes.len()).filter(named).filter(|index| !ends[*index]) {
            let name = quoted(&nodes[index].name());
            let (message, advice) = if graph.next[index].is_empty() {
                (
                    format!("node {name} never reaches END: no edge leaves it"),
                    "add an edge that leaves it",
                )
            } else {
                (
                    format!("node {name} never reaches END: no path from it does"),
                    "add an edge to END further on",
                )
            };
            context.error(
                code::NO_END,
                &location(index),
                message,
                Some(Suggestion::advice(advice)),
            );
        }
    }
    for link in graph.endless(edges) {
        let Target::Node(to) = link.to else { continue };
        let to = quoted(&nodes[to.0].name());
        let message = format!(
            "edge from {}: it closes a cycle through {to} that nothing ever leaves",
            quoted(&nodes[link.from.0].name())
        );
        let advice =
            Suggestion::advice("give an edge of the cycle a condition, or use `routes` or `loop`");
        context.error(code::ENDLESS_CYCLE, &link.location, message, Some(advice));
    }
}

struct Graph {
    /// Links by the node they leave.
    next: Vec<Vec<usize>>,
}

impl Graph {
    fn new(edges: &Edges, nodes: usize) -> Self {
        let mut next = vec![Vec::new(); nodes];
        for (index, link) in edges.links.iter().enumerate() {
            next[link.from.0].push(index);
        }
        Self { next }
    }

    /// Nodes that START leads to.
    fn reached(&self, edges: &Edges) -> Vec<bool> {
        let mut reached = vec![false; self.next.len()];
        let mut waiting: Vec<Target> = edges.start.clone();
        while let Some(target) = waiting.pop() {
            let Target::Node(node) = target else { continue };
            if !std::mem::replace(&mut reached[node.0], true) {
                waiting.extend(self.next[node.0].iter().map(|&link| edges.links[link].to));
            }
        }
        reached
    }

    /// Nodes that lead to END, or might through an edge that could not be resolved.
    fn reaches_end(&self, edges: &Edges) -> Vec<bool> {
        let mut previous: Vec<Vec<NodeId>> = vec![Vec::new(); self.next.len()];
        let mut waiting: Vec<NodeId> = edges.open.iter().copied().collect();
        for link in &edges.links {
            match link.to {
                Target::End => waiting.push(link.from),
                Target::Node(to) => previous[to.0].push(link.from),
            }
        }
        let mut ends = vec![false; self.next.len()];
        while let Some(node) = waiting.pop() {
            if !std::mem::replace(&mut ends[node.0], true) {
                waiting.extend(&previous[node.0]);
            }
        }
        ends
    }

    /// The links that close a cycle of unconditional edges, found walking from START in file order.
    fn endless<'e>(&self, edges: &'e Edges) -> Vec<&'e Link> {
        let unconditional = |link: &&usize| {
            let link = &edges.links[**link];
            // Beside conditions, an unconditional edge is only the fallback.
            link.always && edges.exits[link.from.0].conditional.is_empty()
        };
        let first = edges.start.iter().filter_map(|target| match target {
            Target::Node(node) => Some(node.0),
            Target::End => None,
        });
        let mut state = vec![Visit::New; self.next.len()];
        let mut closing = Vec::new();
        for root in first.chain(0..self.next.len()) {
            if state[root] != Visit::New {
                continue;
            }
            state[root] = Visit::Open;
            let mut path = vec![(root, self.next[root].iter().filter(unconditional))];
            while let Some((node, links)) = path.last_mut() {
                match links.next() {
                    None => {
                        state[*node] = Visit::Done;
                        path.pop();
                    }
                    Some(&index) => {
                        let Target::Node(to) = edges.links[index].to else {
                            continue;
                        };
                        match state[to.0] {
                            Visit::New => {
                                state[to.0] = Visit::Open;
                                path.push((to.0, self.next[to.0].iter().filter(unconditional)));
                            }
                            Visit::Open => closing.push(&edges.links[index]),
                            Visit::Done => {}
                        }
                    }
                }
            }
        }
        closing
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Visit {
    New,
    /// On the path that is being walked.
    Open,
    Done,
}
