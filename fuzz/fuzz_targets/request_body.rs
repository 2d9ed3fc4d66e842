//! See `fuzzing::request_body` in the crate `lang`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| lang::fuzzing::request_body(data));
