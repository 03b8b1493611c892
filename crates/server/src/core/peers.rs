//! Who is who: which connection speaks for which party, and how far each has been told.

use std::{collections::HashMap, ops::RangeInclusive, task::Waker};

use bytes::Bytes;
use helpline_proto::ids::{CallId, Seq};
use helpline_switchboard::{Notice, Party};
use tokio::runtime::Handle;

use crate::outbox::OutboxSender;

use super::ConnectionId;

/// What a notice says about the call a party hears.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// It waits.
    Waiting(CallId),
    /// It is connected.
    Connected(CallId),
    /// It is no longer the party's.
    PutBack,
    /// Nothing.
    Other,
}

impl State {
    pub(super) fn of(notice: &Notice) -> Self {
        match notice {
            Notice::Place { call, .. } => Self::Waiting(*call),
            Notice::Connected { call, .. } => Self::Connected(*call),
            Notice::PutBack { .. } => Self::PutBack,
            _ => Self::Other,
        }
    }
}

#[derive(Debug)]
struct Peer {
    outbox: OutboxSender,
    bound: Option<Party>,
    /// The call it hears, and the last entry that went into its outbox.
    hears: Option<(CallId, Seq)>,
    /// The call it was last told to be connected in.
    connected: Option<CallId>,
    /// It has to be told from the store before it is told anything live.
    behind: bool,
    /// Something beside entries had no room, and has to be told again.
    stale: bool,
    /// It was told its state as it is at the end of this turn.
    restated: bool,
}

/// The connections that have joined or signed on.
#[derive(Debug, Default)]
pub(super) struct Peers {
    /// Boxed, because a table has more room than there are peers.
    peers: HashMap<ConnectionId, Box<Peer>>,
    connections: HashMap<Party, ConnectionId>,
    /// Whose outboxes may hold something that isn't sent.
    touched: Vec<ConnectionId>,
    /// Those for whom something was sent.
    woken: Vec<Waker>,
    /// Where they are, if not in this thread.
    elsewhere: Option<Handle>,
}

impl Peers {
    /// Keeps the outbox of a connection that will be told one thing and go.
    pub(super) fn stranger(&mut self, id: ConnectionId, outbox: OutboxSender) {
        let peer = Peer {
            outbox,
            bound: None,
            hears: None,
            connected: None,
            behind: false,
            stale: false,
            restated: false,
        };
        self.peers.insert(id, Box::new(peer));
    }

    /// Lets a connection speak for a party.
    pub(super) fn bind(&mut self, id: ConnectionId, outbox: OutboxSender, party: Party) {
        self.stranger(id, outbox);
        if let Some(peer) = self.peers.get_mut(&id) {
            peer.bound = Some(party);
        }
        self.connections.insert(party, id);
    }

    /// A party came back that has shown so much of this call: it has to be told the rest, and its state.
    pub(super) fn resume(&mut self, id: ConnectionId, hears: Option<(CallId, Seq)>) {
        if let Some(peer) = self.peers.get_mut(&id) {
            peer.hears = hears;
            peer.stale = true;
            peer.behind = true;
        }
    }

    /// A connection no longer speaks for anybody.
    pub(super) fn unbind(&mut self, id: ConnectionId) {
        let bound = self.peers.get_mut(&id).and_then(|peer| peer.bound.take());
        if let Some(party) = bound
            && self.connections.get(&party) == Some(&id)
        {
            self.connections.remove(&party);
        }
    }

    /// How many connections are known.
    #[cfg(test)]
    pub(super) fn count(&self) -> usize {
        self.peers.len()
    }

    pub(super) fn party(&self, id: ConnectionId) -> Option<Party> {
        self.peers.get(&id)?.bound
    }

    /// The call that a party hears, and the last entry that was sent to it.
    pub(super) fn sent(&self, party: Party) -> Option<(CallId, Seq)> {
        self.peers.get(self.connections.get(&party)?)?.hears
    }

    pub(super) fn connection(&self, party: Party) -> Option<ConnectionId> {
        self.connections.get(&party).copied()
    }

    fn peer(&mut self, party: Party) -> Option<&mut Peer> {
        let id = *self.connections.get(&party)?;
        if self.touched.last() != Some(&id) {
            self.touched.push(id);
        }
        self.peers.get_mut(&id).map(|peer| &mut **peer)
    }

    /// Sends everybody what this turn has for them, and wakes them.
    pub(super) fn send(&mut self) {
        for id in self.touched.drain(..) {
            if let Some(peer) = self.peers.get_mut(&id) {
                peer.restated = false;
                self.woken.extend(peer.outbox.send());
            }
        }
        let woken = std::mem::take(&mut self.woken);
        match &self.elsewhere {
            // Each wake of another thread is a system call. One of them wakes there whom it concerns.
            Some(elsewhere) if woken.len() > 1 => {
                drop(elsewhere.spawn(async { woken.into_iter().for_each(Waker::wake) }));
            }
            _ => woken.into_iter().for_each(Waker::wake),
        }
    }

    /// The connections are served there.
    pub(super) fn are_served(&mut self, elsewhere: Handle) {
        self.elsewhere = Some(elsewhere);
    }

    /// Tells entries live. True when the peer has just fallen behind instead.
    pub(super) fn entries(
        &mut self,
        party: Party,
        call: CallId,
        seqs: &RangeInclusive<Seq>,
        frames: &Bytes,
    ) -> bool {
        let Some(peer) = self.peer(party) else { return false };
        let heard = match peer.hears {
            Some((hears, heard)) if hears == call => heard,
            _ => Seq(0),
        };
        if peer.behind || *seqs.end() <= heard {
            return false;
        }
        if heard.next() == Some(*seqs.start()) && peer.outbox.push(frames.clone()).is_ok() {
            peer.hears = Some((call, *seqs.end()));
            return false;
        }
        peer.hears = Some((call, heard));
        peer.fall_behind();
        true
    }

    /// Tells anything but an entry; it is told again later if there is no room now. True when the
    /// peer has entries to catch up with.
    pub(super) fn notice(&mut self, party: Party, state: State, frame: &Bytes) -> bool {
        let Some(peer) = self.peer(party) else { return false };
        if peer.restated && matches!(state, State::Waiting(_)) {
            // A place from the midst of the turn: it knows the one at its end.
            return false;
        }
        if peer.behind || peer.outbox.push(frame.clone()).is_err() {
            peer.stale = true;
            peer.fall_behind();
            return false;
        }
        peer.told(state)
    }

    /// Answers a question. The answer has no place among the entries, so a peer that is behind gets it
    /// too; only one that leaves a whole outbox unread asks in vain.
    pub(super) fn answer(&mut self, id: ConnectionId, frame: &Bytes) {
        if let Some(peer) = self.peers.get_mut(&id).filter(|peer| peer.bound.is_some()) {
            let _ = peer.outbox.push(frame.clone());
            self.touched.push(id);
        }
    }

    /// Whether a party missed a change of its state.
    pub(super) fn is_stale(&mut self, party: Party) -> bool {
        self.peer(party).is_some_and(|peer| peer.stale)
    }

    /// Tells a party its state again. False when there was no room for all of it.
    pub(super) fn restate(
        &mut self,
        party: Party,
        notices: impl Iterator<Item = (State, Bytes)>,
    ) -> bool {
        let Some(peer) = self.peer(party) else { return false };
        peer.outbox.tell_when_empty();
        for (state, frame) in notices {
            if matches!(state, State::Connected(call) if peer.connected == Some(call)) {
                continue;
            }
            if peer.outbox.push(frame).is_err() {
                return false;
            }
            peer.told(state);
        }
        (peer.stale, peer.restated) = (false, true);
        true
    }

    /// The call that a party is behind with, and the last entry it was told.
    pub(super) fn behind(&mut self, party: Party) -> Option<(CallId, Seq)> {
        let peer = self.peer(party).filter(|peer| peer.behind)?;
        if peer.hears.is_none() {
            peer.behind = false;
        }
        peer.hears
    }

    /// Tells entries from the store. False when there was no room for all of them.
    pub(super) fn page(
        &mut self,
        party: Party,
        frames: impl Iterator<Item = (Seq, Bytes)>,
    ) -> bool {
        let Some(peer) = self.peer(party) else { return false };
        peer.outbox.tell_when_empty();
        for (seq, frame) in frames {
            if peer.outbox.push(frame).is_err() {
                return false;
            }
            if let Some((_, heard)) = &mut peer.hears {
                *heard = seq;
            }
        }
        true
    }

    /// A party has been told every entry there is.
    pub(super) fn caught_up(&mut self, party: Party) {
        if let Some(peer) = self.peer(party) {
            peer.behind = peer.stale;
        }
    }

    /// Says the last words to a connection and lets go of it.
    pub(super) fn part(&mut self, id: ConnectionId, last_words: &Bytes) {
        self.unbind(id);
        if let Some(mut peer) = self.peers.remove(&id) {
            // A full outbox ends without them: the connection sees that the core has let go.
            let _ = peer.outbox.push(last_words.clone());
            self.woken.extend(peer.outbox.send());
        }
    }

    /// Says the same last words to everybody.
    pub(super) fn part_all(&mut self, last_words: &Bytes) {
        let everybody: Vec<ConnectionId> = self.peers.keys().copied().collect();
        for id in everybody {
            self.part(id, last_words);
        }
    }
}

impl Peer {
    fn fall_behind(&mut self) {
        self.behind = true;
        self.outbox.tell_when_empty();
    }

    /// Notes a state told to the peer. True when it hears a call it hasn't heard before, and has to
    /// be told what was said there.
    fn told(&mut self, state: State) -> bool {
        let call = match state {
            State::Waiting(call) => {
                self.connected = None;
                call
            }
            State::Connected(call) => {
                self.connected = Some(call);
                call
            }
            State::PutBack => {
                self.connected = None;
                self.hears = None;
                return false;
            }
            State::Other => return false,
        };
        if matches!(self.hears, Some((hears, _)) if hears == call) {
            return false;
        }
        self.hears = Some((call, Seq(0)));
        self.behind |= matches!(self.bound, Some(Party::Operator(_)));
        self.behind
    }
}
