//! The store's size: what is used, what is given back to the disk, and whether there is more.

use rusqlite::Connection;

use super::fault::Failure;
use super::tables::Tables;

/// Up to this many free pages, and up to one page in [`KEPT_SHARE`], are kept for new jobs.
const KEPT_PAGES: u64 = 256;
const KEPT_SHARE: u64 = 8;

/// Pages given back in one step, which takes some milliseconds.
const STEP_PAGES: u64 = 256;

/// Bytes written to find out whether there is space again: more than fits into free parts of pages.
const PADDING_BYTES: u64 = 64 << 10;

impl Tables<'_> {
    /// Shortens the file a little if too much of it is free; returns whether there is more to do.
    pub(super) fn give_back_space(&self) -> Result<bool, Failure> {
        let free = pragma(self.connection, "freelist_count")?;
        let pages = pragma(self.connection, "page_count")?;
        let excess = free.saturating_sub(KEPT_PAGES.max(pages / KEPT_SHARE));
        if excess > 0 {
            cut_off(self.connection, excess.min(STEP_PAGES))?;
        }
        Ok(excess > STEP_PAGES)
    }

    /// Fails if there is no space. [`Tables::unpad`] must follow in the next transaction: within
    /// one, nothing would be written.
    pub(super) fn pad(&self) -> Result<(), Failure> {
        self.execute("INSERT INTO padding VALUES (zeroblob(?1))", [PADDING_BYTES])?;
        Ok(())
    }

    pub(super) fn unpad(&self) -> Result<(), Failure> {
        self.execute("DELETE FROM padding", [])?;
        Ok(())
    }
}

impl Tables<'_> {
    /// Whether the store takes more: the file without its free pages, and the log. At most half of
    /// that may be the log: while another program reads it, it cannot be shortened, and deleting
    /// jobs would not help.
    pub(super) fn takes_more_than(&self, max_bytes: u64) -> rusqlite::Result<bool> {
        let pages =
            pragma(self.connection, "page_count")? - pragma(self.connection, "freelist_count")?;
        let file_bytes = pages * pragma(self.connection, "page_size")?;
        Ok(file_bytes + self.log_bytes.min(max_bytes / 2) > max_bytes)
    }
}

/// Shortens the file by up to that many free pages.
pub(super) fn cut_off(connection: &Connection, pages: u64) -> rusqlite::Result<()> {
    let mut statement = connection.prepare(&format!("PRAGMA incremental_vacuum({pages})"))?;
    let mut rows = statement.query([])?;
    // Each step of it frees one page.
    while rows.next()?.is_some() {}
    Ok(())
}

/// The length of the file once the log has been copied into it.
pub(super) fn file_bytes(connection: &Connection) -> rusqlite::Result<u64> {
    Ok(pragma(connection, "page_count")? * pragma(connection, "page_size")?)
}

fn pragma(connection: &Connection, name: &str) -> rusqlite::Result<u64> {
    connection
        .prepare_cached(&format!("PRAGMA {name}"))?
        .query_row([], |row| row.get(0))
}
