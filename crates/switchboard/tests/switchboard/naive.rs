//! A line that keeps lists and walks them: too simple to be wrong, too slow to be used.

use helpline_proto::{
    ids::{Answering, By, CallId, Nonce, Seq, Side},
    limits,
    text::Name,
    time::UnixMillis,
};
use helpline_switchboard::{
    Board, Dismissal, Effect, Entry, Hearers, Input, Item, Listed, Notice, OperatorId, Party,
    Presence, QueueNumber, Record, Refusal, Request, Rules, Talk, TicketHash, Wait, Waiter, Why,
};

const TOLD: [usize; 18] = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 16, 24, 32, 48, 64, 96, 128];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Waiting,
    Talking,
    Ended,
}

/// Whether somebody is there, and what has to happen by when.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Here {
    pub(crate) away: Option<u64>,
    grace: u64,
    /// By when to see the end, if there is one to see.
    see_by: u64,
}

#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) id: CallId,
    pub(crate) number: QueueNumber,
    ticket: TicketHash,
    name: Name,
    since: UnixMillis,
    pub(crate) state: State,
    /// The caller belongs to it.
    pub(crate) caller: bool,
    /// The operator who talks, or has not seen the end.
    operator: Option<OperatorId>,
    pub(crate) here: Here,
    passed_over: bool,
    let_go_tried: bool,
    answered: bool,
    /// When it was answered last, on both clocks, and as the how many-eth.
    answer: (Option<u64>, UnixMillis, u64),
    pub(crate) seq: u32,
    pub(crate) nonces: [u32; 2],
}

#[derive(Debug)]
pub(crate) struct Operator {
    pub(crate) id: OperatorId,
    ticket: TicketHash,
    name: Name,
    answering: Answering,
    presence: Presence,
    pub(crate) here: Here,
    pub(crate) call: Option<CallId>,
    turn: u64,
    pub(crate) offered: bool,
}

/// What has to be done, in the order in which it is done when all is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Due {
    PassOver(CallId),
    LetGo(CallId),
    Cut(Party),
    GiveUp(Party),
}

#[derive(Debug)]
pub(crate) struct Naive {
    rules: Rules,
    pub(crate) now: u64,
    stopping: bool,
    next_number: u64,
    pub(crate) calls: Vec<Call>,
    pub(crate) operators: Vec<Operator>,
    /// What stands offered, to those who have it offered.
    pub(crate) offer: Option<(CallId, Name)>,
    /// Counts everything that has an order: turns and answers.
    count: u64,
    talks: Vec<u64>,
    board_changed: bool,
    /// By what is being handled.
    just_changed: bool,
    board_told: u64,
    effects: Vec<Effect>,
}

impl Naive {
    pub(crate) fn new(rules: Rules) -> Self {
        Self {
            rules,
            now: 0,
            stopping: false,
            next_number: 1,
            calls: Vec::new(),
            operators: Vec::new(),
            offer: None,
            count: 0,
            talks: Vec::new(),
            board_changed: false,
            just_changed: false,
            board_told: 0,
            effects: Vec::new(),
        }
    }

    pub(crate) fn at(&self) -> UnixMillis {
        UnixMillis(1_000 + i64::try_from(self.now).unwrap())
    }

    // What there is.

    pub(crate) fn call(&self, id: CallId) -> Option<&Call> {
        self.calls.iter().find(|call| call.id == id)
    }

    fn call_mut(&mut self, id: CallId) -> &mut Call {
        self.calls.iter_mut().find(|call| call.id == id).unwrap()
    }

    pub(crate) fn operator(&self, id: OperatorId) -> Option<&Operator> {
        self.operators.iter().find(|operator| operator.id == id)
    }

    fn operator_mut(&mut self, id: OperatorId) -> &mut Operator {
        self.operators.iter_mut().find(|operator| operator.id == id).unwrap()
    }

    /// Of somebody who belongs to the line.
    pub(crate) fn here(&self, party: Party) -> Option<Here> {
        match party {
            Party::Caller(id) => self.call(id).filter(|call| call.caller).map(|call| call.here),
            Party::Operator(id) => self.operator(id).map(|operator| operator.here),
        }
    }

    fn here_mut(&mut self, party: Party) -> &mut Here {
        match party {
            Party::Caller(id) => &mut self.call_mut(id).here,
            Party::Operator(id) => &mut self.operator_mut(id).here,
        }
    }

    pub(crate) fn present(&self, party: Party) -> bool {
        self.here(party).is_some_and(|here| here.away.is_none())
    }

    pub(crate) fn parties(&self) -> Vec<Party> {
        let callers = self.calls.iter().filter(|call| call.caller);
        let callers = callers.map(|call| Party::Caller(call.id));
        callers.chain(self.operators.iter().map(|operator| Party::Operator(operator.id))).collect()
    }

    pub(crate) fn holder(&self, ticket: TicketHash) -> Option<Party> {
        let held = |party: &Party| match party {
            Party::Caller(id) => self.call(*id).unwrap().ticket == ticket,
            Party::Operator(id) => self.operator(*id).unwrap().ticket == ticket,
        };
        self.parties().into_iter().find(held)
    }

    /// The call that a party may ask about, and its side.
    pub(crate) fn own(&self, party: Party) -> (Side, Option<CallId>) {
        match party {
            Party::Caller(id) => (Side::Caller, Some(id)),
            Party::Operator(id) => {
                (Side::Operator, self.operator(id).and_then(|operator| operator.call))
            }
        }
    }

    /// The other side of the talk a party is in.
    fn other(&self, party: Party) -> Option<(CallId, Party)> {
        let call = self.call(self.own(party).1?).filter(|call| call.state == State::Talking)?;
        Some(match party {
            Party::Caller(_) => (call.id, Party::Operator(call.operator.unwrap())),
            Party::Operator(_) => (call.id, Party::Caller(call.id)),
        })
    }

    /// Those who wait, first come first.
    pub(crate) fn queue(&self) -> Vec<&Call> {
        let waiting = self.calls.iter().filter(|call| call.state == State::Waiting);
        let mut queue: Vec<_> = waiting.collect();
        queue.sort_by_key(|call| call.number);
        queue
    }

    /// The first who isn't passed over, and whether that caller is there.
    fn first(&self) -> Option<(CallId, bool)> {
        let queue = self.queue();
        let first = queue.iter().find(|call| !call.passed_over)?;
        Some((first.id, first.here.away.is_none()))
    }

    fn to_be_answered(&self) -> Option<CallId> {
        self.first().filter(|(_, present)| *present && !self.stopping).map(|(id, _)| id)
    }

    fn free(&self, answering: Answering) -> Vec<OperatorId> {
        let free = |operator: &&Operator| {
            operator.answering == answering
                && operator.call.is_none()
                && operator.presence == Presence::Available
                && operator.here.away.is_none()
        };
        let mut free: Vec<_> = self.operators.iter().filter(free).collect();
        if answering == Answering::ByItself {
            free.sort_by_key(|operator| operator.turn);
        }
        free.into_iter().map(|operator| operator.id).collect()
    }

    pub(crate) fn talking(&self) -> usize {
        self.calls.iter().filter(|call| call.state == State::Talking).count()
    }

    pub(crate) fn finishing(&self) -> usize {
        let both = |party: &&Party| {
            self.other(**party)
                .is_some_and(|(_, other)| self.present(**party) && self.present(other))
        };
        self.parties().iter().filter(both).count() / 2
    }

    fn wait(&self, position: usize) -> Option<Wait> {
        let operators = self.operators.len();
        if self.talks.len() < 3 || operators == 0 {
            return None;
        }
        let mut last: Vec<u64> = self.talks.iter().rev().take(32).copied().collect();
        last.sort_unstable();
        let (q1, q3) = (last[last.len().div_ceil(4) - 1], last[(3 * last.len()).div_ceil(4) - 1]);
        let rounds = u64::try_from(position.div_ceil(operators)).unwrap();
        let seconds = |millis: u64| u32::try_from(millis.div_ceil(1000)).unwrap();
        Some(Wait { low: seconds((rounds - 1) * q1), high: seconds(rounds * q3) })
    }

    fn board(&self) -> Board {
        let queue = self.queue();
        let there = queue.iter().filter(|call| call.here.away.is_none());
        let waiter =
            |call: &&Call| Waiter { call: call.id, name: call.name.clone(), since: call.since };
        let mut talking: Vec<_> =
            self.calls.iter().filter(|call| call.state == State::Talking).collect();
        talking.sort_by_key(|call| call.answer.2);
        let talk = |call: &Call| Talk {
            call: call.id,
            name: call.name.clone(),
            operator: self.operator(call.operator.unwrap()).unwrap().name.clone(),
            since: call.answer.1,
        };
        Board {
            waiting: u32::try_from(queue.len()).unwrap(),
            first: there.take(20).map(waiter).collect(),
            talking: talking.into_iter().take(100).map(talk).collect(),
        }
    }

    fn due(&self) -> Vec<(u64, Due)> {
        let after = |since: u64, time: std::time::Duration| {
            since + u64::try_from(time.as_millis()).unwrap()
        };
        let mut due = Vec::new();
        for call in &self.calls {
            let Some(away) = call.here.away else { continue };
            if call.state == State::Waiting && !call.passed_over {
                due.push((after(away, limits::PASSED_OVER), Due::PassOver(call.id)));
            }
            let by = call.operator.and_then(|id| self.operator(id)).map(|by| by.answering);
            if call.state == State::Talking && by == Some(Answering::ByItself) && !call.let_go_tried
            {
                due.push((after(away, limits::LET_GO_BY_ITSELF), Due::LetGo(call.id)));
            }
        }
        for party in self.parties() {
            let here = self.here(party).unwrap();
            if here.away.is_some() {
                due.push((here.grace, Due::GiveUp(party)));
            } else if self.ended(party) {
                due.push((here.see_by, Due::Cut(party)));
            }
        }
        due.sort();
        due
    }

    /// Whether a party has an end to see.
    fn ended(&self, party: Party) -> bool {
        self.own(party).1.is_some_and(|id| self.call(id).unwrap().state == State::Ended)
    }

    pub(crate) fn poll_timeout(&self) -> Option<u64> {
        let due = self.due().first().map(|(at, _)| *at);
        let board =
            (self.board_changed && !self.operators.is_empty()).then_some(self.board_told + 1_000);
        due.into_iter().chain(board).min()
    }

    // What is told.

    fn tell(&mut self, to: Party, notice: Notice) {
        self.effects.push(Effect::Tell { to, notice });
    }

    fn record(&mut self, record: Record) {
        self.effects.push(Effect::Record(record));
    }

    fn dismiss(&mut self, party: Party, why: Dismissal) {
        self.effects.push(Effect::Dismiss { party, why });
    }

    fn enter(&mut self, id: CallId, item: Item) {
        let at = self.at();
        let given_up = matches!(item, Item::Ended { why: Why::TimedOut, .. });
        let call = self.call_mut(id);
        call.seq += 1;
        let entry = Entry { seq: Seq(call.seq), at, item };
        let hearers = Hearers { caller: call.caller && !given_up, operator: call.operator };
        self.effects.push(Effect::Entry { call: id, entry, hearers });
    }

    /// Tells those their place whose position is told, from a position on.
    fn tell_places(&mut self, from: usize) {
        for position in from..=self.queue().len() {
            if TOLD.contains(&position) {
                self.tell_place(self.queue()[position - 1].id);
            }
        }
    }

    fn position(&self, id: CallId) -> usize {
        self.queue().iter().position(|call| call.id == id).unwrap() + 1
    }

    fn tell_place(&mut self, id: CallId) {
        let position = self.position(id);
        let notice = Notice::Place {
            call: id,
            position: u32::try_from(position).unwrap(),
            waiting: u32::try_from(self.queue().len()).unwrap(),
            wait: self.wait(position),
            next_nonce: Nonce(self.call(id).unwrap().nonces[0]),
        };
        self.tell(Party::Caller(id), notice);
    }

    fn tell_connected(&mut self, to: Party) {
        let (id, _) = self.other(to).unwrap();
        let call = self.call(id).unwrap();
        let operator = self.operator(call.operator.unwrap()).unwrap();
        let (peer, nonce) = match to {
            Party::Caller(_) => (operator.name.clone(), call.nonces[0]),
            Party::Operator(_) => (call.name.clone(), call.nonces[1]),
        };
        self.tell(to, Notice::Connected { call: id, peer, next_nonce: Nonce(nonce) });
    }

    fn tell_board(&mut self) {
        if !self.board_changed || self.now < self.board_told + 1_000 || self.operators.is_empty() {
            return;
        }
        for at in 0..self.operators.len() {
            let board = self.board();
            self.tell(Party::Operator(self.operators[at].id), Notice::Board(board));
        }
        self.board_changed = false;
        self.board_told = self.now;
    }

    pub(crate) fn resumed(&mut self, party: Party) -> Vec<Effect> {
        if self.here(party).is_some() {
            let (side, own) = self.own(party);
            let name = match party {
                Party::Caller(id) => self.call(id).unwrap().name.clone(),
                Party::Operator(id) => self.operator(id).unwrap().name.clone(),
            };
            let calls = own.map(|id| {
                let call = self.call(id).unwrap();
                let next_nonce = Nonce(call.nonces[side as usize]);
                Listed { call: id, next_nonce, last: Seq(call.seq) }
            });
            self.tell(party, Notice::Admitted { name });
            self.tell(party, Notice::Resumed { calls: calls.into_iter().collect() });
        }
        std::mem::take(&mut self.effects)
    }

    pub(crate) fn restated(&mut self, party: Party) -> Vec<Effect> {
        if self.here(party).is_some() {
            if let Some((call, other)) = self.other(party) {
                self.tell_connected(party);
                if !self.present(other) {
                    let from = self.own(other).0;
                    self.tell(party, Notice::Away { call, from });
                }
            }
            match party {
                Party::Caller(id) => {
                    if self.call(id).unwrap().state == State::Waiting {
                        self.tell_place(id);
                    }
                }
                Party::Operator(id) => {
                    if self.operator(id).unwrap().offered {
                        let (call, name) = self.offer.clone().unwrap();
                        let waiting = u32::try_from(self.queue().len()).unwrap();
                        self.tell(party, Notice::Offer { call, name, waiting });
                    }
                    let board = self.board();
                    self.tell(party, Notice::Board(board));
                }
            }
        }
        std::mem::take(&mut self.effects)
    }

    // What happens.

    pub(crate) fn handle(&mut self, input: Input) -> Vec<Effect> {
        self.just_changed = false;
        let mut back = None;
        match input {
            Input::Join { call, ticket, name } => self.join(call, ticket, name),
            Input::SignOn { operator, ticket, name, answering } => {
                self.sign_on(operator, ticket, name, answering);
            }
            Input::Ask { from, request } => {
                if self.present(from)
                    && let Err(refusal) = self.ask(from, request)
                {
                    assert_eq!(self.effects, [], "what is refused isn't begun");
                    self.effects.push(Effect::Refuse(refusal));
                }
            }
            Input::Away(party) => {
                if self.present(party) {
                    self.leave(party);
                    if let Some((call, other)) = self.other(party) {
                        let from = self.own(party).0;
                        self.tell(other, Notice::Away { call, from });
                    }
                }
            }
            Input::Back(party) => {
                back = Some(party);
                self.back(party);
            }
            Input::Bar { call, by } => {
                if self.call(call).is_some_and(|call| call.state != State::Ended) {
                    self.end(call, by, Why::Banned);
                }
            }
            Input::Expel(id, why) => {
                if self.operator(id).is_some() {
                    self.sign_off(id, Dismissal::Expelled(why));
                }
            }
            Input::Stop => self.stopping = true,
            Input::End => {
                self.stopping = true;
                let mut parties = self.parties();
                parties.sort();
                for party in parties {
                    if self.present(party) {
                        self.leave(party);
                        self.dismiss(party, Dismissal::Stopped);
                    }
                }
                return std::mem::take(&mut self.effects);
            }
        }
        self.settle();
        if self.just_changed {
            self.tell_board();
        }
        let effects = std::mem::take(&mut self.effects);
        let told_back =
            |effect: &Effect| matches!(effect, Effect::Tell { to, .. } if Some(*to) == back);
        effects.into_iter().filter(|effect| !told_back(effect)).collect()
    }

    pub(crate) fn timeout(&mut self) -> Vec<Effect> {
        while let Some((at, due)) = self.due().first().copied()
            && at <= self.now
        {
            match due {
                Due::PassOver(id) => self.call_mut(id).passed_over = true,
                Due::LetGo(id) => {
                    self.call_mut(id).let_go_tried = true;
                    if !self.stopping {
                        self.let_go(id);
                    }
                }
                Due::Cut(party) => {
                    self.dismiss(party, Dismissal::EndNotSeen);
                    self.leave(party);
                }
                Due::GiveUp(Party::Operator(id)) => self.sign_off(id, Dismissal::Done),
                Due::GiveUp(Party::Caller(id)) => {
                    if self.call(id).unwrap().state != State::Ended {
                        self.end(id, By::Server, Why::TimedOut);
                    }
                    self.caller_done(id);
                }
            }
        }
        self.settle();
        self.tell_board();
        std::mem::take(&mut self.effects)
    }

    /// The process ends, and another goes on with what was recorded.
    pub(crate) fn restart(&mut self) {
        self.stopping = false;
        self.offer = None;
        self.talks.clear();
        self.calls.sort_by_key(|call| (call.answer.1, call.number));
        for (at, call) in self.calls.iter_mut().enumerate() {
            call.answer = (None, call.answer.1, u64::try_from(at).unwrap());
        }
        for (at, operator) in self.operators.iter_mut().enumerate() {
            operator.turn = u64::try_from(at).unwrap();
            operator.offered = false;
        }
        self.count += 1_000;
        for party in self.parties() {
            self.leave(party);
        }
        self.board_changed = false;
        self.board_told = self.now;
    }

    fn change_board(&mut self) {
        self.board_changed = true;
        self.just_changed = true;
    }

    fn count(&mut self) -> u64 {
        self.count += 1;
        self.count
    }

    fn join(&mut self, id: CallId, ticket: TicketHash, name: Name) {
        if self.call(id).is_some() || self.holder(ticket).is_some() {
            return;
        }
        if self.stopping {
            return self.effects.push(Effect::Refuse(Refusal::Closed));
        }
        let waiting = self.queue().len();
        if waiting >= usize::try_from(self.rules.places).unwrap() {
            self.record(Record::Refused);
            let wait = self.wait(waiting + 1);
            return self.effects.push(Effect::Refuse(Refusal::Busy { wait }));
        }
        let (number, at) = (QueueNumber(self.next_number), self.at());
        self.next_number += 1;
        self.record(Record::Opened { call: id, number, ticket, name: name.clone(), at });
        self.tell(Party::Caller(id), Notice::Admitted { name: name.clone() });
        self.calls.push(Call {
            id,
            number,
            ticket,
            name,
            since: at,
            state: State::Waiting,
            caller: true,
            operator: None,
            here: Here::default(),
            passed_over: false,
            let_go_tried: false,
            answered: false,
            answer: (None, UnixMillis(0), 0),
            seq: 0,
            nonces: [1, 1],
        });
        self.change_board();
        if self.to_be_answered() != Some(id) || self.free(Answering::ByItself).is_empty() {
            self.tell_place(id);
            self.caller_joined(id);
        }
    }

    fn caller_joined(&mut self, id: CallId) {
        let name = self.call(id).unwrap().name.clone();
        self.enter(id, Item::Joined { from: Side::Caller, name });
    }

    fn sign_on(&mut self, id: OperatorId, ticket: TicketHash, name: Name, answering: Answering) {
        if self.operator(id).is_some() || self.holder(ticket).is_some() {
            return;
        }
        let (at, party) = (self.at(), Party::Operator(id));
        let record = Record::SignedOn { operator: id, ticket, name: name.clone(), answering, at };
        self.record(record);
        self.tell(party, Notice::Admitted { name: name.clone() });
        let board = self.board();
        self.tell(party, Notice::Board(board));
        if !self.board_changed || self.operators.is_empty() {
            self.board_changed = false;
            self.board_told = self.now;
        }
        let turn = self.count();
        self.operators.push(Operator {
            id,
            ticket,
            name,
            answering,
            presence: Presence::Available,
            here: Here::default(),
            call: None,
            turn,
            offered: false,
        });
    }

    fn leave(&mut self, party: Party) {
        let now = self.now;
        let grace = match party {
            Party::Operator(id) => {
                self.operator_mut(id).offered = false;
                self.rules.operator_grace
            }
            Party::Caller(id) => {
                let call = self.call_mut(id);
                call.passed_over = false;
                call.let_go_tried = false;
                let (answered, waiting) = (call.answered, call.state == State::Waiting);
                if waiting {
                    self.change_board();
                }
                if answered { self.rules.call_grace } else { self.rules.waiting_grace }
            }
        };
        let here = self.here_mut(party);
        here.away = Some(now);
        here.grace = now + u64::try_from(grace.as_millis()).unwrap();
    }

    fn back(&mut self, party: Party) {
        let Some(before) = self.here(party) else { return };
        let now = self.now;
        *self.here_mut(party) = Here { away: None, grace: 0, see_by: now + 10_000 };
        if before.away.is_none() {
            return;
        }
        if let Party::Caller(id) = party {
            let call = self.call_mut(id);
            call.passed_over = false;
            if call.state == State::Waiting {
                self.change_board();
            }
        }
        if let Some((call, other)) = self.other(party) {
            let from = self.own(party).0;
            self.tell(other, Notice::Back { call, from });
        }
    }

    fn ask(&mut self, from: Party, request: Request) -> Result<(), Refusal> {
        let (side, own) = self.own(from);
        if let Request::Say { call, .. }
        | Request::HangUp { call }
        | Request::Typing { call }
        | Request::EndSeen { call } = &request
            && own != Some(*call)
        {
            return Err(Refusal::NoSuchCall);
        }
        match (from, request) {
            (_, Request::Say { call: id, nonce, text }) => {
                let next = self.call(id).unwrap().nonces[side as usize];
                if self.ended(from) {
                    return Err(Refusal::CallEnded);
                } else if nonce.0 != next {
                    return Err(Refusal::Nonce { next: Nonce(next) });
                }
                let name = match from {
                    Party::Caller(_) => self.call(id).unwrap().name.clone(),
                    Party::Operator(by) => self.operator(by).unwrap().name.clone(),
                };
                self.call_mut(id).nonces[side as usize] += 1;
                self.enter(id, Item::Said { from: side, name, nonce, text });
            }
            (_, Request::HangUp { call: id }) => {
                let why = match self.call(id).unwrap().state {
                    State::Waiting => Why::Abandoned,
                    State::Talking => Why::Bye,
                    State::Ended => return Err(Refusal::CallEnded),
                };
                self.end(id, By::from(side), why);
            }
            (_, Request::Typing { .. }) => {
                if let Some((call, other)) = self.other(from) {
                    self.tell(other, Notice::Typing { call, from: side });
                }
            }
            (_, Request::EndSeen { .. }) if !self.ended(from) => {}
            (Party::Caller(id), Request::EndSeen { .. }) => self.caller_done(id),
            (Party::Operator(by), Request::EndSeen { call }) => {
                self.operator_done(by, call);
                let turn = self.count();
                self.operator_mut(by).turn = turn;
            }
            (Party::Caller(_), _) => return Err(Refusal::NotAllowed),
            (Party::Operator(by), Request::Next) => self.next(by)?,
            (Party::Operator(by), Request::Answer { call }) => {
                if own.is_some() {
                    return Err(Refusal::Occupied);
                } else if self.stopping {
                    return Err(Refusal::Closed);
                }
                let offered = self.free(Answering::ByHand).contains(&by)
                    && self.to_be_answered() == Some(call);
                if !offered {
                    return Err(Refusal::NotOffered);
                }
                self.connect(call, by);
            }
            (Party::Operator(by), Request::Ready) => self.choose(by, Presence::Available),
            (Party::Operator(by), Request::Pause) => self.choose(by, Presence::Break),
            (Party::Operator(by), Request::SignOff) => self.sign_off(by, Dismissal::Done),
        }
        Ok(())
    }

    fn next(&mut self, by: OperatorId) -> Result<(), Refusal> {
        let held = self.operator(by).unwrap().call;
        if let Some(id) = held {
            let call = self.call(id).unwrap();
            let long = call.here.away.is_some_and(|since| since + 20_000 <= self.now);
            if call.state == State::Ended || !long {
                return Err(Refusal::Occupied);
            }
        }
        if self.stopping {
            return Err(Refusal::Closed);
        }
        match self.first() {
            None => Err(Refusal::NobodyWaiting),
            Some((_, false)) => Err(Refusal::FirstIsAway),
            Some((first, true)) => {
                if let Some(held) = held {
                    self.let_go(held);
                }
                self.connect(first, by);
                Ok(())
            }
        }
    }

    fn choose(&mut self, id: OperatorId, presence: Presence) {
        if self.operator(id).unwrap().presence != presence {
            let turn = self.count();
            let operator = self.operator_mut(id);
            operator.presence = presence;
            operator.turn = turn;
            self.record(Record::Chose { operator: id, presence });
        }
    }

    fn connect(&mut self, id: CallId, by: OperatorId) {
        let position = self.position(id);
        let (now, at, answer) = (self.now, self.at(), self.count());
        let operator = self.operator_mut(by);
        operator.call = Some(id);
        operator.offered = false;
        let operator = operator.name.clone();
        let call = self.call_mut(id);
        call.state = State::Talking;
        call.operator = Some(by);
        call.answered = true;
        call.answer = (Some(now), at, answer);
        let silent = call.seq == 0;
        self.change_board();
        self.record(Record::Answered { call: id, operator: by, at });
        self.tell_connected(Party::Caller(id));
        self.tell_connected(Party::Operator(by));
        if silent {
            self.caller_joined(id);
        }
        self.enter(id, Item::Joined { from: Side::Operator, name: operator });
        self.tell_places(position);
    }

    fn put_back(&mut self, id: CallId, operator: Name) {
        self.enter(id, Item::Left { from: Side::Operator, name: operator });
        self.record(Record::PutBack { call: id });
        let now = self.now;
        let call = self.call_mut(id);
        call.state = State::Waiting;
        call.operator = None;
        call.passed_over = call.here.away.is_some_and(|since| since + 20_000 <= now);
        self.change_board();
        self.tell_place(id);
        let position = self.position(id);
        self.tell_places(position + 1);
    }

    fn let_go(&mut self, id: CallId) {
        let by = self.call(id).unwrap().operator.unwrap();
        let name = self.operator(by).unwrap().name.clone();
        self.put_back(id, name);
        self.tell(Party::Operator(by), Notice::PutBack { call: id });
        let turn = self.count();
        let operator = self.operator_mut(by);
        operator.call = None;
        operator.turn = turn;
    }

    fn end(&mut self, id: CallId, by: By, why: Why) {
        let (now, at) = (self.now, self.at());
        let call = self.call(id).unwrap();
        let position = (call.state == State::Waiting).then(|| self.position(id));
        if call.state == State::Talking
            && let Some(since) = call.answer.0
        {
            self.talks.push(now - since);
        }
        self.record(Record::Closed { call: id, at });
        self.enter(id, Item::Ended { by, why });
        let call = self.call_mut(id);
        call.state = State::Ended;
        call.here.see_by = now + 10_000;
        if let Some(operator) = call.operator {
            self.operator_mut(operator).here.see_by = now + 10_000;
        }
        self.change_board();
        if let Some(position) = position {
            self.tell_places(position);
        }
    }

    fn caller_done(&mut self, id: CallId) {
        self.call_mut(id).caller = false;
        self.record(Record::Done { call: id, side: Side::Caller });
        self.dismiss(Party::Caller(id), Dismissal::Done);
        self.forget();
    }

    fn operator_done(&mut self, by: OperatorId, id: CallId) {
        self.operator_mut(by).call = None;
        self.call_mut(id).operator = None;
        self.record(Record::Done { call: id, side: Side::Operator });
        self.forget();
    }

    fn forget(&mut self) {
        self.calls.retain(|call| call.caller || call.operator.is_some());
    }

    fn sign_off(&mut self, id: OperatorId, why: Dismissal) {
        let party = Party::Operator(id);
        let name = self.operator(id).unwrap().name.clone();
        let call = self.operator(id).unwrap().call;
        let ended = self.ended(party);
        if let Some(call) = call.filter(|_| ended) {
            self.operator_done(id, call);
        }
        // The wait that is told is one without this operator.
        self.operators.retain(|operator| operator.id != id);
        if let Some(call) = call.filter(|_| !ended) {
            self.put_back(call, name);
        }
        let at = self.at();
        self.record(Record::SignedOff { operator: id, at });
        self.dismiss(party, why);
    }

    fn settle(&mut self) {
        while let Some(first) = self.to_be_answered()
            && let Some(by) = self.free(Answering::ByItself).first().copied()
        {
            self.connect(first, by);
        }
        let first = self.to_be_answered();
        let offer = first.map(|id| (id, self.call(id).unwrap().name.clone()));
        let free = self.free(Answering::ByHand);
        let waiting = u32::try_from(self.queue().len()).unwrap();
        let same = self.offer.as_ref().map(|(id, _)| *id) == first;
        let before = std::mem::replace(&mut self.offer, offer.clone());
        let mut offers = Vec::new();
        for operator in &mut self.operators {
            let to = Party::Operator(operator.id);
            let stands = offer.as_ref().filter(|_| free.contains(&operator.id));
            if operator.offered && !(same && stands.is_some()) {
                let (call, name) = before.clone().unwrap();
                let notice = Notice::Withdrawn { call, name, waiting };
                self.effects.push(Effect::Tell { to, notice });
                operator.offered = false;
            }
            if let Some((call, name)) = stands.cloned()
                && !operator.offered
            {
                let offer = Effect::Tell { to, notice: Notice::Offer { call, name, waiting } };
                // What stood offered is withdrawn from all before another is offered.
                if same {
                    self.effects.push(offer)
                } else {
                    offers.push(offer)
                }
                operator.offered = true;
            }
        }
        self.effects.extend(offers);
    }
}
