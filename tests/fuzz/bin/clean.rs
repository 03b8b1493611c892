#![no_main]

#[path = "../targets/clean.rs"]
mod clean;

libfuzzer_sys::fuzz_target!(|data: &[u8]| clean::clean(data));
