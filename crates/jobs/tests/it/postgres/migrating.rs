//! A process killed in the middle of a migration (T43).

use std::env;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use jobs::postgres::PostgresStore;
use testing::postgres::{Database, PgBouncer, PoolMode, sweep};

use super::{open, options_of};
use crate::fixtures::{new_job, run};

/// Tells the child which database to open.
const URL: &str = "FLOWMILL_TEST_URL";

/// Far longer than anything here takes.
const LONG: Duration = Duration::from_secs(60);

/// Lets each migration stop before its fourth table until lock 42 is free.
const STOP_HALFWAY: &str = "
    CREATE FUNCTION public.stop_halfway() RETURNS event_trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF (SELECT count(*) = 3 FROM pg_class
            WHERE relnamespace = to_regnamespace('flowmill') AND relkind = 'r')
        THEN
            PERFORM pg_advisory_xact_lock_shared(42);
        END IF;
    END $$;
    CREATE EVENT TRIGGER halfway ON ddl_command_start EXECUTE FUNCTION public.stop_halfway()";

/// A test binary that opens the store, and nothing else.
fn child(url: &str) -> Child {
    Command::new(env::current_exe().unwrap())
        .args(["--exact", "postgres::migrating::opens", "--ignored"])
        .env(URL, url)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// Waits until that many sessions of the database wait for the migration lock and for lock 42.
async fn until_waiting(database: &Database<'_>, migration: i64, halfway: i64) {
    let began = Instant::now();
    loop {
        let waiting = |lock: &str| {
            database.count(&format!(
                "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted
                     AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
                     AND objid {lock} 42"
            ))
        };
        if (waiting("<>"), waiting("=")) == (migration, halfway) {
            return;
        }
        assert!(began.elapsed() < LONG, "{}", database.server().log());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Kills the one of two processes that has begun to migrate; the other one waits for it.
async fn kills_the_one_that_migrates(database: &Database<'_>, url: &str) {
    database.query(STOP_HALFWAY);
    let holder = database.client().await;
    holder
        .batch_execute("SELECT pg_advisory_lock(42)")
        .await
        .unwrap();
    let mut killed = child(url);
    until_waiting(database, 0, 1).await;
    let mut other = child(url);
    until_waiting(database, 1, 1).await;
    killed.kill().unwrap();
    killed.wait().unwrap();
    assert_eq!(
        database.count("SELECT count(*) FROM pg_namespace WHERE nspname = 'flowmill'"),
        0,
        "nothing of a migration is seen before its end"
    );
    holder
        .batch_execute("SELECT pg_advisory_unlock(42)")
        .await
        .unwrap();
    assert!(other.wait().unwrap().success(), "the other one completes");
    assert_eq!(database.count("SELECT count(*) FROM flowmill.meta"), 1);
    let store = open(database).await;
    run(&store, new_job(1), 5).await;
    assert_eq!(sweep(database), [""; 0]);
}

/// (A report: a deployment was killed in its migration, and no start after it got past the half.)
#[tokio::test]
async fn a_migration_whose_process_is_killed_is_made_by_the_one_that_waits_for_it() {
    let Some(database) = testing::postgres::database() else {
        return;
    };
    kills_the_one_that_migrates(&database, &database.url()).await;
}

#[tokio::test]
async fn the_same_through_a_pooler() {
    let Some(database) = testing::postgres::database() else {
        return;
    };
    let Some(pooler) = PgBouncer::start(database.server(), PoolMode::Transaction) else {
        return;
    };
    let url = database.url_by(pooler.address());
    kills_the_one_that_migrates(&database, &url).await;
}

#[tokio::test]
#[ignore = "is run, and killed, by kills_the_one_that_migrates"]
async fn opens() {
    // Somebody runs the ignored tests, too.
    let Some(url) = env::var_os(URL) else { return };
    let options = options_of(url.to_str().unwrap());
    PostgresStore::open(&options).await.unwrap();
}
