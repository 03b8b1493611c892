//! Helpline: callers say, operators hear; what is said comes back as the acknowledgement.

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::BytesMut;
use helpline_proto::{
    frame,
    ids::{Answering, CallId, Nonce, Side, Ticket},
    limits,
    message::{Connected, Hello, Join, Message, Place, Ref, Said, Say, SignOn},
    text::{Agent, Name, Secret, Text},
    version,
};
use rustls::ClientConfig;

use crate::wire::Wire;

use super::{End, Heard, Pair, Protocol, Ready, TEXT, nonsense};

/// A line, and how it is dialled.
pub(crate) struct Helpline {
    /// The token of the one account that all operators of the measurement share.
    pub(crate) token: Secret,
    /// Under TLS, if there is one.
    pub(crate) tls: Option<Arc<ClientConfig>>,
}

/// What everybody is called.
pub(crate) const OPERATOR: &str = "Wei";
const CALLER: &str = "Ada";

impl Helpline {
    /// Connects, says hello and asks for something, in one go.
    pub(crate) fn dial(&self, at: SocketAddr, wish: Message) -> io::Result<Wire> {
        let mut wire = match &self.tls {
            Some(config) => Wire::connect_tls(at, config)?,
            None => Wire::connect(at)?,
        };
        greet(&mut wire.out, wish)?;
        Ok(wire)
    }

    /// A caller who waits.
    pub(crate) fn caller(&self, at: SocketAddr) -> io::Result<Wire> {
        let mut wire = self.dial(at, join()?)?;
        placed(&mut wire)?;
        Ok(wire)
    }

    /// Asks to answer, whoever comes by itself.
    pub(crate) fn sign_on(&self) -> io::Result<Message> {
        let name = Name::new(OPERATOR).map_err(io::Error::other)?;
        let token = Some(self.token.clone());
        Ok(SignOn { ticket: ticket(), name, answering: Answering::ByItself, token }.into())
    }

    /// An operator to whom callers come by themselves.
    pub(crate) fn operator(&self, at: SocketAddr) -> io::Result<Wire> {
        let mut wire = self.dial(at, self.sign_on()?)?;
        wire.ask(|bytes| {
            find(bytes, |message| match message {
                Message::Board(_) => Some(()),
                _ => None,
            })
        })?;
        Ok(wire)
    }
}

/// Says hello and asks for something, in one go.
pub(crate) fn greet(out: &mut Vec<u8>, wish: Message) -> io::Result<()> {
    let agent = Agent::new("helpline-bench").map_err(io::Error::other)?;
    put(out, Hello { versions: version::SPOKEN, features: 0, agent })?;
    put(out, wish)
}

/// Asks for a place.
pub(crate) fn join() -> io::Result<Message> {
    let name = Name::new(CALLER).map_err(io::Error::other)?;
    Ok(Join { ticket: ticket(), line: None, name, invite: None }.into())
}

/// Waits until a caller has a place.
pub(crate) fn placed(wire: &mut Wire) -> io::Result<Place> {
    wire.ask(|bytes| {
        find(bytes, |message| match message {
            Message::Place(place) => Some(place),
            _ => None,
        })
    })
}

fn ticket() -> Ticket {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let mut ticket = [0; 32];
    let number = NEXT.fetch_add(1, Ordering::Relaxed).to_be_bytes();
    ticket.iter_mut().zip(number).for_each(|(place, byte)| *place = byte);
    Ticket(ticket)
}

/// Puts a message behind `out`.
pub(crate) fn put(out: &mut Vec<u8>, message: impl Into<Message>) -> io::Result<()> {
    let mut frame = BytesMut::with_capacity(128);
    message.into().encode(Ref::NONE, &mut frame).map_err(io::Error::other)?;
    out.extend_from_slice(&frame);
    Ok(())
}

/// Cuts messages off the front until one is what is looked for.
pub(crate) fn find<T>(
    bytes: &[u8],
    mut look: impl FnMut(Message) -> Option<T>,
) -> io::Result<Option<(usize, T)>> {
    let mut used = 0;
    loop {
        let rest = bytes.get(used..).unwrap_or_default();
        let Some(frame) = frame::split(rest, limits::FRAME).map_err(io::Error::other)? else {
            return Ok(None);
        };
        used += frame.size();
        let message = Message::decode(frame).map_err(io::Error::other)?;
        match message {
            Message::Goodbye(goodbye) => return Err(nonsense(goodbye)),
            Message::Busy(busy) => return Err(nonsense(busy)),
            message => {
                if let Some(found) = look(message) {
                    return Ok(Some((used, found)));
                }
            }
        }
    }
}

struct Talker {
    call: CallId,
    side: Side,
    next: Nonce,
    text: Text,
}

impl End for Talker {
    fn say(&mut self, out: &mut Vec<u8>) -> io::Result<()> {
        put(out, Say { call: self.call, nonce: self.next, text: self.text.clone() })?;
        self.next = self.next.next().ok_or_else(|| nonsense("the last nonce"))?;
        Ok(())
    }

    fn hear(&mut self, bytes: &[u8], _: &mut Vec<u8>) -> io::Result<(usize, Heard)> {
        let (mut used, mut heard) = (0, Heard::default());
        loop {
            let rest = bytes.get(used..).unwrap_or_default();
            let Some(frame) = frame::split(rest, limits::FRAME).map_err(io::Error::other)? else {
                return Ok((used, heard));
            };
            used += frame.size();
            if frame.kind != Said::NUMBER {
                continue;
            }
            match Message::decode(frame).map_err(io::Error::other)? {
                Message::Said(said) if said.from == self.side => heard.acknowledged += 1,
                _ => heard.texts += 1,
            }
        }
    }
}

fn connected(mut wire: Wire, side: Side) -> io::Result<Ready> {
    let Connected { call, next_nonce, .. } = wire.ask(|bytes| {
        find(bytes, |message| match message {
            Message::Connected(connected) => Some(connected),
            _ => None,
        })
    })?;
    let text = Text::new(TEXT).map_err(io::Error::other)?;
    Ok((wire, Box::new(Talker { call, side, next: next_nonce, text })))
}

impl Protocol for Helpline {
    fn acknowledges(&self) -> bool {
        true
    }

    fn pairs(&self, at: SocketAddr, count: usize) -> io::Result<Vec<Pair>> {
        let pair = |_| {
            let caller = self.caller(at)?;
            let operator = self.operator(at)?;
            let hearer = Some(connected(operator, Side::Operator)?);
            Ok(Pair { speaker: connected(caller, Side::Caller)?, hearer })
        };
        (0..count).map(pair).collect()
    }
}
