//! The bounded way from the core to one connection.
//!
//! What one turn of the core has for a connection goes to it in one parcel, so that it wakes once and
//! writes once.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering},
    },
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use helpline_proto::limits;

use crate::budget::Budget;

/// Pieces that may wait, however small they are.
const PIECES: u32 = 8 * 1024;

/// Bytes that may wait for a peer even when too many wait for all: nobody is made to stand still by others.
const ALLOWANCE: usize = 8 * 1024;

#[derive(Debug)]
struct Shared {
    budget: Arc<Budget>,
    bytes: AtomicUsize,
    pieces: AtomicU32,
    behind: AtomicBool,
    way: Mutex<Way>,
}

/// What is on the way, and who is at its ends.
#[derive(Debug, Default)]
struct Way {
    pieces: VecDeque<Bytes>,
    /// Who waits for more.
    waker: Option<Waker>,
    core_let_go: bool,
    is_gone: bool,
}

impl Shared {
    fn way(&self) -> MutexGuard<'_, Way> {
        self.way.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn taken(&self, piece: &Bytes) {
        self.bytes.fetch_sub(piece.len(), Ordering::Relaxed);
        self.pieces.fetch_sub(1, Ordering::Relaxed);
        self.budget.remove(piece.len());
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.budget.remove(*self.bytes.get_mut());
    }
}

/// The core's end.
#[derive(Debug)]
pub struct OutboxSender {
    /// What the present turn has put in.
    parcel: Vec<Bytes>,
    shared: Arc<Shared>,
}

/// The connection's end.
#[derive(Debug)]
pub struct Outbox(Arc<Shared>);

/// The outbox has no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoRoom;

/// Makes an outbox of at most [`limits::OUTBOX`] bytes.
#[must_use]
pub fn outbox() -> (OutboxSender, Outbox) {
    outbox_within(Arc::default())
}

/// Makes one whose bytes also count for everybody's.
#[must_use]
pub fn outbox_within(budget: Arc<Budget>) -> (OutboxSender, Outbox) {
    let shared = Arc::new(Shared {
        budget,
        bytes: AtomicUsize::new(0),
        pieces: AtomicU32::new(0),
        behind: AtomicBool::new(false),
        way: Mutex::default(),
    });
    (OutboxSender { parcel: Vec::new(), shared: Arc::clone(&shared) }, Outbox(shared))
}

impl OutboxSender {
    /// Puts whole frames in, without waiting. [`send`](Self::send) brings them on their way.
    ///
    /// # Errors
    /// There is no room for them.
    pub fn push(&mut self, frames: Bytes) -> Result<(), NoRoom> {
        let size = frames.len();
        let waiting = self.shared.bytes.load(Ordering::Relaxed);
        let is_crowded = !self.shared.budget.has_room_for(size);
        // Nobody else puts anything in, so there is still room afterwards.
        if waiting + size > limits::OUTBOX
            || is_crowded && waiting > 0 && waiting + size > ALLOWANCE
            || self.shared.pieces.load(Ordering::Relaxed) >= PIECES
        {
            return Err(NoRoom);
        }
        self.shared.bytes.fetch_add(size, Ordering::Relaxed);
        self.shared.pieces.fetch_add(1, Ordering::Relaxed);
        self.shared.budget.add(size);
        self.parcel.push(frames);
        Ok(())
    }

    /// Sends what was put in since the last time. Whoever waits for it is to be woken.
    #[must_use]
    pub fn send(&mut self) -> Option<Waker> {
        if self.parcel.is_empty() {
            return None;
        }
        let parcel = std::mem::take(&mut self.parcel);
        let mut way = self.shared.way();
        if way.is_gone {
            parcel.iter().for_each(|piece| self.shared.taken(piece));
        } else if way.pieces.is_empty() {
            way.pieces = parcel.into();
        } else {
            way.pieces.extend(parcel);
        }
        way.waker.take()
    }

    /// Asks to be told when the outbox is empty.
    pub fn tell_when_empty(&self) {
        self.shared.behind.store(true, Ordering::Release);
    }
}

impl Drop for OutboxSender {
    fn drop(&mut self) {
        let mut way = self.shared.way();
        way.core_let_go = true;
        let waker = way.waker.take();
        // They can look once they are woken.
        drop(way);
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl Outbox {
    /// Takes the next frames out; `None` when the core has let go of the connection.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        let mut way = self.0.way();
        if let Some(piece) = way.pieces.pop_front() {
            self.0.taken(&piece);
            return Poll::Ready(Some(piece));
        }
        // An idle outbox holds no buffer.
        way.pieces = VecDeque::new();
        if way.core_let_go {
            return Poll::Ready(None);
        }
        match &mut way.waker {
            Some(waker) => waker.clone_from(cx.waker()),
            none => *none = Some(cx.waker().clone()),
        }
        Poll::Pending
    }

    /// Whether the core wants to be told, now that the outbox is empty. Answers so once.
    #[must_use]
    pub fn core_waits(&self) -> bool {
        self.0.behind.load(Ordering::Acquire) && self.0.behind.swap(false, Ordering::AcqRel)
    }
}

impl Drop for Outbox {
    fn drop(&mut self) {
        let mut way = self.0.way();
        way.is_gone = true;
        let left = std::mem::take(&mut way.pieces);
        drop(way);
        left.iter().for_each(|piece| self.0.taken(piece));
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::task::Wake;

    use super::*;

    /// Counts how often it is woken.
    #[derive(Debug, Default)]
    pub(crate) struct Wakes(AtomicUsize);

    impl Wakes {
        pub(crate) fn count(&self) -> usize {
            self.0.load(Ordering::Relaxed)
        }
    }

    impl Wake for Wakes {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn an_outbox_holds_its_limit_and_no_more() {
        let (mut sender, mut outbox) = outbox();
        let frame = Bytes::from(vec![0; limits::OUTBOX / 4]);
        for _ in 0..4 {
            assert_eq!(sender.push(frame.clone()), Ok(()));
        }
        assert_eq!(sender.push(Bytes::from_static(b"x")), Err(NoRoom));
        let _ = sender.send();
        let mut cx = Context::from_waker(Waker::noop());
        assert!(outbox.poll_next(&mut cx).is_ready());
        assert_eq!(sender.push(Bytes::from_static(b"x")), Ok(()));
    }

    #[test]
    fn an_outbox_holds_so_many_pieces_and_no_more() {
        let (mut sender, _outbox) = outbox();
        for _ in 0..PIECES {
            assert_eq!(sender.push(Bytes::from_static(b"x")), Ok(()));
            let _ = sender.send();
        }
        assert_eq!(sender.push(Bytes::from_static(b"x")), Err(NoRoom));
    }

    #[test]
    fn when_too_much_waits_for_all_everybody_still_gets_a_little() {
        let budget = Arc::new(Budget::of(100_000));
        let (mut hog, hogs) = outbox_within(Arc::clone(&budget));
        hog.push(Bytes::from(vec![0; 100_000])).unwrap();
        let (mut sender, mut outbox) = outbox_within(Arc::clone(&budget));
        assert_eq!(
            sender.push(Bytes::from(vec![0; limits::TEXT])),
            Ok(()),
            "the first, however large"
        );
        assert_eq!(sender.push(Bytes::from_static(b"x")), Err(NoRoom));
        let _ = sender.send();
        let mut cx = Context::from_waker(Waker::noop());
        assert!(outbox.poll_next(&mut cx).is_ready());
        for _ in 0..ALLOWANCE / 1024 {
            assert_eq!(sender.push(Bytes::from(vec![0; 1024])), Ok(()));
        }
        assert_eq!(sender.push(Bytes::from_static(b"x")), Err(NoRoom));
        // What was never taken counts no longer, either.
        drop((hog, hogs));
        assert_eq!(sender.push(Bytes::from(vec![0; 50_000])), Ok(()));
        drop((sender, outbox));
        assert!(budget.has_room_for(100_000));
    }

    #[test]
    fn one_turn_wakes_once_and_stays_in_order() {
        let (mut sender, mut outbox) = outbox();
        let wakes = Arc::new(Wakes::default());
        let waker = Waker::from(Arc::clone(&wakes));
        let mut cx = Context::from_waker(&waker);
        sender.push(Bytes::from_static(b"1")).unwrap();
        sender.push(Bytes::from_static(b"2")).unwrap();
        assert!(outbox.poll_next(&mut cx).is_pending(), "nothing goes before it is sent");
        sender.send().unwrap().wake();
        assert_eq!(wakes.count(), 1);
        sender.push(Bytes::from_static(b"3")).unwrap();
        let _ = sender.send();
        drop(sender);
        let mut taken = Vec::new();
        while let Poll::Ready(Some(frame)) = outbox.poll_next(&mut cx) {
            taken.extend_from_slice(&frame);
        }
        assert_eq!(taken, b"123");
    }
}
