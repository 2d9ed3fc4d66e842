//! Asking a server how it is, without a client: a probe that runs every few seconds, in an image with no
//! other program, must cost next to nothing.

use std::io::{self, BufRead as _, BufReader, Write as _};
use std::net::{TcpStream, ToSocketAddrs as _};
use std::time::{Duration, Instant};

use reqwest::Url;

/// Longest status line that is read, in bytes.
const LINE: u64 = 1024;

/// The status of `GET url`, over plain HTTP.
pub(crate) fn status(url: &Url, timeout: Duration) -> io::Result<u16> {
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
    let mut failure = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in (bare, port).to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, left()?) {
            Ok(stream) => {
                stream.set_read_timeout(Some(left()?))?;
                stream.set_write_timeout(Some(left()?))?;
                return ask(&stream, host, port, url.path());
            }
            Err(error) => failure = error,
        }
    }
    Err(failure)
}

fn ask(mut stream: &TcpStream, host: &str, port: u16, path: &str) -> io::Result<u16> {
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nhost: {host}:{port}\r\nconnection: close\r\n\r\n"
    )?;
    let mut line = String::new();
    BufReader::new(io::Read::take(stream, LINE)).read_line(&mut line)?;
    let status = line
        .strip_prefix("HTTP/1.1 ")
        .and_then(|rest| rest.get(..3)?.parse().ok());
    status.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "the answer is not HTTP"))
}
