//! Servers whose clocks are wrong.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use testing::{Gate, postgres};

use super::fixture::{Cluster, life, ok};
use crate::durable::fixture::Server;
use crate::durable::shim::preload;

const LEASE: Duration = Duration::from_secs(1);
const OPTIONS: &str = "--job-lease 1s";
pub(super) const TEN_MINUTES_S: i64 = 600;

/// Starts a server whose clock is off by what that file says. `None` where no shim can be built.
pub(super) fn start(
    cluster: &Cluster<'_>,
    options: &str,
    clock: &Path,
    seconds: i64,
) -> Option<Server> {
    fs::write(clock, seconds.to_ne_bytes()).expect("it can be written");
    let mut command = cluster.command(options);
    preload(&mut command, "FLOWMILL_TEST_CLOCK", clock)?;
    Some(cluster.started(&mut command))
}

/// Sets the clock of a server that runs.
pub(super) fn set(clock: &Path, seconds: i64) {
    let file = OpenOptions::new().write(true).open(clock);
    let set = file.and_then(|file| file.write_all_at(&seconds.to_ne_bytes(), 0));
    set.expect("it can be written");
}

/// How often the leases of all servers have been renewed by now is told by when they end.
async fn leases_are_renewed_thrice(cluster: &Cluster<'_>) {
    let first = "SELECT floor(extract(epoch FROM min(lease_until)) * 1000)::bigint
        FROM flowmill.replicas WHERE NOT is_dead";
    let before = cluster.database.count(first);
    let later = i64::try_from((3 * LEASE).as_millis()).expect("it is short");
    cluster
        .until("all leases are renewed", || {
            cluster.database.count(first) >= before + later
        })
        .await;
}

/// (a report: a worker whose clock was ahead took over the jobs of all others)
#[tokio::test]
async fn clocks_ten_minutes_ahead_and_behind_make_no_run_start_again() {
    let Some(server) = postgres::shared() else {
        return;
    };
    let gate = Gate::shut();
    let held = gate.clone();
    let cluster = Cluster::new(server, move |_| ok().behind(&held));
    let clocks = [
        cluster.project().path("ahead"),
        cluster.project().path("behind"),
    ];
    let Some(ahead) = start(&cluster, OPTIONS, &clocks[0], TEN_MINUTES_S) else {
        return;
    };
    let mut ids = ahead.submit_all(0..4).await;
    cluster.model.called(4).await;
    let behind = start(&cluster, OPTIONS, &clocks[1], -TEN_MINUTES_S).expect("the shim is there");
    ids.extend(behind.submit_all(4..8).await);
    cluster.model.called(8).await;
    leases_are_renewed_thrice(&cluster).await;
    // They are set while the runs go on.
    set(&clocks[0], -TEN_MINUTES_S);
    set(&clocks[1], TEN_MINUTES_S);
    leases_are_renewed_thrice(&cluster).await;
    assert_eq!(cluster.model.calls(), 8);
    gate.open();
    cluster.all_completed(ids).await;
    cluster.asked_once(0..8);
    let again = "SELECT count(*) FROM flowmill.jobs WHERE attempts <> 1";
    assert_eq!(cluster.database.count(again), 0, "claimed once");
}

#[tokio::test]
async fn a_server_whose_clock_is_behind_takes_over_in_time() {
    let Some(server) = postgres::shared() else {
        return;
    };
    let gate = Gate::shut();
    let held = gate.clone();
    let cluster = Cluster::new(server, move |request| {
        if life(request) == 0 {
            ok().behind(&held)
        } else {
            ok()
        }
    });
    let killed = cluster.start(OPTIONS);
    let ids = killed.submit_all(0..4).await;
    cluster.model.called(4).await;
    let clock = cluster.project().path("behind");
    let Some(_survivor) = start(&cluster, OPTIONS, &clock, -TEN_MINUTES_S) else {
        return;
    };
    killed.kill();
    let died = Instant::now();
    cluster.model.called(8).await;
    assert!(
        died.elapsed() <= LEASE + Duration::from_secs(2),
        "taken over after {:?}",
        died.elapsed()
    );
    cluster.all_completed(ids).await;
}
