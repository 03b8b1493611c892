//! The core's own thread: everything that came goes into one turn, one turn into one commit.

use std::thread;

use tokio::{
    runtime::{Builder, Handle},
    sync::oneshot,
};

use crate::{
    clock::Clock,
    inbox::InboxReceiver,
    store::{Store, StoreError},
};

use super::{Core, Inbox};

/// Messages that may wait for the core. Past this, connections wait to bring theirs.
pub const INBOX: usize = 1024;

/// What became of the core.
pub type Outcome = Result<(), StoreError>;

/// Starts the core on a thread of its own, beside the runtime that serves the connections. It ends after
/// [`Inbox::End`], after [`Inbox::Stop`] once no call has both its sides, or when the store fails. The receiver
/// fails if it panicked.
///
/// # Errors
/// The thread can't be started.
pub fn start<S: Store + Send + 'static>(
    mut core: Core<S>,
    clock: Clock,
    inbox: InboxReceiver,
) -> std::io::Result<oneshot::Receiver<Outcome>> {
    let runtime = Builder::new_current_thread().enable_time().build()?;
    let (done, outcome) = oneshot::channel();
    let connections = Handle::current();
    connections.spawn(inbox.gather());
    core.peers.are_served(connections);
    thread::Builder::new().name("core".into()).spawn(move || {
        let result = runtime.block_on(run(core, clock, inbox));
        // Nobody listens any more only when the process ends anyway.
        let _ = done.send(result);
    })?;
    Ok(outcome)
}

async fn run<S: Store>(mut core: Core<S>, clock: Clock, mut inbox: InboxReceiver) -> Outcome {
    let mut came = Vec::with_capacity(INBOX);
    let mut stopping = false;
    loop {
        match core.poll_timeout() {
            Some(due) => {
                let due = clock.instant(due).into();
                let _ = tokio::time::timeout_at(due, inbox.rung()).await;
            }
            None => inbox.rung().await,
        }
        inbox.take(&mut came);
        stopping |= came.iter().any(|item| matches!(item, Inbox::Stop));
        let end = came.iter().any(|item| matches!(item, Inbox::End));
        core.turn(clock.now(), came.drain(..))?;
        if end {
            return Ok(());
        }
        if inbox.is_at_an_end() || stopping && core.switchboard().finishing() == 0 {
            return core.turn(clock.now(), [Inbox::End]);
        }
    }
}
