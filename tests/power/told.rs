//! What a recorded server had told at each instant, and whether what a power cut has left is what it was.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fmt,
};

use helpline_proto::{
    ids::{CallId, Seq, Side, Ticket},
    message::Message,
};
use helpline_server::store::StoreError;
use helpline_tests::{
    Transcripts,
    checker::{Checker, Item},
};

use crate::record::{Connection, Event};

/// What is wrong with what is kept.
#[derive(Debug)]
pub(crate) enum Finding {
    /// It was told and isn't there.
    Lost(String),
    /// It is there otherwise than it was.
    Impossible(String),
    /// The database can't be used.
    Unusable(String),
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lost(told) => write!(f, "lost: {told}"),
            Self::Impossible(what) => write!(f, "impossible: {what}"),
            Self::Unusable(what) => write!(f, "unusable: {what}"),
        }
    }
}

impl From<StoreError> for Finding {
    fn from(error: StoreError) -> Self {
        Self::Unusable(error.to_string())
    }
}

/// Somebody with a ticket who was let in.
#[derive(Debug)]
pub(crate) struct Party {
    pub(crate) side: Side,
    pub(crate) ticket: Ticket,
    /// When it was told so.
    admitted: Option<usize>,
    /// When it asked to leave.
    left: Option<usize>,
    calls: BTreeMap<CallId, Own>,
}

/// What a party knows of a call of its own.
#[derive(Debug, Default)]
struct Own {
    since: usize,
    /// When it was told the next entries.
    told: Vec<(usize, Seq)>,
    /// When it answered the end.
    done: Option<usize>,
}

impl Party {
    /// Whether it has something to come back to for sure.
    pub(crate) fn is_owed(&self, before: usize) -> bool {
        let is_here = self.admitted.is_some_and(|at| at < before);
        let is_gone = self.left.is_some_and(|at| at < before);
        let of_a_call = self.side == Side::Operator || self.calls_owed(before).next().is_some();
        is_here && !is_gone && of_a_call
    }

    /// The calls that it has to find again.
    pub(crate) fn calls_owed(&self, before: usize) -> impl Iterator<Item = CallId> {
        let own = self.calls.iter().filter(move |(_, own)| {
            own.since < before && own.done.is_none_or(|done| done >= before)
        });
        own.map(|(call, _)| *call)
    }

    /// The last entry of a call that it was told.
    pub(crate) fn shown(&self, call: CallId, before: usize) -> Seq {
        self.calls.get(&call).map_or(Seq(0), |own| last(&own.told, before))
    }
}

/// The last of some numbers told, which rise.
fn last(told: &[(usize, Seq)], before: usize) -> Seq {
    told.iter().take_while(|(at, _)| *at < before).map(|(_, seq)| *seq).max().unwrap_or_default()
}

/// Everything that was told, and when: at which instant of a recording.
#[derive(Debug)]
pub(crate) struct Told {
    /// All that was recorded in the end.
    end: Transcripts,
    /// When the next entries of a call were told to anybody, or that there is such a call.
    entries: HashMap<CallId, Vec<(usize, Seq)>>,
    pub(crate) parties: Vec<Party>,
    /// What each party asked to be said and was told as an entry, with the instant.
    story: Vec<(usize, usize, Message)>,
}

impl Told {
    /// Finds out from a recording, at whose end this was kept.
    pub(crate) fn of(events: &[Event], end: Transcripts) -> Self {
        let (entries, parties, story) = (HashMap::new(), Vec::new(), Vec::new());
        let mut told = Self { end, entries, parties, story };
        let (mut holders, mut typed) = (HashMap::new(), HashSet::new());
        for (at, event) in events.iter().enumerate() {
            match event {
                Event::Disk(_) => {}
                Event::Asked(connection, message) => {
                    told.asked(&mut holders, at, *connection, message);
                    let is_new = match message {
                        // What is said again was typed once.
                        Message::Say(say) => typed.insert((say.call, say.text.clone())),
                        _ => false,
                    };
                    let party = holders.get(connection).filter(|_| is_new);
                    told.story.extend(party.map(|party| (at, *party, message.clone())));
                }
                Event::Told(connection, message) => {
                    let party = holders.get(connection).copied();
                    told.told(party, at, message);
                    let entry = party.filter(|_| Item::of(message).is_some());
                    told.story.extend(entry.map(|party| (at, party, message.clone())));
                }
            }
        }
        told
    }

    /// How many entries were told.
    pub(crate) fn len(&self) -> usize {
        let last = self.entries.values().filter_map(|told| told.iter().map(|(_, seq)| seq.0).max());
        last.map(|last| usize::try_from(last).unwrap()).sum()
    }

    fn asked(
        &mut self,
        holders: &mut HashMap<Connection, usize>,
        at: usize,
        connection: Connection,
        message: &Message,
    ) {
        let opening = match message {
            Message::Join(join) => Some((Side::Caller, &join.ticket)),
            Message::SignOn(on) => Some((Side::Operator, &on.ticket)),
            Message::Resume(resume) => Some((resume.side, &resume.ticket)),
            _ => None,
        };
        if let Some((side, ticket)) = opening {
            holders.insert(connection, self.party(side, ticket));
            return;
        }
        let Some(party) = holders.get(&connection).map(|party| &mut self.parties[*party]) else {
            return;
        };
        match message {
            Message::EndSeen(seen) => {
                party.calls.entry(seen.call).or_default().done.get_or_insert(at);
            }
            Message::SignOff(_) => {
                party.left.get_or_insert(at);
            }
            _ => {}
        }
    }

    fn party(&mut self, side: Side, ticket: &Ticket) -> usize {
        let known = self.parties.iter().position(|party| party.ticket == *ticket);
        known.unwrap_or_else(|| {
            let (ticket, calls) = (ticket.clone(), BTreeMap::new());
            self.parties.push(Party { side, ticket, admitted: None, left: None, calls });
            self.parties.len() - 1
        })
    }

    fn told(&mut self, party: Option<usize>, at: usize, message: &Message) {
        let party = party.map(|party| &mut self.parties[party]);
        let call = match message {
            Message::Admitted(_) => {
                party.map(|party| party.admitted.get_or_insert(at));
                return;
            }
            Message::Place(place) => place.call,
            Message::Connected(connected) => connected.call,
            message => {
                let Some((call, seq, item)) = Item::of(message) else { return };
                let kept = self.end.calls.iter().find(|kept| kept.call == call).and_then(|kept| {
                    kept.entries.get(usize::try_from(seq.0).ok()?.checked_sub(1)?)
                });
                let kept = kept.and_then(Item::of).map(|(_, _, item)| item);
                assert_eq!(kept, Some(item), "told, but not kept in the end: {message:?}");
                self.entries.entry(call).or_default().push((at, seq));
                if let Some(party) = party {
                    party.calls.entry(call).or_default().told.push((at, seq));
                }
                return;
            }
        };
        self.entries.entry(call).or_default().push((at, Seq(0)));
        if let Some(party) = party {
            party.calls.entry(call).or_insert_with(|| Own { since: at, ..Own::default() });
        }
    }

    /// Whether everything told before an instant is kept, and everything kept is as it was in the end.
    pub(crate) fn check(&self, kept: &Transcripts, before: usize) -> Result<(), Finding> {
        self.judge(kept, before)?;
        let lengths: HashMap<CallId, usize> =
            kept.calls.iter().map(|kept| (kept.call, kept.entries.len())).collect();
        for (call, told) in &self.entries {
            let last = last(told, before);
            let was_told = told.iter().any(|(at, _)| *at < before);
            let length = lengths.get(call).copied();
            if was_told && length.is_none_or(|length| length < usize::try_from(last.0).unwrap()) {
                let what = format!("entry {} of {call} was told; it has {length:?}", last.0);
                return Err(Finding::Lost(what));
            }
        }
        for (kept, end) in kept.calls.iter().zip(&self.end.calls) {
            if kept.call != end.call {
                let what = format!("{} came before {}", kept.call, end.call);
                return Err(Finding::Impossible(what));
            }
            if !end.entries.starts_with(&kept.entries) {
                let what = format!("{:?} would become {:?}", kept.entries, end.entries);
                return Err(Finding::Impossible(what));
            }
        }
        if kept.calls.len() > self.end.calls.len() {
            return Err(Finding::Impossible("there are calls that there never were".into()));
        }
        Ok(())
    }

    /// The one checker's opinion of what the screens had shown and what is kept.
    fn judge(&self, kept: &Transcripts, before: usize) -> Result<(), Finding> {
        let mut checker = Checker::new();
        let mut screens = Vec::with_capacity(self.parties.len());
        for party in &self.parties {
            let party = checker.party(party.side);
            screens.push(checker.screen_opened(party, None));
        }
        for (_, party, message) in self.story.iter().take_while(|(at, ..)| *at < before) {
            match message {
                Message::Say(say) => checker.typed(screens[*party], say.call, say.text.as_str()),
                entry => checker.shown(screens[*party], entry),
            }
        }
        for kept in &kept.calls {
            checker.transcript(kept.call, &kept.entries);
        }
        checker.cut_off().map_err(|violation| Finding::Lost(violation.to_string()))
    }
}
