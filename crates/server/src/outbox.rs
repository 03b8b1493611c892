//! The bounded way from the core to one connection.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};
use std::task::{Context, Poll};

use bytes::Bytes;
use helpline_proto::limits;
use tokio::sync::mpsc;

/// Frames that may wait, however small they are.
const FRAMES: usize = 1024;

#[derive(Debug, Default)]
struct Shared {
    bytes: AtomicUsize,
    behind: AtomicBool,
}

/// The core's end.
#[derive(Debug)]
pub struct OutboxSender {
    frames: mpsc::Sender<Bytes>,
    shared: Arc<Shared>,
}

/// The connection's end.
#[derive(Debug)]
pub struct Outbox {
    frames: mpsc::Receiver<Bytes>,
    shared: Arc<Shared>,
}

/// The outbox has no room, or nobody empties it any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoRoom;

/// Makes an outbox of at most [`limits::OUTBOX`] bytes.
#[must_use]
pub fn outbox() -> (OutboxSender, Outbox) {
    let (sender, receiver) = mpsc::channel(FRAMES);
    let shared = Arc::<Shared>::default();
    (
        OutboxSender { frames: sender, shared: Arc::clone(&shared) },
        Outbox { frames: receiver, shared },
    )
}

impl OutboxSender {
    /// Puts a frame in, without waiting.
    ///
    /// # Errors
    /// There is no room for it.
    pub fn push(&self, frame: Bytes) -> Result<(), NoRoom> {
        let size = frame.len();
        if self.shared.bytes.load(Ordering::Relaxed) + size > limits::OUTBOX {
            return Err(NoRoom);
        }
        self.shared.bytes.fetch_add(size, Ordering::Relaxed);
        self.frames.try_send(frame).map_err(|_| {
            self.shared.bytes.fetch_sub(size, Ordering::Relaxed);
            NoRoom
        })
    }

    /// Asks to be told when the outbox is empty.
    pub fn tell_when_empty(&self) {
        self.shared.behind.store(true, Ordering::Release);
    }
}

impl Outbox {
    /// Takes the next frame out; `None` when the core has let go of the connection.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        let frame = self.frames.poll_recv(cx);
        if let Poll::Ready(Some(frame)) = &frame {
            self.shared.bytes.fetch_sub(frame.len(), Ordering::Relaxed);
        }
        frame
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
    use super::*;

    #[test]
    fn an_outbox_holds_its_limit_and_no_more() {
        let (sender, mut outbox) = outbox();
        let frame = Bytes::from(vec![0; limits::OUTBOX / 4]);
        for _ in 0..4 {
            assert_eq!(sender.push(frame.clone()), Ok(()));
        }
        assert_eq!(sender.push(Bytes::from_static(b"x")), Err(NoRoom));
        let mut cx = Context::from_waker(std::task::Waker::noop());
        assert!(outbox.poll_next(&mut cx).is_ready());
        assert_eq!(sender.push(Bytes::from_static(b"x")), Ok(()));
    }

    #[test]
    fn an_outbox_holds_so_many_frames_and_no_more() {
        let (sender, _outbox) = outbox();
        for _ in 0..FRAMES {
            assert_eq!(sender.push(Bytes::from_static(b"x")), Ok(()));
        }
        assert_eq!(sender.push(Bytes::from_static(b"x")), Err(NoRoom));
    }
}
