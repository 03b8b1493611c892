//! What goes into a screen's logic, and what comes out.

use helpline_cli_common::exit::{Exit, Failure};
use helpline_proto::{
    ids::{CallId, Seq, Side},
    message::{Message, Ref},
    session::ClientEvent,
    text::{Name, Text},
};

/// How the person or program at this end is spoken with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// A person at a terminal, with an edited prompt.
    Terminal,
    /// A person at a terminal, without editing.
    Plain,
    /// A program that pipes lines.
    Pipe,
    /// A program that reads and writes JSON objects.
    Json,
}

impl Mode {
    /// Whether a person sits there, rather than a program.
    pub(crate) fn is_person(self) -> bool {
        matches!(self, Self::Terminal | Self::Plain)
    }
}

/// What comes from the person or program at this end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Entered {
    /// A line, without its end. Pasted ones have line breaks in them.
    Line(String),
    /// A line that is longer than any that could be meant.
    TooLong,
    /// ^C, or SIGINT.
    Interrupt {
        /// What was being typed.
        draft: String,
    },
    /// ^D on an empty line, or the end of the input.
    End,
    /// Nobody reads what is written to standard output any more.
    Closed,
}

/// Whether what is entered is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Listens {
    /// Nothing is read.
    No,
    /// For the end of the input; a line is held back until later.
    ForTheEnd,
    /// To everything.
    Yes,
}

/// Something to be shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Show {
    /// What somebody else said.
    Said {
        /// Who.
        name: Name,
        /// On which side of the call.
        from: Side,
        /// What.
        text: Text,
    },
    /// What was entered here and is said now, where the terminal doesn't keep what is entered.
    Own(Text),
    /// Something the program itself has to say, in one or several lines.
    Note(String),
    /// The same, about something that went wrong.
    Problem(String),
    /// The same where a program reads JSON, too: on standard error.
    Warning(String),
    /// A note that rings.
    Ring(String),
    /// An event, for a program.
    Json(String),
}

/// Something to be done.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Act {
    /// Show this.
    Show(Show),
    /// Say this.
    Say {
        /// In this call.
        call: CallId,
        /// What to say.
        text: Text,
        /// What comes back with the answer.
        reference: Ref,
    },
    /// Hang up.
    HangUp {
        /// This call.
        call: CallId,
        /// What comes back with an error.
        reference: Ref,
    },
    /// Let the other side know that somebody types.
    Typing(CallId),
    /// Ask the server for this.
    Request(Message, Ref),
    /// An entry was shown.
    Shown(CallId, Seq),
    /// Leave: nothing is left to do.
    Leave,
}

/// How it stands with the link when something is told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Standing {
    /// Lines that are not known to be recorded.
    pub(crate) unsaid: usize,
    /// Which attempt to connect again is due; 0 while there is a connection.
    pub(crate) attempt: u32,
}

/// The caller's part, or the operator's.
pub(crate) trait Part {
    /// Takes in what the server tells.
    fn told(&mut self, event: ClientEvent, standing: Standing) -> Vec<Act>;

    /// Takes in what was entered.
    fn entered(&mut self, entered: Entered) -> Vec<Act>;

    /// Whether what is entered is wanted now.
    fn listens(&self) -> Listens;

    /// The call in which the other side would like to know that somebody types.
    fn talks_in(&self) -> Option<CallId>;

    /// Whether a later process may go on with what was begun.
    fn keeps(&self) -> bool;

    /// What stays when this process ends now, with so many lines unsaid, and how to go on.
    fn kept(&self, unsaid: usize) -> Option<String>;

    /// How it ended.
    fn end(self) -> Result<Exit, Failure>;
}

/// Shorthand for the many notes.
pub(crate) fn note(text: impl Into<String>) -> Act {
    Act::Show(Show::Note(text.into()))
}

/// Shorthand for the many problems.
pub(crate) fn problem(text: impl Into<String>) -> Act {
    Act::Show(Show::Problem(text.into()))
}
