//! Providers behind TLS: who is trusted, and what is said of who is not.

use std::net::SocketAddr;
use std::sync::Arc;

use llm::error::ErrorKind;
use llm::{Error, Registry, Settings};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

use crate::ask::{ask, free};

/// An authority nobody knows, and a server that shows a certificate of it.
struct Private {
    authority_pem: String,
    address: SocketAddr,
    server: JoinHandle<()>,
}

impl Private {
    /// The certificate is good for `name` only.
    async fn serving(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new([name.to_owned()])
            .unwrap()
            .signed_by(&key, &authority)
            .unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(
                vec![certificate.der().clone()],
                PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der())),
            )
            .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let server = tokio::spawn(async move {
            loop {
                let (connection, _) = listener.accept().await.unwrap();
                // A client that does not trust us leaves in the middle of the handshake.
                if let Ok(mut connection) = acceptor.accept(connection).await {
                    let mut request = vec![0; 64 << 10];
                    let _read = connection.read(&mut request).await.unwrap();
                    connection.write_all(reply().as_bytes()).await.unwrap();
                    connection.shutdown().await.unwrap();
                }
            }
        });
        Self {
            authority_pem: authority.pem(),
            address,
            server,
        }
    }

    async fn ask(&self, host: &str, extra_roots_pem: Option<&str>) -> Result<String, Error> {
        let base = format!("https://{host}:{}/v1", self.address.port());
        let settings = Settings {
            environment: [
                ("OPENAI_BASE_URL", base.as_str()),
                ("OPENAI_API_KEY", "sk-secret"),
            ]
            .into_iter()
            .collect(),
            extra_roots_pem: extra_roots_pem.map(Into::into),
            ..Settings::default()
        };
        let models = Registry::new(settings).unwrap();
        let (reply, _) = ask(&models, "openai/m", &free("otters")).await;
        reply.map(|reply| format!("{:?}", reply.content))
    }
}

impl Drop for Private {
    fn drop(&mut self) {
        self.server.abort();
    }
}

fn reply() -> String {
    let body = json!({
        "choices": [{"message": {"role": "assistant", "content": "over TLS"}, "finish_reason": "stop"}],
    })
    .to_string();
    format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
}

#[tokio::test]
async fn an_authority_of_ones_own_is_trusted_when_it_is_named() {
    let server = Private::serving("localhost").await;
    let answer = server.ask("localhost", Some(&server.authority_pem)).await;
    assert_eq!(answer.unwrap(), r#"Text("over TLS")"#);
}

#[tokio::test]
async fn an_unknown_authority_is_refused_and_the_way_out_is_said() {
    let server = Private::serving("localhost").await;
    let error = server.ask("localhost", None).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Config, "{error}");
    assert!(error.message.contains("UnknownIssuer"), "{error}");
    assert!(
        error.message.contains("name it with `--ca FILE`"),
        "{error}"
    );
    assert!(!error.message.contains("sk-secret"), "{error}");
}

#[tokio::test]
async fn another_ones_authority_and_another_ones_name_are_refused() {
    let (server, other) = (
        Private::serving("localhost").await,
        Private::serving("elsewhere.test").await,
    );
    for (server, authority) in [(&server, &other), (&other, &other)] {
        let answer = server
            .ask("localhost", Some(&authority.authority_pem))
            .await;
        assert_eq!(answer.unwrap_err().kind, ErrorKind::Config);
    }
}
