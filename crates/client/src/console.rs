//! The operator's screen, as a server shows it on its console.
//!
//! It is an operator's client like any other, on a wire that needn't leave the process; callers are
//! answered one after another. It isn't left by itself, but ends with its server.

use helpline_cli_common::{
    color::Palette,
    exit::{Exit, Failure},
    log::Logs,
    prompt::{Printer, Prompt},
};
use helpline_proto::{ids::Answering, text::Name};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::mpsc,
};

use crate::{
    link::{Link, sign_on},
    ui::{
        act::Mode,
        operator::{Manner, Operator, Seat},
        run::{self, Interrupts},
        screen::{self, Screen},
    },
};

/// What stands before the line being typed: open the [`Prompt`] with it.
pub const PROMPT: &str = screen::PROMPT;

/// How the terminal is used.
#[derive(Debug)]
pub enum Terminal {
    /// With an edited prompt.
    Edited(Prompt, Printer),
    /// Without: it can't, or isn't to.
    Plain(Logs),
}

/// Answers callers on a terminal until the server says goodbye or `stream` ends.
///
/// ^D ends the current call; without one it says that ^C ends the server. ^C is only told, through
/// `interrupted`, which needs room for one. When this returns, everything is shown and the terminal is
/// as it was.
///
/// # Errors
/// What comes on `stream` is not the protocol, or the system gives no random bytes or thread.
pub async fn run<S>(
    stream: S,
    name: Name,
    terminal: Terminal,
    palette: Palette,
    interrupted: mpsc::Sender<()>,
) -> Result<(), Failure>
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    let answering = Answering::ByItself;
    let opening = sign_on(name, answering)
        .map_err(|error| Failure::new(Exit::Other, "the console can't sign on").because(error))?;
    let (mode, screen) = match terminal {
        Terminal::Edited(prompt, printer) => {
            (Mode::Terminal, Screen::over(prompt, printer, palette))
        }
        Terminal::Plain(logs) => (Mode::Plain, Screen::open(Mode::Plain, palette, logs)?),
    };
    let part = Operator::new(Manner {
        mode,
        seat: Seat::Console,
        answering,
        server: "the server".to_owned(),
    });
    run::run(Link::over(stream, opening), part, screen, Interrupts::Theirs(interrupted)).await?;
    Ok(())
}
