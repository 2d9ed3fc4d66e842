//! Jobs that outlive their server: whatever happens to the process, what it accepted reaches one end and
//! nothing is paid for twice. The real program, killed and started again, in front of a model that counts.

mod crashes;
mod fixture;
mod once;
mod stopping;
mod stores;
mod watching;
