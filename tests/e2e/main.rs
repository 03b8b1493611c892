//! Helpline's stories, told end to end: the real binaries over real sockets, pipes and terminals.
//!
//! The failures of the naive pair that Helpline replaces are numbered N1 to N38, and each has a story
//! named after it, like `n07_an_empty_line_is_harmless`. What is promised within a time is asserted
//! with ten times that time. Not here yet, or not at all:
//!
//! - N12, N13, the resuming half of N27 and of N34, N29: they need calls that outlive a connection.
//! - N38: it needs accounts and encryption.
//! - N20: not applicable, for the kernel's queue of connections is never what makes a caller wait.
//!
//! Stories told on a terminal are in `transcript` and the modules `terminal_*`; all others need none.

#![cfg(test)]

mod calls_kept;
mod client_exit;
mod client_json;
mod client_manner;
mod client_pipe;
mod client_whole_call;
mod framing;
mod hostile;
mod hundred_hundreds;
mod leaving;
mod listening;
mod panicking;
mod server_process;
mod speaking;
mod stopping;
mod terminal_desk;
mod terminal_hostile;
mod terminal_leaving;
mod terminal_means;
mod terminal_plain;
mod terminal_speaking;
mod terminal_waiting;
mod transcript;
mod waiting;
