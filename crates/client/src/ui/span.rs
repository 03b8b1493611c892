//! Spans of time as people write them, and as they are told.

/// The units, in seconds, largest first.
const UNITS: [(&str, &str, u32); 4] =
    [("d", "day", 24 * 60 * 60), ("h", "hour", 60 * 60), ("m", "minute", 60), ("s", "second", 1)];

/// Reads `2h`, `1d` or `30m`, as a number of seconds from 1 on. None if it isn't one, or too long to be meant.
pub(crate) fn read(word: &str) -> Option<u32> {
    let (_, _, unit, digits) = UNITS
        .iter()
        .find_map(|(short, name, unit)| Some((short, name, unit, word.strip_suffix(short)?)))?;
    if !digits.chars().all(|c| c.is_ascii_digit()) {
        return None;
    }
    let number: u32 = digits.parse().ok()?;
    number.checked_mul(*unit).filter(|seconds| *seconds > 0)
}

/// Whether somebody may have meant one.
pub(crate) fn is_like_one(word: &str) -> bool {
    word.starts_with(|c: char| c.is_ascii_digit())
}

/// `2 hours`, `1 day`: in the largest unit that says it exactly.
pub(crate) fn show(seconds: u32) -> String {
    let exact = |(_, name, unit): &(&str, &'static str, u32)| {
        seconds.is_multiple_of(*unit).then_some((*name, seconds / unit))
    };
    let (name, number) = UNITS.iter().find_map(exact).unwrap_or(("second", seconds));
    if number == 1 { format!("1 {name}") } else { format!("{number} {name}s") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_is_a_number_and_a_unit() {
        for (word, seconds, shown) in [
            ("30m", 1_800, "30 minutes"),
            ("1d", 86_400, "1 day"),
            ("24h", 86_400, "1 day"),
            ("2h", 7_200, "2 hours"),
            ("90s", 90, "90 seconds"),
            ("090m", 5_400, "90 minutes"),
        ] {
            assert_eq!(read(word), Some(seconds), "{word}");
            assert_eq!(show(seconds), shown);
        }
        for bad in
            ["", "d", "1", "0h", "1.5h", "-1d", "+1d", "1 d", "1D", "2hours", "99999999d", "é"]
        {
            assert_eq!(read(bad), None, "{bad}");
        }
    }
}
