//! The program `helpline`.

use std::process::ExitCode;

fn main() -> ExitCode {
    helpline_client::cli::main()
}
