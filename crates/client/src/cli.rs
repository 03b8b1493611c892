//! The command line `helpline`.

use std::{future::Future, process::ExitCode, sync::LazyLock};

use clap::{Args, Parser, Subcommand};
use helpline_cli_common::{
    exit::{self, Exit, Failure},
    log::{self, Format, Logs, Verbosity},
    terminal,
};
use helpline_proto::{
    ids::Answering,
    session::Opening,
    text::{LineName, Name, TextError},
    version,
};
use tokio::{
    net::TcpStream,
    signal::unix::{Signal, SignalKind, signal},
};
use tracing::level_filters::LevelFilter;

use crate::{
    address::Address,
    dial::{DialError, dial},
    link::{self, Link},
    ui::{
        act::{Mode, Show},
        caller::{self, Caller},
        failure,
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
}

const CALL_EXIT: &str = "\
Exit codes:
  0    answered, ended by either side, and everything was said
  1    anything else, also when a line was not said
  64   the command line is wrong
  69   unreachable, lost, or the server stopped in mid-call
  75   busy, closed, or the server stopped while waiting: try later
  76   not a Helpline server, or none that speaks this version
  77   refused
  78   the link asks for what this version can't do
  130  left before an answer
  129, 143  ended by SIGHUP or SIGTERM, without hanging up";

/// Answer callers
///
/// On a terminal, it rings when somebody waits, and /next answers. Otherwise lines from standard input
/// are said to the caller, and standard output has what callers say.
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
  69   unreachable, lost, or the server stopped
  76   not a Helpline server, or none that speaks this version
  77   refused
  78   the link asks for what this version can't do
  130  left before being signed on
  129, 143  ended by SIGHUP or SIGTERM, without signing off";

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
    let mut interrupts = listen(SignalKind::interrupt())?;
    let palette = arguments.verbosity.color.stdout();
    match arguments.command {
        Command::Call(call) => {
            let mode = call.manner.mode();
            let screen = Screen::open(mode, palette, logs)?;
            let (screen, stream) = match connect(&call.address, screen, &mut interrupts).await {
                Ok(connected) => connected,
                Err(end) => return end,
            };
            let line = call.line.or_else(|| call.address.line.clone());
            let opening = opening(&call.address, link::join(line, call.name))?;
            let part = Caller::new(caller::Manner {
                mode,
                bye: if call.no_bye { ByeWord::IsText } else { ByeWord::HangsUp },
                bye_at_end: call.bye,
                server: call.address.to_string(),
            });
            run::run(Link::over(stream, opening), part, screen, Interrupts::Ours(interrupts)).await
        }
        Command::Desk(desk) => {
            let mode = desk.manner.mode();
            let name = desk.name.map_or_else(login_name, Ok)?;
            let screen = Screen::open(mode, palette, logs)?;
            let (screen, stream) = match connect(&desk.address, screen, &mut interrupts).await {
                Ok(connected) => connected,
                Err(end) => return end,
            };
            let answering = if desk.auto { Answering::ByItself } else { Answering::ByHand };
            let opening = opening(&desk.address, link::sign_on(name, answering))?;
            let part = Operator::new(operator::Manner {
                mode,
                seat: Seat::Desk,
                answering,
                server: desk.address.to_string(),
            });
            run::run(Link::over(stream, opening), part, screen, Interrupts::Ours(interrupts)).await
        }
    }
}

fn opening(
    address: &Address,
    opening: Result<Opening, getrandom::Error>,
) -> Result<Opening, Failure> {
    opening.map_err(|error| failure::dial(address, DialError::NoRandomness(error)))
}

fn login_name() -> Result<Name, Failure> {
    let login = terminal::login_name();
    Name::typed(&login).map_err(|error| {
        Failure::new(Exit::Usage, format!("the login name {login:?} can't be shown to callers"))
            .because(error)
            .hint("choose another one with --name")
    })
}

/// Connects, and gives the screen back; otherwise there is an end to leave with.
async fn connect(
    address: &Address,
    mut screen: Screen,
    interrupts: &mut Signal,
) -> Result<(Screen, TcpStream), Result<Exit, Failure>> {
    screen.show(&Show::Note(format!("connecting to {address}")));
    screen.flush().await;
    let end = tokio::select! {
        dialled = dial(address) => match dialled {
            Ok(stream) => {
                let peer = stream.peer_addr();
                if !peer.is_ok_and(|peer| peer.ip().to_canonical().is_loopback()) {
                    screen.warn("this connection is not encrypted");
                }
                return Ok((screen, stream));
            }
            Err(error) => Err(failure::dial(address, error)),
        },
        _ = interrupts.recv() => Ok(Exit::Interrupted),
    };
    screen.finish().await;
    Err(end)
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
            &["call", "host", "--resume"],
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
