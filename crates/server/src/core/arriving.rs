//! Whoever comes to a line: newcomers, and those who come back.

use helpline_proto::{
    code::Code,
    ids::{CallId, Side, Ticket},
    limits,
    message::{Message, Ref, Shown, SignOn},
    planted::{Bug, has},
    session::ServerEvent,
};
use helpline_switchboard::{Effect, Input, Now, OperatorId, Party, Refusal, TicketHash};
use sha2::{Digest as _, Sha256};

use crate::{outbox::OutboxSender, store::Store, tell};

use super::{ConnectionId, Core, Origin, Release, Turn};

impl<S: Store> Core<S> {
    /// Lets a newcomer in, or doesn't; or somebody back.
    pub(super) fn arrive(
        &mut self,
        now: Now,
        (id, origin): (ConnectionId, Origin),
        outbox: OutboxSender,
        event: ServerEvent,
        turn: &mut Turn,
        effects: &mut Vec<Effect>,
    ) {
        // What had been decided when the turn began counts, not what was a second ago.
        if !turn.has_looked {
            self.look(now, turn, effects);
        }
        if let Some(until) = self.guard.banned(origin, now.at) {
            return self.refuse(id, outbox, tell::banned(until, now.at), turn);
        }
        let (reference, ticket, side) = match &event {
            ServerEvent::Join(reference, join) => (*reference, &join.ticket, Side::Caller),
            ServerEvent::SignOn(reference, on) => (*reference, &on.ticket, Side::Operator),
            ServerEvent::Resume(reference, resume) => (*reference, &resume.ticket, resume.side),
            _ => return,
        };
        let ticket = hash(ticket);
        let shown = match &event {
            ServerEvent::Resume(_, resume) => resume.shown.as_slice(),
            _ => &[],
        };
        match (self.switchboard.holder(ticket), side) {
            (Some(party @ Party::Caller(_)), Side::Caller)
            | (Some(party @ Party::Operator(_)), Side::Operator) => {
                self.came(party, origin);
                return self.resume(now, id, outbox, (party, shown, reference), turn, effects);
            }
            (Some(_), _) => {
                let message = tell::goodbye(Code::TICKET_IN_USE, "this ticket is in use");
                return self.refuse(id, outbox, message, turn);
            }
            (None, Side::Caller) if self.switchboard.is_spent(ticket) => {
                return self.refuse(id, outbox, tell::spent(), turn);
            }
            (None, _) => {}
        }
        let mut invitation = None;
        let (party, input) = match event {
            ServerEvent::Join(_, join) => {
                if join.line.as_ref().is_some_and(|line| *line != self.about.line) {
                    let detail = format!("lines here: {}", self.about.line);
                    let message = tell::goodbye(Code::NO_SUCH_LINE, &detail);
                    return self.refuse(id, outbox, message, turn);
                }
                if self.guard.policy().invite_only {
                    invitation = self.guard.invited(join.invite.as_ref(), now.at);
                    if invitation.is_none() {
                        let code = Code::INVITATION;
                        return self.refuse_later(now, (id, origin), outbox, code, turn);
                    }
                }
                if self.guard.is_crowded(origin, |call| self.switchboard.waits(call)) {
                    self.refused = self.refused.saturating_add(1);
                    return self.refuse(id, outbox, tell::crowded(), turn);
                }
                let call = CallId((self.random)());
                (Party::Caller(call), Input::Join { call, ticket, name: join.name })
            }
            ServerEvent::SignOn(_, SignOn { name, answering, token, .. }) => {
                let token = match self.guard.recognise(origin, &name, token.as_ref()) {
                    Ok(token) => token,
                    Err(code) => {
                        return self.refuse_later(now, (id, origin), outbox, code, turn);
                    }
                };
                let operator = OperatorId(self.next_operator);
                self.next_operator += 1;
                self.guard.signed_on(operator, name.clone(), token);
                (Party::Operator(operator), Input::SignOn { operator, ticket, name, answering })
            }
            _ => return self.refuse(id, outbox, tell::spent(), turn),
        };
        self.peers.bind(id, outbox, party);
        turn.newcomers.push(id);
        self.came(party, origin);
        self.switchboard.handle(now, input, effects);
        if let [.., Effect::Refuse(Refusal::Busy { .. } | Refusal::Closed)] = effects.as_slice() {
            self.peers.unbind(id);
            self.went(party);
            return self.follow(turn, Some((id, party, reference)), effects);
        }
        self.follow(turn, Some((id, party, reference)), effects);
        self.let_in(now, party, origin, invitation, turn);
    }

    pub(super) fn refuse(
        &mut self,
        id: ConnectionId,
        outbox: OutboxSender,
        why: Message,
        turn: &mut Turn,
    ) {
        self.peers.stranger(id, outbox);
        turn.newcomers.push(id);
        turn.releases.push(Release::Refuse(id, why));
    }

    /// Lets a connection speak for a party that is known already, in the place of any other.
    fn resume(
        &mut self,
        now: Now,
        id: ConnectionId,
        outbox: OutboxSender,
        (party, shown, reference): (Party, &[Shown], Ref),
        turn: &mut Turn,
        effects: &mut Vec<Effect>,
    ) {
        let call = match party {
            Party::Caller(call) => Some(call),
            Party::Operator(operator) => self.switchboard.call_of(operator),
        };
        let hears = call.map(|call| {
            let shown = shown.iter().find(|shown| shown.call == call).map(|shown| shown.seq);
            // Nothing can have been shown that isn't recorded.
            let last = self.switchboard.last_seq(call).unwrap_or_default();
            (call, shown.unwrap_or_default().min(last))
        });
        let hears = self.peers.sent(party).filter(|_| has(Bug::ResumeFromLastSent)).or(hears);
        if let Some(older) = self.peers.connection(party)
            && !has(Bug::SupersededStillSpeaks)
        {
            self.peers.unbind(older);
            turn.releases.push(Release::Refuse(older, tell::superseded()));
        }
        if let Some((call, shown)) = hears.filter(|_| has(Bug::PageReadBeforeCommit)) {
            self.early_page =
                self.store.page(call, shown, limits::PAGE).ok().map(|page| (party, page));
        }
        self.peers.bind(id, outbox, party);
        self.peers.resume(id, hears);
        self.switchboard.handle(now, Input::Back(party), effects);
        self.follow(turn, None, effects);
        turn.releases.push(Release::Resumed(id, reference));
        if let Some(release) = turn.releases.pop_if(|_| has(Bug::ResumedBeforeSynced)) {
            let _ = self.release(release, &mut std::iter::empty());
            self.peers.send();
        }
    }

    /// Takes note where a party's connection comes from.
    fn came(&mut self, party: Party, origin: Origin) {
        match party {
            Party::Caller(call) => self.guard.caller_came(call, origin),
            Party::Operator(operator) => self.guard.operator_came(operator, origin),
        }
    }

    /// A party is on the line no longer.
    pub(super) fn went(&mut self, party: Party) {
        match party {
            Party::Caller(call) => self.guard.caller_gone(call),
            Party::Operator(operator) => self.guard.operator_gone(operator),
        }
    }
}

/// What is kept of a ticket, so that nobody who reads the database can resume.
fn hash(ticket: &Ticket) -> TicketHash {
    TicketHash(Sha256::digest(ticket.0).into())
}
