//! How both ends of a conversation speak, in each protocol.

use std::{io, net::SocketAddr};

use crate::wire::Wire;

pub(crate) mod helpline;
pub(crate) mod irc;
pub(crate) mod mqtt;
pub(crate) mod nats;
pub(crate) mod raw;
pub(crate) mod redis;

/// What came of what was read.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Heard {
    /// Own messages that the server says it has.
    pub(crate) acknowledged: u64,
    /// Messages of the other end.
    pub(crate) texts: u64,
}

/// One end of a conversation.
pub(crate) trait End {
    /// Puts the next message behind `out`.
    fn say(&mut self, out: &mut Vec<u8>) -> io::Result<()>;

    /// Takes what came, whole frames of it, and says how many bytes that were. Puts what the protocol
    /// wants answered behind `out`.
    fn hear(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> io::Result<(usize, Heard)>;
}

/// An end and its connection, ready to talk.
pub(crate) type Ready = (Wire, Box<dyn End>);

/// Both ends of one conversation; no hearer where the server itself is the other end.
pub(crate) struct Pair {
    pub(crate) speaker: Ready,
    pub(crate) hearer: Option<Ready>,
}

/// A protocol.
pub(crate) trait Protocol {
    /// Whether the server acknowledges what was said to who said it.
    fn acknowledges(&self) -> bool;

    /// Lets both ends of so many conversations in.
    fn pairs(&self, at: SocketAddr, count: usize) -> io::Result<Vec<Pair>>;
}

/// Conversations whose ends differ in nothing but their names. `end` is given its own, and whom it talks
/// with.
pub(crate) fn symmetric(
    count: usize,
    end: impl Fn(&str, &str) -> io::Result<Ready>,
) -> io::Result<Vec<Pair>> {
    let pair = |number| {
        let (speaker, hearer) = (format!("s{number}"), format!("h{number}"));
        Ok(Pair { hearer: Some(end(&hearer, &speaker)?), speaker: end(&speaker, &hearer)? })
    };
    (0..count).map(pair).collect()
}

/// What everybody says: 64 bytes.
pub(crate) const TEXT: &str = "What is said here has sixty-four bytes, as lines that people say";

pub(crate) fn nonsense(what: impl std::fmt::Debug) -> io::Error {
    io::Error::other(format!("the server says something else: {what:?}"))
}
