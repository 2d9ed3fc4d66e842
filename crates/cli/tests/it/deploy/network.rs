//! Names are looked up inside the empty image: in `/etc/hosts` (the model of the other tests is
//! found there) and by asking the engine's name server. The roots that TLS trusts are in the
//! program.

use std::net::IpAddr;
use std::process::Command;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::json;
use testing::TempProject;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::rig::{Deployment, bridge, docker, docker_line};
use crate::http::post;
use crate::support::GREETING;

/// Made for the tests of the model clients; the certificate is for `model.example`. They protect
/// nothing.
const AUTHORITY: &[u8] = include_bytes!("../../../../llm/tests/it/tls/ca.pem");
const CERTIFICATE: &[u8] = include_bytes!("../../../../llm/tests/it/tls/cert.pem");
const KEY: &[u8] = include_bytes!("../../../../llm/tests/it/tls/key.pem");

/// A network of the engine's, removed on drop.
struct Network(String);

impl Drop for Network {
    fn drop(&mut self) {
        let _ = Command::new("docker")
            .args(["network", "rm", &self.0])
            .output();
    }
}

#[test]
fn a_container_finds_another_by_its_name() {
    let project = || TempProject::with_file("greeting.yaml", GREETING);
    let Some(one) = Deployment::of(project()) else {
        return;
    };
    let network = Network(format!("{}-net", one.name));
    let other = Deployment::of(project()).expect("there is an engine");
    one.deploy("greeting.yaml".as_ref(), "--offline");
    other.deploy("greeting.yaml".as_ref(), "--offline");
    docker(["network", "create", &network.0]);
    for name in [&one.name, &other.name] {
        docker(["network", "connect", &network.0, name]);
    }
    let ask = |url: &str| {
        Command::new("docker")
            .args(["exec", &one.name, "/app/flowmill", "health", "--url", url])
            .output()
            .expect("docker")
    };
    let found = ask(&format!("http://{}:8000", other.name));
    assert!(
        found.status.success(),
        "{}",
        String::from_utf8_lossy(&found.stderr)
    );
    let unknown = ask("http://no-such-container:8000");
    assert_eq!(unknown.status.code(), Some(1));
    for name in [&one.name, &other.name] {
        docker_line(&format!("network disconnect --force {} {name}", network.0));
    }
}

/// A model behind a certificate of an authority made for tests, on an address that containers
/// reach.
async fn encrypted(host: IpAddr) -> u16 {
    let provider = rustls::crypto::ring::default_provider();
    let tls = ServerConfig::builder_with_provider(provider.into())
        .with_safe_default_protocol_versions()
        .expect("ring knows them")
        .with_no_client_auth()
        .with_single_cert(
            vec![CertificateDer::from_pem_slice(CERTIFICATE).expect("PEM")],
            PrivateKeyDer::from_pem_slice(KEY).expect("PEM"),
        )
        .expect("they belong together");
    let acceptor = TlsAcceptor::from(Arc::new(tls));
    let listener = TcpListener::bind((host, 0)).await.expect("a free port");
    let port = listener.local_addr().expect("it is bound").port();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.expect("a connection");
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                // A client that does not trust us leaves in the middle of the handshake.
                if let Ok(mut stream) = acceptor.accept(stream).await {
                    let mut request = vec![0; 64 << 10];
                    let _read = stream.read(&mut request).await;
                    let body = r#"{"choices":[{"message":{"content":"{\"result\":\"in secret\"}"},"finish_reason":"stop"}]}"#;
                    let answer = format!(
                        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
                        body.len()
                    );
                    let _written = stream.write_all(answer.as_bytes()).await;
                    let _shut = stream.shutdown().await;
                }
            });
        }
    });
    port
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_behind_tls_is_trusted_as_far_as_the_roots_go() {
    let project = TempProject::with_file("greeting.yaml", GREETING);
    project.write("ca.pem", AUTHORITY);
    let Some(deployment) = Deployment::of(project) else {
        return;
    };
    let host = bridge();
    let port = encrypted(host).await;
    deployment.project.write(
        "keys.env",
        format!("OPENAI_API_KEY=k\nOPENAI_BASE_URL=https://model.example:{port}/v1\n"),
    );
    let keys = deployment.project.path("package/secrets/flowmill.env");
    for (options, trusted) in [("--ca ca.pem", true), ("", false)] {
        let options = format!("--model openai/m --env-file keys.env --replace {options}");
        let document = deployment.deploy("greeting.yaml".as_ref(), &options);
        let image = document["image"].as_str().expect("an image");
        // As it was started, and with the name that the certificate is for.
        docker(["rm", "--force", "--volumes", &deployment.name]);
        docker_line(&format!(
            "run --detach --name {} --read-only --publish 127.0.0.1:{}:8000 --add-host model.example:{host} \
             --label io.flowmill.deployment=x --mount type=bind,source={},target=/app/.env,readonly {image}",
            deployment.name,
            deployment.port,
            keys.display()
        ));
        deployment.ready().await;
        let (status, answer) =
            post(format!("{}/run", deployment.url), json!({ "name": "Ada" })).await;
        if trusted {
            assert_eq!(status, 200, "{answer}");
            assert_eq!(answer["outputs"]["greeting"], "in secret");
        } else {
            assert_ne!(status, 200);
            assert!(answer.to_string().contains("certificate"), "{answer}");
        }
    }
}
