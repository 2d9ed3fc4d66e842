//! Four servers for a while in which nothing is spared: servers are killed and paused, the database
//! crashes and ends all its sessions, and the network loses answers to commits, swallows
//! everything, or closes one half of each connection.
//!
//! The suite has a short form. The long one: `FLOWMILL_CHAOS=MINUTES[:SEED] cargo test --workspace
//! --test it -- --ignored --nocapture minutes_of_chaos`

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use fastrand::Rng;
use testing::{Fault, FaultProxy, ServerReply, Side, Which, postgres};

use super::fixture::{Cluster, ok, submit_anywhere};
use crate::durable::fixture::Server;

const SERVERS: usize = 4;
const LEASE: Duration = Duration::from_secs(2);
const OPTIONS: &str = "--job-lease 2s --max-running 64";

/// Clients that submit one run after the other.
const CLIENTS: u64 = 12;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn chaos_loses_nothing_and_pays_for_nothing_twice() {
    chaos(Duration::from_secs(12), 5).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes"]
#[expect(
    clippy::disallowed_methods,
    reason = "how long is up to the caller of the tests"
)]
async fn minutes_of_chaos_lose_nothing_and_pay_for_nothing_twice() {
    let given = std::env::var("FLOWMILL_CHAOS").unwrap_or_else(|_| "1".to_owned());
    let (minutes, seed) = given.split_once(':').unwrap_or((&given, ""));
    let minutes: u64 = minutes.parse().expect("FLOWMILL_CHAOS is MINUTES[:SEED]");
    let seed = seed.parse().unwrap_or_else(|_| std::process::id().into());
    chaos(Duration::from_secs(60 * minutes), seed).await;
}

#[expect(
    clippy::print_stderr,
    reason = "the seed and what was done have to be seen"
)]
async fn chaos(length: Duration, seed: u64) {
    eprintln!("chaos: seed {seed}");
    let Some(server) = postgres::Server::start(postgres::Options::default()) else {
        return;
    };
    let proxy = FaultProxy::in_front_of_postgres(server.address());
    let cluster = Cluster::new(&server, |_| ok().after(Duration::from_millis(30)));
    let cluster = cluster.by_way_of(proxy.address());
    let mut random = Rng::with_seed(seed);
    let mut servers: Vec<Server> = (0..SERVERS).map(|_| cluster.start(OPTIONS)).collect();
    let urls = Arc::new(std::sync::RwLock::new(urls(&servers)));
    let goes_on = Arc::new(AtomicBool::new(true));
    let numbers = Arc::new(AtomicU64::new(0));
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| {
            let (urls, goes_on, numbers) = (urls.clone(), goes_on.clone(), numbers.clone());
            let mut random = random.fork();
            tokio::spawn(async move {
                let mut ids = Vec::new();
                while goes_on.load(Ordering::SeqCst) {
                    let n = numbers.fetch_add(1, Ordering::SeqCst);
                    let known = urls.read().expect("nobody panics with it").clone();
                    ids.push(submit_anywhere(&known, n, &mut random).await);
                }
                ids
            })
        })
        .collect();

    let began = Instant::now();
    while began.elapsed() < length {
        let victim = random.usize(..SERVERS);
        let what = random.u32(..8);
        eprintln!("chaos: {:?}: {}", began.elapsed(), NAMES[what as usize]);
        match what {
            0 => {
                servers.remove(victim).kill();
                servers.push(cluster.start(OPTIONS));
                *urls.write().expect("nobody panics with it") = self::urls(&servers);
            }
            1 => {
                servers[victim].process.signal("STOP");
                pause(LEASE + Duration::from_millis(500)).await;
                servers[victim].process.signal("CONT");
            }
            2 => {
                server.stop_immediate();
                pause(Duration::from_millis(random.u64(0..1_000))).await;
                server.start_again();
            }
            3 => cluster.database.terminate_backends(),
            4 => {
                let commit = ServerReply::CommandComplete("COMMIT".to_owned());
                proxy.set(Fault::CutBefore(commit, Which::Every(3)));
                pause(Duration::from_secs(1)).await;
                proxy.set(Fault::None);
            }
            5 => {
                proxy.set(Fault::CutBefore(
                    ServerReply::ReadyForQuery,
                    Which::Every(20),
                ));
                pause(Duration::from_secs(1)).await;
                proxy.set(Fault::None);
            }
            6 => {
                proxy.set(Fault::BlackHole);
                pause(Duration::from_millis(random.u64(100..1_500))).await;
                proxy.set(Fault::None);
            }
            _ => proxy.half_close(if random.bool() {
                Side::Client
            } else {
                Side::Server
            }),
        }
        pause(Duration::from_millis(random.u64(0..600))).await;
    }
    goes_on.store(false, Ordering::SeqCst);
    let mut ids = Vec::new();
    for client in clients {
        ids.extend(client.await.expect("a client does not panic"));
    }
    let runs = numbers.load(Ordering::SeqCst);
    eprintln!(
        "chaos: {runs} runs, {} calls, {} connections cut before an answer",
        cluster.model.calls(),
        proxy.cuts()
    );
    cluster.all_completed(ids).await;
    cluster.nothing_completed_was_asked_again(0..runs);
}

const NAMES: [&str; 8] = [
    "kill a server",
    "pause a server past its lease",
    "crash the database",
    "end all sessions",
    "lose answers to commits",
    "lose answers",
    "swallow everything",
    "close one half of all connections",
];

fn urls(servers: &[Server]) -> Vec<String> {
    servers.iter().map(|server| server.url.clone()).collect()
}

async fn pause(length: Duration) {
    tokio::time::sleep(length).await;
}
