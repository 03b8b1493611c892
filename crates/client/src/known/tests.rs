use std::{
    fs,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    thread,
};

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;

const KEY: Known = Known::Key(Fingerprint([0xab; 32]));
const OTHER: Known = Known::Key(Fingerprint([0xcd; 32]));

fn servers() -> (TempDir, KnownServers) {
    let home = tempfile::tempdir().unwrap();
    let servers = KnownServers::in_directory(home.path().join("config").join("helpline"));
    (home, servers)
}

fn write(servers: &KnownServers, text: &str) {
    fs::create_dir_all(servers.0.parent().unwrap()).unwrap();
    fs::write(&servers.0, text).unwrap();
}

fn known(servers: &KnownServers, server: &str) -> Option<Known> {
    servers.find(server).unwrap().known
}

#[test]
fn what_is_remembered_is_found_until_it_is_forgotten() {
    let (_home, servers) = servers();
    assert_eq!(servers.find("a:1").unwrap(), Found::default());
    assert!(!servers.forget("a:1").unwrap());
    servers.remember("a:1", KEY).unwrap();
    servers.remember("Example.org:8001", Known::PublicRoots).unwrap();
    servers.remember("[fe80::1%eth0]:2", OTHER).unwrap();
    assert_eq!(known(&servers, "a:1"), Some(KEY));
    assert_eq!(known(&servers, "a:2"), None);
    assert_eq!(known(&servers, "example.ORG:8001"), Some(Known::PublicRoots));
    assert_eq!(known(&servers, "[fe80::1%eth0]:2"), Some(OTHER));
    assert!(servers.forget("A:1").unwrap());
    assert_eq!(known(&servers, "a:1"), None);
    assert_eq!(
        fs::read_to_string(&servers.0).unwrap(),
        format!("Example.org:8001 public-roots\n[fe80::1%eth0]:2 {OTHER}\n")
    );
}

#[test]
fn the_file_is_its_owners_alone() {
    let (_home, servers) = servers();
    servers.remember("a:1", KEY).unwrap();
    let mode = |path: &std::path::Path| fs::metadata(path).unwrap().mode() & 0o777;
    assert_eq!(mode(&servers.0), 0o600);
    assert_eq!(mode(servers.0.parent().unwrap()), 0o700);
}

#[test]
fn a_server_that_somebody_else_has_met_otherwise_is_not_remembered_anew() {
    let (_home, servers) = servers();
    servers.remember("a:1", KEY).unwrap();
    servers.remember("a:1", KEY).unwrap();
    assert!(matches!(servers.remember("a:1", OTHER), Err(KnownError::Another(KEY))));
    assert_eq!(known(&servers, "a:1"), Some(KEY));
}

#[test]
fn programs_at_once_lose_nothing() {
    let (_home, servers) = servers();
    let threads: Vec<_> = (1..=8)
        .map(|n| {
            let servers = servers.clone();
            thread::spawn(move || servers.remember(&format!("host:{n}"), KEY).unwrap())
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
    for n in 1..=8 {
        assert_eq!(known(&servers, &format!("host:{n}")), Some(KEY));
    }
}

#[test]
fn a_damaged_line_is_reported_and_kept_and_never_lets_anybody_pass() {
    let (_home, servers) = servers();
    let text = format!("# mine\n\na:1 {KEY} what\nb:1\t{KEY}\r\n\u{e9}:2 sha256:12\nc:1");
    write(&servers, &text);
    assert_eq!(servers.find("b:1").unwrap(), Found { known: Some(KEY), damaged: vec![3, 5, 6] });
    for (damaged, at) in [("a:1", 3), ("\u{e9}:2", 5), ("c:1", 6)] {
        let Err(KnownError::Damaged { line, .. }) = servers.find(damaged) else {
            panic!("{damaged} passes")
        };
        assert_eq!(line, at);
    }
    servers.remember("d:1", OTHER).unwrap();
    assert_eq!(fs::read_to_string(&servers.0).unwrap(), format!("{text}\nd:1 {OTHER}\n"));
    assert!(servers.forget("a:1").unwrap());
    assert_eq!(known(&servers, "a:1"), None);
}

#[test]
fn a_file_that_cannot_be_read_is_an_error_and_not_an_empty_one() {
    let (_home, servers) = servers();
    fs::create_dir_all(&servers.0).unwrap();
    assert!(matches!(servers.find("a:1"), Err(KnownError::Unreadable(..))));
    fs::remove_dir(&servers.0).unwrap();
    write(&servers, &"#\n".repeat(600 * 1024));
    assert!(matches!(servers.find("a:1"), Err(KnownError::Unreadable(..))));
    // Whoever may do everything can also read this.
    if !rustix::process::geteuid().is_root() {
        fs::set_permissions(&servers.0, fs::Permissions::from_mode(0o000)).unwrap();
        assert!(matches!(servers.find("a:1"), Err(KnownError::Unreadable(..))));
    }
}

/// Lines as people and accidents make them.
fn line() -> impl Strategy<Value = Vec<u8>> {
    let server = prop_oneof![Just("a:1"), Just("A:1"), Just("b:1"), Just("#a:1"), Just("")];
    let known =
        prop_oneof![Just(KEY.to_string()), Just(PUBLIC_ROOTS.to_owned()), Just("x".to_owned())];
    let space = prop_oneof![Just(" "), Just("\t"), Just("  "), Just("")];
    let entry = (server, space.clone(), known, space)
        .prop_map(|(server, between, known, end)| format!("{server}{between}{known}{end}").into());
    prop_oneof![entry, proptest::collection::vec(any::<u8>(), 0..20)]
}

fn file() -> impl Strategy<Value = Vec<u8>> {
    (proptest::collection::vec(line(), 0..6), any::<bool>()).prop_map(|(lines, ends)| {
        let mut bytes = lines.join(&b'\n');
        bytes.extend(ends.then_some(b'\n'));
        bytes
    })
}

/// The lines that are not about this server, without what ends them.
fn others<'a>(bytes: &'a [u8], server: &str) -> Vec<&'a [u8]> {
    lines(bytes)
        .filter(|line| !is_about(line, server))
        .map(|line| line.strip_suffix(b"\n").unwrap_or(line))
        .collect()
}

proptest! {
    #[test]
    fn whatever_the_file_holds_other_lines_stay_as_they_are(bytes in file()) {
        let remembered = remember(&bytes, "a:1", OTHER);
        prop_assert_eq!(find(&remembered, "a:1").map(|found| found.known), Ok(Some(OTHER)));
        prop_assert_eq!(others(&remembered, "a:1"), others(&bytes, "a:1"));
        let known = find(&bytes, "a:1");
        match forget(&bytes, "a:1") {
            Some(rest) => {
                prop_assert_eq!(find(&rest, "a:1").map(|found| found.known), Ok(None));
                prop_assert_eq!(others(&rest, "a:1"), others(&bytes, "a:1"));
                prop_assert!(rest.len() < bytes.len());
            }
            None => prop_assert_eq!(known.map(|found| found.known), Ok(None)),
        }
    }

    #[test]
    fn any_bytes_are_read(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _whatever_it_says = find(&bytes, "a:1");
        let remembered = remember(&bytes, "a:1", KEY);
        prop_assert_eq!(others(&remembered, "a:1"), others(&bytes, "a:1"));
    }
}
