use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use bytes::{Buf, BytesMut};
use helpline_proto::{
    code::{Code, Why},
    frame,
    ids::{By, Resumable},
    message::{Admitted, Connected, Ended, Goodbye, Listed, Resumed, Said, SignOff},
    session::{ServerEvent, ServerSession, Settings},
    text::Detail,
    time::UnixMillis,
};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, ReadBuf, duplex},
    sync::mpsc,
};

use crate::kept::{Begun, Directory};

use super::*;

const CALL: CallId = CallId([7; 16]);

const TICKET: Ticket = Ticket([9; 32]);

/// The server's end: the real session, and what the test does with it.
struct Server {
    stream: DuplexStream,
    session: ServerSession,
    received: BytesMut,
}

impl Server {
    /// The next request; `None` when the connection ends or breaks.
    async fn next(&mut self) -> Option<ServerEvent> {
        loop {
            while let Some(frame) = self.session.poll_transmit() {
                self.stream.write_all(&frame).await.ok()?;
            }
            if let Some(event) = self.session.poll_event() {
                return Some(event);
            }
            if let Some(frame) = frame::split(&self.received, limits::FRAME).unwrap() {
                self.session.handle(frame, Moment(0));
                let size = frame.size();
                self.received.advance(size);
            } else if self.stream.read_buf(&mut self.received).await.unwrap_or(0) == 0 {
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
    let link = Link::over(near, join(TICKET, None, name(), None));
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
async fn a_server_is_not_blamed_for_what_this_end_does_not_read() {
    let (mut link, mut server) = pair(64 * 1024);
    let server = async {
        server.admit().await;
        let _pings_only = timeout(Duration::from_secs(300), server.next()).await;
        server
    };
    let client = async {
        connected(&mut link).await;
        let kept = timeout(Duration::from_secs(240), link.keep()).await;
        assert!(kept.is_err(), "the connection is still good");
        let next = timeout(Duration::from_secs(1), link.next()).await;
        assert!(next.is_err(), "{next:?}");
    };
    tokio::join!(server, client);
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
    assert_eq!(link.say(CALL, text("later"), Ref::NONE), Err(NotOpen), "nobody would hear of it");
    let Some(Event::Over(Lost::Goodbye(goodbye))) = link.next().await else { panic!("no goodbye") };
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

/// A line with one caller, who is answered at once, as its store has it. It outlives connections.
#[derive(Debug, Default)]
struct Desk {
    joined: bool,
    said: Vec<Text>,
}

type Shared<T> = Arc<Mutex<T>>;

fn locked<T>(shared: &Shared<T>) -> std::sync::MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Serves one connection until it breaks.
async fn serve(stream: DuplexStream, desk: Shared<Desk>) {
    let session = ServerSession::new(Settings { says_a_second: None }, Moment(0));
    let mut server = Server { stream, session, received: BytesMut::new() };
    while let Some(event) = server.next().await {
        let messages = answer(event, &desk);
        for message in messages {
            server.session.tell(message.to_frame(Ref::NONE).unwrap());
        }
    }
}

fn answer(event: ServerEvent, desk: &Shared<Desk>) -> Vec<Message> {
    let mut desk = locked(desk);
    let last = u32::try_from(desk.said.len()).unwrap();
    let next_nonce = Nonce(last + 1);
    let admitted = Admitted { line: line(), name: name(), greeting: None };
    let entry = |seq: u32, text: &Text| Said {
        call: CALL,
        seq: Seq(seq),
        from: Side::Caller,
        name: name(),
        at: UnixMillis(0),
        text: text.clone(),
        nonce: Nonce(seq),
    };
    let entries = |after: u32| (after + 1..).zip(desk.said.iter().skip(after as usize));
    let mut messages: Vec<Message> = Vec::new();
    match event {
        ServerEvent::Join(..) => {
            messages.push(admitted.into());
            messages.push(Connected { call: CALL, peer: name(), next_nonce }.into());
            messages.extend(entries(0).map(|(seq, text)| entry(seq, text).into()));
            desk.joined = true;
        }
        ServerEvent::Resume(_, resume) if desk.joined => {
            let shown = resume.shown.first().map_or(0, |shown| shown.seq.0);
            messages.push(admitted.into());
            let listed = Listed { call: CALL, next_nonce, last: Seq(last) };
            messages.push(Resumed { calls: vec![listed] }.into());
            messages.push(Connected { call: CALL, peer: name(), next_nonce }.into());
            messages.extend(entries(shown).map(|(seq, text)| entry(seq, text).into()));
        }
        ServerEvent::Resume(..) => messages.push(goodbye(Code::NO_SUCH_TICKET, None)),
        ServerEvent::Say(_, say) => {
            assert_eq!(say.nonce, next_nonce, "doubled, left out, or out of order");
            desk.said.push(say.text.clone());
            messages.push(entry(last + 1, &say.text).into());
        }
        event => panic!("{event:?}"),
    }
    messages
}

fn goodbye(code: Code, retry_after_s: Option<u32>) -> Message {
    let resumable = if code == Code::NO_SUCH_TICKET { Resumable::No } else { Resumable::Yes };
    Goodbye { code, detail: Detail::cut(""), retry_after_s, resumable }.into()
}

/// A stream that breaks after so many bytes, whichever way they go.
#[derive(Debug)]
struct Cut {
    stream: DuplexStream,
    left: usize,
}

impl AsyncRead for Cut {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let left = self.left.min(buf.remaining());
        if left == 0 {
            return Poll::Ready(Ok(()));
        }
        let mut part = buf.take(left);
        ready!(Pin::new(&mut self.stream).poll_read(cx, &mut part))?;
        let read = part.filled().len();
        buf.advance(read);
        self.left -= read;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Cut {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let left = self.left.min(bytes.len());
        if left == 0 {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let written = ready!(Pin::new(&mut self.stream).poll_write(cx, &bytes[..left]))?;
        self.left -= written;
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// A new connection to the desk that breaks after so many bytes.
fn connect(desk: &Shared<Desk>, left: usize) -> Cut {
    let (near, far) = duplex(64 * 1024);
    tokio::spawn(serve(far, Arc::clone(desk)));
    Cut { stream: near, left }
}

fn lines() -> Vec<Text> {
    (1..=4).map(|n| text(&format!("line {n}"))).collect()
}

/// Says every line as soon as there is a call, and reads until all are said. What came of own lines.
async fn say_all(link: &mut Link<Cut>, wants: bool) -> Result<BTreeMap<u32, Text>, Lost> {
    let mut said = BTreeMap::new();
    let mut asked = !wants;
    while said.len() < lines().len() {
        match link.next().await.unwrap() {
            Event::Told(_, Message::Connected(_)) if !asked => {
                asked = true;
                for (reference, line) in (1..).zip(lines()) {
                    link.say(CALL, line, Ref(reference)).unwrap();
                }
            }
            Event::Told(_, Message::Said(entry)) => {
                let next = said.last_key_value().map_or(1, |(seq, _)| seq + 1);
                assert_eq!(entry.seq, Seq(next), "a screen has no gap, and nothing twice");
                said.insert(entry.seq.0, entry.text);
            }
            Event::Over(lost) => return Err(lost),
            Event::NotSaid { text, .. } => panic!("not said: {text}"),
            _ => {}
        }
    }
    assert_eq!(link.unsaid(), 0);
    Ok(said)
}

#[tokio::test(start_paused = true)]
async fn wherever_a_connection_is_cut_no_line_is_lost_or_doubled() {
    let mut survived = 0;
    for left in 0..1_500 {
        let desk = Shared::<Desk>::default();
        let again = Arc::clone(&desk);
        let mut cuts = [left, usize::MAX].into_iter();
        let mut link = Link::over(connect(&desk, left), join(TICKET, None, name(), None))
            .redialling(move || {
                std::future::ready(Ok(connect(&again, cuts.next().unwrap_or(usize::MAX))))
            });
        match say_all(&mut link, true).await {
            Ok(said) => {
                survived += 1;
                assert_eq!(said.into_values().collect::<Vec<_>>(), lines(), "cut at {left}");
                assert_eq!(locked(&desk).said, lines(), "cut at {left}");
                assert_eq!(link.attempt(), 0);
            }
            // The first connection is tried once.
            Err(lost) => assert!(!locked(&desk).joined, "cut at {left}: {lost}"),
        }
    }
    assert!(survived > 1_300, "{survived}");
}

fn keep(directory: &Directory) -> Kept {
    let begun = Begun {
        side: Side::Caller,
        address: "here:1".to_owned(),
        name: name(),
        line: None,
        answering: None,
        ticket: TICKET,
        at: UnixMillis(0),
    };
    directory.create(begun).unwrap()
}

fn directory() -> (TempDir, Directory) {
    let home = tempfile::tempdir().unwrap();
    let directory = Directory::open(&home.path().join("kept")).unwrap();
    (home, directory)
}

#[tokio::test(start_paused = true)]
async fn whatever_instant_a_process_is_killed_at_the_next_one_says_the_rest() {
    let mut killed_with_lines = 0;
    for left in (0..1_000).step_by(3) {
        let (_home, directory) = directory();
        let desk = Shared::<Desk>::default();
        let stream = connect(&desk, left);
        let mut link =
            Link::over(stream, join(TICKET, None, name(), None)).keeping(keep(&directory));
        // Without another stream the cut is the end, as a kill would be: nothing is done any more.
        let ended = say_all(&mut link, true).await;
        let unsaid = link.unsaid();
        drop(link);
        if ended.is_ok() || !locked(&desk).joined {
            continue;
        }
        let kept = directory.unfinished(|_| true).unwrap();
        assert!(kept.lines().len() >= unsaid, "cut at {left}");
        let asked = !kept.lines().is_empty();
        killed_with_lines += usize::from(asked);
        let opening = Opening::Resume(Side::Caller, TICKET);
        let mut link = Link::over(connect(&desk, usize::MAX), opening).keeping(kept);
        say_all(&mut link, !asked && locked(&desk).said.is_empty()).await.unwrap();
        assert_eq!(locked(&desk).said, lines(), "cut at {left}");
        drop(link);
        let kept = directory.unfinished(|_| true).unwrap();
        assert!(kept.lines().is_empty(), "what is said is not said again");
    }
    assert!(killed_with_lines > 50, "{killed_with_lines}");
}

#[tokio::test(start_paused = true)]
async fn lines_said_without_a_connection_are_sent_with_the_next_one() {
    let desk = Shared::<Desk>::default();
    let again = Arc::clone(&desk);
    let mut fails = 3;
    let mut link =
        Link::over(connect(&desk, 450), join(TICKET, None, name(), None)).redialling(move || {
            fails -= 1;
            let up = fails < 0;
            std::future::ready(if up {
                Ok(connect(&again, 100_000))
            } else {
                Err(NoStream::ForNow)
            })
        });
    let mut attempts = Vec::new();
    let mut said = Vec::new();
    while said.len() < 2 {
        match link.next().await.unwrap() {
            Event::Told(_, Message::Connected(_)) if attempts.is_empty() => {
                // More than the wire takes.
                link.say(CALL, text(&"x".repeat(500)), Ref(1)).unwrap();
            }
            Event::Offline(_) => {
                attempts.push(link.attempt());
                if attempts.len() == 2 {
                    link.say(CALL, text("offline"), Ref(2)).unwrap();
                    assert_eq!(link.unsaid(), 2);
                }
            }
            Event::Told(reference, Message::Said(_)) => said.push(reference),
            event => assert!(!matches!(event, Event::Over(_)), "{event:?}"),
        }
    }
    assert_eq!((attempts, said), (vec![1, 2, 3, 4], vec![Ref(1), Ref(2)]));
}

/// A link that loses its server for good, and how long it took to give up.
async fn given_up(opening: Opening, told: Vec<Message>) -> (Lost, Duration, u32) {
    let (near, far) = duplex(64 * 1024);
    let mut link = Link::over(near, opening)
        .redialling(|| std::future::ready(Err::<DuplexStream, _>(NoStream::ForNow)));
    let session = ServerSession::new(Settings::default(), Moment(0));
    let mut server = Server { stream: far, session, received: BytesMut::new() };
    let server = async move {
        server.next().await.unwrap();
        for message in told {
            server.tell(message).await;
        }
    };
    let client = async {
        let mut since = None;
        let mut attempts = 0;
        loop {
            match link.next().await.unwrap() {
                Event::Offline(_) => {
                    since.get_or_insert_with(Instant::now);
                    attempts += 1;
                    assert_eq!(link.attempt(), attempts);
                }
                Event::Over(lost) => return (lost, since.unwrap().elapsed(), attempts),
                _ => {}
            }
        }
    };
    tokio::join!(server, client).1
}

fn admitted() -> Message {
    Admitted { line: line(), name: name(), greeting: None }.into()
}

#[tokio::test(start_paused = true)]
async fn it_is_given_up_when_nothing_is_kept_any_more() {
    let place = helpline_proto::message::Place {
        call: CALL,
        position: 1,
        waiting: 1,
        wait_s: None,
        next_nonce: Nonce(1),
    };
    let call = || join(TICKET, None, name(), None);
    let (lost, waited, attempts) = given_up(call(), vec![admitted(), place.into()]).await;
    assert_eq!((lost, waited), (Lost::Broken, limits::WAITING_GRACE));
    // Every 2 s at the latest.
    assert!((60..=130).contains(&attempts), "{attempts}");
    let connected = || Connected { call: CALL, peer: name(), next_nonce: Nonce(1) }.into();
    let (_, waited, _) = given_up(call(), vec![admitted(), connected()]).await;
    assert_eq!(waited, limits::CALL_GRACE);
    let desk = sign_on(TICKET, name(), None, Answering::ByHand);
    let (_, waited, _) = given_up(desk, vec![admitted()]).await;
    assert_eq!(waited, limits::CALL_GRACE);
    // How it was lost is told in the end, too.
    let told = vec![admitted(), goodbye(Code::STOPPING, Some(60))];
    let (lost, _, attempts) = given_up(call(), told).await;
    assert!(matches!(lost, Lost::Goodbye(goodbye) if goodbye.code == Code::STOPPING));
    assert!((30..=70).contains(&attempts), "the first after a minute: {attempts}");
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_hangs_is_given_up_after_three_seconds() {
    let (mut link, mut server) = pair(64 * 1024);
    let dialled = Shared::<Vec<Instant>>::default();
    let (streams, mut far_ends) = mpsc::channel(8);
    let noted = Arc::clone(&dialled);
    link = link.redialling(move || {
        let mut noted = locked(&noted);
        noted.push(Instant::now());
        let (streams, nth) = (streams.clone(), noted.len());
        async move {
            if nth == 1 {
                // No answer to the dialling.
                std::future::pending::<()>().await;
            }
            let (near, far) = duplex(64 * 1024);
            // No answer to what is said on it.
            streams.try_send(far).unwrap();
            Ok(near)
        }
    });
    tokio::join!(server.admit(), connected(&mut link));
    drop(server);
    let start = Instant::now();
    for lost in [Lost::Broken, Lost::NoAnswer, Lost::NoAnswer] {
        assert_eq!(link.next().await, Some(Event::Offline(lost)));
    }
    assert!(far_ends.try_recv().is_ok());
    let tries: Vec<Duration> = locked(&dialled).iter().map(|at| *at - start).collect();
    assert!((100..=300).contains(&tries[0].as_millis()), "{tries:?}");
    let second = tries[1] - tries[0];
    assert!((3_200..=3_600).contains(&second.as_millis()), "{tries:?}");
    assert_eq!(start.elapsed(), tries[1] + limits::RECONNECT_TRY);
}

#[tokio::test(start_paused = true)]
async fn a_maker_that_has_no_more_streams_is_the_end() {
    let (link, mut server) = pair(64 * 1024);
    let mut link =
        link.redialling(|| std::future::ready(Err::<DuplexStream, _>(NoStream::ForEver)));
    tokio::join!(server.admit(), connected(&mut link));
    link.say(CALL, text("kept"), Ref(1)).unwrap();
    drop(server);
    let start = Instant::now();
    assert_eq!(link.next().await, Some(Event::Offline(Lost::Broken)));
    assert_eq!(link.next().await, Some(Event::Over(Lost::Broken)));
    assert_eq!(link.next().await, None);
    assert!(start.elapsed() < Duration::from_millis(400));
    assert_eq!(link.unsaid(), 1, "nobody was told that it was not said");
    link.close().await;
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_gone_takes_its_lines_with_it() {
    let (_home, directory) = directory();
    let mut kept = keep(&directory);
    kept.say(CALL, Nonce(3), &text("never"));
    drop(kept);
    let kept = directory.unfinished(|_| true).unwrap();
    let desk = Shared::<Desk>::default();
    let opening = Opening::Resume(Side::Caller, TICKET);
    let mut link = Link::over(connect(&desk, usize::MAX), opening).keeping(kept);
    let Err(Lost::Goodbye(goodbye)) = link.let_in().await else { panic!("let in") };
    assert_eq!(goodbye.code, Code::NO_SUCH_TICKET);
    assert!(matches!(link.next().await, Some(Event::Welcomed(_))));
    assert!(matches!(link.next().await, Some(Event::NotSaid { .. })));
    assert!(matches!(link.next().await, Some(Event::Over(_))));
    drop(link);
    let kept = directory.unfinished(|_| true).unwrap();
    assert!(kept.lines().is_empty(), "what was told to be not said is never said");
    kept.remove();
}

#[tokio::test(start_paused = true)]
async fn whoever_reads_nothing_keeps_their_place_all_the_same() {
    let desk = Shared::<Desk>::default();
    let again = Arc::clone(&desk);
    let mut link = Link::over(connect(&desk, usize::MAX), join(TICKET, None, name(), None))
        .redialling(move || std::future::ready(Ok(connect(&again, usize::MAX))));
    link.let_in().await.unwrap();
    assert!(timeout(Duration::from_secs(600), link.keep()).await.is_err());
    assert!(link.events.len() < 100, "{}", link.events.len());
    assert!(link.attempt() <= 1);
    let mut last = None;
    while let Ok(event) = timeout(Duration::from_secs(5), link.next()).await {
        assert!(!matches!(event, Some(Event::Over(_))), "{event:?}");
        last = event;
    }
    assert!(last.is_some());
    link.say(CALL, text("still here"), Ref(3)).unwrap();
    while !matches!(link.next().await.unwrap(), Event::Told(Ref(3), Message::Said(_))) {}
}

#[tokio::test(start_paused = true)]
async fn lines_that_are_renumbered_are_kept_under_their_new_numbers_before_they_are_sent() {
    let (_home, directory) = directory();
    let mut kept = keep(&directory);
    for (nonce, line) in [(5, "one"), (6, "two")] {
        kept.say(CALL, Nonce(nonce), &text(line));
    }
    drop(kept);
    let (near, far) = duplex(64 * 1024);
    let kept = directory.unfinished(|_| true).unwrap();
    let mut link = Link::over(near, Opening::Resume(Side::Caller, TICKET)).keeping(kept);
    let session = ServerSession::new(Settings::default(), Moment(0));
    let mut server = Server { stream: far, session, received: BytesMut::new() };
    let server = async move {
        assert!(matches!(server.next().await, Some(ServerEvent::Resume(..))));
        server.tell(admitted()).await;
        let listed = Listed { call: CALL, next_nonce: Nonce(4), last: Seq(9) };
        server.tell(Resumed { calls: vec![listed] }).await;
        let Some(ServerEvent::Say(_, say)) = server.next().await else { panic!("no say") };
        assert_eq!((say.nonce, say.text), (Nonce(4), text("one")));
    };
    let client = async { while !matches!(link.next().await, Some(Event::Over(_))) {} };
    tokio::join!(server, client);
    drop(link);
    let kept = directory.unfinished(|_| true).unwrap();
    let numbers: Vec<u32> = kept.lines().iter().map(|line| line.nonce.0).collect();
    assert_eq!(numbers, [4, 5]);
}

/// What is logged on this thread, at whatever level.
#[derive(Clone, Default)]
struct Log(Shared<Vec<u8>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        locked(&self.0).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn no_secret_is_logged_at_any_level_or_shown_by_debug() {
    let log = Log::default();
    let sink = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(move || sink.clone())
        .finish();
    let _until_the_end = tracing::subscriber::set_default(subscriber);
    let secret = |word: &str| Secret::new(word).unwrap();
    let ticket = Ticket(*b"canary canary canary canary cana");
    let opening = [
        join(ticket.clone(), None, name(), Some(secret("canary-invite"))),
        sign_on(ticket.clone(), name(), Some(secret("canary-token")), Answering::ByHand),
    ];
    for opening in opening {
        let (near, far) = duplex(64 * 1024);
        let session = ServerSession::new(Settings::default(), Moment(0));
        let mut server = Server { stream: far, session, received: BytesMut::new() };
        let mut link = Link::over(near, opening);
        let served = async {
            let asked = server.next().await.unwrap();
            assert!(matches!(asked, ServerEvent::Join(..) | ServerEvent::SignOn(..)));
            tracing::trace!("this is heard: {asked:?}");
            server.tell(goodbye(Code::NO_SUCH_TICKET, None)).await;
        };
        let client = async {
            let mut seen = format!("{link:?}");
            while let Some(event) = link.next().await {
                tracing::trace!("{event:?}");
                seen.push_str(&format!("{event:?}{link:?}"));
            }
            seen
        };
        let ((), seen) = tokio::join!(served, client);
        let logged = String::from_utf8(locked(&log.0).clone()).unwrap();
        assert!(logged.contains("this is heard"));
        let hex = ticket.to_hex();
        for canary in ["canary", hex.as_str(), "99, 97, 110, 97, 114, 121"] {
            assert!(!logged.contains(canary), "{logged}");
            assert!(!seen.contains(canary), "{seen}");
        }
    }
}
