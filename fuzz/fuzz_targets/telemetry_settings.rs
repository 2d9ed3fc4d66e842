//! See `fuzzing::settings` in the crate `telemetry`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| telemetry::fuzzing::settings(data));
