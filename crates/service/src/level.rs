//! What this version of the program can run.

/// The level of a replica of this version, and of the jobs that it accepts. To be raised when
/// definitions, progress or events are written that the version before cannot read: then its replicas
/// leave such jobs to those that can.
pub const LEVEL: u32 = 1;
