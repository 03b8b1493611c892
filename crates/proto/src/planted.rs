//! Bugs to be planted, one at a time, to show that the proofs would see them.
//!
//! Without the feature `planted`, which no release build can have, [`has`] is `false` and the compiler
//! removes what it guards.

/// A way to break a promise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Bug {
    /// The core tells what a turn decided before it is synced.
    ToldBeforeSynced,
    /// A line said again is recorded again.
    NoDedupe,
    /// The nonces are not restored at start.
    CounterOnlyInMemory,
    /// A client shows whatever entry comes.
    ScreenIgnoresSeq,
    /// A replay begins behind what was sent, not behind what was shown.
    ResumeFromLastSent,
    /// `next` takes whoever was first when it was last looked.
    NextReadsStaleState,
    /// Who comes back waits behind everybody else.
    ReconnectGoesToTheBack,
    /// After a reconnect a client sends new lines before the old ones.
    NewSaysBeforeResends,
    /// Who resumes is told what is recorded before it is synced.
    ResumedBeforeSynced,
    /// The last to come is the first to be answered.
    LastComeFirstServed,
    /// An operator is free as soon as the caller hangs up.
    OperatorReleasedAtBye,
    /// A connection that was superseded still speaks.
    SupersededStillSpeaks,
    /// A place is freed again when its caller is forgotten.
    PlaceFreedTwice,
    /// The grace goes on while its party is back.
    GraceNotStopped,
    /// One caller more than there are places is let in.
    BusyOffByOne,
    /// A call that is put back waits behind everybody else.
    PutBackUnderNewNumber,
    /// After a failed commit the core goes on with what it had decided.
    StateKeptAfterFailedCommit,
    /// A page of a replay is read before the turn is committed.
    PageReadBeforeCommit,
    /// The end of a call is recorded once for each side that hangs up.
    EndRecordedTwice,
    /// A client that reconnects forgets its unsaid lines.
    UnsaidForgotten,
}

impl Bug {
    /// All of them.
    pub const ALL: [Self; 20] = [
        Self::ToldBeforeSynced,
        Self::NoDedupe,
        Self::CounterOnlyInMemory,
        Self::ScreenIgnoresSeq,
        Self::ResumeFromLastSent,
        Self::NextReadsStaleState,
        Self::ReconnectGoesToTheBack,
        Self::NewSaysBeforeResends,
        Self::ResumedBeforeSynced,
        Self::LastComeFirstServed,
        Self::OperatorReleasedAtBye,
        Self::SupersededStillSpeaks,
        Self::PlaceFreedTwice,
        Self::GraceNotStopped,
        Self::BusyOffByOne,
        Self::PutBackUnderNewNumber,
        Self::StateKeptAfterFailedCommit,
        Self::PageReadBeforeCommit,
        Self::EndRecordedTwice,
        Self::UnsaidForgotten,
    ];
}

#[cfg(feature = "planted")]
thread_local! {
    static BUG: std::cell::Cell<Option<Bug>> = const { std::cell::Cell::new(None) };
}

/// Plants a bug on this thread, or none.
#[cfg(feature = "planted")]
pub fn plant(bug: Option<Bug>) {
    BUG.set(bug);
}

/// Whether this bug is planted on this thread.
#[cfg(feature = "planted")]
#[must_use]
pub fn has(bug: Bug) -> bool {
    BUG.get() == Some(bug)
}

/// Whether this bug is planted on this thread: never.
#[cfg(not(feature = "planted"))]
#[must_use]
pub const fn has(_bug: Bug) -> bool {
    false
}

#[cfg(all(feature = "planted", not(debug_assertions)))]
compile_error!("a release build can't have the feature `planted`");
