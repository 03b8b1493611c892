//! The command line of `helpline-server`.

use std::{num::NonZeroU32, path::PathBuf, time::Duration};

use clap::{Args, Parser, Subcommand};
use helpline_cli_common::log::Verbosity;
use helpline_proto::{
    limits,
    text::{LineName, Name, Text},
};
use helpline_server::listen::Address;

/// The program's version, and the wire's.
const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), " (wire 1)");

/// Open a line: callers wait their turn and talk one-to-one with an operator
#[derive(Debug, Parser)]
#[command(
    name = "helpline-server",
    version = VERSION,
    args_conflicts_with_subcommands = true,
    after_help = "Exit codes: 0 stopped · 64 usage · 69 address or data directory taken · \
                  74 store failed · 78 configuration"
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,

    #[command(flatten)]
    pub(crate) run: Run,

    #[command(flatten)]
    pub(crate) verbosity: Verbosity,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Open the line; the same as no command
    Run(Run),
    /// Look at the calls that are kept, whether the server runs or not
    #[command(subcommand)]
    Calls(Calls),
}

#[derive(Debug, Args)]
pub(crate) struct Run {
    /// Where to answer: HOST:PORT, HOST, :PORT or PORT; port 0 picks one; may be repeated
    #[arg(long, value_name = "ADDR", default_values_t = [Address::default()])]
    pub(crate) listen: Vec<Address>,

    #[command(flatten)]
    pub(crate) data: Data,

    /// What the line is called
    #[arg(long, value_name = "NAME", default_value = "main", value_parser = line_name)]
    pub(crate) line: LineName,

    /// How many callers may wait; the next one hears busy
    #[arg(long, value_name = "N", default_value = "4", value_parser = places)]
    pub(crate) places: NonZeroU32,

    /// What callers and operators read first
    #[arg(long, value_name = "TEXT", value_parser = text)]
    pub(crate) greeting: Option<Text>,

    /// The name you answer under, at the console [default: your login name]
    #[arg(long, value_name = "NAME", value_parser = name, allow_hyphen_values = true)]
    pub(crate) name: Option<Name>,

    /// Answer callers here, in this terminal [default: if it is one]
    #[arg(long, overrides_with = "no_console")]
    pub(crate) console: bool,

    /// Don't answer callers here
    #[arg(long, overrides_with = "console")]
    pub(crate) no_console: bool,

    /// How many texts a second each connection may keep up; 0 for any number
    #[arg(long, value_name = "N", default_value_t = limits::SAYS_A_SECOND)]
    pub(crate) says: u32,

    /// How long the place of a caller is kept whose connection broke before anybody answered
    #[arg(long, value_name = "SECONDS", default_value_t = in_seconds(limits::WAITING_GRACE))]
    pub(crate) waiting_grace: u32,

    /// How long a call that was answered is kept when the caller's connection broke
    #[arg(long, value_name = "SECONDS", default_value_t = in_seconds(limits::CALL_GRACE))]
    pub(crate) call_grace: u32,

    /// How long an operator whose connection broke is waited for, before their caller waits again
    #[arg(long, value_name = "SECONDS", default_value_t = in_seconds(limits::OPERATOR_GRACE))]
    pub(crate) operator_grace: u32,

    /// How long calls may go on once the line is told to stop
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    pub(crate) drain: u32,

    /// Write log lines as JSON objects
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Data {
    /// Where calls are kept [default: $STATE_DIRECTORY, else $XDG_DATA_HOME/helpline/server]
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Calls {
    /// List the calls, oldest first
    List(Reading),
    /// Show what was said in a call
    Show {
        /// The call, or enough of its first digits to tell it from the others
        call: String,

        #[command(flatten)]
        reading: Reading,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Reading {
    #[command(flatten)]
    pub(crate) data: Data,

    /// Write one JSON object a line
    #[arg(long)]
    pub(crate) json: bool,
}

fn in_seconds(duration: Duration) -> u32 {
    u32::try_from(duration.as_secs()).unwrap_or(u32::MAX)
}

fn places(given: &str) -> Result<NonZeroU32, String> {
    given.parse().map_err(|_| "a number from 1 on is needed".to_owned())
}

fn line_name(given: &str) -> Result<LineName, String> {
    LineName::new(given).map_err(|error| error.to_string())
}

fn name(given: &str) -> Result<Name, String> {
    Name::typed(given).map_err(|error| error.to_string())
}

fn text(given: &str) -> Result<Text, String> {
    Text::new(given).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use std::{ffi::OsString, iter, os::unix::ffi::OsStringExt as _};

    use clap::CommandFactory as _;
    use proptest::{collection::vec, prelude::*};

    use super::*;

    #[test]
    fn the_command_line_contradicts_itself_nowhere() {
        Cli::command().debug_assert();
    }

    /// Any bytes, those that mean something often.
    fn argument() -> impl Strategy<Value = OsString> {
        let command = Cli::command();
        let options = command.get_arguments().filter_map(|option| option.get_long());
        let names = command.get_subcommands().map(|subcommand| subcommand.get_name());
        let known: Vec<String> = options
            .map(|option| format!("--{option}"))
            .chain(names.map(str::to_owned))
            .chain(["list", "show", "--", "-v", "--help"].map(str::to_owned))
            .collect();
        let known = proptest::sample::select(known);
        let value = "-?[0-9]{1,11}|[a-z:.\\[\\]0-9]{0,12}|\\PC{0,8}";
        prop_oneof![
            4 => known.clone().prop_map(OsString::from),
            2 => value.prop_map(OsString::from),
            2 => (known, value).prop_map(|(option, value)| format!("{option}={value}").into()),
            1 => vec(any::<u8>(), 0..8).prop_map(OsString::from_vec),
        ]
    }

    proptest! {
        #[test]
        fn whatever_is_asked_is_taken_or_refused_with_a_reason(arguments in vec(argument(), 0..6)) {
            let program = iter::once(OsString::from("helpline-server"));
            if let Err(error) = Cli::try_parse_from(program.chain(arguments)) {
                prop_assert!(!error.to_string().is_empty());
            }
        }
    }
}
