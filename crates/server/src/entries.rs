//! Entries of one call that are recorded and told together.

use bytes::{Bytes, BytesMut};
use helpline_proto::{
    frame,
    ids::{CallId, Nonce, Seq, Side},
    limits,
    message::{Message, Ref},
};
use helpline_switchboard::{Entry, Item};

use crate::{store::StoreError, tell};

/// Bytes of frames after which no more are added: a peer that has read little has room for as many, and a reader
/// who wants one of them has to read no more.
const ENOUGH: usize = 16 * 1024;

/// Bytes for the frames of a short line.
const SHORT: usize = 256;

/// Bytes that frames on their way to a peer may hold beside themselves: they aren't counted.
const SPARE: usize = 512;

pub(crate) const NO_FRAMES: StoreError = StoreError::Nonsense("an entry that isn't one");

/// Entries of one call, in order and without a gap, as the frames that go over the wire. What is recorded is what
/// is told: the same bytes.
#[derive(Clone, Debug, PartialEq)]
pub struct Entries {
    call: CallId,
    steps: Vec<Step>,
    frames: BytesMut,
}

/// How an entry takes its call on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// The number of the entry.
    pub seq: Seq,
    /// What it is.
    pub kind: StepKind,
}

/// What an entry is, apart from what it says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StepKind {
    /// A line of this side, with its nonce.
    Said(Side, Nonce),
    /// Somebody came or went.
    Passed,
    /// The call is over.
    Ended,
}

impl Step {
    /// The step that an entry is.
    #[must_use]
    pub fn of(entry: &Entry) -> Self {
        let kind = match entry.item {
            Item::Said { from, nonce, .. } => StepKind::Said(from, nonce),
            Item::Joined { .. } | Item::Left { .. } => StepKind::Passed,
            Item::Ended { .. } => StepKind::Ended,
        };
        Self { seq: entry.seq, kind }
    }
}

impl Entries {
    /// Begins with one. It is likely that so many more follow.
    #[must_use]
    pub fn of(call: CallId, entry: Entry, more: usize) -> Self {
        let mut entries = Self { call, steps: Vec::new(), frames: BytesMut::with_capacity(SHORT) };
        entries.push(entry);
        if let Some(fit) = ENOUGH.checked_div(entries.frames.len()) {
            let more = more.min(fit);
            entries.steps.reserve(more);
            entries.frames.reserve(entries.frames.len() * more);
        }
        entries
    }

    /// Adds the next entry of the call.
    pub fn push(&mut self, entry: Entry) {
        self.steps.push(Step::of(&entry));
        tell::put(&tell::entry(self.call, entry), Ref::NONE, &mut self.frames);
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
        self.steps.first().map_or(Seq(0), |first| first.seq)
    }

    /// The number of the last.
    #[must_use]
    pub fn last(&self) -> Seq {
        self.steps.last().map_or(Seq(0), |last| last.seq)
    }

    /// How each of them takes the call on.
    #[must_use]
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// Them all, as they are read back.
    ///
    /// # Errors
    /// They hold something that can't be told.
    pub fn read(&self) -> Result<Vec<Entry>, StoreError> {
        read(self.call, &self.frames).collect()
    }

    /// Their frames, one behind the other.
    #[must_use]
    pub fn frames(&self) -> &[u8] {
        &self.frames
    }

    /// Their frames, to be told.
    #[must_use]
    pub fn into_frames(self) -> Bytes {
        if self.frames.capacity() - self.frames.len() > SPARE {
            return Bytes::copy_from_slice(&self.frames);
        }
        self.frames.freeze()
    }
}

/// The entries that these frames are, all of this call.
pub(crate) fn read(call: CallId, frames: &[u8]) -> impl Iterator<Item = Result<Entry, StoreError>> {
    let mut rest = frames;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let frame = frame::split(rest, limits::FRAME).ok().flatten();
        rest = frame.and_then(|frame| rest.get(frame.size()..)).unwrap_or_default();
        let message = frame.and_then(|frame| Message::decode(frame).ok());
        Some(match message.and_then(tell::recorded) {
            Some((of, entry)) if of == call => Ok(entry),
            Some(_) => Err(StoreError::Nonsense("an entry of another call")),
            None => Err(NO_FRAMES),
        })
    })
}

#[cfg(test)]
mod tests {
    use helpline_proto::{
        text::{Name, Text},
        time::UnixMillis,
    };

    use super::*;

    const CALL: CallId = CallId([1; 16]);

    fn said(seq: u32) -> Entry {
        let (name, text) = (Name::new("Ada").unwrap(), Text::new("a line").unwrap());
        let item = Item::Said { from: Side::Caller, name, nonce: Nonce(seq), text };
        Entry { seq: Seq(seq), at: UnixMillis(0), item }
    }

    #[test]
    fn entries_read_back_as_they_were_put_in() {
        let mut entries = Entries::of(CALL, said(7), 1);
        entries.push(said(8));
        assert_eq!((entries.first(), entries.last()), (Seq(7), Seq(8)));
        assert_eq!(entries.steps(), [Step::of(&said(7)), Step::of(&said(8))]);
        assert_eq!(entries.read().unwrap(), [said(7), said(8)]);
        assert!(read(CallId([2; 16]), entries.frames()).all(|entry| entry.is_err()));
    }

    #[test]
    fn frames_hold_little_beside_themselves() {
        for (more, come) in [(0, 0), (60, 0), (60, 60), (usize::MAX, 3)] {
            let mut entries = Entries::of(CALL, said(1), more);
            (0..come).for_each(|nth| entries.push(said(nth + 2)));
            let frames = entries.into_frames();
            let size = frames.len();
            let held = frames.try_into_mut().unwrap().capacity();
            assert!(held <= size + SPARE, "{held} bytes for {size}");
        }
    }
}
