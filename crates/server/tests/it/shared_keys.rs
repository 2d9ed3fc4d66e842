//! Keys of a store that several servers share.

use std::num::NonZeroU32;
use std::sync::Arc;

use jobs::memory::MemoryStore;
use service::access::{Access, Grants, IssuedKey, KeyIssuer, ListedKeys, NewKey};
use service::limits::{Accounts, Limits};

use crate::access::Counting;
use crate::client::{Answer, Call};
use crate::machine::Machine;
use crate::models::Part;
use crate::server::{ECHO, Server};

/// A server without a key so far, and what creates one.
async fn start() -> (Server, Arc<Access>) {
    let store = Arc::new(MemoryStore::default());
    let issuer = KeyIssuer {
        store: store.clone(),
        host: Arc::new(Machine::new()),
        secrets: Arc::new(Counting::default()),
    };
    let accounts = Accounts::open_shared(store, issuer.host.clone(), Limits::default());
    let accounts = Arc::new(accounts.await.unwrap());
    let access = Access::open_shared(issuer, ListedKeys::default(), accounts);
    let access = Arc::new(access.await.unwrap());
    let server = Server::guarded_by(
        Part::Echo,
        &[ECHO],
        server::Settings::default(),
        service::Settings::default(),
        Some(access.clone()),
    );
    (server, access)
}

async fn create(access: &Arc<Access>, limits: Limits) -> IssuedKey {
    let grants = Grants {
        limits,
        ..Grants::default()
    };
    let new = NewKey {
        name: "a key".to_owned(),
        grants,
        expires_at: None,
    };
    access.create(new).await.unwrap()
}

async fn ask(server: &Server, key: Option<&IssuedKey>) -> Answer {
    let call = Call::get("/workflows");
    server
        .send(match key {
            Some(made) => call.header("X-API-Key", made.key.reveal()),
            None => call,
        })
        .await
}

#[tokio::test]
async fn a_server_is_open_until_the_first_key_is_created() {
    let (server, access) = start().await;
    assert_eq!(ask(&server, None).await.status, 200);
    let made = create(&access, Limits::default()).await;
    assert_eq!(ask(&server, None).await.status, 401);
    assert_eq!(ask(&server, Some(&made)).await.status, 200);
    access.revoke(&made.view.id).await.unwrap();
    assert_eq!(ask(&server, Some(&made)).await.status, 401);
    assert_eq!(ask(&server, None).await.status, 401);
}

#[tokio::test]
async fn requests_that_the_store_counts_are_told_and_refused_like_others() {
    let (server, access) = start().await;
    let limits = Limits {
        requests_per_minute: NonZeroU32::new(3),
        ..Limits::default()
    };
    let made = create(&access, limits).await;
    for left in ["r=2", "r=1", "r=0"] {
        let answer = ask(&server, Some(&made)).await;
        assert_eq!(answer.status, 200);
        assert_eq!(answer.headers("ratelimit-policy"), ["\"default\";q=3;w=60"]);
        let state = answer.headers("ratelimit").join(", ");
        assert!(state.contains(left), "{state}");
    }
    for _ in 0..3 {
        let refused = ask(&server, Some(&made)).await;
        assert_eq!(refused.status, 429);
        assert_eq!(refused.json()["code"], "rate_limited");
    }
    let other = create(&access, Limits::default()).await;
    assert_eq!(ask(&server, Some(&other)).await.status, 200);
}
