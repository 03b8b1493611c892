use std::{fs::Permissions, os::unix::fs::PermissionsExt as _};

use tempfile::TempDir;

use super::*;

const CALL: CallId = CallId([0xc5; 16]);

fn begun(at: i64) -> Begun {
    Begun {
        side: Side::Caller,
        address: "127.0.0.1:8001".to_owned(),
        name: Name::new("Ada").unwrap(),
        line: None,
        answering: None,
        ticket: Ticket([7; 32]),
        at: UnixMillis(at),
    }
}

fn text(text: &str) -> Text {
    Text::new(text).unwrap()
}

fn directory() -> (TempDir, Directory) {
    let home = tempfile::tempdir().unwrap();
    let directory = Directory::open(&home.path().join("state").join("helpline")).unwrap();
    (home, directory)
}

fn only_file(directory: &Directory) -> PathBuf {
    let files = directory.files();
    assert_eq!(files.len(), 1, "{files:?}");
    files[0].clone()
}

fn said(kept: &Kept) -> Vec<(u32, &str)> {
    kept.lines().iter().map(|line| (line.nonce.0, line.text.as_str())).collect()
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().mode() & 0o777
}

#[test]
fn a_file_is_its_owners_alone() {
    let (home, directory) = directory();
    let _kept = directory.create(begun(1)).unwrap();
    assert_eq!(mode(&only_file(&directory)), 0o600);
    assert_eq!(mode(&home.path().join("state")), 0o700);
    fs::set_permissions(&directory.0, Permissions::from_mode(0o755)).unwrap();
    Directory::open(&directory.0).unwrap();
    assert_eq!(mode(&directory.0), 0o700);
}

#[test]
fn one_process_has_a_file_until_it_ends() {
    let (_home, directory) = directory();
    let kept = directory.create(begun(1)).unwrap();
    assert!(directory.unfinished(|_| true).is_none());
    drop(kept);
    let kept = directory.unfinished(|_| true).unwrap();
    assert_eq!(kept.begun(), &begun(1));
    assert!(directory.unfinished(|_| true).is_none());
    kept.remove();
    assert!(directory.files().is_empty());
}

#[test]
fn the_youngest_wanted_one_is_found() {
    let (_home, directory) = directory();
    for at in [2, 3, 1] {
        directory.create(begun(at)).unwrap();
    }
    drop(directory.create(Begun { address: "elsewhere:1".to_owned(), ..begun(9) }).unwrap());
    let found = directory.unfinished(|begun| begun.address == "127.0.0.1:8001").unwrap();
    assert_eq!(found.begun().at, UnixMillis(3));
}

#[test]
fn lines_outlive_their_process_and_said_ones_do_not() {
    let (_home, directory) = directory();
    let mut kept = directory.create(begun(1)).unwrap();
    kept.say(CALL, Nonce(1), &text("one"));
    kept.say(CALL, Nonce(2), &text("two\nlines"));
    drop(kept);
    let mut kept = directory.unfinished(|_| true).unwrap();
    assert_eq!(said(&kept), [(1, "one"), (2, "two\nlines")]);
    let renumbered = [(CALL, Nonce(1), &text("two\nlines"))];
    kept.restate(renumbered.into_iter());
    kept.say(CALL, Nonce(2), &text("three"));
    drop(kept);
    let mut kept = directory.unfinished(|_| true).unwrap();
    assert_eq!(said(&kept), [(1, "two\nlines"), (2, "three")]);
    kept.clear();
    drop(kept);
    assert_eq!(said(&directory.unfinished(|_| true).unwrap()), []);
}

#[test]
fn whatever_byte_a_process_is_killed_at_the_records_before_it_count() {
    let (_home, directory) = directory();
    let mut kept = directory.create(begun(1)).unwrap();
    let path = only_file(&directory);
    let mut states: Vec<(u64, Vec<Line>)> = vec![(kept.end, Vec::new())];
    for nonce in 1..=3 {
        let line = Line { call: CALL, nonce: Nonce(nonce), text: text("é\n\"") };
        kept.say(CALL, line.nonce, &line.text);
        let mut lines = states.last().unwrap().1.clone();
        lines.push(line);
        states.push((kept.end, lines));
    }
    let restated = Line { call: CALL, nonce: Nonce(1), text: text("again") };
    kept.restate([(CALL, restated.nonce, &restated.text)].into_iter());
    states.push((kept.end, vec![restated]));
    drop(kept);
    let bytes = fs::read(&path).unwrap();
    for cut in 0..=bytes.len() {
        let read = read(&bytes[..cut]);
        let wanted = states.iter().rfind(|(end, _)| *end <= cut as u64);
        let found = read.map(|(_, _, lines, end)| (end, lines));
        assert_eq!(found.as_ref(), wanted, "cut at {cut}");
        // What comes after is appended to what counts, not to what is torn.
        fs::write(&path, &bytes[..cut]).unwrap();
        let Some(mut kept) = Kept::load(path.clone(), lock) else { continue };
        kept.say(CALL, Nonce(9), &text("x"));
        drop(kept);
        let after = Kept::load(path.clone(), lock).unwrap();
        assert_eq!(after.lines().len(), wanted.unwrap().1.len() + 1, "cut at {cut}");
    }
}

#[test]
fn what_is_no_file_of_ours_is_left_alone() {
    let (home, directory) = directory();
    for (name, content) in [
        ("call-1", ""),
        ("call-2", "\n\n"),
        ("call-3", "{\"version\":2}\n"),
        ("call-4", "\u{0}\u{1}"),
        ("call-5", "{\"version\":1,\"side\":\"caller\"}\n"),
    ] {
        fs::write(directory.0.join(name), content).unwrap();
    }
    let elsewhere = home.path().join("elsewhere");
    let kept = directory.create(begun(1)).unwrap();
    fs::rename(&kept.path, &elsewhere).unwrap();
    drop(kept);
    std::os::unix::fs::symlink(&elsewhere, directory.0.join("call-6")).unwrap();
    assert!(directory.unfinished(|_| true).is_none(), "links are not followed");
    directory.tidy();
    assert_eq!(directory.files().len(), 6);
}

#[test]
fn stale_files_are_removed_unless_a_process_has_them() {
    let (_home, directory) = directory();
    let held = directory.create(begun(1)).unwrap();
    drop(directory.create(begun(2)).unwrap());
    drop(directory.create(begun(3)).unwrap());
    let long_ago = SystemTime::now() - STALE - Duration::from_secs(1);
    let young = directory.unfinished(|begun| begun.at.0 == 3).unwrap().path;
    for path in directory.files().iter().filter(|path| **path != young) {
        File::options().write(true).open(path).unwrap().set_modified(long_ago).unwrap();
    }
    directory.tidy();
    assert_eq!(directory.files().len(), 2);
    assert!(held.path.exists() && young.exists());
}

#[test]
fn a_file_that_is_always_in_use_stays_small() {
    let (_home, directory) = directory();
    let mut kept = directory.create(begun(1)).unwrap();
    let long = text(&"x".repeat(16 * 1024));
    for nonce in 1..1000 {
        kept.say(CALL, Nonce(nonce), &long);
        if kept.has_grown() {
            kept.restate([(CALL, Nonce(nonce), &long)].into_iter());
        }
    }
    assert!(kept.end < GROWTH + 64 * 1024, "{}", kept.end);
    assert!(directory.unfinished(|_| true).is_none(), "it is still locked");
    assert_eq!(mode(&only_file(&directory)), 0o600);
    drop(kept);
    let kept = directory.unfinished(|_| true).unwrap();
    assert_eq!(kept.lines().last().unwrap().nonce, Nonce(999));
    assert!(kept.lines().len() < 1000);
}
