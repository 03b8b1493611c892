//! A claimed count allocates nothing to speak of. On its own, because it watches the whole process.
#![cfg(target_os = "linux")]

use helpline_proto::{
    frame::{self, Frame},
    message::{Admitted, Board, Hello, Join, Message, Ref, Say, SignOn},
};

/// The most memory this process has had, in KiB; touched or not.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmPeak:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or_default()
}

#[test]
fn a_claimed_count_allocates_nothing_to_speak_of() {
    let before = peak();
    assert!(before > 0, "/proc tells");
    for number in
        [Say::NUMBER, Hello::NUMBER, Join::NUMBER, SignOn::NUMBER, Board::NUMBER, Admitted::NUMBER]
    {
        for lie in [1_u64 << 63, 1 << 60, 1 << 40, 1 << 32, 1 << 30, 1 << 20, 65_000] {
            // Wherever in the body the count is.
            for at in 0..64 {
                let mut body = vec![0; at];
                body.extend(lie.to_le_bytes());
                let frame = Frame { kind: number, reference: Ref(1), body: &body };
                assert!(Message::decode(frame).is_err());
            }
        }
    }
    for _ in 0..10_000 {
        assert!(matches!(frame::split(&65_536_u32.to_be_bytes(), 65_536), Ok(None)));
    }
    let grown = peak() - before;
    assert!(grown < 4 * 1024, "{grown} KiB");
}
