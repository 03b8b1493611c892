//! The bounded way from the connections to the core.
//!
//! A turn costs a sync, whether one asks for something in it or fifty, and waking the core is a system call. So
//! while more than one ask at a time, the core is woken once for all whom the connections' runtime finds to have
//! asked by the time it has served everybody who is ready: network cards do the same with their interrupts.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    task::{Context, Poll, ready},
};

use tokio::{
    sync::{
        Notify,
        mpsc::{self, error::TrySendError},
    },
    task::yield_now,
};
use tokio_util::sync::PollSender;

use crate::core::Inbox;

/// Requests for which the core is woken at once: they are worth a turn.
const ENOUGH: usize = 64;

/// Makes the way for so many items.
#[must_use]
pub fn inbox(items: usize) -> (InboxSender, InboxReceiver) {
    let (sender, receiver) = mpsc::channel(items);
    let bell = Arc::<Bell>::default();
    (
        InboxSender { items: sender, bell: Arc::clone(&bell) },
        InboxReceiver { items: receiver, most: items, bell },
    )
}

/// What wakes the core.
#[derive(Debug, Default)]
struct Bell {
    /// Requests that came since it rang, or since the core looked.
    requests: AtomicUsize,
    /// Whether the core found several things to do when it looked last.
    is_busy: AtomicBool,
    /// The first of them came.
    first: Notify,
    rung: Notify,
}

impl Bell {
    fn came(&self, requests: usize) {
        let before = self.requests.fetch_add(requests, Ordering::AcqRel);
        if !self.is_busy.load(Ordering::Relaxed) || before + requests >= ENOUGH {
            self.ring();
        } else if before == 0 {
            self.first.notify_one();
        }
    }

    fn ring(&self) {
        self.requests.store(0, Ordering::Release);
        self.rung.notify_one();
    }

    async fn gather(&self) {
        loop {
            self.first.notified().await;
            // Everybody who is ready now is served before this goes on.
            yield_now().await;
            if self.requests.load(Ordering::Acquire) > 0 {
                self.ring();
            }
        }
    }
}

/// The connections' end.
#[derive(Clone, Debug)]
pub struct InboxSender {
    items: mpsc::Sender<Inbox>,
    bell: Arc<Bell>,
}

/// The item is not on its way.
#[derive(Debug)]
pub(crate) enum NotSent {
    /// There is no room yet.
    Full(Box<Unsent>),
    /// The core is gone.
    Closed,
}

/// The core is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Closed;

impl InboxSender {
    /// Sends an item if there is room.
    pub(crate) fn try_send(&self, item: Inbox) -> Result<(), NotSent> {
        let requests = requests(&item);
        match self.items.try_send(item) {
            Ok(()) => {
                self.bell.came(requests);
                Ok(())
            }
            Err(TrySendError::Full(item)) => {
                let (items, bell) = (PollSender::new(self.items.clone()), Arc::clone(&self.bell));
                Err(NotSent::Full(Box::new(Unsent { items, item: Some(item), bell })))
            }
            Err(TrySendError::Closed(_)) => Err(NotSent::Closed),
        }
    }

    /// Sends an item once there is room; not at all if the core is gone. Cancel-safe.
    pub(crate) async fn send(&self, item: Inbox) {
        let requests = requests(&item);
        if self.items.send(item).await.is_ok() {
            self.bell.came(requests);
        }
    }

    /// Whether the core is gone.
    pub(crate) fn is_closed(&self) -> bool {
        self.items.is_closed()
    }
}

/// An item that waits for room.
#[derive(Debug)]
pub(crate) struct Unsent {
    items: PollSender<Inbox>,
    item: Option<Inbox>,
    bell: Arc<Bell>,
}

impl Unsent {
    /// Ready when it is sent, or can't be.
    pub(crate) fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Closed>> {
        ready!(self.items.poll_reserve(cx)).map_err(|_| Closed)?;
        if let Some(item) = self.item.take() {
            let requests = requests(&item);
            self.items.send_item(item).map_err(|_| Closed)?;
            self.bell.came(requests);
        }
        Poll::Ready(Ok(()))
    }
}

fn requests(item: &Inbox) -> usize {
    match item {
        Inbox::Asked(_, asked) => asked.len(),
        _ => 1,
    }
}

/// The core's end.
#[derive(Debug)]
pub struct InboxReceiver {
    pub(crate) items: mpsc::Receiver<Inbox>,
    most: usize,
    bell: Arc<Bell>,
}

impl InboxReceiver {
    /// Gathers those who ask at the same time, for as long as it runs among the connections' tasks. Without it
    /// the core wouldn't be woken.
    pub(crate) fn gather(&self) -> impl Future<Output = ()> + Send + use<> {
        let bell = Arc::clone(&self.bell);
        async move { bell.gather().await }
    }

    /// Waits until it is time to look. Cancel-safe.
    pub(crate) async fn rung(&self) {
        self.bell.rung.notified().await;
    }

    /// Takes what came, for one turn.
    pub(crate) fn take(&mut self, came: &mut Vec<Inbox>) {
        self.bell.requests.store(0, Ordering::Release);
        while came.len() < self.most
            && let Ok(item) = self.items.try_recv()
        {
            came.push(item);
        }
        if !came.is_empty() {
            self.bell.is_busy.store(came.len() > 1, Ordering::Relaxed);
        }
        if came.len() == self.most {
            self.bell.ring();
        }
    }

    /// Whether nothing is there, nor can come any more.
    pub(crate) fn is_at_an_end(&self) -> bool {
        self.items.is_closed() && self.items.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use std::{pin::pin, task::Waker};

    use super::*;
    use crate::core::ConnectionId;

    fn gone(id: u64) -> Inbox {
        Inbox::Gone(ConnectionId(id))
    }

    fn is_rung(receiver: &InboxReceiver) -> bool {
        let mut cx = Context::from_waker(Waker::noop());
        pin!(receiver.rung()).poll(&mut cx).is_ready()
    }

    fn taken(receiver: &mut InboxReceiver) -> usize {
        let mut came = Vec::new();
        receiver.take(&mut came);
        came.len()
    }

    #[tokio::test]
    async fn one_who_asks_alone_wakes_the_core_at_once() {
        let (sender, mut receiver) = inbox(8);
        for id in 0..3 {
            sender.try_send(gone(id)).unwrap();
            assert!(is_rung(&receiver));
            assert_eq!(taken(&mut receiver), 1);
        }
    }

    #[tokio::test]
    async fn those_who_ask_together_wake_it_once_they_are_served() {
        let (sender, mut receiver) = inbox(8);
        tokio::spawn(receiver.gather());
        yield_now().await;
        sender.try_send(gone(1)).unwrap();
        sender.try_send(gone(2)).unwrap();
        assert!(is_rung(&receiver));
        assert_eq!(taken(&mut receiver), 2);
        let others = sender.clone();
        tokio::spawn(async move { others.send(gone(3)).await });
        sender.send(gone(4)).await;
        assert!(!is_rung(&receiver), "others are ready");
        receiver.rung().await;
        assert_eq!(taken(&mut receiver), 2);
    }

    #[tokio::test]
    async fn many_wake_it_at_once() {
        let (sender, mut receiver) = inbox(2 * ENOUGH);
        sender.try_send(gone(1)).unwrap();
        sender.try_send(gone(2)).unwrap();
        assert!(is_rung(&receiver));
        assert_eq!(taken(&mut receiver), 2);
        for id in 1..ENOUGH {
            sender.try_send(gone(u64::try_from(id).unwrap())).unwrap();
            assert!(!is_rung(&receiver), "after {id}");
        }
        sender.try_send(gone(0)).unwrap();
        assert!(is_rung(&receiver));
        assert_eq!(taken(&mut receiver), ENOUGH);
    }

    #[tokio::test]
    async fn what_has_no_room_waits_for_it_and_wakes_the_core() {
        let (sender, mut receiver) = inbox(1);
        sender.try_send(gone(1)).unwrap();
        let Err(NotSent::Full(mut unsent)) = sender.try_send(gone(2)) else { panic!("no room") };
        let mut cx = Context::from_waker(Waker::noop());
        assert!(unsent.poll_send(&mut cx).is_pending());
        assert!(is_rung(&receiver));
        assert_eq!(taken(&mut receiver), 1);
        assert!(is_rung(&receiver), "there may be more");
        assert_eq!(taken(&mut receiver), 0);
        assert_eq!(unsent.poll_send(&mut cx), Poll::Ready(Ok(())));
        assert!(is_rung(&receiver));
        drop((unsent, sender));
        assert!(!receiver.is_at_an_end(), "one is still there");
        assert_eq!(taken(&mut receiver), 1);
        assert!(receiver.is_at_an_end());
    }
}
