//! What is in an image, what a container may do, and where a key is not.

use std::process::Command;

use serde_json::json;
use testing::{Reply, TempProject};

use super::rig::{Deployment, SECRET, docker, docker_line, model};
use crate::http::post;
use crate::support::{GREETING, flowmill};

/// What the engine puts into every container, not the image.
const OF_THE_ENGINE: &[&str] = &[
    ".dockerenv",
    "dev/",
    "dev/console",
    "dev/pts/",
    "dev/shm/",
    "etc/",
    "etc/hostname",
    "etc/hosts",
    "etc/mtab",
    "etc/resolv.conf",
    "proc/",
    "sys/",
];

#[test]
fn the_image_holds_the_program_and_what_it_reads() {
    let project = TempProject::with_file("greeting.yaml", GREETING);
    project.write("prices.toml", "[openai.m]\ninput = 1\noutput = 2\n");
    project.write("flowmill.toml", "[log]\nlevel = \"info\"\n");
    project.write(".env", format!("OPENAI_API_KEY={SECRET}\n"));
    let Some(deployment) = Deployment::of(project) else {
        return;
    };
    let document = deployment.deploy(
        "greeting.yaml".as_ref(),
        "--model openai/m --prices prices.toml",
    );
    let image = document["image"].as_str().expect("an image");

    let found = files(&deployment, image);
    let paths: Vec<(&str, &str)> = found
        .iter()
        .map(|(path, _, owner)| (path.as_str(), owner.as_str()))
        .collect();
    let root = "0/0";
    assert_eq!(
        paths,
        [
            ("app/", root),
            ("app/files/", root),
            ("app/files/prices.toml", root),
            ("app/flowmill", root),
            ("app/flowmill.toml", root),
            ("app/workflow.yaml", root),
            ("data/", "65532/65532"),
        ]
    );
    let program = &found[3];
    assert!(program.1.starts_with("-rwxr-xr-x"), "{program:?}");
}

/// Path, mode and owner of everything in an image.
fn files(deployment: &Deployment, image: &str) -> Vec<(String, String, String)> {
    let container = docker(["create", image]);
    let tar = deployment.project.path("image.tar");
    docker([
        "export",
        "--output",
        tar.to_str().expect("UTF-8"),
        &container,
    ]);
    docker(["rm", "--volumes", &container]);
    let listing = Command::new("tar")
        .args(["--list", "--verbose", "--numeric-owner", "--file"])
        .arg(&tar)
        .output()
        .expect("tar is installed");
    let listing = String::from_utf8(listing.stdout).expect("UTF-8");
    let mut found: Vec<(String, String, String)> = listing
        .lines()
        .map(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            (
                words[5].to_owned(),
                words[0].to_owned(),
                words[1].to_owned(),
            )
        })
        .filter(|(path, ..)| !OF_THE_ENGINE.contains(&path.as_str()))
        .collect();
    found.sort();
    found
}

/// `deploy` does not run the Dockerfile of the package; whoever does gets the same.
#[test]
fn the_dockerfile_makes_the_same_image() {
    let project = TempProject::with_file("greeting.yaml", GREETING);
    let Some(deployment) = Deployment::of(project) else {
        return;
    };
    let document = deployment.deploy("greeting.yaml".as_ref(), "--offline");
    let image = document["image"].as_str().expect("an image");
    let package = deployment.project.path("package");
    let package = package.to_str().expect("UTF-8");
    let built = format!("{}:built", deployment.name);
    docker(["build", "--tag", &built, package]);
    let config = |image: &str| -> serde_json::Value {
        let text = docker(["image", "inspect", "--format", "{{json .Config}}", image]);
        let mut config: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        // How the engine keeps its own books, and not what containers get.
        config.as_object_mut().expect("an object").remove("Image");
        config
    };
    let mut by_docker = config(&built);
    // `docker build` gives every image a path to programs; there is none in this one.
    let path = by_docker.as_object_mut().expect("an object").remove("Env");
    assert_eq!(
        path,
        Some(json!([
            "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        ]))
    );
    assert_eq!(config(image), by_docker);
    assert_eq!(files(&deployment, image), files(&deployment, &built));
    docker(["image", "rm", &built]);
}

#[test]
fn the_container_may_do_nothing_but_its_work() {
    let Some(deployment) = Deployment::of(TempProject::with_file("greeting.yaml", GREETING)) else {
        return;
    };
    deployment.deploy("greeting.yaml".as_ref(), "--offline");
    assert_eq!(deployment.inspect("{{.HostConfig.ReadonlyRootfs}}"), "true");
    assert_eq!(deployment.inspect("{{.HostConfig.CapDrop}}"), "[ALL]");
    assert_eq!(
        deployment.inspect("{{.HostConfig.SecurityOpt}}"),
        "[no-new-privileges]"
    );
    assert_eq!(
        deployment.inspect("{{.HostConfig.Memory}}"),
        (512 << 20).to_string()
    );
    assert_eq!(
        deployment.inspect("{{.HostConfig.RestartPolicy.Name}}"),
        "unless-stopped"
    );
    assert_eq!(
        deployment.inspect("{{(index (index .HostConfig.PortBindings \"8000/tcp\") 0).HostIp}}"),
        "127.0.0.1"
    );

    let users = docker_line(&format!("top {} -o uid,gid,pid", deployment.name));
    let process = users.lines().nth(1).expect("a process");
    assert!(process.starts_with("65532"), "{users}");

    let written = Command::new("docker")
        .args([
            "exec",
            &deployment.name,
            "/app/flowmill",
            "init",
            "/app/new",
        ])
        .output()
        .expect("docker");
    assert_eq!(written.status.code(), Some(4));
    let said = String::from_utf8_lossy(&written.stderr);
    assert!(said.contains("Read-only file system"), "{said}");

    // What an operator has inside.
    let listed = docker([
        "exec",
        &deployment.name,
        "/app/flowmill",
        "jobs",
        "list",
        "--format",
        "json",
    ]);
    assert!(listed.contains("\"jobs\":[]"), "{listed}");
    docker(["exec", &deployment.name, "/app/flowmill", "health"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_reaches_the_model_and_nothing_else() {
    let project = TempProject::with_file("greeting.yaml", GREETING);
    let Some(deployment) = Deployment::of(project) else {
        return;
    };
    let model = model(&deployment.project, |_| {
        Reply::json(json!({ "result": "Hello" }))
    });
    let document = deployment.deploy(
        "greeting.yaml".as_ref(),
        "--model openai/m --env-file keys.env",
    );
    let (status, answer) = post(format!("{}/run", deployment.url), json!({ "name": "Ada" })).await;
    assert_eq!(status, 200, "{answer}\n{}", deployment.logs());
    let request = &model.requests()[0];
    assert_eq!(
        request.header("authorization"),
        Some(&*format!("Bearer {SECRET}"))
    );

    let image = document["image"].as_str().expect("an image");
    let told = [
        docker(["inspect", &deployment.name]),
        docker(["image", "inspect", image]),
        docker(["history", "--no-trunc", image]),
        deployment.logs(),
        document.to_string(),
    ];
    for text in told {
        assert!(!text.contains(SECRET), "{text}");
    }
    let tar = deployment.project.path("layers.tar");
    docker(["save", "--output", tar.to_str().expect("UTF-8"), image]);
    let layers = std::fs::read(&tar).expect("it was saved");
    assert!(layers.len() > 1 << 20, "layers are stored as they are");
    let secret = SECRET.as_bytes();
    assert!(!layers.windows(secret.len()).any(|bytes| bytes == secret));
}

/// A text of the workflow is a label, whatever it holds.
#[test]
fn names_that_mean_something_are_only_text() {
    let nasty = "a\"b\\c $HOME `id` ${X} # {{ x }} é";
    let workflow = json!({
        "schema_version": "1.0",
        "flow": { "name": nasty, "description": format!("{nasty}\nRUN false") },
        "state": { "fields": { "name": { "type": "str", "required": true }, "greeting": { "type": "str" } } },
        "nodes": [{ "id": "greet", "prompt": "{name}", "output_schema": { "type": "str" }, "outputs": ["greeting"] }],
        "edges": [{ "from": "START", "to": "greet" }, { "from": "greet", "to": "END" }],
    });
    let project = TempProject::with_file("nasty.json", workflow.to_string());
    let Some(deployment) = Deployment::of(project) else {
        return;
    };
    deployment.deploy("nasty.json".as_ref(), "--offline");
    let label =
        |name: &str| deployment.inspect(&format!("{{{{index .Config.Labels \"{name}\"}}}}"));
    assert_eq!(label("org.opencontainers.image.title"), nasty);
    assert_eq!(
        label("org.opencontainers.image.description"),
        format!("{nasty} RUN false")
    );

    // The README's line works when it is pasted.
    let readme = deployment.project.read("package/README.md");
    let line = readme
        .lines()
        .find(|line| line.starts_with("curl"))
        .expect("a curl line");
    let answered = Command::new("sh")
        .args(["-c", line])
        .output()
        .expect("sh and curl");
    let answer = String::from_utf8_lossy(&answered.stdout);
    assert!(
        answer.contains("\"status\":\"success\""),
        "{line}\n{answer}"
    );

    // Undeploying keeps the jobs unless they are asked for.
    let name = deployment.name.clone();
    let undeployed = flowmill(deployment.project.root(), ["undeploy", &name])
        .output()
        .expect("it starts");
    assert!(undeployed.status.success());
    let volumes = docker_line("volume ls --format {{.Name}}");
    assert!(volumes.contains(&format!("{name}-data")), "{volumes}");
}
