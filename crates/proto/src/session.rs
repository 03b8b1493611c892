//! Both ends of a conversation, without any I/O.
//!
//! A session has four verbs: put something in (`handle`, `handle_timeout`, `say`, `tell`, …), drain
//! what follows (`poll_transmit`, `poll_event`), and ask when to come back (`poll_timeout`). Whoever
//! drives it owns the connection and the clock.

pub use self::{
    client::{ClientEvent, ClientSession, Lost, NotOpen, Opening},
    server::{Role, ServerEvent, ServerSession, Settings},
};

mod client;
mod outbox;
mod rate;
mod server;
