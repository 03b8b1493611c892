use std::sync::atomic::AtomicUsize;

use proptest::prelude::*;
use tokio::time::Instant;

use super::{unaccepted::BREATH, *};
use crate::{
    budget::Budget,
    clock::Clock,
    crowd::{Crowd, Room},
    door::{
        Door, Plaintext,
        tests::{Encrypted, PATIENCE, Visitor, encrypted, hello, join, plain, settings},
    },
    inbox::{InboxReceiver, inbox},
    server::{Server, Settings},
    tls::{self, Tls},
};

/// Means with nobody at the core's end but who holds the receiver.
fn means(room: Room) -> (Arc<Means>, InboxReceiver, tempfile::TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let (means, came) = means_with(Tls::own(directory.path()).unwrap(), room);
    (means, came, directory)
}

fn means_with(tls: Tls, room: Room) -> (Arc<Means>, InboxReceiver) {
    let (inbox, came) = inbox(64);
    let means = Means {
        clock: Clock::start(),
        inbox,
        settings: Default::default(),
        door: Door { tls, plaintext: Plaintext::FromHere, gate: Arc::default() },
        crowd: Arc::new(Crowd::new(room, true)),
        budget: Arc::<Budget>::default(),
    };
    (Arc::new(means), came)
}

const ROOM: Room = Room { connections: 100, strangers: 100, per_address: None };

/// Nothing can be accepted from it.
struct Famished(Arc<AtomicUsize>, fn() -> io::Error);

impl Source for Famished {
    type Stream = TcpStream;

    async fn accept(&mut self) -> io::Result<(TcpStream, Origin)> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Err(self.1())
    }

    async fn talk(stream: TcpStream, _: Accepted, _: Arc<Means>) -> io::Result<()> {
        drop(stream);
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn a_famine_is_waited_out() {
    let errors: [fn() -> io::Error; 4] = [
        || rustix::io::Errno::MFILE.into(),
        || rustix::io::Errno::NFILE.into(),
        || rustix::io::Errno::NOMEM.into(),
        || rustix::io::Errno::CONNABORTED.into(),
    ];
    for error in errors {
        let (means, _came, _directory) = means(ROOM);
        let (stop, stopped) = watch::channel(false);
        let tries = Arc::<AtomicUsize>::default();
        let source = Famished(Arc::clone(&tries), error);
        let served = tokio::spawn(serve(source, Arc::default(), means, stopped));
        tokio::time::sleep(10 * BREATH).await;
        let tries = tries.load(Ordering::Relaxed);
        assert!((5..=11).contains(&tries), "{tries} tries in ten breaths");
        stop.send_replace(true);
        served.await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_famine_is_logged_once_a_second() {
    let mut famine = Famine::default();
    let begun = Instant::now();
    let mut lines = 0;
    while begun.elapsed() < std::time::Duration::from_secs(10) {
        famine.begins(rustix::io::Errno::MFILE.into());
        let breath = famine.breath();
        tokio::select! {
            biased;
            () = famine.log() => lines += 1,
            () = breath => famine.may_be_over(),
        }
    }
    assert!((9..=11).contains(&lines), "{lines} lines in ten seconds");
}

async fn server(change: impl FnOnce(&mut Settings)) -> (Server, tempfile::TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let mut settings = settings(directory.path());
    change(&mut settings);
    (Server::start(settings).await.unwrap(), directory)
}

#[tokio::test]
async fn one_address_too_many_is_closed_without_words() {
    let room = Room { per_address: Some(2), ..ROOM };
    let (server, _directory) = server(|settings| {
        settings.room = room;
        settings.policy.limit_loopback = true;
    })
    .await;
    let address = server.addresses()[0];
    let mut first = encrypted(address).await.unwrap();
    first.joins().await;
    let mut second = plain(address).await;
    second.is_welcome().await;
    assert_eq!(plain(address).await.hear().await, None);
    assert!(encrypted(address).await.is_err());
    drop(second);
    // Somebody else may have the place once the server has seen that.
    let third = async {
        loop {
            let mut third = plain(address).await;
            let _ = third.try_say(hello()).await;
            if third.hear().await.is_some() {
                break;
            }
        }
    };
    tokio::time::timeout(PATIENCE, third).await.unwrap();
    first.is_alive().await;
}

#[tokio::test]
async fn a_newcomer_displaces_the_oldest_stranger_and_nobody_who_was_let_in() {
    let room = Room { strangers: 2, ..ROOM };
    let (server, _directory) = server(|settings| settings.room = room).await;
    let address = server.addresses()[0];
    let mut first = encrypted(address).await.unwrap();
    first.joins().await;
    let mut oldest = plain(address).await;
    oldest.is_welcome().await;
    let mut older = encrypted(address).await.unwrap();
    older.is_welcome().await;
    let mut newest = encrypted(address).await.unwrap();
    newest.is_welcome().await;
    assert_eq!(oldest.hear().await, None, "displaced without words");
    older.is_alive().await;
    for _ in 0..10 {
        encrypted(address).await.unwrap().joins().await;
    }
    first.is_alive().await;
}

#[tokio::test]
async fn when_it_is_full_a_newcomer_is_closed_at_once() {
    let room = Room { connections: 1, ..ROOM };
    let (server, _directory) = server(|settings| settings.room = room).await;
    let address = server.addresses()[0];
    let mut first = encrypted(address).await.unwrap();
    first.joins().await;
    assert_eq!(plain(address).await.hear().await, None);
    first.is_alive().await;
}

#[tokio::test]
async fn a_new_certificate_is_shown_to_newcomers_and_hurts_nobody_who_is_there() {
    let directory = tempfile::tempdir().unwrap();
    let files = tls::tests::files(directory.path());
    let before = tls::tests::put(&files);
    let (tls, mut watch) = Tls::given(files.clone()).unwrap();
    let (means, _came) = means_with(tls, ROOM);
    let listener = bind(&["127.0.0.1:0".parse().unwrap()]).unwrap().remove(0);
    let address = listener.local_addr().unwrap();
    let (_stop, stopped) = watch::channel(false);
    tokio::spawn(serve(listener, Arc::default(), means, stopped));
    let shown = |caller: &Visitor<Encrypted>| {
        tls::tests::of(&caller.stream.get_ref().1.peer_certificates().unwrap()[0])
    };
    let mut first = encrypted(address).await.unwrap();
    first.is_welcome().await;
    let after = tls::tests::put(&files);
    watch.look();
    watch.look();
    let mut second = encrypted(address).await.unwrap();
    second.is_welcome().await;
    assert_eq!((shown(&first), shown(&second)), (before, after));
    first.is_alive().await;
}

#[tokio::test]
async fn the_core_hears_of_those_who_were_displaced() {
    let (means, mut came, _directory) = means(Room { strangers: 1, ..ROOM });
    let listener = bind(&["127.0.0.1:0".parse().unwrap()]).unwrap().remove(0);
    let address = listener.local_addr().unwrap();
    let (_stop, stopped) = watch::channel(false);
    tokio::spawn(see_out(Arc::clone(&means)));
    tokio::spawn(serve(listener, Arc::default(), means, stopped));
    let mut next = async || tokio::time::timeout(PATIENCE, came.items.recv()).await.unwrap();
    let mut first = plain(address).await;
    first.say(hello()).await;
    first.say(join()).await;
    let heard = next().await;
    assert!(matches!(heard, Some(Inbox::Arrived(ConnectionId(0), ..))), "{heard:?}");
    plain(address).await.is_welcome().await;
    assert_eq!(first.hear().await, None);
    // Of the second it hears nothing: it doesn't know that one.
    plain(address).await.is_welcome().await;
    let heard = next().await;
    assert!(matches!(heard, Some(Inbox::Gone(ConnectionId(0)))), "{heard:?}");
    assert!(came.items.is_empty());
}

#[test]
fn every_form_of_an_address_is_understood() {
    for (given, meant) in [
        ("127.0.0.1:9000", "127.0.0.1:9000"),
        ("localhost", "localhost:8001"),
        ("localhost:0", "localhost:0"),
        (":9000", "127.0.0.1:9000"),
        ("9000", "127.0.0.1:9000"),
        ("::1", "[::1]:8001"),
        ("[::1]", "[::1]:8001"),
        ("[::1]:9000", "[::1]:9000"),
    ] {
        assert_eq!(given.parse::<Address>().map(|address| address.to_string()), Ok(meant.into()));
    }
    for wrong in
        ["", "localhost:x", "70000", "::1:9000:x", "host:70000", ":", "[", "[]:1", "[a", "a b"]
    {
        assert!(wrong.parse::<Address>().is_err(), "{wrong}");
    }
}

proptest! {
    #[test]
    fn whatever_is_taken_for_an_address_reads_back(
        given in "\\PC{0,12}|[\\[\\]:%.a-f0-9]{0,20}|[a-f0-9:.\\[\\]]{0,12}:[0-9]{1,5}"
    ) {
        if let Ok(address) = given.parse::<Address>() {
            prop_assert_eq!(address.to_string().parse(), Ok(address));
        }
    }
}

#[tokio::test]
async fn one_name_has_one_port() {
    let listeners = bind(&["localhost:0".parse().unwrap()]).unwrap();
    let ports: Vec<u16> =
        listeners.iter().map(|listener| listener.local_addr().unwrap().port()).collect();
    assert!(ports.iter().all(|port| *port == ports[0] && *port != 0), "{ports:?}");
}

#[tokio::test]
async fn what_is_written_to_those_who_are_accepted_does_not_wait_for_more() {
    let mut listener = bind(&["127.0.0.1:0".parse().unwrap()]).unwrap().remove(0);
    let address = listener.local_addr().unwrap();
    let _caller = TcpStream::connect(address).await.unwrap();
    let (accepted, _) = Source::accept(&mut listener).await.unwrap();
    assert!(accepted.nodelay().unwrap());
}

#[tokio::test]
async fn other_machines_are_answered_in_both_families() {
    let listeners = bind(&["0.0.0.0:0".parse().unwrap(), "[::]:0".parse().unwrap()]);
    let Ok(listeners) = listeners else { return };
    assert!(listeners.iter().all(|listener| listener.local_addr().unwrap().ip().is_unspecified()));
}

#[test]
fn an_address_for_everybody_leaves_ipv4_to_one_that_is_given_for_it() {
    let everybody: SocketAddr = "[::]:8001".parse().unwrap();
    let with = |other: &str| families(everybody, &[everybody, other.parse().unwrap()]);
    assert_eq!(with("[::1]:8001"), Families::Both);
    assert_eq!(with("127.0.0.1:9000"), Families::Both);
    assert_eq!(with("0.0.0.0:8001"), Families::Its);
    assert_eq!(families("[::1]:8001".parse().unwrap(), &[]), Families::Its);
    assert_eq!(families("[::ffff:127.0.0.1]:8001".parse().unwrap(), &[]), Families::Both);
}
