#![no_main]

#[path = "../targets/link.rs"]
mod link;

libfuzzer_sys::fuzz_target!(|data: &[u8]| link::link(data));
