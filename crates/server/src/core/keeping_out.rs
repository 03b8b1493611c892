//! What the core does about those who don't belong.

use std::time::Duration;

use helpline_proto::{
    code::Code,
    ids::{By, Uses},
    limits,
    message::{Ban, Banned, Error, Invite, Invited, Message, Ref},
    text::{Detail, Secret},
    time::UnixMillis,
};
use helpline_switchboard::{
    Effect, Expulsion, Input, KeptState, Now, OperatorId, Party, Refusal, Snapshot,
};

use crate::{
    access::{Audit, Did, Invitation, Seat, SecretHash, invitation_code},
    calendar, gate,
    outbox::OutboxSender,
    store::{Store, StoreError, Write},
    tell,
};

use super::{ConnectionId, Core, Origin, Release, Turn};

/// How often the store is looked at for what others have written to it: a disabled operator is cut within twice that.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How often what is kept no longer is deleted.
const TIDY_EVERY: Duration = Duration::from_secs(60);

/// Invitations that may be open at once.
const INVITATIONS: usize = 10_000;

impl<S: Store> Core<S> {
    /// Knows again who is signed on, and who belongs.
    pub(super) fn know_again(&mut self, snapshot: &Snapshot) -> Result<(), StoreError> {
        self.guard.forget_everybody();
        let tokens = self.store.credentials()?;
        for kept in &snapshot.operators {
            let token = tokens.iter().find(|(operator, _)| *operator == kept.operator);
            self.guard.signed_on(kept.operator, kept.name.clone(), token.map(|(_, token)| *token));
        }
        for kept in &snapshot.calls {
            if let KeptState::Connected { operator, .. } = kept.state {
                self.guard.answered(operator, kept.call);
            }
        }
        self.guard.set(self.store.access()?);
        // Those who don't belong any more are sent away in the next turn.
        self.access_version = None;
        Ok(())
    }

    /// Does what time alone brings.
    pub(super) fn keep_watch(&mut self, now: Now, turn: &mut Turn, effects: &mut Vec<Effect>) {
        while let Some((id, message)) = self.later.take_due(now.moment) {
            turn.releases.push(Release::Refuse(id, message));
        }
        if self.look_at.is_none_or(|due| due > now.moment) {
            return;
        }
        self.look_at = Some(now.moment + LOOK_EVERY);
        self.look(now, turn, effects);
        if self.tidy_at <= now.moment {
            self.tidy_at = now.moment + TIDY_EVERY;
            let keep = self.guard.policy().keep;
            if keep.is_some() || self.guard.has_outdated(now.at) {
                let millis = |keep: Duration| i64::try_from(keep.as_millis()).unwrap_or(i64::MAX);
                let ended_before =
                    keep.map(|keep| UnixMillis(now.at.0.saturating_sub(millis(keep))));
                turn.writes.push(Write::Tidy { now: now.at, ended_before });
            }
            self.guard.forget_outdated(now.at);
        }
    }

    /// Takes in what administrators have decided, if they have, and sends away who doesn't belong any more.
    pub(super) fn look(&mut self, now: Now, turn: &mut Turn, effects: &mut Vec<Effect>) {
        turn.has_looked = true;
        let read = self.store.access_version().and_then(|version| {
            let changed = self.access_version != Some(version);
            let access = if changed { Some(self.store.access()?) } else { None };
            Ok((version, access))
        });
        match read {
            Ok((_, None)) => {}
            Ok((version, Some(access))) => {
                self.access_version = Some(version);
                self.guard.set(access);
                self.send_away(now, turn, effects);
            }
            Err(error) => {
                turn.broken.get_or_insert(error);
            }
        }
    }

    /// Sends away operators without an account, and whoever's address is banned.
    fn send_away(&mut self, now: Now, turn: &mut Turn, effects: &mut Vec<Effect>) {
        for operator in self.guard.strangers() {
            self.switchboard.handle(now, Input::Expel(operator, Expulsion::Account), effects);
            self.follow(turn, None, effects);
        }
        let (calls, operators) = self.guard.shut_out(now.at);
        for call in calls {
            self.switchboard.handle(now, Input::Bar { call, by: By::Server }, effects);
            self.follow(turn, None, effects);
        }
        for operator in operators {
            self.switchboard.handle(now, Input::Expel(operator, Expulsion::Address), effects);
            self.follow(turn, None, effects);
        }
    }

    /// Refuses somebody who came with a wrong secret; the later, the more often that was tried.
    pub(super) fn refuse_later(
        &mut self,
        now: Now,
        (id, origin): (ConnectionId, Origin),
        outbox: OutboxSender,
        code: Code,
        turn: &mut Turn,
    ) {
        let message = tell::kept_out(code);
        let later = self.guard.failed(origin, now.moment);
        if later.is_zero() {
            return self.refuse(id, outbox, message, turn);
        }
        self.peers.stranger(id, outbox);
        self.later.tell(id, now.moment + later, message);
    }

    /// Somebody was let in: what follows beside their place or seat.
    pub(super) fn let_in(
        &mut self,
        now: Now,
        party: Party,
        origin: Origin,
        invitation: Option<SecretHash>,
        turn: &mut Turn,
    ) {
        match party {
            Party::Caller(_) => {
                if let Some(code) = invitation.filter(|code| self.guard.use_up(*code)) {
                    turn.writes.push(Write::InvitationUsed(code));
                }
            }
            Party::Operator(operator) => {
                if let Some(token) = self.guard.token(operator) {
                    turn.writes.push(Write::Credential(operator, token));
                }
                let about = match origin {
                    Origin::Address(address) if !self.guard.policy().private => {
                        format!("from {address}")
                    }
                    _ => String::new(),
                };
                self.audit(now, operator, Did::SignedOn, about, turn);
            }
        }
    }

    fn audit(&self, now: Now, operator: OperatorId, did: Did, about: String, turn: &mut Turn) {
        let Some((name, is_console)) = self.guard.who(operator) else { return };
        let seat = if is_console { Seat::Console } else { Seat::Desk };
        let who = name.as_str().to_owned();
        turn.writes.push(Write::Audit(Audit { at: now.at, who, seat, did, about }));
    }

    /// An operator bans the address of a caller.
    pub(super) fn ban(
        &mut self,
        now: Now,
        (id, from, reference): (ConnectionId, Party, Ref),
        ban: &Ban,
        turn: &mut Turn,
        effects: &mut Vec<Effect>,
    ) {
        let answer = |message| Release::Answer(id, message, reference);
        let Party::Operator(operator) = from else {
            return turn.releases.push(answer(tell::refusal(Refusal::NotAllowed)));
        };
        let call = ban.call;
        // Also once it is over; but not once it has been put back, and is somebody else's.
        let is_own = self.guard.answered_last(operator, call)
            && (self.switchboard.call_of(operator) == Some(call)
                || !self.switchboard.is_open(call));
        let is_theirs = self.guard.is_supervisor(operator) && self.switchboard.is_open(call);
        if !is_own && !is_theirs {
            return turn.releases.push(answer(tell::refusal(Refusal::NoSuchCall)));
        }
        let Some(network) = self.guard.network_of(call, operator) else {
            return turn.releases.push(answer(tell::no_address()));
        };
        let longest = u32::try_from(limits::BAN_LONGEST.as_secs()).unwrap_or(u32::MAX);
        let seconds = i64::from(ban.for_s.clamp(1, longest));
        let until = UnixMillis(now.at.0.saturating_add(seconds * 1000));
        let is_new = self.guard.ban(gate::Ban { network, until }, now.at);
        let mut about = format!("until {}", calendar::utc(until));
        if !self.guard.policy().private {
            about = format!("{network} {about}");
            let (by, reason) = (self.guard.who(operator).map(|(name, _)| name), ban.reason.clone());
            let by = by.map_or_else(String::new, |name| name.as_str().to_owned());
            if is_new {
                turn.writes.push(Write::Ban { network, until, reason, by, at: now.at });
            }
        }
        self.audit(now, operator, Did::Banned, about, turn);
        self.switchboard.handle(now, Input::Bar { call, by: By::Operator }, effects);
        self.follow(turn, None, effects);
        turn.releases.push(answer(Banned { call, until }.into()));
        self.send_away(now, turn, effects);
    }

    /// An operator makes an invitation.
    pub(super) fn invite(
        &mut self,
        now: Now,
        (id, from, reference): (ConnectionId, Party, Ref),
        invite: &Invite,
        turn: &mut Turn,
    ) {
        let answer = |message: Message| Release::Answer(id, message, reference);
        let Party::Operator(operator) = from else {
            return turn.releases.push(answer(tell::refusal(Refusal::NotAllowed)));
        };
        // Who was sent away in this very turn has nobody to hear an answer.
        let Some((by, _)) = self.guard.who(operator) else { return };
        let is_wrong = match invite.until {
            Some(until) => until <= now.at,
            None => invite.uses == Uses::Many,
        };
        if is_wrong {
            let detail = "an invitation ends in the future; one for many calls has to end";
            let error = Error { code: Code::OUT_OF_TURN, detail: Detail::cut(detail) };
            return turn.releases.push(answer(error.into()));
        }
        if self.guard.invitations() >= INVITATIONS {
            let detail = "there are 10000 invitations already: helpline-server invite remove";
            let error = Error { code: Code::TOO_MANY, detail: Detail::cut(detail) };
            return turn.releases.push(answer(error.into()));
        }
        let Ok(code) = Secret::new(invitation_code((self.random)())) else { return };
        let invitation =
            Invitation { code: SecretHash::of(&code), uses: invite.uses, until: invite.until };
        self.guard.invite(invitation);
        let by = by.as_str().to_owned();
        turn.writes.push(Write::Invitation { invitation, by, at: now.at });
        self.audit(now, operator, Did::Invited, invitation.to_string(), turn);
        turn.releases.push(answer(Invited { code, until: invite.until }.into()));
    }
}
