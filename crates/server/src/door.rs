//! The door of a line: which language a newcomer speaks, and whether anything is taken from them.
//!
//! ```text
//! first byte 0x16   TLS, and frames in it
//! anything else     frames, or something that is none: answered without TLS
//! ```

use std::{
    future::poll_fn,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use helpline_proto::{code::Code, limits, message::Message};
use tokio::{
    io::{AsyncRead as _, ReadBuf},
    net::TcpStream,
    time::{Instant, timeout_at},
};

use crate::{
    conn::{self, Accepted, Means},
    core::Origin,
    gate::Gate,
    socket::Socket,
    tell,
    tls::Tls,
};

#[cfg(test)]
pub(crate) mod tests;

/// Bytes of a newcomer's that are looked at.
const FIRST: usize = 1024;

/// The first byte of TLS: a record of its handshake.
const HANDSHAKE: u8 = 0x16;

/// What one has to pass.
#[derive(Clone, Debug)]
pub struct Door {
    /// TLS as the line speaks it.
    pub tls: Tls,
    /// From whom plaintext is taken.
    pub plaintext: Plaintext,
    /// Who is kept out.
    pub gate: Arc<Gate>,
}

/// From where a line takes plaintext.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Plaintext {
    /// From this machine, where nobody listens on the way.
    #[default]
    FromHere,
    /// From anywhere: somebody else encrypts, or nobody does.
    FromAnywhere,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Language {
    Tls,
    Plaintext,
}

/// What is said on a connection, until it ends.
type Talk = Pin<Box<dyn Future<Output = io::Result<()>> + Send>>;

/// How far a connection has come.
enum Visit {
    Meeting(Pin<Box<dyn Future<Output = io::Result<Talk>> + Send>>),
    Talking(Talk),
}

/// Serves a connection in the language that its peer speaks.
pub(crate) fn open(
    stream: TcpStream,
    accepted: Accepted,
    means: Arc<Means>,
) -> impl Future<Output = io::Result<()>> + Send {
    // In boxes: for as long as a connection lasts it holds what it needs now, and not what it needed before.
    let mut visit = Visit::Meeting(Box::pin(meet(stream, accepted, means)));
    // An async block would hold 8 bytes more, for which its task would take 128.
    poll_fn(move |cx| {
        let ended = ready!(visit.poll(cx));
        if let Err(error) = &ended {
            tracing::debug!(%error, "a connection broke");
        }
        Poll::Ready(ended)
    })
}

impl Visit {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            match self {
                Self::Meeting(meeting) => {
                    *self = Self::Talking(ready!(meeting.as_mut().poll(cx))?);
                }
                Self::Talking(talk) => return talk.as_mut().poll(cx),
            }
        }
    }
}

async fn meet(mut stream: TcpStream, accepted: Accepted, means: Arc<Means>) -> io::Result<Talk> {
    let until = Instant::from(means.clock.instant(accepted.at + limits::HANDSHAKE));
    // Whoever says nothing hears in plaintext that it took too long.
    let first = timeout_at(until, first_bytes(&mut stream)).await.unwrap_or(Ok(Vec::new()))?;
    let language = match first.first() {
        Some(&HANDSHAKE) => Language::Tls,
        _ => Language::Plaintext,
    };
    let socket = Socket::begun(stream, first);
    if language == Language::Plaintext {
        let refused = refused(&means, accepted.origin, language);
        return Ok(Box::pin(conn::run(socket, accepted, refused, means)));
    }
    let stream = timeout_at(until, means.door.tls.acceptor().accept(socket)).await??;
    let refused = refused(&means, accepted.origin, language);
    Ok(Box::pin(conn::run(stream, accepted, refused, means)))
}

/// What came first; nothing if nothing will.
async fn first_bytes(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    poll_fn(|cx| {
        let mut first = [0; FIRST];
        let mut first = ReadBuf::new(&mut first);
        ready!(Pin::new(&mut *stream).poll_read(cx, &mut first))?;
        Poll::Ready(Ok(first.filled().to_vec()))
    })
    .await
}

/// What somebody is told whom nothing is taken from.
fn refused(means: &Means, origin: Origin, language: Language) -> Option<Message> {
    let Origin::Address(address) = origin else { return None };
    let now = means.clock.now().at;
    if let Some(until) = means.door.gate.banned(address, now) {
        return Some(tell::banned(until, now));
    }
    let is_taken = language == Language::Tls
        || means.door.plaintext == Plaintext::FromAnywhere
        || address.is_loopback();
    (!is_taken).then(not_encrypted)
}

fn not_encrypted() -> Message {
    tell::goodbye(
        Code::NOT_ENCRYPTED,
        "this line takes only TLS; call it with helpline, without --plaintext",
    )
}
