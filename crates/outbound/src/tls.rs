//! The certificates that TLS clients trust.

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

use crate::client::Error;

/// Settings of a client that trusts the bundled roots and those of a PEM text. They depend neither
/// on the system's store nor on a process-wide crypto provider, and offer HTTP/2 and HTTP/1.1.
///
/// # Panics
/// Never: the built-in crypto provider supports the default versions of TLS.
pub fn client(extra_pem: Option<&[u8]>) -> Result<ClientConfig, Error> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(webpki_root_certs::TLS_SERVER_ROOT_CERTS.iter().cloned());
    if let Some(pem) = extra_pem {
        let mut found = false;
        for certificate in CertificateDer::pem_slice_iter(pem) {
            let added = certificate
                .map_err(|error| error.to_string())
                .and_then(|certificate| roots.add(certificate).map_err(|error| error.to_string()));
            added.map_err(|error| {
                Error(format!(
                    "an extra certificate cannot be read: {error}; give a PEM file"
                ))
            })?;
            found = true;
        }
        if !found {
            return Err(Error(
                "the extra certificates hold no `BEGIN CERTIFICATE` block; give a PEM file"
                    .to_owned(),
            ));
        }
    }
    let provider = rustls::crypto::ring::default_provider();
    let mut tls = ClientConfig::builder_with_provider(provider.into())
        .with_safe_default_protocol_versions()
        .expect("ring supports the default versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(tls)
}
