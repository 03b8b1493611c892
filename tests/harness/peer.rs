//! A raw wire connection.

use std::{
    collections::{BTreeMap, VecDeque},
    io::{self, ErrorKind},
    net::{SocketAddr, TcpStream},
    sync::atomic::{AtomicU64, Ordering},
    time::{SystemTime, UNIX_EPOCH},
};

use bytes::{Bytes, BytesMut};
use helpline_proto::{
    ids::{Answering, CallId, Nonce, Seq, Side, Ticket},
    message::{Hello, Join, Message, Ref, SignOn},
    text::{Agent, LineName, Name},
    version,
};

use crate::PATIENCE;

mod coming_back;
mod hearing;
mod saying;

/// What comes next on a connection.
#[derive(Clone, Debug, PartialEq)]
pub enum Got {
    /// A message, with its reference.
    Message(Ref, Message),
    /// The server has ended its side in good order.
    End,
    /// The connection broke.
    Broken(ErrorKind),
    /// Nothing, in the time given.
    Nothing,
}

/// A raw wire connection, blocking: it says exactly what it is told to, and nothing by itself.
///
/// It notes the call it is in from what it hears, so [`say`](Self::say) and
/// [`hang_up`](Self::hang_up) need no numbers. What the `expect`s pass over stays, and a later one finds it;
/// [`entries`](Self::entries) has the order. An entry that comes twice, or before its time, fails the story.
///
/// It also notes the ticket it asked with, so it may [come back](Self::come_back) when its connection is gone.
#[derive(Debug)]
pub struct Peer {
    address: SocketAddr,
    /// None once the connection was [reset](Self::reset) or [dropped](Self::vanish).
    stream: Option<TcpStream>,
    /// What it asked to be let in with.
    ticket: Option<(Side, Ticket)>,
    /// The last entry that came of each call.
    shown: BTreeMap<CallId, Seq>,
    buffer: BytesMut,
    /// What has come and was not expected yet.
    pending: VecDeque<(Ref, Message)>,
    entries: Vec<Message>,
    over: Option<Got>,
    call: Option<CallId>,
    next: Nonce,
}

impl Peer {
    /// Connects and says nothing.
    ///
    /// # Panics
    /// It can't.
    #[must_use]
    pub fn connect(address: SocketAddr) -> Self {
        Self::try_connect(address)
            .unwrap_or_else(|error| panic!("cannot connect to {address}: {error}"))
    }

    /// Connects and says nothing.
    ///
    /// # Errors
    /// It can't.
    pub fn try_connect(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
        stream.set_nodelay(true)?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Self {
            address,
            stream: Some(stream),
            ticket: None,
            shown: BTreeMap::new(),
            buffer: BytesMut::new(),
            pending: VecDeque::new(),
            entries: Vec::new(),
            over: None,
            call: None,
            next: Nonce::FIRST,
        })
    }

    /// Connects and says hello.
    ///
    /// # Panics
    /// It isn't welcome.
    #[must_use]
    pub fn welcomed(address: SocketAddr) -> Self {
        let mut peer = Self::connect(address);
        peer.send(Self::hello());
        peer.expect_welcome();
        peer
    }

    /// Connects, says hello and asks for a place, all in one write; the answer is still to be read.
    ///
    /// # Panics
    /// It can't connect.
    #[must_use]
    pub fn joining(address: SocketAddr, name: &str) -> Self {
        let mut peer = Self::connect(address);
        peer.send_all([Self::hello(), Self::join(name)]);
        peer
    }

    /// A caller who has been let in.
    ///
    /// # Panics
    /// Nobody lets it in.
    #[must_use]
    pub fn caller(address: SocketAddr, name: &str) -> Self {
        let mut peer = Self::joining(address, name);
        peer.expect_admitted();
        peer
    }

    /// An operator, signed on, to whom callers are given.
    ///
    /// # Panics
    /// Nobody lets it in.
    #[must_use]
    pub fn operator(address: SocketAddr, name: &str) -> Self {
        Self::signed_on(address, name, Answering::ByItself)
    }

    /// An operator, signed on, to whom callers are offered.
    ///
    /// # Panics
    /// Nobody lets it in.
    #[must_use]
    pub fn operator_by_hand(address: SocketAddr, name: &str) -> Self {
        Self::signed_on(address, name, Answering::ByHand)
    }

    fn signed_on(address: SocketAddr, name: &str, answering: Answering) -> Self {
        let mut peer = Self::connect(address);
        peer.send_all([Self::hello(), Self::sign_on(name, answering)]);
        peer.expect_admitted();
        peer
    }

    /// A caller and an operator in a call with each other, and nobody before them.
    ///
    /// # Panics
    /// They don't get connected.
    #[must_use]
    pub fn pair(address: SocketAddr) -> (Self, Self) {
        let mut operator = Self::operator(address, "Wei");
        let mut caller = Self::caller(address, "Ada");
        caller.expect_connected();
        operator.expect_connected();
        (caller, operator)
    }

    /// The first words.
    #[must_use]
    pub fn hello() -> Message {
        let agent = Agent::new("a story").unwrap();
        Hello { versions: version::SPOKEN, features: 0, agent }.into()
    }

    /// Asks for a place with a ticket of its own.
    #[must_use]
    pub fn join(name: &str) -> Message {
        Self::join_line(name, None)
    }

    /// Asks for a place on a line.
    #[must_use]
    pub fn join_line(name: &str, line: Option<&str>) -> Message {
        let line = line.map(|line| LineName::new(line).unwrap());
        Join { ticket: fresh_ticket(), line, name: Name::new(name).unwrap(), invite: None }.into()
    }

    /// Asks for a place with this ticket.
    #[must_use]
    pub fn join_with(name: &str, ticket: Ticket) -> Message {
        Join { ticket, line: None, name: Name::new(name).unwrap(), invite: None }.into()
    }

    /// Asks to answer callers, with a ticket of its own.
    #[must_use]
    pub fn sign_on(name: &str, answering: Answering) -> Message {
        Self::sign_on_with(name, answering, fresh_ticket())
    }

    /// Asks to answer callers, with this ticket.
    #[must_use]
    pub fn sign_on_with(name: &str, answering: Answering, ticket: Ticket) -> Message {
        SignOn { ticket, name: Name::new(name).unwrap(), answering, token: None }.into()
    }

    /// A message as the bytes of its frame.
    #[must_use]
    pub fn frame(message: &Message) -> Bytes {
        message.to_frame(Ref::NONE).unwrap()
    }

    /// The connection itself.
    ///
    /// # Panics
    /// It is gone.
    #[must_use]
    pub fn stream(&self) -> &TcpStream {
        self.stream.as_ref().expect("the peer has a connection")
    }

    /// The ticket it asked to be let in with.
    ///
    /// # Panics
    /// It asked for nothing yet.
    #[must_use]
    pub fn ticket(&self) -> Ticket {
        self.ticket.clone().expect("the peer has asked to be let in").1
    }

    /// The call it is in, or was in last.
    ///
    /// # Panics
    /// It has heard of none.
    #[must_use]
    pub fn call(&self) -> CallId {
        self.call.expect("the peer has heard of no call")
    }

    /// The nonce of its next line.
    #[must_use]
    pub fn next_nonce(&self) -> Nonce {
        self.next
    }

    /// Every entry that came, in the order they came.
    #[must_use]
    pub fn entries(&self) -> &[Message] {
        &self.entries
    }

    /// The texts that came, in the order they came.
    #[must_use]
    pub fn heard(&self) -> Vec<&str> {
        let texts = self.entries.iter().filter_map(|entry| match entry {
            Message::Said(said) => Some(said.text.as_str()),
            _ => None,
        });
        texts.collect()
    }
}

/// A ticket nobody else has: unique is enough here, secret it needn't be.
fn fresh_ticket() -> Ticket {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
    let mut ticket = [0; 32];
    ticket[..16].copy_from_slice(&now.to_be_bytes());
    ticket[16..24].copy_from_slice(&COUNT.fetch_add(1, Ordering::Relaxed).to_be_bytes());
    ticket[24..28].copy_from_slice(&std::process::id().to_be_bytes());
    Ticket(ticket)
}
