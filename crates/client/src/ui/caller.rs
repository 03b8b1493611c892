//! The caller's part: what follows from an event or something entered.
//!
//! ```text
//!           Place             Connected
//! Joining ─────────► Waiting ◄─────────► Talking ─────► Over
//!    └──────────────────┴───── Place ───────┴────────────┘
//!        Busy, Closed, Ended, or the connection is lost for good
//! ```
//!
//! A connection that breaks, and is made again, changes none of this: see [`Connection`].

use helpline_cli_common::exit::{Exit, Failure};
use helpline_proto::{
    code::{Code, Why},
    ids::{By, CallId, Side},
    limits,
    message::{Admitted, Away, Back, Ended, Left, Message, Ref, Resumed, Said},
    session::{ClientEvent, Lost},
    text::{Name, Text},
};

use crate::json::{self, Local};

use super::{
    act::{Act, Entered, Listens, Mode, Part, Show, Standing, note, problem},
    connection::{Beginning, Connection, may_be_good},
    earlier::Earlier,
    failure,
    input::{self, Ask, ByeWord, Refused},
    words,
};

/// More lines than this take longer than a second at the rate servers usually allow.
const MANY: usize = limits::SAYS_A_SECOND as usize;

/// What the command line says about a call.
#[derive(Clone, Debug)]
pub(crate) struct Manner {
    pub(crate) mode: Mode,
    pub(crate) bye: ByeWord,
    /// Hang up after the end of the input, once an operator has answered and all is said.
    pub(crate) bye_at_end: bool,
    /// What was dialled, for messages.
    pub(crate) server: String,
    pub(crate) beginning: Beginning,
    /// Whether lines and place are kept for a later process.
    pub(crate) is_kept: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Joining,
    Waiting,
    Talking,
    Over,
}

/// The caller's part.
#[derive(Debug)]
pub(crate) struct Caller {
    manner: Manner,
    stage: Stage,
    connection: Connection,
    earlier: Earlier,
    /// The state of the call is told once more, as the connection was made again.
    is_told_again: bool,
    /// Another process had the call before, and this one hasn't said yet where it is.
    returns: bool,
    call: Option<CallId>,
    /// The place, as it was shown.
    place: Option<String>,
    /// The other side's name, as it is shown.
    peer: Option<String>,
    answered: bool,
    hung_up: bool,
    input_ended: bool,
    /// Lines under way.
    unsaid: usize,
    /// Lines of which nobody knows whether they were said.
    lost: usize,
    /// Some line will not be said.
    not_said: bool,
    /// A later process may go on.
    keeps: bool,
    end: Result<Exit, Failure>,
}

impl Caller {
    pub(crate) fn new(manner: Manner) -> Self {
        let returns = manner.beginning == Beginning::Resumed;
        Self {
            stage: Stage::Joining,
            connection: Connection::new(manner.mode, manner.beginning),
            manner,
            earlier: Earlier::default(),
            is_told_again: false,
            returns,
            call: None,
            place: None,
            peer: None,
            answered: false,
            hung_up: false,
            input_ended: false,
            unsaid: 0,
            lost: 0,
            not_said: false,
            keeps: returns,
            end: Ok(Exit::Interrupted),
        }
    }

    /// Whether a message tells what this screen shows already, as the connection was made again.
    fn is_known(&self, message: &Message) -> bool {
        match message {
            Message::Admitted(_) => self.connection.is_let_in_again(message),
            Message::Place(place) => {
                self.is_told_again && self.place.as_ref() == Some(&words::place(place))
            }
            Message::Connected(connected) => {
                let peer = words::name(&connected.peer, Side::Operator);
                let is_same = self.peer.as_ref() == Some(&peer);
                self.is_told_again && is_same && self.stage == Stage::Talking
            }
            _ => false,
        }
    }

    fn message(&mut self, message: &Message, is_known: bool) -> Vec<Act> {
        match message {
            Message::Admitted(_) if is_known => Vec::new(),
            Message::Admitted(admitted) => greeting(admitted),
            Message::Resumed(resumed) => self.resumed(resumed),
            Message::Place(place) => {
                let text = words::place(place);
                self.in_call(place.call, Stage::Waiting);
                self.returns = false;
                self.place = Some(text.clone());
                if is_known { Vec::new() } else { self.state(note(text)) }
            }
            Message::Connected(connected) => {
                let peer = words::name(&connected.peer, Side::Operator);
                self.in_call(connected.call, Stage::Talking);
                self.answered = true;
                let back = if std::mem::take(&mut self.returns) { "you are back " } else { "" };
                let text = format!("{back}on the line with {peer}");
                self.peer = Some(peer);
                if is_known { Vec::new() } else { self.state(note(text)) }
            }
            Message::Said(said) => {
                let mut acts: Vec<Act> = self.earlier.mark(said.seq).into_iter().collect();
                let is_own = said.from == Side::Caller;
                acts.extend(if self.earlier.shows(said.seq) {
                    earlier_said(self.manner.mode, said, is_own)
                } else {
                    entry_said(self.manner.mode, said, is_own)
                });
                acts.extend(self.earlier.shown(said.seq));
                acts
            }
            Message::Joined(joined) => {
                // It may have ended while this client was away: then nobody tells that it was connected.
                self.answered |= joined.from == Side::Operator;
                let mut acts = vec![Act::Shown(joined.call, joined.seq)];
                acts.extend(self.earlier.shown(joined.seq));
                acts
            }
            Message::Left(left) => self.left(left),
            Message::Ended(ended) => self.ended(ended),
            Message::Busy(busy) => self.over(Err(failure::busy(busy))),
            Message::Closed(closed) => self.over(Err(failure::closed(closed))),
            Message::Away(away) => self.away(away),
            Message::Back(back) => self.back(back),
            Message::Error(error) => vec![problem(words::error(error))],
            _ => Vec::new(),
        }
    }

    fn in_call(&mut self, call: CallId, stage: Stage) {
        self.call = Some(call);
        self.stage = stage;
        self.is_told_again = false;
    }

    /// Shows how it stands with the call, behind what was said earlier.
    fn state(&mut self, state: Act) -> Vec<Act> {
        self.earlier.behind(state).into_iter().collect()
    }

    fn resumed(&mut self, resumed: &Resumed) -> Vec<Act> {
        let listed = resumed.calls.iter().find(|listed| self.is_current_or_first(listed.call));
        let Some(listed) = listed else {
            // A ticket that is good for a call that isn't there.
            return self.over(Err(self.gone()));
        };
        self.call = Some(listed.call);
        self.is_told_again = true;
        self.earlier.begin(listed.last, self.returns);
        Vec::new()
    }

    fn is_current_or_first(&self, call: CallId) -> bool {
        self.call.is_none_or(|current| current == call)
    }

    fn left(&mut self, left: &Left) -> Vec<Act> {
        let mut acts = Vec::new();
        if left.from == Side::Operator {
            let who = words::name(&left.name, left.from);
            // How it went on is told with the place, or with whoever answered next.
            let is_past = self.earlier.has(left.seq);
            acts.push(note(if is_past {
                format!("{who} left")
            } else {
                format!("{who} left; you wait again")
            }));
        }
        acts.push(Act::Shown(left.call, left.seq));
        acts.extend(self.earlier.shown(left.seq));
        acts
    }

    fn away(&mut self, away: &Away) -> Vec<Act> {
        match &self.peer {
            Some(peer) if away.from == Side::Operator => {
                let text = words::away(peer);
                self.state(note(text))
            }
            _ => Vec::new(),
        }
    }

    fn back(&mut self, back: &Back) -> Vec<Act> {
        match &self.peer {
            Some(peer) if back.from == Side::Operator => {
                let text = words::back(peer);
                self.state(note(text))
            }
            _ => Vec::new(),
        }
    }

    fn ended(&mut self, ended: &Ended) -> Vec<Act> {
        let shown = words::ended(ended, Side::Caller, self.peer.as_deref());
        let end = match (ended.by, ended.why, self.stage) {
            (_, Why::TIMED_OUT, _) => Err(failure::timed_out(&self.again(""))),
            (_, Why::BANNED, _) => Err(failure::banned()),
            (By::Server, _, Stage::Talking) => Err(failure::stopped_in_call()),
            (By::Server, _, _) => Err(failure::stopped_while_waiting()),
            (By::Caller | By::Operator, _, _) if self.answered => Ok(Exit::Ok),
            (By::Caller | By::Operator, _, _) => Ok(Exit::Interrupted),
        };
        let mut acts = vec![note(shown), Act::Shown(ended.call, ended.seq)];
        acts.extend(self.over(end));
        acts
    }

    fn over(&mut self, end: Result<Exit, Failure>) -> Vec<Act> {
        self.stage = Stage::Over;
        self.keeps = false;
        self.end = end;
        vec![Act::Leave]
    }

    /// The command that calls this server, again or to go on.
    fn again(&self, option: &str) -> String {
        format!("helpline call {}{option}", self.manner.server)
    }

    /// The ticket is no longer good.
    fn gone(&self) -> Failure {
        let knows_it_was_not = !self.answered && self.manner.beginning == Beginning::New;
        failure::gone(&self.again(""), knows_it_was_not)
    }

    fn lost(&mut self, lost: &Lost) -> Vec<Act> {
        let server = self.manner.server.as_str();
        let was_in = self.connection.was_let_in();
        let code = match lost {
            Lost::Goodbye(goodbye) => Some(goodbye.code),
            _ => None,
        };
        let mut acts =
            if was_in { self.connection.over(self.lost + self.unsaid) } else { Vec::new() };
        let keeps = was_in && may_be_good(lost);
        let end = match code {
            // Whoever hung up has what they wanted.
            Some(Code::NO_SUCH_TICKET) if self.hung_up => {
                Ok(if self.answered { Exit::Ok } else { Exit::Interrupted })
            }
            Some(Code::NO_SUCH_TICKET) if was_in => Err(self.gone()),
            Some(Code::SUPERSEDED) if was_in => Err(failure::superseded()),
            _ if !was_in => Err(failure::not_let_in(server, lost)),
            _ => {
                self.keeps = keeps;
                let failure = failure::lost(server, lost);
                Err(self.kept(self.unsaid).into_iter().fold(failure, Failure::hint))
            }
        };
        acts.extend(self.over(end));
        self.keeps = keeps;
        acts
    }

    fn line(&mut self, line: &str) -> Vec<Act> {
        let (mode, bye) = (self.manner.mode, self.manner.bye);
        match input::read(line, mode, Side::Caller, bye) {
            Ok(asked) => match asked.ask {
                Ask::Say(text) => self.say(text, asked.call, asked.reference),
                Ask::Bye(word) => {
                    let mut acts = self.say(word, asked.call, asked.reference);
                    acts.extend(self.hang_up(Ref::NONE));
                    acts
                }
                Ask::HangUp if !self.is_current(asked.call) => {
                    self.refused(&no_such_call(asked.reference))
                }
                Ask::HangUp => self.hang_up(asked.reference),
                Ask::Typing if !self.is_current(asked.call) => {
                    self.refused(&no_such_call(asked.reference))
                }
                Ask::Typing => self.talks_in().map(Act::Typing).into_iter().collect(),
                Ask::Help => vec![note(words::CALLER_HELP)],
                // Operators' requests are not read for a caller.
                Ask::Nothing
                | Ask::Next
                | Ask::Answer(_)
                | Ask::Ready
                | Ask::Pause
                | Ask::Ban { .. }
                | Ask::Invite(..) => Vec::new(),
            },
            Err(refused) => self.refused(&refused),
        }
    }

    fn is_current(&self, call: Option<CallId>) -> bool {
        call.is_none() || call == self.call
    }

    fn say(&mut self, text: Text, call: Option<CallId>, reference: Ref) -> Vec<Act> {
        let current = self.call.filter(|_| self.stage != Stage::Over);
        let Some(current) = current.filter(|_| self.is_current(call)) else {
            let why = if self.is_current(call) { Local::CallEnded } else { Local::NoSuchCall };
            self.not_said = true;
            return not_said(self.manner.mode, call.or(self.call), &text, reference, why);
        };
        self.unsaid += 1;
        vec![Act::Say { call: current, text, reference }]
    }

    fn hang_up(&mut self, reference: Ref) -> Vec<Act> {
        let Some(call) = self.call.filter(|_| self.stage != Stage::Over) else {
            return Vec::new();
        };
        self.hung_up = true;
        let mut acts = vec![Act::HangUp { call, reference }];
        if self.connection.is_offline() {
            acts.push(note("it hangs up as soon as there is a connection; ^C leaves now"));
        }
        acts
    }

    fn refused(&mut self, refused: &Refused) -> Vec<Act> {
        if self.manner.mode == Mode::Pipe {
            // There is nobody to correct it.
            self.not_said = true;
        }
        refusal(self.manner.mode, refused)
    }

    fn interrupted(&mut self, draft: &str) -> Vec<Act> {
        let mut acts = Vec::new();
        if !draft.trim().is_empty() {
            acts.push(note(words::not_said(draft)));
        }
        if self.call.is_none() || self.hung_up || self.stage == Stage::Over {
            // Nothing to hang up, or it can't be said at the moment, or the server takes its time.
            if self.stage != Stage::Over {
                self.end = Ok(Exit::Interrupted);
                self.keeps &= self.connection.is_offline() || self.unsaid > 0 || !self.hung_up;
                acts.extend(self.kept(self.unsaid).map(|kept| Act::Show(Show::Warning(kept))));
            }
            acts.push(Act::Leave);
        } else {
            if self.unsaid > MANY {
                let lines = self.unsaid;
                acts.push(note(format!("{lines} lines are said first; ^C again leaves without")));
            }
            acts.extend(self.hang_up(Ref::NONE));
        }
        acts
    }

    /// Hangs up if nothing keeps this call open any more.
    fn hang_up_if_done(&mut self) -> Vec<Act> {
        let is_done = self.manner.bye_at_end
            && !self.manner.mode.is_person()
            && self.input_ended
            && self.answered
            && self.unsaid == 0
            && !self.hung_up;
        if is_done { self.hang_up(Ref::NONE) } else { Vec::new() }
    }
}

impl Part for Caller {
    fn told(&mut self, event: ClientEvent, standing: Standing) -> Vec<Act> {
        self.unsaid = standing.unsaid;
        let is_known = matches!(&event, ClientEvent::Told(_, message) if self.is_known(message));
        let mut acts = self.connection.told(&event, standing, is_known);
        match event {
            ClientEvent::Welcomed(_) | ClientEvent::Offline(_) => {}
            ClientEvent::Told(_, message) => acts.extend(self.message(&message, is_known)),
            ClientEvent::NotSaid { text, why, .. } => {
                self.lost += usize::from(why.is_none());
                self.not_said = true;
                acts.push(problem(words::unsaid(text.as_str(), why)));
            }
            ClientEvent::Over(lost) => acts.extend(self.lost(&lost)),
        }
        self.keeps |= self.call.is_some() && self.stage != Stage::Over;
        acts.extend(self.hang_up_if_done());
        acts
    }

    fn entered(&mut self, entered: Entered) -> Vec<Act> {
        match entered {
            Entered::Line(line) => self.line(&line),
            Entered::TooLong => self.refused(&input::too_long()),
            Entered::Interrupt { draft } => self.interrupted(&draft),
            Entered::Closed => self.interrupted(""),
            Entered::End if self.manner.mode.is_person() => {
                if self.hung_up {
                    Vec::new()
                } else {
                    self.hang_up(Ref::NONE)
                }
            }
            Entered::End => {
                self.input_ended = true;
                self.hang_up_if_done()
            }
        }
    }

    fn listens(&self) -> Listens {
        let is_done = self.input_ended || (self.hung_up && self.manner.mode == Mode::Pipe);
        if self.call.is_none() || is_done { Listens::No } else { Listens::Yes }
    }

    fn talks_in(&self) -> Option<CallId> {
        self.call.filter(|_| self.stage == Stage::Talking)
    }

    fn keeps(&self) -> bool {
        self.keeps
    }

    fn kept(&self, unsaid: usize) -> Option<String> {
        if !self.keeps || !self.manner.is_kept {
            return None;
        }
        let option = if self.manner.mode.is_person() { "" } else { " --resume" };
        let grace = if self.answered { limits::CALL_GRACE } else { limits::WAITING_GRACE };
        let grace = words::minutes(grace);
        let what = if self.answered { "the call" } else { "your place" };
        let lines = match unsaid {
            0 => String::new(),
            unsaid => format!(", and {} not said yet", words::lines(unsaid)),
        };
        let again = self.again(option);
        Some(format!("{what} is kept for {grace}{lines}; to go on: {again}"))
    }

    fn end(self) -> Result<Exit, Failure> {
        match self.end {
            Ok(Exit::Ok) if self.not_said => Ok(Exit::Other),
            end => end,
        }
    }
}

fn greeting(admitted: &Admitted) -> Vec<Act> {
    admitted.greeting.iter().map(|greeting| note(greeting.as_str())).collect()
}

fn no_such_call(reference: Ref) -> Refused {
    let detail = "that call is not current".to_owned();
    Refused { reference, code: Local::NoSuchCall, detail }
}

/// Shows what was said. An own line stands on an edited terminal only once it is said, in its place
/// among the others; a terminal without editing shows it as it was typed, and programs know it.
pub(super) fn entry_said(mode: Mode, said: &Said, is_own: bool) -> Vec<Act> {
    let (name, text) = (said.name.clone(), said.text.clone());
    let show = match (is_own, mode) {
        (false, _) => Some(Show::Said { name, from: said.from, text }),
        (true, Mode::Terminal) => Some(Show::Own(text)),
        (true, _) => None,
    };
    let shown = Act::Shown(said.call, said.seq);
    show.map(Act::Show).into_iter().chain([shown]).collect()
}

/// Shows what was said before this screen began: nobody has typed it here, so everybody's lines are shown.
pub(super) fn earlier_said(mode: Mode, said: &Said, is_own: bool) -> Vec<Act> {
    let (name, text): (Name, Text) = (said.name.clone(), said.text.clone());
    let show = match mode {
        Mode::Terminal | Mode::Plain if is_own => Show::Own(text),
        _ => Show::Said { name, from: said.from, text },
    };
    vec![Act::Show(show), Act::Shown(said.call, said.seq)]
}

/// Shows what can't be understood or done.
pub(super) fn refusal(mode: Mode, refused: &Refused) -> Vec<Act> {
    let Refused { reference, code, detail } = refused;
    if mode == Mode::Json {
        let line = json::error(*reference, *code, detail);
        return line.map(|line| Act::Show(Show::Json(line))).into_iter().collect();
    }
    let not_said = if *code == Local::TooLong { "not said: " } else { "" };
    vec![problem(format!("{not_said}{detail}"))]
}

/// Shows a line that can't be said.
pub(super) fn not_said(
    mode: Mode,
    call: Option<CallId>,
    text: &Text,
    reference: Ref,
    why: Local,
) -> Vec<Act> {
    if mode != Mode::Json {
        return vec![problem(words::not_said(text.as_str()))];
    }
    let detail = match why {
        Local::WhichCall => "name a call: there isn't exactly one",
        Local::CallEnded => "the call has ended",
        _ => "that call is not current",
    };
    let error = json::error(reference, why, detail);
    let not_said = json::not_said(reference, call, text.as_str(), why.name());
    error.into_iter().chain(not_said).map(|line| Act::Show(Show::Json(line))).collect()
}

#[cfg(test)]
mod tests;
