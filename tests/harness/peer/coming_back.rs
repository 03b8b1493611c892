//! Coming back with the ticket.

use helpline_proto::{
    ids::Seq,
    message::{Message, Resume, Resumed, Shown},
};

use super::{Peer, hearing::numbered};

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
