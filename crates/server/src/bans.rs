//! `helpline-server ban`: who is kept out.

use helpline_cli_common::{
    clean,
    exit::{Exit, Failure},
};
use helpline_proto::time::UnixMillis;
use helpline_server::{access::Did, calendar, store::admin::NamedBan};
use serde_json::json;

use crate::{admin, cli::Ban, listing};

pub(crate) fn run(command: Ban) -> Result<(), Failure> {
    match command {
        Ban::Add { network, lasting, reason, data } => {
            let at = admin::now();
            let millis = i64::try_from(lasting.as_millis()).unwrap_or(i64::MAX);
            let until = UnixMillis(at.0.saturating_add(millis));
            let reason = reason.as_str().to_owned();
            let ban = NamedBan { network, until, reason, by: admin::who(), at };
            let about = format!("{network} until {}", calendar::utc(until));
            let audit = admin::audit(Did::Banned, about);
            admin::open(&data)?.ban(&ban, &audit).map_err(admin::failed)
        }
        Ban::List(how) => {
            let bans = admin::open(&how.data)?.bans(admin::now()).map_err(admin::failed)?;
            let rows = bans.iter().map(|ban| {
                let row = [
                    ban.network.to_string(),
                    calendar::utc(ban.until),
                    clean::line(&ban.by),
                    clean::line(&ban.reason),
                ];
                let json = json!({
                    "network": ban.network.to_string(),
                    "until": ban.until.0,
                    "by": ban.by,
                    "at": ban.at.0,
                    "reason": ban.reason,
                });
                (row, json)
            });
            listing::write(how.json, ["NETWORK", "UNTIL", "BY", "REASON"], rows)
        }
        Ban::Lift { network, data } => {
            let audit = admin::audit(Did::Lifted, network.to_string());
            if admin::open(&data)?.lift(network, &audit).map_err(admin::failed)? {
                return Ok(());
            }
            Err(Failure::new(Exit::Other, format!("{network} is not banned"))
                .hint("to see which are, as they are written: helpline-server ban list"))
        }
    }
}
