//! See `fuzzing::job_request` in the crate `server`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| server::fuzzing::job_request(data));
