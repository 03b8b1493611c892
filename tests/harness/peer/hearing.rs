//! Hearing, and waiting for what is to come.

use std::{
    io::{ErrorKind, Read as _},
    time::{Duration, Instant},
};

use helpline_proto::{
    frame,
    ids::{CallId, Nonce, Seq},
    limits,
    message::{
        Admitted, Away, Back, Busy, Closed, Connected, Ended, Error, Goodbye, HangUp, Left,
        Message, Offer, Place, PutBack, Resumed, Said, Welcome, Withdrawn,
    },
};

use crate::PATIENCE;

use super::{Got, Peer};

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
pub(super) fn numbered(message: &Message) -> Option<(CallId, Seq)> {
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
