//! `helpline-server`: opens a line, and looks at what was said on it.

mod calls;
mod cli;
#[cfg(feature = "console")]
mod console;
#[cfg(not(feature = "console"))]
#[path = "no_console.rs"]
mod console;
mod limits;
mod run;

use std::process::ExitCode;

use helpline_cli_common::exit::{self, Failure};

use cli::{Calls, Cli, Command};

fn main() -> ExitCode {
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
    }
}
