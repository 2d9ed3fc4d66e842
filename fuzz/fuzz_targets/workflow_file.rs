//! See `fuzzing::workflow_file` in the crate `lang`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| lang::fuzzing::workflow_file(data));
