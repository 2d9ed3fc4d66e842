//! What replicas on several machines set aside at the same time.

use std::sync::Arc;

use super::at_callers_time;
use crate::conformance::allotments::many_replicas_at_once_stay_within_the_limit;

#[tokio::test]
async fn replicas_with_handles_of_their_own_stay_within_the_limit_together() {
    let Some(database) = testing::postgres::database() else {
        return;
    };
    let mut handles = Vec::new();
    for _ in 0..4 {
        handles.push(Arc::new(at_callers_time(&database).await));
    }
    many_replicas_at_once_stay_within_the_limit(handles).await;
    let left = "SELECT count(*) FROM flowmill.allotments";
    assert_eq!(database.count(left), 0, "all of it was given back");
}
