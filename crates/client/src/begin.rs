//! How a call or a sign-on begins, or is gone on with: the connection, the ticket, and the file they are kept in.

use std::time::{SystemTime, UNIX_EPOCH};

use helpline_cli_common::exit::{Exit, Failure};
use helpline_proto::{
    code::Code,
    ids::{Answering, Side, Ticket},
    session::{Lost, Opening},
    text::{LineName, Name, Secret},
    time::UnixMillis,
};
use tokio::signal::unix::Signal;

use crate::{
    Address, Event, Fingerprint,
    dial::DialError,
    json,
    kept::{Begun, Directory, Kept},
    link::{self, Link},
    stream::Stream,
    trust::Met,
    ui::{
        act::{Mode, Show},
        ask::{self, Answer, Usual},
        failure,
        screen::Screen,
        words,
    },
};

use self::server::{Hears, Server};

mod server;

/// What a program leaves with before anything has begun.
pub(crate) type End = Result<Exit, Failure>;

/// Everything that is needed to begin something.
pub(crate) struct Beginner<'a> {
    pub(crate) address: &'a Address,
    pub(crate) screen: Screen,
    pub(crate) interrupts: &'a mut Signal,
    directory: Option<Directory>,
    security: IsEncrypted,
    /// Once it is known who is expected.
    server: Option<Server>,
}

/// Whether there is to be TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum IsEncrypted {
    Yes,
    No,
}

impl<'a> Beginner<'a> {
    pub(crate) fn new(
        address: &'a Address,
        security: IsEncrypted,
        mut screen: Screen,
        interrupts: &'a mut Signal,
    ) -> Self {
        let directory = match Directory::of_user() {
            Ok(directory) => Some(directory),
            Err(error) => {
                screen.warn(&not_kept(&error));
                None
            }
        };
        if let Some(directory) = &directory {
            directory.tidy();
        }
        Self { address, screen, interrupts, directory, security, server: None }
    }

    /// What an earlier process has begun at this address.
    fn unfinished(&self, side: Side, name: Option<&Name>) -> Option<Kept> {
        let address = self.address.to_string();
        self.directory.as_ref()?.unfinished(|begun| {
            let is_there = begun.side == side && begun.address == address;
            is_there && name.is_none_or(|name| *name == begun.name)
        })
    }

    /// The call that is to be gone on with, if there is one and that is wanted.
    pub(crate) async fn call_to_resume(&mut self, is_wanted: bool) -> Result<Option<Kept>, End> {
        let kept = self.unfinished(Side::Caller, None);
        let Some(kept) = kept else {
            return if is_wanted {
                Err(self.leave(Err(self.nothing_kept())).await)
            } else {
                Ok(None)
            };
        };
        if is_wanted {
            return Ok(Some(kept));
        }
        let about = unfinished(&kept, now());
        if !self.screen.mode().is_person() {
            self.screen.warn(&format!("{about} is kept; --resume takes it up"));
            return Ok(None);
        }
        self.screen.show(&Show::Note(about));
        let answer = tokio::select! {
            answer = ask::ask(&mut self.screen, "Resume?", Usual::Yes) => answer,
            _ = self.interrupts.recv() => Answer::Nothing,
        };
        match answer {
            Answer::Yes => Ok(Some(kept)),
            Answer::No => {
                self.not_said(&kept);
                let note = "the earlier call is left alone: it ends by itself in a few minutes";
                self.screen.show(&Show::Note(note.to_owned()));
                kept.remove();
                Ok(None)
            }
            Answer::Nothing => Err(self.leave(Ok(Exit::Interrupted)).await),
        }
    }

    fn not_said(&mut self, kept: &Kept) {
        for line in kept.lines() {
            // They may have been sent.
            self.screen.show(&Show::Problem(words::unsaid(line.text.as_str(), None)));
        }
    }

    fn nothing_kept(&self) -> Failure {
        Failure::new(Exit::Other, format!("no unfinished call to {} is kept here", self.address))
            .hint("one that another helpline still has open is none; without --resume a new call begins")
    }

    /// Connects as a caller. Who is met for the first time is told, and remembered.
    pub(crate) async fn connect(&mut self) -> Result<Stream, End> {
        self.note_connecting();
        let stream = self.dial().await?;
        if stream.met() == Met::Anybody && !stream.is_loopback() {
            self.screen.warn("this connection is not encrypted");
        }
        self.remember(stream.met()).await?;
        Ok(stream)
    }

    /// Connects as an operator. To somebody who is met for the first time, and isn't on this machine, nothing is told
    /// before the person here has confirmed that they are the right one.
    pub(crate) async fn connect_desk(&mut self) -> Result<Stream, End> {
        self.note_connecting();
        let stream = self.dial().await?;
        let (met, is_loopback) = (stream.met(), stream.is_loopback());
        // Without a server there is no stream.
        let hears = self.server.as_ref().map_or(Hears::Nothing, |it| it.hears(met, is_loopback));
        match hears {
            Hears::Secrets => {
                self.remember(met).await?;
                Ok(stream)
            }
            Hears::WhatIsConfirmed(key) => {
                self.confirm(key).await?;
                self.remember(met).await?;
                self.connect_again(stream).await
            }
            Hears::Nothing => {
                let failure = failure::never_unencrypted(self.address);
                Err(self.leave(Err(failure)).await)
            }
        }
    }

    /// Connects again, after a person has been asked something: no server waits for as long as that may take.
    pub(crate) async fn connect_again(&mut self, stream: Stream) -> Result<Stream, End> {
        drop(stream);
        self.dial().await
    }

    fn note_connecting(&mut self) {
        self.screen.show(&Show::Note(format!("connecting to {}", self.address)));
    }

    async fn dial(&mut self) -> Result<Stream, End> {
        let server = match self.server.take() {
            Some(server) => Ok(server),
            None => Server::new(self.address, self.security, &mut self.screen),
        };
        let server = match server {
            Ok(server) => server,
            Err(failure) => return Err(self.leave(Err(failure)).await),
        };
        let dialler = self.server.insert(server).dialler.clone();
        self.screen.flush().await;
        let end = tokio::select! {
            dialled = dialler.dial() => match dialled {
                Ok(stream) => return Ok(stream),
                Err(error) => Err(failure::dial(self.address, error)),
            },
            _ = self.interrupts.recv() => Ok(Exit::Interrupted),
        };
        Err(self.leave(end).await)
    }

    /// Asks whether this key is the right one.
    async fn confirm(&mut self, key: Fingerprint) -> Result<(), End> {
        let refused = failure::not_confirmed(self.address, key);
        if !self.screen.mode().is_person() {
            return Err(self.leave(Err(refused)).await);
        }
        let about = format!("first contact with {}: its key is {key}", self.address);
        self.screen.show(&Show::Note(about));
        let question = "Is that the key you were told by whoever runs the server?";
        let answer = tokio::select! {
            answer = ask::ask(&mut self.screen, question, Usual::No) => answer,
            _ = self.interrupts.recv() => Answer::Nothing,
        };
        match answer {
            Answer::Yes => Ok(()),
            Answer::No => Err(self.leave(Err(refused)).await),
            Answer::Nothing => Err(self.leave(Ok(Exit::Interrupted)).await),
        }
    }

    async fn remember(&mut self, met: Met) -> Result<(), End> {
        let Some(server) = &mut self.server else { return Ok(()) };
        match server.remember(self.address, met, &mut self.screen) {
            Ok(()) => Ok(()),
            Err(failure) => Err(self.leave(Err(failure)).await),
        }
    }

    /// Asks for a secret, on a terminal.
    pub(crate) async fn ask_hidden(&mut self, question: &str) -> Result<Option<String>, End> {
        if !self.screen.mode().is_person() {
            return Ok(None);
        }
        let interrupted = tokio::select! {
            answer = ask::ask_hidden(&mut self.screen, question) => match answer {
                Some(answer) => return Ok(Some(answer)),
                None => Ok(Exit::Interrupted),
            },
            _ = self.interrupts.recv() => Ok(Exit::Interrupted),
        };
        Err(self.leave(interrupted).await)
    }

    /// Asks for a place. It is kept on disk before the server hears of it.
    pub(crate) fn join(
        &mut self,
        stream: Stream,
        name: Name,
        line: Option<LineName>,
        invite: Option<Secret>,
    ) -> Result<Link, End> {
        let ticket = self.ticket()?;
        let kept = self.keep(Begun {
            side: Side::Caller,
            address: self.address.to_string(),
            name: name.clone(),
            line: line.clone(),
            answering: None,
            ticket: ticket.clone(),
            at: now(),
        });
        Ok(self.link(stream, link::join(ticket, line, name, invite), kept))
    }

    /// Signs on. It is kept on disk before the server hears of it.
    pub(crate) fn sign_on(
        &mut self,
        stream: Stream,
        name: Name,
        token: Secret,
        answering: Answering,
    ) -> Result<Link, End> {
        let ticket = self.ticket()?;
        let kept = self.keep(Begun {
            side: Side::Operator,
            address: self.address.to_string(),
            name: name.clone(),
            line: None,
            answering: Some(answering),
            ticket: ticket.clone(),
            at: now(),
        });
        Ok(self.link(stream, link::sign_on(ticket, name, Some(token), answering), kept))
    }

    fn ticket(&self) -> Result<Ticket, End> {
        link::ticket()
            .map_err(|error| Err(failure::dial(self.address, DialError::NoRandomness(error))))
    }

    fn keep(&mut self, begun: Begun) -> Option<Kept> {
        let directory = self.directory.as_ref()?;
        directory.create(begun).inspect_err(|error| self.screen.warn(&not_kept(error))).ok()
    }

    fn link(&self, stream: Stream, opening: Opening, kept: Option<Kept>) -> Link {
        let mut link = Link::over(stream, opening);
        if let Some(server) = &self.server {
            link = link.dialling(server.dialler.clone());
        }
        match kept {
            Some(kept) => link.keeping(kept),
            None => link,
        }
    }

    /// Goes on with what an earlier process has begun.
    pub(crate) fn resume(&self, stream: Stream, kept: Kept) -> Link {
        let Begun { side, ticket, .. } = kept.begun();
        let opening = Opening::Resume(*side, ticket.clone());
        self.link(stream, opening, Some(kept))
    }

    /// Signs on again where an earlier process of this name was; `None` if there was none, or the server
    /// has signed it off.
    pub(crate) async fn desk_to_resume(
        &mut self,
        name: &Name,
    ) -> Result<Option<(Link, Begun)>, End> {
        let Some(kept) = self.unfinished(Side::Operator, Some(name)) else { return Ok(None) };
        let begun = kept.begun().clone();
        let stream = self.connect_desk().await?;
        let mut link = self.resume(stream, kept);
        self.screen.flush().await;
        let let_in = tokio::select! {
            let_in = link.let_in() => let_in,
            _ = self.interrupts.recv() => return Err(self.leave(Ok(Exit::Interrupted)).await),
        };
        match let_in {
            Err(Lost::Goodbye(goodbye)) if goodbye.code == Code::NO_SUCH_TICKET => {}
            // What else there is to say is said to the operator's part.
            _ => return Ok(Some((link, begun))),
        }
        while let Some(event) = link.next().await {
            let Event::NotSaid { text, why, .. } = &event else { continue };
            self.screen.show(&match json::event(&event) {
                Some(line) if self.screen.mode() == Mode::Json => Show::Json(line),
                _ => Show::Problem(words::unsaid(text.as_str(), *why)),
            });
        }
        link.forget();
        Ok(None)
    }

    pub(crate) async fn leave(&mut self, end: End) -> End {
        self.screen.flush().await;
        end
    }
}

/// What is lost without a file.
fn not_kept(error: &crate::kept::KeptError) -> String {
    format!("once this program has ended, nobody can go on where it was: {error}")
}

/// What is known about an unfinished call.
fn unfinished(kept: &Kept, now: UnixMillis) -> String {
    let Begun { address, name, side, at, .. } = kept.begun();
    let ago = std::time::Duration::from_millis(u64::try_from(now.0 - at.0).unwrap_or(0));
    let ago = match ago.as_secs() {
        0..60 => "just now".to_owned(),
        _ => format!("{} ago", words::minutes(ago)),
    };
    let lines = match kept.lines().len() {
        0 => String::new(),
        lines => format!(", {} not said yet", words::lines(lines)),
    };
    let name = words::name(name, *side);
    format!("an unfinished call to {address} (as {name}, begun {ago}{lines})")
}

/// What this machine's clock says.
pub(crate) fn now() -> UnixMillis {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    UnixMillis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}
