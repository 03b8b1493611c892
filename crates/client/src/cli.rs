//! The command line `helpline`.

use std::{future::Future, process::ExitCode, sync::LazyLock};

use clap::{Args, Parser, Subcommand};
use helpline_cli_common::{
    exit::{self, Exit, Failure},
    log::{self, Format, Logs, Verbosity},
    terminal,
};
use helpline_proto::{
    ids::{Answering, Side},
    text::{LineName, Name, TextError},
    version,
};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::level_filters::LevelFilter;

use crate::{
    Address,
    begin::{Beginner, End},
    link::Link,
    ui::{
        act::Mode,
        caller::{self, Caller},
        connection::Beginning,
        input::ByeWord,
        operator::{self, Operator, Seat},
        run::{self, Interrupts},
        screen::Screen,
    },
};

/// What a caller is called who doesn't say so: not the login name, which strangers needn't know.
const CALLER: &str = "caller";

static VERSION: LazyLock<String> =
    LazyLock::new(|| format!("{} (wire {})", env!("CARGO_PKG_VERSION"), version::CURRENT.0));

/// Call a Helpline, or answer callers
#[derive(Debug, Parser)]
#[command(
    name = "helpline",
    version = VERSION.as_str(),
    max_term_width = 100,
    next_display_order = 100,
    after_help = "HELPLINE_LOG in the environment filters log lines in detail, and wins over -v and -q."
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,

    #[command(flatten)]
    verbosity: Verbosity,
}

#[derive(Debug, Subcommand)]
enum Command {
    Call(Call),
    Desk(Desk),
}

/// Ask for help: wait for an operator, and talk
///
/// On a terminal, a line is said when Enter is pressed, and bye alone on a line hangs up. Otherwise
/// lines from standard input are said, and standard output has what the other side says.
///
/// A connection that breaks is made again by itself: the place is kept for 2 minutes, a call that was
/// answered for 10. A call whose program has ended can be taken up again by calling the same address.
#[derive(Debug, Args)]
#[command(after_long_help = CALL_EXIT)]
struct Call {
    /// host, host:port, [v6]:port or helpline://host:port/line; port 8001 if left out
    #[arg(value_name = "ADDR")]
    address: Address,

    /// What to be called
    #[arg(long, default_value = CALLER, value_parser = name, allow_hyphen_values = true)]
    name: Name,

    /// The line to call, if not the one in the link or the server's own
    #[arg(long, value_parser = line_name)]
    line: Option<LineName>,

    #[command(flatten)]
    manner: Manner,

    /// At the end of the input, hang up once an operator has answered and all is said
    #[arg(long)]
    bye: bool,

    /// Take bye alone on a line for text
    #[arg(long)]
    no_bye: bool,

    /// Go on with the unfinished call to this address; --name and --line stay what they were
    #[arg(long)]
    resume: bool,
}

const CALL_EXIT: &str = "\
Exit codes:
  0    answered, ended by either side, and everything was said
  1    anything else, also when a line was not said
  64   the command line is wrong
  69   unreachable, lost for good, over without a word of how, taken over by another window, or the
       server stopped in mid-call
  75   busy, closed, not kept for so long, or the server stopped while waiting: try later
  76   not a Helpline server, or none that speaks this version
  77   refused
  78   the link asks for what this version can't do
  130  left before an answer
  129, 143  ended by SIGHUP or SIGTERM, without hanging up: the place is kept";

/// Answer callers
///
/// On a terminal, it rings when somebody waits, and /next answers. Otherwise lines from standard input
/// are said to the caller, and standard output has what callers say.
///
/// A connection that breaks is made again by itself. A desk whose program has ended goes on where it was if it
/// is started again within a minute, for the same address and under the same name.
#[derive(Debug, Args)]
#[command(after_long_help = DESK_EXIT)]
struct Desk {
    /// host, host:port, [v6]:port or helpline://host:port; port 8001 if left out
    #[arg(value_name = "ADDR")]
    address: Address,

    /// What callers will read [default: the login name]
    #[arg(long, value_parser = name, allow_hyphen_values = true)]
    name: Option<Name>,

    /// Take the next caller by itself whenever free
    #[arg(long)]
    auto: bool,

    #[command(flatten)]
    manner: Manner,
}

const DESK_EXIT: &str = "\
Exit codes:
  0    signed off
  64   the command line is wrong
  69   unreachable, lost for good, signed off by the server, or taken over by another window
  76   not a Helpline server, or none that speaks this version
  77   refused
  78   the link asks for what this version can't do
  130  left before being signed on
  129, 143  ended by SIGHUP or SIGTERM, without signing off: the desk is kept";

#[derive(Debug, Args)]
struct Manner {
    /// Write events as JSON objects, one a line, and read commands as such
    #[arg(long)]
    json: bool,

    /// On a terminal, don't edit lines
    #[arg(long)]
    plain: bool,
}

impl Manner {
    fn mode(&self) -> Mode {
        if self.json {
            Mode::Json
        } else if !terminal::is_interactive() {
            Mode::Pipe
        } else if self.plain || terminal::is_dumb() {
            Mode::Plain
        } else {
            Mode::Terminal
        }
    }
}

fn name(typed: &str) -> Result<Name, TextError> {
    Name::typed(typed)
}

fn line_name(typed: &str) -> Result<LineName, TextError> {
    LineName::new(typed)
}

/// Runs the program `helpline` with the arguments of this process.
#[must_use]
pub fn main() -> ExitCode {
    let arguments: Arguments = match exit::parse() {
        Ok(arguments) => arguments,
        Err(code) => return code,
    };
    match start(arguments) {
        Ok(exit) => exit.into(),
        Err(failure) => exit::report("helpline", &failure),
    }
}

fn start(arguments: Arguments) -> Result<Exit, Failure> {
    let logs = log::init(arguments.verbosity, LevelFilter::WARN, Format::Text)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(Exit::Other, "the system gives too little").because(error))?;
    let end = runtime.block_on(until_killed(run(arguments, logs)));
    // The look-up of a name can't be interrupted, only left alone.
    runtime.shutdown_background();
    end
}

/// SIGHUP, unless `nohup` has its way, and SIGTERM end the program at once, whatever it waits for.
async fn until_killed(run: impl Future<Output = Result<Exit, Failure>>) -> Result<Exit, Failure> {
    let hears_hangup = !terminal::is_hangup_ignored();
    let mut hangup = if hears_hangup { Some(listen(SignalKind::hangup())?) } else { None };
    let hung_up = async {
        match &mut hangup {
            Some(hangup) => hangup.recv().await,
            None => std::future::pending().await,
        }
    };
    let mut terminate = listen(SignalKind::terminate())?;
    tokio::select! {
        end = run => end,
        _ = hung_up => Ok(Exit::Hangup),
        _ = terminate.recv() => Ok(Exit::Terminated),
    }
}

fn listen(kind: SignalKind) -> Result<Signal, Failure> {
    signal(kind)
        .map_err(|error| Failure::new(Exit::Other, "signals can't be received").because(error))
}

async fn run(arguments: Arguments, logs: Logs) -> Result<Exit, Failure> {
    let interrupts = listen(SignalKind::interrupt())?;
    let palette = arguments.verbosity.color.stdout();
    match arguments.command {
        Command::Call(call) => {
            let screen = Screen::open(call.manner.mode(), palette, logs)?;
            be_caller(call, screen, interrupts).await
        }
        Command::Desk(desk) => {
            let screen = Screen::open(desk.manner.mode(), palette, logs)?;
            be_operator(desk, screen, interrupts).await
        }
    }
}

async fn be_caller(call: Call, screen: Screen, mut interrupts: Signal) -> Result<Exit, Failure> {
    let mode = screen.mode();
    let mut beginner = Beginner::new(&call.address, screen, &mut interrupts);
    let begun = begin_call(&call, &mut beginner).await;
    let screen = beginner.screen;
    let (link, beginning) = match begun {
        Ok(begun) => begun,
        Err(end) => {
            screen.finish().await;
            return end;
        }
    };
    let part = Caller::new(caller::Manner {
        mode,
        bye: if call.no_bye { ByeWord::IsText } else { ByeWord::HangsUp },
        bye_at_end: call.bye,
        server: call.address.to_string(),
        beginning,
        is_kept: link.is_kept(),
    });
    run::run(link, part, screen, Interrupts::Ours(interrupts)).await
}

async fn begin_call(call: &Call, beginner: &mut Beginner<'_>) -> Result<(Link, Beginning), End> {
    let kept = beginner.call_to_resume(call.resume).await?;
    let stream = beginner.connect().await?;
    if let Some(kept) = kept {
        return Ok((beginner.resume(stream, kept), Beginning::Resumed));
    }
    let line = call.line.clone().or_else(|| call.address.line.clone());
    let name = call.name.clone();
    let link = beginner.begin(stream, Side::Caller, name, line, Answering::ByHand)?;
    Ok((link, Beginning::New))
}

async fn be_operator(desk: Desk, screen: Screen, mut interrupts: Signal) -> Result<Exit, Failure> {
    let mode = screen.mode();
    let name = desk.name.clone().map_or_else(login_name, Ok)?;
    let mut beginner = Beginner::new(&desk.address, screen, &mut interrupts);
    let begun = begin_desk(&desk, name, &mut beginner).await;
    let screen = beginner.screen;
    let (link, beginning, answering) = match begun {
        Ok(begun) => begun,
        Err(end) => {
            screen.finish().await;
            return end;
        }
    };
    let part = Operator::new(operator::Manner {
        mode,
        seat: Seat::Desk,
        answering,
        server: desk.address.to_string(),
        beginning,
        is_kept: link.is_kept(),
    });
    run::run(link, part, screen, Interrupts::Ours(interrupts)).await
}

async fn begin_desk(
    desk: &Desk,
    name: Name,
    beginner: &mut Beginner<'_>,
) -> Result<(Link, Beginning, Answering), End> {
    let wanted = if desk.auto { Answering::ByItself } else { Answering::ByHand };
    if let Some((link, begun)) = beginner.desk_to_resume(&name).await? {
        let answering = begun.answering.unwrap_or(wanted);
        if answering != wanted {
            let how = match answering {
                Answering::ByHand => "by hand",
                Answering::ByItself => "by itself",
            };
            beginner.screen.warn(&format!(
                "this desk goes on answering {how}, as before; to change that, sign off and on again"
            ));
        }
        return Ok((link, Beginning::Resumed, answering));
    }
    let stream = beginner.connect().await?;
    let link = beginner.begin(stream, Side::Operator, name, None, wanted)?;
    Ok((link, Beginning::New, wanted))
}

fn login_name() -> Result<Name, Failure> {
    let login = terminal::login_name();
    Name::typed(&login).map_err(|error| {
        Failure::new(Exit::Usage, format!("the login name {login:?} can't be shown to callers"))
            .because(error)
            .hint("choose another one with --name")
    })
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;
    use insta::assert_snapshot;

    use super::*;

    fn help(command: &[&str]) -> String {
        let mut arguments = Arguments::command().term_width(100);
        arguments.build();
        let command = command
            .iter()
            .fold(&mut arguments, |command, name| command.find_subcommand_mut(name).unwrap());
        command.render_long_help().to_string()
    }

    fn exit(arguments: &[&str]) -> Result<Command, u8> {
        let arguments = [&["helpline"], arguments].concat();
        Arguments::try_parse_from(arguments)
            .map(|arguments| arguments.command)
            .map_err(|error| if error.use_stderr() { Exit::Usage.code() } else { Exit::Ok.code() })
    }

    #[test]
    fn help_shows_what_works_today() {
        assert_snapshot!("help", help(&[]));
        assert_snapshot!("help_call", help(&["call"]));
        assert_snapshot!("help_desk", help(&["desk"]));
    }

    #[test]
    fn the_version_names_the_wires_too() {
        assert_eq!(
            Arguments::command().render_version(),
            format!("helpline {} (wire 1)\n", env!("CARGO_PKG_VERSION"))
        );
    }

    #[test]
    fn a_wrong_command_line_is_a_usage_error() {
        for wrong in [
            &["call"][..],
            &["call", "a:b:c"],
            &["call", "host:0"],
            &["call", "host", "--name", "-- wei"],
            &["call", "host", "--name", "  "],
            &["call", "host", "--line", "a b"],
            &["desk", "host", "--resume"],
            &["desk", "host", "--line", "main"],
            &["forget", "host"],
            &[],
        ] {
            assert_eq!(exit(wrong).map(|_| ()), Err(64), "{wrong:?}");
        }
        assert_eq!(exit(&["--version"]).map(|_| ()), Err(0));
        assert_eq!(exit(&["call", "--help"]).map(|_| ()), Err(0));
    }

    #[test]
    fn names_have_defaults() {
        let Ok(Command::Call(call)) = exit(&["call", "::1", "-v", "--color", "never"]) else {
            panic!("not a call")
        };
        assert_eq!(call.name.as_str(), "caller");
        let Ok(Command::Desk(desk)) = exit(&["desk", "host", "--name", " Wei "]) else {
            panic!("not a desk")
        };
        assert_eq!(desk.name.unwrap().as_str(), "Wei");
    }
}
