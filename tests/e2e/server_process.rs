//! The program `helpline-server` as a process: its help, its exit codes, its speed at the start.

use std::{
    fs,
    time::{Duration, Instant},
};

use helpline_tests::{Finished, Got, Home, Peer, Process, Server, have, helpline_server, tool};

fn run(args: &[&str]) -> Finished {
    run_at(&Home::new(), args)
}

fn run_at(home: &Home, args: &[&str]) -> Finished {
    let mut command = std::process::Command::new(helpline_server());
    command.args(args);
    let mut process = Process::start(command, home);
    process.close_stdin();
    process.wait()
}

#[test]
fn help_is_this() {
    for (name, args) in [
        ("help", &["--help"][..]),
        ("help_short", &["-h"]),
        ("help_run", &["run", "--help"]),
        ("help_limits", &["limits", "--help"]),
        ("help_calls", &["calls", "--help"]),
        ("help_calls_list", &["calls", "list", "--help"]),
        ("help_calls_show", &["calls", "show", "--help"]),
        ("help_operator", &["operator", "--help"]),
        ("help_operator_add", &["operator", "add", "--help"]),
        ("help_ban", &["ban", "--help"]),
        ("help_ban_add", &["ban", "add", "--help"]),
        ("help_invite", &["invite", "--help"]),
        ("help_invite_add", &["invite", "add", "--help"]),
        ("help_audit", &["audit", "--help"]),
    ] {
        let help = run(args);
        assert_eq!((help.code, help.stderr.as_str()), (0, ""));
        insta::assert_snapshot!(name, help.stdout);
    }
    let version = run(&["--version"]);
    assert_eq!(version.code, 0);
    assert_eq!(version.stdout, format!("helpline-server {} (wire 1)\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn exit_0_when_stopped() {
    assert_eq!(Server::start().stop().code, 0);
}

#[test]
fn exit_64_for_a_wrong_command_line() {
    for args in [
        &["--places", "0"][..],
        &["--places", "many"],
        &["--listen", "nowhere:at:all"],
        &["--line", ""],
        &["--name", "-x"],
        &["--greeting", ""],
        &["--tls-cert", "chain.pem"],
        &["--tls-key", "key.pem"],
        &["--strangers", "0"],
        &["--nonsense"],
        &["nonsense"],
        &["calls"],
        &["calls", "show"],
        &["calls", "show", "not-a-call"],
        &["--console"],
    ] {
        let wrong = run(args);
        assert_eq!(wrong.code, 64, "{args:?}: {wrong:?}");
        assert_eq!(wrong.stdout, "", "{args:?}");
        assert!(
            !wrong.stderr.is_empty() && !wrong.stderr.contains("panicked"),
            "{args:?}: {wrong:?}"
        );
    }
}

#[test]
fn exit_69_when_something_is_taken() {
    let server = Server::start();
    assert_eq!(Server::with().listen(&server.address().to_string()).run().code, 69);
    assert_eq!(Server::with().home(server.home()).run().code, 69);
}

#[test]
fn exit_78_for_what_is_configured_wrong() {
    let home = Home::new();
    let file = home.path().join("a file");
    fs::write(&file, "not a directory").unwrap();
    let wrong = Server::with().home(&home).data(&file).run();
    assert_eq!(wrong.code, 78, "{wrong:?}");
    assert!(wrong.stderr.contains("--data"), "{wrong:?}");

    let filter = Server::with().env("HELPLINE_LOG", "a=b=c=!").run();
    assert_eq!(filter.code, 78, "{filter:?}");
    assert!(filter.stderr.contains("HELPLINE_LOG"), "{filter:?}");

    let args = ["--tls-cert", "/nowhere/chain.pem", "--tls-key", "/nowhere/key.pem"];
    let certificate = Server::with().args(args).run();
    assert_eq!(certificate.code, 78, "{certificate:?}");
    assert!(certificate.stderr.contains("--tls-cert FILE --tls-key FILE"), "{certificate:?}");

    let damaged = Server::with().home(&home).start();
    let key = damaged.data().join("tls-key.pem");
    drop(damaged);
    fs::write(&key, "nonsense").unwrap();
    let damaged = Server::with().home(&home).run();
    assert_eq!(damaged.code, 78, "{damaged:?}");
    assert!(damaged.stderr.contains("tls-key.pem"), "{damaged:?}");
    assert_eq!(fs::read_to_string(&key).unwrap(), "nonsense");

    let home = Home::new();
    let nothing_kept = run_at(&home, &["calls", "list"]);
    assert_eq!(nothing_kept.code, 78, "{nothing_kept:?}");

    // Nothing says where calls are to be kept.
    let mut command = std::process::Command::new(helpline_server());
    command.args(["--no-console", "--listen", "127.0.0.1:0"]);
    command.env_remove("HOME").env_remove("XDG_DATA_HOME").env_remove("STATE_DIRECTORY");
    let mut process = Process::start(command, &home);
    let nowhere = process.wait();
    assert_eq!(nowhere.code, 78, "{nowhere:?}");
    assert!(nowhere.stderr.contains("--data"), "{nowhere:?}");
}

#[test]
fn the_first_caller_is_answered_soon_after_the_start() {
    let begun = Instant::now();
    let server = Server::start();
    let (mut caller, mut operator) = Peer::pair(server.address());
    Peer::chat(&mut caller, &mut operator, "hello");
    let took = begun.elapsed();
    println!("listening after {:?}, the first caller answered after {took:?}", server.took());
    assert!(took < Duration::from_secs(10), "{took:?}");
}

#[test]
fn log_lines_are_json_if_wanted() {
    let mut server = Server::with().args(["--json"]).start();
    let line = server.wait_for_stderr("listening");
    let event: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!(event["event"], "listening");
    assert_eq!(event["addr"], server.address().to_string());
    let fingerprint = event["fingerprint"].as_str().unwrap();
    assert!(fingerprint.starts_with("sha256:") && fingerprint.len() == 71, "{event}");
    let link = format!("helpline://{}/main#{fingerprint}", server.address());
    assert_eq!(event["link"], link);
    let finished = server.stop();
    assert_eq!(finished.code, 0);
    for line in finished.stderr.lines() {
        assert!(serde_json::from_str::<serde_json::Value>(line).is_ok(), "{line}");
    }
    assert!(finished.stderr.contains(r#""event":"stopping""#), "{}", finished.stderr);
    assert_eq!(finished.stdout, "");
}

#[test]
fn calls_are_kept_for_their_owner_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let server = Server::start();
    let mut caller = Peer::caller(server.address(), "Ada");
    caller.expect_place();
    let mode = |path: &std::path::Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&server.data()), 0o700);
    for file in fs::read_dir(server.data()).unwrap().map(|file| file.unwrap().path()) {
        assert_eq!(mode(&file), 0o600, "{}", file.display());
    }
}

#[test]
fn the_data_directory_is_found_in_order() {
    let home = Home::new();
    let (given, state) = (home.path().join("given"), home.path().join("state directory"));
    let setup = Server::with().home(&home).env("STATE_DIRECTORY", state.to_str().unwrap());
    drop(setup.clone().data(&given).start());
    assert!(given.join("helpline.db").is_file() && !state.exists() && !home.data().exists());
    drop(setup.start());
    assert!(state.join("helpline.db").is_file() && !home.data().exists());
    drop(Server::with().home(&home).start());
    assert!(home.data().join("helpline.db").is_file());
}

#[test]
fn the_line_has_a_name() {
    let server = Server::with().line("night-desk").start();
    let mut caller = Peer::connect(server.address());
    caller.send_all([Peer::hello(), Peer::join_line("Ada", Some("night-desk"))]);
    assert_eq!(caller.expect_admitted().line.as_str(), "night-desk");
    let mut lost = Peer::connect(server.address());
    lost.send_all([Peer::hello(), Peer::join_line("Ada", Some("day-desk"))]);
    let goodbye = lost.expect_goodbye();
    assert_eq!(goodbye.code, helpline_proto::code::Code::NO_SUCH_LINE);
    assert!(goodbye.detail.as_str().contains("night-desk"), "{goodbye:?}");
    assert_eq!(lost.expect_over(), Got::End);
    assert_eq!(server.calls()[0]["line"], "night-desk");
}

#[test]
fn the_limit_of_open_connections_is_raised_to_what_the_system_allows() {
    let home = Home::new();
    let mut command = std::process::Command::new("sh");
    command.args(["-c", "ulimit -S -n 256; exec \"$0\" --no-console --listen 127.0.0.1:0"]);
    command.arg(helpline_server());
    let mut server = Process::start(command, &home);
    server.wait_for_stderr("listening on");
    let limits = fs::read_to_string(format!("/proc/{}/limits", server.id())).unwrap();
    let line = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    let [soft, hard] = [3, 4].map(|at| line.split_whitespace().nth(at).unwrap().to_owned());
    assert_eq!(soft, hard, "{line}");
    server.kill();
}

#[test]
fn a_caller_is_let_in_with_one_write_that_does_not_wait_for_more() {
    if !have(tool("strace")) {
        return;
    }
    let home = Home::new();
    let log = home.path().join("calls");
    let log_arg = log.to_str().unwrap();
    let strace = ["strace", "-D", "-f", "-qq", "-e", "trace=setsockopt,sendto", "-o", log_arg];
    let mut server = Server::with().through(strace).start();
    let mut caller = Peer::caller(server.address(), "Ada");
    caller.expect_place();
    server.stop();
    let calls = fs::read_to_string(log).unwrap();
    assert!(calls.contains("TCP_NODELAY, [1]"), "{calls}");
    let before_it_stops = calls.lines().take_while(|line| !line.contains("--- SIGTERM"));
    let sends = before_it_stops.filter(|line| line.contains("sendto(")).count();
    // Welcome, admitted, the place and the first entry together.
    assert_eq!(sends, 1, "{calls}");
}

#[test]
fn every_limit_can_be_looked_at() {
    let limits = run(&["limits", "--places", "9"]);
    assert_eq!((limits.code, limits.stderr.as_str()), (0, ""));
    let line = limits.stdout.lines().find(|line| line.contains("--callers-per-address")).unwrap();
    assert!(line.contains(" 5  "), "half of the places: {line}");
    let json = run(&["limits", "--json"]);
    for line in json.stdout.lines() {
        let limit: serde_json::Value = serde_json::from_str(line).unwrap();
        assert!(limit["limit"].is_string() && limit["why"].is_string(), "{line}");
    }
}

#[test]
fn nobody_can_read_the_memory_of_a_crashed_server() {
    let server = Server::start();
    let limits = fs::read_to_string(format!("/proc/{}/limits", server.id())).unwrap();
    let line = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    assert_eq!(line.split_whitespace().skip(4).take(2).collect::<Vec<_>>(), ["0", "0"], "{line}");
}
