//! The clients of docs/clients.md where an answer is lost on its way: the request is repeated, and
//! its run is not.

use std::io::Read as _;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::Command;

use testing::{TempProject, rigs};

use super::blocks::{self, Part};
use super::text_of;
use crate::support::{Ended, Running, flowmill, greeting};

#[test]
fn a_client_in_python_whose_answer_is_lost_gets_the_same_run() {
    check(rigs::program("openapi", "python"), "repeat.py");
}

#[test]
fn a_client_in_typescript_whose_answer_is_lost_gets_the_same_run() {
    check(rigs::of_the_machine("node"), "repeat.mjs");
}

fn check(interpreter: Option<PathBuf>, name: &str) {
    let Some(interpreter) = interpreter else {
        return;
    };
    let project = greeting();
    let mut server = Running::start(&mut flowmill(
        project.root(),
        ["serve", "greeting.yaml", "--offline", "--port", "0"],
    ));
    let url = server.url();
    let address = url.trim_start_matches("http://").trim_end_matches('/');
    let lossy = lose_the_first_answer(address.parse().expect("an address"));

    project.write(name, program(name));
    let ended = Ended::of(
        Command::new(interpreter)
            .arg(name)
            .current_dir(project.root())
            .env("FLOWMILL_URL", format!("http://{lossy}"))
            .env("NO_PROXY", "127.0.0.1"),
    )
    .exits(0);
    assert_eq!(ended.stdout.trim(), "200 true", "{}", ended.stderr);
    assert_eq!(jobs(&project, &url), 1);
}

/// The program of that name in the document.
fn program(name: &str) -> String {
    let parts = blocks::read(&text_of("docs/clients.md".as_ref()));
    let found = parts.into_iter().find_map(|part| match part {
        Part::Block(block) if block.directive("file") == Some(name) => Some(block.text),
        Part::Block(_) | Part::Run { .. } => None,
    });
    found.expect("the document has it")
}

/// How many jobs the server has.
fn jobs(project: &TempProject, url: &str) -> usize {
    let mut listed = flowmill(
        project.root(),
        ["jobs", "list", "--format", "json", "--server", url],
    );
    let listed = Ended::of(&mut listed).exits(0).json();
    listed["jobs"].as_array().expect("a list").len()
}

/// Passes connections on to a server. The first one breaks when its answer arrives.
fn lose_the_first_answer(server: SocketAddr) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    std::thread::spawn(move || {
        let mut is_first = true;
        for client in listener.incoming().map_while(Result::ok) {
            let upstream = TcpStream::connect(server).expect("the server is up");
            pass_on(&client, &upstream);
            if std::mem::take(&mut is_first) {
                let mut lost = [0; 1];
                (&upstream).read_exact(&mut lost).expect("it answers");
                for end in [&client, &upstream] {
                    // It may be gone by itself.
                    let _ = end.shutdown(Shutdown::Both);
                }
            } else {
                pass_on(&upstream, &client);
            }
        }
    });
    address
}

/// Copies what comes from one end to the other, on a thread of its own, until one of them closes.
fn pass_on(from: &TcpStream, to: &TcpStream) {
    let (mut from, mut to) = (
        from.try_clone().expect("a descriptor"),
        to.try_clone().expect("a descriptor"),
    );
    std::thread::spawn(move || {
        // It ends with an error when an end was closed.
        let _ = std::io::copy(&mut from, &mut to);
        let _ = to.shutdown(Shutdown::Write);
    });
}
