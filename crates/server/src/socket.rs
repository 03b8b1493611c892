//! The lowest layer of a connection: it begins with bytes that were looked at already, and counts what its
//! peer takes.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::server::TlsStream;

/// A stream whose peer's progress can be seen, however much is kept for it on the way there.
pub(crate) trait Taken {
    /// How many bytes have left.
    fn taken(&self) -> u64;
}

/// A stream with what was read of it already.
#[derive(Debug)]
pub(crate) struct Socket<S> {
    stream: S,
    /// In a box, which goes once it is read.
    first: Option<Box<Bytes>>,
    taken: u64,
}

impl<S> Socket<S> {
    /// Of a stream that nobody has read.
    pub(crate) fn new(stream: S) -> Self {
        Self { stream, first: None, taken: 0 }
    }

    /// Of a stream that these bytes were read of.
    pub(crate) fn begun(stream: S, first: Vec<u8>) -> Self {
        Self { stream, first: Some(Box::new(first.into())), taken: 0 }
    }

    fn count(&mut self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let Poll::Ready(Ok(size)) = &written {
            self.taken = self.taken.saturating_add(u64::try_from(*size).unwrap_or(u64::MAX));
        }
        written
    }
}

impl<S> Taken for Socket<S> {
    fn taken(&self) -> u64 {
        self.taken
    }
}

impl<S> Taken for TlsStream<Socket<S>> {
    fn taken(&self) -> u64 {
        self.get_ref().0.taken()
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Socket<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Some(first) = self.first.as_mut().filter(|first| !first.is_empty()) else {
            return Pin::new(&mut self.stream).poll_read(cx, buffer);
        };
        let size = first.len().min(buffer.remaining());
        buffer.put_slice(&first.split_to(size));
        self.first.take_if(|first| first.is_empty());
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Socket<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.count(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, bytes);
        self.count(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
