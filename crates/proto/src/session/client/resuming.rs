//! Losing a connection, and coming back on another one.

use crate::{
    code::Code,
    ids::{CallId, Nonce, Resumable, Seq},
    limits,
    message::{EndSeen, Hello, Ref, Resume, Resumed, Shown},
    text::Text,
    time::Moment,
    version,
};

use super::{
    ClientEvent, ClientSession, Lost, Phase,
    call::{HangingUp, OpenCall},
    fail,
    requests::Asked,
};

impl ClientSession {
    /// Takes in a line that an earlier process with the same ticket was asked to say, in nonce order, before
    /// anything else happens; it goes with [`Opening::Resume`](super::Opening::Resume). The line is said if it isn't recorded and the
    /// call goes on.
    ///
    /// The nonce has to be the one that [`unsaid_lines`](Self::unsaid_lines) told last.
    pub fn restore(&mut self, call: CallId, nonce: Nonce, text: Text) {
        let open = self.calls.entry(call).or_insert_with(|| OpenCall::new(nonce));
        open.outbox.restore(nonce, text);
    }

    /// Goes on over a new connection, begun at this moment.
    ///
    /// Only after [`ClientEvent::Offline`]; otherwise nothing happens.
    pub fn connected(&mut self, begun: Moment) {
        if self.phase != Phase::Offline {
            return;
        }
        self.phase = Phase::Greeting;
        (self.begun, self.sent, self.heard) = (begun, begun, begun);
        let agent = self.agent.clone();
        let hello = Hello { versions: version::SPOKEN, features: 0, agent };
        self.push(Ref::NONE, hello.into());
    }

    /// Where this client is: what it has handed out it will show.
    pub(super) fn resume(&self) -> Resume {
        let heard = self.calls.iter().map(|(call, open)| Shown { call: *call, seq: open.heard });
        let shown = heard.filter(|shown| shown.seq > Seq(0)).chain(self.seen.iter().copied());
        let shown = shown.take(limits::RESUMED_CALLS).collect();
        Resume { ticket: self.ticket.clone(), side: self.side, shown }
    }

    /// The server lists this client's calls. What isn't listed is over.
    pub(super) fn resumed(&mut self, resumed: &Resumed) -> bool {
        // It comes once, before anything could have been said.
        let is_due = self.resumes || (self.calls.is_empty() && self.seen.is_empty());
        if !is_due {
            self.out_of_turn("resumed has no place here".into());
            return false;
        }
        self.resumes = false;
        let is_listed = |call: &CallId| resumed.calls.iter().any(|listed| listed.call == *call);
        // Once each, however often a server lists it.
        let seen: Vec<CallId> = self.seen.iter().map(|seen| seen.call).filter(is_listed).collect();
        for call in seen {
            self.push(Ref::NONE, EndSeen { call }.into());
        }
        for listed in &resumed.calls {
            let call = listed.call;
            if self.has_seen(call) {
                continue;
            }
            if !self.open(call, listed.next_nonce) {
                return false;
            }
            let Some(open) = self.calls.get_mut(&call) else { continue };
            if listed.last < open.heard {
                let known = open.heard;
                self.out_of_turn(format!("it has lost entry {}, which was told", known.0));
                return false;
            }
            open.outbox.resume(listed.next_nonce);
        }
        let gone: Vec<CallId> =
            self.calls.keys().filter(|call| !is_listed(call)).copied().collect();
        for call in gone {
            self.gone(call, Code::NO_SUCH_CALL);
        }
        true
    }

    /// The call isn't this client's any more, and its end will not come.
    pub(super) fn gone(&mut self, call: CallId, why: Code) {
        self.give_up(call, Some(why));
        let Some(open) = self.calls.remove(&call) else { return };
        if let (None, HangingUp::Wanted(theirs) | HangingUp::Sent(theirs)) =
            (open.end, open.hang_up)
        {
            fail(&mut self.events, theirs, why, "the call is gone already");
        }
    }

    /// This connection is of no more use.
    pub(super) fn lose(&mut self, lost: Lost) {
        if matches!(self.phase, Phase::Offline | Phase::Over) {
            return;
        }
        // Before it has been let in, or has asked to be, there is nothing to come back to.
        let has_begun = self.has_asked || self.opening.is_none();
        if !self.may_come_back(&lost) || !has_begun {
            return self.lose_for_good(lost);
        }
        if self.phase == Phase::Asking {
            self.ghosts.given_up(self.begun);
        }
        self.phase = Phase::Offline;
        self.transmit.clear();
        for asked in self.requests.give_up() {
            if let Asked::Other(theirs) = asked {
                let detail = "the connection broke before the answer came";
                fail(&mut self.events, theirs, Code::UNANSWERED, detail);
            }
        }
        self.calls.values_mut().for_each(OpenCall::offline);
        self.events.push_back(ClientEvent::Offline(lost));
    }

    fn may_come_back(&mut self, lost: &Lost) -> bool {
        match lost {
            Lost::Goodbye(goodbye) if goodbye.code == Code::SUPERSEDED => {
                self.ghosts.superseded(self.heard)
            }
            // Below 100 what this client sent is what the server found fault with: it would again.
            Lost::Goodbye(goodbye) => goodbye.resumable == Resumable::Yes && goodbye.code.0 >= 100,
            // Somebody else may answer for a while, in a hotel's network for example.
            Lost::NotHelpline(_) => self.opening.is_none(),
            Lost::NoAnswer | Lost::Silent | Lost::Broken | Lost::Gap(_) => true,
        }
    }

    fn lose_for_good(&mut self, lost: Lost) {
        let calls: Vec<CallId> = self.calls.keys().copied().collect();
        let why = match &lost {
            Lost::Goodbye(goodbye) => Some(goodbye.code),
            _ => None,
        };
        for call in calls {
            self.give_up(call, why);
        }
        self.calls.clear();
        self.end(lost);
    }
}
