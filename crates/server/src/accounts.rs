//! `helpline-server operator`: who may answer.

use std::io::{self, Write as _};

use helpline_cli_common::{
    clean,
    exit::{Exit, Failure},
};
use helpline_proto::text::{Name, Secret};
use helpline_server::{
    access::{Account, Did, Role, SecretHash},
    calendar,
    store::admin::DatedAccount,
};
use serde_json::json;

use crate::{
    admin,
    cli::{self, Operator},
    listing,
};

pub(crate) fn run(command: Operator) -> Result<(), Failure> {
    match command {
        Operator::Add { name, supervisor, data } => add(name, supervisor, &data),
        Operator::List(how) => list(&how),
        Operator::Disable { name, data } => {
            let audit = admin::audit(Did::AccountDisabled, name.as_str());
            let disabled = admin::open(&data)?.disable_account(&name, &audit);
            known(&name, disabled.map_err(admin::failed)?, "that may still sign on")?;
            say(&format!("{name} may not sign on any more; a new token would change that"))
        }
        Operator::Remove { name, data } => {
            let audit = admin::audit(Did::AccountRemoved, name.as_str());
            let removed = admin::open(&data)?.remove_account(&name, &audit);
            known(&name, removed.map_err(admin::failed)?, "here")?;
            say(&format!("{name} has no account any more"))
        }
        Operator::Rotate { name, data } => {
            let token = token()?;
            let audit = admin::audit(Did::AccountRotated, name.as_str());
            let hash = SecretHash::of(&token);
            let rotated = admin::open(&data)?.rotate_account(&name, hash, &audit);
            known(&name, rotated.map_err(admin::failed)?, "here")?;
            show(&name, &token)
        }
    }
}

fn add(name: Name, is_supervisor: bool, data: &cli::Data) -> Result<(), Failure> {
    let token = token()?;
    let role = if is_supervisor { Role::Supervisor } else { Role::Operator };
    let account =
        Account { name: name.clone(), role, token: SecretHash::of(&token), disabled: false };
    let audit = admin::audit(Did::AccountAdded, name.as_str());
    if !admin::open(data)?.add_account(&account, &audit).map_err(admin::failed)? {
        return Err(Failure::new(Exit::Other, format!("there is an account {name} already"))
            .hint("for a new token: helpline-server operator rotate NAME"));
    }
    show(&name, &token)
}

/// The token, alone on stdout; what it is for, on stderr.
fn show(name: &Name, token: &Secret) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    writeln!(out, "{}", token.as_str())
        .and_then(|()| out.flush())
        .map_err(|error| Failure::new(Exit::IoError, "cannot show the token").because(error))?;
    say(&format!(
        "this is {name}'s token, shown only now; helpline desk HOST --name NAME asks for it once"
    ))
}

fn list(how: &cli::Reading) -> Result<(), Failure> {
    let accounts = admin::open(&how.data)?.accounts().map_err(admin::failed)?;
    let rows = accounts.iter().map(|DatedAccount { account, made_at, disabled_at }| {
        let role = match account.role {
            Role::Operator => "operator",
            Role::Supervisor => "supervisor",
        };
        let state = if disabled_at.is_some() { "disabled" } else { "active" };
        let row = [
            clean::line(account.name.as_str()),
            role.to_owned(),
            state.to_owned(),
            calendar::utc(*made_at),
        ];
        let json = json!({
            "name": account.name.as_str(),
            "role": role,
            "state": state,
            "made_at": made_at.0,
            "disabled_at": disabled_at.map(|at| at.0),
        });
        (row, json)
    });
    listing::write(how.json, ["NAME", "ROLE", "STATE", "MADE"], rows)
}

fn token() -> Result<Secret, Failure> {
    use std::fmt::Write as _;
    let no_token = |cause: String| Failure::new(Exit::Other, "no token can be made").because(cause);
    let mut random = [0; 32];
    getrandom::fill(&mut random).map_err(|error| no_token(error.to_string()))?;
    let digits = random.iter().fold(String::new(), |mut digits, byte| {
        // Writing to a String cannot fail.
        let _ = write!(digits, "{byte:02x}");
        digits
    });
    Secret::new(digits).map_err(|error| no_token(error.to_string()))
}

fn known(name: &Name, is_known: bool, how: &str) -> Result<(), Failure> {
    if is_known {
        return Ok(());
    }
    Err(Failure::new(Exit::Other, format!("there is no account {name} {how}"))
        .hint("to see which there are: helpline-server operator list"))
}

fn say(line: &str) -> Result<(), Failure> {
    let _nobody_reads = writeln!(io::stderr(), "{line}");
    Ok(())
}
