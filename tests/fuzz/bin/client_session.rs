#![no_main]

#[path = "../targets/client_session.rs"]
mod client_session;

libfuzzer_sys::fuzz_target!(|data: &[u8]| client_session::client_session(data));
