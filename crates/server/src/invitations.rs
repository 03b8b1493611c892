//! `helpline-server invite`: who may call a line that takes only invited callers.

use std::io::{self, Write as _};

use helpline_cli_common::{
    clean,
    exit::{Exit, Failure},
};
use helpline_proto::{ids::Uses, text::Secret, time::UnixMillis};
use helpline_server::{
    access::{Did, Invitation, SecretHash, invitation_code},
    calendar,
};
use serde_json::json;

use crate::{
    admin,
    cli::{self, Invite},
    listing,
};

pub(crate) fn run(command: Invite) -> Result<(), Failure> {
    match command {
        Invite::Add { many, lasting, until, data } => {
            let uses = if many { Uses::Many } else { Uses::Once };
            let millis = |lasting: std::time::Duration| {
                i64::try_from(lasting.as_millis()).unwrap_or(i64::MAX)
            };
            let now = admin::now();
            let lasting = lasting.map(|lasting| UnixMillis(now.0.saturating_add(millis(lasting))));
            add(uses, lasting.or(until), &data)
        }
        Invite::List(how) => list(&how),
        Invite::Remove { number, data } => {
            let audit = admin::audit(Did::Uninvited, format!("number {number}"));
            if admin::open(&data)?.uninvite(number, &audit).map_err(admin::failed)? {
                return Ok(());
            }
            Err(Failure::new(Exit::Other, format!("there is no invitation {number} that holds"))
                .hint("to see which there are: helpline-server invite list"))
        }
    }
}

fn add(uses: Uses, until: Option<UnixMillis>, data: &cli::Data) -> Result<(), Failure> {
    if until.is_some_and(|until| until <= admin::now()) {
        return Err(Failure::new(Exit::Usage, "the invitation would be over already")
            .hint("--until takes a day to come"));
    }
    let no_code =
        |cause: String| Failure::new(Exit::Other, "no invitation can be made").because(cause);
    let mut random = [0; 16];
    getrandom::fill(&mut random).map_err(|error| no_code(error.to_string()))?;
    let code = Secret::new(invitation_code(random)).map_err(|error| no_code(error.to_string()))?;
    let invitation = Invitation { code: SecretHash::of(&code), uses, until };
    let audit = admin::audit(Did::Invited, invitation.to_string());
    admin::open(data)?.invite(&invitation, &admin::who(), &audit).map_err(admin::failed)?;
    let mut out = io::stdout().lock();
    writeln!(out, "{}", code.as_str())
        .and_then(|()| out.flush())
        .map_err(|error| Failure::new(Exit::IoError, "cannot show the invitation").because(error))
}

fn list(how: &cli::Reading) -> Result<(), Failure> {
    let invitations = admin::open(&how.data)?.invitations(admin::now()).map_err(admin::failed)?;
    let rows = invitations.iter().map(|named| {
        let row = [
            named.number.to_string(),
            named.invitation.to_string(),
            clean::line(&named.by),
            calendar::utc(named.at),
        ];
        let json = json!({
            "number": named.number,
            "uses": named.invitation.uses,
            "until": named.invitation.until.map(|until| until.0),
            "by": named.by,
            "at": named.at.0,
        });
        (row, json)
    });
    listing::write(how.json, ["NUMBER", "HOLDS", "BY", "MADE"], rows)
}
