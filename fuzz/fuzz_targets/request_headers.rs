//! See `fuzzing::request_headers` in the crate `server`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| server::fuzzing::request_headers(data));
