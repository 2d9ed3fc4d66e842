//! See `fuzzing::provider_reply` in the crate `llm`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| llm::fuzzing::provider_reply(data));
