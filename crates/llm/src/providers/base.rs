//! The base address of an API, as an operator or a workflow's author writes it.

use url::Url;

/// Splits an address into the base of the requests and the query that they carry. The error is a
/// sentence.
pub(super) fn parse<'a>(
    base: &'a str,
    provider: &str,
) -> Result<(&'a str, Option<&'a str>), String> {
    // Without credentials, should there be any.
    let shown = base.rsplit('@').next().unwrap_or_default();
    let Some((scheme, rest)) = base.split_once("://") else {
        let guess = format!("http://{shown}");
        let is_whole = !base.contains(char::is_whitespace) && Url::parse(&guess).is_ok();
        return Err(if is_whole {
            format!(
                "`{shown}` is not a valid address for {provider}; write `{guess}`, or `https://…`"
            )
        } else {
            no_address(shown, provider)
        });
    };
    if !matches!(scheme, "http" | "https") {
        return Err(format!(
            "`{shown}` is not a valid address for {provider}: {scheme} is neither http nor https"
        ));
    }
    if rest.is_empty() || rest.starts_with(['/', ':', '?', '#']) {
        return Err(format!(
            "`{shown}` names no host; check that the variables in it are set"
        ));
    }
    if rest.contains('#') {
        return Err(format!(
            "`{shown}` has a fragment (`#…`), which is never sent; remove it"
        ));
    }
    if Url::parse(base).is_err() {
        return Err(no_address(shown, provider));
    }
    let (base, query) = match base.split_once('?') {
        Some((base, query)) => (base, Some(query)),
        None => (base, None),
    };
    Ok((
        base.trim_end_matches('/'),
        query.filter(|query| !query.is_empty()),
    ))
}

fn no_address(shown: &str, provider: &str) -> String {
    format!(
        "`{shown}` is not a valid address for {provider}; write one such as `http://127.0.0.1:8080/v1`"
    )
}

/// The address with the base's query behind its own.
pub(super) fn with_query(address: String, query: Option<&str>) -> String {
    match query {
        None => address,
        Some(query) if address.contains('?') => format!("{address}&{query}"),
        Some(query) => format!("{address}?{query}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_kept_behind_the_path() {
        assert_eq!(
            parse("http://a/v1/?x=1", "openai"),
            Ok(("http://a/v1", Some("x=1")))
        );
        assert_eq!(parse("http://a/v1/", "openai"), Ok(("http://a/v1", None)));
        assert_eq!(
            with_query("http://a:stream?alt=sse".to_owned(), Some("x=1")),
            "http://a:stream?alt=sse&x=1"
        );
        assert_eq!(with_query("http://a".to_owned(), Some("x")), "http://a?x");
    }

    #[track_caller]
    fn check_refused(base: &str, part: &str) {
        let message = parse(base, "openai").unwrap_err();
        assert!(message.contains(part), "{message}");
    }

    #[test]
    fn what_cannot_be_asked_is_refused_with_the_way_out() {
        check_refused("127.0.0.1:8080/v1", "write `http://127.0.0.1:8080/v1`");
        check_refused("localhost:8080", "write `http://localhost:8080`");
        check_refused("not an address", "write one such as");
        check_refused("ftp://a/v1", "ftp is neither http nor https");
        for empty in ["http://", "https:///v1", "http://:8080/v1", "http://?x"] {
            check_refused(empty, "names no host");
        }
        check_refused("http://a/v1#x", "has a fragment");
        check_refused("http://user:secret@", "`` is not a valid address");
        check_refused("http://a b/v1", "is not a valid address");
    }
}
