//! Bans and invitations, as an operator asks for them and hears of them.

use helpline_proto::{
    ids::{CallId, Uses},
    message::{Ban, Banned, Invite, Invited, Ref},
    text::Detail,
    time::UnixMillis,
};

use crate::{
    json::Local,
    ui::{
        act::{Act, note, problem},
        input::Until,
        span,
    },
};

use super::Operator;

impl Operator {
    /// A call that is named needn't be this operator's: that is for the server to judge.
    pub(super) fn ban(
        &mut self,
        call: Option<CallId>,
        for_s: u32,
        reason: Detail,
        reference: Ref,
    ) -> Vec<Act> {
        let Some(call) = call.or_else(|| self.which(None).ok()) else {
            if self.manner.mode.is_person() {
                return vec![problem("nobody is on the line")];
            }
            return self.refused(reference, Local::WhichCall);
        };
        let who = self.talks.get(&call).map_or("the caller", |talk| talk.peer.as_str());
        self.ban = Some((call, format!("{who}'s address is banned for {}", span::show(for_s))));
        vec![Act::Request(Ban { call, for_s, reason }.into(), reference)]
    }

    pub(super) fn invite(&mut self, uses: Uses, until: Until, reference: Ref) -> Act {
        let (until, how) = match until {
            Until::EndOfTime => (None, None),
            Until::Moment(until) => (Some(until), None),
            Until::Seconds(seconds) => {
                let UnixMillis(now) = (self.manner.clock)();
                let until = now.saturating_add(i64::from(seconds).saturating_mul(1000));
                (Some(UnixMillis(until)), Some(format!("for {}", span::show(seconds))))
            }
        };
        self.invitation = how.or_else(|| (uses == Uses::Once).then(|| "once".to_owned()));
        Act::Request(Invite { uses, until }.into(), reference)
    }

    pub(super) fn banned(&mut self, banned: &Banned) -> Vec<Act> {
        let asked = self.ban.take_if(|(call, _)| *call == banned.call);
        vec![note(
            asked.map_or_else(|| "the caller's address is banned".to_owned(), |(_, told)| told),
        )]
    }

    pub(super) fn invited(&mut self, invited: &Invited) -> Vec<Act> {
        let how = self.invitation.take().map(|how| format!(" ({how})")).unwrap_or_default();
        vec![note(format!("invitation: {}{how}", invited.code.as_str()))]
    }
}
