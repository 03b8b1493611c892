//! One connection: bytes to the session and back, questions to the core, answers from it.
//!
//! Terminals, browsers and the server's own console all end in `run`.

use std::{
    cell::RefCell,
    io,
    ops::{Deref, DerefMut},
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{Buf as _, Bytes, BytesMut};
use helpline_proto::{
    code::Code,
    frame, limits,
    message::{Message, Ref},
    session::{ServerEvent, ServerSession, Settings},
    time::Moment,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep},
};

use crate::{
    budget::{Budget, Held},
    clock::Clock,
    core::{Inbox, Origin},
    crowd::{Crowd, Place},
    door::Door,
    inbox::{Closed, InboxSender, NotSent, Unsent},
    outbox::{Outbox, OutboxSender, outbox_within},
    socket::Taken,
    tell,
};

#[cfg(test)]
mod tests;

/// Bytes read at once, into one buffer a thread: a silent connection holds none.
const READ: usize = 64 * 1024;

/// Requests of one read for which there is room before they are seen, at most.
const FORETOLD: usize = 64;

/// Bytes gathered for one write, about.
const WRITE: usize = 64 * 1024;

thread_local! {
    static BUFFER: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ].into_boxed_slice());
}

/// What is told to somebody who came with a browser or a scanner.
const NOT_HTTP: &str = "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\n\
This is a Helpline, not a web server. Call it from a terminal: helpline call HOST:PORT\n";

/// What every connection needs to know.
#[derive(Clone, Debug)]
pub struct Means {
    /// What time it is.
    pub clock: Clock,
    /// The way to the core.
    pub inbox: InboxSender,
    /// What the host has set.
    pub settings: Settings,
    /// What newcomers have to pass.
    pub door: Door,
    /// Everybody who is connected.
    pub crowd: Arc<Crowd>,
    /// What may wait for everybody together.
    pub budget: Arc<Budget>,
}

/// A connection as it was accepted.
#[derive(Debug)]
pub(crate) struct Accepted {
    pub(crate) origin: Origin,
    pub(crate) at: Moment,
    pub(crate) place: Place,
}

/// Serves one connection until it ends. A peer who is refused hears so once it has said something.
///
/// # Errors
/// The connection failed.
pub(crate) fn run<S>(
    stream: S,
    accepted: Accepted,
    refused: Option<Message>,
    means: Arc<Means>,
) -> impl Future<Output = io::Result<()>> + Send + use<S>
where
    S: AsyncRead + AsyncWrite + Taken + Unpin + Send,
{
    // Made here and not in the future, which would else have room for all that it is made of, too.
    let mut connection = Connection::new(stream, accepted, refused, means);
    async move {
        let mut timer = pin!(tokio::time::sleep(Duration::ZERO));
        let talked = std::future::poll_fn(|cx| {
            let talked = connection.poll(cx, timer.as_mut());
            connection.rest();
            talked
        });
        talked.await?;
        Box::pin(connection.farewell()).await
    }
}

/// Whether the peer has stopped sending.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ended {
    No,
    /// It has, and the core is to be told.
    Yes,
    Told,
}

/// What is of use until the core knows of a connection.
struct Newcomer {
    origin: Origin,
    /// What a peer hears from whom nothing is taken.
    refused: Option<Bytes>,
    /// The core's end of the outbox.
    outbox: OutboxSender,
}

/// What is on its way through a connection.
#[derive(Default)]
struct Passing {
    /// Bytes that came and aren't handled: the beginning of a frame, or what a paused peer said.
    rest: Vec<u8>,
    asked: Vec<ServerEvent>,
    out: Bytes,
    /// Bytes that were written and may still be on this side.
    unflushed: usize,
}

static NOTHING: Passing =
    Passing { rest: Vec::new(), asked: Vec::new(), out: Bytes::new(), unflushed: 0 };

/// The same, in no room while it is nothing.
#[derive(Default)]
struct OnTheWay(Option<Box<Passing>>);

impl OnTheWay {
    fn shrink(&mut self) {
        self.0.take_if(|passing| {
            let Passing { rest, asked, out, unflushed } = &**passing;
            rest.is_empty() && asked.is_empty() && out.is_empty() && *unflushed == 0
        });
    }
}

impl Deref for OnTheWay {
    type Target = Passing;

    fn deref(&self) -> &Passing {
        self.0.as_deref().unwrap_or(&NOTHING)
    }
}

impl DerefMut for OnTheWay {
    fn deref_mut(&mut self) -> &mut Passing {
        self.0.get_or_insert_default()
    }
}

struct Connection<S> {
    stream: S,
    place: Place,
    is_stranger: bool,
    /// The bytes here.
    held: Held,
    session: ServerSession,
    means: Arc<Means>,
    /// What waits for room on the way to the core.
    unsent: Option<Box<Unsent>>,
    newcomer: Option<Box<Newcomer>>,
    outbox: Outbox,
    passing: OnTheWay,
    ended: Ended,
    core_let_go: bool,
    core_waits: bool,
}

impl<S: AsyncRead + AsyncWrite + Taken + Unpin> Connection<S> {
    fn new(
        stream: S,
        Accepted { origin, at, place }: Accepted,
        refused: Option<Message>,
        means: Arc<Means>,
    ) -> Self {
        let (sender, outbox) = outbox_within(Arc::clone(&means.budget));
        let refused = refused.map(|message| tell::frame(&message, Ref::NONE));
        let newcomer = Newcomer { origin, refused, outbox: sender };
        Self {
            stream,
            place,
            is_stranger: true,
            held: Held::nothing(Arc::clone(&means.budget)),
            session: ServerSession::new(means.settings, at),
            means,
            unsent: None,
            newcomer: Some(Box::new(newcomer)),
            outbox,
            passing: OnTheWay::default(),
            ended: Ended::No,
            core_let_go: false,
            core_waits: false,
        }
    }

    /// Goes on until the last words are written. Ready when they are.
    fn poll(&mut self, cx: &mut Context<'_>, mut timer: Pin<&mut Sleep>) -> Poll<io::Result<()>> {
        loop {
            let now = self.means.clock.moment();
            if self.is_held_back(now) {
                self.session.not_reading(now);
            }
            self.session.handle_timeout(now);
            self.gather(cx);
            if self.is_stranger && self.session.role().is_some() {
                self.is_stranger = false;
                self.place.let_in();
            }
            let wrote = !self.is_being_let_in() && self.poll_write(cx, now)?;
            let asked = self.poll_ask(cx)?;
            if self.session.is_closing() {
                if self.all_is_out() && self.passing.asked.is_empty() && self.unsent.is_none() {
                    return Poll::Ready(Ok(()));
                }
                if self.gives_up_at().is_some_and(|at| now >= at) {
                    return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
                }
            }
            let read = self.poll_read(cx, now)?;
            if !wrote && !asked && !read && self.poll_timer(cx, timer.as_mut(), now).is_pending() {
                return Poll::Pending;
            }
        }
    }

    /// Counts what is kept for the peer, and of it, until it is woken again. Whoever has nothing to do holds no
    /// buffers.
    fn rest(&mut self) {
        self.session.shrink();
        let to_write = self.session.waiting() + self.passing.out.len() + self.passing.unflushed;
        self.held.set(to_write + self.passing.rest.len());
        self.passing.shrink();
    }

    /// Gathers all that is ready to be written.
    fn gather(&mut self, cx: &mut Context<'_>) {
        self.hear(cx);
        if self.passing.out.len() >= WRITE {
            return;
        }
        let Some(first) = self.session.poll_transmit() else { return };
        if self.passing.out.is_empty() && self.session.waiting() == 0 {
            // Alone it need not be copied.
            self.passing.out = first;
            return;
        }
        let mut out = BytesMut::from(std::mem::take(&mut self.passing.out));
        out.extend_from_slice(&first);
        while out.len() < WRITE
            && let Some(next) = self.session.poll_transmit()
        {
            out.extend_from_slice(&next);
        }
        self.passing.out = out.freeze();
    }

    /// Hears from the core, as much as is written at once.
    fn hear(&mut self, cx: &mut Context<'_>) {
        while !self.core_let_go && self.session.waiting() + self.passing.out.len() < WRITE {
            match self.outbox.poll_next(cx) {
                Poll::Ready(Some(frame)) => self.session.tell(frame),
                Poll::Ready(None) => {
                    self.core_let_go = true;
                    if self.means.inbox.is_closed() {
                        self.session.close(Code::INTERNAL, "the server failed");
                    } else {
                        self.session.close(Code::TOO_SLOW, "there was no room for more");
                    }
                }
                Poll::Pending => return,
            }
        }
    }

    /// True when the peer took something.
    fn poll_write(&mut self, cx: &mut Context<'_>, now: Moment) -> io::Result<bool> {
        let before = self.stream.taken();
        let mut stuck = false;
        while !self.passing.out.is_empty() && !stuck {
            match Pin::new(&mut self.stream).poll_write(cx, &self.passing.out) {
                Poll::Ready(Ok(0)) => return Err(io::ErrorKind::WriteZero.into()),
                Poll::Ready(Ok(size)) => {
                    self.passing.out.advance(size);
                    self.passing.unflushed = self.passing.unflushed.saturating_add(size).min(WRITE);
                }
                Poll::Ready(Err(error)) => return Err(error),
                Poll::Pending => stuck = true,
            }
        }
        if self.passing.unflushed > 0 {
            match Pin::new(&mut self.stream).poll_flush(cx) {
                Poll::Ready(flushed) => {
                    flushed?;
                    self.passing.unflushed = 0;
                }
                Poll::Pending => stuck = true,
            }
        }
        let took = self.stream.taken() != before;
        if took {
            self.session.progressed();
        }
        if stuck {
            self.session.stuck(now);
        } else if took {
            // An idle connection holds no buffer.
            self.passing.out = Bytes::new();
        }
        Ok(took)
    }

    /// Whether the core decides about a newcomer, who then hears of it at once with what the session has answered.
    fn is_being_let_in(&self) -> bool {
        let has_asked = self.newcomer.is_none() || !self.passing.asked.is_empty();
        self.is_stranger && has_asked && !self.session.is_closing()
    }

    /// Whether nothing waits on this side for the peer to take it.
    fn all_is_out(&self) -> bool {
        self.session.waiting() == 0 && self.passing.out.is_empty() && self.passing.unflushed == 0
    }

    /// True when something was brought to the core.
    fn poll_ask(&mut self, cx: &mut Context<'_>) -> io::Result<bool> {
        if self.newcomer.is_none() && self.all_is_out() && self.outbox.core_waits() {
            self.core_waits = true;
        }
        if self.unsent.is_some() {
            return self.poll_unsent(cx);
        }
        let leaves = self.ended == Ended::Yes && self.rest_is_partial();
        if self.passing.asked.is_empty() && !self.core_waits && !leaves {
            return Ok(false);
        }
        // Before it is let in, a peer asks for one thing only.
        let item = if self.newcomer.is_some()
            && let Some(event) = std::mem::take(&mut self.passing.asked).pop()
            && let Some(newcomer) = self.newcomer.take()
        {
            self.place.arrives();
            Inbox::Arrived(self.place.id(), newcomer.origin, newcomer.outbox, event)
        } else if !self.passing.asked.is_empty() {
            Inbox::Asked(self.place.id(), std::mem::take(&mut self.passing.asked))
        } else if std::mem::take(&mut self.core_waits) {
            Inbox::Emptied(self.place.id())
        } else {
            self.ended = Ended::Told;
            if self.newcomer.is_some() {
                self.session.close(Code::DONE, "goodbye");
                return Ok(true);
            }
            Inbox::Gone(self.place.id())
        };
        match self.means.inbox.try_send(item) {
            Ok(()) => Ok(true),
            Err(NotSent::Full(unsent)) => {
                self.unsent = Some(unsent);
                self.poll_unsent(cx)
            }
            Err(NotSent::Closed) => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }

    /// True when what waits for room has gone to the core.
    fn poll_unsent(&mut self, cx: &mut Context<'_>) -> io::Result<bool> {
        let Some(unsent) = &mut self.unsent else { return Ok(false) };
        match unsent.poll_send(cx) {
            Poll::Pending => return Ok(false),
            Poll::Ready(sent) => sent.map_err(|Closed| io::ErrorKind::BrokenPipe)?,
        }
        self.unsent = None;
        Ok(true)
    }

    /// Whether no whole frame is left of what came.
    fn rest_is_partial(&self) -> bool {
        !matches!(frame::split(&self.passing.rest, self.session.frame_limit()), Ok(Some(_)))
    }

    /// Whether nothing is read for now: the core is busy, the peer takes nothing, or it sends more
    /// than it may.
    fn is_held_back(&self, now: Moment) -> bool {
        !self.passing.asked.is_empty()
            || self.unsent.is_some()
            || self.passing.out.len() >= WRITE
            || self.session.paused_until(now).is_some()
    }

    /// True when something was read or handled.
    fn poll_read(&mut self, cx: &mut Context<'_>, now: Moment) -> io::Result<bool> {
        if self.is_held_back(now) || self.session.is_closing() {
            return Ok(false);
        }
        if !self.passing.rest.is_empty() {
            let rest = std::mem::take(&mut self.passing.rest);
            if self.handle(rest, now) {
                return Ok(true);
            }
        }
        if self.ended != Ended::No {
            return Ok(false);
        }
        BUFFER.with_borrow_mut(|buffer| {
            let mut buffer = ReadBuf::new(buffer);
            match poll_read(&mut self.stream, cx, &mut buffer) {
                Poll::Pending => return Ok(false),
                Poll::Ready(read) => read?,
            }
            let came = buffer.filled();
            if came.is_empty() {
                self.ended = Ended::Yes;
            } else if self.passing.rest.is_empty() {
                let used = self.handle_frames(came, now);
                self.keep(came.get(used..).unwrap_or_default().to_vec(), now);
            } else {
                let mut rest = std::mem::take(&mut self.passing.rest);
                rest.extend_from_slice(came);
                self.handle(rest, now);
            }
            Ok(true)
        })
    }

    /// Handles what was kept. True when that was anything.
    fn handle(&mut self, mut rest: Vec<u8>, now: Moment) -> bool {
        let used = self.handle_frames(&rest, now);
        rest.drain(..used);
        self.keep(rest, now);
        used > 0
    }

    /// Keeps what isn't handled yet; nothing, for an idle connection.
    fn keep(&mut self, rest: Vec<u8>, now: Moment) {
        if rest.is_empty() {
            self.passing.rest = Vec::new();
            return;
        }
        self.passing.rest = rest;
        if self.session.paused_until(now).is_none() {
            self.session.frame_begun(now);
        }
    }

    /// Hands whole frames to the session, as far as it may be given any. Returns the bytes used.
    fn handle_frames(&mut self, bytes: &[u8], now: Moment) -> usize {
        let refused = self.newcomer.as_mut().and_then(|newcomer| newcomer.refused.take());
        if let Some(goodbye) = refused {
            self.session.tell(goodbye);
            self.hint_at(bytes);
            return bytes.len();
        }
        let mut used = 0;
        while !self.session.is_closing() && self.session.paused_until(now).is_none() {
            let Some(bytes) = bytes.get(used..) else { break };
            match frame::split(bytes, self.session.frame_limit()) {
                Ok(Some(frame)) => {
                    used += frame.size();
                    self.session.handle(frame, now);
                    while let Some(event) = self.session.poll_event() {
                        if self.passing.asked.is_empty() {
                            // Those who say much at once say much the same.
                            self.passing.asked.reserve((bytes.len() / frame.size()).min(FORETOLD));
                        }
                        self.passing.asked.push(event);
                    }
                }
                Ok(None) => break,
                Err(error) => {
                    self.session.handle_garbage(error);
                    self.hint_at(bytes);
                }
            }
        }
        used
    }

    /// Whoever came with a browser reads what it can show, instead of a goodbye.
    fn hint_at(&mut self, bytes: &[u8]) {
        if looks_like_http(bytes) && self.passing.out.is_empty() {
            while self.session.poll_transmit().is_some() {}
            self.passing.out = Bytes::from_static(NOT_HTTP.as_bytes());
        }
    }

    /// When last words that the peer doesn't take are given up.
    fn gives_up_at(&self) -> Option<Moment> {
        self.session.stuck_since().map(|since| since + limits::NO_PROGRESS)
    }

    /// Ready when a deadline has passed.
    fn poll_timer(
        &self,
        cx: &mut Context<'_>,
        mut timer: Pin<&mut Sleep>,
        now: Moment,
    ) -> Poll<()> {
        let due = [self.session.poll_timeout(), self.session.paused_until(now)];
        let due = due.into_iter().flatten().min();
        let Some(due) = due.or_else(|| self.gives_up_at()) else { return Poll::Pending };
        let due = Instant::from(self.means.clock.instant(due));
        if timer.deadline() != due {
            timer.as_mut().reset(due);
        }
        timer.poll(cx)
    }

    /// Ends the connection so that what was written last arrives: the peer's side is read and
    /// thrown away until it ends too. Closing with bytes unread would reset it.
    async fn farewell(&mut self) -> io::Result<()> {
        // Nobody is there any more, however long the last words take.
        self.place.is_left();
        let until = Instant::now() + limits::LINGER;
        let quiet = async {
            std::future::poll_fn(|cx| Pin::new(&mut self.stream).poll_shutdown(cx)).await?;
            while self.ended == Ended::No {
                let read = std::future::poll_fn(|cx| {
                    BUFFER.with_borrow_mut(|buffer| {
                        let mut buffer = ReadBuf::new(buffer);
                        ready!(poll_read(&mut self.stream, cx, &mut buffer))?;
                        Poll::Ready(Ok::<_, io::Error>(buffer.filled().len()))
                    })
                });
                if read.await? == 0 {
                    break;
                }
            }
            Ok(())
        };
        tokio::time::timeout_at(until, quiet).await.unwrap_or(Ok(()))
    }
}

/// Reads; nothing at the end, whether TLS was ended first or not: frames say themselves whether they are whole.
fn poll_read(
    stream: &mut (impl AsyncRead + Unpin),
    cx: &mut Context<'_>,
    buffer: &mut ReadBuf<'_>,
) -> Poll<io::Result<()>> {
    match ready!(Pin::new(stream).poll_read(cx, buffer)) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Poll::Ready(Ok(())),
        read => Poll::Ready(read),
    }
}

fn looks_like_http(bytes: &[u8]) -> bool {
    [&b"GET "[..], b"POST", b"HEAD", b"PUT ", b"OPTI", b"CONN", b"DELE", b"PATC", b"TRAC", b"PRI "]
        .iter()
        .any(|method| bytes.starts_with(method))
}
