//! See `fuzzing::key_list` in the crate `service`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| service::fuzzing::key_list(data));
