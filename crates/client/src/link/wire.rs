//! One connection: bytes on a stream, frames to and from the session.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf, BytesMut};
use helpline_proto::{frame, limits, session::ClientSession, time::Moment};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Bytes read at once. A buffer grows by as much, never by what a header claims.
const READ: usize = 8 * 1024;

/// Bytes gathered for one write, where there is more to say.
const WRITE: usize = 64 * 1024;

/// Whether what arrives is taken in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reading {
    Yes,
    No,
}

#[derive(Debug)]
pub(super) struct Wire<S> {
    stream: S,
    received: BytesMut,
    to_send: BytesMut,
    /// The stream takes nothing any more; what it has still to give is read.
    deaf: bool,
    /// Sent, but maybe kept in a buffer of the stream.
    unflushed: bool,
    /// The stream has given all it had.
    ended: bool,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Wire<S> {
    pub(super) fn new(stream: S) -> Self {
        Self {
            stream,
            received: BytesMut::new(),
            to_send: BytesMut::new(),
            deaf: false,
            unflushed: false,
            ended: false,
        }
    }

    /// Sends and receives. Ready once something has come for the session.
    pub(super) fn poll_work(
        &mut self,
        cx: &mut Context<'_>,
        session: &mut ClientSession,
        now: Moment,
        reading: Reading,
    ) -> Poll<()> {
        if !self.deaf
            && let Poll::Ready(Err(error)) = self.poll_sent(cx, session, now)
        {
            // What has arrived before is still worth reading; it is all there will be.
            tracing::debug!("nothing can be sent any more: {error}");
            self.deaf = true;
        }
        if reading == Reading::No {
            return Poll::Pending;
        }
        match self.poll_read(cx) {
            Poll::Ready(Ok(())) if !self.ended => self.take_frames(session, now),
            Poll::Ready(end) => {
                if let Err(error) = end {
                    tracing::debug!("the connection broke: {error}");
                }
                session.handle_end();
            }
            Poll::Pending if self.deaf => session.handle_end(),
            Poll::Pending => return Poll::Pending,
        }
        Poll::Ready(())
    }

    /// Ready when all there is to send is sent.
    pub(super) fn poll_sent(
        &mut self,
        cx: &mut Context<'_>,
        session: &mut ClientSession,
        now: Moment,
    ) -> Poll<io::Result<()>> {
        loop {
            if self.to_send.is_empty() {
                while self.to_send.len() < WRITE
                    && let Some(frame) = session.poll_transmit(now)
                {
                    self.to_send.extend_from_slice(&frame);
                }
            }
            if self.to_send.is_empty() {
                if self.unflushed {
                    ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
                    self.unflushed = false;
                }
                return Poll::Ready(Ok(()));
            }
            let sent = ready!(Pin::new(&mut self.stream).poll_write(cx, &self.to_send))?;
            if sent == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.to_send.advance(sent);
            self.unflushed = true;
        }
    }

    /// Says that nothing follows.
    pub(super) fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    /// Ready when the stream has given all it had, which nobody wants to know any more.
    pub(super) fn poll_drained(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.received.clear();
        while !self.ended {
            ready!(self.poll_read(cx))?;
            self.received.clear();
        }
        Poll::Ready(Ok(()))
    }

    /// Reads once.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut scratch = [0; READ];
        let mut scratch = ReadBuf::new(&mut scratch);
        ready!(Pin::new(&mut self.stream).poll_read(cx, &mut scratch))?;
        self.ended = scratch.filled().is_empty();
        self.received.extend_from_slice(scratch.filled());
        Poll::Ready(Ok(()))
    }

    /// Hands every whole frame to the session.
    fn take_frames(&mut self, session: &mut ClientSession, now: Moment) {
        loop {
            match frame::split(&self.received, limits::FRAME) {
                Ok(Some(frame)) => {
                    session.handle(frame, now);
                    let size = frame.size();
                    self.received.advance(size);
                }
                Ok(None) => return,
                Err(error) => {
                    self.received.clear();
                    return session.handle_garbage(error);
                }
            }
        }
    }
}
