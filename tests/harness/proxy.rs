//! A network that does to connections what networks do.

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use rustix::net::sockopt::set_socket_linger;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        TcpListener, TcpStream,
        tcp::{ReadHalf, WriteHalf},
    },
    runtime::Handle,
    task::JoinHandle,
    time::sleep,
};

use crate::{accounts, dice::Dice};

/// Bytes of one direction that travel in slices: enough for each message there is, without taking all day.
const SLICED: usize = 8 * 1024;

/// What becomes of one direction of a connection.
#[derive(Clone, Copy, Debug)]
pub struct Way {
    /// At its beginning it carries at most this many bytes at once, each such piece a segment of its own.
    pub slice: usize,
    /// What was read at once takes this long.
    pub delay: Duration,
    /// What comes within this time after a first byte travels with it.
    pub gather: Duration,
    /// From this byte on nothing travels for so long; the other direction goes on.
    pub stall: Option<(usize, Duration)>,
    /// So many bytes get through, and then the whole connection is cut.
    pub cut: Option<(usize, Cut)>,
}

/// How a connection ends before its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// It is closed.
    Closed,
    /// It is reset (RST).
    Reset,
    /// It is reset for the client, and the server hears nothing of it for a while: as when a router between
    /// forgets it.
    HalfOpen,
}

impl Cut {
    /// Any of them.
    pub fn any(dice: &mut Dice) -> Self {
        [Self::Closed, Self::Reset, Self::HalfOpen][dice.below(3)]
    }
}

/// How long a server hears nothing of a connection that a client has no more.
const HALF_OPEN: Duration = Duration::from_secs(3);

/// What becomes of a connection.
#[derive(Clone, Copy, Debug, Default)]
pub struct Fate {
    /// From the client to the server.
    pub up: Way,
    /// From the server to the client.
    pub down: Way,
}

impl Default for Way {
    /// Everything gets through at once.
    fn default() -> Self {
        Self {
            slice: usize::MAX,
            delay: Duration::ZERO,
            gather: Duration::ZERO,
            stall: None,
            cut: None,
        }
    }
}

impl Fate {
    /// Anything that happens on a bad day; most connections are cut in the end.
    pub fn any(dice: &mut Dice) -> Self {
        let mut fate = Self { up: Way::any(dice), down: Way::any(dice) };
        let how = Cut::any(dice);
        if dice.chance(80) {
            let way = if dice.chance(50) { &mut fate.up } else { &mut fate.down };
            way.cut = Some((some_byte(dice), how));
        }
        fate
    }
}

impl Way {
    fn any(dice: &mut Dice) -> Self {
        let mut way = Self::default();
        if dice.chance(30) {
            way.slice = 1 + dice.below(100);
        }
        if dice.chance(20) {
            way.delay = dice.millis(5);
        }
        if dice.chance(20) {
            way.gather = dice.millis(50);
        }
        if dice.chance(10) {
            way.stall = Some((some_byte(dice), dice.millis(1500)));
        }
        way
    }
}

/// As often among the first hundred as among the next thousand or the next ten thousand.
fn some_byte(dice: &mut Dice) -> usize {
    let below = [100, 1_000, 10_000, 30_000][dice.below(4)];
    dice.below(below)
}

/// What has happened so far.
#[derive(Debug, Default)]
struct Counts {
    connections: AtomicUsize,
    cuts: AtomicUsize,
    up: AtomicUsize,
    down: AtomicUsize,
}

/// A way to a server, with faults. Ends when dropped.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    counts: Arc<Counts>,
    task: JoinHandle<()>,
}

impl Proxy {
    /// Begins to pass on connections to a server; `fate` says what becomes of each.
    ///
    /// # Errors
    /// There is no port to be had.
    pub async fn start(
        to: SocketAddr,
        mut fate: impl FnMut() -> Fate + Send + 'static,
    ) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        accounts::lead(address, to);
        let counts = Arc::<Counts>::default();
        let counting = Arc::clone(&counts);
        let task = tokio::spawn(async move {
            loop {
                let Ok((client, _)) = listener.accept().await else { continue };
                counting.connections.fetch_add(1, SeqCst);
                let (fate, counts) = (fate(), Arc::clone(&counting));
                Handle::current().spawn(async move {
                    // A server that isn't there refuses, as if there were no proxy.
                    let Ok(server) = TcpStream::connect(to).await else { return reset(&client) };
                    carry(client, server, fate, &counts).await;
                });
            }
        });
        Ok(Self { address, counts, task })
    }

    /// Where it is reached.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many connections there were.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.counts.connections.load(SeqCst)
    }

    /// How many connections were cut.
    #[must_use]
    pub fn cuts(&self) -> usize {
        self.counts.cuts.load(SeqCst)
    }

    /// How many bytes got through, to the server and from it.
    #[must_use]
    pub fn bytes(&self) -> (usize, usize) {
        (self.counts.up.load(SeqCst), self.counts.down.load(SeqCst))
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// With nothing to linger for, closing sends RST instead of FIN.
fn reset(stream: &TcpStream) {
    let _ = set_socket_linger(stream, Some(Duration::ZERO));
}

/// Why a direction came to its end.
enum Done {
    /// Its sender has ended it, or its receiver takes nothing more.
    Ended,
    Cut(Cut),
}

async fn carry(mut client: TcpStream, mut server: TcpStream, fate: Fate, counts: &Counts) {
    // Segments are to be as they were made.
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    if let Done::Cut(cut) = both_ways(&mut client, &mut server, fate, counts).await {
        counts.cuts.fetch_add(1, SeqCst);
        match cut {
            Cut::Closed => {}
            Cut::Reset => {
                reset(&client);
                reset(&server);
            }
            Cut::HalfOpen => {
                reset(&client);
                drop(client);
                sleep(HALF_OPEN).await;
            }
        }
    }
}

/// Until both directions have ended, or one is cut.
async fn both_ways(
    client: &mut TcpStream,
    server: &mut TcpStream,
    fate: Fate,
    counts: &Counts,
) -> Done {
    let (from_client, to_client) = client.split();
    let (from_server, to_server) = server.split();
    let up = one_way(from_client, to_server, fate.up, &counts.up);
    let down = one_way(from_server, to_client, fate.down, &counts.down);
    tokio::pin!(up, down);
    let (first, up_is_done) = tokio::select! {
        done = &mut up => (done, true),
        done = &mut down => (done, false),
    };
    match first {
        Done::Cut(_) => first,
        Done::Ended if up_is_done => down.await,
        Done::Ended => up.await,
    }
}

async fn one_way(
    mut from: ReadHalf<'_>,
    mut to: WriteHalf<'_>,
    mut way: Way,
    count: &AtomicUsize,
) -> Done {
    let mut passed = 0;
    let mut buffer = vec![0; 16 * 1024];
    loop {
        if let Some((0, cut)) = way.cut {
            return Done::Cut(cut);
        }
        let Ok(mut size @ 1..) = from.read(&mut buffer).await else {
            let _ = to.shutdown().await;
            return Done::Ended;
        };
        if !way.gather.is_zero() {
            sleep(way.gather).await;
            size += from.try_read(&mut buffer[size..]).unwrap_or(0);
        }
        if !way.delay.is_zero() {
            sleep(way.delay).await;
        }
        let slice = if passed < SLICED { way.slice } else { usize::MAX };
        for piece in buffer[..size].chunks(slice) {
            if let Some((_, pause)) = way.stall.take_if(|(at, _)| *at < passed + piece.len()) {
                sleep(pause).await;
            }
            let left = way.cut.map_or(usize::MAX, |(at, _)| at - passed);
            let piece = &piece[..piece.len().min(left)];
            if to.write_all(piece).await.is_err() {
                return Done::Ended;
            }
            passed += piece.len();
            count.fetch_add(piece.len(), SeqCst);
            if let Some((_, cut)) = way.cut.filter(|(at, _)| *at == passed) {
                return Done::Cut(cut);
            }
        }
    }
}
