//! API keys: who is let in, for how long, and what becomes of a change.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use jobs::memory::MemoryStore;
use jobs::signals::{InProcess, NoSignals, Signals};
use service::access::{
    Access, ApiKey, Grants, KeyError, KeyIssuer, KeyState, LONGEST_GRACE, ListedKeys, NewKey,
    RELOAD_EVERY, Scope, SecretSource,
};
use service::limits::{Accounts, Limits};
use tokio_util::sync::CancellationToken;

use crate::fixture::TestHost;

/// Each is another one.
#[derive(Debug, Default)]
struct Counting(AtomicU8);

impl SecretSource for Counting {
    fn secret(&self) -> [u8; 32] {
        [self.0.fetch_add(1, Ordering::SeqCst); 32]
    }
}

fn issuer() -> KeyIssuer {
    KeyIssuer {
        store: Arc::new(MemoryStore::default()),
        host: Arc::new(TestHost::new()),
        secrets: Arc::new(Counting::default()),
    }
}

fn new_key() -> NewKey {
    NewKey {
        name: "a key".to_owned(),
        grants: Grants::default(),
        expires_at: None,
    }
}

async fn open_with(issuer: &KeyIssuer, listed: ListedKeys) -> Option<Arc<Access>> {
    let store = Arc::new(MemoryStore::default());
    let accounts = Accounts::open(store, issuer.host.clone(), Limits::default());
    let accounts = Arc::new(accounts.await.unwrap());
    let access = Access::open(issuer.clone(), listed, accounts);
    access.await.unwrap().map(Arc::new)
}

async fn open(issuer: &KeyIssuer) -> Arc<Access> {
    open_with(issuer, ListedKeys::default())
        .await
        .expect("there are keys")
}

/// Access with one key.
async fn with_a_key() -> (Arc<Access>, ApiKey, String) {
    let issuer = issuer();
    let made = issuer.create(new_key()).await.unwrap();
    (open(&issuer).await, made.key, made.view.id.to_string())
}

fn lets_in(access: &Access, key: &ApiKey) -> bool {
    access.identify(key.reveal()).is_some()
}

#[tokio::test(start_paused = true)]
async fn without_any_key_nobody_needs_one() {
    let opened = open_with(&issuer(), ListedKeys::default()).await;
    assert!(opened.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_good_key_lets_in_and_a_wrong_one_does_not() {
    let (access, key, id) = with_a_key().await;
    let identity = access.identify(key.reveal()).expect("it is good");
    assert_eq!(&*identity.id, id);
    assert!(identity.allows(Scope::Run) && !identity.allows(Scope::Admin));
    let good = key.reveal();
    for wrong in [
        "",
        "fm_",
        &good[..good.len() - 1],
        &format!("{good}A"),
        &good.replace("fm_", "fm_x"),
        &good.to_uppercase(),
        &format!("fm_{id}_"),
        &"x".repeat(10_000),
    ] {
        assert!(access.identify(wrong).is_none(), "{wrong}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_holds_nothing_that_lets_in() {
    let issuer = issuer();
    let made = issuer.create(new_key()).await.unwrap();
    let stored = issuer.store.keys().await.unwrap();
    let secret = made.key.reveal().rsplit_once('_').unwrap().1;
    let shown = format!("{stored:?} {made:?} {:?}", issuer.list().await.unwrap());
    assert!(!shown.contains(secret), "{shown}");
    let record = &stored.records[0];
    assert!(
        !secret
            .as_bytes()
            .windows(32)
            .any(|part| part == record.hash.reveal())
    );
    assert!(shown.contains(&*record.id), "{shown}");
}

#[tokio::test(start_paused = true)]
async fn a_key_expires_at_its_time() {
    let issuer = issuer();
    let end = issuer.host.now() + Duration::from_secs(100);
    let made = issuer
        .create(NewKey {
            expires_at: Some(end),
            ..new_key()
        })
        .await
        .unwrap();
    let access = open(&issuer).await;
    tokio::time::advance(Duration::from_secs(99)).await;
    assert!(lets_in(&access, &made.key));
    tokio::time::advance(Duration::from_secs(1)).await;
    assert!(!lets_in(&access, &made.key));
    assert_eq!(access.list().await.unwrap()[0].state, KeyState::Expired);
    let rotated = access.rotate(&made.view.id, Duration::ZERO).await;
    assert!(matches!(rotated, Err(KeyError::Expired)), "{rotated:?}");
}

#[tokio::test(start_paused = true)]
async fn a_rotated_key_takes_its_old_secret_for_the_grace_only() {
    let (access, first, id) = with_a_key().await;
    let second = access
        .rotate(&id, Duration::from_mins(1))
        .await
        .unwrap()
        .key;
    assert!(lets_in(&access, &first) && lets_in(&access, &second));
    tokio::time::advance(Duration::from_mins(1)).await;
    assert!(!lets_in(&access, &first) && lets_in(&access, &second));
    let too_long = access
        .rotate(&id, LONGEST_GRACE + Duration::from_secs(1))
        .await;
    assert!(
        matches!(too_long, Err(KeyError::Invalid(_))),
        "{too_long:?}"
    );
    let third = access.rotate(&id, Duration::ZERO).await.unwrap().key;
    assert!(!lets_in(&access, &second) && lets_in(&access, &third));
    assert_eq!(access.list().await.unwrap().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_revoked_key_is_out_at_once_and_access_stays_closed() {
    let (access, key, id) = with_a_key().await;
    let view = access.revoke(&id).await.unwrap();
    assert_eq!(view.state, KeyState::Revoked);
    assert!(!lets_in(&access, &key));
    assert!(matches!(access.revoke(&id).await, Err(KeyError::Revoked)));
    let rotated = access.rotate(&id, Duration::ZERO).await;
    assert!(matches!(rotated, Err(KeyError::Revoked)), "{rotated:?}");
    assert!(matches!(
        access.revoke("none").await,
        Err(KeyError::NotFound)
    ));
    // A server that is started now still wants a key.
    let access = open(access.issuer()).await;
    assert!(!lets_in(&access, &key));
}

#[tokio::test(start_paused = true)]
async fn a_key_that_is_made_while_it_is_open_lets_in_at_once() {
    let (access, ..) = with_a_key().await;
    let made = access.create(new_key()).await.unwrap();
    assert!(lets_in(&access, &made.key));
}

#[tokio::test(start_paused = true)]
async fn what_makes_no_sense_is_refused() {
    let issuer = issuer();
    let past = issuer.host.now();
    let unfit = [
        NewKey {
            name: " ".to_owned(),
            ..new_key()
        },
        NewKey {
            name: "a\nb".to_owned(),
            ..new_key()
        },
        NewKey {
            name: "x".repeat(101),
            ..new_key()
        },
        NewKey {
            expires_at: Some(past),
            ..new_key()
        },
        NewKey {
            grants: Grants {
                scopes: [].into(),
                ..Grants::default()
            },
            ..new_key()
        },
    ];
    for new in unfit {
        let refused = issuer.create(new).await;
        assert!(matches!(refused, Err(KeyError::Invalid(_))), "{refused:?}");
    }
    assert!(issuer.list().await.unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn another_process_is_heard_within_the_reload() {
    let (access, key, id) = with_a_key().await;
    let access = Arc::new(access);
    let issuer = access.issuer().clone();
    let stop = CancellationToken::new();
    let keeping = tokio::spawn({
        let (access, stop) = (access.clone(), stop.clone());
        async move { access.keep(stop).await }
    });
    issuer.revoke(&id).await.unwrap();
    assert!(lets_in(&access, &key), "nothing is read on the way in");
    tokio::time::sleep(RELOAD_EVERY + Duration::from_millis(1)).await;
    assert!(!lets_in(&access, &key));
    stop.cancel();
    keeping.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn uses_are_shown_at_once_and_written_down_at_the_end() {
    let (access, key, _) = with_a_key().await;
    let stored = async || access.issuer().list().await.unwrap()[0].last_used_at;
    assert_eq!(access.list().await.unwrap()[0].last_used_at, None);
    lets_in(&access, &key);
    let now = access.issuer().host.now();
    assert_eq!(access.list().await.unwrap()[0].last_used_at, Some(now));
    assert_eq!(stored().await, None);
    let stop = CancellationToken::new();
    stop.cancel();
    access.keep(stop).await;
    assert_eq!(stored().await, Some(now));
}

#[tokio::test(start_paused = true)]
async fn a_list_lets_in_without_a_word_to_the_store() {
    let issuer = issuer();
    let key = format!("fm_ci_{}", "a1".repeat(16));
    let listed: ListedKeys = format!("{key}:run").parse().unwrap();
    let access = open_with(&issuer, listed).await.expect("there are keys");
    let identity = access.identify(&key).expect("it is good");
    assert!(identity.allows(Scope::Run) && !identity.allows(Scope::Read));
    assert!(access.identify(&format!("{key}1")).is_none());
    let stored = issuer.store.keys().await.unwrap();
    assert!(stored.hashing_key.is_none() && stored.records.is_empty());
    for refused in [
        access.rotate("ci", Duration::ZERO).await.map(drop),
        access.revoke("ci").await.map(drop),
    ] {
        assert!(matches!(refused, Err(KeyError::Listed)), "{refused:?}");
    }
    // The first key of the store decides what hashes are keyed with; the list is good all the same.
    let made = access.create(new_key()).await.unwrap();
    assert!(lets_in(&access, &made.key));
    assert!(access.identify(&key).is_some());
    assert_eq!(access.list().await.unwrap().len(), 2);
}

/// The keys of a store that other processes use, too.
async fn open_shared(issuer: &KeyIssuer) -> Arc<Access> {
    let store = Arc::new(MemoryStore::default());
    let accounts = Accounts::open_shared(store, issuer.host.clone(), Limits::default());
    let accounts = Arc::new(accounts.await.unwrap());
    let access = Access::open_shared(issuer.clone(), ListedKeys::default(), accounts);
    let access = Arc::new(access.await.unwrap());
    let keeping = access.clone();
    tokio::spawn(async move { keeping.keep(CancellationToken::new()).await });
    access
}

#[tokio::test(start_paused = true)]
async fn the_first_key_that_another_process_creates_closes_a_server_that_was_open() {
    let issuer = issuer();
    let access = open_shared(&issuer).await;
    assert!(!access.is_in_use());
    let made = issuer.create(new_key()).await.unwrap();
    tokio::time::sleep(RELOAD_EVERY + Duration::from_secs(1)).await;
    assert!(access.is_in_use() && lets_in(&access, &made.key));
    assert!(access.identify("fm_a_b").is_none());
    // It stays closed when its only key is worthless again.
    issuer.revoke(&made.view.id).await.unwrap();
    tokio::time::sleep(RELOAD_EVERY + Duration::from_secs(1)).await;
    assert!(access.is_in_use() && !lets_in(&access, &made.key));
}

#[tokio::test(start_paused = true)]
async fn what_one_process_does_with_keys_takes_effect_at_all_within_seconds() {
    let issuer = issuer();
    let made = issuer.create(new_key()).await.unwrap();
    let (here, there) = (open_shared(&issuer).await, open_shared(&issuer).await);
    let reloaded = RELOAD_EVERY + Duration::from_secs(1);
    let second = here.create(new_key()).await.unwrap();
    assert!(lets_in(&here, &second.key) && !lets_in(&there, &second.key));
    tokio::time::sleep(reloaded).await;
    assert!(lets_in(&there, &second.key));
    let rotated = there.rotate(&made.view.id, Duration::ZERO).await.unwrap();
    here.revoke(&second.view.id).await.unwrap();
    tokio::time::sleep(reloaded).await;
    for access in [&here, &there] {
        assert!(lets_in(access, &rotated.key));
        assert!(!lets_in(access, &made.key) && !lets_in(access, &second.key));
    }
}

#[tokio::test(start_paused = true)]
async fn a_key_that_was_revoked_at_another_replica_is_refused_as_soon_as_the_signal_comes() {
    for (has_signals, most) in [(true, Duration::from_millis(50)), (false, RELOAD_EVERY)] {
        let issuer = issuer();
        let made = issuer.create(new_key()).await.unwrap();
        let all = InProcess::default();
        let signals = || -> Arc<dyn Signals> {
            if has_signals {
                Arc::new(all.join())
            } else {
                Arc::new(NoSignals)
            }
        };
        let [first, second] = [open(&issuer).await, open(&issuer).await]
            .map(|access| Arc::into_inner(access).unwrap().signalling(signals()))
            .map(Arc::new);
        let stop = CancellationToken::new();
        let keeping = tokio::spawn({
            let (second, stop) = (second.clone(), stop.clone());
            async move { second.keep(stop).await }
        });
        tokio::time::sleep(Duration::from_secs(1)).await;
        let begun = tokio::time::Instant::now();
        first.revoke(&made.view.id).await.unwrap();
        while lets_in(&second, &made.key) {
            tokio::time::sleep(Duration::from_millis(10)).await;
            assert!(begun.elapsed() <= most, "{:?}", begun.elapsed());
        }
        stop.cancel();
        keeping.await.unwrap();
    }
}
