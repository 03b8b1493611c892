//! The operator's screen in the server's own terminal.

use std::path::Path;

use helpline_cli_common::{
    exit::{Exit, Failure},
    log::{Logs, Verbosity},
    prompt::{Printer, Prompt},
    terminal,
};
use helpline_client::console::{self, PROMPT, Terminal};
use helpline_proto::text::Name;
use helpline_server::{data, server::Server};
use tokio::{sync::mpsc, task::JoinHandle};

use crate::run;

/// Bytes on their way between the console and the line.
const WIRE: usize = 64 * 1024;

/// An operator's client on an in-memory wire, if there is to be one.
pub(crate) struct Console(Option<Open>);

struct Open {
    printer: Option<Printer>,
    interrupts: mpsc::Receiver<()>,
    task: JoinHandle<Result<(), Failure>>,
}

impl Console {
    /// Lets an operator of this name answer here, and go on where they were when the server was killed.
    pub(crate) fn open(
        operator: Option<Name>,
        directory: &Path,
        server: &mut Server,
        logs: &Logs,
        verbosity: Verbosity,
    ) -> Result<Self, Failure> {
        let Some(name) = operator else { return Ok(Self(None)) };
        let (terminal, printer) = if terminal::is_dumb() {
            (Terminal::Plain(logs.clone()), None)
        } else {
            let (prompt, printer) = Prompt::open(PROMPT).map_err(|error| {
                Failure::new(Exit::IoError, "cannot use this terminal")
                    .because(error)
                    .hint("do without: --no-console")
            })?;
            logs.above(printer.clone());
            (Terminal::Edited(prompt, printer.clone()), Some(printer))
        };
        let ticket = data::console_ticket(directory).map_err(|error| {
            Failure::new(Exit::Config, error.to_string()).hint("keep calls elsewhere: --data DIR")
        })?;
        let attached = server.attach();
        let wire = move || {
            let (near, far) = tokio::io::duplex(WIRE);
            attached.try_send(far).is_ok().then_some(near)
        };
        let (interrupted, interrupts) = mpsc::channel(1);
        let palette = verbosity.color.stdout();
        let screen = console::run(wire, ticket, name, terminal, palette, interrupted);
        Ok(Self(Some(Open { printer, interrupts, task: tokio::spawn(screen) })))
    }

    /// Waits until somebody types ^C.
    pub(crate) async fn interrupted(&mut self) {
        let Some(open) = &mut self.0 else { return std::future::pending().await };
        if open.interrupts.recv().await.is_none() {
            std::future::pending::<()>().await;
        }
    }

    /// Says that the line is closing.
    pub(crate) async fn stopping(&self, drain: u32) {
        let text = format!("-- {}; ^C again ends now", run::stopping(drain));
        match &self.0 {
            Some(Open { printer: Some(printer), .. }) => printer.print(text).await,
            Some(Open { printer: None, .. }) => run::say(&text),
            None => {}
        }
    }

    /// Waits for the screen to end, which gives the terminal back.
    pub(crate) async fn close(self) {
        let Some(open) = self.0 else { return };
        match open.task.await {
            Ok(Ok(())) => {}
            Ok(Err(failure)) => tracing::warn!(%failure, "the console ended"),
            Err(error) => tracing::error!(%error, "the console failed"),
        }
    }
}
