//! What either part does about its own connection.

use helpline_proto::{
    message::Message,
    session::{ClientEvent, Lost},
};

use crate::json;

use super::{
    act::{Act, Mode, Show, Standing, note},
    words,
};

/// Whether a process begins something, or goes on with what an earlier one began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Beginning {
    New,
    Resumed,
}

/// The connection as a part knows it.
#[derive(Debug)]
pub(crate) struct Connection {
    mode: Mode,
    /// It is still to be told that this process goes on with what an earlier one began.
    resumes: bool,
    was_let_in: bool,
    is_offline: bool,
    /// How it stood last.
    standing: Standing,
}

impl Connection {
    pub(crate) fn new(mode: Mode, beginning: Beginning) -> Self {
        Self {
            mode,
            resumes: beginning == Beginning::Resumed,
            was_let_in: false,
            is_offline: false,
            standing: Standing::default(),
        }
    }

    /// Whether there is none.
    pub(crate) fn is_offline(&self) -> bool {
        self.is_offline
    }

    /// Whether the server knows the ticket: it has let this client in once, or an earlier process.
    pub(crate) fn was_let_in(&self) -> bool {
        self.was_let_in || self.resumes
    }

    /// Whether being let in is nothing new.
    pub(crate) fn is_let_in_again(&self, message: &Message) -> bool {
        self.was_let_in && matches!(message, Message::Admitted(_))
    }

    /// What there is to show for an event, whoever's part it is. What is known already is not told to programs
    /// once more.
    pub(crate) fn told(
        &mut self,
        event: &ClientEvent,
        standing: Standing,
        is_known: bool,
    ) -> Vec<Act> {
        let mut acts = Vec::new();
        if !is_known {
            acts.extend(self.line(json::event(event)));
        }
        match event {
            ClientEvent::Welcomed(welcome) => {
                tracing::debug!("the server speaks version {}", welcome.version.0);
            }
            ClientEvent::Offline(lost) => {
                let Standing { unsaid, attempt } = standing;
                acts.extend(self.line(json::reconnecting(unsaid, attempt)));
                if !self.is_offline {
                    acts.push(note(words::reconnecting(lost, unsaid)));
                }
                self.is_offline = true;
                self.standing = standing;
            }
            ClientEvent::Told(_, Message::Admitted(_)) if !self.was_let_in => {
                self.was_let_in = true;
                // The answer to the first request was lost: it has been asked for once more, not resumed.
                if self.is_offline && !self.resumes {
                    acts.extend(self.back(standing));
                }
            }
            ClientEvent::Told(_, Message::Resumed(_)) if self.is_offline || self.resumes => {
                acts.extend(self.back(standing));
            }
            _ => {}
        }
        acts
    }

    fn back(&mut self, standing: Standing) -> Vec<Act> {
        let mut acts = Vec::new();
        acts.extend(self.line(json::resumed(standing.unsaid, self.standing.attempt)));
        if self.is_offline {
            acts.push(note("connected again"));
        }
        (self.is_offline, self.resumes) = (false, false);
        self.standing = Standing::default();
        acts
    }

    /// The connection is lost for good, and with it so many lines.
    pub(crate) fn over(&self, lines: usize) -> Vec<Act> {
        self.line(json::lost(lines, self.standing.attempt)).into_iter().collect()
    }

    fn line(&self, line: Option<String>) -> Option<Act> {
        line.filter(|_| self.mode == Mode::Json).map(|line| Act::Show(Show::Json(line)))
    }
}

/// Whether the ticket may still be good after this.
pub(crate) fn may_be_good(lost: &Lost) -> bool {
    match lost {
        Lost::Goodbye(goodbye) => goodbye.resumable == helpline_proto::ids::Resumable::Yes,
        _ => true,
    }
}
