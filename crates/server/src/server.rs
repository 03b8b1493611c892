//! A running line: everything started in order, and stopped in order.

use std::{io, net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use helpline_proto::{
    address::Fingerprint,
    limits,
    session::Settings as SessionSettings,
    text::{LineName, Text},
};
use helpline_switchboard::Rules;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::{mpsc, oneshot, watch},
    task::JoinSet,
};

use crate::{
    budget::{Budget, MEMORY},
    clock::Clock,
    conn::Means,
    core::{
        Core, Host, Inbox, Policy,
        thread::{self, INBOX, Outcome},
    },
    crowd::{Crowd, PER_ADDRESS, Room, STRANGERS},
    data::{self, DataError, Lock},
    door::{Door, Plaintext},
    gate::Gate,
    inbox,
    listen::{self, Address, Attached, Ids, ListenError},
    store::{DATABASE, SqliteStore, StoreError},
    tell::About,
    tls::{self, Key, Tls, TlsError},
};

/// Connections that don't come from a socket and may wait to be served, which takes no time.
const ATTACHED: usize = 16;

/// What the host of a line decides.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where to answer.
    pub listen: Vec<Address>,
    /// Where to keep calls.
    pub data: PathBuf,
    /// What the line is called.
    pub line: LineName,
    /// How many may wait, and how long those who are away are kept.
    pub rules: Rules,
    /// What callers and operators read first.
    pub greeting: Option<Text>,
    /// Who is let in.
    pub policy: Policy,
    /// Says a second a connection may keep up; `None` for any number.
    pub says_a_second: Option<u32>,
    /// The certificate to answer with; without one, the line makes its own.
    pub certificate: Option<tls::Files>,
    /// From whom plaintext is taken.
    pub plaintext: Plaintext,
    /// How many may be connected.
    pub room: Room,
    /// Bytes that may wait for all peers together.
    pub memory: usize,
}

impl Settings {
    /// A line with nothing said of it but its name and where it keeps calls. It answers nowhere.
    #[must_use]
    pub fn new(data: PathBuf, line: LineName) -> Self {
        Self {
            listen: Vec::new(),
            data,
            line,
            rules: Rules::default(),
            greeting: None,
            says_a_second: Some(limits::SAYS_A_SECOND),
            certificate: None,
            plaintext: Plaintext::default(),
            room: Room::within(Some(1024), STRANGERS, Some(PER_ADDRESS)),
            policy: Policy::default(),
            memory: MEMORY,
        }
    }
}

/// Why a line could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The data directory.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The database.
    #[error("cannot open the database")]
    Store(#[from] StoreError),
    /// The key or the certificate.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// An address.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// The operating system.
    #[error("cannot start")]
    System(#[from] io::Error),
}

/// Why a line ended otherwise than by being stopped.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// What was said could no longer be recorded.
    #[error("the store failed")]
    Store(#[from] StoreError),
    /// The core is gone.
    #[error("the core panicked")]
    Core,
}

/// What an earlier process left, and goes on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Kept {
    /// Callers who waited.
    pub waiting: u32,
    /// Calls that were talked on.
    pub talking: u32,
}

/// A line that is open.
#[derive(Debug)]
pub struct Server {
    addresses: Vec<SocketAddr>,
    kept: Kept,
    means: Arc<Means>,
    ids: Arc<Ids>,
    outcome: oneshot::Receiver<Outcome>,
    close: watch::Sender<bool>,
    tasks: JoinSet<()>,
    _watching: JoinSet<()>,
    _lock: Lock,
}

impl Server {
    /// Opens a line.
    ///
    /// # Errors
    /// The data directory or an address can't be had.
    pub async fn start(settings: Settings) -> Result<Self, StartError> {
        let clock = Clock::start();
        let lock = data::lock(&settings.data)?;
        let (tls, watch) = match settings.certificate {
            Some(files) => Tls::given(files).map(|(tls, watch)| (tls, Some(watch)))?,
            None => (Tls::own(&settings.data)?, None),
        };
        data::private(&settings.data, DATABASE)?;
        let now = clock.now();
        let store = SqliteStore::open(&settings.data, settings.line.clone(), now.at)?;
        let listeners = listen::bind(&settings.listen)?;
        let addresses =
            listeners.iter().map(|listener| listener.local_addr()).collect::<Result<_, _>>()?;

        let about = About { line: settings.line, greeting: settings.greeting };
        let gate = Arc::<Gate>::default();
        let host =
            Host { rules: settings.rules, about, policy: settings.policy, gate: Arc::clone(&gate) };
        let core = Core::open(host, store, Box::new(random), now)?;
        let line = core.switchboard();
        let kept = Kept { waiting: line.waiting(), talking: line.talking() };
        let (inbox, came) = inbox::inbox(INBOX);
        let outcome = thread::start(core, clock, came)?;

        let door = Door { tls, plaintext: settings.plaintext, gate };
        let crowd = Arc::new(Crowd::new(settings.room, settings.policy.limit_loopback));
        let budget = Arc::new(Budget::of(settings.memory));
        let settings = SessionSettings { says_a_second: settings.says_a_second };
        let means = Arc::new(Means { clock, inbox, settings, door, crowd, budget });
        let ids = Arc::<Ids>::default();
        let (close, closed) = watch::channel(false);
        let mut tasks = JoinSet::new();
        for listener in listeners {
            let served =
                listen::serve(listener, Arc::clone(&ids), Arc::clone(&means), closed.clone());
            tasks.spawn(served);
        }
        tasks.spawn(listen::see_out(Arc::clone(&means)));
        let mut watching = JoinSet::new();
        if let Some(watch) = watch {
            watching.spawn(watch.keep_looking());
        }
        Ok(Self {
            addresses,
            kept,
            means,
            ids,
            outcome,
            close,
            tasks,
            _watching: watching,
            _lock: lock,
        })
    }

    /// Where the line answers.
    #[must_use]
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// What the line is known by.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        self.means.door.tls.fingerprint()
    }

    /// Where its key comes from.
    #[must_use]
    pub fn key(&self) -> Key {
        self.means.door.tls.key()
    }

    /// What an earlier process left: those people may come back.
    #[must_use]
    pub fn kept(&self) -> Kept {
        self.kept
    }

    /// Serves connections that don't come from a socket: what is sent here, one after another.
    pub fn attach<S>(&mut self) -> mpsc::Sender<S>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (ids, means) = (Arc::clone(&self.ids), Arc::clone(&self.means));
        let (sender, streams) = mpsc::channel(ATTACHED);
        let served = listen::serve(Attached(streams), ids, means, self.close.subscribe());
        self.tasks.spawn(served);
        sender
    }

    /// Closes the line to new callers; those who talk may finish. [`ended`](Self::ended) tells when.
    pub async fn stop(&self) {
        self.means.inbox.send(Inbox::Stop).await;
    }

    /// Sends everybody away now. What they were in is kept for when the line opens again.
    pub async fn end(&self) {
        self.means.inbox.send(Inbox::End).await;
    }

    /// Waits until the core has ended: the line was stopped, or can't go on. Cancel-safe.
    ///
    /// # Errors
    /// It can't go on.
    pub async fn ended(&mut self) -> Result<(), RunError> {
        match (&mut self.outcome).await {
            Ok(outcome) => Ok(outcome?),
            Err(_) => Err(RunError::Core),
        }
    }

    /// Lets the last words go out, for at most `limit`, once the core has ended.
    pub async fn farewell(mut self, limit: Duration) {
        self.close.send_replace(true);
        self.means.crowd.close();
        let all = async { while self.tasks.join_next().await.is_some() {} };
        let _ = tokio::time::timeout(limit.min(limits::LINGER), all).await;
    }
}

fn random() -> [u8; 16] {
    let mut bytes = [0; 16];
    // Without randomness from the system nothing here could be trusted any more.
    if let Err(error) = getrandom::fill(&mut bytes) {
        panic!("the system has no randomness: {error}");
    }
    bytes
}
