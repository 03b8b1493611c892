//! The command line of `helpline-server`.

use std::{num::NonZeroU32, path::PathBuf, time::Duration};

use clap::{Args, Parser, Subcommand};
use helpline_cli_common::log::Verbosity;
use helpline_proto::{
    limits,
    text::{Detail, LineName, Name, Text},
    time::UnixMillis,
};
use helpline_server::{
    crowd::{PER_ADDRESS, STRANGERS},
    listen::Address,
    network::Network,
};
use time::{Date, macros::format_description};

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
    /// Say who may answer, whether the server runs or not
    #[command(subcommand)]
    Operator(Operator),
    /// Say who is kept out, whether the server runs or not
    #[command(subcommand)]
    Ban(Ban),
    /// Invite callers to a line that was started with --invite-only
    #[command(subcommand)]
    Invite(Invite),
    /// Show who signed on, looked at calls, banned and invited
    Audit(Reading),
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

    /// Let in only callers with an invitation; see helpline-server invite
    #[arg(long)]
    pub(crate) invite_only: bool,

    /// Write down no address, and keep calls for a day (unless --keep says otherwise)
    #[arg(long)]
    pub(crate) private: bool,

    /// Delete calls so many days after they have ended [default: never; 1 with --private]
    #[arg(long, value_name = "DAYS", value_parser = days)]
    pub(crate) keep: Option<NonZeroU32>,

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

#[derive(Debug, Subcommand)]
pub(crate) enum Operator {
    /// Make an account; its token is printed, now and never again
    Add {
        /// The name that callers read
        #[arg(value_parser = name)]
        name: Name,

        /// May also end and ban any call of the line
        #[arg(long)]
        supervisor: bool,

        #[command(flatten)]
        data: Data,
    },
    /// List the accounts
    List(Reading),
    /// Let an account sign on no more; whoever is signed on with it is sent away
    Disable {
        /// Which account
        #[arg(value_parser = name)]
        name: Name,

        #[command(flatten)]
        data: Data,
    },
    /// Remove an account; whoever is signed on with it is sent away
    Remove {
        /// Which account
        #[arg(value_parser = name)]
        name: Name,

        #[command(flatten)]
        data: Data,
    },
    /// Give an account another token, and let it sign on again if it was disabled
    Rotate {
        /// Which account
        #[arg(value_parser = name)]
        name: Name,

        #[command(flatten)]
        data: Data,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Ban {
    /// Keep an address or a network out; calls from there end
    Add {
        /// An address, or a network such as 192.0.2.0/24
        network: Network,

        /// For how long, such as 30m, 12h or 7d
        #[arg(long = "for", value_name = "DURATION", default_value = "1d", value_parser = duration)]
        lasting: Duration,

        /// Why, for those who run the line
        #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true,
              value_parser = detail)]
        reason: Detail,

        #[command(flatten)]
        data: Data,
    },
    /// List who is kept out
    List(Reading),
    /// Keep an address or a network out no longer
    Lift {
        /// As it stands in the list
        network: Network,

        #[command(flatten)]
        data: Data,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Invite {
    /// Make an invitation for one call; it is printed, now and never again
    Add {
        /// It holds for any number of calls, until it ends
        #[arg(long, requires = "end")]
        many: bool,

        /// For how long it holds, such as 12h or 7d
        #[arg(long = "for", value_name = "DURATION", value_parser = duration, group = "end")]
        lasting: Option<Duration>,

        /// The last day on which it holds, in UTC: YYYY-MM-DD
        #[arg(long, value_name = "DATE", value_parser = end_of_day, group = "end")]
        until: Option<UnixMillis>,

        #[command(flatten)]
        data: Data,
    },
    /// List the invitations that hold
    List(Reading),
    /// Take an invitation back
    Remove {
        /// Its number in the list
        number: i64,

        #[command(flatten)]
        data: Data,
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

/// The longest that a ban or an invitation may last, in seconds: a hundred years, which every calendar has.
const LONGEST: u64 = 100 * 365 * 24 * 60 * 60;

fn days(given: &str) -> Result<NonZeroU32, String> {
    given.parse().map_err(|_| "a number of days from 1 on is needed".to_owned())
}

fn duration(given: &str) -> Result<Duration, String> {
    let duration = humantime::parse_duration(given);
    let duration = duration.ok().filter(|duration| (1..=LONGEST).contains(&duration.as_secs()));
    duration.ok_or_else(|| "a duration such as 30m, 12h or 7d is needed".to_owned())
}

fn end_of_day(given: &str) -> Result<UnixMillis, String> {
    let wrong = || "a day such as 2026-12-31 is needed".to_owned();
    let day =
        Date::parse(given, format_description!("[year]-[month]-[day]")).map_err(|_| wrong())?;
    let next = day.next_day().ok_or_else(wrong)?.midnight().assume_utc();
    next.unix_timestamp().checked_mul(1000).map(UnixMillis).ok_or_else(wrong)
}

fn detail(given: &str) -> Result<Detail, String> {
    Detail::new(given).map_err(|error| error.to_string())
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
