//! The core's turn: decide, have it recorded, and only then tell anybody.
//!
//! Plain code in two halves around the commit, so that a test can stand between them.

use helpline_proto::{
    code::Code,
    ids::CallId,
    limits,
    message::{Message, Ref, SignOn},
    session::ServerEvent,
    time::Moment,
};
use helpline_switchboard::{
    Effect, Entry, Hearers, Input, Notice, Now, OperatorId, Party, Record, Refusal, Request, Rules,
    Switchboard, TicketHash,
};
use sha2::{Digest as _, Sha256};

use crate::{
    outbox::OutboxSender,
    store::{Next, Store, StoreError, Write},
    tell::{self, About},
};

use self::peers::{Peers, State};

mod peers;
pub mod thread;

/// Names one connection; never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ConnectionId(pub u64);

/// What comes to the core.
#[derive(Debug)]
pub enum Inbox {
    /// A connection's first request: to join or to sign on.
    Arrived(ConnectionId, OutboxSender, ServerEvent),
    /// What a connection asks for, as one read brought it.
    Asked(ConnectionId, Vec<ServerEvent>),
    /// An outbox that the core waits for is empty.
    Emptied(ConnectionId),
    /// A connection is lost, or will bring nothing more.
    Gone(ConnectionId),
    /// No new callers; those who talk may finish.
    Stop,
    /// Everything ends now.
    End,
}

/// What is to be told once the turn is recorded.
enum Release {
    Entry(CallId, Entry, Hearers),
    Tell(Party, Notice, Ref),
    Answer(ConnectionId, Message, Ref),
    Part(Party, Message),
    Refuse(ConnectionId, Message),
    Fill(ConnectionId),
}

/// What one turn decided.
#[derive(Default)]
pub struct Turn {
    writes: Vec<Write>,
    releases: Vec<Release>,
}

impl Turn {
    /// What has to be recorded before anybody is told.
    #[must_use]
    pub fn writes(&self) -> &[Write] {
        &self.writes
    }
}

/// The one owner of the switchboard, the store, and who is who.
pub struct Core<S> {
    switchboard: Switchboard,
    store: S,
    peers: Peers,
    about: About,
    next_operator: u64,
    fresh_call: Box<dyn FnMut() -> CallId + Send>,
    refused: u32,
    refused_since: Option<Moment>,
}

impl<S: Store> Core<S> {
    /// Begins with nobody on the line.
    pub fn new(
        rules: Rules,
        about: About,
        store: S,
        next: Next,
        fresh_call: Box<dyn FnMut() -> CallId + Send>,
    ) -> Self {
        Self {
            switchboard: Switchboard::new(rules, next.number),
            store,
            peers: Peers::default(),
            about,
            next_operator: next.operator.0,
            fresh_call,
            refused: 0,
            refused_since: None,
        }
    }

    /// Decides what follows from what came. Nothing has left yet.
    pub fn decide(&mut self, now: Now, inbox: impl IntoIterator<Item = Inbox>) -> Turn {
        let mut turn = Turn::default();
        let mut effects = Vec::new();
        for item in inbox {
            self.take(now, item, &mut turn, &mut effects);
        }
        if self.switchboard.poll_timeout().is_some_and(|due| due <= now.moment) {
            self.switchboard.handle_timeout(now, &mut effects);
            self.follow(&mut turn, None, &mut effects);
        }
        self.count_refused(now, &mut turn);
        turn
    }

    /// Tells everybody what the turn decided, now that it is recorded.
    ///
    /// # Errors
    /// Entries for somebody who is behind can't be read.
    pub fn committed(&mut self, turn: Turn) -> Result<(), StoreError> {
        for release in turn.releases {
            self.release(release)?;
        }
        self.peers.send();
        Ok(())
    }

    /// Decides, records and tells.
    ///
    /// # Errors
    /// The turn may not be recorded, and nobody was told anything of it.
    pub fn turn(
        &mut self,
        now: Now,
        inbox: impl IntoIterator<Item = Inbox>,
    ) -> Result<(), StoreError> {
        let turn = self.decide(now, inbox);
        self.store.commit(turn.writes())?;
        self.committed(turn)
    }

    /// When there is something to do though nothing comes.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Moment> {
        let refused = self.refused_since.map(|since| since + limits::BOARD_EVERY);
        [refused, self.switchboard.poll_timeout()].into_iter().flatten().min()
    }

    /// How many calls are being talked on.
    #[must_use]
    pub fn talking(&self) -> u32 {
        self.switchboard.talking()
    }

    fn take(&mut self, now: Now, item: Inbox, turn: &mut Turn, effects: &mut Vec<Effect>) {
        match item {
            Inbox::Arrived(id, outbox, event) => self.arrive(now, id, outbox, event, turn, effects),
            Inbox::Asked(id, events) => {
                for event in events {
                    // A connection that was let go of, or superseded, asks for nothing any more.
                    let Some(from) = self.peers.party(id) else { break };
                    let Some((reference, request)) = request(event) else { continue };
                    self.switchboard.handle(now, Input::Ask { from, request }, effects);
                    self.follow(turn, Some((id, from, reference)), effects);
                }
            }
            Inbox::Emptied(id) => turn.releases.push(Release::Fill(id)),
            Inbox::Gone(id) => {
                if let Some(party) = self.peers.party(id) {
                    self.switchboard.handle(now, Input::Gone(party), effects);
                    self.follow(turn, None, effects);
                }
            }
            Inbox::Stop => {
                self.switchboard.handle(now, Input::Stop, effects);
                self.follow(turn, None, effects);
            }
            Inbox::End => {
                self.switchboard.handle(now, Input::End, effects);
                self.follow(turn, None, effects);
            }
        }
    }

    fn arrive(
        &mut self,
        now: Now,
        id: ConnectionId,
        outbox: OutboxSender,
        event: ServerEvent,
        turn: &mut Turn,
        effects: &mut Vec<Effect>,
    ) {
        let (reference, ticket) = match &event {
            ServerEvent::Join(reference, join) => (*reference, &join.ticket),
            ServerEvent::SignOn(reference, sign_on) => (*reference, &sign_on.ticket),
            _ => return,
        };
        let ticket = TicketHash(Sha256::digest(ticket.0).into());
        if self.peers.knows(ticket) {
            self.peers.stranger(id, outbox);
            let message = tell::goodbye(Code::TICKET_IN_USE, "this ticket is in use");
            return turn.releases.push(Release::Refuse(id, message));
        }
        let (party, input) = match event {
            ServerEvent::Join(_, join) => {
                if join.line.as_ref().is_some_and(|line| *line != self.about.line) {
                    self.peers.stranger(id, outbox);
                    let detail = format!("lines here: {}", self.about.line);
                    let message = tell::goodbye(Code::NO_SUCH_LINE, &detail);
                    return turn.releases.push(Release::Refuse(id, message));
                }
                let call = (self.fresh_call)();
                (Party::Caller(call), Input::Join { call, ticket, name: join.name })
            }
            ServerEvent::SignOn(_, SignOn { name, answering, .. }) => {
                let operator = OperatorId(self.next_operator);
                self.next_operator += 1;
                (Party::Operator(operator), Input::SignOn { operator, ticket, name, answering })
            }
            _ => return,
        };
        self.peers.bind(id, outbox, party, ticket);
        self.switchboard.handle(now, input, effects);
        if let [.., Effect::Refuse(Refusal::Busy { .. } | Refusal::Closed)] = effects.as_slice() {
            self.peers.unbind(id);
        }
        self.follow(turn, Some((id, party, reference)), effects);
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
                Effect::Record(record) => turn.writes.push(Write::Record(record)),
                Effect::Entry { call, entry, hearers } => {
                    turn.writes.push(Write::Entry(call, entry.clone()));
                    turn.releases.push(Release::Entry(call, entry, hearers));
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
                    turn.releases.push(Release::Part(party, tell::dismissal(why)));
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

    fn release(&mut self, release: Release) -> Result<(), StoreError> {
        match release {
            Release::Entry(call, entry, hearers) => {
                let frame = tell::frame(&tell::entry(call, &entry), Ref::NONE);
                let caller = hearers.caller.then_some(Party::Caller(call));
                let operator = hearers.operator.map(Party::Operator);
                for party in [caller, operator].into_iter().flatten() {
                    if self.peers.entry(party, call, entry.seq, &frame) {
                        self.fill(party)?;
                    }
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
                if let Some(party) = self.peers.party(id) {
                    self.peers.answer(party, &tell::frame(&message, reference));
                }
            }
            Release::Refuse(id, message) => {
                self.peers.part(id, &tell::frame(&message, Ref::NONE));
            }
            Release::Part(party, message) => {
                if let Some(id) = self.peers.connection(party) {
                    self.fill(party)?;
                    self.peers.part(id, &tell::frame(&message, Ref::NONE));
                }
            }
            Release::Fill(id) => {
                if let Some(party) = self.peers.party(id) {
                    self.fill(party)?;
                }
            }
        }
        Ok(())
    }

    /// Tells somebody who is behind: first its state, if it missed a change, then entries from the
    /// store, as much as there is room for.
    fn fill(&mut self, party: Party) -> Result<(), StoreError> {
        if self.peers.is_stale(party) && !self.restate(party) {
            return Ok(());
        }
        let Some((call, after)) = self.peers.behind(party) else { return Ok(()) };
        let page = self.store.page(call, after, limits::PAGE)?;
        let more =
            page.last().is_some_and(|last| self.switchboard.last_seq(call) != Some(last.seq));
        let frames =
            page.iter().map(|entry| (entry.seq, tell::frame(&tell::entry(call, entry), Ref::NONE)));
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
        ServerEvent::Join(..) | ServerEvent::SignOn(..) => return None,
    })
}

#[cfg(test)]
mod tests;
