//! Times as people read them.

use helpline_proto::time::UnixMillis;
use time::{OffsetDateTime, format_description::BorrowedFormatItem, macros::format_description};

const TIME: &[BorrowedFormatItem<'_>] =
    format_description!("[year]-[month]-[day] [hour]:[minute]:[second]Z");

/// A time in UTC, to the second; the number itself, if no calendar goes so far.
#[must_use]
pub fn utc(at: UnixMillis) -> String {
    let moment = OffsetDateTime::from_unix_timestamp_nanos(i128::from(at.0) * 1_000_000);
    moment
        .ok()
        .and_then(|moment| moment.format(TIME).ok())
        .unwrap_or_else(|| format!("{:20}", at.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_read_in_utc() {
        assert_eq!(utc(UnixMillis(1_767_323_045_678)), "2026-01-02 03:04:05Z");
        assert_eq!(utc(UnixMillis(i64::MAX)).trim(), i64::MAX.to_string());
    }
}
