//! Several servers on one PostgreSQL: whatever happens to one of them, to the database or to the
//! network between, what any of them accepted reaches one end and nothing is paid for twice. The
//! real program, killed, paused and cut off, in front of a model that counts.

mod chaos;
mod clocks;
mod failover;
mod fixture;
mod killed;
mod outage;
mod paused;
mod pooled;
mod racing;
