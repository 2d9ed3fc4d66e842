//! Mixed load with faults on the real program and one store file, over many lives of the server:
//! providers that answer 429, 500, garbage, half an answer or nothing; clients that go away,
//! cancel, retry and repeat; kill -9 and SIGTERM in the middle of it. At the end every accepted job
//! is there and has ended once, the file is sound, and memory and descriptors were flat.
//!
//! The suite has a short form. The long one: `FLOWMILL_SOAK=MINUTES[:SEED] cargo test --workspace
//! --test it -- --ignored --nocapture an_hour_of_soaking`

mod clients;
mod ledger;
mod model;
mod vitals;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use fastrand::Rng;
use testing::{FakeModel, TempProject};
use tokio::runtime::Runtime;

use self::clients::Client;
use self::ledger::Ledger;
use self::vitals::Vitals;
use crate::http::{ask, serve};
use crate::support::{PATIENCE, Running};

/// Two nodes, one after the other; each says what it was asked.
const WORKFLOW: &str = r#"
schema_version: "1.0"
flow: {name: soak}
state:
  fields:
    n: {type: int, required: true}
    plan: {type: str}
    end: {type: str}
nodes:
  - {id: plan, prompt: "plan of {n}", output_schema: {type: str}, outputs: [plan]}
  - {id: end, prompt: "end of {n}", output_schema: {type: str}, outputs: [end]}
edges:
  - {from: START, to: plan}
  - {from: plan, to: end}
  - {from: end, to: END}
config:
  execution: {timeout: 2, max_retries: 2}
"#;

const SERVE: &str =
    "soak.yaml --store sqlite:soak.db --sync-timeout 3s --drain-timeout 3s --max-running 64";

/// How much of it.
#[derive(Clone, Copy)]
struct Plan {
    seed: u64,
    /// Of the server; the last one only takes stock.
    lives: usize,
    /// Of each life.
    requests: usize,
    clients: usize,
    /// Between two requests of a client.
    pause: Duration,
    /// Lives begin until then.
    until: Option<Duration>,
}

#[test]
fn a_short_soak_loses_nothing() {
    soak(Plan {
        seed: 11,
        lives: 4,
        requests: 90,
        clients: 6,
        pause: Duration::ZERO,
        until: None,
    });
}

#[test]
#[ignore = "takes an hour"]
#[expect(
    clippy::disallowed_methods,
    reason = "how long is up to who runs the tests"
)]
fn an_hour_of_soaking_loses_nothing() {
    let given = std::env::var("FLOWMILL_SOAK").unwrap_or_else(|_| "60".to_owned());
    let (minutes, seed) = given.split_once(':').unwrap_or((&given, ""));
    let minutes: u64 = minutes.parse().expect("FLOWMILL_SOAK is MINUTES[:SEED]");
    soak(Plan {
        seed: seed.parse().unwrap_or_else(|_| std::process::id().into()),
        lives: usize::MAX,
        requests: 2_000,
        clients: 8,
        pause: Duration::from_millis(250),
        until: Some(Duration::from_secs(60 * minutes)),
    });
}

#[expect(
    clippy::print_stderr,
    reason = "the seed and the figures have to be seen"
)]
fn soak(plan: Plan) {
    eprintln!("soak: seed {}", plan.seed);
    let mut rng = Rng::with_seed(plan.seed);
    let project = TempProject::with_file("soak.yaml", WORKFLOW);
    let model = model::faulty(rng.u64(..));
    let ledger = Arc::new(Ledger::default());
    let runtime = Runtime::new().expect("a runtime");
    let started = Instant::now();
    let mut life = 0;
    while life < plan.lives && plan.until.is_none_or(|until| started.elapsed() < until) {
        let mut server = start(&project, &model.fake);
        let url = server.url();
        let vitals = live(&runtime, plan, &mut rng, &ledger, &url, &server);
        let how = if rng.bool() { "KILL" } else { "TERM" };
        server.signal(how);
        server.ended();
        eprintln!(
            "soak: {:?}: life {life}: {vitals}, {how}; {ledger}",
            started.elapsed()
        );
        vitals.are_flat();
        life += 1;
    }
    model.heal();
    let mut server = start(&project, &model.fake);
    let url = server.url();
    runtime.block_on(ledger.take_stock(&url));
    server.signal("TERM");
    assert_eq!(server.end().0, Some(0));
    vitals::is_sound(&project.path("soak.db"));
    eprintln!("soak: {:?}: {ledger}", started.elapsed());
}

fn start(project: &TempProject, model: &FakeModel) -> Running {
    Running::start(ask("none", model, &mut serve(project, SERVE)))
}

/// Lets the clients at the server until most of their requests are made; they go on while it ends.
fn live(
    runtime: &Runtime,
    plan: Plan,
    rng: &mut Rng,
    ledger: &Arc<Ledger>,
    url: &str,
    server: &Running,
) -> Vitals {
    let made = Arc::new(AtomicUsize::new(0));
    for _ in 0..plan.clients {
        let client = Client::new(url, rng.u64(..), ledger.clone(), made.clone());
        runtime.spawn(client.work(plan.requests / plan.clients, plan.pause));
    }
    let enough = rng.usize(plan.requests / 2..plan.requests * 9 / 10);
    runtime.block_on(reached(&made, plan.requests / 4));
    let mut vitals = Vitals::after_warm_up(server.id());
    runtime.block_on(reached(&made, enough));
    vitals.at_the_end();
    vitals
}

/// Waits until so many requests are made, as long as there are ever more of them.
async fn reached(made: &AtomicUsize, wanted: usize) {
    let mut last = (0, Instant::now());
    loop {
        let now = made.load(Ordering::Relaxed);
        if now >= wanted {
            return;
        }
        if now != last.0 {
            last = (now, Instant::now());
        }
        assert!(last.1.elapsed() < PATIENCE, "the clients stand still");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
