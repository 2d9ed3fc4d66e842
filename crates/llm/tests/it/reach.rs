//! Addresses that workflow files name: what they may reach is asked for addresses, for what names
//! lead to, and cannot be got around by a redirect.

use std::net::IpAddr;

use llm::chat::ChatReply;
use llm::error::ErrorKind;
use llm::model::{ModelSpec, Models};
use llm::{Error, Reach, Registry, Settings};
use testing::FakeModel;

use crate::ask::free;
use crate::raw::{Raw, answer};

/// Only what lies in no loopback network.
#[derive(Debug)]
struct Elsewhere;

impl Reach for Elsewhere {
    fn allows(&self, _host: &str, address: IpAddr) -> bool {
        !address.is_loopback()
    }
}

/// Only a name, wherever it leads.
#[derive(Debug)]
struct ByName;

impl Reach for ByName {
    fn allows(&self, host: &str, _address: IpAddr) -> bool {
        host == "localhost"
    }
}

fn registry(reach: impl Reach + 'static, variables: &[(&str, &str)]) -> Registry {
    let settings = Settings {
        environment: variables.iter().copied().collect(),
        reach: Some(std::sync::Arc::new(reach)),
        ..Settings::default()
    };
    Registry::new(settings).unwrap()
}

fn at(base: &str) -> ModelSpec {
    ModelSpec {
        api_base: Some(base.to_owned()),
        ..ModelSpec::parse("openai/m").unwrap()
    }
}

async fn ask(models: &Registry, spec: &ModelSpec) -> Result<ChatReply, Error> {
    models.find(spec)?.chat(&free("otters"), &|_| {}).await
}

/// The server's address by a name that leads to it.
fn by_name(server: &FakeModel) -> String {
    format!("http://localhost:{}/v1", server.address().port())
}

#[track_caller]
fn refused(answer: Result<ChatReply, Error>, place: &str) {
    let error = answer.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Config, "{error}");
    for part in [place, "may not be reached", "--model-allow"] {
        assert!(error.message.contains(part), "{error}");
    }
}

#[tokio::test]
async fn a_name_that_leads_where_nothing_may_be_reached() {
    let server = FakeModel::start();
    let models = registry(Elsewhere, &[("OPENAI_API_KEY", "k")]);
    let place = format!("localhost:{}", server.address().port());
    refused(ask(&models, &at(&by_name(&server))).await, &place);
    assert_eq!(server.calls(), 0);
    let models = registry(ByName, &[]);
    assert!(ask(&models, &at(&by_name(&server))).await.is_ok());
    assert_eq!(server.calls(), 1);
}

#[tokio::test]
async fn an_address_is_refused_before_any_call() {
    let server = FakeModel::start();
    let models = registry(Elsewhere, &[]);
    for host in ["127.0.0.1", "2130706433", "0x7f.1", "[::1]"] {
        let spec = at(&format!("http://{host}:{}/v1", server.address().port()));
        let error = models.find(&spec).unwrap_err();
        assert!(error.message.contains("may not be reached"), "{error}");
    }
    assert_eq!(server.calls(), 0);
}

#[tokio::test]
async fn an_address_of_the_operators_is_not_asked_about() {
    let server = FakeModel::start();
    let models = registry(Elsewhere, &[("OPENAI_BASE_URL", &server.base_url())]);
    let spec = ModelSpec::parse("openai/m").unwrap();
    assert!(ask(&models, &spec).await.is_ok());
    // Its open connection is none for a workflow's file.
    refused(ask(&models, &at(&by_name(&server))).await, "localhost");
    assert_eq!(server.calls(), 1);
}

#[tokio::test]
async fn a_redirect_leads_nowhere() {
    let target = FakeModel::start();
    for status in [
        "301 Moved Permanently",
        "302 Found",
        "307 Temporary Redirect",
        "308 Permanent Redirect",
    ] {
        let location = format!("location: {}/chat/completions\r\n", target.base_url());
        let server = Raw::serving([answer(status, &location, "")]).await;
        let models = registry(ByName, &[("OPENAI_BASE_URL", &server.base())]);
        let spec = ModelSpec::parse("openai/m").unwrap();
        let error = ask(&models, &spec).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::BadRequest, "{error}");
    }
    assert_eq!(target.calls(), 0);
}
