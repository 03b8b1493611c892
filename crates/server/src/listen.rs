//! Addresses to answer on, and the connections that come to them.

use std::{
    collections::HashMap,
    fmt, io,
    net::{IpAddr, Ipv4Addr, SocketAddr, ToSocketAddrs as _},
    str::FromStr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use rustix::net::sockopt::set_ipv6_v6only;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpSocket, TcpStream},
    sync::{mpsc, watch},
    task::{self, JoinError, JoinSet},
    time::Instant,
};

use crate::{
    conn::{self, Accepted, Means},
    core::{ConnectionId, Inbox, Origin},
    crowd::{Displaced, Full},
    door,
    seldom::Seldom,
    socket::Socket,
};

/// The port of a line, unless said otherwise.
pub const PORT: u16 = 8001;

/// Connections the kernel may hold until they are accepted, which takes no time: a storm of them
/// is the only thing that fills it.
const BACKLOG: u32 = 1024;

/// After a failed accept, usually for want of descriptors: trying again at once would spin.
const BREATH: Duration = Duration::from_millis(100);

/// An address to answer on, as given: `host:port`, `host`, `:port` or a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    host: String,
    port: u16,
}

impl Default for Address {
    fn default() -> Self {
        Self { host: Ipv4Addr::LOCALHOST.to_string(), port: PORT }
    }
}

impl FromStr for Address {
    type Err = String;

    fn from_str(given: &str) -> Result<Self, String> {
        let default = Self::default();
        let port = |port: &str| {
            port.parse().map_err(|_| format!("{port:?} is not a port: a number from 0 to 65535"))
        };
        if given.is_empty() {
            return Err("it is empty".into());
        }
        if let Ok(port) = given.parse() {
            return Ok(Self { port, ..default });
        }
        if given.bytes().all(|byte| byte.is_ascii_digit()) {
            return port(given).map(|port| Self { port, ..default });
        }
        let unwrapped = given.strip_prefix('[').and_then(|given| given.strip_suffix(']'));
        if let Ok(address) = unwrapped.unwrap_or(given).parse::<IpAddr>() {
            return Ok(Self { host: address.to_string(), ..default });
        }
        match given.rsplit_once(':') {
            None => Ok(Self { host: host(given)?, ..default }),
            Some(("", given)) => Ok(Self { port: port(given)?, ..default }),
            Some((name, given)) => {
                let bare = name.strip_prefix('[').and_then(|name| name.strip_suffix(']'));
                if bare.is_none() && name.contains(':') {
                    return Err("an IPv6 address with a port is written [ADDRESS]:PORT".into());
                }
                Ok(Self { host: host(bare.unwrap_or(name))?, port: port(given)? })
            }
        }
    }
}

fn host(given: &str) -> Result<String, String> {
    let is_odd = |c: char| c.is_whitespace() || c.is_control() || matches!(c, '[' | ']');
    if given.is_empty() || given.contains(is_odd) {
        return Err(format!("{given:?} is not a host"));
    }
    Ok(given.into())
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// Why an address isn't answered on.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// It is no address of this machine.
    #[error("cannot find the address {0}: {1}")]
    Unknown(Address, #[source] io::Error),
    /// Somebody else answers there.
    #[error("something already answers on {0}")]
    Taken(SocketAddr),
    /// It can't be had.
    #[error("cannot listen on {0}: {1}")]
    Refused(SocketAddr, #[source] io::Error),
}

/// Begins to listen on every address that the given ones stand for, before anything is accepted.
///
/// # Errors
/// One of them can't be listened on.
pub fn bind(addresses: &[Address]) -> Result<Vec<TcpListener>, ListenError> {
    let mut found = Vec::new();
    for address in addresses {
        let all = (address.host.as_str(), address.port).to_socket_addrs();
        let all = all.map_err(|error| ListenError::Unknown(address.clone(), error))?;
        found.push((address.port, all.collect::<Vec<_>>()));
    }
    let all: Vec<SocketAddr> = found.iter().flat_map(|(_, found)| found).copied().collect();
    let mut listeners = Vec::new();
    for (mut port, found) in found {
        for mut socket_address in found {
            let families = families(socket_address, &all);
            // One name with several addresses gets one port, also when any will do.
            socket_address.set_port(port);
            let listener =
                bind_one(socket_address, families).map_err(|error| match error.kind() {
                    io::ErrorKind::AddrInUse => ListenError::Taken(socket_address),
                    _ => ListenError::Refused(socket_address, error),
                })?;
            port = listener.local_addr().map_or(port, |address| address.port());
            listeners.push(listener);
        }
    }
    Ok(listeners)
}

/// Whom an IPv6 address answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Families {
    Both,
    Its,
}

/// `[::]` answers IPv4 too, whatever the system's habit is, unless an IPv4 address is given for the same port.
fn families(address: SocketAddr, all: &[SocketAddr]) -> Families {
    let is_taken = |other: &SocketAddr| other.is_ipv4() && other.port() == address.port();
    let is_for_everybody = address.is_ipv6() && address.ip().is_unspecified();
    // An IPv4 address written as one of IPv6 can be had no other way.
    let is_written_as_ipv6 = address.is_ipv6() && address.ip().to_canonical().is_ipv4();
    if is_written_as_ipv6 || is_for_everybody && !all.iter().any(is_taken) {
        Families::Both
    } else {
        Families::Its
    }
}

fn bind_one(address: SocketAddr, families: Families) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    if address.is_ipv6() {
        set_ipv6_v6only(&socket, families == Families::Its)?;
    }
    // A restart must not wait for the last conversation's sockets to be forgotten.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Gives out connection ids.
#[derive(Debug, Default)]
pub struct Ids(AtomicU64);

impl Ids {
    /// One that was never given out before.
    pub fn next(&self) -> ConnectionId {
        ConnectionId(self.0.fetch_add(1, Ordering::Relaxed))
    }
}

/// Where connections come from.
pub(crate) trait Source {
    /// What a connection is.
    type Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    /// The next one, and where it comes from. Cancel-safe.
    fn accept(&mut self) -> impl Future<Output = io::Result<(Self::Stream, Origin)>> + Send;

    /// Serves one until it ends.
    fn talk(
        stream: Self::Stream,
        accepted: Accepted,
        means: Arc<Means>,
    ) -> impl Future<Output = io::Result<()>> + Send + 'static;
}

impl Source for TcpListener {
    type Stream = TcpStream;

    async fn accept(&mut self) -> io::Result<(TcpStream, Origin)> {
        let (stream, peer) = TcpListener::accept(self).await?;
        // It fails for a peer that has gone again, which its own task will notice.
        let _only_slower = stream.set_nodelay(true);
        Ok((stream, Origin::Address(peer.ip().to_canonical())))
    }

    fn talk(
        stream: TcpStream,
        accepted: Accepted,
        means: Arc<Means>,
    ) -> impl Future<Output = io::Result<()>> + Send + 'static {
        door::open(stream, accepted, means)
    }
}

/// Connections that are there already.
pub(crate) struct Attached<S>(pub(crate) mpsc::Receiver<S>);

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> Source for Attached<S> {
    type Stream = S;

    async fn accept(&mut self) -> io::Result<(S, Origin)> {
        match self.0.recv().await {
            Some(stream) => Ok((stream, Origin::Console)),
            None => std::future::pending().await,
        }
    }

    fn talk(
        stream: S,
        accepted: Accepted,
        means: Arc<Means>,
    ) -> impl Future<Output = io::Result<()>> + Send + 'static {
        conn::run(Socket::new(stream), accepted, None, means)
    }
}

/// Accepts and serves connections until told to stop, then until the last has ended. Whatever
/// becomes of a connection's task, the core hears that the connection is gone.
pub(crate) async fn serve<S: Source>(
    mut source: S,
    ids: Arc<Ids>,
    means: Arc<Means>,
    mut stop: watch::Receiver<bool>,
) {
    let mut connections = JoinSet::new();
    let mut who = HashMap::new();
    let mut turned_away = TurnedAway::default();
    let mut famine = Famine::default();
    loop {
        let breath = famine.breath();
        tokio::select! {
            biased;
            ended = connections.join_next_with_id(), if !connections.is_empty() => {
                famine.may_be_over();
                let Some(id) = ended.and_then(|ended| who.remove(&task_of(ended))) else { continue };
                let _ = means.inbox.send(Inbox::Gone(id)).await;
            }
            _ = stop.changed() => break,
            () = turned_away.log() => {}
            () = famine.log() => {}
            () = breath => famine.may_be_over(),
            accepted = source.accept(), if !famine.is_on() => {
                let (stream, origin) = match accepted {
                    Ok(accepted) => accepted,
                    Err(error) => {
                        famine.begins(error);
                        continue;
                    }
                };
                let id = ids.next();
                let place = match means.crowd.place(id, origin) {
                    Ok(place) => place,
                    Err(full) => {
                        turned_away.count(full);
                        continue;
                    }
                };
                let somebody_goes =
                    place.as_ref().is_some_and(|place| place.displaced() == Displaced::Somebody);
                let accepted = Accepted { id, origin, at: means.clock.moment(), place };
                let task = connections.spawn(S::talk(stream, accepted, Arc::clone(&means)));
                who.insert(task.id(), id);
                means.crowd.begun(id, task);
                if somebody_goes {
                    // Let them be gone, and their descriptor free, before the next one is accepted.
                    tokio::task::yield_now().await;
                }
            }
        }
    }
    drop(source);
    while connections.join_next().await.is_some() {}
}

/// Which task has ended.
fn task_of(ended: Result<(task::Id, io::Result<()>), JoinError>) -> task::Id {
    match ended {
        Ok((task, result)) => {
            if let Err(error) = result {
                tracing::debug!(%error, "a connection broke");
            }
            task
        }
        Err(error) if error.is_cancelled() => {
            tracing::debug!("a connection that was not let in made room for another");
            error.id()
        }
        Err(error) => {
            tracing::error!(%error, "a connection's task failed");
            error.id()
        }
    }
}

/// Those whom there was no room for.
#[derive(Debug, Default)]
struct TurnedAway {
    of_an_address: Seldom,
    in_all: Seldom,
}

impl TurnedAway {
    fn count(&mut self, full: Full) {
        match full {
            Full::OfAddress => self.of_an_address.happened(),
            Full::InAll => self.in_all.happened(),
        }
    }

    /// Ready when something was logged. Cancel-safe.
    async fn log(&mut self) {
        tokio::select! {
            times = self.of_an_address.due() => {
                tracing::warn!(times, "connections closed: too many of one address");
            }
            times = self.in_all.due() => {
                tracing::warn!(times, "connections closed: there is no room for more");
            }
        }
    }
}

/// Nothing can be accepted at the moment, usually for want of descriptors or memory.
#[derive(Debug, Default)]
struct Famine {
    until: Option<Instant>,
    error: Option<io::Error>,
    seldom: Seldom,
}

impl Famine {
    fn begins(&mut self, error: io::Error) {
        self.until = Some(Instant::now() + BREATH);
        self.error = Some(error);
        self.seldom.happened();
    }

    fn is_on(&self) -> bool {
        self.until.is_some()
    }

    fn may_be_over(&mut self) {
        self.until = None;
    }

    /// Waits until it is time to try again.
    fn breath(&self) -> impl Future<Output = ()> + use<> {
        let until = self.until;
        async move {
            match until {
                Some(until) => tokio::time::sleep_until(until).await,
                None => std::future::pending().await,
            }
        }
    }

    /// Ready when something was logged. Cancel-safe.
    async fn log(&mut self) {
        let times = self.seldom.due().await;
        if let Some(error) = self.error.take() {
            tracing::warn!(times, %error, "cannot accept a connection");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use proptest::prelude::*;

    use super::*;
    use crate::{
        budget::Budget,
        clock::Clock,
        crowd::{Crowd, Room},
        door::{
            Door, Plaintext,
            tests::{Encrypted, PATIENCE, Visitor, encrypted, hello, plain, settings},
        },
        server::{Server, Settings},
        tls::{self, Tls},
    };

    /// Means with nobody at the core's end but who holds the receiver.
    fn means(room: Room) -> (Arc<Means>, mpsc::Receiver<Inbox>, tempfile::TempDir) {
        let directory = tempfile::tempdir().unwrap();
        let (means, came) = means_with(Tls::own(directory.path()).unwrap(), room);
        (means, came, directory)
    }

    fn means_with(tls: Tls, room: Room) -> (Arc<Means>, mpsc::Receiver<Inbox>) {
        let (inbox, came) = mpsc::channel(64);
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
        tokio::spawn(serve(listener, Arc::default(), means, stopped));
        let mut first = plain(address).await;
        first.is_welcome().await;
        plain(address).await.is_welcome().await;
        assert_eq!(first.hear().await, None);
        let heard = tokio::time::timeout(PATIENCE, came.recv()).await.unwrap();
        assert!(matches!(heard, Some(Inbox::Gone(ConnectionId(0)))), "{heard:?}");
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
            assert_eq!(
                given.parse::<Address>().map(|address| address.to_string()),
                Ok(meant.into())
            );
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
    async fn other_machines_are_answered_in_both_families() {
        let listeners = bind(&["0.0.0.0:0".parse().unwrap(), "[::]:0".parse().unwrap()]);
        let Ok(listeners) = listeners else { return };
        assert!(
            listeners.iter().all(|listener| listener.local_addr().unwrap().ip().is_unspecified())
        );
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
}
