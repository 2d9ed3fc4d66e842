//! Which pending node waits for which other: the order of the nodes along the graph's forward
//! edges.

use lang::workflow::{Exits, NodeId, Target, Workflow};

/// For every pair of nodes, whether the second waits while the first is pending.
///
/// A node waits for every pending node that can still lead to it. In a cycle two nodes lead to each
/// other and would wait forever, so within a cycle only forward edges count: the edges that remain
/// without the back edges of a depth-first walk from START. The relation has no cycle, because the
/// graph has none between its cycles, and the forward edges have none within them. So some pending
/// node can always run.
#[derive(Debug)]
pub(crate) struct Order {
    nodes: usize,
    /// `waits[earlier * nodes + later]`.
    waits: Vec<bool>,
}

impl Order {
    pub(crate) fn new(workflow: &Workflow) -> Self {
        let successors: Vec<Vec<usize>> = workflow
            .nodes
            .iter()
            .map(|node| successors(&node.exits))
            .collect();
        Self::of_graph(&successors, workflow.start.iter().filter_map(node_of))
    }

    fn of_graph(successors: &[Vec<usize>], start: impl Iterator<Item = usize>) -> Self {
        let nodes = successors.len();
        let reach = Reach::new(successors);
        let reach_forward = Reach::new(&without_back_edges(successors, start));
        let mut waits = vec![false; nodes * nodes];
        for earlier in 0..nodes {
            for later in 0..nodes {
                let in_one_cycle = reach.get(earlier, later) && reach.get(later, earlier);
                let reach = if in_one_cycle { &reach_forward } else { &reach };
                waits[earlier * nodes + later] = earlier != later && reach.get(earlier, later);
            }
        }
        Self { nodes, waits }
    }

    /// Whether `later` has to wait as long as `earlier` is pending.
    pub(crate) fn waits(&self, later: NodeId, earlier: NodeId) -> bool {
        self.waits[earlier.0 * self.nodes + later.0]
    }
}

fn node_of(target: &Target) -> Option<usize> {
    match target {
        Target::End => None,
        Target::Node(node) => Some(node.0),
    }
}

/// The nodes that may come next, in the order of the edges in the file.
fn successors(exits: &Exits) -> Vec<usize> {
    let conditional = exits.conditional.iter().flat_map(|(_, targets)| targets);
    let routes = exits.routes.iter().flat_map(|routes| {
        routes
            .cases
            .iter()
            .map(|(_, target)| target)
            .chain(std::iter::once(&routes.default))
    });
    exits
        .always
        .iter()
        .chain(conditional)
        .chain(routes)
        .chain(exits.repeat.iter().map(|repeat| &repeat.exit_to))
        .filter_map(node_of)
        .chain(exits.fan_out.iter().map(|fan_out| fan_out.target.0))
        .collect()
}

/// Walks depth first from the given nodes, and drops every edge to a node on the current path.
fn without_back_edges(
    successors: &[Vec<usize>],
    roots: impl Iterator<Item = usize>,
) -> Vec<Vec<usize>> {
    #[derive(Clone, Copy, PartialEq)]
    enum Visit {
        Not,
        Open,
        Closed,
    }
    let mut visits = vec![Visit::Not; successors.len()];
    let mut forward = vec![Vec::new(); successors.len()];
    for root in roots {
        if visits[root] != Visit::Not {
            continue;
        }
        visits[root] = Visit::Open;
        // The current path: each node with its next edge. An explicit stack, because a long chain
        // of nodes would overflow the stack of the thread.
        let mut path = vec![(root, 0)];
        while let Some((node, edge)) = path.last_mut() {
            let node = *node;
            let Some(&next) = successors[node].get(*edge) else {
                visits[node] = Visit::Closed;
                path.pop();
                continue;
            };
            *edge += 1;
            if visits[next] != Visit::Open {
                forward[node].push(next);
            }
            if visits[next] == Visit::Not {
                visits[next] = Visit::Open;
                path.push((next, 0));
            }
        }
    }
    forward
}

/// Which node is reachable from which by at least one edge.
struct Reach {
    nodes: usize,
    reachable: Vec<bool>,
}

impl Reach {
    fn new(successors: &[Vec<usize>]) -> Self {
        let nodes = successors.len();
        let mut reachable = vec![false; nodes * nodes];
        let mut open: Vec<usize> = Vec::new();
        for (from, row) in reachable.chunks_exact_mut(nodes.max(1)).enumerate() {
            open.extend(&successors[from]);
            while let Some(node) = open.pop() {
                if !std::mem::replace(&mut row[node], true) {
                    open.extend(&successors[node]);
                }
            }
        }
        Self { nodes, reachable }
    }

    fn get(&self, from: usize, to: usize) -> bool {
        self.reachable[from * self.nodes + to]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Which of two pending nodes waits for the other, in a graph that starts at node 0.
    #[track_caller]
    fn check(edges: &[(usize, usize)], pair: (usize, usize), expected: Option<usize>) {
        let nodes = edges
            .iter()
            .map(|&(from, to)| from.max(to) + 1)
            .max()
            .unwrap_or(0);
        let mut successors = vec![Vec::new(); nodes];
        for &(from, to) in edges {
            successors[from].push(to);
        }
        let order = Order::of_graph(&successors, std::iter::once(0));
        let (a, b) = (NodeId(pair.0), NodeId(pair.1));
        let waiting = match (order.waits(a, b), order.waits(b, a)) {
            (false, false) => None,
            (true, false) => Some(pair.0),
            (false, true) => Some(pair.1),
            (true, true) => panic!("each waits for the other"),
        };
        assert_eq!(waiting, expected);
    }

    #[test]
    fn a_join_waits_for_whatever_leads_to_it() {
        let uneven = [(0, 1), (0, 3), (1, 2), (2, 3)];
        check(&uneven, (1, 3), Some(3));
        check(&uneven, (2, 3), Some(3));
        check(&[(0, 1), (0, 2), (1, 3), (2, 3)], (1, 2), None);
    }

    #[test]
    fn a_join_waits_for_a_cycle_before_it() {
        let cycle = [(0, 1), (0, 3), (1, 2), (2, 1), (2, 3)];
        check(&cycle, (1, 3), Some(3));
        check(&cycle, (2, 3), Some(3));
    }

    #[test]
    fn within_a_cycle_only_forward_edges_count() {
        let cycle = [(0, 1), (1, 2), (2, 0)];
        check(&cycle, (0, 2), Some(2));
        check(&cycle, (0, 1), Some(1));
        check(&cycle, (1, 2), Some(2));
        check(&[(0, 0), (0, 1)], (0, 1), Some(1));
    }

    #[test]
    fn a_long_chain_does_not_need_a_deep_stack() {
        let chain: Vec<(usize, usize)> = (0..2_000).map(|node| (node, node + 1)).collect();
        check(&chain, (0, 2_000), Some(2_000));
    }
}
