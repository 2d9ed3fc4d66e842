//! Which names MLflow accepts, and how long values may be.

/// Most characters in a parameter's value.
pub(super) const MAX_PARAM: usize = 6000;
/// Most characters in a tag's value.
pub(super) const MAX_TAG: usize = 5000;
/// Most characters in the name of a parameter, metric or tag.
const MAX_NAME: usize = 250;
/// In one request.
pub(super) const MAX_PARAMS: usize = 100;
/// In one request, whatever else is in it.
pub(super) const MAX_METRICS: usize = 800;

/// A name that MLflow accepts: characters that it does not allow become `_`.
pub(super) fn name(text: &str) -> String {
    let fits = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | ' ' | '/' | ':');
    let name = text.chars().take(MAX_NAME);
    name.map(|c| if fits(c) { c } else { '_' }).collect()
}

/// The path of an artifact, no part of which leads out of the run's folder.
pub(super) fn path(text: &str) -> String {
    let part = |part: &str| {
        let part: String = part
            .chars()
            .take(120)
            .map(|c| match c {
                'a'..='z' | 'A'..='Z' | '0'..='9' | '_' | '-' | '.' | '+' => c,
                _ => '_',
            })
            .collect();
        if part.chars().all(|c| c == '.') {
            "_".to_owned()
        } else {
            part
        }
    };
    text.split('/').map(part).collect::<Vec<_>>().join("/")
}

/// The text, cut to at most `most` characters.
pub(super) fn cut(text: &str, max: usize) -> String {
    if text.chars().count() <= max {
        return text.to_owned();
    }
    let kept: String = text.chars().take(max - 1).collect();
    format!("{kept}…")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_paths_are_what_mlflow_takes() {
        assert_eq!(name("node.grüße.a#b"), "node.grüße.a_b");
        assert_eq!(name(&"x".repeat(300)).len(), 250);
        assert_eq!(path("nodes/../a b.1.json"), "nodes/_/a_b.1.json");
        assert_eq!(path("nodes/grüße.json"), "nodes/gr__e.json");
    }

    #[test]
    fn long_texts_are_cut_at_the_limit() {
        assert_eq!(cut("abc", 3), "abc");
        assert_eq!(cut("äbcd", 3), "äb…");
    }
}
