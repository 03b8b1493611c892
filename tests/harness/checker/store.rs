//! What those know who stand at the store: what is recorded, when, and in the end.

use helpline_proto::{ids::CallId, message::Message};

use super::{Call, Checker, Invariant, Item, Stage, Violation, What, index};

impl Checker {
    /// From now on every entry is told at the moment of its commit.
    pub fn knows_records(&mut self) {
        self.knows_records = true;
    }

    /// An entry is recorded now.
    pub fn recorded(&mut self, message: &Message) {
        let Some((id, seq, item)) = Item::of(message) else { return };
        let call = self.calls.entry(id).or_insert_with(Call::new);
        call.transcript.push(item);
        if call.over {
            let detail = format!("{id} goes on behind its end: {item:?}");
            return self.violated(Invariant::I1, detail);
        }
        if u32::try_from(call.transcript.len()) != Ok(seq.0) {
            let detail = format!("entry {} of {id} is number {}", call.transcript.len(), seq.0);
            return self.violated(Invariant::I2, detail);
        }
        match item.what {
            What::Said(side, nonce) => {
                let next = &mut call.next[index(side)];
                let expected = std::mem::replace(next, nonce.0 + 1);
                self.line_recorded(id, item, (nonce.0, expected));
            }
            What::Ended(by, why) => self.ended(id, by, why),
            What::Joined(_) | What::Left(_) => {}
        }
    }

    fn line_recorded(&mut self, id: CallId, item: Item, (nonce, expected): (u32, u32)) {
        let Some(line) = self.lines.get_mut(&item.print) else {
            return self.violated(Invariant::I5, format!("nobody typed that in {id}: {item:?}"));
        };
        let (again, not_said) = (line.recorded, line.not_said);
        line.recorded = true;
        let (lane, call, order) = (line.lane, line.call, line.order);
        if call != id {
            let detail = format!("typed in {call}, recorded in {id}: {item:?}");
            return self.violated(Invariant::I5, detail);
        }
        if again {
            return self.violated(Invariant::I1, format!("recorded twice in {id}: {item:?}"));
        }
        if not_said == Some(true) {
            let detail = format!("recorded in {id}, and shown as not said before: {item:?}");
            return self.violated(Invariant::I10, detail);
        }
        let last = self.last.entry((lane, id)).or_default();
        if *last > order {
            let detail = format!("recorded in {id} behind what was typed later: {item:?}");
            return self.violated(Invariant::I3, detail);
        }
        *last = order;
        if nonce != expected {
            let detail = format!("nonce {nonce} in {id} where {expected} is next: {item:?}");
            self.violated(Invariant::I3, detail);
        }
    }

    /// The transcript of a call as the store has it in the end. Whatever wasn't told as it was recorded counts
    /// as recorded now; what was has to be the same.
    pub fn transcript<'a>(&mut self, call: CallId, entries: impl IntoIterator<Item = &'a Message>) {
        let known = self.calls.entry(call).or_insert_with(Call::new).transcript.len();
        let mut count = 0;
        for message in entries {
            count += 1;
            if count > known {
                if self.knows_records {
                    let detail = format!("entry {count} of {call} comes from nowhere");
                    return self.violated(Invariant::I1, detail);
                }
                self.recorded(message);
                continue;
            }
            let kept = Item::of(message).map(|(_, _, item)| item);
            if kept != self.call(call).transcript.get(count - 1).copied() {
                let detail = format!("entry {count} of {call} has become {kept:?}");
                return self.violated(Invariant::I1, detail);
            }
        }
        if count < known {
            self.violated(Invariant::I1, format!("{call} has {count} of {known} entries left"));
        }
    }

    /// Everything has been told, and everybody was back for long enough.
    ///
    /// # Errors
    /// The first promise that was broken.
    pub fn finish(mut self) -> Result<(), Violation> {
        self.look_back();
        let open = self.calls.iter().find(|(_, call)| !call.over && !call.transcript.is_empty());
        if let Some((id, call)) = open {
            let detail = format!("{id} is {:?} in the end", call.stage);
            self.violated(Invariant::I12, detail);
        }
        self.violation.map_or(Ok(()), Err)
    }

    /// Everything has been told up to an instant at which all was cut off: nobody owes anything more.
    ///
    /// # Errors
    /// The first promise that was broken.
    pub fn cut_off(mut self) -> Result<(), Violation> {
        for screen in &mut self.screens {
            screen.open = false;
        }
        self.look_back();
        self.violation.map_or(Ok(()), Err)
    }

    /// Holds screens and lines against the transcripts.
    fn look_back(&mut self) {
        for at in 0..self.screens.len() {
            self.finish_screen(at);
        }
        let open: Vec<u32> =
            self.screens.iter().filter(|screen| screen.open).map(|screen| screen.lane).collect();
        let lost = self.lines.values().find_map(|line| {
            let living = open.contains(&line.lane);
            let unknown = line.not_said.is_none() && !line.kept && living;
            match (line.shown_as_said, line.recorded) {
                (true, false) => Some((Invariant::I1, "shown as said, and not recorded", line)),
                (false, false) if unknown => {
                    Some((Invariant::I10, "neither recorded nor shown as not said", line))
                }
                _ => None,
            }
        });
        if let Some((invariant, what, line)) = lost {
            let head = String::from_utf8_lossy(&line.head).trim_end_matches('\0').to_owned();
            let detail = format!("a line of {} is {what}: {head}", line.call);
            self.violated(invariant, detail);
        }
    }

    /// A screen is a prefix, and whole if it is open and its party belongs to the call until the end.
    fn finish_screen(&mut self, at: usize) {
        let Some(screen) = self.screens.get(at) else { return };
        let mut found = None;
        for (id, shown) in &screen.calls {
            let Some(call) = self.calls.get(id) else { continue };
            if !call.transcript.starts_with(shown) {
                found = Some((*id, "isn't a prefix"));
            }
            let caller = call.caller == Some(screen.party) && !call.given_up;
            let operator = call.stage == Stage::Ended(Some(screen.party))
                && !self.parties[screen.party.0 as usize].signed_off;
            // With two processes, the one that is there when the call ends is told of it, once.
            let elsewhere = self.parties[screen.party.0 as usize].seen.contains(id);
            let owed = screen.open && (caller || operator) && !elsewhere;
            if owed && shown.len() < call.transcript.len() {
                found = Some((*id, "isn't whole"));
            }
        }
        if let Some((id, what)) = found {
            let detail =
                format!("screen {at} {what}: of {id} it shows {:?}", screen.calls[&id].len());
            self.violated(Invariant::I2, detail);
        }
    }
}
