//! The core's turn: decide, have it recorded, and only then tell anybody.
//!
//! Plain code in two halves around the commit, so that a test can stand between them.

use std::{net::IpAddr, sync::Arc};

use helpline_proto::{
    ids::CallId,
    limits,
    message::{Message, Ref},
    planted::{Bug, has},
    session::ServerEvent,
    time::Moment,
};
use helpline_switchboard::{
    Dismissal, Effect, Entry, Hearers, Input, Item, Notice, Now, Party, Record, Request, Rules,
    Snapshot, Switchboard,
};

use crate::{
    entries::Entries,
    gate::Gate,
    outbox::OutboxSender,
    store::{Store, StoreError, Write},
    tell::{self, About},
};

pub use self::guard::Policy;
use self::{
    guard::Guard,
    later::Later,
    peers::{Peers, State},
};

mod arriving;
mod guard;
mod keeping_out;
mod later;
mod peers;
pub mod thread;

/// Names one connection; never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(pub u64);

/// Where a connection comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// This very process: whoever started the server.
    Console,
    /// An address.
    Address(IpAddr),
}

/// What the host of a line decides.
#[derive(Clone, Debug)]
pub struct Host {
    /// How many may wait, and how long those who are away are kept.
    pub rules: Rules,
    /// What the line says of itself.
    pub about: About,
    /// Who is let in.
    pub policy: Policy,
    /// What those who accept connections ask.
    pub gate: Arc<Gate>,
}

/// Makes random bytes: names of calls, and invitations.
pub type Random = Box<dyn FnMut() -> [u8; 16] + Send>;

/// What comes to the core.
#[derive(Debug)]
pub enum Inbox {
    /// A connection's first request: to join, to sign on or to resume.
    Arrived(ConnectionId, Origin, OutboxSender, ServerEvent),
    /// What a connection asks for, as one read brought it.
    Asked(ConnectionId, Vec<ServerEvent>),
    /// An outbox that the core waits for is empty.
    Emptied(ConnectionId),
    /// A connection is lost, or will bring nothing more.
    Gone(ConnectionId),
    /// No new callers; those who talk may finish.
    Stop,
    /// Everybody is sent away now.
    End,
}

/// What is to be told once the turn is recorded.
enum Release {
    /// The entries in this place among what is written.
    Entries(usize, Hearers),
    Tell(Party, Notice, Ref),
    Answer(ConnectionId, Message, Ref),
    /// Somebody came back on this connection.
    Resumed(ConnectionId, Ref),
    /// The last words to a party, on the connection that it had when they were decided.
    Part(Party, ConnectionId, Message),
    Refuse(ConnectionId, Message),
    Fill(ConnectionId),
}

/// What one turn decided.
#[derive(Default)]
pub struct Turn {
    writes: Vec<Write>,
    releases: Vec<Release>,
    /// Who said something in it, should it not be recorded.
    authors: Vec<(ConnectionId, Ref)>,
    /// Who asked to be let in.
    newcomers: Vec<ConnectionId>,
    /// How many more requests came with the one that is being handled.
    to_come: usize,
    /// It was looked whether administrators have decided something.
    has_looked: bool,
    /// The store could not be read.
    broken: Option<StoreError>,
}

impl Turn {
    /// What has to be recorded before anybody is told.
    #[must_use]
    pub fn writes(&self) -> &[Write] {
        &self.writes
    }

    /// Adds an entry: to those it follows right behind, if its hearers are the same.
    fn add(&mut self, call: CallId, entry: Entry, hearers: Hearers) {
        let place = self.writes.len();
        if let (Some(Write::Entries(before)), Some(Release::Entries(at, same))) =
            (self.writes.last_mut(), self.releases.last())
            && at + 1 == place
            && *same == hearers
            && before.call() == call
            && !before.are_enough()
        {
            before.push(entry);
            return;
        }
        self.writes.push(Write::Entries(Entries::of(call, entry, self.to_come)));
        self.releases.push(Release::Entries(place, hearers));
    }
}

/// The one owner of the switchboard, the store, and who is who.
pub struct Core<S> {
    rules: Rules,
    switchboard: Switchboard,
    store: S,
    peers: Peers,
    about: About,
    stopping: bool,
    next_operator: u64,
    random: Random,
    guard: Guard,
    /// What the store's [`Store::access_version`] was when it was read.
    access_version: Option<i64>,
    /// When the store is looked at again for what others have written.
    look_at: Option<Moment>,
    /// When what is kept no longer is deleted next.
    tidy_at: Moment,
    later: Later,
    refused: u32,
    refused_since: Option<Moment>,
    /// For [`Bug::PageReadBeforeCommit`].
    early_page: Option<(Party, Vec<Entry>)>,
}

impl<S: Store> Core<S> {
    /// Goes on where the store was left: everybody it knows of is away, and may come back.
    ///
    /// # Errors
    /// The store can't be read.
    pub fn open(host: Host, store: S, random: Random, now: Now) -> Result<Self, StoreError> {
        let Host { rules, about, policy, gate } = host;
        let mut core = Self {
            rules,
            switchboard: Switchboard::restore(rules, &Snapshot::default(), now),
            next_operator: 0,
            store,
            peers: Peers::default(),
            about,
            stopping: false,
            random,
            guard: Guard::new(policy, gate),
            access_version: None,
            look_at: S::SHARED.then_some(now.moment),
            tidy_at: now.moment,
            later: Later::default(),
            refused: 0,
            refused_since: None,
            early_page: None,
        };
        core.restore(now)?;
        Ok(core)
    }

    /// Takes everything from the store, as at start.
    fn restore(&mut self, now: Now) -> Result<(), StoreError> {
        let snapshot = self.store.snapshot()?;
        self.switchboard = Switchboard::restore(self.rules, &snapshot, now);
        self.next_operator = self.store.next_operator()?.0;
        self.know_again(&snapshot)
    }

    /// Decides what follows from what came. Nothing has left yet.
    pub fn decide(&mut self, now: Now, inbox: impl IntoIterator<Item = Inbox>) -> Turn {
        let mut turn = Turn::default();
        let mut effects = Vec::new();
        self.keep_watch(now, &mut turn, &mut effects);
        for item in inbox {
            self.take(now, item, &mut turn, &mut effects);
        }
        if self.switchboard.poll_timeout().is_some_and(|due| due <= now.moment) {
            self.switchboard.handle_timeout(now, &mut effects);
            self.follow(&mut turn, None, &mut effects);
        }
        self.count_refused(now, &mut turn);
        if has(Bug::ToldBeforeSynced) {
            let (writes, releases) = (turn.writes.clone(), std::mem::take(&mut turn.releases));
            let _ = self.committed(Turn { writes, releases, ..Turn::default() });
        }
        turn
    }

    /// Records what a turn decided.
    ///
    /// # Errors
    /// Nobody may be told anything of it. See [`StoreError::is_rolled_back`].
    pub fn commit(&mut self, turn: &mut Turn) -> Result<(), StoreError> {
        match turn.broken.take() {
            Some(error) => Err(error),
            None => self.store.commit(turn.writes()),
        }
    }

    /// Tells everybody what the turn decided, now that it is recorded.
    ///
    /// # Errors
    /// Entries for somebody who is behind can't be read.
    pub fn committed(&mut self, turn: Turn) -> Result<(), StoreError> {
        let Turn { writes, releases, .. } = turn;
        let mut writes = writes.into_iter().enumerate();
        let told = releases.into_iter().try_for_each(|release| self.release(release, &mut writes));
        // If not all could be told, those who were are still woken: some were let go of.
        self.peers.send();
        told
    }

    /// Goes back to what is recorded, after a turn that for certain is not: those who said something in it
    /// hear that it isn't said, and everybody comes back on a new connection.
    ///
    /// # Errors
    /// The store can't be read.
    pub fn rolled_back(&mut self, now: Now, turn: Turn) -> Result<(), StoreError> {
        let not_said = tell::not_recorded();
        for (id, reference) in turn.authors {
            self.peers.answer(id, &tell::frame(&not_said, reference));
        }
        let not_let_in = tell::frame(&tell::not_let_in(), Ref::NONE);
        for id in turn.newcomers {
            self.peers.part(id, &not_let_in);
        }
        self.peers.part_all(&tell::frame(&tell::come_back(), Ref::NONE));
        self.peers.send();
        if has(Bug::StateKeptAfterFailedCommit) {
            return Ok(());
        }
        self.restore(now)?;
        if self.stopping {
            self.switchboard.handle(now, Input::Stop, &mut Vec::new());
        }
        Ok(())
    }

    /// Decides, records and tells.
    ///
    /// # Errors
    /// The turn may or may not be recorded, and nobody was told anything of it.
    pub fn turn(
        &mut self,
        now: Now,
        inbox: impl IntoIterator<Item = Inbox>,
    ) -> Result<(), StoreError> {
        let mut turn = self.decide(now, inbox);
        match self.commit(&mut turn) {
            Ok(()) => self.committed(turn),
            Err(error) if error.is_rolled_back() => {
                tracing::error!(%error, "nothing can be recorded; everybody is asked to come back");
                self.rolled_back(now, turn)
            }
            Err(error) => Err(error),
        }
    }

    /// When there is something to do though nothing comes.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Moment> {
        let refused = self.refused_since.map(|since| since + limits::BOARD_EVERY);
        [refused, self.later.next(), self.look_at, self.switchboard.poll_timeout()]
            .into_iter()
            .flatten()
            .min()
    }

    /// Who waits and who talks to whom.
    #[must_use]
    pub fn switchboard(&self) -> &Switchboard {
        &self.switchboard
    }

    fn take(&mut self, now: Now, item: Inbox, turn: &mut Turn, effects: &mut Vec<Effect>) {
        match item {
            Inbox::Arrived(id, origin, outbox, event) => {
                self.arrive(now, (id, origin), outbox, event, turn, effects);
            }
            Inbox::Asked(id, events) => {
                // A connection that was let go of, or superseded, asks for nothing any more.
                let Some(from) = self.peers.party(id) else { return };
                let mut events = events.into_iter();
                while let Some(event) = events.next() {
                    turn.to_come = events.len();
                    let (reference, request) = match event {
                        ServerEvent::Ban(reference, ban) => {
                            self.ban(now, (id, from, reference), &ban, turn, effects);
                            continue;
                        }
                        ServerEvent::Invite(reference, invite) => {
                            self.invite(now, (id, from, reference), &invite, turn);
                            continue;
                        }
                        event => match request(event) {
                            Some(asked) => asked,
                            None => continue,
                        },
                    };
                    self.switchboard.handle(now, Input::Ask { from, request }, effects);
                    self.follow(turn, Some((id, from, reference)), effects);
                }
            }
            Inbox::Emptied(id) => turn.releases.push(Release::Fill(id)),
            Inbox::Gone(id) => {
                if let Some(party) = self.peers.party(id) {
                    self.switchboard.handle(now, Input::Away(party), effects);
                    self.follow(turn, None, effects);
                    turn.releases.push(Release::Refuse(id, tell::gone()));
                } else if self.later.forget(id) {
                    // Else it would be kept of everybody who guesses and leaves, and they may be many.
                    turn.releases.push(Release::Refuse(id, tell::gone()));
                }
            }
            Inbox::Stop => {
                self.stopping = true;
                self.switchboard.handle(now, Input::Stop, effects);
                self.follow(turn, None, effects);
            }
            Inbox::End => {
                self.switchboard.handle(now, Input::End, effects);
                self.follow(turn, None, effects);
            }
        }
    }

    /// Sorts what the switchboard wants into what is recorded and what is told.
    fn follow(
        &mut self,
        turn: &mut Turn,
        asked: Option<(ConnectionId, Party, Ref)>,
        effects: &mut Vec<Effect>,
    ) {
        for effect in effects.drain(..) {
            match effect {
                Effect::Record(Record::Refused) => self.refused = self.refused.saturating_add(1),
                Effect::Record(record) => {
                    if let Record::Answered { call, operator, .. } = record {
                        self.guard.answered(operator, call);
                    }
                    turn.writes.push(Write::Record(record));
                }
                Effect::Entry { call, entry, hearers } => {
                    if let (Item::Said { .. }, Some((id, _, reference))) = (&entry.item, asked) {
                        turn.authors.push((id, reference));
                    }
                    turn.add(call, entry, hearers);
                }
                Effect::Tell { to, notice } => {
                    let reference = match asked {
                        Some((_, from, reference)) if from == to && answers(&notice) => reference,
                        _ => Ref::NONE,
                    };
                    turn.releases.push(Release::Tell(to, notice, reference));
                }
                Effect::Refuse(refusal) => {
                    let Some((id, _, reference)) = asked else { continue };
                    turn.releases.push(match self.peers.party(id) {
                        Some(_) => Release::Answer(id, tell::refusal(refusal), reference),
                        None => Release::Refuse(id, tell::turned_away(refusal)),
                    });
                }
                Effect::Dismiss { party, why } => {
                    if matches!(why, Dismissal::Done | Dismissal::Expelled(_)) {
                        self.went(party);
                    }
                    if let Some(id) = self.peers.connection(party) {
                        turn.releases.push(Release::Part(party, id, tell::dismissal(why)));
                    }
                }
            }
        }
    }

    /// Lets the count of refused callers ride along with a turn that is recorded anyway, or be
    /// written by itself after a second: *busy* must not cost a sync each.
    fn count_refused(&mut self, now: Now, turn: &mut Turn) {
        if self.refused == 0 {
            return;
        }
        let since = *self.refused_since.get_or_insert(now.moment);
        if !turn.writes.is_empty() || now.moment >= since + limits::BOARD_EVERY {
            turn.writes.push(Write::Refused(std::mem::take(&mut self.refused)));
            self.refused_since = None;
        }
    }

    /// Tells entries live.
    fn hear(&mut self, entries: Entries, hearers: Hearers) -> Result<(), StoreError> {
        let (call, seqs) = (entries.call(), entries.first()..=entries.last());
        let frames = entries.into_frames();
        let caller = hearers.caller.then_some(Party::Caller(call));
        let operator = hearers.operator.map(Party::Operator);
        for party in [caller, operator].into_iter().flatten() {
            if self.peers.entries(party, call, &seqs, &frames) {
                self.fill(party)?;
            }
        }
        Ok(())
    }

    fn release(
        &mut self,
        release: Release,
        writes: &mut impl Iterator<Item = (usize, Write)>,
    ) -> Result<(), StoreError> {
        match release {
            Release::Entries(place, hearers) => {
                // They are released in the order in which they are written.
                if let Some((_, Write::Entries(entries))) = writes.find(|(at, _)| *at == place) {
                    self.hear(entries, hearers)?;
                }
            }
            Release::Tell(to, notice, reference) => {
                let state = State::of(&notice);
                let frame = tell::frame(&tell::notice(&self.about, notice), reference);
                if self.peers.notice(to, state, &frame) {
                    self.fill(to)?;
                }
            }
            Release::Answer(id, message, reference) => {
                self.peers.answer(id, &tell::frame(&message, reference));
            }
            Release::Resumed(id, reference) => self.welcome_back(id, reference)?,
            Release::Refuse(id, message) => {
                self.peers.part(id, &tell::frame(&message, Ref::NONE));
            }
            Release::Part(party, id, message) => {
                if self.peers.connection(party) == Some(id) {
                    self.fill(party)?;
                }
                self.peers.part(id, &tell::frame(&message, Ref::NONE));
            }
            Release::Fill(id) => {
                if let Some(party) = self.peers.party(id) {
                    self.fill(party)?;
                }
            }
        }
        Ok(())
    }

    /// Tells somebody who came back which calls are theirs, and then all that they missed.
    fn welcome_back(&mut self, id: ConnectionId, reference: Ref) -> Result<(), StoreError> {
        let Some(party) = self.peers.party(id) else { return Ok(()) };
        let mut effects = Vec::new();
        self.switchboard.resumed(party, &mut effects);
        for effect in effects {
            let Effect::Tell { notice, .. } = effect else { continue };
            let reference = if answers(&notice) { reference } else { Ref::NONE };
            self.peers.answer(id, &tell::frame(&tell::notice(&self.about, notice), reference));
        }
        self.fill(party)
    }

    /// Tells somebody who is behind: first its state, if it missed a change, then entries from the
    /// store, as much as there is room for.
    fn fill(&mut self, party: Party) -> Result<(), StoreError> {
        if self.peers.is_stale(party) && !self.restate(party) {
            return Ok(());
        }
        let Some((call, after)) = self.peers.behind(party) else { return Ok(()) };
        let (page, more) = match self.early_page.take_if(|(whose, _)| *whose == party) {
            Some((_, page)) => (page, false),
            None => {
                let page = self.store.page(call, after, limits::PAGE)?;
                let last = page.last().map(|last| last.seq);
                let more = last.is_some() && last != self.switchboard.last_seq(call);
                (page, more)
            }
        };
        let frames = page
            .into_iter()
            .map(|entry| (entry.seq, tell::frame(&tell::entry(call, entry), Ref::NONE)));
        if self.peers.page(party, frames) && !more {
            self.peers.caught_up(party);
        }
        Ok(())
    }

    /// Tells a party its state again. False when there is no room for all of it.
    fn restate(&mut self, party: Party) -> bool {
        let mut effects = Vec::new();
        self.switchboard.restate(party, &mut effects);
        let about = &self.about;
        let notices = effects.into_iter().filter_map(|effect| match effect {
            Effect::Tell { notice, .. } => Some(notice),
            _ => None,
        });
        self.peers.restate(
            party,
            notices.map(|notice| {
                (State::of(&notice), tell::frame(&tell::notice(about, notice), Ref::NONE))
            }),
        )
    }
}

/// Whether a notice to the one who asked is the answer.
fn answers(notice: &Notice) -> bool {
    matches!(notice, Notice::Admitted { .. } | Notice::Connected { .. })
}

fn request(event: ServerEvent) -> Option<(Ref, Request)> {
    Some(match event {
        ServerEvent::Say(reference, say) => {
            (reference, Request::Say { call: say.call, nonce: say.nonce, text: say.text })
        }
        ServerEvent::HangUp(reference, hang_up) => {
            (reference, Request::HangUp { call: hang_up.call })
        }
        ServerEvent::Typing(typing) => (Ref::NONE, Request::Typing { call: typing.call }),
        ServerEvent::EndSeen(seen) => (Ref::NONE, Request::EndSeen { call: seen.call }),
        ServerEvent::Next(reference) => (reference, Request::Next),
        ServerEvent::Answer(reference, answer) => {
            (reference, Request::Answer { call: answer.call })
        }
        ServerEvent::Ready(reference) => (reference, Request::Ready),
        ServerEvent::Pause(reference) => (reference, Request::Pause),
        ServerEvent::SignOff(reference) => (reference, Request::SignOff),
        ServerEvent::Join(..)
        | ServerEvent::SignOn(..)
        | ServerEvent::Resume(..)
        | ServerEvent::Ban(..)
        | ServerEvent::Invite(..) => return None,
    })
}

#[cfg(test)]
mod tests;
