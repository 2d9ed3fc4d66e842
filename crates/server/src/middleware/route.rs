//! The pattern of the route that a path belongs to: what telemetry names a request by. A few string
//! comparisons, instead of carrying the router's own finding out of it.

/// Of a path that no route has.
const UNKNOWN: &str = "unknown";

/// As the router's table has it.
pub(super) fn pattern(path: &str) -> &'static str {
    let path = path.strip_suffix('/').unwrap_or(path);
    let mut segments = path.split('/').skip(1);
    let parts = (
        segments.next(),
        segments.next(),
        segments.next(),
        segments.next(),
    );
    match parts {
        (None, ..) => "/",
        (Some("run"), None, ..) => "/run",
        (Some("schema"), None, ..) => "/schema",
        (Some("openapi.json"), None, ..) => "/openapi.json",
        (Some("docs"), None, ..) => "/docs",
        (Some("workflows"), None, ..) => "/workflows",
        (Some("workflows"), Some(_), None, _) => "/workflows/{name}",
        (Some("workflows"), Some(_), Some("run"), None) => "/workflows/{name}/run",
        (Some("workflows"), Some(_), Some("schema"), None) => "/workflows/{name}/schema",
        (Some("workflows"), Some(_), Some("openapi.json"), None) => {
            "/workflows/{name}/openapi.json"
        }
        (Some("workflows"), Some(_), Some("docs"), None) => "/workflows/{name}/docs",
        (Some("health"), None, ..) => "/health",
        (Some("health"), Some("live"), None, _) => "/health/live",
        (Some("health"), Some("ready"), None, _) => "/health/ready",
        (Some("metrics"), None, ..) => "/metrics",
        (Some("status"), Some(_), None, _) => "/status/{job_id}",
        (Some("jobs"), None, ..) => "/jobs",
        (Some("jobs"), Some(_), None, _) => "/jobs/{job_id}",
        (Some("jobs"), Some(_), Some("events"), None) => "/jobs/{job_id}/events",
        (Some("jobs"), Some(_), Some("cancel"), None) => "/jobs/{job_id}/cancel",
        (Some("jobs"), Some(_), Some("retry"), None) => "/jobs/{job_id}/retry",
        (Some("cancel"), Some(_), None, _) => "/cancel/{job_id}",
        (Some("keys"), None, ..) => "/keys",
        (Some("keys"), Some(_), None, _) => "/keys/{key_id}",
        (Some("keys"), Some(_), Some("rotate"), None) => "/keys/{key_id}/rotate",
        (Some("usage"), None, ..) => "/usage",
        (Some("ui"), Some(_), None, _) => "/ui/{file}",
        _ => UNKNOWN,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A route that is added to the table and not here would be counted as unknown.
    #[test]
    fn every_route_of_the_table_is_known_by_its_pattern() {
        let documented = crate::router::documented(true);
        assert!(documented.len() > 20);
        for route in documented {
            let path = route.path.replace("{name}", "a").replace("{job_id}", "b");
            let path = path.replace("{key_id}", "c");
            assert_eq!(pattern(&path), route.path);
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
