//! What a run has seen: a proof that never met a fault proves nothing about it.

use std::fmt::Write as _;

macro_rules! sights {
    ($($(#[$doc:meta])* $sight:ident = $name:literal;)*) => {
        /// Something that has to happen in a run of the usual size.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Sight {
            $($(#[$doc])* $sight,)*
        }

        const NAMES: &[&str] = &[$($name),*];
    };
}

sights! {
    // the network
    WireDelayed = "wires delayed";
    WireStalled = "wires stalled both ways";
    WireStalledOneWay = "wires stalled one way";
    WireCut = "wires cut behind a byte";
    WireReset = "wires reset";
    WireDead = "wires dead unnoticed";
    WireSliced = "wires read in slices";
    WireCoalesced = "wires read together";
    // peers
    DialRefused = "dials refused";
    Reconnect = "reconnects tried";
    TryGivenUp = "tries given up after 3 s";
    Silence = "servers found silent by clients";
    Resumed = "resumed";
    ResumedWithUnsaid = "resumed with lines unsaid";
    Superseded = "superseded connections told so";
    SupersededAsks = "superseded connections that asked on";
    Twin = "second processes with one ticket";
    Killed = "processes killed";
    KilledWithUnsaid = "processes killed with lines unsaid";
    Restarted = "processes restarted";
    HostDied = "client machines that died unnoticed";
    NoSuchTicket = "tickets that stood for nobody";
    Renumbered = "unsaid lines numbered anew";
    NotSaid = "lines not said";
    NotSaidUnknown = "lines of which nobody knows";
    NotSaidEnded = "lines refused as the call had ended";
    NotSaidDiskFull = "lines refused by a full disk";
    NotSaidPutBack = "lines not said as the call was put back";
    NeverReads = "peers that stop reading";
    SlowReads = "peers that read slowly";
    PeerTakesNothing = "writes that found no room";
    CutByItsSession = "connections cut by a deadline";
    TooSlow = "goodbyes: too slow";
    EndNotSeen = "goodbyes: end not seen";
    Gap = "gaps found by clients";
    EntryRepeated = "entries told twice on purpose";
    EntryLeftOut = "entries left out on purpose";
    SaidAgain = "lines said twice on purpose";
    BigLine = "lines of 16 KiB";
    Burst = "bursts of lines";
    // the core
    PageAskedFor = "pages asked for";
    CoreBusy = "questions that waited for the core";
    BigTurn = "turns of ten items or more";
    SlowCommit = "commits of 100 ms or more";
    ArrivedInCommit = "arrivals during a commit";
    // the disk
    DiskFull = "disks full";
    LostError = "commits failed and lost";
    KeptError = "commits failed and kept";
    // the server's process
    CrashIdle = "crashes between turns";
    CrashBeforeCommit = "crashes before a commit";
    CrashAfterCommit = "crashes behind a commit";
    CrashTelling = "crashes while telling";
    PowerCut = "power cuts of the server's machine";
    Stop = "stops";
    Drained = "stops that waited for talks";
    End = "ends";
    ServerStarted = "starts with calls kept";
    ClockStep = "wall clock steps";
    // the line
    Opened = "calls opened";
    Busy = "callers refused: busy";
    Closed = "callers refused: closed";
    Answered = "calls answered";
    AnsweredPassing = "calls answered past somebody away";
    FirstIsAway = "operators asked to wait for the first";
    PutBackSignedOff = "calls put back by signing off";
    PutBackGrace = "calls put back as an operator's grace was over";
    LetGo = "calls put back as their caller was away";
    TimedOut = "calls ended as the grace was over";
    Abandoned = "calls abandoned";
    EndedByCaller = "calls ended by the caller";
    EndedByOperator = "calls ended by the operator";
    BothHangUp = "calls that both sides hung up";
    SaidWhileWaiting = "lines said while waiting";
    AwayTold = "told that the other side is away";
    BackTold = "told that the other side is back";
}

/// How often each was seen.
#[derive(Clone, Debug)]
pub(crate) struct Coverage([u64; NAMES.len()]);

impl Default for Coverage {
    fn default() -> Self {
        Self([0; NAMES.len()])
    }
}

impl Coverage {
    pub(crate) fn see(&mut self, sight: Sight) {
        self.0[sight as usize] += 1;
    }

    pub(crate) fn add(&mut self, other: &Self) {
        for (count, more) in self.0.iter_mut().zip(other.0) {
            *count += more;
        }
    }

    /// What was never seen.
    pub(crate) fn missing(&self) -> Vec<&'static str> {
        NAMES.iter().zip(self.0).filter(|(_, count)| *count == 0).map(|(name, _)| *name).collect()
    }

    /// One line each.
    pub(crate) fn table(&self) -> String {
        NAMES.iter().zip(self.0).fold(String::new(), |mut table, (name, count)| {
            // Writing to a String cannot fail.
            let _ = writeln!(table, "{count:>10}  {name}");
            table
        })
    }

    /// As a JSON object.
    pub(crate) fn json(&self) -> serde_json::Value {
        let pairs = NAMES.iter().zip(self.0);
        pairs
            .map(|(name, count)| ((*name).to_owned(), count.into()))
            .collect::<serde_json::Map<_, _>>()
            .into()
    }
}
