//! Standard output and error, written by a thread: a reader who doesn't read stops nothing else.

use std::{
    io::{self, IsTerminal, Write},
    thread,
};

use rustix::{
    event::{self, PollFd, PollFlags},
    io::Errno,
};
use tokio::sync::{mpsc, oneshot, watch};

/// Pieces that may wait to be written; then whoever has more waits.
const AHEAD: usize = 64;

/// Where something is written to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stream {
    Out,
    Err,
}

/// Something to be written, in one piece and at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Piece {
    pub(crate) stream: Stream,
    pub(crate) text: String,
}

/// The thread that writes.
#[derive(Debug)]
pub(crate) struct Writer {
    pieces: mpsc::Sender<Piece>,
    closed: watch::Receiver<bool>,
    done: oneshot::Receiver<()>,
}

impl Writer {
    /// Begins to write.
    pub(crate) fn open() -> io::Result<Self> {
        let (pieces, mut waiting) = mpsc::channel::<Piece>(AHEAD);
        let (close, closed) = watch::channel(false);
        let (end, done) = oneshot::channel();
        watch_reader(close.clone())?;
        thread::Builder::new().name("output".to_owned()).spawn(move || {
            let mut is_closed = false;
            while let Some(piece) = waiting.blocking_recv() {
                match piece.stream {
                    Stream::Out if is_closed => {}
                    Stream::Out => {
                        if let Err(error) = write(io::stdout().lock(), &piece.text) {
                            tracing::debug!("standard output is closed: {error}");
                            is_closed = true;
                            let _nobody_listens = close.send(true);
                        }
                    }
                    Stream::Err => {
                        // There is no other place to say so.
                        let _stderr_is_gone = write(io::stderr().lock(), &piece.text);
                    }
                }
            }
            let _nobody_waits = end.send(());
        })?;
        Ok(Self { pieces, closed, done })
    }

    /// Writes, after everything before. Waits for room only. Cancel safe: it is written or not.
    pub(crate) async fn write(&self, piece: Piece) {
        let _the_thread_ends_with_us = self.pieces.send(piece).await;
    }

    /// Returns once nobody reads standard output any more.
    pub(crate) async fn closed(&mut self) {
        if self.closed.wait_for(|closed| *closed).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Waits until everything is written.
    pub(crate) async fn finish(self) {
        drop(self.pieces);
        let _ended = self.done.await;
    }
}

/// Tells when a pipe loses its reader, also while nothing is written. A terminal that goes away is
/// for its signal to tell. The thread ends with the process.
fn watch_reader(close: watch::Sender<bool>) -> io::Result<()> {
    let stdout = io::stdout();
    if stdout.is_terminal() {
        return Ok(());
    }
    thread::Builder::new().name("reader".to_owned()).spawn(move || {
        // No events are asked for: only the end of the reader is told, as an error.
        let mut fds = [PollFd::new(&stdout, PollFlags::empty())];
        while let Err(Errno::INTR) | Ok(0) = event::poll(&mut fds, None) {}
        let _nobody_listens = close.send(true);
    })?;
    Ok(())
}

fn write(mut to: impl Write, text: &str) -> io::Result<()> {
    to.write_all(text.as_bytes())?;
    to.flush()
}
