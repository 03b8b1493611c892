//! A Helpline server: sockets, the core thread, the store.
//!
//! ```text
//!                  ┌────────────────────── core thread ──────────────────────┐
//! conn tasks ──►   │ drain the inbox ► switchboard.handle(now, input)* ►      │  ──► conn tasks
//! (tokio)          │ write all records in one transaction ► commit (fsync) ►  │      (outboxes)
//!                  │ release the effects                                      │
//!                  └──────────────────────────────────────────────────────────┘
//! ```
//!
//! The library exists for the binary and its tests.

pub mod access;
pub mod budget;
pub mod calendar;
pub mod clock;
pub mod conn;
pub mod core;
pub mod crowd;
pub mod data;
pub mod door;
pub mod entries;
pub mod gate;
pub mod inbox;
pub mod listen;
pub mod network;
pub mod outbox;
mod seldom;
pub mod server;
mod socket;
pub mod store;
pub mod tell;
pub mod tls;
