//! Signals between replicas, by notifications of the server.

use std::future::poll_fn;
use std::time::Duration;

use jobs::job::JobId;
use jobs::json::Json;
use jobs::postgres::{Options, PostgresSignals};
use jobs::signals::{Delta, Heard, Signal, Signals, Subscription};
use serde_json::json;
use testing::postgres::{Database, PgBouncer, PoolMode};
use testing::{Fault, FaultProxy};
use tokio::time::{Instant, timeout};
use tokio_postgres::{AsyncMessage, NoTls};
use uuid::Uuid;

use super::options;

/// Far longer than anything here takes.
const LONG: Duration = Duration::from_secs(60);

fn id(number: u128) -> JobId {
    JobId(Uuid::from_u128(number))
}

async fn connected(options: &Options, number: u128) -> PostgresSignals {
    let signals = PostgresSignals::start(options, Uuid::from_u128(number));
    assert!(connects(&signals, LONG).await);
    signals
}

async fn connects(signals: &PostgresSignals, within: Duration) -> bool {
    let begun = Instant::now();
    while signals.reception().is_connected != Some(true) {
        if begun.elapsed() > within {
            return false;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    true
}

async fn next(subscription: &mut Subscription) -> Heard {
    timeout(LONG, subscription.next()).await.expect("it comes")
}

/// Ends the connections that listen.
fn terminate_listeners(database: &Database<'_>) -> i64 {
    database.count(
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity \
         WHERE datname = current_database() AND query ~ 'notify|LISTEN' AND pid <> pg_backend_pid()",
    )
}

#[tokio::test]
async fn what_one_replica_publishes_all_others_hear() {
    let Some(database) = testing::postgres::database() else {
        return;
    };
    let options = options(&database);
    let first = connected(&options, 1).await;
    let (second, third) = (connected(&options, 2).await, connected(&options, 3).await);
    let mut at_first = first.subscribe();
    let delta = Delta {
        job: id(5),
        after: 3,
        data: Json::of(&json!({"event": "llm_delta", "text": "a\u{0}b"})),
    };
    let published = [
        Signal::JobsWaiting,
        Signal::KeysChanged,
        Signal::DeliveriesDue,
        Signal::Cancel(id(1)),
        Signal::Watch(id(2)),
        Signal::GiveBack("key".into()),
        Signal::Delta(delta),
        Signal::Events(id(3)),
        Signal::Ended(id(4)),
    ];
    let mut others = [second.subscribe(), third.subscribe()];
    for signal in &published {
        first.publish(signal.clone());
    }
    for other in &mut others {
        for signal in &published {
            match next(other).await {
                Heard::Signal(heard) => assert_eq!(format!("{heard:?}"), format!("{signal:?}")),
                Heard::Rescan => panic!("nothing was lost"),
            }
        }
    }
    second.publish(Signal::KeysChanged);
    let heard = next(&mut at_first).await;
    assert!(
        matches!(heard, Heard::Signal(Signal::KeysChanged)),
        "its own are not heard: {heard:?}"
    );
}

#[tokio::test]
async fn there_is_one_notification_each_20_ms_at_most_however_much_is_published() {
    let Some(database) = testing::postgres::database() else {
        return;
    };
    let (client, mut connection) = tokio_postgres::connect(&database.url(), NoTls)
        .await
        .unwrap();
    let (heard, mut notifications) = tokio::sync::mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Some(Ok(message)) = poll_fn(|context| connection.poll_message(context)).await {
            if let AsyncMessage::Notification(notification) = message {
                heard.send(notification.payload().to_owned()).unwrap();
            }
        }
    });
    client.batch_execute("LISTEN flowmill").await.unwrap();
    let signals = connected(&options(&database), 1).await;
    let begun = Instant::now();
    for round in 0..100 {
        for number in 0..10 {
            signals.publish(Signal::Ended(id(round * 10 + number)));
            signals.publish(Signal::JobsWaiting);
        }
        tokio::time::sleep(Duration::from_millis(3)).await;
    }
    let (mut sent, mut ids) = (0, 0);
    while ids < 1_000 {
        let payload = timeout(LONG, notifications.recv()).await.unwrap().unwrap();
        assert!(payload.len() < 8_000, "{} bytes", payload.len());
        let payload: serde_json::Value = serde_json::from_str(&payload).unwrap();
        let ended = payload["ended"].as_array().map_or(0, Vec::len);
        assert!(ended <= 100);
        ids += ended;
        sent += 1;
    }
    let most = begun.elapsed().as_millis() / 20 + 2;
    assert!(sent <= most, "{sent} in {:?}", begun.elapsed());
}

/// (Reports: a listener whose connection had ended never came back, or kept a core busy.)
#[tokio::test]
async fn a_listener_that_was_cut_off_comes_back_and_has_its_subscribers_look() {
    let Some(database) = testing::postgres::database() else {
        return;
    };
    let options = options(&database);
    let (first, second) = (connected(&options, 1).await, connected(&options, 2).await);
    let mut at_second = second.subscribe();
    for round in 1..=3 {
        assert_eq!(terminate_listeners(&database), 2);
        // What is published meanwhile is sent later.
        first.publish(Signal::Ended(id(round)));
        // The server ends connections in its own time, so the signal may come before that.
        let (mut has_looked, mut has_heard) = (false, false);
        while !(has_looked && has_heard) {
            match next(&mut at_second).await {
                Heard::Rescan => has_looked = true,
                Heard::Signal(Signal::Ended(ended)) if ended == id(round) => has_heard = true,
                // Of the round before, sent once more than was needed.
                Heard::Signal(Signal::Ended(ended)) if ended < id(round) => {}
                Heard::Signal(other) => panic!("{other:?}"),
            }
            if !has_heard {
                // The second one was not there yet when it was sent.
                first.publish(Signal::Ended(id(round)));
            }
        }
        assert!(connects(&first, LONG).await && connects(&second, LONG).await);
        assert_eq!(second.reception().losses, u64::try_from(round).unwrap());
    }
}

/// (A report: a wake-up vanished in a connection that was dead and that nobody had closed.)
#[tokio::test]
async fn a_connection_that_has_died_silently_is_found_out() {
    let Some(database) = testing::postgres::database() else {
        return;
    };
    let proxy = FaultProxy::in_front_of_postgres(database.server().address());
    let mut through_proxy = options(&database);
    through_proxy.url = database.url_by(proxy.address()).parse().unwrap();
    let signals = connected(&through_proxy, 1).await;
    let mut heard = signals.subscribe();
    proxy.set(Fault::BlackHole);
    let begun = Instant::now();
    while signals.reception().is_connected == Some(true) {
        assert!(begun.elapsed() < Duration::from_secs(25));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    proxy.set(Fault::None);
    assert!(matches!(next(&mut heard).await, Heard::Rescan));
}

/// (A report: a listener within a transaction kept the server from removing dead rows.)
#[tokio::test]
async fn a_listener_is_in_no_transaction() {
    let Some(database) = testing::postgres::database() else {
        return;
    };
    let signals = connected(&options(&database), 1).await;
    signals.publish(Signal::JobsWaiting);
    tokio::time::sleep(Duration::from_millis(100)).await;
    let listeners = "FROM pg_stat_activity WHERE datname = current_database() AND query ~ 'notify' \
                     AND pid <> pg_backend_pid()";
    assert_eq!(database.count(&format!("SELECT count(*) {listeners}")), 1);
    let busy = format!(
        "SELECT count(*) {listeners} AND (state <> 'idle' OR backend_xmin IS NOT NULL OR backend_xid IS NOT NULL)"
    );
    assert_eq!(database.count(&busy), 0);
}

#[tokio::test]
async fn a_pooler_that_passes_no_notifications_on_is_found_out_and_can_be_gone_around() {
    let Some(database) = testing::postgres::database() else {
        return;
    };
    let Some(pooler) = PgBouncer::start(database.server(), PoolMode::Transaction) else {
        return;
    };
    let direct = options(&database);
    let mut through_it = options(&database);
    through_it.url = database.url_by(pooler.address()).parse().unwrap();
    let signals = PostgresSignals::start(&through_it, Uuid::from_u128(1));
    assert!(!connects(&signals, Duration::from_secs(7)).await);
    drop(signals);
    through_it.listen_url = Some(direct.url);
    connected(&through_it, 2).await;
}
