//! What readers of each format make of the files: nothing of a user's text is anything but text.

use deploy::package::Package;
use deploy::plan::{Access, ModelSource, Plan, Store};
use deploy::variables;
use llm::model::ModelSpec;
use serde_json::{Value, json};

use crate::fixture::{NASTY, Read, nasty};

fn yaml(text: &str) -> Vec<Value> {
    text.split("\n---\n")
        .map(|document| serde_norway::from_str(document).expect("YAML"))
        .collect()
}

#[test]
fn a_text_of_the_workflow_cannot_leave_its_place() {
    let read = nasty();
    let package = Package::of(&read.plan());
    let text = |path| package.text(path).expect("it is in the package");

    let instructions: Vec<&str> = text("Dockerfile")
        .lines()
        .filter(|line| line.starts_with(|first: char| first.is_ascii_uppercase()))
        .map(|line| line.split(' ').next().expect("a word"))
        .collect();
    assert_eq!(
        instructions,
        [
            "FROM",
            "LABEL",
            "COPY",
            "COPY",
            "VOLUME",
            "WORKDIR",
            "USER",
            "EXPOSE",
            "HEALTHCHECK",
            "ENTRYPOINT",
            "CMD"
        ]
    );

    let compose = &yaml(text("docker-compose.yml"))[0];
    assert_eq!(
        compose["services"]["flowmill"]["labels"]
            .as_object()
            .map(serde_json::Map::len),
        Some(1)
    );
    let objects = yaml(text("kubernetes.yaml"));
    let kinds: Vec<&Value> = objects.iter().map(|object| &object["kind"]).collect();
    assert_eq!(kinds, ["PersistentVolumeClaim", "Deployment", "Service"]);
    assert_eq!(
        objects[1]["metadata"]["annotations"]["io.flowmill/workflow"],
        json!(NASTY)
    );

    for line in text(".env.example").lines() {
        assert!(
            line.is_empty() || line.starts_with('#') || line == "TEAM_KEY=",
            "{line}"
        );
    }

    // The blocks of code of the README are those that the template has.
    let readme = text("README.md");
    let fences = readme
        .lines()
        .filter(|line| line.starts_with("```"))
        .count();
    let plain = Read::example("greeting");
    let plain = Package::of(&plain.plan());
    let usual = plain.text("README.md").expect("it is there");
    assert_eq!(
        fences,
        usual.lines().filter(|line| line.starts_with("```")).count()
    );
    assert!(!readme.contains("<b>\n"), "{readme}");
}

#[test]
fn the_port_outside_is_not_the_port_inside() {
    let read = Read::example("greeting");
    let package = Package::of(&Plan {
        port: 9123,
        ..read.plan()
    });
    let text = |path| package.text(path).expect("it is in the package");
    assert!(text("Dockerfile").contains(r#""health","--port","8000""#));
    assert!(text("Dockerfile").contains(r#""--port","8000","#));
    assert!(!text("Dockerfile").contains("9123"));
    let compose = &yaml(text("docker-compose.yml"))[0];
    assert_eq!(
        compose["services"]["flowmill"]["ports"],
        json!(["127.0.0.1:9123:8000"])
    );
    assert_eq!(
        compose["services"]["mlflow"]["ports"],
        json!(["127.0.0.1:5000:5000"])
    );
    assert!(text("README.md").contains("http://127.0.0.1:9123/run"));
}

#[test]
fn replicas_share_the_database_and_have_no_volume() {
    let read = nasty();
    let package = Package::of(&Plan {
        store: Store::Postgres,
        replicas: 3,
        port: 9000,
        ..read.plan()
    });
    let text = |path| package.text(path).expect("it is in the package");
    let compose = &yaml(text("docker-compose.yml"))[0];
    let services = compose["services"].as_object().expect("services");
    let servers: Vec<_> = services
        .iter()
        .filter(|(key, _)| key.starts_with("flowmill"))
        .map(|(_, service)| (&service["container_name"], &service["ports"][0]))
        .collect();
    let name = |suffix: &str| json!(format!("{}{suffix}", read.plan().name));
    assert_eq!(
        servers,
        [
            (&name(""), &json!("127.0.0.1:9000:8000")),
            (&name("-2"), &json!("127.0.0.1:9001:8000")),
            (&name("-3"), &json!("127.0.0.1:9002:8000")),
        ]
    );
    for service in services.values().filter(|service| service["build"] == ".") {
        let volumes = service["volumes"].as_array().expect("a list");
        assert_eq!(volumes.len(), 1, "the file of variables alone: {service}");
        assert_eq!(volumes[0]["target"], "/app/.env");
    }
    assert_eq!(
        compose["volumes"].as_object().map(serde_json::Map::len),
        Some(1),
        "MLflow's"
    );

    let objects = yaml(text("kubernetes.yaml"));
    let kinds: Vec<&Value> = objects.iter().map(|object| &object["kind"]).collect();
    assert_eq!(kinds, ["Deployment", "Service", "PodDisruptionBudget"]);
    let spec = &objects[0]["spec"];
    assert_eq!(spec["replicas"], 3);
    assert_eq!(spec["strategy"]["type"], "RollingUpdate");
    assert_eq!(spec["strategy"]["rollingUpdate"]["maxUnavailable"], 0);
    let volumes = spec["template"]["spec"]["volumes"]
        .as_array()
        .expect("a list");
    assert!(
        volumes.iter().all(|volume| volume["secret"].is_object()),
        "{volumes:?}"
    );
    let selects = &objects[2]["spec"]["selector"]["matchLabels"];
    assert_eq!(selects, &spec["selector"]["matchLabels"]);
    assert_eq!(
        selects,
        &spec["template"]["spec"]["topologySpreadConstraints"][0]["labelSelector"]["matchLabels"]
    );

    let (in_image, in_cluster) = arguments(&package);
    for arguments in [in_image, in_cluster] {
        assert!(
            arguments
                .windows(2)
                .any(|pair| pair == ["--store", "postgres"]),
            "{arguments:?}"
        );
        assert!(!arguments.contains(&json!("--data-dir")), "{arguments:?}");
    }
    assert!(!text("Dockerfile").contains("VOLUME"));
    assert!(text(".env.example").contains("\nFLOWMILL_STORE=postgres://"));
}

/// The arguments of the server: in the image, and in a cluster.
fn arguments(package: &Package) -> (Vec<Value>, Vec<Value>) {
    let text = |path| package.text(path).expect("it is in the package");
    let last = text("Dockerfile").lines().last().expect("it has lines");
    let in_image = last.strip_prefix("CMD ").expect("the command");
    let in_image = serde_json::from_str(in_image).expect("JSON");
    let objects = yaml(text("kubernetes.yaml"));
    let deployment = objects.iter().find(|object| object["kind"] == "Deployment");
    let container = &deployment.expect("one")["spec"]["template"]["spec"]["containers"][0];
    let in_cluster = container["args"].as_array().expect("arguments");
    (in_image, in_cluster.clone())
}

#[test]
fn a_server_is_open_only_where_that_was_decided() {
    let read = Read::example("greeting");
    let check = |access, in_cluster, expected: (bool, bool)| {
        let package = Package::of(&Plan {
            access,
            in_cluster,
            secrets: access == Access::Keys,
            ..read.plan()
        });
        let (in_image, inside) = arguments(&package);
        let is_open = |arguments: &[Value]| arguments.contains(&json!("--insecure"));
        assert_eq!((is_open(&in_image), is_open(&inside)), expected);
        let others = |arguments: &[Value]| {
            let mut others = arguments.to_vec();
            // In a cluster requests still come for a while.
            others.retain(|argument| {
                !["--insecure", "--drain-delay", "5s"]
                    .contains(&argument.as_str().unwrap_or_default())
            });
            others
        };
        assert_eq!(others(&in_image), others(&inside));
        let kubernetes = package.text("kubernetes.yaml").expect("it is there");
        assert_eq!(
            kubernetes.contains("secretName"),
            in_cluster == Access::Keys || access == Access::Keys,
            "keys have to come from somewhere"
        );
        let readme = package.text("README.md").expect("it is there");
        assert_eq!(
            readme.contains("Bearer $FLOWMILL_API_KEY"),
            access == Access::Keys
        );
        let example = package.text(".env.example").expect("it is there");
        assert_eq!(
            example.contains("\nFLOWMILL_API_KEYS="),
            access == Access::Keys
        );
    };
    check(Access::Open, Access::Keys, (true, false));
    check(Access::Open, Access::Open, (true, true));
    check(Access::Keys, Access::Keys, (false, false));
}

#[test]
fn mlflow_asks_for_no_key_so_nobody_else_reaches_it() {
    let read = Read::example("greeting");
    for (host, expected) in [
        ("0.0.0.0", "127.0.0.1:5000:5000"),
        ("192.168.1.5", "127.0.0.1:5000:5000"),
        ("::", "127.0.0.1:5000:5000"),
        ("::1", "[::1]:5000:5000"),
    ] {
        let package = Package::of(&Plan {
            host: host.parse().expect("an address"),
            ..read.plan()
        });
        let compose = &yaml(package.text("docker-compose.yml").expect("it is there"))[0];
        assert_eq!(compose["services"]["mlflow"]["ports"], json!([expected]));
    }
}

#[test]
fn the_bill_of_materials_hangs_together_and_is_the_same_again() {
    let read = Read::example("greeting");
    let bill = |plan: &Plan<'_>| -> Value {
        let package = Package::of(plan);
        let text = package.text("sbom.cdx.json").expect("it is there");
        assert_eq!(Package::of(plan).text("sbom.cdx.json"), Some(text));
        serde_json::from_str(text).expect("JSON")
    };
    let one = bill(&read.plan());
    let components = one["components"].as_array().expect("components");
    let mut known: Vec<&Value> = components.iter().map(|part| &part["bom-ref"]).collect();
    known.push(&one["metadata"]["component"]["bom-ref"]);
    let dependencies = one["dependencies"].as_array().expect("dependencies");
    for dependency in dependencies {
        assert!(known.contains(&&dependency["ref"]), "{dependency}");
        for needed in dependency["dependsOn"].as_array().expect("a list") {
            assert!(known.contains(&needed), "{dependency}");
        }
    }
    let image = &dependencies[0]["dependsOn"];
    assert_eq!(image, &json!(["flowmill@0.1.0", "workflow.yaml"]));
    let other = bill(&Plan {
        settings: Some("[log]\n"),
        ..read.plan()
    });
    assert_ne!(one["serialNumber"], other["serialNumber"]);
}

#[test]
fn the_container_is_given_time_to_drain() {
    let read = Read::example("greeting");
    let package = Package::of(&Plan {
        drain_timeout: std::time::Duration::from_millis(90_500),
        ..read.plan()
    });
    let text = |path| package.text(path).expect("it is in the package");
    assert!(text("Dockerfile").contains(r#""--drain-timeout","90500ms""#));
    let compose = &yaml(text("docker-compose.yml"))[0];
    assert_eq!(
        compose["services"]["flowmill"]["stop_grace_period"],
        json!("101s")
    );
    let deployment = &yaml(text("kubernetes.yaml"))[1];
    assert_eq!(
        deployment["spec"]["template"]["spec"]["terminationGracePeriodSeconds"],
        json!(106),
        "in a cluster requests still come for 5 seconds"
    );
    let arguments = &deployment["spec"]["template"]["spec"]["containers"][0]["args"];
    let arguments = arguments.as_array().expect("a list");
    let delay = [json!("--drain-delay"), json!("5s")];
    assert!(arguments.windows(2).any(|pair| pair == delay));
}

#[test]
fn only_the_files_of_the_image_reach_the_engine() {
    let read = Read::example("greeting");
    let ignore = |plan: &Plan<'_>| {
        let package = Package::of(plan);
        let text = package.text(".dockerignore").expect("it is in the package");
        text.lines()
            .filter(|line| !line.starts_with('#'))
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    assert_eq!(
        ignore(&read.plan()),
        ["*", "!flowmill", "!workflow.yaml", "!data", "data/*"]
    );
    let in_memory = Plan {
        store: Store::Memory,
        settings: Some(""),
        ..read.plan()
    };
    assert_eq!(
        ignore(&in_memory),
        ["*", "!flowmill", "!workflow.yaml", "!flowmill.toml"]
    );
}

#[test]
fn images_with_other_contents_have_other_tags() {
    let read = Read::example("greeting");
    let image = read.plan().image();
    assert_eq!(image, read.plan().image());
    let others = [
        Plan {
            version: "0.2.0",
            ..read.plan()
        },
        Plan {
            settings: Some("[log]\n"),
            ..read.plan()
        },
        Plan {
            model_source: ModelSource::Offline,
            ..read.plan()
        },
        Plan {
            source: "other",
            ..read.plan()
        },
    ];
    for other in others {
        assert_ne!(other.image(), image);
    }
    // The port outside is no part of the image.
    assert_eq!(
        Plan {
            port: 1,
            ..read.plan()
        }
        .image(),
        image
    );
}

/// The variables of a workflow with two nodes, as names with `!` where they are required.
fn asked(first: &Value, second: &Value, model_source: &ModelSource) -> Vec<String> {
    let node = |id: &str, llm: &Value| json!({ "id": id, "prompt": "{word}", "output_schema": { "type": "str" }, "outputs": ["answer"], "llm": llm });
    let workflow = json!({
        "schema_version": "1.0",
        "flow": { "name": "two" },
        "state": { "fields": { "word": { "type": "str", "required": true }, "answer": { "type": "str" } } },
        "nodes": [node("a", first), node("b", second)],
        "edges": [{ "from": "START", "to": "a" }, { "from": "a", "to": "b" }, { "from": "b", "to": "END" }],
    });
    let read = Read::json(&workflow, json!({}));
    variables::of(&read.workflow, model_source)
        .iter()
        .map(|variable| {
            let required = if variable.required { "!" } else { "" };
            format!("{}{required}", variable.names[0])
        })
        .collect()
}

#[test]
fn exactly_the_variables_that_count_are_asked_for() {
    let openai = json!({ "provider": "openai", "model": "m" });
    let other = json!({ "provider": "openai", "model": "other" });
    let claude = json!({ "provider": "anthropic" });
    let own = json!({ "provider": "openai", "model": "m", "api_base": "http://box/v1" });
    let named = json!({ "provider": "openai", "model": "m", "api_key_env": "TEAM_KEY" });
    let llama = json!({ "provider": "ollama", "model": "m" });
    let as_it_is = ModelSource::Workflow;
    assert_eq!(
        asked(&openai, &other, &as_it_is),
        ["OPENAI_API_KEY!", "OPENAI_BASE_URL"]
    );
    assert_eq!(
        asked(&openai, &claude, &as_it_is),
        [
            "OPENAI_API_KEY!",
            "OPENAI_BASE_URL",
            "ANTHROPIC_API_KEY!",
            "ANTHROPIC_BASE_URL"
        ]
    );
    assert_eq!(asked(&own, &own, &as_it_is), ["OPENAI_API_KEY"]);
    assert_eq!(
        asked(&own, &openai, &as_it_is),
        ["OPENAI_API_KEY!", "OPENAI_BASE_URL"]
    );
    assert_eq!(
        asked(&named, &named, &as_it_is),
        ["TEAM_KEY!", "OPENAI_BASE_URL"]
    );
    assert_eq!(asked(&llama, &llama, &as_it_is), ["OLLAMA_HOST!"]);
    assert!(asked(&openai, &claude, &ModelSource::Offline).is_empty());
    let wanted = ModelSource::Model(ModelSpec::parse("anthropic/m").expect("a spec"));
    assert_eq!(
        asked(&openai, &named, &wanted),
        ["ANTHROPIC_API_KEY!", "ANTHROPIC_BASE_URL"]
    );
}

#[test]
fn another_address_makes_the_providers_key_unnecessary() {
    let read = Read::example("greeting");
    let wanted = ModelSource::Model(ModelSpec::parse("openai/m").expect("a spec"));
    let key = &variables::of(&read.workflow, &wanted)[0];
    assert!(key.is_missing(|_| false));
    assert!(!key.is_missing(|name| name == "OPENAI_API_KEY"));
    assert!(!key.is_missing(|name| name == "OPENAI_API_BASE"));

    let read = nasty();
    let key = &variables::of(&read.workflow, &ModelSource::Workflow)[0];
    assert!(key.is_missing(|name| name == "OPENAI_BASE_URL"));
}
