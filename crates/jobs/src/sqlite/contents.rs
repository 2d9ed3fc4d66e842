//! Large inputs and progress of new jobs, each text stored once: a retry has those of the job that
//! it retries, and so writes only what it adds.

use rusqlite::params;
use sha2::{Digest as _, Sha256};

use super::tables::Tables;
use crate::job::Workload;
use crate::json::Json;

/// Smallest text that is stored once, in bytes. Smaller ones are cheaper in the job's own row.
const SHARED_FROM: usize = 1 << 10;

/// From this size on the hash is computed on a blocking thread.
const SLOW_FROM: usize = 256 << 10;

/// SHA-256 of a text that is stored once.
type Hash = [u8; 32];

/// The hashes of a new job's texts that are large enough to be stored once.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Hashes {
    pub(super) inputs: Option<Hash>,
    pub(super) progress: Option<Hash>,
}

impl Hashes {
    /// Computes them, outside the writer's thread.
    pub(super) async fn of(workload: &Workload) -> Self {
        let progress = workload.progress.as_ref();
        let bytes = workload.inputs.text().len() + progress.map_or(0, |json| json.text().len());
        if bytes < SHARED_FROM {
            return Self::default();
        }
        let workload = workload.clone();
        let hashes = move || Self {
            inputs: hash(&workload.inputs),
            progress: workload.progress.as_ref().and_then(hash),
        };
        if bytes < SLOW_FROM {
            return hashes();
        }
        // It fails when the runtime ends; then nothing is kept once.
        tokio::task::spawn_blocking(hashes)
            .await
            .unwrap_or_default()
    }
}

fn hash(json: &Json) -> Option<Hash> {
    let text = json.text();
    (text.len() >= SHARED_FROM).then(|| Sha256::digest(&*text).into())
}

impl Tables<'_> {
    /// Counts one more use of that text, and stores it if it is new; returns the number of its row.
    pub(super) fn share(&self, hash: &Hash, text: &Json) -> rusqlite::Result<i64> {
        let known = self.find(
            "UPDATE contents SET places = places + 1 WHERE hash = ?1 RETURNING seq",
            [hash],
            |row| row.get(0),
        )?;
        if let Some(seq) = known {
            return Ok(seq);
        }
        self.execute("INSERT INTO contents (hash, places) VALUES (?1, 1)", [hash])?;
        let seq = self.connection.last_insert_rowid();
        self.execute(
            "INSERT INTO content_texts (content, text) VALUES (?1, ?2)",
            params![seq, text],
        )?;
        Ok(seq)
    }

    /// Counts one use less, and deletes the text after the last one.
    pub(super) fn unshare(&self, seq: i64) -> rusqlite::Result<()> {
        self.execute(
            "UPDATE contents SET places = places - 1 WHERE seq = ?1",
            [seq],
        )?;
        let unused = self.execute("DELETE FROM contents WHERE seq = ?1 AND places = 0", [seq])?;
        if unused > 0 {
            self.execute("DELETE FROM content_texts WHERE content = ?1", [seq])?;
        }
        Ok(())
    }
}
