#![no_main]

#[path = "../targets/server_session.rs"]
mod server_session;

libfuzzer_sys::fuzz_target!(|data: &[u8]| server_session::server_session(data));
