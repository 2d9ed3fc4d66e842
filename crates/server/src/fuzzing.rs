//! Everything in this crate that reads requests, given any bytes.

#![expect(clippy::missing_panics_doc, reason = "a panic is a find")]

use std::time::Duration;

use axum::http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, FORWARDED, IF_NONE_MATCH};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Uri};
use engine::trace::TraceParent;
use ipnet::{IpNet, Ipv4Net};
use jobs::webhook::Webhook;
use lang::json::Bounds;
use service::webhooks::{UrlRefusal, WebhookFault};

use crate::refusal::Refusal;
use crate::request::envelope::Envelope;
use crate::request::run_headers::RunHeaders;
use crate::request::{accept, body, caller, client, etag, job_id};
use crate::routes::{job_events, job_retry, jobs_list, key_rotate, keys_create};

/// So little that small inputs go beyond it.
const FEW: Bounds = Bounds {
    values: 64,
    text_bytes: 256,
};

/// The headers that are read, in the order in which a byte names them.
fn names() -> [HeaderName; 12] {
    let own = HeaderName::from_static;
    [
        own("prefer"),
        own("cancel-after"),
        own("idempotency-key"),
        own("last-event-id"),
        own("x-api-key"),
        own("x-request-id"),
        own("traceparent"),
        AUTHORIZATION,
        ACCEPT,
        IF_NONE_MATCH,
        CONTENT_TYPE,
        FORWARDED,
    ]
}

/// Lines of which the first byte says which header it is. All of them are understood, ignored or
/// refused.
pub fn request_headers(data: &[u8]) {
    let names = names();
    let mut headers = HeaderMap::new();
    for line in data.split(|byte| *byte == b'\n') {
        if let [name, value @ ..] = line
            && let Ok(value) = HeaderValue::from_bytes(value)
        {
            headers.append(names[usize::from(*name) % names.len()].clone(), value);
        }
    }
    let (default, max) = (Duration::from_secs(30), Duration::from_secs(300));
    match RunHeaders::read(&headers) {
        Ok(run_headers) => {
            assert!(run_headers.preferences.wait_time(default, max) <= max);
            if let Some(applied) = run_headers.preferences.applied(max) {
                assert!(applied.to_str().is_ok());
            }
            assert!(run_headers.cancel_after.is_none_or(|time| !time.is_zero()));
            if let Some(key) = run_headers.idempotency_key {
                assert!((1..=255).contains(&key.len()));
            }
        }
        Err(refusal) => shown(&refusal),
    }
    if let Err(refusal) = job_events::last_event_id(&headers) {
        shown(&refusal);
    }
    if let Some(key) = caller::presented(&headers) {
        assert_eq!(key, key.trim());
    }
    for media_type in [accept::PROBLEM, accept::EVENTS] {
        assert!(
            accept::names(&headers, media_type)
                || !accept::prefers(&headers, media_type, accept::JSON)
        );
    }
    etag::is_among(&etag::of(data), &headers.get_all(IF_NONE_MATCH));
    let parent = headers
        .get("traceparent")
        .and_then(|value| value.to_str().ok());
    if let Some(parent) = parent.and_then(|text| text.parse::<TraceParent>().ok()) {
        assert_eq!(parent.to_string().parse(), Ok(parent));
    }
    for bounds in [Bounds::NONE, FEW] {
        if let Err(refusal) = body::object(bounds, &headers, data) {
            shown(&refusal);
        }
    }
    proxied(headers);
}

/// What stands in `Forwarded` is read as that and as `X-Forwarded-For`.
fn proxied(mut headers: HeaderMap) {
    let (proxy, stranger) = ([10, 0, 0, 1].into(), [192, 0, 2, 1].into());
    let trusted = [IpNet::from(Ipv4Net::new_assert([10, 0, 0, 0].into(), 8))];
    let standard = client::behind(proxy, &headers, &trusted);
    let values: Vec<_> = headers.get_all(FORWARDED).iter().cloned().collect();
    for value in values {
        headers.append(client::X_FORWARDED_FOR, value);
    }
    let both = client::behind(proxy, &headers, &trusted);
    assert!(both == standard || both == proxy);
    assert_eq!(client::behind(stranger, &headers, &trusted), stranger);
    headers.remove(FORWARDED);
    let plain = client::behind(proxy, &headers, &trusted);
    assert!(both == plain || both == proxy);
}

/// A query of `GET /jobs`, with its cursor; and the text as the id of a job.
pub fn list_query(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    if let Some(id) = job_id::parse(text) {
        assert_eq!(job_id::parse(&id.to_string()), Some(id));
    }
    let Ok(uri) = format!("/jobs?{text}").parse::<Uri>() else {
        return;
    };
    match jobs_list::ListQuery::read(&uri) {
        Ok(wanted) => assert!((1..=200).contains(&wanted.limit)),
        Err(refusal) => shown(&refusal),
    }
}

/// The bodies that are not a workflow's inputs: of a job, a retry, a key, and a rotation.
pub fn job_request(data: &[u8]) {
    let headers = HeaderMap::new();
    let read = || body::object(FEW, &headers, data);
    let Ok(object) = read() else {
        return;
    };
    let refusals = [
        job_retry::read(&object).err(),
        key_rotate::grace(&object).err(),
        keys_create::read(object.members.clone()).err(),
        Envelope::read(object, &webhook).err(),
    ];
    for refusal in refusals.iter().flatten() {
        shown(refusal);
    }
}

/// Takes addresses that begin with `https:`.
fn webhook(url: &str, _secret: Option<&str>) -> Result<Webhook, Vec<WebhookFault>> {
    if !url.starts_with("https:") {
        return Err(vec![WebhookFault::Url(UrlRefusal::Scheme)]);
    }
    Ok(Webhook {
        shown: url.into(),
        host: "h".into(),
        target: None,
    })
}

/// Whatever is refused can be told.
fn shown(refusal: &Refusal) {
    let document = refusal.document(|| "/fuzz".to_owned());
    let read = serde_json::from_slice::<serde_json::Value>(&document);
    assert!(read.is_ok_and(|document| document["status"].is_u64()));
}

#[cfg(test)]
mod tests {
    use testing::corpus::replay;
    use testing::work::grows_linearly;

    /// Longer than any head that gets this far.
    #[test]
    fn headers_and_queries_take_linear_work() {
        let lines = [
            // Which header it is, of those in `names`.
            ("\u{0}", "wait=1,", ""),
            ("\u{0}", "wait;x=\"", ""),
            ("\u{0}", "\\\"", ""),
            ("\u{7}", "Bearer ", "x"),
            ("\u{8}", "a/b;q=0,", ""),
            ("\u{9}", "\"x\",", ""),
            ("\u{b}", "for=10.0.0.1,", ""),
            ("\u{b}", "for=10.0.0.1;", ""),
            ("\u{b}for=\"", "\\", "\""),
        ];
        for (begin, middle, end) in lines {
            grows_linearly(
                &format!("a header of {begin:?}, {middle:?}, {end:?}"),
                |times| format!("{begin}{}{end}", middle.repeat(times)),
                |line| {
                    super::request_headers(line.as_bytes());
                    line.len()
                },
            );
        }
        for (begin, middle, end) in [
            ("", "cursor=x&", ""),
            ("cursor=", "%41", ""),
            ("status=", "done,", ""),
            ("metadata.", "a.", "=1"),
        ] {
            grows_linearly(
                &format!("a query of {begin:?}, {middle:?}, {end:?}"),
                |times| format!("{begin}{}{end}", middle.repeat(times)),
                |query| {
                    super::list_query(query.as_bytes());
                    query.len()
                },
            );
        }
    }

    #[test]
    fn requests_with_metadata_take_linear_work() {
        for (begin, middle, end) in [
            (
                r#"{"inputs": {}, "metadata": {"#,
                r#""a": [],"#,
                r#""b": 1}}"#,
            ),
            (r#"{"inputs": {}, "metadata": "#, "[", "]}"),
            (r#"{"inputs": {}, "metadata": {"a": ""#, "x", r#""}}"#),
            (
                r#"{"inputs": {}, "metadata": ["#,
                "99999999999999999999999,",
                "1]}",
            ),
        ] {
            grows_linearly(
                &format!("job_request of {begin:?}, {middle:?}, {end:?}"),
                |times| format!("{begin}{}{end}", middle.repeat(times)),
                |body| {
                    super::job_request(body.as_bytes());
                    body.len()
                },
            );
        }
    }

    #[test]
    fn every_unknown_member_of_a_request_is_no_fault_of_its_own_beyond_a_thousand() {
        let members = (0..5_000).map(|number| (format!("k{number}"), serde_json::Value::Null));
        let members: serde_json::Map<_, _> = members.collect();
        let object = || super::body::Object {
            members: members.clone(),
            oversized: None,
        };
        for refusal in [
            super::job_retry::read(&object()).err(),
            super::key_rotate::grace(&object()).err(),
            super::keys_create::read(members.clone()).err(),
            super::Envelope::read(object(), &super::webhook).err(),
        ] {
            match refusal {
                Some(super::Refusal::Invalid(faults)) => {
                    assert!((1_000..1_010).contains(&faults.len()), "{}", faults.len());
                }
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn kept_inputs_still_pass() {
        replay("request_headers", super::request_headers);
        replay("list_query", super::list_query);
        replay("job_request", super::job_request);
    }
}
