//! Whom the server in the container lets in: callers with a key from its list, or everyone if only
//! this machine can reach it.

use ::deploy::plan::Access;
use ::deploy::variables::API_KEYS;
use service::access::ListedKeys;

use super::options::{Args, Target, host};
use super::secrets::Secrets;
use crate::failure::{Failure, Result};

/// Refuses a list of keys that the server would refuse, and a server without keys that others can
/// reach.
pub(super) fn check(args: &Args, secrets: &Secrets) -> Result<()> {
    if let Some(list) = secrets.get(API_KEYS) {
        // The error does not repeat the list.
        let keys: Result<ListedKeys, _> = list.reveal().parse();
        keys.map_err(|unfit| Failure::usage(format!("{API_KEYS}: {unfit}")))?;
        return Ok(());
    }
    if args.insecure || args.generate {
        return Ok(());
    }
    let who = match args.target {
        // The cluster's own secret is not visible from here.
        Target::Kubernetes if args.no_env_file => return Ok(()),
        Target::Kubernetes => "everyone in the cluster can reach the server".to_owned(),
        Target::Docker | Target::Compose if host(args).is_loopback() => return Ok(()),
        Target::Docker | Target::Compose => format!("other machines can reach {}", host(args)),
    };
    Err(Failure::usage(format!(
        "{who}, and no API keys are set up: anyone could run workflows at your expense"
    ))
    .hint(format!(
        "put {API_KEYS}=fm_NAME_SECRET into .env, where SECRET is the output of `openssl rand -hex 32`; \
         or add --insecure if something else protects the port"
    )))
}

/// Access to the server on this machine, and in a cluster.
pub(super) fn of(args: &Args, secrets: &Secrets) -> (Access, Access) {
    let has_keys = secrets.get(API_KEYS).is_some();
    let in_cluster = if args.insecure && !has_keys {
        Access::Open
    } else {
        Access::Keys
    };
    let here = if args.target == Target::Docker || args.target == Target::Compose {
        if !has_keys && (args.insecure || host(args).is_loopback()) {
            Access::Open
        } else {
            Access::Keys
        }
    } else {
        in_cluster
    };
    (here, in_cluster)
}
