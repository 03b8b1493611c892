//! The program `helpline`, with pipes.

use std::{
    ffi::OsString,
    fmt::Display,
    ops::{Deref, DerefMut},
    process::Command,
    time::Duration,
};

use helpline_client::Address;
use helpline_proto::text::Name;
use serde_json::Value;

use crate::{
    PATIENCE, accounts,
    binaries::helpline,
    home::{Home, LOGIN_NAME},
    process::{self, Finished, Process},
};

/// Where a desk finds its token in the environment.
const TOKEN: &str = "HELPLINE_TOKEN";

/// An event of `--json`: one line of standard output.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// What happened.
    pub kind: String,
    /// The reference of the command it answers; 0 for none.
    pub reference: u64,
    /// The rest.
    pub body: Value,
}

impl Event {
    /// Reads a line; none if it isn't an event, or not a whole one.
    #[must_use]
    pub fn try_read(line: &str) -> Option<Self> {
        let value: Value = serde_json::from_str(line).ok()?;
        let (kind, reference) = (value["kind"].as_str()?.to_owned(), value["ref"].as_u64()?);
        Some(Self { kind, reference, body: value["body"].clone() })
    }

    fn read(line: &str) -> Self {
        let value: Value =
            serde_json::from_str(line).unwrap_or_else(|error| panic!("not JSON: {error}: {line}"));
        let kind = value["kind"].as_str().unwrap_or_else(|| panic!("no kind: {line}"));
        let reference = value["ref"].as_u64().unwrap_or_else(|| panic!("no ref: {line}"));
        Self { kind: kind.to_owned(), reference, body: value["body"].clone() }
    }
}

/// How the program is to be started.
#[derive(Clone, Debug)]
pub struct ClientSetup {
    home: Home,
    args: Vec<OsString>,
    envs: Vec<(OsString, OsString)>,
    wrapper: Vec<OsString>,
}

impl ClientSetup {
    /// Starts it through another program that ends up being it, such as `ip netns exec`.
    #[must_use]
    pub fn through<A: Into<OsString>>(mut self, wrapper: impl IntoIterator<Item = A>) -> Self {
        self.wrapper = wrapper.into_iter().map(Into::into).collect();
        self
    }

    /// Adds arguments.
    #[must_use]
    pub fn args<A: Into<OsString>>(mut self, args: impl IntoIterator<Item = A>) -> Self {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    /// Under which name.
    #[must_use]
    pub fn name(self, name: &str) -> Self {
        self.args(["--name", name])
    }

    /// With one JSON object a line.
    #[must_use]
    pub fn json(self) -> Self {
        self.args(["--json"])
    }

    /// Whose home it lives in.
    #[must_use]
    pub fn home(mut self, home: &Home) -> Self {
        self.home = home.clone();
        self
    }

    /// Sets a variable of its environment.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.envs.push((name.into(), value.into()));
        self
    }

    /// The command line: program and arguments.
    #[must_use]
    pub fn command_line(&self) -> Vec<OsString> {
        let program = std::iter::once(helpline().into());
        self.wrapper.iter().cloned().chain(program).chain(self.args.iter().cloned()).collect()
    }

    pub(crate) fn parts(&self) -> (Vec<OsString>, Home, Vec<(OsString, OsString)>) {
        let mut envs = self.envs.clone();
        envs.extend(self.token().map(|token| (TOKEN.into(), token.into())));
        (self.command_line(), self.home.clone(), envs)
    }

    /// What somebody who answers at a server of a story has in the environment, unless the story says where the
    /// token is.
    fn token(&self) -> Option<String> {
        let text = |arg: &OsString| arg.to_str().map(str::to_owned);
        let args: Vec<String> = self.args.iter().filter_map(text).collect();
        let is_said = args.iter().any(|arg| arg == "--token-file")
            || self.envs.iter().any(|(variable, _)| variable == TOKEN);
        let ["desk", address, ..] = args.iter().map(String::as_str).collect::<Vec<_>>()[..] else {
            return None;
        };
        if is_said {
            return None;
        }
        let mut behind = args.iter().skip_while(|arg| *arg != "--name").skip(1);
        let name = Name::typed(behind.next().map_or(LOGIN_NAME, String::as_str)).ok()?;
        let address: Address = address.parse().ok()?;
        let address = address.to_string().parse().ok()?;
        accounts::token(address, &name).map(|token| token.as_str().to_owned())
    }

    fn command(&self) -> Command {
        let (line, _, envs) = self.parts();
        let mut command = Command::new(&line[0]);
        command.args(&line[1..]).envs(envs);
        command
    }

    /// Starts it.
    ///
    /// # Panics
    /// It can't be started.
    #[must_use]
    pub fn start(self) -> Client {
        Client { process: Process::start(self.command(), &self.home), shown: 0 }
    }

    /// Runs it to its end, with nothing on its standard input.
    ///
    /// # Panics
    /// It doesn't end.
    #[must_use]
    pub fn run(self) -> Finished {
        process::run(self.command(), &self.home)
    }
}

/// The program `helpline` with pipes for its stdin, stdout and stderr; killed when dropped.
///
/// It dereferences to its [`Process`]: lines of stdout and stderr, signals, waiting.
#[derive(Debug)]
pub struct Client {
    process: Process,
    /// How many lines of standard output were looked at as events.
    shown: usize,
}

impl Client {
    /// `helpline` with any arguments.
    #[must_use]
    pub fn with<A: Into<OsString>>(args: impl IntoIterator<Item = A>) -> ClientSetup {
        let (args_so_far, envs, wrapper) = (Vec::new(), Vec::new(), Vec::new());
        ClientSetup { home: Home::new(), args: args_so_far, envs, wrapper }.args(args)
    }

    /// `helpline call ADDRESS`.
    #[must_use]
    pub fn call(address: impl Display) -> ClientSetup {
        Self::with(["call".to_owned(), address.to_string()])
    }

    /// `helpline desk ADDRESS`.
    #[must_use]
    pub fn desk(address: impl Display) -> ClientSetup {
        Self::with(["desk".to_owned(), address.to_string()])
    }

    /// Types a line into its standard input.
    pub fn type_line(&mut self, line: &str) {
        self.process.write(format!("{line}\n").as_bytes());
    }

    /// Gives it a command as JSON.
    pub fn command(&mut self, command: &Value) {
        self.type_line(&command.to_string());
    }

    /// Waits for the next event of this kind, passing over others.
    ///
    /// # Panics
    /// None comes within [`PATIENCE`].
    pub fn expect(&mut self, kind: &str) -> Event {
        self.expect_within(PATIENCE, kind, |_| true)
    }

    /// Waits for the next event of this kind that `fits`, passing over others.
    ///
    /// # Panics
    /// None comes in time.
    pub fn expect_within(
        &mut self,
        within: Duration,
        kind: &str,
        fits: impl Fn(&Event) -> bool,
    ) -> Event {
        let from = self.shown;
        let found = self.process.stdout.find(within, |lines| {
            let events = lines.iter().enumerate().skip(from);
            events
                .map(|(at, line)| (at, Event::read(line)))
                .find(|(_, event)| event.kind == kind && fits(event))
        });
        let Some((at, event)) = found else {
            panic!("no {kind} within {within:?} behind line {from}: {}", self.process.seen());
        };
        self.shown = at + 1;
        event
    }

    /// Every event so far.
    ///
    /// # Panics
    /// A line of standard output isn't one.
    #[must_use]
    pub fn events(&self) -> Vec<Event> {
        self.process.stdout().iter().map(|line| Event::read(line)).collect()
    }
}

impl Deref for Client {
    type Target = Process;

    fn deref(&self) -> &Process {
        &self.process
    }
}

impl DerefMut for Client {
    fn deref_mut(&mut self) -> &mut Process {
        &mut self.process
    }
}
