//! The embedded pages: plain files, no build step, nothing loaded from elsewhere.

mod compressed;

use axum::Extension;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_ENCODING, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, IF_NONE_MATCH,
    VARY,
};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};

use crate::answer_budget::Static;
use crate::request::etag;
use compressed::{SWAGGER_UI_BUNDLE_JS, SWAGGER_UI_CSS, accepts_gzip};

const JAVASCRIPT: &str = "text/javascript; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";

/// Scripts and styles are loaded only from our own files, so text that slips into a page cannot
/// run.
const PLAYGROUND_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
     base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
/// Swagger UI has data images in its style sheet.
const DOCS_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
     connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The playground. `root` is the relative path from the page to the server's root; `workflow` is
/// the one to show, or empty for the first.
pub(crate) fn playground(root: &str, workflow: &str) -> Response {
    let page = include_str!("playground.html")
        .replace("{root}", root)
        .replace("{workflow}", &escape(workflow));
    html(page, PLAYGROUND_POLICY)
}

/// The page that shows the `openapi.json` beside it.
pub(crate) fn docs(root: &str) -> Response {
    html(
        include_str!("docs.html").replace("{root}", root),
        DOCS_POLICY,
    )
}

/// A file that the pages load.
pub(crate) fn file(name: &str, request: &HeaderMap) -> Option<Response> {
    let has_gzip = accepts_gzip(request);
    let (content_type, bytes): (_, &'static [u8]) = match name {
        "playground.css" => (CSS, include_bytes!("playground.css")),
        "playground.js" => (JAVASCRIPT, include_bytes!("playground.js")),
        "form.js" => (JAVASCRIPT, include_bytes!("form.js")),
        "events.js" => (JAVASCRIPT, include_bytes!("events.js")),
        "key.js" => (JAVASCRIPT, include_bytes!("key.js")),
        "timeline.js" => (JAVASCRIPT, include_bytes!("timeline.js")),
        "docs.js" => (JAVASCRIPT, include_bytes!("docs.js")),
        "icon.svg" => ("image/svg+xml", include_bytes!("icon.svg")),
        "swagger-ui.css" => (CSS, SWAGGER_UI_CSS.bytes(has_gzip)),
        "swagger-ui-bundle.js" => (JAVASCRIPT, SWAGGER_UI_BUNDLE_JS.bytes(has_gzip)),
        _ => return None,
    };
    let is_compressed = has_gzip && name.starts_with("swagger-ui");
    let tag = etag::of(bytes);
    let caching = [
        (CACHE_CONTROL, HeaderValue::from_static("no-cache")),
        (ETAG, tag.clone()),
    ];
    if etag::is_among(&tag, &request.get_all(IF_NONE_MATCH)) {
        return Some((StatusCode::NOT_MODIFIED, caching).into_response());
    }
    let headers = [
        (CONTENT_TYPE, HeaderValue::from_static(content_type)),
        (VARY, HeaderValue::from_static("accept-encoding")),
    ];
    let encoding = is_compressed.then(|| [(CONTENT_ENCODING, HeaderValue::from_static("gzip"))]);
    Some((Extension(Static), caching, headers, encoding, bytes).into_response())
}

fn html(page: String, policy: &'static str) -> Response {
    let headers = [
        (
            CONTENT_TYPE,
            HeaderValue::from_static("text/html; charset=utf-8"),
        ),
        (CONTENT_SECURITY_POLICY, HeaderValue::from_static(policy)),
        (CACHE_CONTROL, HeaderValue::from_static("no-cache")),
    ];
    (headers, page).into_response()
}

/// Escapes a text for an attribute's value.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('"', "&quot;")
        .replace('<', "&lt;")
}
