//! Jobs that outlive their server: whatever happens to the process, what it accepted reaches one
//! end and nothing is paid for twice. The real program, killed and started again, in front of a
//! model that counts.

mod clock;
mod crashes;
mod deadlines;
mod expiry;
pub(crate) mod fixture;
mod formats;
mod once;
mod paging;
mod paused;
mod points;
mod racing;
pub(crate) mod shim;
mod stopping;
mod stores;
mod trouble;
mod watching;
mod written;
