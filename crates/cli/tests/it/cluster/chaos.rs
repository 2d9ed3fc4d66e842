//! Four servers for a while in which nothing is spared: servers are killed and paused, the database
//! crashes and ends all its sessions, the network loses answers to commits, swallows everything, or
//! closes one half of each connection, and clocks are set ten minutes ahead or behind.
//!
//! The suite has a short form. The long one: `FLOWMILL_CHAOS=MINUTES[:SEED] cargo test --workspace
//! --test it -- --ignored --nocapture minutes_of_chaos`

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, RwLock};
use std::time::{Duration, Instant};

use fastrand::Rng;
use testing::{Fault, FaultProxy, ServerReply, Side, Which, postgres};

use super::clocks;
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
    let mut scene = Scene {
        server: &server,
        proxy: &proxy,
        cluster: &cluster,
        replicas: Vec::new(),
        urls: Arc::default(),
        started: 0,
    };
    for _ in 0..SERVERS {
        scene.start();
    }
    let goes_on = Arc::new(AtomicBool::new(true));
    let numbers = Arc::new(AtomicU64::new(0));
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| {
            let (urls, goes_on, numbers) = (scene.urls.clone(), goes_on.clone(), numbers.clone());
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
        let what = random.usize(..NAMES.len());
        eprintln!("chaos: {:?}: {}", began.elapsed(), NAMES[what]);
        scene.strike(what, &mut random).await;
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

/// One of the servers, and the file that says how many seconds its clock is off.
struct Replica {
    server: Server,
    clock: PathBuf,
}

/// All that something can happen to.
struct Scene<'s> {
    server: &'s postgres::Server,
    proxy: &'s FaultProxy,
    cluster: &'s Cluster<'s>,
    replicas: Vec<Replica>,
    /// Of the replicas.
    urls: Arc<RwLock<Vec<String>>>,
    started: usize,
}

impl Scene<'_> {
    fn start(&mut self) {
        self.started += 1;
        let clock = self
            .cluster
            .project()
            .path(format!("clock-{}", self.started));
        // Where no shim can be built, all clocks stay right.
        let server = clocks::start(self.cluster, OPTIONS, &clock, 0)
            .unwrap_or_else(|| self.cluster.start(OPTIONS));
        self.replicas.push(Replica { server, clock });
        let urls = self.replicas.iter().map(|one| one.server.url.clone());
        *self.urls.write().expect("nobody panics with it") = urls.collect();
    }

    /// Lets one of [`NAMES`] happen.
    async fn strike(&mut self, what: usize, random: &mut Rng) {
        let victim = random.usize(..SERVERS);
        match what {
            0 => {
                self.replicas.remove(victim).server.kill();
                self.start();
            }
            1 => {
                let paused = &self.replicas[victim].server;
                paused.process.signal("STOP");
                pause(LEASE + Duration::from_millis(500)).await;
                paused.process.signal("CONT");
            }
            2 => {
                self.server.stop_immediate();
                pause(Duration::from_millis(random.u64(0..1_000))).await;
                self.server.start_again();
            }
            3 => self.cluster.database.terminate_backends(),
            4 => {
                for _ in 0..random.u32(2..=5) {
                    self.cluster.database.terminate_backends();
                    pause(Duration::from_secs(1)).await;
                }
            }
            5 => {
                let commit = ServerReply::CommandComplete("COMMIT".to_owned());
                let cut = Fault::CutBefore(commit, Which::Every(3));
                self.while_cut(cut, Duration::from_secs(1)).await;
            }
            6 => {
                let cut = Fault::CutBefore(ServerReply::ReadyForQuery, Which::Every(20));
                self.while_cut(cut, Duration::from_secs(1)).await;
            }
            7 => {
                let length = Duration::from_millis(random.u64(100..1_500));
                self.while_cut(Fault::BlackHole, length).await;
            }
            8 => {
                let sides = [Side::Client, Side::Server];
                self.proxy.half_close(sides[random.usize(..2)]);
            }
            _ => {
                let off_by = [-clocks::TEN_MINUTES_S, 0, clocks::TEN_MINUTES_S];
                clocks::set(&self.replicas[victim].clock, off_by[random.usize(..3)]);
            }
        }
    }

    async fn while_cut(&self, fault: Fault, length: Duration) {
        self.proxy.set(fault);
        pause(length).await;
        self.proxy.set(Fault::None);
    }
}

const NAMES: [&str; 10] = [
    "kill a server",
    "pause a server past its lease",
    "crash the database",
    "end all sessions",
    "end all sessions, each second",
    "lose answers to commits",
    "lose answers",
    "swallow everything",
    "close one half of all connections",
    "set a clock",
];

async fn pause(length: Duration) {
    tokio::time::sleep(length).await;
}
