//! A connection to a server.

use std::{
    future::poll_fn,
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{Buf, BytesMut};
use helpline_proto::{
    frame,
    ids::{Answering, CallId, Nonce, Seq, Ticket},
    limits,
    message::{Join, Message, Ref, SignOn},
    session::{ClientSession, NotOpen, Opening},
    text::{Agent, LineName, Name, Text},
    time::Moment,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::{Instant, Sleep, sleep_until, timeout},
};

use crate::{
    Event,
    address::Address,
    dial::{DialError, dial},
};

/// Bytes read at once. A buffer grows by as much, never by what a header claims.
const READ: usize = 8 * 1024;

/// Bytes gathered for one write, where there is more to say.
const WRITE: usize = 64 * 1024;

/// A connection to a server, and what is known on it.
///
/// Nothing happens unless [`next`](Self::next) is awaited: it sends, receives and keeps the connection
/// alive. Requests only note what is to be sent.
#[derive(Debug)]
pub struct Link<S = TcpStream> {
    stream: S,
    session: ClientSession,
    /// When the session's clock began to count.
    begun: Instant,
    timer: Pin<Box<Sleep>>,
    received: BytesMut,
    to_send: BytesMut,
    /// The stream takes nothing any more; what it has still to give is read.
    deaf: bool,
    /// Sent, but maybe kept in a buffer of the stream.
    unflushed: bool,
    /// The stream has given all it had.
    ended: bool,
    is_over: bool,
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

impl Link<TcpStream> {
    /// Dials, and asks for a place on the line that the address names, or on the server's own.
    ///
    /// # Errors
    /// There is no connection. What the server says to the request comes from [`next`](Self::next).
    pub async fn call(address: &Address, name: Name) -> Result<Self, DialError> {
        let stream = dial(address).await?;
        let line = address.line.clone();
        Ok(Self::over(stream, join(line, name).map_err(DialError::NoRandomness)?))
    }

    /// Dials, and signs on as an operator.
    ///
    /// # Errors
    /// As for [`call`](Self::call).
    pub async fn desk(
        address: &Address,
        name: Name,
        answering: Answering,
    ) -> Result<Self, DialError> {
        let stream = dial(address).await?;
        Ok(Self::over(stream, sign_on(name, answering).map_err(DialError::NoRandomness)?))
    }
}

pub(crate) fn join(line: Option<LineName>, name: Name) -> Result<Opening, getrandom::Error> {
    Ok(Opening::Join(Join { ticket: ticket()?, line, name, invite: None }))
}

pub(crate) fn sign_on(name: Name, answering: Answering) -> Result<Opening, getrandom::Error> {
    Ok(Opening::SignOn(SignOn { ticket: ticket()?, name, answering, token: None }))
}

#[expect(clippy::expect_used, reason = "a name and a version are shorter than 64 bytes")]
fn agent() -> Agent {
    Agent::new(concat!("helpline-client/", env!("CARGO_PKG_VERSION"))).expect("a short agent")
}

impl<S: AsyncRead + AsyncWrite + Unpin> Link<S> {
    /// Begins the conversation on any stream of bytes that leads to a server.
    ///
    /// # Panics
    /// Outside a tokio runtime with its clock.
    #[must_use]
    pub fn over(stream: S, opening: Opening) -> Self {
        Self {
            stream,
            session: ClientSession::new(opening, agent(), Moment(0)),
            begun: Instant::now(),
            timer: Box::pin(sleep_until(Instant::now())),
            received: BytesMut::new(),
            to_send: BytesMut::new(),
            deaf: false,
            unflushed: false,
            ended: false,
            is_over: false,
        }
    }

    /// What happens next. `None` after [`Event::Over`].
    ///
    /// Cancel safe: an event is either returned or still there.
    pub async fn next(&mut self) -> Option<Event> {
        poll_fn(|cx| self.poll_next(cx, Reading::Yes)).await
    }

    /// Sends what is to be sent and keeps the connection alive, without reading: for whoever has no
    /// room for events. Returns only when nothing more will come of it.
    ///
    /// Cancel safe, as [`next`](Self::next) is.
    pub async fn keep(&mut self) {
        poll_fn(|cx| {
            if self.is_over {
                return Poll::Ready(());
            }
            self.poll_work(cx, Reading::No).map(|_| ())
        })
        .await;
    }

    /// Wants a line said. `reference` comes back in its [`Said`](helpline_proto::message::Said) or
    /// [`Event::NotSaid`].
    ///
    /// # Errors
    /// The call isn't open here, or has ended.
    pub fn say(&mut self, call: CallId, text: Text, reference: Ref) -> Result<Nonce, NotOpen> {
        self.is_alive()?;
        self.session.say(call, text, reference)
    }

    /// Hangs up, behind everything that was to be said before.
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

    /// Asks for anything else: `Next`, `Answer`, `Ready`, `Pause`, `SignOff`.
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

    /// Sends what is still to be sent, says that nothing follows, and waits until the server has
    /// nothing to say either; 2 s at most. After [`Event::Over`] there is nothing to wait for.
    pub async fn close(mut self) {
        if self.is_over {
            return;
        }
        let closed = timeout(limits::LINGER, async {
            poll_fn(|cx| self.poll_sent(cx)).await?;
            poll_fn(|cx| Pin::new(&mut self.stream).poll_shutdown(cx)).await?;
            self.received.clear();
            while !self.ended {
                poll_fn(|cx| self.poll_read(cx)).await?;
                self.received.clear();
            }
            io::Result::Ok(())
        });
        match closed.await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!("while closing: {error}"),
            Err(_elapsed) => tracing::debug!("the server keeps the connection open"),
        }
    }

    /// A session that is over waits for nothing. What it would still take, nobody would hear of again,
    /// as the events that tell of the end may be on their way already.
    fn is_alive(&self) -> Result<(), NotOpen> {
        self.session.poll_timeout().map(|_| ()).ok_or(NotOpen)
    }

    fn now(&self) -> Moment {
        Moment(u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX))
    }

    fn poll_next(&mut self, cx: &mut Context<'_>, reading: Reading) -> Poll<Option<Event>> {
        loop {
            if let Some(event) = self.session.poll_event() {
                self.is_over = matches!(event, Event::Over(_));
                return Poll::Ready(Some(event));
            }
            if self.is_over {
                return Poll::Ready(None);
            }
            ready!(self.poll_work(cx, reading));
        }
    }

    /// Sends, receives, or acts on a deadline; pending once there is nothing more to do.
    fn poll_work(&mut self, cx: &mut Context<'_>, reading: Reading) -> Poll<()> {
        if !self.deaf
            && let Poll::Ready(Err(error)) = self.poll_sent(cx)
        {
            // What has arrived before is still worth reading; it is all there will be.
            tracing::debug!("nothing can be sent any more: {error}");
            self.deaf = true;
        }
        if reading == Reading::Yes {
            match self.poll_read(cx) {
                Poll::Ready(Ok(())) if !self.ended => {
                    self.take_frames();
                    return Poll::Ready(());
                }
                Poll::Ready(end) => {
                    if let Err(error) = end {
                        tracing::debug!("the connection broke: {error}");
                    }
                    self.session.handle_end();
                    return Poll::Ready(());
                }
                Poll::Pending if self.deaf => {
                    self.session.handle_end();
                    return Poll::Ready(());
                }
                Poll::Pending => {}
            }
        }
        let Some(due) = self.session.poll_timeout() else { return Poll::Pending };
        let due = self.begun + Duration::from_millis(due.0);
        if self.timer.deadline() != due {
            self.timer.as_mut().reset(due);
        }
        ready!(self.timer.as_mut().poll(cx));
        // The timer counts whole milliseconds too, but need not round them the same way.
        let due = self.session.poll_timeout().unwrap_or_default();
        self.session.handle_timeout(self.now().max(due));
        Poll::Ready(())
    }

    /// Ready when all there is to send is sent.
    fn poll_sent(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            if self.to_send.is_empty() {
                let now = self.now();
                while self.to_send.len() < WRITE
                    && let Some(frame) = self.session.poll_transmit(now)
                {
                    self.to_send.extend_from_slice(&frame);
                }
            }
            if self.to_send.is_empty() {
                if self.unflushed {
                    ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
                    self.unflushed = false;
                }
                return Poll::Ready(Ok(()));
            }
            let sent = ready!(Pin::new(&mut self.stream).poll_write(cx, &self.to_send))?;
            if sent == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.to_send.advance(sent);
            self.unflushed = true;
        }
    }

    /// Reads once.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut scratch = [0; READ];
        let mut scratch = ReadBuf::new(&mut scratch);
        ready!(Pin::new(&mut self.stream).poll_read(cx, &mut scratch))?;
        self.ended = scratch.filled().is_empty();
        self.received.extend_from_slice(scratch.filled());
        Poll::Ready(Ok(()))
    }

    /// Hands every whole frame to the session.
    fn take_frames(&mut self) {
        let now = self.now();
        loop {
            match frame::split(&self.received, limits::FRAME) {
                Ok(Some(frame)) => {
                    self.session.handle(frame, now);
                    let size = frame.size();
                    self.received.advance(size);
                }
                Ok(None) => return,
                Err(error) => {
                    self.received.clear();
                    return self.session.handle_garbage(error);
                }
            }
        }
    }
}

/// Whether what arrives is taken in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reading {
    Yes,
    No,
}

#[cfg(test)]
mod tests {
    use helpline_proto::{
        code::{Code, Why},
        ids::{By, Resumable, Side},
        message::{Admitted, Connected, Ended, Goodbye, Said, SignOff},
        session::{Lost, ServerEvent, ServerSession, Settings},
        text::Detail,
        time::UnixMillis,
    };
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

    use super::*;

    const CALL: CallId = CallId([7; 16]);

    /// The server's end: the real session, and what the test does with it.
    struct Server {
        stream: DuplexStream,
        session: ServerSession,
        received: BytesMut,
    }

    impl Server {
        /// The next request; `None` at the end of the connection.
        async fn next(&mut self) -> Option<ServerEvent> {
            loop {
                while let Some(frame) = self.session.poll_transmit() {
                    self.stream.write_all(&frame).await.unwrap();
                }
                if let Some(event) = self.session.poll_event() {
                    return Some(event);
                }
                if let Some(frame) = frame::split(&self.received, limits::FRAME).unwrap() {
                    self.session.handle(frame, Moment(0));
                    let size = frame.size();
                    self.received.advance(size);
                } else if self.stream.read_buf(&mut self.received).await.unwrap() == 0 {
                    return None;
                }
            }
        }

        async fn tell(&mut self, message: impl Into<Message>) {
            self.session.tell(message.into().to_frame(Ref::NONE).unwrap());
            while let Some(frame) = self.session.poll_transmit() {
                self.stream.write_all(&frame).await.unwrap();
            }
        }

        async fn admit(&mut self) {
            assert!(matches!(self.next().await, Some(ServerEvent::Join(..))));
            let admitted = Admitted { line: line(), name: name(), greeting: None };
            self.tell(admitted).await;
            self.tell(Connected { call: CALL, peer: name(), next_nonce: Nonce(1) }).await;
        }

        async fn said(&mut self, seq: u32, nonce: u32, text: &Text) {
            self.tell(Said {
                call: CALL,
                seq: Seq(seq),
                from: Side::Caller,
                name: name(),
                at: UnixMillis(0),
                text: text.clone(),
                nonce: Nonce(nonce),
            })
            .await;
        }
    }

    fn name() -> Name {
        Name::new("Ada").unwrap()
    }

    fn line() -> LineName {
        LineName::new("main").unwrap()
    }

    fn text(text: &str) -> Text {
        Text::new(text).unwrap()
    }

    /// Both ends, over a wire that holds so many bytes.
    fn pair(bytes: usize) -> (Link<DuplexStream>, Server) {
        let (near, far) = duplex(bytes);
        let link = Link::over(near, join(None, name()).unwrap());
        let session = ServerSession::new(Settings::default(), Moment(0));
        (link, Server { stream: far, session, received: BytesMut::new() })
    }

    async fn connected(link: &mut Link<DuplexStream>) {
        assert!(matches!(link.next().await, Some(Event::Welcomed(_))));
        assert!(matches!(link.next().await, Some(Event::Told(_, Message::Admitted(_)))));
        assert!(matches!(link.next().await, Some(Event::Told(_, Message::Connected(_)))));
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_goes_from_the_handshake_to_a_seen_end() {
        let (mut link, mut server) = pair(64 * 1024);
        let server = async {
            server.admit().await;
            let Some(ServerEvent::Say(_, say)) = server.next().await else { panic!("no say") };
            server.said(1, say.nonce.0, &say.text).await;
            assert!(matches!(server.next().await, Some(ServerEvent::HangUp(..))));
            let (by, why) = (By::Caller, Why::BYE);
            server.tell(Ended { call: CALL, seq: Seq(2), at: UnixMillis(0), by, why }).await;
            assert!(matches!(server.next().await, Some(ServerEvent::EndSeen(_))));
            assert_eq!(server.next().await, None, "the client has nothing more to say");
        };
        let client = async {
            connected(&mut link).await;
            link.say(CALL, text("hello"), Ref(5)).unwrap();
            link.hang_up(CALL, Ref::NONE).unwrap();
            assert_eq!(link.unsaid(), 1);
            let Some(Event::Told(Ref(5), Message::Said(said))) = link.next().await else {
                panic!("not said")
            };
            assert_eq!((said.text, link.unsaid()), (text("hello"), 0));
            let Some(Event::Told(_, Message::Ended(ended))) = link.next().await else {
                panic!("not ended")
            };
            link.shown(ended.call, ended.seq);
            link.close().await;
        };
        tokio::join!(server, client);
    }

    #[tokio::test(start_paused = true)]
    async fn n06_a_wire_that_takes_a_byte_at_a_time_carries_the_same() {
        let (mut link, mut server) = pair(1);
        let long = text(&"é".repeat(limits::TEXT / 2));
        let server = async {
            server.admit().await;
            let Some(ServerEvent::Say(_, say)) = server.next().await else { panic!("no say") };
            server.said(1, say.nonce.0, &say.text).await;
            server
        };
        let client = async {
            connected(&mut link).await;
            link.say(CALL, long.clone(), Ref::NONE).unwrap();
            let Some(Event::Told(_, Message::Said(said))) = link.next().await else {
                panic!("not said")
            };
            assert_eq!(said.text, long);
        };
        tokio::join!(server, client);
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_connection_is_kept_alive_and_a_dead_one_given_up() {
        let (mut link, mut server) = pair(64 * 1024);
        let server = async {
            server.admit().await;
            // Each ping of these four minutes has a pong.
            let answers = timeout(Duration::from_secs(240), server.next()).await;
            assert!(answers.is_err(), "pings are nobody else's business");
            server
        };
        let client = async {
            connected(&mut link).await;
            let start = Instant::now();
            assert_eq!(link.next().await, Some(Event::Over(Lost::Silent)));
            assert_eq!(link.next().await, None);
            start.elapsed()
        };
        let (_server, lasted) = tokio::join!(server, client);
        assert!(lasted >= Duration::from_secs(240) && lasted <= Duration::from_secs(240 + 46));
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_does_not_answer_is_given_up_after_ten_seconds() {
        let (mut link, _server) = pair(64 * 1024);
        let start = Instant::now();
        assert_eq!(link.next().await, Some(Event::Over(Lost::NoAnswer)));
        assert_eq!(start.elapsed(), limits::HANDSHAKE);
    }

    #[tokio::test(start_paused = true)]
    async fn what_answers_but_is_no_helpline_is_recognised() {
        let (mut link, mut server) = pair(64 * 1024);
        server.stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
        assert!(matches!(link.next().await, Some(Event::Over(Lost::NotHelpline(_)))));
    }

    #[tokio::test(start_paused = true)]
    async fn n35_a_goodbye_is_heard_though_nothing_can_be_sent_any_more() {
        let (mut link, mut server) = pair(64 * 1024);
        tokio::join!(server.admit(), connected(&mut link));
        link.say(CALL, text("too late"), Ref(3)).unwrap();
        link.request(SignOff {}.into(), Ref::NONE);
        let (code, detail) = (Code::STOPPING, Detail::cut(""));
        let resumable = Resumable::No;
        server.tell(Goodbye { code, detail, retry_after_s: None, resumable }).await;
        drop(server);
        let Some(Event::NotSaid { reference: Ref(3), why: None, .. }) = link.next().await else {
            panic!("no word about the line")
        };
        assert_eq!(
            link.say(CALL, text("later"), Ref::NONE),
            Err(NotOpen),
            "nobody would hear of it"
        );
        let Some(Event::Over(Lost::Goodbye(goodbye))) = link.next().await else {
            panic!("no goodbye")
        };
        assert_eq!(goodbye.code, Code::STOPPING);
        link.close().await;
    }

    #[tokio::test(start_paused = true)]
    async fn waiting_for_an_event_may_be_given_up_and_begun_again() {
        let (mut link, mut server) = pair(16);
        let serving = tokio::spawn(async move {
            server.admit().await;
            for n in 1..=20 {
                let Some(ServerEvent::Say(_, say)) = server.next().await else { panic!("no say") };
                server.said(n, say.nonce.0, &say.text).await;
            }
        });
        connected(&mut link).await;
        for n in 0..20 {
            link.say(CALL, text(&format!("line {n}")), Ref(n)).unwrap();
        }
        let mut next = 0;
        while next < 20 {
            let event = tokio::select! {
                biased;
                event = link.next() => event,
                () = tokio::task::yield_now() => continue,
            };
            let Some(Event::Told(reference, Message::Said(_))) = event else { panic!("{event:?}") };
            assert_eq!(reference, Ref(next));
            next += 1;
        }
        serving.await.unwrap();
    }
}
