//! See `fuzzing::packed_reply` in the crate `llm`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| llm::fuzzing::packed_reply(data));
