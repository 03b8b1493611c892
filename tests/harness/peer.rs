//! A raw wire connection.

use std::{
    collections::{BTreeMap, VecDeque},
    io::{self, ErrorKind, Read as _, Write as _},
    net::{Shutdown, SocketAddr, TcpStream},
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use bytes::{Bytes, BytesMut};
use helpline_proto::{
    frame,
    ids::{Answering, CallId, Nonce, Seq, Side, Ticket},
    limits,
    message::{
        Admitted, Away, Back, Busy, Closed, Connected, EndSeen, Ended, Error, Goodbye, HangUp,
        Hello, Join, Left, Message, Next, Offer, Place, PutBack, Ref, Resume, Resumed, Said, Say,
        Shown, SignOn, Welcome, Withdrawn,
    },
    text::{Agent, LineName, Name, Text},
    version,
};

use crate::PATIENCE;

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

/// Saying.
impl Peer {
    /// Sends a message.
    ///
    /// # Panics
    /// It can't.
    pub fn send(&mut self, message: impl Into<Message>) {
        self.send_all([message.into()]);
    }

    /// Sends a message with a reference.
    ///
    /// # Panics
    /// It can't.
    pub fn ask(&mut self, reference: u32, message: impl Into<Message>) {
        self.send_raw(&message.into().to_frame(Ref(reference)).unwrap());
    }

    /// Sends messages in one write.
    ///
    /// # Panics
    /// It can't.
    pub fn send_all(&mut self, messages: impl IntoIterator<Item = Message>) {
        let mut bytes = BytesMut::new();
        for message in messages {
            match &message {
                Message::Join(join) => self.ticket = Some((Side::Caller, join.ticket.clone())),
                Message::SignOn(on) => self.ticket = Some((Side::Operator, on.ticket.clone())),
                Message::Resume(resume) => self.ticket = Some((resume.side, resume.ticket.clone())),
                _ => {}
            }
            message.encode(Ref::NONE, &mut bytes).unwrap();
        }
        self.send_raw(&bytes);
    }

    /// Sends bytes in one write.
    ///
    /// # Panics
    /// It can't.
    pub fn send_raw(&mut self, bytes: &[u8]) {
        self.try_send_raw(bytes)
            .unwrap_or_else(|error| panic!("cannot send: {error}; {}", self.seen()));
    }

    /// Sends bytes in one write.
    ///
    /// # Errors
    /// The connection is broken.
    pub fn try_send_raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.as_ref().ok_or(ErrorKind::NotConnected)?.write_all(bytes)
    }

    /// Sends bytes in writes of at most `size`, each a segment of its own as a rule.
    ///
    /// # Panics
    /// It can't.
    pub fn send_in_pieces(&mut self, bytes: &[u8], size: usize) {
        for piece in bytes.chunks(size) {
            self.send_raw(piece);
        }
    }

    /// The next `Say` of this call, counted but not sent.
    ///
    /// # Panics
    /// There is no call, or the text isn't one.
    pub fn next_say(&mut self, text: &str) -> Message {
        let nonce = self.next;
        self.next = nonce.next().unwrap();
        Say { call: self.call(), nonce, text: Text::new(text).unwrap() }.into()
    }

    /// Wants something said.
    ///
    /// # Panics
    /// It can't be sent.
    pub fn say(&mut self, text: &str) {
        let say = self.next_say(text);
        self.send(say);
    }

    /// Hangs up.
    ///
    /// # Panics
    /// It can't be sent.
    pub fn hang_up(&mut self) {
        let call = self.call();
        self.send(HangUp { call });
    }

    /// Says that the end of the call was shown.
    ///
    /// # Panics
    /// It can't be sent.
    pub fn end_seen(&mut self) {
        let call = self.call();
        self.send(EndSeen { call });
    }

    /// As an operator, takes the oldest waiting call.
    ///
    /// # Panics
    /// It can't be sent.
    pub fn next(&mut self) {
        self.send(Next {});
    }

    /// Ends the sending side; the other goes on.
    ///
    /// # Panics
    /// It can't.
    pub fn half_close(&self) {
        self.stream().shutdown(Shutdown::Write).unwrap();
    }

    /// Ends the sending side, unless the connection is over already.
    pub fn half_close_if_open(&self) {
        let _ = self.stream().shutdown(Shutdown::Write);
    }

    /// Breaks the connection off with a reset (RST), as a crashing machine does.
    ///
    /// # Panics
    /// It can't.
    pub fn reset(&mut self) {
        // With nothing to linger for, closing sends RST instead of FIN.
        rustix::net::sockopt::set_socket_linger(self.stream(), Some(Duration::ZERO)).unwrap();
        self.stream = None;
    }

    /// Ends the connection in good order, but without hanging up, and waits until the server has taken note.
    ///
    /// # Panics
    /// It doesn't.
    pub fn go_away(&mut self) {
        self.half_close();
        self.expect_over();
        self.stream = None;
    }

    /// Ends the connection without a word, as a process that is killed does.
    pub fn vanish(&mut self) {
        self.stream = None;
    }
}

/// Coming back.
impl Peer {
    /// Asks to go on with its ticket, having shown what has come so far.
    ///
    /// # Panics
    /// It has no ticket.
    #[must_use]
    pub fn resume(&self) -> Resume {
        let (side, ticket) = self.ticket.clone().expect("the peer has asked to be let in");
        let shown = self.shown.iter().map(|(call, seq)| Shown { call: *call, seq: *seq });
        Resume { ticket, side, shown: shown.collect() }
    }

    /// Another connection with the same ticket, on which everything up to `shown` of its call counts as shown,
    /// and which is asked to go on; the answer is still to be read. This one stays as it is.
    ///
    /// # Panics
    /// It can't connect.
    #[must_use]
    pub fn again(&self, shown: u32) -> Self {
        let mut peer = Self::connect(self.address);
        let (side, ticket) = self.ticket.clone().expect("the peer has asked to be let in");
        let shown = self.call.map(|call| Shown { call, seq: Seq(shown) });
        peer.shown.extend(shown.map(|shown| (shown.call, shown.seq)));
        let shown = shown.into_iter().filter(|shown| shown.seq > Seq(0)).collect();
        peer.send_all([Self::hello(), Resume { ticket, side, shown }.into()]);
        peer
    }

    /// Connects anew and asks to go on where it was; the answer is still to be read. What had come beside
    /// entries and was not expected yet is forgotten.
    ///
    /// # Panics
    /// It can't connect.
    pub fn ask_to_come_back(&mut self) {
        let resume = self.resume();
        let mut peer = Self::connect(self.address);
        peer.send_all([Self::hello(), resume.into()]);
        self.stream = peer.stream;
        self.over = None;
        self.buffer.clear();
        self.pending.retain(|(_, message)| numbered(message).is_some());
    }

    /// Connects anew and goes on where it was: it is let in, and knows which of its lines are recorded. What
    /// it has not shown follows.
    ///
    /// # Panics
    /// It isn't let in.
    pub fn come_back(&mut self) -> Resumed {
        self.ask_to_come_back();
        self.expect_admitted();
        self.expect_resumed()
    }

    /// Says again those of these lines that aren't recorded, and counts on behind them.
    ///
    /// # Panics
    /// They can't be sent, or are not all lines.
    pub fn say_again(&mut self, says: &[Message]) {
        let nonce = |say: &Message| match say {
            Message::Say(say) => say.nonce,
            other => panic!("not a line: {other:?}"),
        };
        let unsaid: Vec<_> = says.iter().filter(|say| nonce(say) >= self.next).cloned().collect();
        if let Some(last) = unsaid.last() {
            self.next = nonce(last).next().unwrap();
        }
        self.send_all(unsaid);
    }
}

/// Hearing.
impl Peer {
    /// What comes next, at most so long from now.
    pub fn next_within(&mut self, within: Duration) -> Got {
        if let Some((reference, message)) = self.pending.pop_front() {
            return Got::Message(reference, message);
        }
        self.read(Instant::now() + within)
    }

    /// Reads the next message off the wire.
    fn read(&mut self, until: Instant) -> Got {
        loop {
            if let Some(over) = &self.over {
                return over.clone();
            }
            match frame::split(&self.buffer, limits::FRAME) {
                Ok(Some(frame)) => {
                    let (size, reference) = (frame.size(), frame.reference);
                    let message = Message::decode(frame)
                        .unwrap_or_else(|error| panic!("the server sent nonsense: {error}"));
                    let _ = self.buffer.split_to(size);
                    self.note(&message);
                    return Got::Message(reference, message);
                }
                Ok(None) => {}
                Err(error) => panic!("the server sent nonsense: {error}: {:?}", self.buffer),
            }
            match self.fill(until) {
                Ok(0) => self.over = Some(Got::End),
                Ok(_) => {}
                Err(ErrorKind::WouldBlock | ErrorKind::TimedOut) => return Got::Nothing,
                Err(kind) => self.over = Some(Got::Broken(kind)),
            }
        }
    }

    fn fill(&mut self, until: Instant) -> Result<usize, ErrorKind> {
        let left = until.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
        let mut stream = self.stream.as_ref().ok_or(ErrorKind::NotConnected)?;
        stream.set_read_timeout(Some(left)).unwrap();
        let mut piece = [0; 16 * 1024];
        let size = stream.read(&mut piece).map_err(|error| error.kind())?;
        self.buffer.extend_from_slice(&piece[..size]);
        Ok(size)
    }

    fn note(&mut self, message: &Message) {
        match message {
            Message::Place(place) => self.opened(place.call, place.next_nonce),
            Message::Connected(connected) => self.opened(connected.call, connected.next_nonce),
            Message::Resumed(resumed) => {
                for listed in &resumed.calls {
                    (self.call, self.next) = (Some(listed.call), listed.next_nonce);
                }
            }
            Message::PutBack(put_back) => {
                // Should it be this operator's again, it is told from the start.
                self.shown.remove(&put_back.call);
                self.call = None;
            }
            _ => {}
        }
        if let Some((call, seq)) = numbered(message) {
            let last = self.shown.insert(call, seq).unwrap_or_default();
            assert_eq!(last.next(), Some(seq), "behind {}: {}", last.0, brief(message));
            self.entries.push(message.clone());
        }
    }

    fn opened(&mut self, call: CallId, next: Nonce) {
        if self.call != Some(call) {
            self.call = Some(call);
            self.next = next;
        }
    }

    /// Waits until something comes that `look` finds what it looks for in. The rest stays.
    ///
    /// # Panics
    /// It doesn't come within [`PATIENCE`], or the connection ends before.
    pub fn expect<T>(&mut self, what: &str, look: impl FnMut(&Message) -> Option<T>) -> T {
        self.expect_within(PATIENCE, what, look)
    }

    /// [`expect`](Self::expect) with another deadline.
    ///
    /// # Panics
    /// It doesn't come in time, or the connection ends before.
    pub fn expect_within<T>(
        &mut self,
        within: Duration,
        what: &str,
        mut look: impl FnMut(&Message) -> Option<T>,
    ) -> T {
        let until = Instant::now() + within;
        for at in 0..self.pending.len() {
            if let Some(found) = look(&self.pending[at].1) {
                self.pending.remove(at);
                return found;
            }
        }
        loop {
            match self.read(until) {
                Got::Message(reference, message) => match look(&message) {
                    Some(found) => return found,
                    None => self.pending.push_back((reference, message)),
                },
                other => panic!("no {what} within {within:?}: {other:?}; {}", self.seen()),
            }
        }
    }

    /// Waits for the answer with this reference.
    ///
    /// # Panics
    /// It doesn't come.
    pub fn expect_answer(&mut self, reference: u32) -> Message {
        let until = Instant::now() + PATIENCE;
        if let Some(at) = self.pending.iter().position(|(own, _)| own.0 == reference) {
            return self.pending.remove(at).unwrap().1;
        }
        loop {
            match self.read(until) {
                Got::Message(own, message) if own.0 == reference => return message,
                Got::Message(own, message) => self.pending.push_back((own, message)),
                other => panic!("no answer to {reference}: {other:?}; {}", self.seen()),
            }
        }
    }

    /// Reads until the connection is over, and says how it ended.
    ///
    /// # Panics
    /// It goes on longer than [`PATIENCE`].
    pub fn expect_over(&mut self) -> Got {
        let until = Instant::now() + PATIENCE;
        loop {
            match self.read(until) {
                Got::Message(reference, message) => self.pending.push_back((reference, message)),
                Got::Nothing => panic!("the connection is not over: {}", self.seen()),
                over => return over,
            }
        }
    }

    /// Asserts that nothing comes for a while.
    ///
    /// # Panics
    /// Something does.
    pub fn expect_nothing(&mut self, within: Duration) {
        let got = self.next_within(within);
        assert_eq!(got, Got::Nothing, "{}", self.seen());
    }

    /// Waits until the server has done all that this peer has asked for, and all it told before that has come.
    ///
    /// # Panics
    /// It doesn't.
    pub fn settle(&mut self) {
        // Nobody's call: the answer is an error, and it comes from where everything is decided.
        self.ask(u32::MAX, HangUp { call: CallId([0xff; 16]) });
        self.expect_answer(u32::MAX);
    }

    /// What has come and was not expected yet.
    pub fn pending(&self) -> impl Iterator<Item = &Message> {
        self.pending.iter().map(|(_, message)| message)
    }

    /// Forgets what has come and was not expected yet.
    pub fn forget(&mut self) {
        self.pending.clear();
    }

    /// What is known of it, for a failure message.
    #[must_use]
    pub fn seen(&self) -> String {
        let pending: Vec<String> = self.pending().map(brief).collect();
        let entries: Vec<String> = self.entries.iter().map(brief).collect();
        format!("entries {entries:?}, not expected {pending:?}")
    }

    /// All bytes until the connection is over, of a server that doesn't answer in frames.
    ///
    /// # Panics
    /// It goes on longer than [`PATIENCE`].
    pub fn expect_bytes(&mut self) -> Vec<u8> {
        let until = Instant::now() + PATIENCE;
        loop {
            match self.fill(until) {
                Ok(0) => return self.buffer.to_vec(),
                Ok(_) => {}
                Err(kind) => panic!("{kind} after {:?}", self.buffer),
            }
        }
    }
}

/// The call and the number of an entry.
fn numbered(message: &Message) -> Option<(CallId, Seq)> {
    match message {
        Message::Said(said) => Some((said.call, said.seq)),
        Message::Joined(joined) => Some((joined.call, joined.seq)),
        Message::Left(left) => Some((left.call, left.seq)),
        Message::Ended(ended) => Some((ended.call, ended.seq)),
        _ => None,
    }
}

fn brief(message: &Message) -> String {
    let mut text = format!("{message:?}");
    if let Some((end, _)) = text.char_indices().nth(300) {
        text.truncate(end);
        text.push('…');
    }
    text
}

macro_rules! expectations {
    ($($(#[$doc:meta])* $name:ident $type:ident;)*) => {
        /// What is waited for most.
        impl Peer {
            $($(#[$doc])*
            ///
            /// # Panics
            /// It doesn't come.
            pub fn $name(&mut self) -> $type {
                self.expect(stringify!($type), |message| match message {
                    Message::$type(body) => Some(body.clone()),
                    _ => None,
                })
            })*
        }
    };
}

expectations! {
    /// Waits to be welcome.
    expect_welcome Welcome;
    /// Waits to be let in.
    expect_admitted Admitted;
    /// Waits for a place.
    expect_place Place;
    /// Waits until the other side is there.
    expect_connected Connected;
    /// Waits for the next thing said, by either side.
    expect_said Said;
    /// Waits for the end of the call.
    expect_ended Ended;
    /// Waits to hear busy.
    expect_busy Busy;
    /// Waits to hear that the line is closed.
    expect_closed Closed;
    /// Waits for the last words.
    expect_goodbye Goodbye;
    /// Waits to be let in again.
    expect_resumed Resumed;
    /// Waits until the other side is away.
    expect_away Away;
    /// Waits until the other side is back.
    expect_back Back;
    /// Waits until an operator's call waits again.
    expect_put_back PutBack;
    /// Waits until the other side has left the call, which goes on.
    expect_left Left;
    /// Waits until somebody is offered.
    expect_offer Offer;
    /// Waits until who was offered no longer is.
    expect_withdrawn Withdrawn;
    /// Waits for a request to be refused.
    expect_error Error;
}

impl Peer {
    /// Waits until this text has been said by either side.
    ///
    /// # Panics
    /// It isn't.
    pub fn expect_text(&mut self, text: &str) -> Said {
        self.expect(&format!("{text:?}"), |message| match message {
            Message::Said(said) if said.text.as_str() == text => Some(said.clone()),
            _ => None,
        })
    }

    /// Both sides say something and both hear it: the call is alive.
    ///
    /// # Panics
    /// It isn't.
    pub fn chat(caller: &mut Self, operator: &mut Self, text: &str) {
        let (question, answer) = (format!("{text}?"), format!("{text}!"));
        caller.say(&question);
        operator.expect_text(&question);
        operator.say(&answer);
        caller.expect_text(&answer);
        // Their own lines, too.
        caller.expect_text(&question);
        operator.expect_text(&answer);
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
