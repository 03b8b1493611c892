//! The bounded way from the core to one connection.
//!
//! What one turn of the core has for a connection goes to it in one parcel, so that it wakes once and
//! writes once.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    task::{Context, Poll, ready},
    vec,
};

use bytes::Bytes;
use helpline_proto::limits;
use tokio::sync::mpsc;

use crate::budget::Budget;

/// Parcels that may wait, however small they are.
const PARCELS: usize = 1024;

/// Bytes that may wait for a peer even when too many wait for all: nobody is made to stand still by others.
const ALLOWANCE: usize = 8 * 1024;

#[derive(Debug)]
struct Shared {
    budget: Arc<Budget>,
    bytes: AtomicUsize,
    behind: AtomicBool,
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.budget.remove(*self.bytes.get_mut());
    }
}

/// The core's end.
#[derive(Debug)]
pub struct OutboxSender {
    parcels: mpsc::Sender<Vec<Bytes>>,
    /// What the present turn has put in.
    parcel: Vec<Bytes>,
    shared: Arc<Shared>,
}

/// The connection's end.
#[derive(Debug)]
pub struct Outbox {
    parcels: mpsc::Receiver<Vec<Bytes>>,
    /// What is left of the parcel taken last.
    parcel: vec::IntoIter<Bytes>,
    shared: Arc<Shared>,
}

/// The outbox has no room, or nobody empties it any more.
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
    let (sender, receiver) = mpsc::channel(PARCELS);
    let shared =
        Arc::new(Shared { budget, bytes: AtomicUsize::new(0), behind: AtomicBool::new(false) });
    (
        OutboxSender { parcels: sender, parcel: Vec::new(), shared: Arc::clone(&shared) },
        Outbox { parcels: receiver, parcel: Vec::new().into_iter(), shared },
    )
}

impl OutboxSender {
    /// Puts a frame in, without waiting. [`send`](Self::send) brings it on its way.
    ///
    /// # Errors
    /// There is no room for it.
    pub fn push(&mut self, frame: Bytes) -> Result<(), NoRoom> {
        let size = frame.len();
        let waiting = self.shared.bytes.load(Ordering::Relaxed);
        let is_crowded = !self.shared.budget.has_room_for(size);
        // Nobody else sends, so there is still room for the parcel when it is sent.
        if waiting + size > limits::OUTBOX
            || is_crowded && waiting > 0 && waiting + size > ALLOWANCE
            || self.parcels.capacity() == 0
            || self.parcels.is_closed()
        {
            return Err(NoRoom);
        }
        self.shared.bytes.fetch_add(size, Ordering::Relaxed);
        self.shared.budget.add(size);
        self.parcel.push(frame);
        Ok(())
    }

    /// Sends what was put in since the last time.
    pub fn send(&mut self) {
        if !self.parcel.is_empty() {
            // It fails only when nobody empties the outbox any more.
            let _ = self.parcels.try_send(std::mem::take(&mut self.parcel));
        }
    }

    /// Asks to be told when the outbox is empty.
    pub fn tell_when_empty(&self) {
        self.shared.behind.store(true, Ordering::Release);
    }
}

impl Outbox {
    /// Takes the next frame out; `None` when the core has let go of the connection.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        loop {
            if let Some(frame) = self.parcel.next() {
                self.shared.bytes.fetch_sub(frame.len(), Ordering::Relaxed);
                self.shared.budget.remove(frame.len());
                return Poll::Ready(Some(frame));
            }
            match ready!(self.parcels.poll_recv(cx)) {
                Some(parcel) => self.parcel = parcel.into_iter(),
                None => return Poll::Ready(None),
            }
        }
    }

    /// How many parcels wait.
    #[cfg(test)]
    pub(crate) fn parcels(&self) -> usize {
        self.parcels.len()
    }

    /// Whether the core wants to be told, now that the outbox is empty. Answers so once.
    #[must_use]
    pub fn core_waits(&self) -> bool {
        self.shared.behind.load(Ordering::Acquire)
            && self.shared.behind.swap(false, Ordering::AcqRel)
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    #[test]
    fn an_outbox_holds_its_limit_and_no_more() {
        let (mut sender, mut outbox) = outbox();
        let frame = Bytes::from(vec![0; limits::OUTBOX / 4]);
        for _ in 0..4 {
            assert_eq!(sender.push(frame.clone()), Ok(()));
        }
        assert_eq!(sender.push(Bytes::from_static(b"x")), Err(NoRoom));
        sender.send();
        let mut cx = Context::from_waker(Waker::noop());
        assert!(outbox.poll_next(&mut cx).is_ready());
        assert_eq!(sender.push(Bytes::from_static(b"x")), Ok(()));
    }

    #[test]
    fn an_outbox_holds_so_many_parcels_and_no_more() {
        let (mut sender, _outbox) = outbox();
        for _ in 0..PARCELS {
            assert_eq!(sender.push(Bytes::from_static(b"x")), Ok(()));
            sender.send();
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
        sender.send();
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
    fn one_turn_is_one_parcel_and_stays_in_order() {
        let (mut sender, mut outbox) = outbox();
        let mut cx = Context::from_waker(Waker::noop());
        sender.push(Bytes::from_static(b"1")).unwrap();
        sender.push(Bytes::from_static(b"2")).unwrap();
        assert!(outbox.poll_next(&mut cx).is_pending(), "nothing goes before it is sent");
        sender.send();
        sender.push(Bytes::from_static(b"3")).unwrap();
        sender.send();
        drop(sender);
        let mut taken = Vec::new();
        while let Poll::Ready(Some(frame)) = outbox.poll_next(&mut cx) {
            taken.extend_from_slice(&frame);
        }
        assert_eq!(taken, b"123");
    }
}
