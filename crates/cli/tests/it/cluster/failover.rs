//! A standby takes the place of the primary.

use std::time::{Duration, Instant};

use testing::postgres::{self, STANDBY_NAME, Standby};

use super::fixture::{Cluster, ok, submit_anywhere};

/// (a report: jobs that had been accepted were missing after the failover; workers hung until they
/// were restarted)
#[tokio::test]
async fn what_was_accepted_is_there_after_a_failover_to_a_synchronous_standby() {
    let Some(primary) = postgres::Server::start(postgres::Options::default()) else {
        return;
    };
    let cluster = Cluster::new(&primary, |_| ok().after(Duration::from_millis(300)));
    let standby = Standby::of(&primary);
    primary.query(&format!(
        "ALTER SYSTEM SET synchronous_standby_names = '{STANDBY_NAME}'"
    ));
    primary.query("SELECT pg_reload_conf()");
    // The URL names both.
    let url = cluster.database.url();
    let hosts = format!("{},{}", primary.address(), standby.address());
    let url = url.replace(&primary.address().to_string(), &hosts);
    let cluster = cluster.by_url(url);
    let servers = [cluster.start(""), cluster.start("")];
    let mut ids = servers[0].submit_all(0..20).await;
    ids.extend(servers[1].submit_all(20..40).await);

    primary.stop_immediate();
    // A copy of a server waits for a standby as well.
    standby.query("ALTER SYSTEM RESET synchronous_standby_names");
    standby.query("SELECT pg_reload_conf()");
    standby.promote();
    let promoted = Instant::now();
    let urls = [servers[0].url.clone(), servers[1].url.clone()];
    let mut random = fastrand::Rng::with_seed(3);
    ids.push(submit_anywhere(&urls, 40, &mut random).await);
    assert!(
        promoted.elapsed() < Duration::from_secs(10),
        "accepted after {:?}",
        promoted.elapsed()
    );
    let database = standby.database_named(cluster.database.name());
    cluster.all_completed_in(&database, ids).await;
    cluster.nothing_completed_was_asked_again(0..=40);
}
