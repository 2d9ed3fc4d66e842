//! API keys: found as they were given, changed whole, revoked for ever.

use jobs::json::Json;
use jobs::key::{Changed, KeyChange, KeyRecord, KeyStore, Previous};
use serde_json::json;

use crate::fixtures::at;

fn key(id: &str, secret: u8) -> KeyRecord {
    KeyRecord {
        id: id.into(),
        name: format!("key {id}").into(),
        grants: Json::of(&json!({"scopes": ["run"]})),
        hash: [secret; 32].into(),
        previous: None,
        created_at: at(1),
        expires_at: Some(at(100)),
        revoked_at: None,
        last_used_at: None,
    }
}

async fn only(store: &dyn KeyStore) -> KeyRecord {
    let mut records = store.keys().await.unwrap().records;
    assert_eq!(records.len(), 1);
    records.remove(0)
}

async fn rotate(store: &dyn KeyStore, secret: u8, until: Option<i64>) -> KeyRecord {
    let change = KeyChange::Rotate {
        hash: [secret; 32].into(),
        previous_until: until.map(at),
    };
    match store.change_key("a", change).await.unwrap() {
        Changed::Done(key) => *key,
        other => panic!("{other:?}"),
    }
}

/// The first byte of each secret that is there.
fn secrets(key: &KeyRecord) -> (u8, Option<u8>) {
    let previous = key.previous.as_ref();
    (
        key.hash.reveal()[0],
        previous.map(|previous| previous.hash.reveal()[31]),
    )
}

pub(crate) async fn hashes_are_keyed_with_the_same_for_ever(store: &dyn KeyStore) {
    assert!(store.keys().await.unwrap().hashing_key.is_none());
    let first = store.hashing_key([1; 32].into()).await.unwrap();
    let second = store.hashing_key([2; 32].into()).await.unwrap();
    let found = store.keys().await.unwrap().hashing_key.unwrap();
    for key in [first, second, found] {
        assert_eq!(key.reveal(), &[1; 32]);
    }
}

pub(crate) async fn a_key_is_read_back_as_it_was_given(store: &dyn KeyStore) {
    let given = KeyRecord {
        previous: Some(Previous {
            hash: [8; 32].into(),
            until: at(7),
        }),
        revoked_at: Some(at(5)),
        last_used_at: Some(at(6)),
        ..key("a", 9)
    };
    assert!(store.add_key(given.clone()).await.unwrap());
    let found = only(store).await;
    assert_eq!(format!("{found:?}"), format!("{given:?}"));
    assert_eq!(secrets(&found), (9, Some(8)));
    let bare = KeyRecord {
        expires_at: None,
        ..key("b", 1)
    };
    assert!(store.add_key(bare.clone()).await.unwrap());
    let records = store.keys().await.unwrap().records;
    assert_eq!(format!("{:?}", records[1]), format!("{bare:?}"));
}

pub(crate) async fn an_id_is_given_once(store: &dyn KeyStore) {
    assert!(store.add_key(key("a", 1)).await.unwrap());
    assert!(!store.add_key(key("a", 2)).await.unwrap());
    assert_eq!(secrets(&only(store).await), (1, None));
}

pub(crate) async fn a_rotated_key_keeps_its_old_secret_as_long_as_it_is_told(store: &dyn KeyStore) {
    store.add_key(key("a", 1)).await.unwrap();
    let rotated = rotate(store, 2, Some(50)).await;
    assert_eq!(secrets(&rotated), (2, Some(1)));
    assert_eq!(
        rotated.previous.map(|previous| previous.until),
        Some(at(50))
    );
    // The one before the last is not good any more, and neither is one without grace.
    assert_eq!(secrets(&rotate(store, 3, Some(60)).await), (3, Some(2)));
    assert_eq!(secrets(&rotate(store, 4, None).await), (4, None));
    let found = only(store).await;
    assert_eq!(secrets(&found), (4, None));
    assert_eq!((found.created_at, found.expires_at), (at(1), Some(at(100))));
}

pub(crate) async fn a_key_added_again_is_the_same_key(store: &dyn KeyStore) {
    for _ in 0..2 {
        assert!(store.add_key(key("a", 1)).await.unwrap());
    }
    assert_eq!(secrets(&only(store).await), (1, None));
}

pub(crate) async fn a_rotation_repeated_keeps_the_secret_before(store: &dyn KeyStore) {
    store.add_key(key("a", 1)).await.unwrap();
    for _ in 0..2 {
        let rotated = rotate(store, 2, Some(50)).await;
        assert_eq!(secrets(&rotated), (2, Some(1)));
    }
    assert_eq!(secrets(&only(store).await), (2, Some(1)));
}

pub(crate) async fn a_revoked_key_stays_revoked(store: &dyn KeyStore) {
    store.add_key(key("a", 1)).await.unwrap();
    let revoked = store.change_key("a", KeyChange::Revoke { at: at(5) }).await;
    let Changed::Done(revoked) = revoked.unwrap() else {
        panic!("it was not revoked")
    };
    assert_eq!(revoked.revoked_at, Some(at(5)));
    let changes = [
        KeyChange::Revoke { at: at(9) },
        KeyChange::Rotate {
            hash: [2; 32].into(),
            previous_until: None,
        },
    ];
    for change in changes {
        let outcome = store.change_key("a", change).await.unwrap();
        assert!(matches!(outcome, Changed::Revoked), "{outcome:?}");
    }
    let found = only(store).await;
    assert_eq!(
        (secrets(&found), found.revoked_at),
        ((1, None), Some(at(5)))
    );
}

pub(crate) async fn a_key_that_is_not_there_is_not_found(store: &dyn KeyStore) {
    let changed = store.change_key("a", KeyChange::Revoke { at: at(5) }).await;
    assert!(matches!(changed.unwrap(), Changed::NotFound));
    store.keys_used(vec![("a".into(), at(5))]).await.unwrap();
    assert!(store.keys().await.unwrap().records.is_empty());
}

pub(crate) async fn the_last_use_never_goes_back(store: &dyn KeyStore) {
    store.add_key(key("a", 1)).await.unwrap();
    for (used, last) in [(20, 20), (10, 20), (30, 30)] {
        let uses = vec![("b".into(), at(99)), ("a".into(), at(used))];
        store.keys_used(uses).await.unwrap();
        assert_eq!(only(store).await.last_used_at, Some(at(last)));
    }
}
