//! Telemetry from outside: what it does when nothing can be sent.

mod bounds;
