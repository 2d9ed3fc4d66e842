//! The pattern of the route that a path belongs to: telemetry names a request by it. Found here,
//! because the router does not tell it for requests that are refused before they get to it.

use std::sync::LazyLock;

use crate::routes::ENDPOINTS;

/// The name of paths that no endpoint has.
const UNKNOWN: &str = "unknown";

/// The pattern of a path, as the table of endpoints has it. Allocates nothing.
pub(super) fn pattern(path: &str) -> &'static str {
    static PATTERNS: LazyLock<Node> =
        LazyLock::new(|| Node::of(ENDPOINTS.iter().map(|endpoint| endpoint.path)));
    PATTERNS.find(path).unwrap_or(UNKNOWN)
}

/// Patterns by their segments.
#[derive(Debug, Default)]
struct Node {
    /// The pattern that ends here.
    pattern: Option<&'static str>,
    /// By the segment that comes next.
    fixed: Vec<(&'static str, Node)>,
    /// Where a `{parameter}` comes next.
    parameter: Option<Box<Node>>,
}

impl Node {
    fn of(patterns: impl Iterator<Item = &'static str>) -> Self {
        let mut root = Self::default();
        for pattern in patterns {
            let mut node = &mut root;
            for segment in segments(pattern) {
                node = node.child(segment);
            }
            node.pattern = Some(pattern);
        }
        root
    }

    fn child(&mut self, segment: &'static str) -> &mut Self {
        if segment.starts_with('{') {
            return self.parameter.get_or_insert_default();
        }
        let known = self.fixed.iter().position(|(name, _)| *name == segment);
        let at = known.unwrap_or_else(|| {
            self.fixed.push((segment, Self::default()));
            self.fixed.len() - 1
        });
        &mut self.fixed[at].1
    }

    fn find(&self, path: &str) -> Option<&'static str> {
        let mut node = self;
        for segment in segments(path) {
            let fixed = node.fixed.iter().find(|(name, _)| *name == segment);
            node = match fixed {
                Some((_, child)) => child,
                None => node.parameter.as_deref()?,
            };
        }
        node.pattern
    }
}

/// The parts between slashes; a slash at the end does not count.
fn segments(path: &str) -> impl Iterator<Item = &str> {
    let path = path.strip_suffix('/').unwrap_or(path);
    path.split('/').skip(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_route_of_the_table_is_known_by_its_pattern() {
        assert!(ENDPOINTS.len() > 20);
        for endpoint in ENDPOINTS {
            let path = endpoint
                .path
                .replace("{name}", "a")
                .replace("{job_id}", "b");
            let path = path.replace("{key_id}", "c").replace("{file}", "d");
            assert_eq!(pattern(&path), endpoint.path);
        }
    }

    #[test]
    fn what_no_route_has_is_one_label() {
        for path in [
            "/nothing",
            "/jobs/a/b",
            "/run/x",
            "//",
            "/workflows/a/run/b",
        ] {
            assert_eq!(pattern(path), UNKNOWN, "{path}");
        }
        assert_eq!(pattern("/"), "/");
        assert_eq!(pattern("/run/"), "/run");
    }
}
