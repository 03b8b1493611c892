use std::task::Waker;

use helpline_proto::{
    message::Admitted,
    text::{LineName, Name},
};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_rustls::TlsConnector;

use super::*;
use crate::{
    core::ConnectionId,
    crowd::Room,
    door::{
        Plaintext,
        tests::{hello, join},
    },
    inbox::{InboxReceiver, inbox},
    socket::Socket,
    tls::{Tls, tests::trusting},
};

fn means(tls: Tls) -> (Arc<Means>, InboxReceiver) {
    let (inbox, came) = inbox(8);
    let room = Room { connections: 1, strangers: 1, per_address: None };
    let means = Means {
        clock: Clock::start(),
        inbox,
        settings: Settings::default(),
        door: Door { tls, plaintext: Plaintext::FromHere, gate: Arc::default() },
        crowd: Arc::new(Crowd::new(room, false)),
        budget: Arc::new(Budget::of(200_000)),
    };
    (Arc::new(means), came)
}

fn accepted(means: &Means) -> Accepted {
    let origin = Origin::Console;
    let place = means.crowd.place(ConnectionId(0), origin).unwrap();
    Accepted { origin, at: Moment(0), place }
}

#[tokio::test]
async fn what_tls_keeps_for_a_peer_is_not_taken() {
    let directory = tempfile::tempdir().unwrap();
    let (means, _came) = means(Tls::own(directory.path()).unwrap());
    // As much as a socket may hold on the way.
    let (near, far) = tokio::io::duplex(20_000);
    let client = TlsConnector::from(Arc::new(trusting(b"helpline/1")));
    let (near, far) = tokio::join!(
        means.door.tls.acceptor().accept(Socket::new(near)),
        client.connect(ServerName::try_from("localhost").unwrap(), far)
    );
    let mut far = far.unwrap();
    let accepted = accepted(&means);
    let mut connection = Connection::new(near.unwrap(), accepted, None, Arc::clone(&means));
    let mut cx = Context::from_waker(Waker::noop());

    connection.passing.out = Bytes::from(vec![0; 60_000]);
    assert!(connection.poll_write(&mut cx, Moment(1000)).unwrap(), "some fits on the way");
    assert!(connection.passing.out.is_empty() && !connection.all_is_out(), "TLS holds the rest");
    assert_eq!(connection.session.stuck_since(), Some(Moment(1000)));
    connection.rest();
    assert!(means.budget.has_room_for(140_000) && !means.budget.has_room_for(140_001));
    assert!(!connection.poll_write(&mut cx, Moment(5000)).unwrap());
    assert_eq!(connection.session.stuck_since(), Some(Moment(1000)));

    let mut taken = vec![0; 60_000];
    far.read_exact(&mut taken[..16_000]).await.unwrap();
    assert!(connection.poll_write(&mut cx, Moment(6000)).unwrap());
    assert_eq!(connection.session.stuck_since(), Some(Moment(6000)), "it goes on, slowly");

    let rest = far.read_exact(&mut taken[16_000..]);
    let write = std::future::poll_fn(|cx| {
        connection.poll_write(cx, Moment(7000)).unwrap();
        if connection.all_is_out() { Poll::Ready(()) } else { Poll::Pending }
    });
    let (rest, ()) = tokio::join!(rest, write);
    rest.unwrap();
    assert_eq!(connection.session.stuck_since(), None);
    connection.rest();
    assert!(means.budget.has_room_for(200_000));
}

#[tokio::test]
async fn a_newcomer_is_welcomed_when_it_is_let_in() {
    let directory = tempfile::tempdir().unwrap();
    let (means, mut came) = means(Tls::own(directory.path()).unwrap());
    let (near, mut far) = tokio::io::duplex(1000);
    let accepted = accepted(&means);
    let mut connection = Connection::new(Socket::new(near), accepted, None, means);
    let mut timer = pin!(tokio::time::sleep(Duration::ZERO));
    let mut cx = Context::from_waker(Waker::noop());
    for message in [hello(), join()] {
        far.write_all(&tell::frame(&message, Ref::NONE)).await.unwrap();
    }
    assert!(connection.poll(&mut cx, timer.as_mut()).is_pending());
    let Ok(Inbox::Arrived(_, _, mut outbox, _)) = came.items.try_recv() else { panic!("no join") };
    assert_eq!(connection.stream.taken(), 0);

    let (line, name) = (LineName::new("main").unwrap(), Name::new("Ada").unwrap());
    let admitted = Admitted { line, name, greeting: None }.into();
    outbox.push(tell::frame(&admitted, Ref::NONE)).unwrap();
    assert!(outbox.send().is_some());
    assert!(connection.poll(&mut cx, timer.as_mut()).is_pending());
    let mut told = [0; 1000];
    let size = far.read(&mut told).await.unwrap();
    let welcome = frame::split(&told[..size], limits::FRAME).unwrap().unwrap();
    let admitted = frame::split(&told[welcome.size()..size], limits::FRAME).unwrap().unwrap();
    assert!(matches!(Message::decode(welcome), Ok(Message::Welcome(_))));
    assert!(matches!(Message::decode(admitted), Ok(Message::Admitted(_))));
}
