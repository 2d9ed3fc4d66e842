//! A server never starts with less protection than was asked for, and a port comes from where it is
//! meant to.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;

use testing::TempProject;

use crate::http::{client, get, start};
use crate::support::{Ended, Running, flowmill, greeting, words};

const KEY: &str = "fm_ci_0123456789abcdef0123456789abcdef";

/// What `flowmill serve` ends with that must not serve.
#[track_caller]
fn refused(project: &TempProject, variables: &[(&str, &OsStr)]) -> Ended {
    let mut command = flowmill(
        project.root(),
        words("serve greeting.yaml --offline --port 0 --store memory"),
    );
    let server = Running::start(command.envs(variables.iter().copied()));
    let ended = server.ended();
    assert!(
        !ended.stderr.contains("http://127"),
        "it served:\n{}",
        ended.stderr
    );
    assert!(!ended.stderr.contains(KEY), "{}", ended.stderr);
    ended
}

#[tokio::test]
async fn keys_behind_a_byte_order_mark_guard_the_server() {
    let project = greeting();
    project.write(".env", format!("\u{feff}FLOWMILL_API_KEYS={KEY}\r\n"));
    let mut server = start(&project, "greeting.yaml --offline --store memory");
    let url = format!("{}/jobs", server.url());
    assert_eq!(get(url.clone()).await.0, 401);
    let with_key = client().get(url).header("x-api-key", KEY).send();
    assert_eq!(with_key.await.expect("an answer").status(), 200);
}

#[test]
fn keys_in_a_dotenv_that_cannot_be_read_start_no_open_server() {
    let check = |bytes: &[u8], code: i32, says: &[&str]| {
        let project = greeting();
        fs::write(project.path(".env"), bytes).expect("it can be written");
        refused(&project, &[]).exits(code).says(says);
    };
    let line = format!("FLOWMILL_API_KEYS={KEY}\n");
    let latin_1 = [b"# gr\xfc\xdfe\n", line.as_bytes()].concat();
    check(
        &latin_1,
        4,
        &["`.env` is not UTF-8 text", "line 1", "UTF-8"],
    );
    let wide: Vec<u8> = format!("\u{feff}{line}")
        .encode_utf16()
        .flat_map(u16::to_le_bytes)
        .collect();
    check(&wide, 4, &["`.env` is not UTF-8 text", "UTF-16"]);
    let mut large = vec![b'#'; 64 << 20];
    large.extend_from_slice(format!("\n{line}").as_bytes());
    check(&large, 4, &["`.env`", "larger than 64 MiB"]);
    let bad = format!("{line}BAD LINE\n");
    check(
        bad.as_bytes(),
        2,
        &["`.env` cannot be read", "line 2 is not NAME=value"],
    );
    let swallowed = format!("TITLE=it's\n{line}END=it's\n");
    check(swallowed.as_bytes(), 2, &["line 1", "FLOWMILL_API_KEYS"]);
    check(
        b"FLOWMILL_API_KEYS=$NOTSET\n",
        2,
        &["line 1", "is empty because"],
    );
    check(b"FLOWMILL_API_KEYS=\" , \"\n", 2, &["contains no key"]);
}

#[test]
fn a_dotenv_that_is_no_file_starts_no_open_server() {
    let project = greeting();
    fs::create_dir(project.path(".env")).expect("it can be made");
    refused(&project, &[])
        .exits(4)
        .says(&["`.env` is a directory"]);

    let project = greeting();
    std::os::unix::fs::symlink("gone", project.path(".env")).expect("it can be made");
    refused(&project, &[]).exits(4).says(&["`.env`"]);

    let project = greeting();
    fs::create_dir(project.path("flowmill.toml")).expect("it can be made");
    refused(&project, &[])
        .exits(4)
        .says(&["`flowmill.toml` is a directory"]);
}

#[test]
fn a_virtual_environment_called_dotenv_is_passed_over() {
    let project = greeting();
    project.write(".env/pyvenv.cfg", "home = /usr/bin\n");
    let mut server = start(&project, "greeting.yaml --offline --store memory");
    server.url();
}

#[test]
fn a_variable_that_is_no_text_starts_no_server() {
    for name in ["FLOWMILL_API_KEYS", "OPENAI_BASE_URL"] {
        let project = greeting();
        refused(&project, &[(name, OsStr::from_bytes(b"fm_\xff"))])
            .exits(2)
            .says(&[name, "UTF-8"]);
    }
}

#[tokio::test]
async fn an_empty_variable_of_the_process_does_not_hide_the_keys_of_dotenv() {
    let project = greeting();
    project.write(".env", format!("FLOWMILL_API_KEYS={KEY}\n"));
    let mut command = flowmill(
        project.root(),
        words("serve greeting.yaml --offline --port 0 --store memory"),
    );
    let mut server = Running::start(command.env("FLOWMILL_API_KEYS", ""));
    assert_eq!(get(format!("{}/jobs", server.url())).await.0, 401);
}

/// The address that a server with those variables tells, or what it ends with.
fn served(variables: &[(&str, &str)], more: &str) -> Result<String, String> {
    let project = greeting();
    let line = format!("serve greeting.yaml --offline --data-dir data {more}");
    let mut command = flowmill(project.root(), words(&line));
    let mut server = Running::start(command.envs(variables.iter().copied()));
    match server.url_or_end() {
        Some(url) => Ok(url),
        None => Err(server.ended().stderr),
    }
}

#[test]
fn the_port_of_the_platform_is_honoured_below_every_setting_of_ours() {
    // Of the system: a free one each time, so that tests do not meet.
    let free = || {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        listener
            .local_addr()
            .expect("it has one")
            .port()
            .to_string()
    };
    let (platform, ours) = (free(), free());
    let at = |port: &str| Ok(format!("http://127.0.0.1:{port}"));
    assert_eq!(served(&[("PORT", &platform)], ""), at(&platform));
    let both = [("PORT", &*platform), ("FLOWMILL_PORT", &*ours)];
    assert_eq!(served(&both, ""), at(&ours));
    let named = format!("--port {ours}");
    assert_eq!(served(&[("PORT", &platform)], &named), at(&ours));
    let bad = served(&[("PORT", "web")], "").expect_err("no port");
    assert!(bad.contains("PORT in the environment: `web`"), "{bad}");
}

#[test]
fn the_links_of_a_kubernetes_service_are_explained() {
    let links = [
        ("FLOWMILL_SERVICE_HOST", "10.0.0.1"),
        ("FLOWMILL_SERVICE_PORT", "8000"),
        ("FLOWMILL_PORT_8000_TCP", "tcp://10.0.0.1:8000"),
        ("FLOWMILL_PORT_8000_TCP_PROTO", "tcp"),
    ];
    assert!(served(&links, "--port 0").is_ok());
    let link = [
        links.as_slice(),
        &[("FLOWMILL_PORT", "tcp://10.0.0.1:8000")],
    ]
    .concat();
    let said = served(&link, "").expect_err("no port");
    assert!(
        said.contains("Kubernetes") && said.contains("enableServiceLinks: false"),
        "{said}"
    );
    assert!(served(&link, "--port 0").is_ok());
}

#[test]
fn a_store_in_sqlites_own_memory_is_refused() {
    let said = served(&[], "--port 0 --store sqlite::memory:").expect_err("no file");
    assert!(said.contains("or memory to lose"), "{said}");
}

#[tokio::test]
async fn a_foreign_host_is_refused_on_loopback_without_keys() {
    let project = greeting();
    let ask = async |url: &str, host: &str, key: &str| {
        let request = client().get(format!("{url}/jobs")).header("host", host);
        let answer = request.header("x-api-key", key).send().await;
        answer.expect("an answer").status().as_u16()
    };
    let mut open = start(&project, "greeting.yaml --offline --store memory");
    let url = open.url();
    assert_eq!(ask(&url, "localhost", "").await, 200);
    assert_eq!(ask(&url, "evil.example", "").await, 403);
    let line = "greeting.yaml --offline --store memory --allowed-host app.example";
    let mut named = start(&project, line);
    let url = named.url();
    assert_eq!(ask(&url, "app.example", "").await, 200);
    assert_eq!(ask(&url, "evil.example", "").await, 403);
    let line = format!("greeting.yaml --offline --store memory --api-keys {KEY}");
    let mut guarded = start(&project, &line);
    assert_eq!(ask(&guarded.url(), "app.example", KEY).await, 200);
    let line = "greeting.yaml --offline --store memory --host 0.0.0.0 --insecure";
    let mut elsewhere = start(&project, line);
    let url = elsewhere.url().replace("0.0.0.0", "127.0.0.1");
    assert_eq!(ask(&url, "greeting.default.svc", "").await, 200);
}
