//! TLS: a certificate chain and its key, which can be replaced while connections are open.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// The certificate and key that new connections get. Clones share them.
#[derive(Clone)]
pub struct Tls(Arc<RwLock<Arc<ServerConfig>>>);

/// Shows nothing of the key.
impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tls")
    }
}

/// Why a certificate and a key cannot be used. Repeats nothing of their contents.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TlsError {
    /// There is no `CERTIFICATE` block.
    #[error("the certificate file holds no `BEGIN CERTIFICATE` block")]
    NoCertificate,
    /// A block cannot be read.
    #[error("a block of the certificate file cannot be read")]
    BadCertificate,
    /// There is no block of a private key, or it is encrypted.
    #[error("the key file holds no private key that can be read; it must not be encrypted")]
    NoKey,
    /// The certificate and the key do not belong together, or their kind is not supported.
    #[error("the certificate and the key cannot be used together: {0}")]
    Unfit(String),
}

impl Tls {
    /// Reads a chain (the server's own certificate first) and its key, both PEM.
    pub fn new(chain: &[u8], key: &[u8]) -> Result<Self, TlsError> {
        let config = read(chain, key)?;
        Ok(Self(Arc::new(RwLock::new(config))))
    }

    /// Replaces certificate and key for new connections; open ones keep theirs. On an error nothing
    /// changes.
    pub fn replace(&self, chain: &[u8], key: &[u8]) -> Result<(), TlsError> {
        let config = read(chain, key)?;
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = config;
        Ok(())
    }

    pub(crate) async fn accept(&self, stream: TcpStream) -> std::io::Result<TlsStream<TcpStream>> {
        let config = Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner));
        TlsAcceptor::from(config).accept(stream).await
    }
}

fn read(chain: &[u8], key: &[u8]) -> Result<Arc<ServerConfig>, TlsError> {
    let chain: Vec<_> = CertificateDer::pem_slice_iter(chain)
        .collect::<Result<_, _>>()
        .map_err(|_| TlsError::BadCertificate)?;
    if chain.is_empty() {
        return Err(TlsError::NoCertificate);
    }
    let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| TlsError::NoKey)?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        // TLS 1.2 and 1.3.
        .with_safe_default_protocol_versions()
        .map_err(|error| TlsError::Unfit(error.to_string()))?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(|error| TlsError::Unfit(error.to_string()))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}
