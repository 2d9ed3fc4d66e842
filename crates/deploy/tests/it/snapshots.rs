//! Every generated file, to be read when it changes.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use deploy::name::Name;
use deploy::package::Package;
use deploy::plan::{Access, Attached, ModelSource, Plan, Purpose, Store};
use llm::model::ModelSpec;

use crate::fixture::{Read, listing, nasty};

/// All but the user's own files, which the package holds byte for byte, and the bill of materials,
/// which changes with every crate.
fn check(name: &str, plan: &Plan<'_>) {
    let mut package = Package::of(plan);
    assert_eq!(package, Package::of(plan), "the same plan, the same bytes");
    assert_eq!(package.text(plan.workflow_file()), Some(plan.source));
    package
        .files
        .retain(|file| file.path != plan.workflow_file() && file.path != "sbom.cdx.json");
    insta::assert_snapshot!(name, listing(&package));
}

#[test]
fn an_example_as_it_is() {
    check("greeting", &Read::example("greeting").plan());
}

#[test]
fn several_inputs_and_an_offline_model() {
    let read = Read::example("signup");
    let plan = Plan {
        model_source: ModelSource::Offline,
        secrets: false,
        ..read.plan()
    };
    check("signup_offline", &plan);
}

#[test]
fn a_model_on_this_machine_and_every_option() {
    let read = Read::example("profile");
    let plan = Plan {
        name: Name::parse("team.profile_2").expect("a name"),
        model_source: ModelSource::Model(ModelSpec::parse("ollama/llama3.2:1b").expect("a spec")),
        attached: vec![
            Attached {
                purpose: Purpose::Prices,
                text: "# prices\n".to_owned(),
            },
            Attached {
                purpose: Purpose::Certificates,
                text: "-----BEGIN CERTIFICATE-----\n".to_owned(),
            },
        ],
        settings: Some("[serve]\nbody_limit = \"1MB\"\n"),
        store: Store::file("jobs.db").expect("a store"),
        sync_timeout: Some(Duration::from_millis(1500)),
        drain_timeout: Duration::from_secs(120),
        host: IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        port: 9000,
        registry: Some("registry.example/team/".to_owned()),
        ..read.plan()
    };
    check("profile_every_option", &plan);
}

#[test]
fn jobs_in_memory_and_no_mlflow() {
    let read = Read::example("triage");
    let plan = Plan {
        store: Store::Memory,
        mlflow: None,
        ..read.plan()
    };
    check("triage_in_memory", &plan);
}

#[test]
fn replicas_on_a_database() {
    let read = Read::example("greeting");
    let plan = Plan {
        store: Store::Postgres,
        replicas: 3,
        ..read.plan()
    };
    check("greeting_on_postgres", &plan);
}

#[test]
fn as_many_replicas_as_the_queue_needs() {
    let read = Read::example("greeting");
    let plan = Plan {
        store: Store::Postgres,
        replicas: 2,
        max_replicas: Some(8),
        ..read.plan()
    };
    check("greeting_that_scales", &plan);
}

#[test]
fn callers_with_keys_on_an_address_that_others_reach() {
    let read = Read::example("greeting");
    let plan = Plan {
        access: Access::Keys,
        host: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        ..read.plan()
    };
    check("greeting_with_keys", &plan);
}

#[test]
fn texts_that_mean_something() {
    check("nasty", &nasty().plan());
}
