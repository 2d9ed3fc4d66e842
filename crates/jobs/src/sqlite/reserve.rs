//! Space on the disk that is kept for making space: a file beside the database that holds nothing.
//!
//! To forget jobs takes space, because every change goes to the log first. On a disk that is full
//! nothing could be forgotten, and there would be no way back. So the reserve is given up then, for
//! verbs that make space and for no others, and taken again afterwards. It has to be larger than
//! what the log may make the database grow by, or else the log could not be copied into it and
//! begin anew.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{FallocateFlags, fallocate, statvfs};

use super::open::beside;

/// Of the space that is free, one in so many goes to the reserve of a store that is opened, at
/// most.
const SHARE_AT_START: u64 = 8;

/// The same after it was given up: first of all there has to be a reserve again.
const SHARE_AFTERWARDS: u64 = 2;

/// Between two attempts to take it again.
const TRY_AGAIN: Duration = Duration::from_secs(5);

/// A shorter one helps nobody.
const LEAST_BYTES: u64 = 64 << 10;

#[derive(Debug)]
pub(super) struct Reserve {
    path: PathBuf,
    bytes: u64,
    /// Since it was given up: when it was last tried to take it again.
    given_up: Option<Instant>,
}

impl Reserve {
    /// A reserve of so many bytes, less on a small disk, none at zero.
    pub(super) fn new(database: &Path, bytes: u64) -> Self {
        Self {
            path: beside(database, ".reserve"),
            bytes,
            given_up: None,
        }
    }

    /// How long it is.
    pub(super) fn bytes(&self) -> u64 {
        fs::metadata(&self.path).map_or(0, |file| file.len())
    }

    /// Whether the disk has so much space left.
    pub(super) fn is_free(&self, bytes: u64) -> bool {
        self.free_bytes().is_ok_and(|free| free >= bytes)
    }

    fn free_bytes(&self) -> io::Result<u64> {
        let disk = statvfs(self.path.parent().unwrap_or(Path::new(".")))?;
        Ok(disk.f_bavail.saturating_mul(disk.f_frsize))
    }

    /// Gives it up; tells whether there was one.
    pub(super) fn give_up(&mut self) -> bool {
        self.given_up = Some(Instant::now());
        fs::remove_file(&self.path).is_ok()
    }

    /// Whether it was given up a while ago.
    pub(super) fn is_due(&self) -> bool {
        self.given_up.is_some_and(|at| at.elapsed() >= TRY_AGAIN)
    }

    /// Takes it where there is none, as far as the disk allows. Without it the store works all the
    /// same.
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

/// For file systems that cannot take space without writing. What is written does not get shorter
/// where files are compressed.
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
