//! Saying, and leaving.

use std::{
    io::{self, ErrorKind, Write as _},
    net::Shutdown,
    time::Duration,
};

use bytes::BytesMut;
use helpline_proto::{
    ids::Side,
    message::{EndSeen, HangUp, Message, Next, Ref, Say},
    text::Text,
};

use super::Peer;
use crate::accounts;

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

    /// Sends messages in one write. A sign-on without a token gets the one of its account.
    ///
    /// # Panics
    /// It can't.
    pub fn send_all(&mut self, messages: impl IntoIterator<Item = Message>) {
        let mut bytes = BytesMut::new();
        for mut message in messages {
            match &mut message {
                Message::Join(join) => self.ticket = Some((Side::Caller, join.ticket.clone())),
                Message::SignOn(on) => {
                    self.ticket = Some((Side::Operator, on.ticket.clone()));
                    if on.token.is_none() {
                        on.token = accounts::token(self.address, &on.name);
                    }
                }
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
