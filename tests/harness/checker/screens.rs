//! What anybody can see: what is typed, shown, and called not said.

use std::collections::{BTreeMap, BTreeSet};

use helpline_proto::{
    ids::{CallId, Seq, Side},
    message::Message,
};

use super::{
    Checker, Invariant, Item, Line, Party, PartyId, Presence, Screen, ScreenId, Stage, Violation,
    What, head, index, number, print,
};

impl Checker {
    /// Knows nothing yet, and that what it isn't told may have happened.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The first promise that was broken.
    #[must_use]
    pub fn violation(&self) -> Option<&Violation> {
        self.violation.as_ref()
    }

    /// Somebody with a ticket of their own comes to the line.
    pub fn party(&mut self, side: Side) -> PartyId {
        let id = PartyId(number(self.parties.len()));
        self.parties.push(Party {
            side,
            presence: Presence::AwaySince(self.now),
            unsure: false,
            call: None,
            wants_off: false,
            signed_off: false,
            seen: BTreeSet::new(),
        });
        id
    }

    /// A process of a party starts. One that goes on where `after` was has its unsaid lines, and says them
    /// before its own.
    pub fn screen_opened(&mut self, party: PartyId, after: Option<ScreenId>) -> ScreenId {
        let id = ScreenId(number(self.screens.len()));
        let lane = match after {
            Some(after) => self.screen(after).lane,
            None => {
                self.lanes += 1;
                self.lanes
            }
        };
        self.screens.push(Screen { party, lane, open: true, calls: BTreeMap::new() });
        id
    }

    /// A process ended: its screen owes nothing more, and is still a prefix.
    pub fn screen_closed(&mut self, screen: ScreenId) {
        self.screen(screen).open = false;
    }

    /// A line was typed, and taken.
    pub fn typed(&mut self, screen: ScreenId, call: CallId, text: &str) {
        let lane = self.screen(screen).lane;
        self.order += 1;
        let mut head = [0; 12];
        head.iter_mut().zip(text.bytes()).for_each(|(place, byte)| *place = byte);
        let line = Line {
            call,
            head,
            lane,
            order: self.order,
            recorded: false,
            shown_as_said: false,
            not_said: None,
            kept: false,
        };
        let known = self.lines.insert(print(text), line);
        assert!(known.is_none(), "every text is typed once");
    }

    /// A line was shown as not said: for sure, or as one of which nobody knows.
    pub fn not_said(&mut self, text: &str, for_sure: bool) {
        let Some(line) = self.lines.get_mut(&print(text)) else {
            return self.violated(Invariant::I5, format!("nobody typed {}", head(text)));
        };
        line.not_said = Some(for_sure || line.not_said == Some(true));
        if for_sure && line.recorded {
            let detail = format!("shown as not said, and recorded: {}", head(text));
            self.violated(Invariant::I10, detail);
        }
    }

    /// A client that ended says it keeps this line unsaid.
    pub fn kept_unsaid(&mut self, text: &str) {
        if let Some(line) = self.lines.get_mut(&print(text)) {
            line.kept = true;
        }
    }

    /// Somebody asks for the call to end.
    pub fn hung_up(&mut self, call: CallId, side: Side) {
        self.call(call).hung_up[index(side)] = true;
    }

    /// An operator asks to leave.
    pub fn wants_off(&mut self, party: PartyId) {
        self.member(party).wants_off = true;
    }

    /// A screen shows an entry.
    pub fn shown(&mut self, screen: ScreenId, message: &Message) {
        let Some((id, seq, item)) = Item::of(message) else { return };
        let at = usize::try_from(seq.0).unwrap_or(usize::MAX);
        let party = self.screen(screen).party;
        let side = self.member(party).side;
        let shown = self.screen(screen).calls.entry(id).or_default();
        let before = shown.len();
        shown.push(item);
        if before + 1 != at {
            let detail = format!("{screen:?} shows entry {at} of {id} behind {before}");
            return self.violated(Invariant::I2, detail);
        }
        let knows = self.knows_records;
        let call = self.call(id);
        if call.caller.is_none() && side == Side::Caller {
            call.caller = Some(party);
        }
        let belongs = match side {
            Side::Caller => call.caller == Some(party),
            Side::Operator => !knows || call.operators.contains(&party),
        };
        let recorded = call.transcript.get(at - 1).copied();
        if !belongs {
            let detail = format!("{screen:?} shows entry {at} of {id}, which isn't its call");
            return self.violated(Invariant::I5, detail);
        }
        match recorded {
            Some(recorded) if recorded != item => {
                let detail = format!("entry {at} of {id} is {recorded:?}, shown is {item:?}");
                return self.violated(Invariant::I2, detail);
            }
            None if knows => {
                let detail = format!("entry {at} of {id} is shown, and not recorded: {item:?}");
                return self.violated(Invariant::I4, detail);
            }
            _ => {}
        }
        match item.what {
            What::Said(from, _) => self.said(id, item, from == side),
            What::Ended(..) => {
                self.member(party).seen.insert(id);
            }
            _ => {}
        }
    }

    fn said(&mut self, call: CallId, item: Item, own: bool) {
        match self.lines.get_mut(&item.print) {
            Some(line) if line.call == call => line.shown_as_said |= own,
            _ => self.violated(Invariant::I5, format!("nobody typed that in {call}: {item:?}")),
        }
    }

    /// A screen shows that a call isn't its party's any more, as it was put back. Should the party answer it
    /// again, it is shown from the beginning.
    pub fn put_back(&mut self, screen: ScreenId, call: CallId) {
        let shown = self.screen(screen).calls.remove(&call);
        let known = self.calls.get(&call).map(|call| &call.transcript);
        if let (Some(shown), Some(known)) = (shown, known)
            && self.knows_records
            && !known.starts_with(&shown)
        {
            self.violated(Invariant::I2, format!("{screen:?} isn't a prefix of {call}"));
        }
    }

    /// The server doesn't list a call, that a screen has open, among those of a party that is back.
    pub fn unlisted(&mut self, screen: ScreenId, id: CallId) {
        let party = self.screen(screen).party;
        let member = self.member(party);
        let let_go = member.signed_off || member.seen.contains(&id);
        let call = self.call(id);
        let belongs = call.stage == Stage::Ended(Some(party))
            || (call.over && call.caller == Some(party) && !call.given_up);
        if belongs && !let_go && self.knows_facts {
            let detail = format!("{screen:?} isn't told the end of {id}");
            return self.violated(Invariant::I2, detail);
        }
        self.put_back(screen, id);
    }

    /// The server says that a screen's ticket stands for nobody. True if its party has lost nothing by that.
    pub fn turned_away(&mut self, screen: ScreenId) {
        let id = self.screen(screen).party;
        let party = self.member(id);
        let (side, gone) = (party.side, party.signed_off);
        let lost = match side {
            Side::Operator => !gone,
            Side::Caller => {
                let seen = self.member(id).seen.clone();
                let mut own = self.calls.iter().filter(|(_, call)| call.caller == Some(id));
                own.any(|(call, it)| !it.given_up && !seen.contains(call))
            }
        };
        if lost && self.knows_facts {
            let detail = format!("{screen:?} is told that its ticket stands for nobody");
            self.violated(Invariant::I7, detail);
        }
    }

    /// The server told something with a gap, and nothing on the way left anything out.
    pub fn gap(&mut self, screen: ScreenId, behind: Seq) {
        let detail = format!("{screen:?} is told something with a gap behind {}", behind.0);
        self.violated(Invariant::I2, detail);
    }

    /// Anything else that may not be.
    pub fn violated(&mut self, invariant: Invariant, detail: String) {
        self.violation.get_or_insert(Violation { invariant, detail });
    }
}
