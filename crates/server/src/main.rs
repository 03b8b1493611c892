//! `helpline-server`: opens a line, looks at what was said on it, and says who belongs.

mod accounts;
mod admin;
mod audits;
mod bans;
mod calls;
mod cli;
#[cfg(feature = "console")]
mod console;
#[cfg(not(feature = "console"))]
#[path = "no_console.rs"]
mod console;
mod invitations;
mod limits;
mod listing;
mod run;

use std::process::ExitCode;

use helpline_cli_common::{
    exit::{self, Failure},
    secrets,
};

use cli::{Calls, Cli, Command};

fn main() -> ExitCode {
    secrets::no_core_dumps();
    let cli = match exit::parse::<Cli>() {
        Ok(cli) => cli,
        Err(code) => return code,
    };
    match command(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => exit::report("helpline-server", &failure),
    }
}

fn command(cli: Cli) -> Result<(), Failure> {
    match cli.command {
        None => run::run(cli.run, cli.verbosity),
        Some(Command::Run(run)) => run::run(run, cli.verbosity),
        Some(Command::Limits(run)) => limits::show(&run),
        Some(Command::Calls(Calls::List(reading))) => calls::list(&reading),
        Some(Command::Calls(Calls::Show { call, reading })) => calls::show(&call, &reading),
        Some(Command::Operator(command)) => accounts::run(command),
        Some(Command::Ban(command)) => bans::run(command),
        Some(Command::Invite(command)) => invitations::run(command),
        Some(Command::Audit(how)) => audits::show(&how),
    }
}
