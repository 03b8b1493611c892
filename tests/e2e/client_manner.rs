//! What `helpline` says about itself, and how much.

use helpline_tests::{Client, Peer, Server};

#[test]
fn the_version_names_the_wires_too() {
    let ended = Client::with(["--version"]).run();
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!((ended.code, ended.stdout), (0, format!("helpline {version} (wire 1)\n")));
    let server = Server::start().also(&["--version"]);
    assert_eq!((server.code, server.stdout), (0, format!("helpline-server {version} (wire 1)\n")));
}

#[test]
fn help_is_on_standard_output() {
    for args in [&["--help"][..], &["help"], &["call", "--help"], &["desk", "--help"]] {
        let ended = Client::with(args.iter().copied()).run();
        assert_eq!((ended.code, ended.stderr.as_str()), (0, ""), "{args:?}");
        assert!(ended.stdout.contains("Usage: helpline"), "{args:?}: {}", ended.stdout);
        assert!(ended.stdout.lines().all(|line| line.chars().count() <= 100), "{args:?}");
    }
    let call = Client::with(["call", "--help"]).run().stdout;
    assert!(call.contains(
        "75   busy, closed, not kept for so long, or the server stopped while waiting: try later"
    ));
}

#[test]
fn the_log_is_on_standard_error_and_as_detailed_as_asked() {
    let server = Server::start();
    let stderr = |args: &[&str], filter: &str| {
        let mut operator = Peer::operator(server.address(), "Wei");
        let call = Client::call(server.address()).args(args.iter().copied());
        let mut caller = call.env("HELPLINE_LOG", filter).start();
        operator.expect_connected();
        operator.hang_up();
        let ended = caller.wait();
        assert_eq!((ended.code, ended.stdout.as_str()), (0, ""));
        ended.stderr
    };
    assert!(!stderr(&[], "").contains("debug: "));
    assert!(stderr(&["-vv"], "").contains("debug: the server speaks version 1"));
    assert!(stderr(&[], "helpline=debug").contains("debug: the server speaks version 1"));
    assert!(!stderr(&["-vv"], "off").contains("debug: "), "the variable wins");
    let colored = stderr(&["-vv", "--color", "always"], "");
    assert!(colored.contains("\x1b[2mdebug: \x1b[0m"), "{colored}");
    assert!(!stderr(&["-vv"], "").contains('\x1b'), "a pipe is not coloured");
}

#[test]
fn a_log_filter_that_is_none_is_a_wrong_configuration() {
    let ended = Client::call("127.0.0.1:1").env("HELPLINE_LOG", "helpline=loud").run();
    assert_eq!(ended.code, 78, "{}", ended.stderr);
    assert!(ended.stderr.contains("helpline: HELPLINE_LOG is not a log filter"));
    assert!(ended.stderr.contains("for example: HELPLINE_LOG=helpline=debug"));
}

#[test]
fn names_have_defaults_that_tell_callers_little_and_operators_enough() {
    let server = Server::start();
    let desk = Client::desk(server.address()).args(["--auto"]).start();
    desk.wait_for_stderr("-- signed on to line main as wei");
    let caller = Client::call(server.address()).start();
    caller.wait_for_stderr("-- on the line with wei");
    desk.wait_for_stderr("-- on the line with caller");
}

#[test]
fn an_address_may_be_a_name_or_a_link() {
    let server = Server::start();
    let port = server.address().port();
    for address in [
        format!("localhost:{port}"),
        format!("helpline://127.0.0.1:{port}"),
        format!("helpline://localhost:{port}/main"),
    ] {
        let mut caller = Client::call(&address).start();
        caller.wait_for_stderr("-- position 1 of 1");
        caller.type_line("bye");
        assert_eq!(caller.wait().code, 130, "{address}");
    }
}
