//! `helpline-server audit`: who has done what others may ask about.

use std::io::{self, BufWriter, Write as _};

use helpline_cli_common::{clean, exit::Failure};
use helpline_server::calendar;
use serde_json::json;

use crate::{
    admin, cli,
    listing::{Stop, finish},
};

/// Shows the audit, oldest first.
pub(crate) fn show(how: &cli::Reading) -> Result<(), Failure> {
    let admin = admin::open(&how.data)?;
    let mut out = BufWriter::new(io::stdout().lock());
    let shown = admin.audits(|audit| {
        let written = if how.json {
            let audit = json!({
                "at": audit.at.0,
                "who": audit.who,
                "seat": audit.seat.name(),
                "did": audit.did.name(),
                "about": audit.about,
            });
            writeln!(out, "{}", clean::json_escape(&audit.to_string()))
        } else {
            let did = audit.did.name().replace('_', " ");
            let line = format!("{} ({}) {did} {}", audit.who, audit.seat.name(), audit.about);
            writeln!(out, "{}  {}", calendar::utc(audit.at), clean::line(line.trim_end()))
        };
        written.map_err(Stop::Output)
    });
    finish(shown.and_then(|()| out.flush().map_err(Stop::Output)))
}
