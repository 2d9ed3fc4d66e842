//! `flowmill serve` over TLS, with clients that are not ours.

use std::process::Command;
use std::sync::Mutex;
use std::sync::mpsc;

use serde_json::json;
use testing::{FakeModel, Reply, TempProject};

use crate::http::{ask, serve, until};
use crate::support::{Ended, GREETING, PATIENCE, Running, flowmill, run_in, words};

const FIRST: (&str, &str) = (
    include_str!("certificates/certificate.pem"),
    include_str!("certificates/key.pem"),
);
const SECOND: (&str, &str) = (
    include_str!("../../../server/tests/it/certificates/second.pem"),
    include_str!("../../../server/tests/it/certificates/second.key"),
);

fn project() -> TempProject {
    let project = TempProject::with_file("greeting.yaml", GREETING);
    put(&project, FIRST);
    project.write("first.pem", FIRST.0);
    project.write("second.pem", SECOND.0);
    project
}

fn put(project: &TempProject, (certificate, key): (&str, &str)) {
    project.write("tls.pem", certificate);
    project.write("tls.key", key);
}

const TLS: &str = "--tls-cert tls.pem --tls-key tls.key";

/// The address, which says https.
fn url(server: &mut Running) -> String {
    let line = server.line_with("https://");
    line[line.find("https://").expect("the line has it")..]
        .trim_end()
        .to_owned()
}

fn curl(project: &TempProject, line: &str) -> Ended {
    let mut command = Command::new("curl");
    command.args(["--silent", "--show-error", "--max-time", "60"]);
    Ended::of(command.args(words(line)).current_dir(project.root()))
}

#[test]
fn curl_python_and_our_own_commands_reach_it() {
    let project = project();
    let mut server = Running::start(&mut serve(
        &project,
        &format!("greeting.yaml --offline {TLS}"),
    ));
    let url = url(&mut server);
    let port = url.rsplit(':').next().expect("a port").to_owned();

    let health = curl(&project, &format!("--cacert first.pem {url}/health")).exits(0);
    assert_eq!(health.json()["status"], "healthy");
    for version in ["--tlsv1.2 --tls-max 1.2", "--tlsv1.3"] {
        curl(
            &project,
            &format!("{version} --cacert first.pem {url}/health"),
        )
        .exits(0);
    }
    curl(&project, &format!("--cacert second.pem {url}/health")).exits(60);
    let told = curl(&project, &format!("http://127.0.0.1:{port}/health")).exits(0);
    assert!(told.stdout.contains("use https://"), "{}", told.stdout);
    server.line_with("https://");

    let script = format!(
        "import ssl, urllib.request as u; c = ssl.create_default_context(cafile='first.pem'); \
         r = u.Request('{url}/run', data=b'{{\"name\": \"Ada\"}}', headers={{'Content-Type': 'application/json'}}); \
         print(u.urlopen(r, context=c, timeout=60).read().decode())"
    );
    let mut python = Command::new("python3");
    let answer = Ended::of(python.args(["-c", &script]).current_dir(project.root())).exits(0);
    assert_eq!(answer.json()["status"], "success");

    let health = |line: &str| run_in(project.root(), words(&format!("health {line}")));
    health(&format!("--url {url} --ca first.pem")).exits(0);
    health(&format!("--url {url}"))
        .exits(1)
        .says(&["certificate"]);
    health(&format!("--port {port} --tls-cert tls.pem")).exits(0);
    health(&format!("--port {port}")).exits(1);
    let mut of_container = flowmill(project.root(), words("health"));
    let variables = [
        ("FLOWMILL_PORT", &*port),
        ("FLOWMILL_TLS_CERT", "tls.pem"),
        ("FLOWMILL_TLS_KEY", "tls.key"),
    ];
    Ended::of(of_container.envs(variables)).exits(0);
    run_in(
        project.root(),
        words(&format!("jobs list --server {url} --ca first.pem")),
    )
    .exits(0);
}

#[tokio::test]
async fn a_certificate_is_swapped_while_a_request_is_in_flight() {
    let (release, released) = mpsc::channel::<()>();
    let released = Mutex::new(released);
    let model = FakeModel::answering(move |_| {
        let released = released.lock().expect("one call");
        released
            .recv_timeout(PATIENCE)
            .expect("the test releases it");
        Reply::json(json!({"result": "slow"}))
    });
    let project = project();
    let mut command = serve(&project, &format!("greeting.yaml {TLS}"));
    let mut server = Running::start(ask("none", &model, &mut command));
    let url = url(&mut server);
    let waiting = std::thread::spawn({
        let (url, root) = (url.clone(), project.root().to_owned());
        move || {
            let mut command = Command::new("curl");
            command.args([
                "--silent",
                "--cacert",
                "first.pem",
                "-d",
                r#"{"name": "Ada"}"#,
            ]);
            Ended::of(command.arg(format!("{url}/run")).current_dir(root))
        }
    });
    until(|| model.calls() == 1).await;

    // A pair that is none changes nothing.
    project.write("tls.pem", SECOND.0);
    server.signal("HUP");
    server.line_with("the previous certificate stays in use");
    curl(&project, &format!("--cacert first.pem {url}/health")).exits(0);

    put(&project, SECOND);
    server.signal("HUP");
    server.line_with("was reloaded");
    curl(&project, &format!("--cacert second.pem {url}/health")).exits(0);
    curl(&project, &format!("--cacert first.pem {url}/health")).exits(60);

    release.send(()).expect("the model waits");
    let answer = waiting.join().expect("curl ends").exits(0);
    assert_eq!(answer.json()["outputs"]["greeting"], "slow");
}

#[test]
fn a_changed_file_is_noticed_without_a_signal() {
    let project = project();
    let mut server = Running::start(&mut serve(
        &project,
        &format!("greeting.yaml --offline {TLS}"),
    ));
    let url = url(&mut server);
    put(&project, SECOND);
    server.line_with("was reloaded");
    curl(&project, &format!("--cacert second.pem {url}/health")).exits(0);
}

#[test]
fn a_server_without_its_pair_does_not_start() {
    let project = project();
    let refused = |line: &str| {
        run_in(
            project.root(),
            words(&format!("serve greeting.yaml --offline {line}")),
        )
    };
    refused("--tls-cert tls.pem").exits(2).says(&["--tls-key"]);
    refused("--tls-cert absent.pem --tls-key tls.key")
        .exits(4)
        .says(&["`absent.pem` does not exist"]);
    project.write("tls.key", SECOND.1);
    let ended = refused(TLS).exits(2).says(&["cannot be used together"]);
    let secret = SECOND.1.lines().nth(1).expect("a key");
    assert!(!ended.stderr.contains(secret), "{}", ended.stderr);
}
