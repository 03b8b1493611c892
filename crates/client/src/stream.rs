//! A stream to a server, encrypted or not.

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};
use tokio_rustls::client::TlsStream;
use tokio_util::either::Either;

use crate::trust::Met;

/// A connection to a server, and who is at its other end.
#[derive(Debug)]
pub struct Stream {
    bytes: Either<TcpStream, Box<TlsStream<TcpStream>>>,
    met: Met,
}

impl Stream {
    pub(crate) fn plain(stream: TcpStream) -> Self {
        Self { bytes: Either::Left(stream), met: Met::Anybody }
    }

    pub(crate) fn tls(stream: TlsStream<TcpStream>, met: Met) -> Self {
        Self { bytes: Either::Right(Box::new(stream)), met }
    }

    /// Who is at the other end.
    #[must_use]
    pub fn met(&self) -> Met {
        self.met
    }

    /// Where the other end is.
    ///
    /// # Errors
    /// The connection has ended.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        match &self.bytes {
            Either::Left(stream) => stream.peer_addr(),
            Either::Right(stream) => stream.get_ref().0.peer_addr(),
        }
    }

    /// Whether the other end is on this machine.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        self.peer_addr().is_ok_and(|peer| peer.ip().to_canonical().is_loopback())
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.bytes).poll_read(cx, buf)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.bytes).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.bytes).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.bytes).poll_shutdown(cx)
    }
}
