//! The operator's screen, as a server shows it on its console.
//!
//! It is an operator's client like any other, on a wire that needn't leave the process; callers are
//! answered one after another. It isn't left by itself, but ends with its server.

use helpline_cli_common::{
    color::Palette,
    exit::Failure,
    log::Logs,
    prompt::{Printer, Prompt},
};
use helpline_proto::{
    ids::{Answering, Ticket},
    text::Name,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::mpsc,
};

use crate::{
    begin,
    link::{Link, NoStream, sign_on},
    ui::{
        act::Mode,
        connection::Beginning,
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

/// Answers callers on a terminal until the server stops.
///
/// `make_stream` is asked for a stream to the server, at first and whenever the one before is of no more use:
/// after a goodbye that lets operators come back, for example. `None` means that the server is gone, which
/// ends the console. So does a goodbye for good, or because the server stops.
///
/// With a `ticket` that the server knows already, the operator goes on where they were: in a call, maybe. It
/// has to be a new one otherwise (see [`ticket`](crate::ticket)).
///
/// ^D ends the current call; without one it says that ^C ends the server. ^C is only told, through
/// `interrupted`, which needs room for one. When this returns, everything is shown and the terminal is
/// as it was.
///
/// # Errors
/// What comes on a stream is not the protocol, or the system gives no thread.
pub async fn run<S>(
    mut make_stream: impl FnMut() -> Option<S> + Send + 'static,
    ticket: Ticket,
    name: Name,
    terminal: Terminal,
    palette: Palette,
    interrupted: mpsc::Sender<()>,
) -> Result<(), Failure>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let answering = Answering::ByItself;
    let opening = sign_on(ticket, name, None, answering);
    let Some(stream) = make_stream() else { return Ok(()) };
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
        clock: begin::now,
        server: "the server".to_owned(),
        beginning: Beginning::New,
        is_kept: false,
    });
    let link = Link::over(stream, opening)
        .redialling(move || std::future::ready(make_stream().ok_or(NoStream::ForEver)));
    run::run(link, part, screen, Interrupts::Theirs(interrupted)).await?;
    Ok(())
}
