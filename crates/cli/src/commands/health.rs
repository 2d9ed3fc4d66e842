//! `flowmill health`: tells whether a server accepts requests. Container health checks run it.

use std::path::PathBuf;
use std::time::Duration;

use reqwest::Url;
use rustls::ClientConfig;

use super::context::Context;
use crate::config::units::PositiveDuration;
use crate::config::{addresses, serve};
use crate::failure::{Exit, Failure, Result};
use crate::{assemble, health, printer};

/// Tell whether a server accepts requests; for health checks
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Exits with 0 if it does, and with 1 if it cannot be reached, is draining, or its job store fails."
)]
pub(super) struct Args {
    /// Address of the server, http://HOST:PORT or https://HOST:PORT [default: port 8000 of this
    /// machine]
    #[arg(long, value_name = "URL", env = "FLOWMILL_SERVER")]
    url: Option<String>,

    /// Its port on this machine [default: the variable PORT, else 8000]
    #[arg(short, long, value_name = "PORT", env = "FLOWMILL_PORT", value_parser = addresses::port)]
    port: Option<u16>,

    /// Certificates to trust besides the built-in roots (PEM), for an https address
    #[arg(long, value_name = "FILE", env = "FLOWMILL_CA")]
    ca: Option<PathBuf>,

    /// Use HTTPS for the server on this machine, which serves this certificate. The certificate is
    /// not checked: it is for the server's public name
    #[arg(long, value_name = "FILE", env = "FLOWMILL_TLS_CERT")]
    tls_cert: Option<PathBuf>,

    /// Check only whether the process is alive, not whether it accepts requests
    #[arg(long)]
    live: bool,

    /// Longest time to wait for the response
    #[arg(long, value_name = "TIME", default_value = "3s")]
    timeout: PositiveDuration,
}

pub(super) fn health(args: &Args, context: &Context) -> Result<Exit> {
    // A flag has precedence over a variable, whichever of the two options it is.
    let named = args
        .url
        .as_deref()
        .filter(|_| !context.is_flag("port") || context.is_flag("url"));
    let url = match named {
        Some(text) => Url::parse(text)
            .ok()
            .filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
            .ok_or_else(|| {
                Failure::usage(format!(
                    "`{text}` is not the address of a server; write one such as http://127.0.0.1:8000"
                ))
            })?,
        None => local(args, &context.project.serve)?,
    };
    let tls = match url.scheme() {
        "https" => Some(assemble::tls(args.ca.as_deref())?),
        _ => None,
    };
    let tls = match named {
        Some(_) => tls,
        None => tls.map(health::accept_any_certificate),
    };
    let path = if args.live {
        "/health/live"
    } else {
        "/health/ready"
    };
    let url = url
        .join(path)
        .expect("a path joins any address with a host");
    ask(&url, tls, args.timeout.0)?;
    printer::data("healthy")?;
    Ok(Exit::Success)
}

/// The address of the server on this machine, as `flowmill serve` chooses it.
fn local(args: &Args, file: &serve::Options) -> Result<Url> {
    let port = match args.port.or(file.port) {
        Some(port) => port,
        None => serve::platform_port()?.unwrap_or(serve::DEFAULT_PORT),
    };
    let scheme = match args.tls_cert.as_ref().or(file.tls_cert.as_ref()) {
        Some(_) => "https",
        None => "http",
    };
    Ok(Url::parse(&format!("{scheme}://127.0.0.1:{port}")).expect("an address and a port"))
}

fn ask(url: &Url, tls: Option<ClientConfig>, timeout: Duration) -> Result<()> {
    match health::status(url, tls, timeout) {
        Ok(200) => Ok(()),
        Ok(status) => Err(Failure::new(
            Exit::Failed,
            format!("{url} answers {status}: it is draining, or its job store fails"),
        )),
        Err(error) => Err(Failure::new(
            Exit::Failed,
            format!("{url} does not answer: {error}"),
        )),
    }
}
