//! TLS at the port.

use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use server::{Tls, TlsError};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::models::Part;
use crate::server::{ECHO, Server};

const LONG: Duration = Duration::from_secs(10);
const FIRST: (&str, &str) = (
    include_str!("certificates/first.pem"),
    include_str!("certificates/first.key"),
);
const SECOND: (&str, &str) = (
    include_str!("certificates/second.pem"),
    include_str!("certificates/second.key"),
);

fn tls((chain, key): (&str, &str)) -> Tls {
    Tls::new(chain.as_bytes(), key.as_bytes()).unwrap()
}

fn with(part: Part, tls: &Tls) -> Server {
    let settings = server::Settings {
        tls: Some(tls.clone()),
        ..server::Settings::default()
    };
    Server::with(part, &[ECHO], settings, service::Settings::default())
}

/// A client that trusts one certificate.
async fn connect(
    server: &Server,
    trusted: &str,
    versions: &[&'static SupportedProtocolVersion],
) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_slice(trusted.as_bytes()).unwrap())
        .unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let stream = TcpStream::connect(server.address).await?;
    let name = ServerName::try_from("127.0.0.1").unwrap();
    TlsConnector::from(Arc::new(config))
        .connect(name, stream)
        .await
}

async fn ask(stream: &mut TlsStream<TcpStream>, request: &str) -> String {
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut text = Vec::new();
    tokio::time::timeout(LONG, stream.read_to_end(&mut text))
        .await
        .expect("it ends")
        .unwrap();
    String::from_utf8(text).unwrap()
}

const HEALTH: &str = "GET /health HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n";

#[tokio::test]
async fn both_versions_of_tls_speak_http_1_1_and_say_that_https_it_stays() {
    let server = with(Part::Echo, &tls(FIRST));
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let mut stream = connect(&server, FIRST.0, &[version]).await.unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
        let said = ask(&mut stream, HEALTH).await;
        assert!(said.starts_with("HTTP/1.1 200 "), "{said}");
        assert!(
            said.contains("strict-transport-security: max-age="),
            "{said}"
        );
    }
}

#[tokio::test]
async fn a_certificate_is_replaced_while_a_request_is_in_flight() {
    let tls = tls(FIRST);
    let server = with(Part::Gated, &tls);
    let versions = rustls::DEFAULT_VERSIONS;
    let mut old = connect(&server, FIRST.0, versions).await.unwrap();
    let body = r#"{"message": "hi"}"#;
    let run = format!(
        "POST /run HTTP/1.1\r\nHost: test\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let waiting = tokio::spawn(async move { ask(&mut old, &run).await });
    server.until_asked(1).await;

    tls.replace(SECOND.0.as_bytes(), SECOND.1.as_bytes())
        .unwrap();
    assert!(connect(&server, FIRST.0, versions).await.is_err());
    let mut new = connect(&server, SECOND.0, versions).await.unwrap();
    assert!(ask(&mut new, HEALTH).await.starts_with("HTTP/1.1 200 "));

    server.model.let_go(1);
    let said = waiting.await.unwrap();
    assert!(
        said.starts_with("HTTP/1.1 200 ") && said.contains("success"),
        "{said}"
    );
}

#[tokio::test]
async fn a_bad_pair_is_named_and_the_old_one_stays() {
    let tls = tls(FIRST);
    let bad = |chain: &str, key: &str| tls.replace(chain.as_bytes(), key.as_bytes()).unwrap_err();
    assert_eq!(bad("", FIRST.1), TlsError::NoCertificate);
    assert_eq!(bad(FIRST.0, ""), TlsError::NoKey);
    assert_eq!(bad(FIRST.0, FIRST.0), TlsError::NoKey);
    let broken = "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n";
    assert_eq!(bad(broken, FIRST.1), TlsError::BadCertificate);
    let error = bad(FIRST.0, SECOND.1);
    assert!(matches!(error, TlsError::Unfit(_)), "{error:?}");
    let secret = SECOND.1.lines().nth(1).unwrap();
    assert!(!format!("{error:?} {error} {tls:?}").contains(&secret[..20]));

    let server = with(Part::Echo, &tls);
    let mut stream = connect(&server, FIRST.0, rustls::DEFAULT_VERSIONS)
        .await
        .unwrap();
    assert!(ask(&mut stream, HEALTH).await.starts_with("HTTP/1.1 200 "));
}

#[tokio::test]
async fn plain_http_is_told_to_use_https() {
    let server = with(Part::Echo, &tls(FIRST));
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(HEALTH.as_bytes()).await.unwrap();
    let mut said = String::new();
    tokio::time::timeout(LONG, stream.read_to_string(&mut said))
        .await
        .expect("it is closed")
        .unwrap();
    assert!(
        said.starts_with("HTTP/1.1 400 ") && said.contains("https://"),
        "{said}"
    );
    let mut good = connect(&server, FIRST.0, rustls::DEFAULT_VERSIONS)
        .await
        .unwrap();
    let metrics = ask(
        &mut good,
        "GET /metrics HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n",
    )
    .await;
    assert!(
        metrics.contains(r#"flowmill_http_connections_refused_total{reason="not_tls"} 1"#),
        "{metrics}"
    );
}

#[tokio::test]
async fn a_handshake_that_does_not_come_about_is_given_up() {
    let settings = server::Settings {
        tls: Some(tls(FIRST)),
        head_timeout: Duration::from_millis(30),
        idle_timeout: Duration::from_millis(30),
        ..server::Settings::default()
    };
    let server = Server::with(Part::Echo, &[ECHO], settings, service::Settings::default());
    for hello in [&b""[..], &[0x16, 3, 1, 0, 200, 1]] {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream.write_all(hello).await.unwrap();
        let mut said = Vec::new();
        let read = tokio::time::timeout(LONG, stream.read_to_end(&mut said));
        // Closed, or reset since the greeting was not read: either way it is over.
        let _ = read.await.expect("it is closed");
        assert!(said.is_empty(), "{said:?}");
    }
}
