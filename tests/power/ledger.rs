//! What was told, what is kept, and whether the one is in the other.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    path::Path,
};

use helpline_proto::{
    code::Why,
    ids::{By, CallId, Nonce, Seq, Side},
    message::Message,
};
use helpline_server::{
    store::{
        StoreError,
        reading::{Reading, State},
    },
    tell,
};

/// What is wrong with what is kept.
#[derive(Debug)]
pub(crate) enum Finding {
    /// It was told and isn't there.
    Lost(Message),
    /// It is there otherwise than it was told, or no history of a call looks like this.
    Impossible(CallId, String),
    /// The database can't be used.
    Unusable(String),
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lost(told) => write!(f, "lost: {told:?}"),
            Self::Impossible(call, what) => write!(f, "impossible: call {call}: {what}"),
            Self::Unusable(what) => write!(f, "unusable: {what}"),
        }
    }
}

impl From<StoreError> for Finding {
    fn from(error: StoreError) -> Self {
        Self::Unusable(error.to_string())
    }
}

impl From<rusqlite::Error> for Finding {
    fn from(error: rusqlite::Error) -> Self {
        Self::Unusable(error.to_string())
    }
}

/// A line as a side says it in these tests, so that it can be known again without its being told.
pub(crate) fn line(side: Side, nonce: Nonce, filler: usize) -> String {
    format!("{} {} {}", side_name(side), nonce.0, "x".repeat(filler))
}

fn side_name(side: Side) -> &'static str {
    match side {
        Side::Caller => "caller",
        Side::Operator => "operator",
    }
}

/// The place of an entry in its call.
pub(crate) fn place(message: &Message) -> Option<(CallId, Seq)> {
    match message {
        Message::Said(said) => Some((said.call, said.seq)),
        Message::Joined(joined) => Some((joined.call, joined.seq)),
        Message::Left(left) => Some((left.call, left.seq)),
        Message::Ended(ended) => Some((ended.call, ended.seq)),
        _ => None,
    }
}

/// Everything that was told, and when: at which instant of a recording, or in which round.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    entries: HashMap<(CallId, Seq), (usize, Message)>,
    /// The first thing told of a call.
    calls: HashMap<CallId, (usize, Message)>,
}

impl Ledger {
    /// Notes what somebody was told. What is noted later was told later.
    pub(crate) fn note(&mut self, at: usize, message: &Message) {
        let of = match message {
            Message::Place(place) => Some(place.call),
            Message::Connected(connected) => Some(connected.call),
            _ => place(message).map(|(call, _)| call),
        };
        if let Some(call) = of {
            self.calls.entry(call).or_insert_with(|| (at, message.clone()));
        }
        if let Some(place) = place(message) {
            let (_, told) = self.entries.entry(place).or_insert_with(|| (at, message.clone()));
            assert_eq!(told, message, "one entry was told in two ways");
        }
    }

    /// How many entries were told.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether this very entry was told.
    pub(crate) fn has(&self, message: &Message) -> bool {
        place(message)
            .is_none_or(|place| self.entries.get(&place).is_some_and(|(_, told)| told == message))
    }

    /// Whether everything told before an instant is kept, and everything kept is as it was told
    /// whenever it was.
    pub(crate) fn check(&self, kept: &[KeptCall], before: usize) -> Result<(), Finding> {
        let calls: HashMap<CallId, &KeptCall> = kept.iter().map(|kept| (kept.call, kept)).collect();
        if calls.len() != kept.len() {
            return Err(Finding::Unusable("a call is kept twice".into()));
        }
        for (call, (at, told)) in &self.calls {
            if *at < before && !calls.contains_key(call) {
                return Err(Finding::Lost(told.clone()));
            }
        }
        for ((call, seq), (at, told)) in &self.entries {
            match calls.get(call).and_then(|kept| kept.entry(*seq)) {
                Some(kept) if kept != told => {
                    let what = format!("told: {told:?}, kept: {kept:?}");
                    return Err(Finding::Impossible(*call, what));
                }
                None if *at < before => return Err(Finding::Lost(told.clone())),
                _ => {}
            }
        }
        Ok(())
    }
}

/// A call as it is kept.
#[derive(Debug)]
pub(crate) struct KeptCall {
    pub(crate) call: CallId,
    pub(crate) over: bool,
    pub(crate) entries: Vec<Message>,
}

impl KeptCall {
    /// Reads the calls of a database in the order of arrival, but for the first ones, and finds
    /// each to be possible.
    pub(crate) fn read(file: &Path, but: usize) -> Result<Vec<Self>, Finding> {
        let reading = Reading::open(file)?;
        let mut summaries = Vec::new();
        reading.calls(|summary| {
            summaries.push(summary);
            Ok::<_, StoreError>(())
        })?;
        let mut calls = Vec::new();
        for summary in summaries.iter().skip(but) {
            let mut entries = Vec::new();
            reading.entries(summary, |entry| {
                entries.push(tell::entry(summary.call, &entry));
                Ok::<_, StoreError>(())
            })?;
            let over = summary.state == State::Ended;
            let call = Self { call: summary.call, over, entries };
            call.check().map_err(|what| {
                let entries = format!("{what}: {:?}", call.entries);
                Finding::Impossible(call.call, entries)
            })?;
            calls.push(call);
        }
        Ok(calls)
    }

    fn entry(&self, seq: Seq) -> Option<&Message> {
        self.entries.get(usize::try_from(seq.0).unwrap().checked_sub(1)?)
    }

    /// Who ended it and why, once it is over.
    pub(crate) fn end(&self) -> Option<(By, Why)> {
        match self.entries.last() {
            Some(Message::Ended(ended)) => Some((ended.by, ended.why)),
            _ => None,
        }
    }

    /// Numbers are dense from 1, nonces rise by one on each side, every line is one that was
    /// said, it begins with the caller's joining, and the end is an end.
    fn check(&self) -> Result<(), String> {
        let mut nonces = BTreeMap::from([(Side::Caller, 0), (Side::Operator, 0)]);
        for (at, entry) in self.entries.iter().enumerate() {
            let (_, seq) = place(entry).unwrap();
            if usize::try_from(seq.0).unwrap() != at + 1 {
                return Err(format!("entry {} is number {}", at + 1, seq.0));
            }
            if matches!(entry, Message::Ended(_)) && at + 1 != self.entries.len() {
                return Err(format!("it goes on after its end, entry {}", at + 1));
            }
            if let Message::Said(said) = entry {
                let nonce = nonces.get_mut(&said.from).unwrap();
                *nonce += 1;
                if said.nonce.0 != *nonce {
                    return Err(format!(
                        "entry {} has nonce {}, not {nonce}",
                        at + 1,
                        said.nonce.0
                    ));
                }
                let filler = said.text.as_str().bytes().rev().take_while(|byte| *byte == b'x');
                if said.text.as_str() != line(said.from, said.nonce, filler.count()) {
                    return Err(format!("nobody said entry {}", at + 1));
                }
            }
        }
        if !matches!(self.entries.first(), Some(Message::Joined(_))) {
            return Err("nobody joined it".into());
        }
        if self.over != self.end().is_some() {
            return Err(format!("over: {}, but its end: {:?}", self.over, self.end()));
        }
        Ok(())
    }
}
