//! The command line `helpline`.

use std::{
    future::Future,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::LazyLock,
};

use clap::{Args, Parser, Subcommand};
use helpline_cli_common::{
    exit::{self, Exit, Failure},
    log::{self, Format, Logs, Verbosity},
    secrets, terminal,
};
use helpline_proto::{
    ids::{Answering, Side},
    text::{LineName, Name, Secret, TextError},
    version,
};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::level_filters::LevelFilter;

use crate::{
    Address,
    begin::{self, Beginner, End, IsEncrypted},
    known::KnownServers,
    link::Link,
    secret,
    tokens::{Place, Remembering, Tokens},
    ui::{
        act::Mode,
        caller::{self, Caller},
        connection::Beginning,
        failure,
        input::ByeWord,
        operator::{self, Operator, Seat},
        run::{self, Interrupts},
        screen::Screen,
        words,
    },
};

/// The variable with an operator's token.
const TOKEN: &str = "HELPLINE_TOKEN";

/// The variable with a caller's invitation.
const INVITE: &str = "HELPLINE_INVITE";

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
    Forget(Forget),
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
    /// host, host:port, [v6]:port or helpline://host:port/line#sha256:…; port 8001 if left out
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

    /// Ask for the invitation that the line wants, without showing it
    #[arg(long, conflicts_with = "invite_file")]
    invite: bool,

    /// Take the invitation from this file [otherwise: from HELPLINE_INVITE in the environment]
    #[arg(long, value_name = "FILE")]
    invite_file: Option<PathBuf>,

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
  77   refused: an invitation is missing, for example, or the server has another key than before
  78   an invitation, or the file of known servers, can't be read
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
    /// host, host:port, [v6]:port or helpline://host:port#sha256:…; port 8001 if left out
    #[arg(value_name = "ADDR")]
    address: Address,

    /// The name of the account, which callers will read [default: the login name]
    #[arg(long, value_parser = name, allow_hyphen_values = true)]
    name: Option<Name>,

    /// Take the account's token from this file [otherwise: from HELPLINE_TOKEN in the environment, the
    /// one that was good the last time, or a prompt]
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,

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
  75   too much from this address: try later
  76   not a Helpline server, or none that speaks this version
  77   refused: no such account and token, for example, or the server has another key than before
  78   the token, or the file of known servers, can't be read
  130  left before being signed on
  129, 143  ended by SIGHUP or SIGTERM, without signing off: the desk is kept";

/// Forget a server's key
///
/// A server that is called for the first time is remembered by its key, and refused once it has another
/// one. When you know that it does, this lets it be met anew.
#[derive(Debug, Args)]
#[command(after_long_help = FORGET_EXIT)]
struct Forget {
    /// The address as it was dialled: host, host:port, [v6]:port or a link
    #[arg(value_name = "ADDR")]
    address: Address,
}

const FORGET_EXIT: &str = "\
Exit codes:
  0    forgotten
  1    nothing was known
  64   the command line is wrong
  78   the file can't be read or written";

#[derive(Debug, Args)]
struct Manner {
    /// Write events as JSON objects, one a line, and read commands as such
    #[arg(long)]
    json: bool,

    /// On a terminal, don't edit lines
    #[arg(long)]
    plain: bool,

    /// Don't encrypt: a server takes that from its own machine only
    #[arg(long)]
    plaintext: bool,
}

impl Manner {
    fn is_encrypted(&self) -> IsEncrypted {
        if self.plaintext { IsEncrypted::No } else { IsEncrypted::Yes }
    }

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
    secrets::no_core_dumps();
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
        Command::Forget(Forget { address }) => forget(&address),
    }
}

fn forget(address: &Address) -> Result<Exit, Failure> {
    let server = address.to_string();
    let forgotten = match KnownServers::of_user() {
        Ok(servers) => servers.forget(&server).map_err(|error| failure::known(&error))?,
        Err(_) => false,
    };
    if !forgotten {
        let what = format!("nothing is known about {server}");
        return Err(Failure::new(Exit::Other, what)
            .hint("servers are known by host and port, exactly as they were dialled"));
    }
    println!("forgot {server}: whoever answers there next is met for the first time");
    Ok(Exit::Ok)
}

async fn be_caller(call: Call, screen: Screen, mut interrupts: Signal) -> Result<Exit, Failure> {
    let mode = screen.mode();
    let mut beginner =
        Beginner::new(&call.address, call.manner.is_encrypted(), screen, &mut interrupts);
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
    if let Some(kept) = kept {
        let stream = beginner.connect().await?;
        return Ok((beginner.resume(stream, kept), Beginning::Resumed));
    }
    // Before there is a connection, on which nobody would wait for so long.
    let invite = invitation(call, beginner).await?;
    let stream = beginner.connect().await?;
    let line = call.line.clone().or_else(|| call.address.line.clone());
    let link = beginner.join(stream, call.name.clone(), line, invite)?;
    Ok((link, Beginning::New))
}

async fn invitation(call: &Call, beginner: &mut Beginner<'_>) -> Result<Option<Secret>, End> {
    let given = if call.invite {
        match beginner.ask_hidden("Invitation: ").await? {
            Some(typed) => Some(("what was typed".to_owned(), typed)),
            None => return Err(beginner.leave(Err(failure::no_invitation())).await),
        }
    } else {
        match handed_in(call.invite_file.as_deref(), INVITE) {
            Ok(given) => given,
            Err(failure) => return Err(beginner.leave(Err(failure)).await),
        }
    };
    let Some((place, given)) = given else { return Ok(None) };
    match secret::invitation(&given) {
        Ok(invite) => Ok(Some(invite)),
        Err(error) => Err(beginner.leave(Err(failure::bad_secret(&place, error))).await),
    }
}

/// A secret from a file or the environment, and where it is from.
fn handed_in(file: Option<&Path>, variable: &str) -> Result<Option<(String, String)>, Failure> {
    let Some(file) = file else {
        return Ok(secret::in_environment(variable).map(|given| (variable.to_owned(), given)));
    };
    let place = file.display().to_string();
    match secret::in_file(file) {
        Ok(given) => Ok(Some((place, given))),
        Err(error) => Err(failure::bad_secret(&place, error)),
    }
}

async fn be_operator(desk: Desk, screen: Screen, mut interrupts: Signal) -> Result<Exit, Failure> {
    let mode = screen.mode();
    let name = desk.name.clone().map_or_else(login_name, Ok)?;
    let mut beginner =
        Beginner::new(&desk.address, desk.manner.is_encrypted(), screen, &mut interrupts);
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
        clock: begin::now,
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
    let given = match given_token(desk) {
        Ok(given) => given,
        Err(failure) => return Err(beginner.leave(Err(failure)).await),
    };
    let place = tokens().map(|tokens| tokens.of(&desk.address.to_string(), &name));
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
        let link = remembering(link, place, None);
        return Ok((link, Beginning::Resumed, answering));
    }
    let token = given.or_else(|| place.as_ref().and_then(Place::token));
    if token.is_none() && !beginner.screen.mode().is_person() {
        let failure = failure::no_token(&desk.address, name.as_str());
        return Err(beginner.leave(Err(failure)).await);
    }
    let mut stream = beginner.connect_desk().await?;
    let token = match token {
        Some(token) => token,
        None => {
            let token = ask_for_token(desk, &name, beginner).await?;
            stream = beginner.connect_again(stream).await?;
            token
        }
    };
    let link = beginner.sign_on(stream, name, token.clone(), wanted)?;
    Ok((remembering(link, place, Some(token)), Beginning::New, wanted))
}

fn given_token(desk: &Desk) -> Result<Option<Secret>, Failure> {
    let given = handed_in(desk.token_file.as_deref(), TOKEN)?;
    given
        .map(|(place, given)| {
            secret::token(&given).map_err(|error| failure::bad_secret(&place, error))
        })
        .transpose()
}

/// The tokens that were good before. That there can be none is no news: the same directory has been missed already.
fn tokens() -> Option<Tokens> {
    Tokens::of_user().inspect_err(|error| tracing::debug!("no token is kept: {error}")).ok()
}

async fn ask_for_token(
    desk: &Desk,
    name: &Name,
    beginner: &mut Beginner<'_>,
) -> Result<Secret, End> {
    let question = format!("Token of {} at {}: ", words::name(name, Side::Operator), desk.address);
    let Some(typed) = beginner.ask_hidden(&question).await? else {
        let failure = failure::no_token(&desk.address, name.as_str());
        return Err(beginner.leave(Err(failure)).await);
    };
    match secret::token(&typed) {
        Ok(token) => Ok(token),
        Err(error) => {
            let failure = failure::bad_secret("what was typed", error);
            Err(beginner.leave(Err(failure)).await)
        }
    }
}

fn remembering(link: Link, place: Option<Place>, token: Option<Secret>) -> Link {
    match place {
        Some(place) => link.remembering(Remembering { place, token }),
        None => link,
    }
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
        assert_snapshot!("help_forget", help(&["forget"]));
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
            &["call", "host", "--invite", "--invite-file", "x"],
            &["call", "host", "--token-file", "x"],
            &["desk", "host", "--invite"],
            &["forget"],
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
