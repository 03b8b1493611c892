//! The operator's part: what follows from an event or something entered.
//!
//! ```text
//!              Admitted       Connected
//! SigningOn ─────────────► On ◄────────► in calls
//!                          │     Ended
//!                          └── ^D, ^C, end of input ──► SigningOff ── Goodbye ──►
//! ```
//!
//! A connection that breaks, and is made again, changes none of this: see [`Connection`]. Requests are never
//! sent twice by themselves, so signing off and a break are asked for again by this part.

use std::collections::BTreeMap;

use helpline_cli_common::exit::{Exit, Failure};
use helpline_proto::{
    code::Code,
    ids::{Answering, CallId, Nonce, Seq, Side},
    limits,
    message::{
        Admitted, Answer, Connected, Message, Next, Offer, Pause, PutBack, Ready, Ref, Resumed,
        SignOff, Withdrawn,
    },
    session::{ClientEvent, Lost},
    text::Text,
    time::UnixMillis,
};

use crate::json::Local;

use super::{
    act::{Act, Entered, Listens, Mode, Part, Show, Standing, note, problem},
    caller::{earlier_said, entry_said, not_said, refusal},
    connection::{Beginning, Connection, may_be_good},
    earlier::Earlier,
    failure,
    input::{self, Ask, Asked, ByeWord, Refused},
    words,
};

mod door;
#[cfg(test)]
mod tests;

/// Where an operator sits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Seat {
    /// A desk of one's own: leaving it is signing off.
    Desk,
    /// The console of the server, which ends with the server.
    Console,
}

/// What is said about a desk from outside.
#[derive(Clone, Debug)]
pub(crate) struct Manner {
    pub(crate) mode: Mode,
    pub(crate) seat: Seat,
    pub(crate) answering: Answering,
    /// What this machine's clock says.
    pub(crate) clock: fn() -> UnixMillis,
    /// What was dialled, for messages.
    pub(crate) server: String,
    pub(crate) beginning: Beginning,
    /// Whether lines and calls are kept for a later process.
    pub(crate) is_kept: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    SigningOn,
    On,
    SigningOff,
    Over,
}

/// A call that isn't over.
#[derive(Debug)]
struct Talk {
    /// The caller's name, as it is shown.
    peer: String,
    /// The operator's side of the call before this nonce was somebody else.
    own_from: Nonce,
    hung_up: bool,
    /// ^C was pressed once.
    warned: bool,
}

/// The operator's part.
#[derive(Debug)]
pub(crate) struct Operator {
    manner: Manner,
    stage: Stage,
    connection: Connection,
    talks: BTreeMap<CallId, Talk>,
    /// What was said before in the calls this operator is back in.
    earlier: BTreeMap<CallId, Earlier>,
    /// Another process had the desk before, and this one hasn't heard yet of its calls.
    returns: bool,
    offer: Option<CallId>,
    on_break: bool,
    /// A person has asked for a caller, and the answer isn't there yet.
    asks: bool,
    /// What to tell once the last ban asked for is there.
    ban: Option<(CallId, String)>,
    /// The same of the last invitation.
    invitation: Option<String>,
    input_ended: bool,
    /// Lines under way.
    unsaid: usize,
    /// Lines of which nobody knows whether they were said.
    lost: usize,
    /// A later process may go on.
    keeps: bool,
    end: Result<Exit, Failure>,
}

impl Operator {
    pub(crate) fn new(manner: Manner) -> Self {
        // A server may have kept its console's ticket.
        let returns = manner.beginning == Beginning::Resumed || manner.seat == Seat::Console;
        Self {
            stage: Stage::SigningOn,
            connection: Connection::new(manner.mode, manner.beginning),
            manner,
            talks: BTreeMap::new(),
            earlier: BTreeMap::new(),
            returns,
            offer: None,
            on_break: false,
            asks: false,
            ban: None,
            invitation: None,
            input_ended: false,
            unsaid: 0,
            lost: 0,
            keeps: returns,
            end: Ok(Exit::Interrupted),
        }
    }

    fn is_json(&self) -> bool {
        self.manner.mode == Mode::Json
    }

    /// Whether a message tells what this screen shows already, as the connection was made again.
    fn is_known(&self, message: &Message) -> bool {
        match message {
            Message::Admitted(_) => self.connection.is_let_in_again(message),
            Message::Connected(connected) => self.talks.contains_key(&connected.call),
            _ => false,
        }
    }

    fn message(&mut self, message: &Message, is_known: bool) -> Vec<Act> {
        if !matches!(message, Message::Admitted(_) | Message::Resumed(_)) {
            self.returns = false;
        }
        match message {
            Message::Admitted(_) | Message::Connected(_) if is_known => Vec::new(),
            Message::Admitted(admitted) => {
                if self.stage == Stage::SigningOn {
                    self.stage = Stage::On;
                }
                self.keeps = true;
                self.signed_on(admitted)
            }
            Message::Resumed(resumed) => self.resumed(resumed),
            Message::Connected(connected) => self.connected(connected),
            Message::Said(said) => {
                let own_from = self.talks.get(&said.call).map(|talk| talk.own_from);
                let is_own = said.from == Side::Operator
                    && own_from.is_some_and(|own_from| said.nonce >= own_from);
                let earlier = self.earlier.entry(said.call).or_default();
                let mut acts: Vec<Act> = earlier.mark(said.seq).into_iter().collect();
                acts.extend(if earlier.shows(said.seq) {
                    earlier_said(self.manner.mode, said, is_own)
                } else {
                    entry_said(self.manner.mode, said, is_own)
                });
                acts.extend(earlier.shown(said.seq));
                acts
            }
            Message::Joined(joined) => self.entry(joined.call, joined.seq, None),
            // One's own leaving is no news.
            Message::Left(left) if self.stage == Stage::SigningOff => {
                self.entry(left.call, left.seq, None)
            }
            Message::Left(left) => {
                let who = words::name(&left.name, left.from);
                self.entry(left.call, left.seq, Some(note(format!("{who} left"))))
            }
            Message::Ended(ended) => {
                let talk = self.talks.remove(&ended.call);
                self.earlier.remove(&ended.call);
                let peer = talk.as_ref().map(|talk| talk.peer.as_str());
                let shown = words::ended(ended, Side::Operator, peer);
                let mut acts = vec![note(shown), Act::Shown(ended.call, ended.seq)];
                acts.extend(self.one_less());
                acts
            }
            Message::PutBack(put_back) => self.put_back(put_back),
            Message::Away(away) if away.from == Side::Caller => {
                self.about_peer(away.call, words::away)
            }
            Message::Back(back) if back.from == Side::Caller => {
                self.about_peer(back.call, words::back)
            }
            Message::Offer(offer) => self.offered(offer),
            Message::Withdrawn(withdrawn) => self.withdrawn(withdrawn),
            Message::Banned(banned) => self.banned(banned),
            Message::Invited(invited) => self.invited(invited),
            Message::Error(error) => {
                self.asks = false;
                vec![problem(words::error(error))]
            }
            _ => Vec::new(),
        }
    }

    fn entry(&mut self, call: CallId, seq: Seq, shown: Option<Act>) -> Vec<Act> {
        let behind = self.earlier.entry(call).or_default().shown(seq);
        shown.into_iter().chain([Act::Shown(call, seq)]).chain(behind).collect()
    }

    fn about_peer(&mut self, call: CallId, words: fn(&str) -> String) -> Vec<Act> {
        let Some(talk) = self.talks.get(&call) else { return Vec::new() };
        let news = note(words(&talk.peer));
        self.earlier.entry(call).or_default().behind(news).into_iter().collect()
    }

    /// The caller waits again, for whoever answers next.
    fn put_back(&mut self, put_back: &PutBack) -> Vec<Act> {
        self.earlier.remove(&put_back.call);
        let Some(talk) = self.talks.remove(&put_back.call) else { return Vec::new() };
        let mut acts = vec![note(format!("{} went back to the queue", talk.peer))];
        acts.extend(self.one_less());
        acts
    }

    /// The connection is there again. What was asked for before may not have been heard.
    fn resumed(&mut self, resumed: &Resumed) -> Vec<Act> {
        let is_new_screen = std::mem::take(&mut self.returns);
        let mut acts = Vec::new();
        let is_listed = |call: &CallId| resumed.calls.iter().any(|listed| listed.call == *call);
        for (_, talk) in self.talks.extract_if(.., |call, _| !is_listed(call)) {
            acts.push(note(format!("you are no longer on the line with {}", talk.peer)));
        }
        self.earlier.retain(|call, _| is_listed(call));
        for listed in &resumed.calls {
            self.earlier.entry(listed.call).or_default().begin(listed.last, is_new_screen);
        }
        // What stands offered is told again.
        self.offer = None;
        if self.stage == Stage::SigningOff {
            acts.push(Act::Request(SignOff {}.into(), Ref::NONE));
        } else if self.on_break || self.input_ended {
            acts.push(Act::Request(Pause {}.into(), Ref::NONE));
        }
        acts.extend(self.one_less());
        acts
    }

    /// One call less, maybe: after the end of the input, the last one was the last thing to wait for.
    fn one_less(&mut self) -> Vec<Act> {
        if self.input_ended { self.sign_off_if_free() } else { Vec::new() }
    }

    fn signed_on(&self, Admitted { line, name, greeting }: &Admitted) -> Vec<Act> {
        let Manner { mode, seat, answering, .. } = self.manner;
        let by_itself = answering == Answering::ByItself;
        if seat == Seat::Console {
            return vec![note("callers are connected one after another; /help lists the commands")];
        }
        let mut acts = vec![note(format!("signed on to line {line} as {name}"))];
        acts.extend(greeting.iter().map(|greeting| note(greeting.as_str())));
        match mode {
            Mode::Terminal | Mode::Plain => acts.push(note(if by_itself {
                "callers are connected one after another; /help lists the commands"
            } else {
                "/next answers a caller; /help lists the commands"
            })),
            Mode::Pipe if !by_itself => acts.push(problem(
                "no caller can be answered here: add --auto to be given callers, or --json to ask for them",
            )),
            Mode::Pipe | Mode::Json => {}
        }
        acts
    }

    fn connected(&mut self, connected: &Connected) -> Vec<Act> {
        let peer = words::name(&connected.peer, Side::Caller);
        self.offer = self.offer.filter(|call| *call != connected.call);
        self.asks = false;
        let earlier = self.earlier.entry(connected.call).or_default();
        let back = if earlier.comes() { "you are back " } else { "" };
        let line = note(format!("{back}on the line with {peer}"));
        let own_from = connected.next_nonce;
        let talk = Talk { peer, own_from, hung_up: false, warned: false };
        self.talks.insert(connected.call, talk);
        earlier.behind(line).into_iter().collect()
    }

    fn offered(&mut self, offer: &Offer) -> Vec<Act> {
        self.offer = Some(offer.call);
        let who = words::name(&offer.name, Side::Caller);
        let line = format!("{who} is waiting ({} waiting)", offer.waiting);
        if self.manner.mode.is_person() {
            vec![Act::Show(Show::Ring(format!("{line}; /next answers")))]
        } else {
            vec![note(line)]
        }
    }

    fn withdrawn(&mut self, withdrawn: &Withdrawn) -> Vec<Act> {
        if self.offer != Some(withdrawn.call) {
            return Vec::new();
        }
        self.offer = None;
        if self.on_break {
            // The caller waits on; it is the operator who doesn't.
            return Vec::new();
        }
        let who = words::name(&withdrawn.name, Side::Caller);
        vec![note(format!("{who} is no longer waiting ({} waiting)", withdrawn.waiting))]
    }

    fn over(&mut self, lost: &Lost) -> Vec<Act> {
        let stage = std::mem::replace(&mut self.stage, Stage::Over);
        let server = self.manner.server.as_str();
        let was_in = self.connection.was_let_in();
        let code = match lost {
            Lost::Goodbye(goodbye) => Some(goodbye.code),
            _ => None,
        };
        self.keeps = was_in && may_be_good(lost);
        self.end = match (stage, code) {
            // It has been signed off, or is so anyway.
            (Stage::SigningOff, Some(Code::DONE | Code::NO_SUCH_TICKET)) => Ok(Exit::Ok),
            // It ends with its server, which says why.
            _ if self.manner.seat == Seat::Console
                && matches!(lost, Lost::Goodbye(_) | Lost::Broken) =>
            {
                Ok(Exit::Ok)
            }
            _ if !was_in => Err(failure::not_let_in(server, lost)),
            (_, Some(Code::NO_SUCH_TICKET)) => Err(failure::signed_off(&self.again())),
            (_, Some(Code::SUPERSEDED)) => Err(failure::superseded()),
            _ => {
                let failure = failure::lost(server, lost);
                Err(self.kept(self.unsaid).into_iter().fold(failure, Failure::hint))
            }
        };
        let mut acts = Vec::new();
        if self.end.is_err() && was_in {
            acts.extend(self.connection.over(self.lost + self.unsaid));
        }
        acts.push(Act::Leave);
        acts
    }

    /// The command that signs on again, or goes on.
    fn again(&self) -> String {
        format!("helpline desk {}", self.manner.server)
    }

    fn line(&mut self, line: &str) -> Vec<Act> {
        match input::read(line, self.manner.mode, Side::Operator, ByeWord::HangsUp) {
            Ok(asked) => self.asked(asked),
            Err(refused) => refusal(self.manner.mode, &refused),
        }
    }

    fn asked(&mut self, asked: Asked) -> Vec<Act> {
        let Asked { ask, call, reference } = asked;
        match ask {
            Ask::Nothing => Vec::new(),
            Ask::Say(text) => self.say(text, call, reference),
            Ask::Bye(word) => {
                if self.is_json() || !self.talks.is_empty() {
                    let mut acts = self.say(word, call, reference);
                    if let Ok(call) = self.which(call) {
                        acts.extend(self.hang_up(call, Ref::NONE));
                    }
                    return acts;
                }
                vec![problem(match self.manner.seat {
                    Seat::Desk => "nobody is on the line; ^D signs off",
                    Seat::Console => "nobody is on the line; ^C ends the server",
                })]
            }
            Ask::HangUp => match self.which(call) {
                Ok(call) => self.hang_up(call, reference),
                Err(why) => self.refused(reference, why),
            },
            Ask::Typing => match self.which(call) {
                Ok(call) => vec![Act::Typing(call)],
                Err(why) => self.refused(reference, why),
            },
            // A program hears of it from the link, with its reference.
            Ask::Answer(_)
            | Ask::Next
            | Ask::Ready
            | Ask::Pause
            | Ask::Ban { .. }
            | Ask::Invite(..)
                if self.connection.is_offline() && !self.is_json() =>
            {
                vec![problem("there is no connection at the moment; ask again when there is")]
            }
            Ask::Answer(call) => vec![Act::Request(Answer { call }.into(), reference)],
            Ask::Ban { for_s, reason } => self.ban(call, for_s, reason, reference),
            // These are about no call; one that is named must at least be current.
            Ask::Next | Ask::Ready | Ask::Pause | Ask::Invite(..)
                if call.is_some() && self.which(call).is_err() =>
            {
                self.refused(reference, Local::NoSuchCall)
            }
            Ask::Invite(uses, until) => vec![self.invite(uses, until, reference)],
            Ask::Next => {
                self.asks = self.manner.mode.is_person();
                vec![Act::Request(Next {}.into(), reference)]
            }
            Ask::Ready | Ask::Pause if self.connection.is_offline() => {
                let request = if ask == Ask::Ready { Ready {}.into() } else { Pause {}.into() };
                vec![Act::Request(request, reference)]
            }
            Ask::Ready => {
                self.on_break = false;
                vec![Act::Request(Ready {}.into(), reference), note("ready for callers")]
            }
            Ask::Pause => {
                self.on_break = true;
                vec![
                    Act::Request(Pause {}.into(), reference),
                    note("a break: no callers come until /ready"),
                ]
            }
            Ask::Help => vec![note(match self.manner.seat {
                Seat::Desk => words::OPERATOR_HELP,
                Seat::Console => words::CONSOLE_HELP,
            })],
        }
    }

    /// The call that is meant: the one named, or the only one there is.
    fn which(&self, call: Option<CallId>) -> Result<CallId, Local> {
        let mut calls = self.talks.keys().copied();
        match call {
            Some(call) if self.talks.contains_key(&call) => Ok(call),
            Some(_) => Err(Local::NoSuchCall),
            None => match (calls.next(), calls.next()) {
                (Some(only), None) => Ok(only),
                _ => Err(Local::WhichCall),
            },
        }
    }

    fn refused(&self, reference: Ref, code: Local) -> Vec<Act> {
        let detail = match code {
            Local::WhichCall => "name a call: there isn't exactly one",
            _ => "that call is not current",
        };
        refusal(self.manner.mode, &Refused { reference, code, detail: detail.to_owned() })
    }

    fn say(&mut self, text: Text, call: Option<CallId>, reference: Ref) -> Vec<Act> {
        let meant = match self.which(call) {
            Ok(meant) => meant,
            Err(why) => {
                let mut acts = not_said(self.manner.mode, call, &text, reference, why);
                if self.manner.mode.is_person() {
                    acts.push(note("nobody is on the line"));
                }
                return acts;
            }
        };
        vec![Act::Say { call: meant, text, reference }]
    }

    fn hang_up(&mut self, call: CallId, reference: Ref) -> Vec<Act> {
        if let Some(talk) = self.talks.get_mut(&call) {
            talk.hung_up = true;
        }
        let mut acts = vec![Act::HangUp { call, reference }];
        if self.connection.is_offline() {
            acts.push(note("it hangs up as soon as there is a connection"));
        }
        acts
    }

    /// ^D on an empty line: the current call ends, or the desk is left.
    fn end_of_line(&mut self) -> Vec<Act> {
        let open = self.talks.iter().find(|(_, talk)| !talk.hung_up).map(|(call, _)| *call);
        match (open, self.manner.seat) {
            (Some(call), _) => self.hang_up(call, Ref::NONE),
            // The end of the last call is under way.
            (None, _) if !self.talks.is_empty() => Vec::new(),
            (None, Seat::Console) => vec![note("nobody is on the line; ^C ends the server")],
            (None, Seat::Desk) => self.sign_off(),
        }
    }

    fn interrupted(&mut self, draft: &str) -> Vec<Act> {
        let mut acts = Vec::new();
        if !draft.trim().is_empty() {
            acts.push(note(words::not_said(draft)));
        }
        let unwarned = self.talks.values_mut().find(|talk| !talk.warned && !talk.hung_up);
        match (self.stage, unwarned) {
            (Stage::SigningOn | Stage::SigningOff | Stage::Over, _) => acts.extend(self.leave()),
            (Stage::On, Some(talk)) => {
                talk.warned = true;
                acts.push(Act::Show(Show::Warning(format!(
                    "on the line with {}: ^C again lets them wait for somebody else, and signs off",
                    talk.peer
                ))));
            }
            (Stage::On, None) => acts.extend(self.sign_off()),
        }
        acts
    }

    /// Nothing more is waited for.
    fn leave(&mut self) -> Vec<Act> {
        let mut acts = Vec::new();
        if self.stage != Stage::Over {
            self.keeps &= self.connection.is_offline() || self.stage == Stage::SigningOn;
            acts.extend(self.kept(self.unsaid).map(|kept| Act::Show(Show::Warning(kept))));
        }
        acts.push(Act::Leave);
        acts
    }

    fn sign_off(&mut self) -> Vec<Act> {
        if self.stage != Stage::On {
            return Vec::new();
        }
        self.stage = Stage::SigningOff;
        if self.connection.is_offline() {
            return vec![note("it signs off as soon as there is a connection; ^C leaves now")];
        }
        vec![Act::Request(SignOff {}.into(), Ref::NONE)]
    }

    fn sign_off_if_free(&mut self) -> Vec<Act> {
        if self.talks.is_empty() { self.sign_off() } else { Vec::new() }
    }
}

impl Part for Operator {
    fn told(&mut self, event: ClientEvent, standing: Standing) -> Vec<Act> {
        self.unsaid = standing.unsaid;
        if let (Seat::Console, ClientEvent::Offline(Lost::Goodbye(goodbye))) =
            (self.manner.seat, &event)
            && goodbye.code == Code::STOPPING
        {
            // There is no use in waiting for the server that this is the console of.
            return self.over(&Lost::Goodbye(goodbye.clone()));
        }
        let is_known = matches!(&event, ClientEvent::Told(_, message) if self.is_known(message));
        let mut acts = self.connection.told(&event, standing, is_known);
        match event {
            ClientEvent::Welcomed(_) => {}
            ClientEvent::Offline(_) => {
                if std::mem::take(&mut self.asks) {
                    acts.push(note("/next may not have been heard; ask again if nobody comes"));
                }
            }
            ClientEvent::Told(_, message) => acts.extend(self.message(&message, is_known)),
            ClientEvent::NotSaid { text, why, .. } => {
                self.lost += usize::from(why.is_none());
                acts.push(problem(words::unsaid(text.as_str(), why)));
            }
            ClientEvent::Over(lost) => acts.extend(self.over(&lost)),
        }
        acts
    }

    fn entered(&mut self, entered: Entered) -> Vec<Act> {
        match entered {
            Entered::Line(line) => self.line(&line),
            Entered::TooLong => refusal(self.manner.mode, &input::too_long()),
            Entered::Interrupt { draft } => self.interrupted(&draft),
            Entered::Closed => match self.stage {
                Stage::On => self.sign_off(),
                Stage::SigningOn | Stage::SigningOff | Stage::Over => self.leave(),
            },
            Entered::End if self.manner.mode.is_person() => self.end_of_line(),
            Entered::End => {
                self.input_ended = true;
                let mut acts = Vec::new();
                if !self.connection.is_offline() {
                    acts.push(Act::Request(Pause {}.into(), Ref::NONE));
                }
                acts.extend(self.sign_off_if_free());
                acts
            }
        }
    }

    fn listens(&self) -> Listens {
        let takes_lines = match self.manner.mode {
            Mode::Terminal | Mode::Plain | Mode::Json => true,
            Mode::Pipe => self.talks.values().any(|talk| !talk.hung_up),
        };
        match (self.stage, self.input_ended, takes_lines) {
            (Stage::On, false, true) => Listens::Yes,
            (Stage::On, false, false) => Listens::ForTheEnd,
            _ => Listens::No,
        }
    }

    fn talks_in(&self) -> Option<CallId> {
        self.which(None).ok()
    }

    fn keeps(&self) -> bool {
        self.keeps
    }

    fn kept(&self, unsaid: usize) -> Option<String> {
        if !self.keeps || !self.manner.is_kept {
            return None;
        }
        let lines = match unsaid {
            0 => String::new(),
            unsaid => format!(", and {} not said yet", words::lines(unsaid)),
        };
        let grace = words::minutes(limits::OPERATOR_GRACE);
        Some(format!("the desk is kept for {grace}{lines}; to go on: {}", self.again()))
    }

    fn end(self) -> Result<Exit, Failure> {
        self.end
    }
}
