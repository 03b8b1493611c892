//! What is secret stays so: in logs, on command lines, in environments, in files, and on the network.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use helpline_tests::{
    Client, Home, Peer, Process, Server, have, helpline_server, linux, tool, wait_until,
};
use serde_json::json;

const TEXT: &str = "canary-of-what-is-said";

/// Every file below a directory, with its directories.
fn below(directory: &Path) -> Vec<PathBuf> {
    let mut found = vec![directory.to_owned()];
    for entry in fs::read_dir(directory).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(below(&path));
        } else {
            found.push(path);
        }
    }
    found
}

fn has(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

/// A secret as it is, as its own bytes if it is hexadecimal, and in base 64.
fn forms(secret: &str) -> Vec<Vec<u8>> {
    let mut forms = vec![secret.as_bytes().to_vec(), secret.to_uppercase().into_bytes()];
    let digits: Option<Vec<u8>> = secret
        .as_bytes()
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok())
        .collect();
    forms.extend(digits.filter(|digits| digits.len() >= 16));
    forms
}

#[test]
fn no_secret_is_where_it_does_not_belong_and_no_text_in_a_log() {
    let home = Home::new();
    let mut server = Server::with().home(&home).args(["--invite-only", "-vvvv"]).start();
    let token = server.also(&["operator", "add", "Wei"]).stdout.trim().to_owned();
    let first = server.also(&["invite", "add"]).stdout.trim().to_owned();
    let (desk_home, call_home) = (Home::new(), Home::new());
    let file = desk_home.path().join("token");
    fs::write(&file, &token).unwrap();
    let desk = Client::desk(server.address()).name("Wei").json().home(&desk_home);
    let desk = desk.args(["--auto", "-vvvv", "--token-file", file.to_str().unwrap()]);
    let mut wei = desk.start();
    wei.expect("welcome");
    wei.command(&json!({"kind": "invite", "body": {"uses": "once", "until": null}}));
    let second = wei.expect("invited").body["code"].as_str().unwrap().to_owned();
    let address = server.address();
    let call = |invitation: &str| {
        let call = Client::call(address).name("Ada").json().home(&call_home);
        call.args(["-vvvv"]).env("HELPLINE_INVITE", invitation)
    };
    let mut ada = call(&first).start();
    wei.expect("connected");
    ada.type_line(TEXT);
    wei.expect_within(helpline_tests::PATIENCE, "said", |said| said.body["text"] == TEXT);
    let mut tickets: Vec<String> = [&desk_home, &call_home]
        .iter()
        .flat_map(|home| home.tickets())
        .map(|ticket| ticket.to_hex())
        .collect();
    assert_eq!(tickets.len(), 2);
    // A frame that is none, with the secret in it, and a token that is wrong.
    let mut stranger = Peer::welcomed(server.address());
    stranger.send_raw(&[&[0, 0, 0, 75, 0, 64, 0, 0, 0, 9, 1][..], token.as_bytes()].concat());
    stranger.expect_over();
    let wrong = "e".repeat(64);
    assert_eq!(
        Client::desk(server.address())
            .name("Eve")
            .env("HELPLINE_TOKEN", &wrong)
            .args(["-vvvv"])
            .run()
            .code,
        77
    );

    let mut argv = Vec::new();
    for id in [server.id(), wei.id(), ada.id()] {
        argv.extend(fs::read(format!("/proc/{id}/cmdline")).unwrap_or_default());
    }
    // Killed, and everybody comes back.
    server.crash();
    let server = server.again().start();
    ada.expect("link.resumed");
    wei.expect("link.resumed");
    ada.kill();
    let mut again =
        Client::call(server.address()).json().home(&call_home).args(["-vvvv", "--resume"]).start();
    again.expect("link.resumed");
    let mut bo = call(&second).home(&Home::new()).start();
    bo.expect("place");
    tickets.extend(bo.home().tickets().iter().map(|ticket| ticket.to_hex()));
    again.type_line("bye");
    wei.expect("ended");

    let secrets = [&token, &first, &second, &wrong].into_iter().chain(&tickets);
    let logs = [&server.stderr(), &wei.stderr(), &again.stderr(), &bo.stderr()]
        .map(|log| log.join("\n"))
        .join("\n");
    assert!(!logs.contains(TEXT), "{logs}");
    let database: Vec<u8> = fs::read_dir(server.data())
        .unwrap()
        .map(|file| file.unwrap().path())
        .filter(|path| path.file_name().unwrap().to_string_lossy().starts_with("helpline.db"))
        .flat_map(|path| fs::read(path).unwrap())
        .collect();
    assert!(has(&database, TEXT.as_bytes()), "what is said is kept");
    let known = fs::read(call_home.path().join("config/helpline/known-servers")).unwrap();
    for secret in secrets {
        for form in forms(secret) {
            for (place, bytes) in [
                ("logs", logs.as_bytes()),
                ("argv", &argv),
                ("database", &database),
                ("known-servers", &known),
            ] {
                assert!(!has(bytes, &form), "{secret} is in the {place}");
            }
        }
    }
    // For their owners alone.
    for directory in [server.data(), desk_home.state(), call_home.path().join("config/helpline")] {
        for path in below(&directory) {
            let mode = fs::metadata(&path).unwrap().permissions().mode() & 0o777;
            let wanted = if path.is_dir() { 0o700 } else { 0o600 };
            assert_eq!(mode, wanted, "{}: {mode:o}", path.display());
        }
    }
}

#[test]
fn no_memory_is_left_behind_by_a_crash() {
    if !have(linux("/proc")) {
        return;
    }
    let server = Server::start();
    let desk = Client::desk(server.address()).name("Wei").args(["--auto"]).start();
    desk.wait_for_stderr("-- signed on");
    for id in [server.id(), desk.id()] {
        let limits = fs::read_to_string(format!("/proc/{id}/limits")).unwrap();
        let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
        assert_eq!(core.split_whitespace().nth(4), Some("0"), "{core}");
        // What isn't dumpable belongs to root, whoever runs it.
        let owner = fs::metadata(format!("/proc/{id}/mem")).unwrap();
        assert_eq!(std::os::unix::fs::MetadataExt::uid(&owner), 0);
    }
}

#[test]
fn a_server_connects_to_nobody() {
    if !have(linux("strace").or_else(|| tool("strace"))) {
        return;
    }
    let home = Home::new();
    let trace = home.path().join("trace");
    let strace =
        ["strace", "-D", "-f", "-qq", "-e", "trace=connect,sendto,sendmsg,socket,bind", "-o"];
    let wrapper = strace.iter().map(Into::into).chain([trace.clone().into_os_string()]);
    let mut server = Server::with().home(&home).through(wrapper).start();
    let (mut ada, mut wei) = Peer::pair(server.address());
    Peer::chat(&mut ada, &mut wei, "hello");
    let encrypted = Client::call(server.address()).start();
    encrypted.wait_for_stderr("-- position 1 of 1");
    assert_eq!(server.also(&["ban", "add", "192.0.2.7"]).code, 0);
    ada.hang_up();
    ada.expect_ended();
    assert_eq!(server.stop().code, 0);
    let traced = wait_until("the trace is complete", || {
        let traced = fs::read_to_string(&trace).unwrap();
        traced.contains("bind(").then_some(traced)
    });
    for line in traced.lines() {
        let is_answer = line.contains("sendto(") && line.contains("NULL, 0");
        let is_listener = line.contains("socket(AF_INET") || line.contains("bind(");
        // A process's own pipe for signals.
        let is_own = line.contains("AF_UNIX");
        let is_quiet = line.contains("resumed>") || line.contains("+++") || line.contains("---");
        assert!(is_answer || is_listener || is_own || is_quiet, "{line}");
        assert!(!line.contains("connect("), "{line}");
    }
    // Nor do the commands.
    let trace = home.path().join("trace-of-a-command");
    let mut command = Command::new("strace");
    command.args(["-f", "-qq", "-e", "trace=connect,socket", "-o"]).arg(&trace);
    command.arg(helpline_server()).args(["operator", "list"]);
    let mut listed = Process::start(command, &home);
    listed.close_stdin();
    assert_eq!(listed.wait().code, 0);
    let traced = fs::read_to_string(&trace).unwrap();
    assert!(!traced.contains("connect(") && !traced.contains("socket("), "{traced}");
}
