//! What Helpline's stories are told with: the real binaries, real sockets, real terminals.
//!
//! | type | what it is |
//! |---|---|
//! | [`Server`] | a running `helpline-server` without a console |
//! | [`Peer`] | a raw wire connection: says exactly what a story wants said, whole or in pieces |
//! | [`Client`] | the program `helpline` with pipes for its stdin, stdout and stderr |
//! | [`Screen`] | either program in a pseudo-terminal: keys in, a screen out |
//! | [`Talkers`] | many callers and operators in this process, over the client library |
//! | [`Person`](person::Person) | somebody before `helpline --json`, in one process after another |
//! | [`Proxy`](proxy::Proxy) | a network that delays, slices, stalls and cuts |
//! | [`Cable`](netns::Cable) | two machines whose cable can be pulled |
//! | [`Checker`](checker::Checker) | what all of them may not do |
//! | [`Proof`] | one run of all that, with its seed and its figures |
//!
//! Every wait is for a condition, with a deadline ([`PATIENCE`] unless the story says otherwise), and
//! panics with what was seen instead. Every child is killed by its own id when dropped. Nothing of the
//! environment reaches a child but `PATH`: its home and its XDG directories are a [`Home`] that is
//! deleted with the last one who uses it.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a harness fails loudly: a panic is how a story fails"
)]

use std::{
    thread,
    time::{Duration, Instant},
};

pub use self::{
    binaries::{helpline, helpline_server, released},
    client::{Client, ClientSetup, Event},
    home::Home,
    means::{have, linux, small_disk, tool},
    peer::{Got, Peer},
    process::{Finished, Process},
    proof::{Proof, figures_of, percentile},
    screen::{Screen, ScreenSetup, keys},
    server::{Server, ServerSetup},
    talker::{Manner, Talkers},
    transcripts::{Transcript, Transcripts},
};

pub mod accounts;
mod binaries;
pub mod checker;
mod client;
pub mod conversation;
pub mod dice;
mod home;
mod means;
pub mod netns;
mod peer;
pub mod person;
mod process;
mod proof;
pub mod proxy;
mod screen;
mod server;
mod talker;
mod transcripts;

/// How long a condition may take to come true before a story fails. What is promised for sooner is
/// asserted in the story itself, with ten times the promise.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Time between two looks at something that can't be waited for.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// Looks again and again until there is what is looked for.
///
/// # Panics
/// It isn't there within [`PATIENCE`]; `what` says what was missing.
pub fn wait_until<T>(what: &str, look: impl FnMut() -> Option<T>) -> T {
    wait_within(PATIENCE, what, look)
}

/// [`wait_until`] with another deadline.
///
/// # Panics
/// It isn't there in time.
pub fn wait_within<T>(within: Duration, what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(begun.elapsed() < within, "not within {within:?}: {what}");
        thread::sleep(LOOK_AGAIN);
    }
}
