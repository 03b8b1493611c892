//! The operator's screen, as a server shows it on its console.
//!
//! It is an operator's client like any other, on a wire that needn't leave the process; callers are
//! answered one after another. It isn't left by itself, but ends with its server.

use helpline_cli_common::{
    color::Palette,
    exit::{Exit, Failure},
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

/// Answers callers on a terminal until the server says goodbye or `stream` ends.
///
/// ^D ends the current call; without one it says that ^C ends the server. ^C is only told, through
/// `interrupted`, which needs room for one. When this returns, everything is shown and the terminal is
/// as it was.
///
/// # Errors
/// What comes on `stream` is not the protocol, or the system gives no random bytes.
pub async fn run<S>(
    stream: S,
    name: Name,
    prompt: Prompt,
    printer: Printer,
    palette: Palette,
    interrupted: mpsc::Sender<()>,
) -> Result<(), Failure>
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    let answering = Answering::ByItself;
    let opening = sign_on(name, answering)
        .map_err(|error| Failure::new(Exit::Other, "the console can't sign on").because(error))?;
    let part = Operator::new(Manner {
        mode: Mode::Terminal,
        seat: Seat::Console,
        answering,
        server: "the server".to_owned(),
    });
    let screen = Screen::over(prompt, printer, palette);
    run::run(Link::over(stream, opening), part, screen, Interrupts::Theirs(interrupted)).await?;
    Ok(())
}
