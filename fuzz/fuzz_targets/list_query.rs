//! See `fuzzing::list_query` in the crate `server`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| server::fuzzing::list_query(data));
