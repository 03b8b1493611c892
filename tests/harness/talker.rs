//! Many callers and operators who talk as fast as they may, each over the client library's own [`Link`].
//!
//! They are in this process, and reconnect by themselves: whatever becomes of the server or of the network
//! between, they go on where they were. All that they type and show is told to one [`Checker`].

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::Path,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};

use helpline_client::{DialError, Link, Security, Trust};
use helpline_proto::{
    ids::{Answering, Side},
    text::Name,
};
use tokio::{
    runtime::{Builder, Runtime},
    sync::watch,
    task::JoinHandle,
};

use self::voice::Voice;
use crate::{
    PATIENCE, accounts,
    checker::{Checker, Violation},
    dice::Dice,
    transcripts::Transcripts,
};

mod voice;

/// Dials as a caller, or as an operator who takes one caller after another.
///
/// # Errors
/// Nobody answers.
pub(crate) async fn dial(
    side: Side,
    to: SocketAddr,
    name: Name,
    security: &Security,
) -> Result<Link, DialError> {
    let address = to.to_string().parse().expect("an address is an address");
    match side {
        Side::Caller => Link::call(&address, name, security).await,
        Side::Operator => {
            let token = accounts::token(to, &name);
            Link::desk(&address, name, token, Answering::ByItself, security).await
        }
    }
}

/// How callers talk.
#[derive(Clone, Copy, Debug)]
pub struct Manner {
    /// Lines in a call, at most; at least a tenth.
    pub lines: usize,
    /// Own lines not yet known to be recorded at once, at most.
    pub at_once: usize,
}

/// What they have in common.
#[derive(Debug)]
struct Shared {
    checker: Mutex<Checker>,
    /// Entries shown, on all screens.
    shown: AtomicUsize,
    /// Own lines known to be recorded.
    said: AtomicUsize,
    calls: AtomicUsize,
    /// How many have no connection at the moment.
    offline: AtomicUsize,
    /// Callers make no further call.
    enough: AtomicBool,
    /// When somebody was on the line again, and since when they were not.
    resumed: Mutex<Vec<(Instant, Instant)>>,
    /// What may not be, beside what the checker sees.
    findings: Mutex<Vec<String>>,
    /// What each was doing last, and when.
    doing: Mutex<BTreeMap<String, (Instant, String)>>,
    /// How they connect.
    security: Security,
}

impl Shared {
    fn checker(&self) -> MutexGuard<'_, Checker> {
        self.checker.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn found(&self, what: String) {
        self.findings.lock().unwrap().push(what);
    }
}

/// Callers and operators, talking.
#[derive(Debug)]
pub struct Talkers {
    runtime: Runtime,
    shared: Arc<Shared>,
    off: watch::Sender<bool>,
    callers: Vec<JoinHandle<()>>,
    operators: Vec<JoinHandle<()>>,
    begun: usize,
}

impl Default for Talkers {
    fn default() -> Self {
        Self::new()
    }
}

impl Talkers {
    /// Nobody yet.
    ///
    /// # Panics
    /// There are no threads to be had.
    #[must_use]
    pub fn new() -> Self {
        Self::with(Security::Tls(Trust::FirstContact))
    }

    /// Nobody yet, and none of them will encrypt anything.
    ///
    /// # Panics
    /// There are no threads to be had.
    #[must_use]
    pub fn in_plaintext() -> Self {
        Self::with(Security::Plaintext)
    }

    fn with(security: Security) -> Self {
        let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let (off, _) = watch::channel(false);
        let shared = Arc::new(Shared {
            checker: Mutex::default(),
            shown: AtomicUsize::default(),
            said: AtomicUsize::default(),
            calls: AtomicUsize::default(),
            offline: AtomicUsize::default(),
            enough: AtomicBool::default(),
            resumed: Mutex::default(),
            findings: Mutex::default(),
            doing: Mutex::default(),
            security,
        });
        Self { runtime, shared, off, callers: Vec::new(), operators: Vec::new(), begun: 0 }
    }

    /// Where all this happens; a proxy between may live there too.
    #[must_use]
    pub fn runtime(&self) -> &Runtime {
        &self.runtime
    }

    /// An operator signs on there and takes one caller after another.
    pub fn operator(&mut self, address: SocketAddr, dice: &mut Dice, manner: Manner) {
        let voice = self.voice(Side::Operator, address, dice, manner);
        self.operators.push(self.runtime.spawn(voice.answer()));
    }

    /// A caller calls there again and again.
    pub fn caller(&mut self, address: SocketAddr, dice: &mut Dice, manner: Manner) {
        let voice = self.voice(Side::Caller, address, dice, manner);
        self.callers.push(self.runtime.spawn(voice.call_again_and_again()));
    }

    fn voice(&mut self, side: Side, address: SocketAddr, dice: &mut Dice, manner: Manner) -> Voice {
        self.begun += 1;
        let what = if side == Side::Caller { "caller" } else { "operator" };
        let name = Name::new(format!("{what}{}", self.begun)).unwrap();
        Voice::new(side, name, address, dice.split(), manner, &self.shared, self.off.subscribe())
    }

    /// How many lines their speakers know to be recorded.
    #[must_use]
    pub fn said(&self) -> usize {
        self.shared.said.load(SeqCst)
    }

    /// How many entries were shown on all screens together.
    #[must_use]
    pub fn shown(&self) -> usize {
        self.shared.shown.load(SeqCst)
    }

    /// How many calls were over for their callers.
    #[must_use]
    pub fn calls(&self) -> usize {
        self.shared.calls.load(SeqCst)
    }

    /// When somebody was on the line again, and since when they hadn't been.
    ///
    /// # Panics
    /// Somebody of them panicked.
    #[must_use]
    pub fn resumed(&self) -> Vec<(Instant, Instant)> {
        self.shared.resumed.lock().unwrap().clone()
    }

    /// Waits until this many lines are said.
    ///
    /// # Panics
    /// Nothing more was said for a while, or something was found.
    pub fn wait_until_said(&self, lines: usize) {
        let (mut last, mut since) = (0, Instant::now());
        while self.said() < lines {
            self.is_well();
            if self.said() != last {
                (last, since) = (self.said(), Instant::now());
            }
            assert!(since.elapsed() < PATIENCE, "nothing is said any more: {}", self.doing());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Waits until everybody has a connection but for so many, and those who are between two calls.
    ///
    /// # Panics
    /// Somebody hasn't, for long, or something was found.
    pub fn wait_until_back(&self, but: usize) {
        let begun = Instant::now();
        while self.shared.offline.load(SeqCst) > but {
            self.is_well();
            assert!(
                begun.elapsed() < PATIENCE,
                "somebody isn't back on the line: {}",
                self.doing()
            );
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Nothing was found so far.
    ///
    /// # Panics
    /// Something was.
    pub fn is_well(&self) {
        let findings = self.shared.findings.lock().unwrap();
        assert!(findings.is_empty(), "{findings:#?}");
        let checker = self.shared.checker();
        assert!(checker.violation().is_none(), "{}", checker.violation().unwrap());
    }

    fn doing(&self) -> String {
        let doing = self.shared.doing.lock().unwrap();
        let tell = |(name, (when, doing)): (&String, &(Instant, String))| {
            format!("\n{name}, {:?} ago: {doing}", when.elapsed())
        };
        doing.iter().map(tell).collect()
    }

    /// Lets every caller finish its call and every operator sign off.
    ///
    /// # Panics
    /// They don't, within so long, or something was found.
    pub fn finish(&mut self, within: Duration) {
        let until = Instant::now() + within;
        self.shared.enough.store(true, SeqCst);
        let callers = std::mem::take(&mut self.callers);
        let operators = std::mem::take(&mut self.operators);
        self.join(callers, until);
        self.off.send_replace(true);
        self.join(operators, until);
        self.is_well();
    }

    fn join(&self, tasks: Vec<JoinHandle<()>>, until: Instant) {
        for task in tasks {
            while !task.is_finished() {
                self.is_well();
                assert!(Instant::now() < until, "somebody doesn't finish: {}", self.doing());
                std::thread::sleep(Duration::from_millis(5));
            }
            self.runtime.block_on(task).unwrap();
        }
    }

    /// Judges everything by what is kept, once they have finished.
    ///
    /// # Errors
    /// The first promise that was broken.
    ///
    /// # Panics
    /// The database can't be read.
    pub fn judge(&self, file: &Path) -> Result<Transcripts, Violation> {
        let kept = Transcripts::read(file).unwrap();
        let mut checker = std::mem::take(&mut *self.shared.checker());
        kept.tell(&mut checker);
        checker.finish()?;
        kept.in_order()?;
        Ok(kept)
    }
}
