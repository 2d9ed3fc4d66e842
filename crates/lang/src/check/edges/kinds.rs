//! Edges with `routes`, `loop` and `parallel` over items: what each needs, and that a node has one
//! of each at most.

use super::{From, Lowering, iterations};
use crate::diagnostic::{code, quoted};
use crate::suggest::Suggestion;
use crate::syntax::edge::{DEFAULT_MAX_ITEMS, Edge as Written, Loop, Parallel, Route};
use crate::syntax::location::Location;
use crate::types::Type;
use crate::workflow::{EdgeLoop, FanOut, FieldId, Routes, Target};

impl Lowering<'_, '_> {
    /// An edge with `routes`; whether all of it could be resolved.
    pub(super) fn routes(
        &mut self,
        edge: &Written<'_>,
        routes: &[Route<'_>],
        from: Option<From>,
        owner: &str,
    ) -> bool {
        let mut cases = Vec::new();
        let mut default = None;
        let mut defaults = 0;
        let mut sound = true;
        let mut targets = Vec::new();
        for route in routes {
            let target = route.to.as_ref().and_then(|to| self.target(to, owner));
            sound &= target.is_some() && route.condition.is_some();
            targets.extend(target);
            if route.is_default() {
                defaults += 1;
                if defaults == 2 {
                    let message =
                        format!("{owner}: a second default route; only one can be the fallback");
                    let advice = Suggestion::advice("give one of them a condition");
                    self.context
                        .error(code::TWO_DEFAULTS, &route.location, message, Some(advice));
                }
                default = target.or(default);
            } else if let Some(text) = &route.condition
                && let (Some(condition), Some(target)) = (self.condition(text, owner), target)
            {
                cases.push((condition, target));
            }
        }
        if defaults == 0 && routes.iter().all(|route| route.condition.is_some()) {
            let location = edge.view.entry("routes").map_or_else(
                || edge.view.head(),
                |(key, routes)| Location::new(routes.location.path, key.span),
            );
            let message =
                format!("{owner}: no route is the default, so a run may find no route to take");
            let advice = Suggestion::advice("add `{condition: {logic: default}, to: …}`");
            self.context
                .error(code::NO_DEFAULT, &location, message, Some(advice));
        }
        match from {
            Some(From::Start) => {
                targets.dedup();
                if targets.len() > 1 {
                    self.start_branches(edge, "routes to different nodes");
                }
                self.start(edge, &targets, false);
            }
            Some(From::Node(node)) => {
                for target in targets {
                    self.link(node, target, false);
                }
                if self.result.exits[node.0].routes.is_some() {
                    self.second(edge, owner, "`routes`");
                } else if let Some(default) = default {
                    self.result.exits[node.0].routes = Some(Routes { cases, default });
                }
            }
            None => {}
        }
        sound
    }

    /// An edge with `loop`; whether its exit could be resolved.
    pub(super) fn repeat(
        &mut self,
        edge: &Written<'_>,
        repeat: &Loop<'_>,
        from: Option<From>,
        owner: &str,
    ) -> bool {
        let until = repeat
            .until
            .as_ref()
            .and_then(|text| self.field(text, owner, "bool", |ty| matches!(ty, Type::Bool)));
        let exit_to = match &repeat.exit_to {
            Some(text) => self.target(text, owner),
            None => repeat.exits_to_end.then_some(Target::End),
        };
        match from {
            Some(From::Start) => self.start_branches(edge, "loop"),
            Some(From::Node(node)) => {
                if let Some(target) = exit_to {
                    self.link(node, target, false);
                }
                self.link(node, Target::Node(node), false);
                let other = self.nodes[node.0].repeat.as_ref();
                if self.result.exits[node.0].repeat.is_some() || other.is_some() {
                    self.second(edge, owner, "`loop`");
                } else if let (Some(until), Some(exit_to)) = (until, exit_to) {
                    let max_iterations = iterations(repeat.max_iterations);
                    self.result.exits[node.0].repeat = Some(EdgeLoop {
                        until,
                        max_iterations,
                        exit_to,
                    });
                }
            }
            None => {}
        }
        exit_to.is_some()
    }

    /// An edge with `parallel` over items; whether its target could be resolved.
    pub(super) fn parallel(
        &mut self,
        edge: &Written<'_>,
        parallel: &Parallel<'_>,
        from: Option<From>,
        owner: &str,
    ) -> bool {
        let is_list = |ty: &Type| matches!(ty, Type::List(_));
        let items = parallel
            .items
            .as_ref()
            .and_then(|text| self.field(text, owner, "list", is_list));
        let collect = parallel
            .collect
            .as_ref()
            .and_then(|text| self.field(text, owner, "list", is_list));
        let target = parallel
            .target
            .as_ref()
            .and_then(|text| match self.target(text, owner)? {
                Target::Node(node) => Some(node),
                Target::End => {
                    let message = format!("{owner}: `target_node` must be a node, not `END`");
                    let advice = Suggestion::advice("name the node that runs once per item");
                    self.context
                        .error(code::BAD_ENDPOINT, &text.location, message, Some(advice));
                    None
                }
            });
        if let (Some(target), Some(items)) = (target, items) {
            self.result.items.entry(target).or_default().push(items);
        }
        match from {
            Some(From::Start) => self.start_branches(edge, "fan out over items"),
            Some(From::Node(node)) => {
                if let Some(target) = target {
                    self.link(node, Target::Node(target), true);
                }
                if self.result.exits[node.0].fan_out.is_some() {
                    self.second(edge, owner, "`parallel`");
                } else if let (Some(items), Some(target), Some(collect)) = (items, target, collect)
                {
                    let fan_out = FanOut {
                        items,
                        target,
                        collect,
                        max_items: self.max_items(parallel, items, owner),
                    };
                    self.result.exits[node.0].fan_out = Some(fan_out.clone());
                    let location = parallel
                        .collect
                        .as_ref()
                        .map(|text| text.location.clone())
                        .unwrap_or_default();
                    self.result.fan_outs.push((fan_out, location));
                }
            }
            None => {}
        }
        target.is_some()
    }

    /// How many items a fan-out may have; warns where neither the edge nor the field says so.
    fn max_items(&mut self, parallel: &Parallel<'_>, items: FieldId, owner: &str) -> usize {
        let of_edge = parallel.max_items.and_then(|max| usize::try_from(max).ok());
        let of_field = self.fields.list[items.0].constraints.max_items;
        if let Some(max) = of_edge.or(of_field) {
            return max.max(1);
        }
        let is_list = matches!(self.fields.ty(items), Some(Type::List(_)));
        if let Some(text) = parallel.items.as_ref().filter(|_| is_list) {
            let message = format!(
                "{owner}: nothing bounds the items of {}, each of which is a model call: more than \
                 {DEFAULT_MAX_ITEMS} fail the run",
                quoted(&text.value)
            );
            let advice = Suggestion::advice("say how many there may be: `max_items: 100`");
            self.context
                .warning(code::FAN_OUT_BOUND, &text.location, message, Some(advice));
        }
        DEFAULT_MAX_ITEMS
    }

    fn start_branches(&mut self, edge: &Written<'_>, what: &str) {
        let message = format!("START: its edge must not {what}");
        let advice = Suggestion::advice("begin with a node, and let its edge do that");
        self.context.error(
            code::START_BRANCHES,
            &edge.view.head(),
            message,
            Some(advice),
        );
        self.result.start_open = true;
    }

    fn second(&mut self, edge: &Written<'_>, owner: &str, kind: &str) {
        let message = format!("{owner}: the node has a {kind} already, and may have one");
        let advice = Suggestion::advice("put both into one edge");
        self.context
            .error(code::SECOND_EDGE, &edge.view.head(), message, Some(advice));
    }
}
