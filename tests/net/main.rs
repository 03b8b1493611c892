//! Whatever the network does between a client and its server, nothing said is lost, and everybody goes on
//! where they were.
//!
//! - `storm`: connections that are slow, stall, come in crumbs and are cut, fifty pairs at once.
//!   `HELPLINE_MESSAGES` says how much is said.
//! - `every_byte`: one conversation, cut once at each of its bytes. `HELPLINE_BYTE_CUTS` says how often all
//!   of that is done.
//! - `cable`: the cable is pulled in mid-call, between two machines that are network namespaces.
//!   `HELPLINE_CABLES` says how often.
//! - `elsewhere`: callers and operators on other machines, what one address may do, and who is cut.

#![cfg(test)]

mod cable;
mod elsewhere;
mod every_byte;
mod storm;
