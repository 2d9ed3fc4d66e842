//! Encrypted connections, straight and through a proxy's tunnel, and packed answers.
//!
//! `tls/` holds an authority made for these tests, and the certificate and key it gave to
//! `model.example` and 127.0.0.1. They protect nothing.

use std::io::Write;
use std::sync::Arc;

use flate2::Compression;
use flate2::write::GzEncoder;
use llm::chat::Content;
use llm::error::ErrorKind;
use llm::{Registry, Settings};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

use crate::ask::{ask, free, registry, streamed};
use crate::raw::{Raw, answer};

const AUTHORITY: &[u8] = include_bytes!("tls/ca.pem");
const BODY: &str = r#"{"choices":[{"message":{"content":"in secret"},"finish_reason":"stop"}]}"#;

/// A server of one encrypted exchange, perhaps at the far end of a tunnel. Its task ends with what
/// it read: the request for a tunnel, and the request.
async fn serve(behind_proxy: bool) -> (String, JoinHandle<Vec<String>>) {
    let tls = ServerConfig::builder_with_provider(rustls::crypto::ring::default_provider().into())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![CertificateDer::from_pem_slice(include_bytes!("tls/cert.pem")).unwrap()],
            PrivateKeyDer::from_pem_slice(include_bytes!("tls/key.pem")).unwrap(),
        )
        .unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut heads = Vec::new();
        if behind_proxy {
            heads.push(head(&mut stream).await);
            stream
                .write_all(b"HTTP/1.1 200 Connected\r\n\r\n")
                .await
                .unwrap();
        }
        let acceptor = TlsAcceptor::from(Arc::new(tls));
        // A client that does not trust us goes away.
        if let Ok(mut stream) = acceptor.accept(stream).await {
            heads.push(head(&mut stream).await);
            let answer = answer("200 OK", "content-type: application/json\r\n", BODY);
            stream.write_all(answer.as_bytes()).await.unwrap();
            stream.shutdown().await.unwrap();
        }
        heads
    });
    (address, server)
}

async fn head(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    String::from_utf8(head).unwrap().to_lowercase()
}

fn trusting(variables: &[(&str, &str)]) -> Registry {
    Registry::new(Settings {
        environment: variables.iter().copied().collect(),
        extra_roots_pem: Some(AUTHORITY.to_vec()),
        ..Settings::default()
    })
    .unwrap()
}

#[tokio::test]
async fn an_authority_of_ones_own_is_trusted_when_it_is_named() {
    let (address, server) = serve(false).await;
    let base = format!("https://{address}/v1");
    let models = trusting(&[("OPENAI_BASE_URL", &base), ("OPENAI_API_KEY", "k")]);
    let reply = ask(&models, "openai/m", &free("otters")).await.0.unwrap();
    assert_eq!(reply.content, Content::Text("in secret".to_owned()));
    let [request] = &server.await.unwrap()[..] else {
        panic!("one request")
    };
    assert!(
        request.starts_with("post /v1/chat/completions http/1.1\r\n"),
        "{request}"
    );
    assert!(request.contains("authorization: bearer k\r\n"), "{request}");

    let (address, _server) = serve(false).await;
    let base = format!("https://{address}/v1");
    let models = registry(&[("OPENAI_BASE_URL", &base)]);
    let error = ask(&models, "openai/m", &free("otters"))
        .await
        .0
        .unwrap_err();
    assert_eq!(error.kind, ErrorKind::Config);
    assert!(
        error.message.contains("name it with `--ca FILE`"),
        "{error}"
    );
}

#[tokio::test]
async fn behind_a_proxy_an_encrypted_server_is_reached_through_a_tunnel() {
    let (address, server) = serve(true).await;
    let models = trusting(&[
        ("HTTPS_PROXY", &format!("http://user:secret@{address}")),
        ("OPENAI_BASE_URL", "https://model.example/v1"),
        ("OPENAI_API_KEY", "k"),
    ]);
    let reply = ask(&models, "openai/m", &free("otters")).await.0.unwrap();
    assert_eq!(reply.content, Content::Text("in secret".to_owned()));
    let [tunnel, request] = &server.await.unwrap()[..] else {
        panic!("a tunnel and a request")
    };
    assert!(
        tunnel.starts_with("connect model.example:443 http/1.1\r\n"),
        "{tunnel}"
    );
    assert!(
        tunnel.contains("proxy-authorization: basic dxnlcjpzzwnyzxq=\r\n"),
        "{tunnel}"
    );
    assert!(!tunnel.contains("bearer k"), "{tunnel}");
    assert!(request.contains("host: model.example\r\n"), "{request}");
    assert!(!request.contains("proxy-authorization"), "{request}");
}

fn packed(text: &str) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

fn packed_answer(content_type: &str, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "HTTP/1.1 200 OK\r\ncontent-length: {}\r\ncontent-type: {content_type}\r\ncontent-encoding: gzip\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

#[tokio::test]
async fn packed_answers_are_unpacked_within_bounds() {
    let stream = "data: {\"choices\":[{\"delta\":{\"content\":\"in a stream\"},\"finish_reason\":\"stop\"}]}\n\n\
                  data: [DONE]\n\n";
    let too_long = packed(&"x".repeat(1_000_000));
    assert!(too_long.len() < 10_000);
    let cut = packed(BODY);
    let server = Raw::serving([
        packed_answer("application/json", &packed(BODY)),
        packed_answer("text/event-stream", &packed(stream)),
        packed_answer("application/json", &too_long),
        packed_answer("application/json", &cut[..cut.len() - 5]),
    ])
    .await;
    let models = registry(&[("OPENAI_BASE_URL", &server.base())]);
    let whole = ask(&models, "openai/m", &free("otters")).await.0.unwrap();
    assert_eq!(whole.content, Content::Text("in secret".to_owned()));
    let (reply, pieces) = ask(&models, "openai/m", &streamed(free("otters"))).await;
    assert_eq!(
        reply.unwrap().content,
        Content::Text("in a stream".to_owned())
    );
    assert_eq!(pieces, "in a stream");
    let error = ask(&models, "openai/m", &free("otters"))
        .await
        .0
        .unwrap_err();
    assert_eq!(error.kind, ErrorKind::BadReply);
    assert!(
        error.message.contains("longer than 200000 bytes"),
        "{error}"
    );
    let error = ask(&models, "openai/m", &free("otters"))
        .await
        .0
        .unwrap_err();
    assert_eq!(error.kind, ErrorKind::Network);
    assert!(
        error.message.contains("broke in the middle of the answer"),
        "{error}"
    );
}
