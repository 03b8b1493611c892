//! The program `helpline` and servers that it may trust or not, over real sockets.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "this is a test")]

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{IpAddr, UdpSocket},
    num::NonZero,
    os::unix::fs::MetadataExt as _,
    path::PathBuf,
    process::{Command, Stdio},
    sync::{Arc, Mutex, MutexGuard, mpsc},
    thread,
    time::{Duration, Instant},
};

use bytes::{Buf as _, BytesMut};
use helpline_client::{
    Fingerprint,
    proto::{
        code::{Code, Why},
        frame,
        ids::{By, CallId, Nonce, Resumable, Seq},
        limits,
        message::{Admitted, Connected, Ended, Goodbye, Message, Ref},
        session::{ServerEvent, ServerSession, Settings},
        text::{Detail, LineName, Name},
        time::{Moment, UnixMillis},
    },
};
use portable_pty::{CommandBuilder, PtySize, native_pty_system};
use rcgen::{CertificateParams, KeyPair, PublicKeyData as _};
use rustls::{ServerConfig, crypto::aws_lc_rs, pki_types::PrivateKeyDer};
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::TcpListener,
    sync::broadcast,
};
use tokio_rustls::TlsAcceptor;

/// Long enough for a machine that is shared.
const PATIENCE: Duration = Duration::from_secs(20);

/// What a server is at the moment, and what it has heard.
struct State {
    config: Option<Arc<ServerConfig>>,
    fingerprint: Fingerprint,
    token: String,
    /// The secrets that were shown, or `-` for none.
    heard: Vec<String>,
}

struct Server {
    port: u16,
    state: Arc<Mutex<State>>,
    /// What is told to everybody who is connected.
    push: broadcast::Sender<Vec<Message>>,
    _runtime: tokio::runtime::Runtime,
}

fn identity() -> (Arc<ServerConfig>, Fingerprint) {
    let key = KeyPair::generate().unwrap();
    let fingerprint = Fingerprint(Sha256::digest(key.subject_public_key_info()).into());
    let params = CertificateParams::new(vec!["somewhere.example".to_owned()]).unwrap();
    let certificate = params.self_signed(&key).unwrap().der().clone();
    let key = PrivateKeyDer::Pkcs8(key.serialize_der().into());
    let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    (Arc::new(config), fingerprint)
}

impl Server {
    fn open() -> Self {
        let (config, fingerprint) = identity();
        let config = Some(config);
        let state = State { config, fingerprint, token: "a".repeat(64), heard: Vec::new() };
        let state = Arc::new(Mutex::new(state));
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let listener = runtime.block_on(TcpListener::bind("0.0.0.0:0")).unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared = Arc::clone(&state);
        let (push, _) = broadcast::channel(8);
        let pushes = push.clone();
        runtime.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let state = Arc::clone(&shared);
                let pushed = pushes.subscribe();
                tokio::spawn(async move {
                    let config = state.lock().unwrap().config.clone();
                    match config {
                        Some(config) => {
                            let accepted = TlsAcceptor::from(config).accept(stream).await;
                            if let Ok(stream) = accepted {
                                serve(stream, &state, pushed).await;
                            }
                        }
                        None => serve(stream, &state, pushed).await,
                    }
                });
            }
        });
        Self { port, state, push, _runtime: runtime }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    fn at(&self, host: impl std::fmt::Display) -> String {
        format!("{host}:{}", self.port)
    }

    fn has_another_key(&self) {
        let (config, fingerprint) = identity();
        let mut state = self.state();
        (state.config, state.fingerprint) = (Some(config), fingerprint);
    }
}

/// Lets operators in who have the token, and callers who have the invitation `please`. The latter hear then that the
/// server stops.
async fn serve(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    state: &Mutex<State>,
    mut pushed: broadcast::Receiver<Vec<Message>>,
) {
    let mut session = ServerSession::new(Settings::default(), Moment(0));
    let mut received = BytesMut::new();
    loop {
        while let Some(event) = session.poll_event() {
            let mut state = state.lock().unwrap();
            for answer in answer(event, &mut state) {
                session.tell(answer.to_frame(Ref::NONE).unwrap());
            }
        }
        while let Some(frame) = session.poll_transmit() {
            if stream.write_all(&frame).await.is_err() {
                return;
            }
        }
        let _gone = stream.flush().await;
        if let Some(frame) = frame::split(&received, limits::FRAME).unwrap() {
            session.handle(frame, Moment(0));
            let size = frame.size();
            received.advance(size);
            continue;
        }
        tokio::select! {
            read = stream.read_buf(&mut received) => match read {
                Ok(1..) => {}
                _ => return,
            },
            Ok(messages) = pushed.recv() => for message in messages {
                session.tell(message.to_frame(Ref::NONE).unwrap());
            },
        }
    }
}

fn answer(event: ServerEvent, state: &mut State) -> Vec<Message> {
    let goodbye = |code| {
        let (detail, resumable) = (Detail::cut(""), Resumable::No);
        Message::from(Goodbye { code, detail, retry_after_s: None, resumable })
    };
    let line = LineName::new("main").unwrap();
    let (secret, wanted, name) = match event {
        ServerEvent::SignOn(_, on) => (on.token, state.token.as_str(), on.name),
        ServerEvent::Join(_, join) => (join.invite, "please", join.name),
        ServerEvent::SignOff(_) => return vec![goodbye(Code::DONE)],
        ServerEvent::Ban(_, ban) => {
            state.heard.push(format!("ban {}", ban.call));
            return Vec::new();
        }
        ServerEvent::Resume(..) => return vec![goodbye(Code::NO_SUCH_TICKET)],
        _ => return Vec::new(),
    };
    let is_caller = wanted == "please";
    let secret = secret.map_or_else(|| "-".to_owned(), |secret| secret.as_str().to_owned());
    let is_good = secret == wanted;
    state.heard.push(secret);
    match (is_caller, is_good) {
        (true, true) => vec![goodbye(Code::STOPPING)],
        (true, false) => vec![goodbye(Code::INVITATION)],
        (false, true) => vec![Admitted { line, name, greeting: None }.into()],
        (false, false) => vec![goodbye(Code::NOT_RECOGNISED)],
    }
}

/// A person's home, where programs keep what they remember.
struct Home(TempDir);

struct Ran {
    code: i32,
    err: String,
}

impl Home {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn environment(&self) -> Vec<(&'static str, PathBuf)> {
        vec![
            ("HOME", self.path("home")),
            ("XDG_CONFIG_HOME", self.path("config")),
            ("XDG_STATE_HOME", self.path("state")),
            // No public roots: they are nobody's business here.
            ("SSL_CERT_FILE", self.path("none.pem")),
            ("HELPLINE_LOG", "trace".into()),
        ]
    }

    fn run_with(&self, arguments: &[&str], variables: &[(&str, &str)]) -> Ran {
        let ended = Command::new(env!("CARGO_BIN_EXE_helpline"))
            .args(arguments)
            .envs(self.environment())
            .envs(variables.iter().copied())
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let err = String::from_utf8(ended.stderr).unwrap();
        Ran { code: ended.status.code().expect("not killed"), err }
    }

    fn run(&self, arguments: &[&str]) -> Ran {
        self.run_with(arguments, &[])
    }

    fn write(&self, name: &str, text: &str) -> String {
        fs::write(self.path(name), text).unwrap();
        self.path(name).to_str().unwrap().to_owned()
    }

    fn known(&self) -> String {
        fs::read_to_string(self.path("config/helpline/known-servers")).unwrap_or_default()
    }

    fn tokens(&self) -> usize {
        let entries = fs::read_dir(self.path("state/helpline/tokens")).into_iter().flatten();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.filter(|name| !name.ends_with(".lock")).count()
    }
}

impl Ran {
    #[track_caller]
    fn is(&self, code: i32, words: &str) {
        assert!(self.code == code && self.err.contains(words), "{}: {}", self.code, self.err);
    }
}

/// An address of this machine that isn't the loopback's; no packet is sent to find it.
fn elsewhere() -> Option<IpAddr> {
    let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
    socket.connect("192.0.2.99:9").ok()?;
    let ip = socket.local_addr().ok()?.ip();
    (!ip.is_loopback() && !ip.is_unspecified()).then_some(ip)
}

const DESK: [&str; 4] = ["--name", "wei", "--json", "-q"];

#[test]
fn a_key_is_named_once_and_another_one_refused_until_the_first_is_forgotten() {
    let (home, server) = (Home::new(), Server::open());
    let address = server.at("127.0.0.1");
    let first = format!(
        "-- first contact with {address}: its key is {}, remembered from now on\n",
        server.state().fingerprint
    );
    home.run(&["call", &address]).is(77, &first);
    assert_eq!(home.known(), format!("{address} {}\n", server.state().fingerprint));
    let again = home.run(&["call", &address]);
    assert!(!again.err.contains("first contact"), "{}", again.err);
    server.has_another_key();
    let before = server.state().heard.len();
    let known = home.known();
    for _ in 0..2 {
        let refused = home.run(&["call", &address]);
        refused.is(77, &format!("helpline forget {address}"));
        refused.is(77, &format!("it has {}", server.state().fingerprint));
    }
    assert_eq!((server.state().heard.len(), home.known()), (before, known), "nothing was told");
    assert_eq!(home.run(&["forget", &address]).code, 0);
    home.run(&["forget", &address]).is(1, "nothing is known about");
    home.run(&["call", &address]).is(77, "first contact");
    assert!(home.known().contains(&server.state().fingerprint.to_string()));
}

#[test]
fn the_key_in_a_link_counts_before_what_is_remembered() {
    let (home, server) = (Home::new(), Server::open());
    let address = server.at("127.0.0.1");
    let key = server.state().fingerprint;
    let (right, wrong) = (
        format!("helpline://{address}/#{key}"),
        format!("helpline://{address}/#{}", Fingerprint([7; 32])),
    );
    home.run(&["call", &wrong]).is(77, "does not have the key that the link names");
    assert_eq!((home.known(), server.state().heard.len()), (String::new(), 0));
    home.run(&["call", &right]).is(77, "first contact");
    home.run(&["call", &wrong]).is(77, "does not have the key that the link names");
    server.has_another_key();
    let other = format!("helpline://{address}/#{}", server.state().fingerprint);
    home.run(&["call", &other]).is(77, &format!("it was known by {key}"));
    assert_eq!(home.known(), format!("{address} {key}\n"));
    home.run(&["call", "--plaintext", &right]).is(64, "leave --plaintext away");
}

#[test]
fn a_token_is_remembered_once_it_was_good_and_told_to_nobody_else() {
    let (home, server) = (Home::new(), Server::open());
    let address = server.at("127.0.0.1");
    let desk =
        |home: &Home, more: &[&str]| home.run(&[&["desk", &address], &DESK[..], more].concat());
    desk(&home, &[]).is(77, "there is no token for wei");
    let token = server.state().token.clone();
    let file = home.write("token", &format!("{token}\n"));
    desk(&home, &["--token-file", &home.write("bad", "secret")]).is(78, "64 hexadecimal digits");
    desk(&home, &["--token-file", "/nonexistent"]).is(78, "/nonexistent can't be used");
    assert!(server.state().heard.is_empty());
    let ended = desk(&home, &["--token-file", &file]);
    ended.is(0, "");
    assert!(!ended.err.contains(&token), "{}", ended.err);
    assert_eq!(home.tokens(), 1);
    let tokens = home.path("state/helpline/tokens");
    assert_eq!(fs::metadata(&tokens).unwrap().mode() & 0o777, 0o700);
    for file in fs::read_dir(&tokens).unwrap() {
        assert_eq!(file.unwrap().metadata().unwrap().mode() & 0o777, 0o600);
    }
    desk(&home, &[]).is(0, "");
    assert_eq!(server.state().heard, [token.clone(), token.clone()]);
    server.state().token = "b".repeat(64);
    let refused = desk(&home, &[]);
    refused.is(77, "no account with this name and token");
    assert!(!refused.err.contains(&token), "{}", refused.err);
    assert_eq!(home.tokens(), 0, "it is of no more use");
    desk(&home, &[]).is(77, "there is no token for wei");
    let good = server.state().token.clone();
    let arguments = [&["desk", &address], &DESK[..]].concat();
    home.run_with(&arguments, &[("HELPLINE_TOKEN", &good)]).is(0, "");
    assert_eq!(home.tokens(), 1);
    server.has_another_key();
    let heard = server.state().heard.len();
    desk(&home, &[]).is(77, "has changed");
    assert_eq!((server.state().heard.len(), home.tokens()), (heard, 1));
}

#[test]
fn a_token_is_not_told_to_a_stranger_elsewhere() {
    let Some(elsewhere) = elsewhere() else { return };
    let (home, server) = (Home::new(), Server::open());
    let address = server.at(elsewhere);
    let file = home.write("token", &server.state().token.clone());
    let desk = |address: &str, more: &[&str]| {
        let arguments = ["desk", address, "--token-file", &file];
        home.run(&[&arguments, &DESK[..], more].concat())
    };
    for _ in 0..2 {
        desk(&address, &[]).is(77, "was never met before");
        assert_eq!(home.known(), "", "or the second time it would count as known");
    }
    assert!(server.state().heard.is_empty());
    let link = format!("helpline://{address}/#{}", server.state().fingerprint);
    desk(&link, &[]).is(0, "first contact");
    desk(&address, &[]).is(0, "");
    assert_eq!(server.state().heard.len(), 2);
    server.state().config = None;
    desk(&address, &["--plaintext"]).is(77, "unencrypted");
    assert_eq!(server.state().heard.len(), 2);
    // A caller has nothing to lose yet.
    home.run(&["call", "--plaintext", &address]).is(77, "this connection is not encrypted");
    desk(&server.at("127.0.0.1"), &["--plaintext"]).is(0, "");
}

#[test]
fn an_invitation_comes_from_a_file_or_the_environment() {
    let (home, server) = (Home::new(), Server::open());
    let address = server.at("127.0.0.1");
    home.run(&["call", &address]).is(77, "--invite asks for it");
    home.run(&["call", &address, "--invite"]).is(77, "only be asked for on a terminal");
    let file = home.write("invitation", " please\n");
    home.run(&["call", &address, "--invite-file", &file]).is(75, "the server stopped");
    let invited = home.run_with(&["call", &address], &[("HELPLINE_INVITE", "please")]);
    invited.is(75, "the server stopped");
    let bad = home.write("bad", "two words");
    home.run(&["call", &address, "--invite-file", &bad]).is(78, "an invitation is one word");
    assert_eq!(server.state().heard, ["-", "please", "please"]);
}

#[test]
fn a_file_of_known_servers_that_cannot_be_read_is_not_taken_for_an_empty_one() {
    let (home, server) = (Home::new(), Server::open());
    let address = server.at("127.0.0.1");
    fs::create_dir_all(home.path("config/helpline/known-servers")).unwrap();
    home.run(&["call", &address]).is(78, "known-servers");
    home.run(&["forget", &address]).is(78, "known-servers");
    fs::remove_dir(home.path("config/helpline/known-servers")).unwrap();
    fs::write(home.path("config/helpline/known-servers"), format!("x\n{address} sha256:1\n"))
        .unwrap();
    home.run(&["call", &address]).is(78, "line 2 of");
    assert!(server.state().heard.is_empty());
    assert_eq!(home.run(&["forget", &address]).code, 0);
    home.run(&["call", &address]).is(77, "line 1 of");
    assert_eq!(home.known(), format!("x\n{address} {}\n", server.state().fingerprint));
}

#[test]
fn without_a_home_it_works_and_says_that_nothing_is_remembered() {
    let (home, server) = (Home::new(), Server::open());
    let nowhere = [("HOME", ""), ("XDG_CONFIG_HOME", ""), ("XDG_STATE_HOME", "")];
    let ended = home.run_with(&["call", &server.at("127.0.0.1")], &nowhere);
    ended.is(77, "nothing is remembered: there is no home directory");
    assert_eq!(server.state().heard, ["-"]);
}

/// A program on a terminal.
struct Person {
    child: Box<dyn portable_pty::Child + Send + Sync>,
    keys: Box<dyn std::io::Write + Send>,
    shown: mpsc::Receiver<Vec<u8>>,
    screen: vt100::Parser,
    terminal: Box<dyn portable_pty::MasterPty + Send>,
}

impl Person {
    fn sits_at(home: &Home, arguments: &[&str]) -> Self {
        let size = PtySize { rows: 40, cols: 200, pixel_width: 0, pixel_height: 0 };
        let pair = native_pty_system().openpty(size).unwrap();
        let mut command = CommandBuilder::new(env!("CARGO_BIN_EXE_helpline"));
        command.args(arguments);
        command.cwd(home.0.path());
        for (variable, value) in home.environment() {
            command.env(variable, value);
        }
        command.env("TERM", "xterm");
        command.env("HELPLINE_LOG", "warn");
        let child = pair.slave.spawn_command(command).unwrap();
        let mut reader = pair.master.try_clone_reader().unwrap();
        let (sender, shown) = mpsc::sync_channel(64);
        thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(n @ 1..) = reader.read(&mut bytes) {
                if sender.send(bytes.iter().take(n).copied().collect()).is_err() {
                    return;
                }
            }
        });
        let keys = pair.master.take_writer().unwrap();
        let screen = vt100::Parser::new(NonZero::new(40).unwrap(), NonZero::new(200).unwrap(), 100);
        Self { child, keys, shown, screen, terminal: pair.master }
    }

    fn text(&self) -> String {
        self.screen.screen().contents()
    }

    #[track_caller]
    fn sees(&mut self, words: &str) {
        let end = Instant::now() + PATIENCE;
        while !self.text().contains(words) {
            let left = end.saturating_duration_since(Instant::now());
            match self.shown.recv_timeout(left) {
                Ok(bytes) => self.screen.process(&bytes),
                Err(_) => panic!("no {words:?} on the screen:\n{}", self.text()),
            }
        }
    }

    fn types(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).unwrap();
        self.keys.flush().unwrap();
    }

    /// The modes of the terminal, as `stty` would tell.
    fn shows_keys(&self) -> bool {
        let termios = self.terminal.get_termios().unwrap();
        termios.local_flags.bits() & 0o10 != 0
    }

    fn leaves_with(&mut self) -> u32 {
        let end = Instant::now() + PATIENCE;
        loop {
            match self.child.try_wait().unwrap() {
                Some(status) => return status.exit_code(),
                None => assert!(Instant::now() < end, "still there:\n{}", self.text()),
            }
            // Whatever is shown is taken, so that nothing waits for it.
            if let Ok(bytes) = self.shown.recv_timeout(Duration::from_millis(20)) {
                self.screen.process(&bytes);
            }
        }
    }
}

#[test]
fn a_token_is_asked_for_once_and_never_shown() {
    let (home, server) = (Home::new(), Server::open());
    let address = server.at("127.0.0.1");
    let token = server.state().token.clone();
    let mut wei = Person::sits_at(&home, &["desk", &address, "--name", "wei"]);
    wei.sees("Token of wei at");
    assert!(!wei.shows_keys());
    wei.types(&format!("{token}\n"));
    wei.sees("signed on to line main as wei");
    wei.sees("you: ");
    wei.types("\u{4}");
    assert_eq!(wei.leaves_with(), 0);
    assert!(!wei.text().contains("aaa") && wei.shows_keys(), "{}", wei.text());
    let mut wei = Person::sits_at(&home, &["desk", &address, "--name", "wei"]);
    wei.sees("signed on to line main as wei");
    wei.sees("you: ");
    wei.types("\u{4}");
    assert_eq!(wei.leaves_with(), 0);
    assert!(!wei.text().contains("Token"));
}

#[test]
fn leaving_a_hidden_prompt_gives_the_terminal_back() {
    let (home, server) = (Home::new(), Server::open());
    let address = server.at("127.0.0.1");
    let mut wei = Person::sits_at(&home, &["desk", &address, "--name", "wei"]);
    wei.sees("Token of wei at");
    wei.types("half a tok\u{3}");
    assert_eq!(wei.leaves_with(), 130);
    assert!(wei.shows_keys() && !wei.text().contains("half"), "{}", wei.text());
    assert!(server.state().heard.is_empty());
    let mut ada = Person::sits_at(&home, &["call", &address, "--invite"]);
    ada.sees("Invitation:");
    assert!(!ada.shows_keys());
    ada.types("please\n");
    assert_eq!(ada.leaves_with(), 75);
    assert!(ada.shows_keys() && !ada.text().contains("please"), "{}", ada.text());
    assert_eq!(server.state().heard, ["please"]);
}

#[test]
fn a_person_confirms_the_key_of_a_stranger_before_the_token_is_told() {
    let Some(elsewhere) = elsewhere() else { return };
    let (home, server) = (Home::new(), Server::open());
    let address = server.at(elsewhere);
    let file = home.write("token", &server.state().token.clone());
    let arguments = ["desk", &address, "--name", "wei", "--token-file", &file];
    let key = server.state().fingerprint.to_string();
    for (answer, code) in [("\n", 77), ("n\n", 77), ("\u{3}", 130)] {
        let mut wei = Person::sits_at(&home, &arguments);
        wei.sees(&key);
        wei.sees("[y/N]");
        wei.types(answer);
        assert_eq!(wei.leaves_with(), code, "{}", wei.text());
        assert_eq!((home.known(), server.state().heard.len()), (String::new(), 0));
    }
    let mut wei = Person::sits_at(&home, &arguments);
    wei.sees("[y/N]");
    wei.types("y\n");
    wei.sees("signed on to line main as wei");
    wei.sees("you: ");
    wei.types("\u{4}");
    assert_eq!(wei.leaves_with(), 0);
    assert_eq!(home.known(), format!("{address} {key}\n"));
    assert_eq!(server.state().heard.len(), 1);
}

#[test]
fn a_ban_begun_in_one_call_never_hits_the_next_caller() {
    let (home, server) = (Home::new(), Server::open());
    let address = server.at("127.0.0.1");
    let file = home.write("token", &server.state().token.clone());
    let arguments = ["desk", &address, "--name", "wei", "--token-file", &file];
    let mut wei = Person::sits_at(&home, &arguments);
    wei.sees("you: ");
    let connected = |call, peer: &str| {
        let peer = Name::new(peer.to_owned()).unwrap();
        Message::from(Connected { call, peer, next_nonce: Nonce(1) })
    };
    let (ada, bob) = (CallId([1; 16]), CallId([2; 16]));
    server.push.send(vec![connected(ada, "Ada")]).unwrap();
    wei.sees("on the line with Ada");
    wei.types("/ban 2h");
    wei.sees("you: /ban 2h");
    let (by, why) = (By::Caller, Why::BYE);
    let ended = Ended { call: ada, seq: Seq(1), at: UnixMillis(0), by, why };
    server.push.send(vec![ended.into(), connected(bob, "Bob")]).unwrap();
    wei.sees("on the line with Bob");
    wei.types("\r");
    wei.sees("not said: /ban 2h");
    wei.types("/ban\r");
    let end = Instant::now() + PATIENCE;
    while server.state().heard.len() < 2 {
        assert!(Instant::now() < end, "{}", wei.text());
        thread::yield_now();
    }
    assert_eq!(server.state().heard.last().unwrap(), &format!("ban {bob}"));
}
