//! Connections and servers that fail.

use std::time::{Duration, Instant};

use jobs::job::Status;
use jobs::postgres::PostgresStore;
use jobs::store::{CancelRequested, Error, JobStore as _, SubmitOptions, Submitted};
use testing::postgres::{self, Server};
use testing::{Fault, FaultProxy, ServerReply, Which};

use super::{Options, fresh, options_of};
use crate::fixtures::{claiming, completed, event, id, keyed, new_job, progress, replica, start};

/// (A report: a job was stranded when the database was restarted between two steps of it.)
#[tokio::test]
async fn a_job_goes_on_though_all_connections_are_ended_between_its_steps() {
    let Some((store, database)) = fresh().await else {
        return;
    };
    let lease = start(&store, new_job(1)).await.lease;
    database.terminate_backends();
    store
        .checkpoint(&lease, Some(progress(1)), vec![event(1)])
        .await
        .unwrap();
    database.terminate_backends();
    assert_eq!(
        store.get(id(1)).await.unwrap().unwrap().status,
        Status::Running
    );
    database.terminate_backends();
    let cancel = store.request_cancel(id(1), new_job(1).created_at).await;
    assert_eq!(cancel.unwrap(), CancelRequested::Cancelling);
    database.terminate_backends();
    store
        .finish(&lease, completed(9), vec![event(2)])
        .await
        .unwrap();
    database.terminate_backends();
    assert_eq!(
        store.events(id(1), 0, 9).await.unwrap(),
        [event(1), event(2)]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_goes_on_while_all_connections_are_ended_again_and_again() {
    let Some((store, database)) = fresh().await else {
        return;
    };
    let runs = (0..200_u32).map(|number| {
        let (store, database) = (&store, &database);
        async move {
            let lease = start(store, new_job(number)).await.lease;
            if number % 20 == 7 {
                // While the verbs of the others are under way.
                tokio::task::block_in_place(|| database.terminate_backends());
            }
            store
                .checkpoint(&lease, None, vec![event(1)])
                .await
                .unwrap();
            store
                .finish(&lease, completed(9), vec![event(2)])
                .await
                .unwrap();
        }
    });
    futures_util::future::join_all(runs).await;
    assert_eq!(
        database.count("SELECT count(*) FROM flowmill.jobs WHERE status = 3"),
        200
    );
    assert_eq!(database.count("SELECT count(*) FROM flowmill.events"), 400);
    assert_eq!(store.counts().await.unwrap().ended, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn verbs_wait_for_a_server_that_crashed_and_comes_back() {
    let Some(server) = Server::start(postgres::Options::default()) else {
        return;
    };
    let database = server.database();
    let store = PostgresStore::open(&options_of(&database.url()))
        .await
        .unwrap();
    let lease = start(&store, new_job(1)).await.lease;
    store
        .checkpoint(&lease, Some(progress(1)), Vec::new())
        .await
        .unwrap();
    server.stop_immediate();
    let (finished, found, ()) = tokio::join!(
        store.finish(&lease, completed(9), vec![event(1)]),
        store.get(id(1)),
        async { tokio::task::block_in_place(|| server.start_again()) },
    );
    assert_eq!(finished.unwrap().status, Status::Completed);
    assert!(found.unwrap().is_some());
    assert_eq!(
        store.workload(id(1)).await.unwrap().unwrap().progress,
        Some(progress(1))
    );
    store.ping().await.unwrap();

    // It stays away.
    server.stop_immediate();
    let impatient = Options {
        verb_timeout: Duration::from_millis(300),
        ..options_of(&database.url())
    };
    assert!(PostgresStore::open(&impatient).await.is_err());
    server.start_again();
    let store = PostgresStore::open(&impatient).await.unwrap();
    server.stop_immediate();
    for outcome in [
        store.ping().await,
        store.get(id(1)).await.map(drop),
        store
            .finish(&lease, completed(9), Vec::new())
            .await
            .map(drop),
    ] {
        assert!(matches!(outcome, Err(Error::Unavailable(_))), "{outcome:?}");
    }
}

/// A store behind a proxy, with verbs that give up soon.
async fn behind(
    proxy: &FaultProxy,
    database: &postgres::Database<'_>,
    verb_timeout: Duration,
) -> PostgresStore {
    let options = Options {
        verb_timeout,
        ..options_of(&database.url_by(proxy.address()))
    };
    PostgresStore::open(&options).await.unwrap()
}

#[tokio::test]
async fn a_connection_that_hangs_is_dropped_and_the_next_verb_has_another() {
    let Some(database) = postgres::database() else {
        return;
    };
    let proxy = FaultProxy::in_front_of_postgres(database.server().address());
    let store = behind(&proxy, &database, Duration::from_secs(1)).await;
    let lease = start(&store, new_job(1)).await.lease;
    store.get(id(1)).await.unwrap();
    proxy.set(Fault::BlackHole);
    let begun = Instant::now();
    let (saved, found) = tokio::join!(
        store.checkpoint(&lease, None, vec![event(1)]),
        store.get(id(1))
    );
    assert!(matches!(saved, Err(Error::Unavailable(_))), "{saved:?}");
    assert!(matches!(found, Err(Error::Unavailable(_))), "{found:?}");
    assert!(begun.elapsed() < Duration::from_secs(5));
    proxy.set(Fault::None);
    store
        .checkpoint(&lease, None, vec![event(1)])
        .await
        .unwrap();
    store.get(id(1)).await.unwrap();
}

/// (Reports: an answer was lost after the commit; the repeated call counted, stored or ended twice, or
/// was told that its lease was lost.)
#[tokio::test]
async fn an_answer_that_is_lost_after_the_commit_changes_no_outcome() {
    let Some(database) = postgres::database() else {
        return;
    };
    let proxy = FaultProxy::in_front_of_postgres(database.server().address());
    let store = behind(&proxy, &database, Duration::from_secs(10)).await;
    let lose_commit = || {
        let reply = ServerReply::CommandComplete("COMMIT".to_owned());
        proxy.set(Fault::CutBefore(reply, Which::Next));
    };
    let by = replica("r").id;

    lose_commit();
    let stored = store
        .submit(keyed(1, "s", "k", "f"), claiming(by))
        .await
        .unwrap();
    let Submitted::New(Some(claimed)) = stored else {
        panic!("{stored:?}")
    };
    assert_eq!(proxy.cuts(), 1);
    lose_commit();
    let again = store
        .submit(keyed(2, "s", "k", "f"), SubmitOptions::default())
        .await;
    assert!(matches!(again.unwrap(), Submitted::Existing(job) if job.id == id(1)));
    lose_commit();
    let events = vec![event(1), event(2)];
    store
        .checkpoint(&claimed.lease, Some(progress(1)), events)
        .await
        .unwrap();
    lose_commit();
    let ended = store
        .finish(&claimed.lease, completed(9), vec![event(3)])
        .await
        .unwrap();
    assert_eq!(ended.status, Status::Completed);
    lose_commit();
    let at_once = store
        .submit_ended(new_job(3), by, completed(9), vec![event(1)])
        .await
        .unwrap();
    assert_eq!(at_once.status, Status::Completed);
    proxy.set(Fault::None);

    assert_eq!(store.get(id(1)).await.unwrap(), Some(ended));
    assert_eq!(store.get(id(3)).await.unwrap(), Some(at_once));
    assert_eq!(
        store.events(id(1), 0, 9).await.unwrap(),
        [1, 2, 3].map(event)
    );
    let counts = store.counts().await.unwrap();
    assert_eq!((counts.ended, counts.running, counts.pending), (2, 0, 0));
}
