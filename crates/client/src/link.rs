//! A connection to a server, made anew whenever it breaks.

use std::{
    collections::VecDeque,
    fmt,
    future::{Future, poll_fn},
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use helpline_proto::{
    ids::{Answering, CallId, Nonce, Seq, Side, Ticket},
    limits,
    message::{Join, Message, Ref, SignOn},
    session::{ClientSession, Lost, NotOpen, Opening},
    text::{Agent, LineName, Name, Secret, Text},
    time::Moment,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::{Instant, Sleep, sleep_until, timeout},
};

use crate::{
    Address, Event,
    dial::{DialError, Dialler},
    kept::Kept,
    stream::Stream,
    tokens::Remembering,
    trust::Security,
};

use self::{
    again::Again,
    wire::{Reading, Wire},
};

mod again;
#[cfg(test)]
mod tests;
mod wire;

/// A conversation with a server, over as many connections as it takes, and what is known of it.
///
/// ```text
///                  Offline                  Offline again
///   connected ─────────────► pause ───► dialling ──┐
///     ▲  │                     ▲                   │
///     │  │                     └───────────────────┤
///     │  │                                         │
///     └──┼── Told(Admitted), Told(Resumed) ────────┘
///        └──► Over, as after trying for too long
/// ```
///
/// Nothing happens unless [`next`](Self::next) is awaited: it sends, receives, keeps the connection
/// alive and makes a new one. Requests only note what is to be sent.
///
/// **When the connection breaks** there is an [`Event::Offline`], and another for each attempt that fails.
/// The first attempt comes after about 0.2 s, later ones after up to 2 s (or when the server has said that
/// one makes sense), and each is given up after 3 s. Lines may still be said: they are kept, and sent in order
/// when [`Message::Admitted`] and [`Message::Resumed`] tell that the client is back. Entries that were missed
/// follow, and none comes twice. After 120 s for a caller whom nobody has answered yet, and 10 min for
/// anybody else, the last event is [`Event::Over`]; lines that are still unsaid then have no
/// [`Event::NotSaid`], and are counted by [`unsaid`](Self::unsaid).
pub struct Link<S = Stream> {
    state: State<S>,
    session: ClientSession,
    redial: Option<Redial<S>>,
    again: Again,
    kept: Option<Kept>,
    remembering: Option<Remembering>,
    /// What has happened and wasn't told yet.
    events: VecDeque<Event>,
    /// When the session's clock began to count.
    begun: Instant,
    timer: Pin<Box<Sleep>>,
}

// What waits to be sent has secrets in it.
impl<S> fmt::Debug for Link<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link")
            .field("state", &self.state)
            .field("attempt", &self.again.attempt())
            .field("unsaid", &self.session.unsaid())
            .finish_non_exhaustive()
    }
}

/// Why there is no new stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoStream {
    /// There may be one later.
    ForNow,
    /// There will be none.
    ForEver,
}

type Dialling<S> = Pin<Box<dyn Future<Output = Result<S, NoStream>> + Send>>;

/// Makes new streams.
struct Redial<S>(Box<dyn FnMut() -> Dialling<S> + Send>);

enum State<S> {
    Connected(Wire<S>),
    Pause {
        until: Moment,
    },
    Dialling {
        begun: Moment,
        dialling: Dialling<S>,
    },
    /// The last event is among those to be told, or told.
    Over,
}

impl<S> fmt::Debug for State<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Connected(_) => "Connected",
            Self::Pause { .. } => "Pause",
            Self::Dialling { .. } => "Dialling",
            Self::Over => "Over",
        })
    }
}

/// Makes the secret that stands for one call or one sign-on.
///
/// # Errors
/// The system has no random bytes.
pub fn ticket() -> Result<Ticket, getrandom::Error> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes)?;
    Ok(Ticket(bytes))
}

impl Link<Stream> {
    /// Dials, and asks for a place on the line that the address names, or on the server's own.
    ///
    /// For a line that wants an invitation, [`dial`](Self::dial) with a `Join` that has it.
    ///
    /// # Errors
    /// There is no connection: the first one is tried once. What the server says to the request comes from
    /// [`next`](Self::next).
    pub async fn call(
        address: &Address,
        name: Name,
        security: &Security,
    ) -> Result<Self, DialError> {
        let ticket = ticket().map_err(DialError::NoRandomness)?;
        Self::dial(address, join(ticket, address.line.clone(), name, None), security).await
    }

    /// Dials, and signs on as an operator, with the token of the account of this name.
    ///
    /// The token is sent to whoever `security` trusts: with [`Trust::FirstContact`](crate::Trust::FirstContact)
    /// that may be anybody. To look first whom one has [`met`](Stream::met), begin with a [`Dialler`].
    ///
    /// # Errors
    /// As for [`call`](Self::call).
    pub async fn desk(
        address: &Address,
        name: Name,
        token: Option<Secret>,
        answering: Answering,
        security: &Security,
    ) -> Result<Self, DialError> {
        let ticket = ticket().map_err(DialError::NoRandomness)?;
        Self::dial(address, sign_on(ticket, name, token, answering), security).await
    }

    /// Dials, and begins with whatever is asked for: with a ticket that was kept, for example.
    ///
    /// # Errors
    /// As for [`call`](Self::call).
    pub async fn dial(
        address: &Address,
        opening: Opening,
        security: &Security,
    ) -> Result<Self, DialError> {
        let dialler = Dialler::new(address, security)?;
        let stream = dialler.dial().await?;
        Ok(Self::over(stream, opening).dialling(dialler))
    }

    /// Makes new connections with this.
    #[must_use]
    pub fn dialling(self, dialler: Dialler) -> Self {
        self.redialling(move || {
            let dialler = dialler.clone();
            async move { dialler.redial().await.map_err(|_| NoStream::ForNow) }
        })
    }
}

pub(crate) fn join(
    ticket: Ticket,
    line: Option<LineName>,
    name: Name,
    invite: Option<Secret>,
) -> Opening {
    Opening::Join(Join { ticket, line, name, invite })
}

pub(crate) fn sign_on(
    ticket: Ticket,
    name: Name,
    token: Option<Secret>,
    answering: Answering,
) -> Opening {
    Opening::SignOn(SignOn { ticket, name, answering, token })
}

#[expect(clippy::expect_used, reason = "a name and a version are shorter than 64 bytes")]
fn agent() -> Agent {
    Agent::new(concat!("helpline-client/", env!("CARGO_PKG_VERSION"))).expect("a short agent")
}

impl<S: AsyncRead + AsyncWrite + Unpin> Link<S> {
    /// Begins the conversation on any stream of bytes that leads to a server. It ends with the stream, unless
    /// there are to be [others](Self::redialling).
    ///
    /// # Panics
    /// Outside a tokio runtime with its clock.
    #[must_use]
    pub fn over(stream: S, opening: Opening) -> Self {
        let again = match opening {
            Opening::Join(_) => Again::new(Side::Caller, true),
            Opening::SignOn(_) => Again::new(Side::Operator, true),
            Opening::Resume(side, _) => Again::new(side, false),
        };
        Self {
            state: State::Connected(Wire::new(stream)),
            session: ClientSession::new(opening, agent(), Moment(0)),
            redial: None,
            again,
            kept: None,
            remembering: None,
            events: VecDeque::new(),
            begun: Instant::now(),
            timer: Box::pin(sleep_until(Instant::now())),
        }
    }

    /// Goes on over a new stream whenever the old one is of no more use.
    ///
    /// `redial` is called once for each attempt. What it returns is dropped if it isn't ready after 3 s.
    #[must_use]
    pub fn redialling<F>(self, mut redial: impl FnMut() -> F + Send + 'static) -> Self
    where
        F: Future<Output = Result<S, NoStream>> + Send + 'static,
    {
        let redial: Box<dyn FnMut() -> Dialling<S> + Send> = Box::new(move || Box::pin(redial()));
        Self { redial: Some(Redial(redial)), ..self }
    }

    /// Keeps unsaid lines on disk, and takes over those that an earlier process has left there.
    ///
    /// The opening has to be with the ticket that is kept there. The file stays when the link is dropped;
    /// [`forget`](Self::forget) removes it.
    #[must_use]
    pub fn keeping(mut self, kept: Kept) -> Self {
        for line in kept.lines() {
            self.session.restore(line.call, line.nonce, line.text.clone());
        }
        Self { kept: Some(kept), ..self }
    }

    /// Remembers the token once it was good, or removes it once it is not.
    pub(crate) fn remembering(self, remembering: Remembering) -> Self {
        Self { remembering: Some(remembering), ..self }
    }

    /// What happens next. `None` after [`Event::Over`].
    ///
    /// Cancel safe: an event is either returned or still there, and an attempt to connect goes on.
    pub async fn next(&mut self) -> Option<Event> {
        poll_fn(|cx| {
            loop {
                self.settle();
                if let Some(event) = self.events.pop_front() {
                    return Poll::Ready(Some(event));
                }
                if self.is_over() {
                    return Poll::Ready(None);
                }
                ready!(self.poll_work(cx, Reading::Yes));
            }
        })
        .await
    }

    /// Sends what is to be sent, and keeps the connection alive or makes a new one, without reading: for
    /// whoever has no room for events. Returns only when nothing more will come of it.
    ///
    /// Cancel safe, as [`next`](Self::next) is.
    pub async fn keep(&mut self) {
        poll_fn(|cx| {
            loop {
                self.settle();
                if self.is_over() {
                    return Poll::Ready(());
                }
                // The few words that let a client in again have room.
                let reading = if self.again.is_let_in() { Reading::No } else { Reading::Yes };
                ready!(self.poll_work(cx, reading));
            }
        })
        .await;
    }

    /// Waits until the server has let this client in, or the connection is of no more use. What there is to
    /// know comes from [`next`](Self::next) nevertheless. Cancel safe.
    pub(crate) async fn let_in(&mut self) -> Result<(), Lost> {
        poll_fn(|cx| {
            loop {
                self.settle();
                if self.again.is_let_in() {
                    return Poll::Ready(Ok(()));
                }
                if let Some(Event::Offline(lost) | Event::Over(lost)) = self.events.back() {
                    return Poll::Ready(Err(lost.clone()));
                }
                ready!(self.poll_work(cx, Reading::Yes));
            }
        })
        .await
    }

    /// Wants a line said, on this connection or a later one. `reference` comes back in its
    /// [`Said`](helpline_proto::message::Said) or [`Event::NotSaid`].
    ///
    /// # Errors
    /// The call isn't open here, or has ended.
    pub fn say(&mut self, call: CallId, text: Text, reference: Ref) -> Result<Nonce, NotOpen> {
        self.is_alive()?;
        let nonce = self.session.say(call, text.clone(), reference)?;
        if let Some(kept) = &mut self.kept {
            kept.say(call, nonce, &text);
            if kept.has_grown() {
                kept.restate(self.session.unsaid_lines());
            }
        }
        Ok(nonce)
    }

    /// Hangs up, behind everything that was to be said before, on this connection or a later one.
    ///
    /// # Errors
    /// The call isn't open here, or has ended.
    pub fn hang_up(&mut self, call: CallId, reference: Ref) -> Result<(), NotOpen> {
        self.is_alive()?;
        self.session.hang_up(call, reference)
    }

    /// Lets the other side know that somebody types. More than once in 3 s is a waste.
    pub fn typing(&mut self, call: CallId) {
        self.session.typing(call);
    }

    /// Asks for anything else: `Next`, `Answer`, `Ready`, `Pause`, `SignOff`, `Ban`, `Invite`. Without a connection the answer
    /// is an `Error`.
    pub fn request(&mut self, request: Message, reference: Ref) {
        self.session.request(request, reference);
    }

    /// An entry has been shown. The end of a call, once shown, is answered: until then the server
    /// keeps the call for this client.
    pub fn shown(&mut self, call: CallId, seq: Seq) {
        self.session.shown(call, seq);
    }

    /// How many lines are not known to be recorded.
    #[must_use]
    pub fn unsaid(&self) -> usize {
        self.session.unsaid()
    }

    /// How many bytes they have. Past [`limits::UNSAID`] no further input should be read.
    #[must_use]
    pub fn unsaid_bytes(&self) -> usize {
        self.session.unsaid_bytes()
    }

    /// The lines that are not known to be recorded, with their calls and nonces, in order.
    pub fn unsaid_lines(&self) -> impl Iterator<Item = (CallId, Nonce, &Text)> {
        self.session.unsaid_lines()
    }

    /// Which attempt to connect again is due or under way, counted from 1; 0 while there is a connection.
    #[must_use]
    pub fn attempt(&self) -> u32 {
        self.again.attempt()
    }

    /// Whether lines that are unsaid when the process ends are [kept](Self::keeping).
    #[must_use]
    pub fn is_kept(&self) -> bool {
        self.kept.is_some()
    }

    /// Removes what is [kept](Self::keeping): nobody will go on with this call or sign-on.
    pub fn forget(&mut self) {
        if let Some(kept) = self.kept.take() {
            kept.remove();
        }
    }

    /// Sends what is still to be sent, says that nothing follows, and waits until the server has
    /// nothing to say either; 2 s at most. Without a connection, or after [`Event::Over`], there is nothing
    /// to wait for.
    pub async fn close(&mut self) {
        let now = self.now();
        let (wire, session) = match std::mem::replace(&mut self.state, State::Over) {
            State::Connected(wire) => (wire, &mut self.session),
            _ => return,
        };
        let mut wire = wire;
        let closed = timeout(limits::LINGER, async {
            poll_fn(|cx| wire.poll_sent(cx, session, now)).await?;
            poll_fn(|cx| wire.poll_shutdown(cx)).await?;
            poll_fn(|cx| wire.poll_drained(cx)).await?;
            io::Result::Ok(())
        });
        match closed.await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!("while closing: {error}"),
            Err(_elapsed) => tracing::debug!("the server keeps the connection open"),
        }
    }

    fn is_over(&self) -> bool {
        matches!(self.state, State::Over)
    }

    /// What a session that is over would still take, nobody would hear of again, as the events that tell of
    /// the end may be on their way already.
    fn is_alive(&self) -> Result<(), NotOpen> {
        if self.is_over() { Err(NotOpen) } else { Ok(()) }
    }

    fn now(&self) -> Moment {
        Moment(u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX))
    }

    /// Takes note of what the session has learnt, before anything more is sent.
    fn settle(&mut self) {
        let mut changed = false;
        while let Some(event) = self.session.poll_event() {
            match &event {
                Event::Offline(lost) => {
                    self.lost(lost.clone());
                    continue;
                }
                Event::Over(lost) => {
                    self.state = State::Over;
                    if let Some(remembering) = &mut self.remembering {
                        remembering.over(lost);
                    }
                }
                Event::Told(_, Message::Admitted(_)) => {
                    self.again.let_in(self.now());
                    if let Some(remembering) = &mut self.remembering {
                        remembering.let_in();
                    }
                }
                Event::Told(_, Message::Connected(_)) => self.again.answered(),
                // Other numbers, or fewer lines.
                Event::Told(_, Message::Resumed(_)) | Event::NotSaid { .. } => changed = true,
                Event::Welcomed(_) | Event::Told(..) => {}
            }
            self.events.push_back(event);
        }
        if let Some(kept) = &mut self.kept {
            if changed {
                kept.restate(self.session.unsaid_lines());
            } else if self.session.unsaid_lines().next().is_none() {
                kept.clear();
            }
        }
    }

    /// There is no connection: it was lost, or an attempt to make one has failed.
    fn lost(&mut self, lost: Lost) {
        if self.redial.is_none() {
            return self.session.stop(lost);
        }
        let now = self.now();
        let random = getrandom::u32().map_or(0.5, |random| f64::from(random) / f64::from(u32::MAX));
        let until = self.again.lost(&lost, now, random);
        if self.again.gives_up().is_some_and(|end| now >= end) {
            return self.session.stop(self.again.why());
        }
        self.state = State::Pause { until };
        // Nobody may be listening for long. One says it all.
        if let Some(Event::Offline(_)) = self.events.back() {
            self.events.pop_back();
        }
        self.events.push_back(Event::Offline(lost));
    }

    /// Sends, receives, connects, or acts on a deadline; ready when that changed something.
    fn poll_work(&mut self, cx: &mut Context<'_>, reading: Reading) -> Poll<()> {
        let now = self.now();
        let end = self.again.gives_up();
        let due = match &mut self.state {
            State::Connected(wire) => {
                if reading == Reading::No {
                    self.session.not_reading(now);
                }
                if wire.poll_work(cx, &mut self.session, now, reading).is_ready() {
                    return Poll::Ready(());
                }
                let Some(due) = self.session.poll_timeout() else { return Poll::Pending };
                ready!(self.poll_until(cx, due));
                // The timer counts whole milliseconds too, but need not round them the same way.
                self.session.handle_timeout(self.now().max(due));
                return Poll::Ready(());
            }
            State::Pause { until } => *until,
            State::Dialling { begun, dialling } => match dialling.as_mut().poll(cx) {
                Poll::Ready(Ok(stream)) => {
                    let begun = *begun;
                    self.state = State::Connected(Wire::new(stream));
                    self.session.connected(begun);
                    return Poll::Ready(());
                }
                Poll::Ready(Err(NoStream::ForNow)) => {
                    self.lost(Lost::Broken);
                    return Poll::Ready(());
                }
                Poll::Ready(Err(NoStream::ForEver)) => {
                    self.session.stop(self.again.why());
                    return Poll::Ready(());
                }
                Poll::Pending => *begun + limits::RECONNECT_TRY,
            },
            State::Over => return Poll::Ready(()),
        };
        ready!(self.poll_until(cx, end.map_or(due, |end| due.min(end))));
        match &mut self.redial {
            Some(redial) if end.is_none_or(|end| due < end) => {
                if let State::Pause { .. } = self.state {
                    self.state = State::Dialling { begun: due.max(now), dialling: (redial.0)() };
                } else {
                    self.lost(Lost::NoAnswer);
                }
            }
            _ => self.session.stop(self.again.why()),
        }
        Poll::Ready(())
    }

    fn poll_until(&mut self, cx: &mut Context<'_>, due: Moment) -> Poll<()> {
        let due = self.begun + Duration::from_millis(due.0);
        if self.timer.deadline() != due {
            self.timer.as_mut().reset(due);
        }
        self.timer.as_mut().poll(cx)
    }
}
