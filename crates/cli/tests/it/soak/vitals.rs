//! Memory and descriptors of the server, and the soundness of its file.

use std::fmt;
use std::path::Path;

use rusqlite::Connection;

/// How much the memory of a life may grow after its warm-up: by half, or by this.
const GROWTH_KB: u64 = 32 * 1024;

/// How many descriptors more may be open at the end: as many connections as there are clients, to
/// either side.
const MORE_DESCRIPTORS: usize = 64;

/// Of one life.
pub(super) struct Vitals {
    process: u32,
    warm: Moment,
    end: Moment,
}

#[derive(Clone, Copy)]
struct Moment {
    memory_kb: u64,
    descriptors: usize,
}

impl Vitals {
    pub(super) fn after_warm_up(process: u32) -> Self {
        let warm = Moment::of(process);
        Self {
            process,
            warm,
            end: warm,
        }
    }

    pub(super) fn at_the_end(&mut self) {
        self.end = Moment::of(self.process);
    }

    #[track_caller]
    pub(super) fn are_flat(&self) {
        let (warm, end) = (self.warm, self.end);
        let most = (warm.memory_kb * 3 / 2).max(warm.memory_kb + GROWTH_KB);
        assert!(end.memory_kb <= most, "memory grows: {self}");
        assert!(
            end.descriptors <= warm.descriptors + MORE_DESCRIPTORS,
            "descriptors leak: {self}"
        );
    }
}

impl Moment {
    fn of(process: u32) -> Self {
        let status = std::fs::read_to_string(format!("/proc/{process}/status"));
        let status = status.expect("the server lives");
        let line = status.lines().find(|line| line.starts_with("VmRSS:"));
        let kilobytes = line.and_then(|line| line.split_whitespace().nth(1));
        let open = std::fs::read_dir(format!("/proc/{process}/fd"));
        Self {
            memory_kb: kilobytes
                .and_then(|text| text.parse().ok())
                .expect("a number"),
            descriptors: open.expect("the server lives").count(),
        }
    }
}

impl fmt::Display for Vitals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} -> {} kB, {} -> {} descriptors",
            self.warm.memory_kb, self.end.memory_kb, self.warm.descriptors, self.end.descriptors
        )
    }
}

/// Fails unless SQLite finds the file sound. The server must have ended.
#[track_caller]
pub(super) fn is_sound(file: &Path) {
    let connection = Connection::open(file).expect("a database");
    let verdict: String = connection
        .query_row("PRAGMA integrity_check", [], |row| row.get(0))
        .expect("a verdict");
    assert_eq!(verdict, "ok");
}
