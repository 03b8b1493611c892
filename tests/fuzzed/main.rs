//! The fuzz functions of `tests/fuzz`, without a fuzzer: over the corpus that is kept, and over mutations of it that
//! are the same each time.
//!
//! `HELPLINE_FUZZ_ROUNDS` says how many mutations a target is tried with. Who fails prints the bytes; as a file in
//! `tests/fuzz/corpus` they are tried for ever.

#![cfg(test)]

use std::{env, fs, path::Path, thread};

use self::mutate::Mutator;

#[path = "../fuzz/targets/body.rs"]
mod body;
#[path = "../fuzz/targets/clean.rs"]
mod clean;
#[path = "../fuzz/targets/client_session.rs"]
mod client_session;
#[path = "../fuzz/targets/frame.rs"]
mod frame;
#[path = "../fuzz/targets/json.rs"]
mod json;
#[path = "../fuzz/targets/link.rs"]
mod link;
mod mutate;
#[path = "../fuzz/targets/server_session.rs"]
mod server_session;

/// Mutations for each target, unless said otherwise: a second or two.
const ROUNDS: u32 = 50_000;

#[test]
fn no_stream_of_bytes_is_read_differently_for_how_it_is_cut() {
    tried("frame", frame::frame);
}

#[test]
fn what_is_read_as_a_message_is_written_with_the_same_bytes() {
    tried("body", body::body);
}

#[test]
fn what_is_read_as_json_is_written_with_the_same_value() {
    tried("json", json::json);
}

#[test]
fn whatever_a_server_sends_a_client_keeps_its_lines_and_its_bounds() {
    tried("client_session", client_session::client_session);
}

#[test]
fn whatever_a_peer_sends_a_server_keeps_the_order_and_its_bounds() {
    tried("server_session", server_session::server_session);
}

#[test]
fn no_text_does_anything_to_a_terminal_once_it_is_cleaned() {
    tried("clean", clean::clean);
}

#[test]
fn every_address_and_link_reads_back() {
    tried("link", link::link);
}

/// Runs a target over its corpus and its mutations.
fn tried(target: &str, function: fn(&[u8])) {
    let seeds = corpus(target);
    assert!(!seeds.is_empty(), "{target} has no corpus");
    for seed in &seeds {
        guarded(target, function, seed);
    }
    let rounds = env::var("HELPLINE_FUZZ_ROUNDS").ok().and_then(|rounds| rounds.parse().ok());
    let mut mutator = Mutator::new();
    for _ in 0..rounds.unwrap_or(ROUNDS) {
        guarded(target, function, &mutator.mutated(&seeds));
    }
}

/// What is kept for a target, in the same order each time.
fn corpus(target: &str) -> Vec<Vec<u8>> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let files = fs::read_dir(&directory).unwrap_or_else(|error| panic!("{directory:?}: {error}"));
    let mut paths: Vec<_> = files.map(|file| file.unwrap().path()).collect();
    paths.sort();
    paths.iter().map(|path| fs::read(path).unwrap()).collect()
}

fn guarded(target: &str, function: fn(&[u8]), input: &[u8]) {
    let _guard = Guard { target, input };
    function(input);
}

/// Says what a target was given when it fails.
struct Guard<'a> {
    target: &'a str,
    input: &'a [u8],
}

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("{} fails with b\"{}\"", self.target, self.input.escape_ascii());
        }
    }
}
