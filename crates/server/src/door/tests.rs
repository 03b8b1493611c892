use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::Path,
    time::Duration,
};

use bytes::BytesMut;
use helpline_proto::{
    frame,
    ids::{Resumable, Ticket},
    message::{Goodbye, Hello, Join, Ping, Ref},
    text::{Agent, LineName, Name},
    time::{Moment, UnixMillis},
    version,
};
use helpline_switchboard::Rules;
use rustls::pki_types::ServerName;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::TcpListener,
};
use tokio_rustls::TlsConnector;

use crate::{
    clock::Clock,
    core::ConnectionId,
    crowd::{Crowd, Room},
    gate::Ban,
    inbox::{InboxReceiver, inbox},
    server::{Server, Settings},
    tls::tests as tls,
};

use super::*;

/// How long anything may take that is bound to happen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A peer that speaks frames over anything.
pub(crate) struct Visitor<S> {
    pub(crate) stream: S,
    came: BytesMut,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Visitor<S> {
    pub(crate) fn new(stream: S) -> Self {
        Self { stream, came: BytesMut::new() }
    }

    pub(crate) async fn say(&mut self, message: impl Into<Message>) {
        self.try_say(message).await.unwrap();
    }

    pub(crate) async fn try_say(&mut self, message: impl Into<Message>) -> io::Result<()> {
        let frame = message.into().to_frame(Ref::NONE).unwrap();
        self.stream.write_all(&frame).await?;
        self.stream.flush().await
    }

    /// What is told next; `None` at the end.
    pub(crate) async fn hear(&mut self) -> Option<Message> {
        loop {
            if let Some(frame) = frame::split(&self.came, limits::FRAME).unwrap() {
                let message = Message::decode(frame).unwrap();
                let size = frame.size();
                self.came = self.came.split_off(size);
                return Some(message);
            }
            let read = tokio::time::timeout(PATIENCE, self.stream.read_buf(&mut self.came));
            match read.await.unwrap() {
                Ok(0) | Err(_) => return None,
                Ok(_) => {}
            }
        }
    }

    pub(crate) async fn is_welcome(&mut self) {
        self.say(hello()).await;
        let heard = self.hear().await;
        assert!(matches!(heard, Some(Message::Welcome(_))), "{heard:?}");
    }

    pub(crate) async fn joins(&mut self) {
        self.is_welcome().await;
        self.say(join()).await;
        while !matches!(self.hear().await, Some(Message::Place(_))) {}
    }

    /// A ping is answered, whatever else is told meanwhile.
    pub(crate) async fn is_alive(&mut self) {
        self.say(Ping {}).await;
        loop {
            match self.hear().await {
                Some(Message::Pong(_)) => return,
                Some(_) => {}
                None => panic!("it has ended"),
            }
        }
    }

    async fn is_sent_away(&mut self) -> Goodbye {
        self.say(hello()).await;
        let Some(Message::Goodbye(goodbye)) = self.hear().await else { panic!("no goodbye") };
        assert_eq!(self.hear().await, None);
        goodbye
    }
}

pub(crate) fn hello() -> Message {
    Hello { versions: version::SPOKEN, features: 0, agent: Agent::new("test/0").unwrap() }.into()
}

pub(crate) fn join() -> Message {
    let mut ticket = [0; 32];
    getrandom::fill(&mut ticket).unwrap();
    let ticket = Ticket(ticket);
    Join { ticket, name: Name::new("Ada").unwrap(), line: None, invite: None }.into()
}

pub(crate) fn settings(directory: &Path) -> Settings {
    Settings {
        listen: vec!["127.0.0.1:0".parse().unwrap()],
        rules: Rules { places: 100, ..Rules::default() },
        says_a_second: None,
        room: Room { connections: 1000, strangers: 1000, per_address: None },
        ..Settings::new(directory.into(), LineName::new("main").unwrap())
    }
}

pub(crate) async fn plain(address: SocketAddr) -> Visitor<TcpStream> {
    Visitor::new(TcpStream::connect(address).await.unwrap())
}

pub(crate) type Encrypted = tokio_rustls::client::TlsStream<TcpStream>;

pub(crate) async fn encrypted(address: SocketAddr) -> io::Result<Visitor<Encrypted>> {
    dial(address, tls::trusting(version::ALPN)).await
}

async fn dial(address: SocketAddr, config: rustls::ClientConfig) -> io::Result<Visitor<Encrypted>> {
    let stream = TcpStream::connect(address).await?;
    let name = ServerName::from(address.ip());
    let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await?;
    Ok(Visitor::new(stream))
}

/// A door that somebody stands before who comes from wherever it is said.
struct Before {
    address: SocketAddr,
    means: Arc<Means>,
    served: tokio::task::JoinHandle<io::Result<()>>,
    _inbox: InboxReceiver,
    _directory: tempfile::TempDir,
}

async fn before(plaintext: Plaintext, origin: IpAddr, banned_until: Option<UnixMillis>) -> Before {
    before_since(Clock::start(), plaintext, origin, banned_until).await
}

/// The same for somebody who was accepted when the clock began to count.
async fn before_since(
    clock: Clock,
    plaintext: Plaintext,
    origin: IpAddr,
    banned_until: Option<UnixMillis>,
) -> Before {
    let directory = tempfile::tempdir().unwrap();
    let (inbox, came) = inbox(8);
    let gate = Arc::<Gate>::default();
    if let Some(until) = banned_until {
        gate.set(vec![Ban { network: origin.to_string().parse().unwrap(), until }]);
    }
    let door = Door { tls: Tls::own(directory.path()).unwrap(), plaintext, gate };
    let room = settings(directory.path()).room;
    let means = Arc::new(Means {
        clock,
        inbox,
        settings: Default::default(),
        door,
        crowd: Arc::new(Crowd::new(room, false)),
        budget: Arc::default(),
    });
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let theirs = Arc::clone(&means);
    let served = tokio::spawn(async move {
        let (stream, _) = listener.accept().await?;
        let origin = Origin::Address(origin);
        let place = theirs.crowd.place(ConnectionId(0), origin).unwrap();
        let accepted = Accepted { origin, at: Moment(0), place };
        open(stream, accepted, theirs).await
    });
    Before { address, means, served, _inbox: came, _directory: directory }
}

const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

const ELSEWHERE: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7));

#[tokio::test]
async fn one_address_takes_tls_and_plaintext_of_its_own_machine() {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::start(settings(directory.path())).await.unwrap();
    let address = server.addresses()[0];
    let mut caller = encrypted(address).await.unwrap();
    let (_, session) = caller.stream.get_ref();
    assert_eq!(session.alpn_protocol(), Some(version::ALPN));
    assert_eq!(tls::of(&session.peer_certificates().unwrap()[0]), server.fingerprint());
    caller.joins().await;
    plain(address).await.joins().await;
}

#[tokio::test]
async fn who_comes_back_over_tls_resumes() {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::start(settings(directory.path())).await.unwrap();
    let config = tls::trusting(version::ALPN);
    for kind in [rustls::HandshakeKind::Full, rustls::HandshakeKind::Resumed] {
        let mut caller = dial(server.addresses()[0], config.clone()).await.unwrap();
        caller.is_welcome().await;
        assert_eq!(caller.stream.get_ref().1.handshake_kind(), Some(kind));
    }
}

#[tokio::test]
async fn whoever_wants_another_protocol_or_speaks_none_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::start(settings(directory.path())).await.unwrap();
    let address = server.addresses()[0];
    let error = dial(address, tls::trusting(b"h2")).await.err().unwrap();
    assert!(error.to_string().contains("NoApplicationProtocol"), "{error}");
    let mut broken = TcpStream::connect(address).await.unwrap();
    broken.write_all(b"\x16\x03\x01\x00\x05nonsense").await.unwrap();
    let _alert = broken.read_to_end(&mut Vec::new()).await;
    // Nobody else is disturbed.
    encrypted(address).await.unwrap().joins().await;
}

#[tokio::test]
async fn plaintext_from_elsewhere_is_sent_away() {
    let door = before(Plaintext::FromHere, ELSEWHERE, None).await;
    let goodbye = plain(door.address).await.is_sent_away().await;
    assert_eq!((goodbye.code, goodbye.resumable), (Code::NOT_ENCRYPTED, Resumable::No));
    assert!(goodbye.detail.as_str().starts_with("this line takes only TLS"), "{goodbye:?}");
    door.served.await.unwrap().unwrap();
}

#[tokio::test]
async fn plaintext_from_elsewhere_is_taken_if_the_host_wants_that() {
    let door = before(Plaintext::FromAnywhere, ELSEWHERE, None).await;
    plain(door.address).await.is_welcome().await;
}

#[tokio::test]
async fn tls_from_elsewhere_is_taken() {
    let door = before(Plaintext::FromHere, ELSEWHERE, None).await;
    let mut caller = encrypted(door.address).await.unwrap();
    caller.is_welcome().await;
    let shown = tls::of(&caller.stream.get_ref().1.peer_certificates().unwrap()[0]);
    assert_eq!(shown, door.means.door.tls.fingerprint());
}

#[tokio::test]
async fn a_browser_is_told_what_this_is_in_any_case() {
    for origin in [HERE, ELSEWHERE] {
        let door = before(Plaintext::FromHere, origin, None).await;
        let mut browser = TcpStream::connect(door.address).await.unwrap();
        browser.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        let mut answer = String::new();
        browser.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
        assert!(answer.contains("helpline call"), "{answer}");
    }
}

#[tokio::test]
async fn the_banned_hear_until_when_in_either_language() {
    for over_tls in [false, true] {
        let until = Clock::start().now().at.0 + 90_000;
        let until = Some(UnixMillis(until));
        let door = before(Plaintext::FromHere, ELSEWHERE, until).await;
        let goodbye = match over_tls {
            true => encrypted(door.address).await.unwrap().is_sent_away().await,
            false => plain(door.address).await.is_sent_away().await,
        };
        assert_eq!((goodbye.code, goodbye.resumable), (Code::BANNED, Resumable::No));
        assert!(goodbye.detail.as_str().ends_with('Z'), "{goodbye:?}");
        assert!(goodbye.retry_after_s.is_some_and(|s| (60..=90).contains(&s)), "{goodbye:?}");
    }
}

#[tokio::test]
async fn an_end_is_an_end_with_and_without_the_words_of_tls() {
    for polite in [true, false] {
        let door = before(Plaintext::FromHere, HERE, None).await;
        let mut caller = encrypted(door.address).await.unwrap();
        caller.is_welcome().await;
        if polite {
            caller.stream.shutdown().await.unwrap();
        } else {
            caller.stream.get_mut().0.shutdown().await.unwrap();
        }
        let Some(Message::Goodbye(goodbye)) = caller.hear().await else { panic!("no goodbye") };
        assert_eq!(goodbye.code, Code::DONE);
        // The server ends TLS before it ends the connection: nothing was cut off.
        assert_eq!(caller.stream.read(&mut [0; 8]).await.unwrap(), 0);
        door.served.await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn half_a_handshake_holds_a_connection_no_longer_than_silence_does() {
    for begun in [&b""[..], b"\x16", b"\x16\x03\x01\x02\x00\x01", b"\x00"] {
        let nearly = limits::HANDSHAKE - Duration::from_millis(100);
        let clock = Clock::running_for(nearly);
        let door = before_since(clock, Plaintext::FromHere, HERE, None).await;
        let mut slow = TcpStream::connect(door.address).await.unwrap();
        slow.write_all(begun).await.unwrap();
        let waited = std::time::Instant::now();
        let _ = slow.read_to_end(&mut Vec::new()).await;
        drop(slow);
        let _ = door.served.await.unwrap();
        assert!(waited.elapsed() < limits::HANDSHAKE, "it has had its time");
    }
}

#[tokio::test]
async fn the_time_for_tls_counts_from_the_beginning() {
    let clock = Clock::running_for(limits::HANDSHAKE);
    let door = before_since(clock, Plaintext::FromHere, HERE, None).await;
    let Ok(mut late) = encrypted(door.address).await else { return };
    let _ = late.stream.write_all(&hello().to_frame(Ref::NONE).unwrap()).await;
    let heard = late.hear().await;
    assert!(!matches!(heard, Some(Message::Welcome(_))), "{heard:?}");
}
