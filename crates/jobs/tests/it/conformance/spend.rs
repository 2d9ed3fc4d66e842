//! What API keys have spent: added up by key and day, however many tell of it.

use std::sync::Arc;

use jobs::spend::{BatchNumber, Day, KeyDay, SpendStore, Spent};
use tokio::task::JoinSet;

use crate::fixtures::replica;

fn spent(runs: u64) -> Spent {
    Spent {
        requests: 10 * runs,
        runs,
        model_calls: 2 * runs,
        input_tokens: 100 * runs,
        output_tokens: 7 * runs,
        cost_nano_usd: 5_000_000_000 * runs,
    }
}

fn on(key: &str, day: i64, runs: u64) -> KeyDay {
    KeyDay {
        key: key.into(),
        day: Day(day),
        spent: spent(runs),
    }
}

/// That batch of that writer.
fn batch(writer: &str, number: u64) -> BatchNumber {
    BatchNumber {
        writer: replica(writer).id,
        number,
    }
}

pub(crate) async fn what_is_spent_adds_up_by_key_and_day(store: &dyn SpendStore) {
    let more = vec![on("a", 5, 1), on("b", 5, 2), on("a", 6, 3)];
    let sums = store.spend(batch("w", 1), more).await.unwrap();
    assert_eq!(sums, [spent(1), spent(2), spent(3)]);
    let more = vec![on("a", 6, 4), on("a", 5, 1), on("c", 6, 0)];
    let sums = store.spend(batch("w", 2), more).await.unwrap();
    assert_eq!(sums, [spent(7), spent(2), spent(0)]);
}

pub(crate) async fn sums_are_read_from_a_day_on_of_one_key_or_all(store: &dyn SpendStore) {
    assert!(store.spent(None, Day(0)).await.unwrap().is_empty());
    let more = vec![on("b", 6, 2), on("a", 7, 3), on("a", 6, 1), on("a", 4, 9)];
    store.spend(batch("w", 1), more).await.unwrap();
    let all = store.spent(None, Day(5)).await.unwrap();
    assert_eq!(all, [on("a", 6, 1), on("b", 6, 2), on("a", 7, 3)]);
    let one = store.spent(Some("a"), Day(4)).await.unwrap();
    assert_eq!(one, [on("a", 4, 9), on("a", 6, 1), on("a", 7, 3)]);
    assert!(store.spent(Some("x"), Day(0)).await.unwrap().is_empty());
}

pub(crate) async fn old_days_are_forgotten(store: &dyn SpendStore) {
    store
        .spend(
            batch("w", 1),
            vec![on("a", 4, 1), on("a", 5, 2), on("b", 6, 3)],
        )
        .await
        .unwrap();
    store.forget_spent(Day(5)).await.unwrap();
    let left = store.spent(None, Day(0)).await.unwrap();
    assert_eq!(left, [on("a", 5, 2), on("b", 6, 3)]);
}

/// (A report: increments that were retried after a timeout inflated the counters.)
pub(crate) async fn a_batch_repeated_is_added_once(store: &dyn SpendStore) {
    let more = || vec![on("a", 5, 1), on("b", 5, 2)];
    for _ in 0..3 {
        let sums = store.spend(batch("w", 7), more()).await.unwrap();
        assert_eq!(sums, [spent(1), spent(2)]);
    }
    // One that was overtaken by the next adds nothing either.
    let sums = store.spend(batch("w", 8), more()).await.unwrap();
    assert_eq!(sums, [spent(2), spent(4)]);
    let sums = store.spend(batch("w", 7), more()).await.unwrap();
    assert_eq!(sums, [spent(2), spent(4)]);
    // Numbers are those of one writer.
    let sums = store.spend(batch("x", 7), more()).await.unwrap();
    assert_eq!(sums, [spent(3), spent(6)]);
    // A batch that is new can follow one that was repeated.
    let more = vec![on("a", 6, 1)];
    let sums = store.spend(batch("w", 9), more).await.unwrap();
    assert_eq!(sums, [spent(1)]);
}

/// Of the stores that one process has to itself.
pub(crate) async fn a_writer_is_forgotten_with_its_days(store: &dyn SpendStore) {
    store
        .spend(batch("w", 7), vec![on("a", 4, 1)])
        .await
        .unwrap();
    store
        .spend(batch("x", 7), vec![on("a", 5, 1)])
        .await
        .unwrap();
    store.forget_spent(Day(5)).await.unwrap();
    let sums = store.spend(batch("w", 7), vec![on("a", 6, 1)]).await;
    assert_eq!(sums.unwrap(), [spent(1)]);
    let sums = store.spend(batch("x", 7), vec![on("a", 6, 1)]).await;
    assert_eq!(sums.unwrap(), [spent(1)], "it is known still");
}

pub(crate) async fn many_who_spend_at_once_lose_nothing<S>(store: Arc<S>)
where
    S: SpendStore + 'static,
{
    let mut spenders = JoinSet::new();
    for writer in 0..50 {
        let store = store.clone();
        let batch = batch(&writer.to_string(), 1);
        spenders.spawn(async move { store.spend(batch, vec![on("a", 5, 1)]).await.unwrap() });
    }
    let mut seen: Vec<u64> = spenders
        .join_all()
        .await
        .into_iter()
        .map(|sums| sums[0].runs)
        .collect();
    seen.sort_unstable();
    assert_eq!(seen, (1..=50).collect::<Vec<_>>());
    let sums = store.spent(Some("a"), Day(5)).await.unwrap();
    assert_eq!(sums, [on("a", 5, 50)]);
}
