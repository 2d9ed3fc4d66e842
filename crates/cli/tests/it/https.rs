//! `flowmill jobs` at a server whose certificate nobody knows.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use testing::TempProject;

use crate::support::{Ended, flowmill, run_in, words};

/// Of 127.0.0.1, for a hundred years, signed by itself.
const CERTIFICATE: &str = include_str!("certificates/certificate.pem");
/// The same, but of an authority, as `openssl req -x509` makes them.
const AUTHORITY: &str = include_str!("certificates/authority.pem");
const KEY: &str = include_str!("certificates/key.pem");

const NO_JOBS: &str = r#"{"jobs":[],"next_cursor":null}"#;

/// Answers every request with a page without jobs, on a thread that ends with the test's process.
fn server(certificate: &str) -> SocketAddr {
    let certificate = CertificateDer::from_pem_slice(certificate.as_bytes()).expect("PEM");
    let key = PrivateKeyDer::from_pem_slice(KEY.as_bytes()).expect("PEM");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("ring supports them")
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .expect("the key is the certificate's");
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let connection = ServerConnection::new(config.clone()).expect("a good config");
            let mut tls = BufReader::new(StreamOwned::new(connection, stream));
            let mut line = String::new();
            // A client that does not trust us goes away here.
            while tls.read_line(&mut line).is_ok_and(|bytes| bytes > 2) {
                line.clear();
            }
            let answer = format!(
                "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{NO_JOBS}",
                NO_JOBS.len()
            );
            let _ = tls.get_mut().write_all(answer.as_bytes());
            let _ = tls.get_mut().flush();
        }
    });
    address
}

#[test]
fn a_servers_certificate_is_trusted_where_it_is_named() {
    let project = TempProject::with_file("ca.pem", CERTIFICATE);
    project.write("not.pem", "no certificate");
    let url = format!("https://{}", server(CERTIFICATE));
    let list = |more: &str| {
        run_in(
            project.root(),
            words(&format!("jobs list --format json --server {url} {more}")),
        )
    };
    list("")
        .exits(4)
        .says(&["cannot be reached", "certificate", "--ca FILE"]);
    assert_eq!(list("--ca ca.pem").exits(0).stdout.trim(), NO_JOBS);
    list("--ca absent.pem")
        .exits(4)
        .says(&["`absent.pem` does not exist"]);
    list("--ca not.pem").exits(5).says(&["BEGIN CERTIFICATE"]);

    let by_variable = |ca: &str| {
        let mut command = flowmill(project.root(), words("jobs list --format json"));
        Ended::of(command.env("FLOWMILL_SERVER", &url).env("FLOWMILL_CA", ca))
    };
    by_variable("ca.pem").exits(0);
    project.write(
        "flowmill.toml",
        format!("[jobs]\nserver = \"{url}\"\nca = \"ca.pem\"\n"),
    );
    run_in(project.root(), words("jobs list")).exits(0);
    by_variable("absent.pem").exits(4);
}

#[test]
fn the_certificate_of_an_authority_is_no_servers() {
    let project = TempProject::with_file("ca.pem", AUTHORITY);
    let url = format!("https://{}", server(AUTHORITY));
    let line = format!("jobs list --server {url} --ca ca.pem");
    run_in(project.root(), words(&line))
        .exits(4)
        .says(&["cannot be reached", "CA:FALSE"]);
}
