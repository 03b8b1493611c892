//! Entries of one call that are recorded and told together.

use bytes::{Bytes, BytesMut};
use helpline_proto::{
    ids::{CallId, Seq},
    message::Ref,
};
use helpline_switchboard::Entry;

use crate::tell;

/// Bytes of frames after which no more are added: a peer that has read little has room for as many, and a reader
/// who wants one of them has to read no more.
const ENOUGH: usize = 16 * 1024;

/// Entries of one call, in order and without a gap, each also as the frame that goes over the wire. What is
/// recorded is what is told: the same bytes.
#[derive(Clone, Debug, PartialEq)]
pub struct Entries {
    call: CallId,
    first: Seq,
    list: Vec<Entry>,
    frames: BytesMut,
}

impl Entries {
    /// Begins with one.
    #[must_use]
    pub fn of(call: CallId, entry: Entry) -> Self {
        let mut entries =
            Self { call, first: entry.seq, list: Vec::new(), frames: BytesMut::new() };
        entries.push(entry);
        entries
    }

    /// Adds the next entry of the call.
    pub fn push(&mut self, entry: Entry) {
        tell::put(&tell::entry(self.call, &entry), Ref::NONE, &mut self.frames);
        self.list.push(entry);
    }

    /// Whether another one is better begun anew.
    #[must_use]
    pub fn are_enough(&self) -> bool {
        self.frames.len() >= ENOUGH
    }

    /// Whose they are.
    #[must_use]
    pub fn call(&self) -> CallId {
        self.call
    }

    /// The number of the first.
    #[must_use]
    pub fn first(&self) -> Seq {
        self.first
    }

    /// The number of the last.
    #[must_use]
    pub fn last(&self) -> Seq {
        self.list.last().map_or(self.first, |last| last.seq)
    }

    /// Them all.
    #[must_use]
    pub fn list(&self) -> &[Entry] {
        &self.list
    }

    /// Their frames, one behind the other.
    #[must_use]
    pub fn frames(&self) -> &[u8] {
        &self.frames
    }

    /// Their frames, to be told.
    #[must_use]
    pub fn into_frames(self) -> Bytes {
        self.frames.freeze()
    }
}
