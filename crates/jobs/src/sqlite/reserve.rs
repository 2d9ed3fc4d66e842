//! Disk space that is reserved for freeing space: a file beside the database without content.
//!
//! Deleting jobs takes space, because every change goes to the log first. On a full disk nothing
//! could be deleted, and there would be no way out. So the reserve is released then, only for verbs
//! that free space, and taken again afterwards. It has to be larger than what the log can add to
//! the database; otherwise the log could not be copied and restarted.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{FallocateFlags, fallocate, statvfs};

use super::open::beside;

/// At most this fraction (one in so many) of the free space becomes the reserve when a store is
/// opened.
const SHARE_AT_START: u64 = 8;

/// The same after the reserve was released: a new reserve comes first then.
const SHARE_AFTERWARDS: u64 = 2;

/// Time between two attempts to take it again.
const TRY_AGAIN: Duration = Duration::from_secs(5);

/// Smallest useful reserve, in bytes.
const LEAST_BYTES: u64 = 64 << 10;

#[derive(Debug)]
pub(super) struct Reserve {
    path: PathBuf,
    bytes: u64,
    /// Once it was released: the time of the last attempt to take it again.
    given_up: Option<Instant>,
}

impl Reserve {
    /// A reserve of that many bytes, less on a small disk; none if that is 0.
    pub(super) fn new(database: &Path, bytes: u64) -> Self {
        Self {
            path: beside(database, ".reserve"),
            bytes,
            given_up: None,
        }
    }

    /// Its length in bytes.
    pub(super) fn bytes(&self) -> u64 {
        fs::metadata(&self.path).map_or(0, |file| file.len())
    }

    /// Whether the disk has that much space left.
    pub(super) fn is_free(&self, bytes: u64) -> bool {
        self.free_bytes().is_ok_and(|free| free >= bytes)
    }

    fn free_bytes(&self) -> io::Result<u64> {
        let disk = statvfs(self.path.parent().unwrap_or(Path::new(".")))?;
        Ok(disk.f_bavail.saturating_mul(disk.f_frsize))
    }

    /// Releases it; returns whether there was one.
    pub(super) fn give_up(&mut self) -> bool {
        self.given_up = Some(Instant::now());
        fs::remove_file(&self.path).is_ok()
    }

    /// Whether it was released a while ago.
    pub(super) fn is_due(&self) -> bool {
        self.given_up.is_some_and(|at| at.elapsed() >= TRY_AGAIN)
    }

    /// Takes it if there is none, as far as the disk allows. The store works without it, too.
    pub(super) fn take(&mut self) {
        match self.try_take() {
            Ok(true) => self.given_up = None,
            Ok(false) | Err(_) => {
                if let Some(at) = &mut self.given_up {
                    *at = Instant::now();
                }
            }
        }
    }

    fn try_take(&self) -> io::Result<bool> {
        if self.bytes == 0 || fs::exists(&self.path)? {
            return Ok(true);
        }
        let share = match self.given_up {
            None => SHARE_AT_START,
            Some(_) => SHARE_AFTERWARDS,
        };
        let bytes = self.bytes.min(self.free_bytes()? / share);
        if bytes < LEAST_BYTES {
            return Ok(false);
        }
        let file = File::create_new(&self.path)?;
        let taken = fallocate(&file, FallocateFlags::empty(), 0, bytes);
        taken.or_else(|_| write(&file, bytes)).inspect_err(|_| {
            // Half a reserve is not told from a whole one.
            let _ = fs::remove_file(&self.path);
        })?;
        Ok(true)
    }
}

/// For file systems that allocate space only on writes. What it writes cannot be compressed.
fn write(mut file: &File, bytes: u64) -> io::Result<()> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let noise: Vec<u8> = std::iter::repeat_with(|| {
        // SplitMix64.
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)).to_le_bytes()
    })
    .take(8 << 10)
    .flatten()
    .collect();
    let mut left = bytes;
    while left > 0 {
        let part = noise.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        io::Write::write_all(&mut file, &noise[..part])?;
        left -= part as u64;
    }
    Ok(())
}
