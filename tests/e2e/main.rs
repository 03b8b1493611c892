//! Helpline's stories, told end to end: the real binaries over real sockets, pipes and terminals.
//!
//! The failures of the naive pair that Helpline replaces are numbered N1 to N38, and each has stories
//! named after it, like `n07_an_empty_line_is_harmless`. What is promised within a time is asserted
//! with ten times that time.
//!
//! | failures | of | told in |
//! |---|---|---|
//! | N1–N3, N5, N6 | framing, long texts, characters cut in two | `framing`, `client_pipe`, `client_json`, `terminal_speaking` |
//! | N4, N30, N31 | bytes that are no message, silence, other protocols | `hostile`, `terminal_hostile` |
//! | N7, N8 | empty lines | `client_pipe`, `client_whole_call`, `terminal_speaking` |
//! | N9–N11, N15, N35 | who leaves, and how | `leaving`, `away`, `terminal_waiting` |
//! | N12, N13 | broken connections, servers killed in a call | `away`, `restarting`, `client_resuming`, `client_whole_call`, `terminal_resuming` |
//! | N14 | `bye` | `speaking`, `client_pipe`, `client_json`, `terminal_speaking` |
//! | N16, N17 | both speak, who speaks first | `speaking`, `terminal_speaking` |
//! | N18, N19, N21, N22 | places, busy, ghosts | `waiting`, `terminal_waiting` |
//! | N23–N27 | signals, ends of input, restarts | `stopping`, `restarting`, `client_exit`, `client_pipe`, `client_resuming`, `terminal_leaving`, `terminal_plain`, `terminal_resuming` |
//! | N28, N36 | addresses | `listening`, `client_whole_call` |
//! | N29, N34 | silent peers, peers that don't read | `hostile`; a network that goes away is in the tests `net` |
//! | N32, N33 | texts and keys that a terminal obeys | `terminal_hostile`, `client_pipe`, `client_json` |
//! | N38 | accounts, encryption, many operators | `administering`, `client_exit`; more in the tests `hostile` |
//! | N37 | what is kept | `stopping`, `calls_kept`; at every instant in the tests `power` |
//!
//! Not here: N20, which doesn't apply, as the kernel's queue of connections is never what makes a caller
//! wait.
//!
//! Stories told on a terminal are in `transcript` and the modules `terminal_*`; all others need none. A story
//! that needs what isn't here says so, and fails where `CI=true`.

#![cfg(test)]

mod administering;
mod away;
mod calls_kept;
mod client_exit;
mod client_json;
mod client_manner;
mod client_pipe;
mod client_resuming;
mod client_whole_call;
mod clock;
mod disk;
mod framing;
mod graces;
mod hostile;
mod hundred_hundreds;
mod leaving;
mod listening;
mod panicking;
mod restarting;
mod resuming;
mod secrets;
mod server_process;
mod speaking;
mod stopping;
mod terminal_desk;
mod terminal_hostile;
mod terminal_leaving;
mod terminal_means;
mod terminal_plain;
mod terminal_resuming;
mod terminal_speaking;
mod terminal_waiting;
mod transcript;
mod waiting;
