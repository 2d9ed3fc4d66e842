//! Azure's OpenAI service: the same protocol under other addresses, with the key in a header of its
//! own.

use url::Url;

const DOMAINS: &[&str] = &[
    ".openai.azure.com",
    ".cognitiveservices.azure.com",
    ".services.ai.azure.com",
];

/// Whether a server wants its key as `api-key`: Azure's own, and a gateway before it, whose address
/// names the version of Azure's API.
pub(super) fn wants_api_key(base: &Url) -> bool {
    is_azure(base) || has_version(base)
}

/// Where a model is found, where the base is Azure's and does not say:
/// `https://NAME.openai.azure.com` with or without `/openai`. `Err`: what is missing.
pub(crate) fn complete(base: &str, model: &str) -> Result<String, String> {
    let Some(mut url) = Url::parse(base).ok().filter(is_azure) else {
        return Ok(base.to_owned());
    };
    let path = url.path().trim_end_matches('/').to_owned();
    if path.contains("/deployments/") && !has_version(&url) {
        return Err(
            "names a deployment of Azure without the version of its API; add `?api-version=…`, or end it \
             with `/openai/v1` and name the deployment as the model"
                .to_owned(),
        );
    }
    if path.is_empty() || path == "/openai" {
        if has_version(&url) {
            url.set_path(&format!("/openai/deployments/{model}"));
        } else {
            url.set_path("/openai/v1");
        }
        return Ok(url.into());
    }
    Ok(base.to_owned())
}

fn is_azure(base: &Url) -> bool {
    base.host_str()
        .is_some_and(|host| DOMAINS.iter().any(|domain| host.ends_with(domain)))
}

fn has_version(base: &Url) -> bool {
    base.query_pairs().any(|(name, _)| name == "api-version")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(base: &str, expected: Result<&str, &str>) {
        match (complete(base, "gpt"), expected) {
            (Err(message), Err(part)) => assert!(message.contains(part), "{message}"),
            (got, expected) => {
                assert_eq!(
                    got.as_deref(),
                    expected.map_err(str::to_owned).as_ref().copied()
                );
            }
        }
    }

    #[test]
    fn addresses_of_azure_are_completed() {
        check(
            "https://a.openai.azure.com",
            Ok("https://a.openai.azure.com/openai/v1"),
        );
        check(
            "https://a.openai.azure.com/openai",
            Ok("https://a.openai.azure.com/openai/v1"),
        );
        check(
            "https://a.openai.azure.com/?api-version=2024-10-21",
            Ok("https://a.openai.azure.com/openai/deployments/gpt?api-version=2024-10-21"),
        );
        for whole in [
            "https://a.openai.azure.com/openai/v1",
            "https://a.openai.azure.com/openai/deployments/x?api-version=1",
            "https://a.services.ai.azure.com/models?api-version=1",
            "http://localhost:8080",
        ] {
            check(whole, Ok(whole));
        }
        check(
            "https://a.openai.azure.com/openai/deployments/x",
            Err("add `?api-version=…`"),
        );
    }

    #[test]
    fn a_gateway_before_azure_is_known_by_the_version() {
        for (base, expected) in [
            ("https://a.openai.azure.com/openai/v1", true),
            (
                "https://gateway.example/openai/deployments/x?api-version=1",
                true,
            ),
            ("https://api.openai.com/v1", false),
            ("https://evil-openai.azure.com.example/v1", false),
        ] {
            assert_eq!(
                wants_api_key(&Url::parse(base).unwrap()),
                expected,
                "{base}"
            );
        }
    }
}
