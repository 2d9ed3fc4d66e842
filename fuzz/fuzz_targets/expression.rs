//! See `fuzzing::expression` in the crate `lang`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| lang::fuzzing::expression(data));
