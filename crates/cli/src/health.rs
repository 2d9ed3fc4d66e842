//! A health probe without an HTTP client: it runs every few seconds in the container and must cost
//! next to nothing.

use std::io::{self, BufRead as _, BufReader, Read, Write};
use std::net::{TcpStream, ToSocketAddrs as _};
use std::sync::Arc;
use std::time::{Duration, Instant};

use reqwest::Url;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme, StreamOwned};

/// Most bytes of a status line that are read.
const LINE: u64 = 1024;

/// The status of `GET url`, over TLS if `tls` is given.
pub(crate) fn status(url: &Url, tls: Option<ClientConfig>, timeout: Duration) -> io::Result<u16> {
    let deadline = Instant::now() + timeout;
    let left = || {
        let left = deadline.saturating_duration_since(Instant::now());
        (!left.is_zero())
            .then_some(left)
            .ok_or_else(|| io::Error::from(io::ErrorKind::TimedOut))
    };
    let host = url.host_str().unwrap_or_default();
    let port = url.port_or_known_default().unwrap_or(80);
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let mut failure = io::Error::new(io::ErrorKind::NotFound, "the host name has no address");
    for address in (bare, port).to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, left()?) {
            Ok(stream) => {
                stream.set_read_timeout(Some(left()?))?;
                stream.set_write_timeout(Some(left()?))?;
                let head = format!(
                    "GET {} HTTP/1.1\r\nhost: {host}:{port}\r\nconnection: close\r\n\r\n",
                    url.path()
                );
                return match tls {
                    None => ask(stream, &head),
                    Some(tls) => ask(secured(stream, bare, tls)?, &head),
                };
            }
            Err(error) => failure = error,
        }
    }
    Err(failure)
}

/// Makes a client accept any certificate. Only for a server on this machine: its certificate is for
/// its public name, and the probe sends no secret.
pub(crate) fn accept_any_certificate(mut tls: ClientConfig) -> ClientConfig {
    let provider = Arc::clone(tls.crypto_provider());
    tls.dangerous()
        .set_certificate_verifier(Arc::new(AcceptAnyCertificate(provider)));
    tls
}

fn secured(
    stream: TcpStream,
    host: &str,
    mut tls: ClientConfig,
) -> io::Result<StreamOwned<ClientConnection, TcpStream>> {
    tls.alpn_protocols = vec![b"http/1.1".to_vec()];
    let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
    let connection = ClientConnection::new(Arc::new(tls), name).map_err(io::Error::other)?;
    Ok(StreamOwned::new(connection, stream))
}

fn ask(mut stream: impl Read + Write, head: &str) -> io::Result<u16> {
    stream.write_all(head.as_bytes())?;
    let mut line = String::new();
    BufReader::new(stream.take(LINE)).read_line(&mut line)?;
    let status = line
        .strip_prefix("HTTP/1.1 ")
        .and_then(|rest| rest.get(..3)?.parse().ok());
    status.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "the response is not HTTP"))
}

/// Checks neither name nor authority, only that the server holds the key of the certificate that it
/// presents.
#[derive(Debug)]
struct AcceptAnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AcceptAnyCertificate {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
