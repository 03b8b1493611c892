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
                Ask::Nothing | Ask::Next | Ask::Answer(_) | Ask::Ready | Ask::Pause => Vec::new(),
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
mod tests {
    use helpline_proto::{
        code::{Code, Why},
        error::{DecodeError, FrameError},
        ids::{Nonce, Resumable, Seq},
        message::{Busy, Connected, Goodbye, Joined, Listed, Place, Said},
        text::{Detail, LineName, Name},
        time::UnixMillis,
    };

    use super::*;

    const CALL: CallId = CallId([1; 16]);

    fn caller(mode: Mode) -> Caller {
        Caller::new(Manner {
            mode,
            bye: ByeWord::HangsUp,
            bye_at_end: false,
            server: "here:8001".to_owned(),
            beginning: Beginning::New,
            is_kept: true,
        })
    }

    impl Caller {
        /// Told while nothing is unsaid.
        fn told(&mut self, event: ClientEvent) -> Vec<Act> {
            Part::told(self, event, Standing::default())
        }

        /// Told while so many lines are unsaid, and this attempt is due.
        fn told_with(&mut self, event: ClientEvent, unsaid: usize, attempt: u32) -> Vec<Act> {
            Part::told(self, event, Standing { unsaid, attempt })
        }
    }

    fn admitted() -> ClientEvent {
        told(Admitted {
            line: LineName::new("main").unwrap(),
            name: Name::new("Ada").unwrap(),
            greeting: Some(Text::new("Welcome.").unwrap()),
        })
    }

    fn told(message: impl Into<Message>) -> ClientEvent {
        ClientEvent::Told(Ref::NONE, message.into())
    }

    fn place() -> ClientEvent {
        told(Place { call: CALL, position: 1, waiting: 1, wait_s: None, next_nonce: Nonce(1) })
    }

    fn connected() -> ClientEvent {
        let peer = Name::new("Wei").unwrap();
        told(Connected { call: CALL, peer, next_nonce: Nonce(1) })
    }

    fn said(from: Side, text: &str) -> ClientEvent {
        told(Said {
            call: CALL,
            seq: Seq(3),
            from,
            name: Name::new("Wei").unwrap(),
            at: UnixMillis(0),
            text: Text::new(text).unwrap(),
            nonce: Nonce(1),
        })
    }

    fn ended(by: By, why: Why) -> ClientEvent {
        told(Ended { call: CALL, seq: Seq(9), at: UnixMillis(0), by, why })
    }

    fn goodbye(code: Code) -> ClientEvent {
        ClientEvent::Over(Lost::Goodbye(Goodbye {
            code,
            detail: Detail::cut("lines here: main, night"),
            retry_after_s: None,
            resumable: Resumable::No,
        }))
    }

    fn line(text: &str) -> Entered {
        Entered::Line(text.to_owned())
    }

    fn say(text: &str) -> Act {
        Act::Say { call: CALL, text: Text::new(text).unwrap(), reference: Ref::NONE }
    }

    const HANG_UP: Act = Act::HangUp { call: CALL, reference: Ref::NONE };

    /// The exit code after these events.
    fn exit(mode: Mode, events: Vec<ClientEvent>) -> Exit {
        let mut caller = caller(mode);
        let mut acts = Vec::new();
        for event in events {
            acts = caller.told(event);
        }
        assert_eq!(acts.last(), Some(&Act::Leave));
        caller.end().unwrap_or_else(|failure| failure.exit)
    }

    #[test]
    fn the_exit_code_says_how_it_ended() {
        let bye = |by| ended(by, Why::BYE);
        let cases = [
            (vec![place(), connected(), bye(By::Operator)], Exit::Ok),
            (vec![connected(), bye(By::Caller)], Exit::Ok),
            (vec![place(), ended(By::Caller, Why::ABANDONED)], Exit::Interrupted),
            (vec![place(), ended(By::Server, Why::STOPPING)], Exit::TempFail),
            (vec![place(), connected(), ended(By::Server, Why::STOPPING)], Exit::Unavailable),
            (vec![told(Busy { why: Why::FULL, retry_after_s: 30, wait_s: None })], Exit::TempFail),
            (vec![goodbye(Code::NO_SUCH_LINE)], Exit::NoPermission),
            (vec![goodbye(Code::NO_COMMON_VERSION)], Exit::Protocol),
            (vec![goodbye(Code::STOPPING)], Exit::TempFail),
            (vec![admitted(), place(), goodbye(Code::SILENT)], Exit::Unavailable),
            (vec![admitted(), place(), goodbye(Code::SUPERSEDED)], Exit::Unavailable),
            (vec![admitted(), place(), goodbye(Code::NO_SUCH_TICKET)], Exit::TempFail),
            (
                vec![admitted(), place(), connected(), goodbye(Code::NO_SUCH_TICKET)],
                Exit::Unavailable,
            ),
            (vec![place(), ended(By::Server, Why::TIMED_OUT)], Exit::TempFail),
            (vec![connected(), ended(By::Caller, Why::TIMED_OUT)], Exit::TempFail),
            // It was answered while this client was away.
            (
                vec![place(), offline(), resumed(5), joined(4), ended(By::Operator, Why::BYE)],
                Exit::Ok,
            ),
            (vec![ClientEvent::Over(Lost::NoAnswer)], Exit::Unavailable),
            (vec![admitted(), place(), ClientEvent::Over(Lost::Broken)], Exit::Unavailable),
            (
                vec![ClientEvent::Over(Lost::NotHelpline(DecodeError::Frame(
                    FrameError::TooShort { length: 1 },
                )))],
                Exit::Protocol,
            ),
        ];
        for (events, wanted) in cases {
            for mode in [Mode::Terminal, Mode::Plain, Mode::Pipe, Mode::Json] {
                assert_eq!(exit(mode, events.clone()), wanted, "{events:?}");
            }
        }
    }

    #[test]
    fn a_caller_put_back_is_waiting_but_was_answered() {
        let left = || {
            let name = Name::new("Wei").unwrap();
            told(Left { call: CALL, seq: Seq(4), at: UnixMillis(0), from: Side::Operator, name })
        };
        let before = || vec![place(), connected(), left(), place()];
        let with = |event| before().into_iter().chain([event]).collect::<Vec<_>>();
        assert_eq!(exit(Mode::Pipe, with(ended(By::Server, Why::STOPPING))), Exit::TempFail);
        assert_eq!(exit(Mode::Pipe, with(ended(By::Caller, Why::ABANDONED))), Exit::Ok);
    }

    #[test]
    fn a_line_that_was_not_said_shows_in_the_exit_code() {
        let not_said = ClientEvent::NotSaid {
            call: CALL,
            text: Text::new("late").unwrap(),
            reference: Ref::NONE,
            why: Some(Code::CALL_ENDED),
        };
        let events = vec![connected(), not_said.clone(), ended(By::Operator, Why::BYE)];
        assert_eq!(exit(Mode::Pipe, events), Exit::Other);
        let events = vec![connected(), not_said, ended(By::Server, Why::STOPPING)];
        assert_eq!(exit(Mode::Pipe, events), Exit::Unavailable);
        let mut over = caller(Mode::Pipe);
        over.told(connected());
        over.told(ended(By::Operator, Why::BYE));
        assert_eq!(over.entered(line("too late")), [problem("not said: too late")]);
        assert_eq!(over.end(), Ok(Exit::Other));
    }

    #[test]
    fn a_connection_lost_for_good_counts_the_lines_of_unknown_fate() {
        let unsaid = ClientEvent::NotSaid {
            call: CALL,
            text: Text::new("there?").unwrap(),
            reference: Ref(2),
            why: None,
        };
        let mut pipe = caller(Mode::Pipe);
        pipe.told(connected());
        assert_eq!(pipe.told(unsaid.clone()), [problem("maybe not said: there?")]);
        let mut json = caller(Mode::Json);
        json.told(admitted());
        json.told(connected());
        json.told(unsaid);
        let lost = r#"{"kind":"link.lost","ref":0,"body":{"unsaid":1,"attempt":0}}"#;
        let acts = json.told(ClientEvent::Over(Lost::Silent));
        assert_eq!(acts, [Act::Show(Show::Json(lost.to_owned())), Act::Leave]);
        let mut joining = caller(Mode::Json);
        assert_eq!(joining.told(ClientEvent::Over(Lost::Broken)), [Act::Leave]);
    }

    #[test]
    fn nothing_is_read_before_there_is_a_call() {
        let mut caller = caller(Mode::Pipe);
        assert_eq!(caller.listens(), Listens::No);
        caller.told(place());
        assert_eq!(caller.listens(), Listens::Yes);
        assert_eq!(caller.entered(line("hi")), [say("hi")]);
    }

    #[test]
    fn bye_is_said_and_then_hangs_up() {
        let mut pipe = caller(Mode::Pipe);
        pipe.told(connected());
        assert_eq!(pipe.entered(line(" BYE ")), [say("BYE"), HANG_UP]);
        assert_eq!(pipe.listens(), Listens::No, "nothing is read after that");
        let mut terminal = caller(Mode::Terminal);
        terminal.told(connected());
        assert_eq!(terminal.entered(line("bye")), [say("bye"), HANG_UP]);
    }

    #[test]
    fn an_own_line_stands_on_the_terminal_once_it_is_said() {
        let mut terminal = caller(Mode::Terminal);
        terminal.told(connected());
        assert_eq!(terminal.entered(line("hi")), [say("hi")]);
        let own = Act::Show(Show::Own(Text::new("hi").unwrap()));
        assert_eq!(terminal.told(said(Side::Caller, "hi")), [own, Act::Shown(CALL, Seq(3))]);
        let mut plain = caller(Mode::Plain);
        plain.told(connected());
        assert_eq!(plain.told(said(Side::Caller, "hi")), [Act::Shown(CALL, Seq(3))]);
    }

    #[test]
    fn n26_the_end_of_the_input_hangs_up_on_a_terminal_only() {
        let mut terminal = caller(Mode::Terminal);
        terminal.told(place());
        assert_eq!(terminal.entered(Entered::End), [HANG_UP]);
        assert_eq!(terminal.entered(Entered::End), []);
        let mut pipe = caller(Mode::Pipe);
        pipe.told(connected());
        assert_eq!(pipe.entered(Entered::End), []);
        assert_eq!(pipe.listens(), Listens::No);
    }

    #[test]
    fn bye_at_the_end_waits_for_an_answer_and_for_everything_to_be_said() {
        let mut caller = caller(Mode::Pipe);
        caller.manner.bye_at_end = true;
        caller.told(place());
        caller.entered(line("one"));
        assert_eq!(caller.entered(Entered::End), []);
        assert_eq!(caller.told_with(connected(), 1, 0), [note("on the line with Wei")]);
        let acts = caller.told(said(Side::Caller, "one"));
        assert_eq!(acts, [Act::Shown(CALL, Seq(3)), HANG_UP]);
        assert!(!caller.told(said(Side::Operator, "hm")).contains(&HANG_UP), "once is enough");
    }

    #[test]
    fn n25_an_interrupt_hangs_up_and_a_second_one_does_not_wait() {
        let mut waiting = caller(Mode::Terminal);
        waiting.told(place());
        let draft = "half a li".to_owned();
        assert_eq!(
            waiting.entered(Entered::Interrupt { draft }),
            [note("not said: half a li"), HANG_UP]
        );
        assert_eq!(waiting.entered(Entered::Interrupt { draft: String::new() }), [Act::Leave]);
        assert_eq!(waiting.end(), Ok(Exit::Interrupted));
        let mut joining = caller(Mode::Pipe);
        assert_eq!(joining.entered(Entered::Interrupt { draft: String::new() }), [Act::Leave]);
        assert_eq!(joining.end(), Ok(Exit::Interrupted));
    }

    #[test]
    fn a_bad_command_is_an_error_and_the_program_goes_on() {
        let mut caller = caller(Mode::Json);
        caller.told(connected());
        let acts = caller.entered(line(r#"{"kind":"next","ref":6}"#));
        let error = r#"{"kind":"error","ref":6,"body":{"code":"bad_command","detail":"next is for operators"}}"#;
        assert_eq!(acts, [Act::Show(Show::Json(error.to_owned()))]);
        let other = CallId([2; 16]).to_hex();
        let command = format!(r#"{{"kind":"say","body":{{"call":"{other}","text":"x"}}}}"#);
        let lines = caller.entered(line(&command));
        assert!(
            matches!(&lines[..], [Act::Show(Show::Json(error)), Act::Show(Show::Json(not_said))]
            if error.contains("no_such_call") && not_said.contains("link.not_said"))
        );
        assert_eq!(caller.listens(), Listens::Yes);
    }

    fn offline() -> ClientEvent {
        ClientEvent::Offline(Lost::Broken)
    }

    fn resumed(last: u32) -> ClientEvent {
        let listed = Listed { call: CALL, next_nonce: Nonce(1), last: Seq(last) };
        told(Resumed { calls: vec![listed] })
    }

    fn joined(seq: u32) -> ClientEvent {
        let (from, name) = (Side::Operator, Name::new("Wei").unwrap());
        told(Joined { call: CALL, seq: Seq(seq), at: UnixMillis(0), from, name })
    }

    fn left(seq: u32) -> ClientEvent {
        let (from, name) = (Side::Operator, Name::new("Wei").unwrap());
        told(Left { call: CALL, seq: Seq(seq), at: UnixMillis(0), from, name })
    }

    fn gone_on_with(mode: Mode) -> Caller {
        let manner = Manner { beginning: Beginning::Resumed, ..caller(mode).manner };
        Caller::new(manner)
    }

    /// What is shown, as text.
    fn shown(acts: Vec<Act>) -> Vec<String> {
        let shown = acts.into_iter().filter_map(|act| match act {
            Act::Show(Show::Said { name, text, .. }) => Some(format!("{name}: {text}")),
            Act::Show(Show::Own(text)) => Some(format!("you: {text}")),
            Act::Show(
                Show::Note(text) | Show::Problem(text) | Show::Warning(text) | Show::Json(text),
            ) => Some(text),
            Act::Show(Show::Ring(text)) => Some(text),
            _ => None,
        });
        shown.collect()
    }

    fn interrupt() -> Entered {
        Entered::Interrupt { draft: String::new() }
    }

    #[test]
    fn a_break_is_told_once_and_the_screen_goes_on_where_it_was() {
        let mut caller = caller(Mode::Terminal);
        caller.told(admitted());
        caller.told(place());
        caller.told(connected());
        assert_eq!(
            shown(caller.told_with(offline(), 2, 1)),
            ["the connection broke; reconnecting (2 lines not said yet)"]
        );
        assert_eq!(shown(caller.told_with(offline(), 2, 2)), [""; 0]);
        assert_eq!(caller.entered(line("still typing")), [say("still typing")]);
        assert_eq!(shown(caller.told(admitted())), [""; 0], "no second greeting");
        assert_eq!(shown(caller.told(resumed(4))), ["connected again"]);
        assert_eq!(shown(caller.told(connected())), [""; 0]);
        assert_eq!(shown(caller.told(said(Side::Operator, "hm"))), ["Wei: hm"]);
        assert_eq!(
            shown(caller.told(connected())),
            ["on the line with Wei"],
            "news, without a break before it"
        );
    }

    #[test]
    fn a_place_that_has_changed_meanwhile_is_told() {
        let mut caller = caller(Mode::Plain);
        caller.told(admitted());
        caller.told(place());
        for (position, wanted) in [(1, vec![]), (2, vec!["position 2 of 2"])] {
            caller.told_with(offline(), 0, 1);
            caller.told(admitted());
            caller.told(resumed(0));
            let (waiting, wait_s, next_nonce) = (position, None, Nonce(1));
            let place = Place { call: CALL, position, waiting, wait_s, next_nonce };
            assert_eq!(shown(caller.told(told(place))), wanted);
        }
        caller.told_with(offline(), 0, 1);
        caller.told(resumed(5));
        assert_eq!(shown(caller.told(connected())), ["on the line with Wei"]);
        assert_eq!(shown(caller.told(left(5))), ["Wei left"], "it is past");
        assert_eq!(shown(caller.told(left(6))), ["Wei left; you wait again"]);
    }

    #[test]
    fn a_server_that_stops_is_named() {
        let stopping = || {
            ClientEvent::Offline(Lost::Goodbye(Goodbye {
                code: Code::STOPPING,
                detail: Detail::cut(""),
                retry_after_s: None,
                resumable: Resumable::Yes,
            }))
        };
        let mut caller = caller(Mode::Terminal);
        caller.told(place());
        assert_eq!(shown(caller.told(stopping())), ["the server is stopping; reconnecting"]);
    }

    #[test]
    fn a_program_hears_of_every_attempt() {
        let mut json = caller(Mode::Json);
        json.told(admitted());
        json.told(connected());
        let event = |kind: &str, unsaid: u32, attempt: u32| {
            format!(
                r#"{{"kind":"{kind}","ref":0,"body":{{"unsaid":{unsaid},"attempt":{attempt}}}}}"#
            )
        };
        let json_only = |acts: Vec<Act>| -> Vec<String> {
            let is_json = |act: &Act| matches!(act, Act::Show(Show::Json(_)));
            shown(acts.into_iter().filter(is_json).collect())
        };
        for attempt in 1..=2 {
            let acts = json.told_with(offline(), 3, attempt);
            assert_eq!(json_only(acts), [event("link.reconnecting", 3, attempt)]);
        }
        assert_eq!(json_only(json.told_with(admitted(), 3, 0)), [""; 0]);
        assert_eq!(json_only(json.told_with(resumed(2), 1, 0)), [event("link.resumed", 1, 2)]);
        assert_eq!(json_only(json.told(connected())), [""; 0], "it would greet twice");
        json.told_with(offline(), 1, 1);
        json.told_with(offline(), 1, 2);
        let acts = json.told_with(ClientEvent::Over(Lost::Broken), 1, 2);
        assert_eq!(json_only(acts), [event("link.lost", 1, 2)]);
        assert!(json.keeps());
        let mut new = gone_on_with(Mode::Json);
        assert!(json_only(new.told(admitted()))[0].contains("welcome"));
        assert_eq!(json_only(new.told_with(resumed(3), 1, 0)), [event("link.resumed", 1, 0)]);
    }

    #[test]
    fn a_new_process_shows_what_was_said_before_and_then_where_it_is() {
        let conversation = |caller: &mut Caller| {
            let mut acts = caller.told(admitted());
            acts.extend(caller.told(resumed(3)));
            acts.extend(caller.told(connected()));
            let away = told(Away { call: CALL, from: Side::Operator });
            acts.extend(caller.told(away));
            acts.extend(caller.told(joined(1)));
            let mut first = said(Side::Caller, "hello");
            if let ClientEvent::Told(_, Message::Said(said)) = &mut first {
                said.seq = Seq(2);
                said.name = Name::new("Ada").unwrap();
            }
            acts.extend(caller.told(first));
            acts.extend(caller.told(said(Side::Operator, "hm")));
            acts.extend(caller.told(told(Back { call: CALL, from: Side::Operator })));
            shown(acts)
        };
        for mode in [Mode::Terminal, Mode::Plain] {
            assert_eq!(
                conversation(&mut gone_on_with(mode)),
                [
                    "Welcome.",
                    "earlier in this call:",
                    "you: hello",
                    "Wei: hm",
                    "you are back on the line with Wei",
                    "Wei's connection broke; they may come back",
                    "Wei is back",
                ]
            );
        }
        let piped = conversation(&mut gone_on_with(Mode::Pipe));
        assert_eq!(piped[2], "Ada: hello", "a program is told everything");
    }

    #[test]
    fn a_new_process_with_nothing_said_before_says_at_once_where_it_is() {
        let mut talking = gone_on_with(Mode::Terminal);
        talking.told(resumed(0));
        assert_eq!(shown(talking.told(connected())), ["you are back on the line with Wei"]);
        let mut waiting = gone_on_with(Mode::Terminal);
        waiting.told(resumed(0));
        assert_eq!(shown(waiting.told(place())), ["position 1 of 1"]);
        assert_eq!(shown(waiting.told(connected())), ["on the line with Wei"]);
        assert_eq!(waiting.listens(), Listens::Yes);
    }

    #[test]
    fn hanging_up_without_a_connection_waits_for_one_or_keeps_the_call() {
        for begins in [Entered::End, interrupt(), line("bye")] {
            let mut caller = caller(Mode::Terminal);
            caller.told(admitted());
            caller.told(place());
            caller.told_with(offline(), 0, 1);
            let acts = caller.entered(begins);
            assert!(acts.contains(&HANG_UP));
            assert_eq!(
                shown(acts),
                ["it hangs up as soon as there is a connection; ^C leaves now"]
            );
            caller.told_with(offline(), 2, 2);
            let acts = caller.entered(interrupt());
            assert_eq!(acts.last(), Some(&Act::Leave));
            assert_eq!(
                shown(acts),
                ["your place is kept for 2 minutes, and 2 lines not said yet; \
                  to go on: helpline call here:8001"]
            );
            assert!(caller.keeps());
            assert_eq!(caller.end(), Ok(Exit::Interrupted));
        }
    }

    #[test]
    fn what_hung_up_meanwhile_is_hung_up() {
        for (answered, code) in [(true, Exit::Ok), (false, Exit::Interrupted)] {
            let mut caller = caller(Mode::Terminal);
            caller.told(admitted());
            caller.told(place());
            if answered {
                caller.told(connected());
            }
            caller.told_with(offline(), 0, 1);
            caller.entered(interrupt());
            caller.told(goodbye(Code::NO_SUCH_TICKET));
            assert!(!caller.keeps());
            assert_eq!(caller.end(), Ok(code));
        }
    }

    #[test]
    fn a_file_is_kept_only_while_somebody_may_go_on() {
        let mut caller = caller(Mode::Pipe);
        assert!(!caller.keeps(), "not let in yet");
        caller.told(admitted());
        caller.told(place());
        assert!(caller.keeps());
        caller.told_with(ClientEvent::Over(Lost::Silent), 0, 9);
        assert!(caller.keeps(), "lost, but maybe not for the server");
        let failure = caller.end().unwrap_err();
        let hint = "your place is kept for 2 minutes; to go on: helpline call here:8001 --resume";
        assert_eq!(failure.hint.as_deref(), Some(hint));
        for last in [
            ended(By::Operator, Why::BYE),
            goodbye(Code::SUPERSEDED),
            goodbye(Code::NO_SUCH_TICKET),
            told(Busy { why: Why::FULL, retry_after_s: 30, wait_s: None }),
        ] {
            let mut caller = self::caller(Mode::Pipe);
            caller.told(admitted());
            caller.told(place());
            caller.told(last.clone());
            assert!(!caller.keeps(), "{last:?}");
        }
        let mut resumed = gone_on_with(Mode::Pipe);
        assert!(resumed.keeps());
        resumed.entered(interrupt());
        assert!(resumed.keeps(), "nothing was asked for");
        let mut gone = gone_on_with(Mode::Pipe);
        gone.told(goodbye(Code::NO_SUCH_TICKET));
        assert!(!gone.keeps());
        let failure = gone.end().unwrap_err();
        assert_eq!((failure.exit, failure.what.as_str()), (Exit::Unavailable, "the call is over"));
    }

    #[test]
    fn a_call_that_the_server_does_not_list_is_over() {
        let mut caller = caller(Mode::Terminal);
        caller.told(admitted());
        caller.told(connected());
        caller.told_with(offline(), 0, 1);
        let acts = caller.told(told(Resumed { calls: Vec::new() }));
        assert_eq!(acts.last(), Some(&Act::Leave));
        assert!(!caller.keeps());
    }
}
