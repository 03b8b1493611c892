//! A bug in one connection's task is the loss of one connection.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
};

use helpline_proto::{
    ids::{Side, Ticket},
    text::LineName,
};
use helpline_server::server::{Server, Settings};
use helpline_tests::{Peer, accounts};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, DuplexStream, ReadBuf};

/// A connection that panics when it is read from, once it is told to.
struct Trapdoor {
    stream: DuplexStream,
    open: Arc<AtomicBool>,
}

impl AsyncRead for Trapdoor {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        assert!(!self.open.load(Ordering::SeqCst), "this panic is part of the story");
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Trapdoor {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[test]
fn a_panic_in_one_connection_breaks_that_one_and_hurts_nobody_else() {
    let directory = tempfile::tempdir().unwrap();
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    // The server as a library: the program has, rightly, nothing in it that can be made to panic.
    let mut server = runtime
        .block_on(Server::start(Settings {
            listen: vec!["127.0.0.1:0".parse().unwrap()],
            says_a_second: None,
            ..Settings::new(directory.path().into(), LineName::new("main").unwrap())
        }))
        .unwrap();
    let address = server.addresses()[0];
    accounts::serve(address, directory.path());
    let (mut ada, mut wei) = Peer::pair(address);
    let mut bo = Peer::operator(address, "Bo");

    let (mut near, far) = tokio::io::duplex(64 * 1024);
    let open = Arc::<AtomicBool>::default();
    let entered = runtime.enter();
    let attach = server.attach();
    drop(entered);
    runtime.block_on(attach.send(Trapdoor { stream: far, open: Arc::clone(&open) })).unwrap();
    let join = || Peer::join_with("Eve", Ticket([7; 32]));
    let first = [Peer::hello(), join()].map(|message| Peer::frame(&message)).concat();
    runtime.block_on(near.write_all(&first)).unwrap();
    assert_eq!(bo.expect_connected().peer.as_str(), "Eve");
    let mut next = Peer::caller(address, "Cleo");
    next.expect_place();

    open.store(true, Ordering::SeqCst);
    runtime.block_on(near.write_all(b"x")).unwrap();
    assert_eq!(bo.expect_away().from, Side::Caller);
    Peer::chat(&mut ada, &mut wei, "undisturbed");
    // Her call is kept like any other.
    let mut eve = Peer::connect(address);
    eve.send_all([Peer::hello(), join()]);
    eve.expect_connected();
    assert_eq!(bo.expect_back().from, Side::Caller);
    Peer::chat(&mut eve, &mut bo, "as if nothing had been");
    eve.hang_up();
    bo.expect_ended();
    bo.end_seen();
    assert_eq!(bo.expect_connected().peer.as_str(), "Cleo");
    next.expect_connected();
    Peer::chat(&mut next, &mut bo, "served");

    runtime.block_on(async {
        server.end().await;
        server.ended().await.unwrap();
        server.farewell(std::time::Duration::from_secs(1)).await;
    });
}
