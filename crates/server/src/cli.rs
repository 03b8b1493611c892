//! The command line of `helpline-server`.

use std::{num::NonZeroU32, path::PathBuf, time::Duration};

use clap::{Args, Parser, Subcommand};
use helpline_cli_common::log::Verbosity;
use helpline_proto::{
    limits,
    text::{LineName, Name, Text},
};
use helpline_server::{
    crowd::{PER_ADDRESS, STRANGERS},
    listen::Address,
};

/// The program's version, and the wire's.
const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), " (wire 1)");

/// Over those options that keep anybody from hurting others.
const LIMITS: &str = "Limits";

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
    /// Show every limit, with what the same options as for run make of it
    Limits(Run),
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

    /// Answer with this certificate and the chain behind it, as PEM [default: the line makes its own]
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    pub(crate) tls_cert: Option<PathBuf>,

    /// The private key of that certificate, as PEM
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub(crate) tls_key: Option<PathBuf>,

    /// Take plaintext from other machines too: whoever is on the way can read and change it
    #[arg(long)]
    pub(crate) plaintext: bool,

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

    #[command(flatten)]
    pub(crate) limits: Limits,
}

#[derive(Debug, Args)]
pub(crate) struct Limits {
    /// How many connections one address may have; 0 for any number
    #[arg(long, help_heading = LIMITS, value_name = "N", default_value_t = PER_ADDRESS)]
    pub(crate) connections_per_address: u32,

    /// How many callers of one address may wait; 0 for any number [default: half of the places]
    #[arg(long, help_heading = LIMITS, value_name = "N")]
    pub(crate) callers_per_address: Option<u32>,

    /// Count this machine's own connections and callers like those of any other address
    #[arg(long, help_heading = LIMITS)]
    pub(crate) limit_loopback: bool,

    /// How many connections may be open that have not joined or signed on yet; the oldest makes room
    #[arg(long, help_heading = LIMITS, value_name = "N", default_value_t = NonZeroU32::new(STRANGERS).unwrap_or(NonZeroU32::MIN))]
    pub(crate) strangers: NonZeroU32,

    /// How much may wait to be taken by all peers together; past it they are told from the database
    #[arg(long, help_heading = LIMITS, value_name = "MIB", default_value = "256")]
    pub(crate) memory: NonZeroU32,
}

impl Run {
    /// How many callers of one address may wait: by default no more than half of all, so that nobody is alone
    /// in the queue.
    pub(crate) fn callers_per_address(&self) -> Option<u32> {
        let most = self.limits.callers_per_address.unwrap_or(self.places.get().div_ceil(2));
        Some(most).filter(|most| *most > 0)
    }

    /// How many connections one address may have.
    pub(crate) fn connections_per_address(&self) -> Option<u32> {
        Some(self.limits.connections_per_address).filter(|most| *most > 0)
    }

    /// The bytes that may wait for all peers together.
    pub(crate) fn memory(&self) -> usize {
        usize::try_from(self.limits.memory.get()).unwrap_or(usize::MAX).saturating_mul(1024 * 1024)
    }
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
