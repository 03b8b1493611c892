//! All calls, by their ids.

use std::{
    collections::HashMap,
    hash::{BuildHasherDefault, Hasher},
};

use helpline_proto::ids::CallId;

use crate::call::Call;

/// Room that is kept however few calls there are.
const SLACK: usize = 64;

/// Every call that somebody may still ask something about.
///
/// Finding one takes as long whether ten callers wait or a hundred thousand: each input finds its call several
/// times. The room follows the calls that live, not those that passed.
#[derive(Debug, Default)]
pub(crate) struct Calls {
    /// Boxed, so that to make more room moves little.
    by_id: HashMap<CallId, Box<Call>, BuildHasherDefault<Folded>>,
}

impl Calls {
    pub(crate) fn len(&self) -> usize {
        self.by_id.len()
    }

    pub(crate) fn contains(&self, id: CallId) -> bool {
        self.by_id.contains_key(&id)
    }

    pub(crate) fn find(&self, id: CallId) -> Option<&Call> {
        self.by_id.get(&id).map(|call| &**call)
    }

    pub(crate) fn find_mut(&mut self, id: CallId) -> Option<&mut Call> {
        self.by_id.get_mut(&id).map(|call| &mut **call)
    }

    pub(crate) fn insert(&mut self, id: CallId, call: Call) {
        self.by_id.insert(id, Box::new(call));
    }

    /// Forgets a call. What room that leaves over is given back now and then: the forgetting has paid for it.
    pub(crate) fn forget(&mut self, id: CallId) {
        self.by_id.remove(&id);
        if self.by_id.capacity() > 4 * self.by_id.len() + 4 * SLACK {
            self.by_id.shrink_to(2 * self.by_id.len() + SLACK);
        }
    }

    /// All of them, in no order: whoever asks puts them in one.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (CallId, &Call)> {
        self.by_id.iter().map(|(id, call)| (*id, &**call))
    }
}

/// Takes ids for hashes: they are random, and made by the server, so nobody can have them collide.
#[derive(Debug, Default)]
struct Folded(u64);

impl Hasher for Folded {
    fn write(&mut self, bytes: &[u8]) {
        let (words, _) = bytes.as_chunks();
        self.0 = words.iter().fold(self.0, |hash, word| hash ^ u64::from_be_bytes(*word));
    }

    /// The length of an id says nothing.
    fn write_usize(&mut self, _: usize) {}

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use helpline_proto::{text::Name, time::UnixMillis};

    use super::*;
    use crate::{QueueNumber, TicketHash};

    fn id(number: u64) -> CallId {
        CallId(u128::from(number).to_be_bytes())
    }

    fn call(number: u64) -> Call {
        let name = Name::new("Ada").unwrap();
        Call::new(TicketHash([0; 32]), name, QueueNumber(number), UnixMillis(0))
    }

    #[test]
    fn calls_that_went_leave_no_room_behind_and_the_others_are_found() {
        let mut calls = Calls::default();
        for number in 0..100_000 {
            calls.insert(id(number), call(number));
        }
        for number in 10..100_000 {
            calls.forget(id(number));
            assert!(calls.by_id.capacity() <= 4 * calls.len() + 4 * SLACK);
        }
        assert_eq!(calls.len(), 10);
        for number in 0..10 {
            assert_eq!(calls.find(id(number)).map(|call| call.number), Some(QueueNumber(number)));
        }
        assert!(!calls.contains(id(10)));
    }

    #[test]
    fn an_id_is_hashed_whole() {
        use std::hash::BuildHasher;
        let hash = |id| BuildHasherDefault::<Folded>::default().hash_one(id);
        let mut first = [0; 16];
        first[0] = 1;
        assert_ne!(hash(CallId(first)), hash(CallId([0; 16])));
        assert_ne!(hash(id(1)), hash(CallId([0; 16])));
    }
}
