//! The server stops, restarts, or is killed.

use std::{
    thread,
    time::{Duration, Instant},
};

use helpline_proto::{
    code::{Code, Why},
    ids::{By, Resumable},
    message::Message,
};
use helpline_tests::{Got, Peer, Server, wait_until};
use rustix::process::Signal;

/// The whole of a drain: one call talks and finishes, one caller waits, one comes too late.
fn drained_by(signal: Signal) {
    let mut server = Server::with().drain(60).start();
    let (mut caller, mut operator) = Peer::pair(server.address());
    Peer::chat(&mut caller, &mut operator, "before");
    let mut waiting = Peer::caller(server.address(), "Bea");
    waiting.expect_place();
    waiting.say("anybody?");
    waiting.expect_text("anybody?");
    server.signal(signal);
    let ended = waiting.expect_ended();
    assert_eq!((ended.by, ended.why), (By::Server, Why::STOPPING));
    waiting.end_seen();
    assert_eq!(waiting.expect_over(), Got::End);

    let mut late = Peer::joining(server.address(), "Cleo");
    late.expect_closed();
    assert_eq!(late.expect_over(), Got::End);

    Peer::chat(&mut caller, &mut operator, "to the end");
    assert!(server.is_running());
    caller.hang_up();
    for peer in [&mut caller, &mut operator] {
        let ended = peer.expect_ended();
        assert_eq!((ended.by, ended.why), (By::Caller, Why::BYE));
        peer.end_seen();
        peer.expect_goodbye();
        assert_eq!(peer.expect_over(), Got::End);
    }
    let begun = Instant::now();
    let finished = server.wait();
    println!("from the last call's end to exit: {:?}", begun.elapsed());
    assert_eq!(finished.code, 0, "{}", finished.stderr);
    assert!(!finished.stderr.contains("panicked"), "{}", finished.stderr);

    let texts = |call: &str| -> Vec<String> {
        let entries = server.transcript(call);
        entries
            .iter()
            .filter_map(|entry| entry["body"]["text"].as_str().map(ToOwned::to_owned))
            .collect()
    };
    assert_eq!(
        texts(&caller.call().to_hex()),
        ["before?", "before!", "to the end?", "to the end!"]
    );
    assert_eq!(texts(&waiting.call().to_hex()), ["anybody?"]);
    for call in server.calls() {
        assert_eq!(call["state"], "ended", "{call}");
    }
}

#[test]
fn n23_ctrl_c_lets_calls_finish_and_tells_everybody() {
    drained_by(Signal::INT);
}

#[test]
fn n24_sigterm_lets_calls_finish_and_tells_everybody() {
    drained_by(Signal::TERM);
}

#[test]
fn a_call_that_goes_on_is_ended_when_the_drain_is_over() {
    let mut server = Server::with().drain(1).start();
    let (mut caller, mut operator) = Peer::pair(server.address());
    let begun = Instant::now();
    server.signal(Signal::TERM);
    for peer in [&mut caller, &mut operator] {
        let ended = peer.expect_ended();
        assert_eq!((ended.by, ended.why), (By::Server, Why::STOPPING));
        assert_eq!(peer.expect_goodbye().code, Code::STOPPING);
    }
    assert!(begun.elapsed() >= Duration::from_millis(900), "a second was promised");
    drop((caller, operator));
    assert_eq!(server.wait().code, 0);
}

#[test]
fn a_second_signal_ends_the_server_at_once() {
    let mut server = Server::with().drain(600).start();
    let (mut caller, mut operator) = Peer::pair(server.address());
    Peer::chat(&mut caller, &mut operator, "hello");
    server.signal(Signal::TERM);
    wait_until("the line is closed", || {
        let mut late = Peer::joining(server.address(), "Cleo");
        // Who comes before the server has noticed is let in, and told a moment later.
        let answer = |message: &Message| match message {
            Message::Closed(_) => Some(true),
            Message::Ended(_) => Some(false),
            _ => None,
        };
        late.expect("Closed or Ended", answer).then_some(())
    });
    let begun = Instant::now();
    server.signal(Signal::INT);
    // Neither side reads or closes: nobody can keep the server waiting.
    let finished = server.wait_within(Duration::from_secs(20));
    println!("from the second signal to exit: {:?}", begun.elapsed());
    assert_eq!(finished.code, 0, "{}", finished.stderr);
    for peer in [&mut caller, &mut operator] {
        let ended = peer.expect_ended();
        assert_eq!((ended.by, ended.why), (By::Server, Why::STOPPING));
        peer.expect_goodbye();
    }
    assert_eq!(server.transcript(&caller.call().to_hex()).last().unwrap()["kind"], "ended");
}

#[test]
fn a_server_with_nobody_on_it_stops_at_once() {
    let mut server = Server::with().drain(600).start();
    let mut operator = Peer::operator(server.address(), "Wei");
    let silent = Peer::connect(server.address());
    assert_eq!(server.stop().code, 0);
    let goodbye = operator.expect_goodbye();
    assert_eq!(goodbye.code, Code::STOPPING);
    drop(silent);
}

#[test]
fn n27_a_restart_needs_no_wait_for_the_port() {
    let mut server = Server::start();
    let address = server.address();
    for round in 0..3 {
        // The server closes first, so its port is in TIME_WAIT with each of these.
        let mut callers: Vec<Peer> = (0..3).map(|_| Peer::caller(address, "Ada")).collect();
        for caller in &mut callers {
            caller.expect_place();
        }
        assert_eq!(server.stop().code, 0);
        for caller in &mut callers {
            caller.expect_over();
        }
        let begun = Instant::now();
        server = server.again().start();
        let mut caller = Peer::caller(address, "Bea");
        caller.expect_place();
        let took = begun.elapsed();
        println!("round {round}: serves again after {took:?}");
        assert!(took < Duration::from_secs(10), "{took:?}");
    }
}

#[test]
fn n37_what_was_said_is_kept_when_the_server_is_killed() {
    let mut server = Server::with().says(0).start();
    let address = server.address();
    let (mut caller, mut operator) = Peer::pair(address);
    let mut waiting = Peer::caller(address, "Bea");
    waiting.expect_place();
    let (said_by_caller, said_by_operator) = thread::scope(|scope| {
        let caller = scope.spawn(|| talk_until_cut_off(&mut caller, "caller"));
        let operator = scope.spawn(|| talk_until_cut_off(&mut operator, "operator"));
        // Some lines are recorded, others are on their way.
        let call = waiting.call();
        wait_until("the call has 200 lines", || {
            let calls = server.calls();
            let talking = calls.iter().find(|other| other["call"] != call.to_hex())?;
            (server.transcript(talking["call"].as_str()?).len() > 200).then_some(())
        });
        server.crash();
        (caller.join().unwrap(), operator.join().unwrap())
    });
    let call = caller.call().to_hex();
    let kept = |server: &Server| server.transcript(&call);
    let texts = |entries: &[serde_json::Value]| -> Vec<String> {
        entries
            .iter()
            .filter_map(|entry| entry["body"]["text"].as_str().map(ToOwned::to_owned))
            .collect()
    };
    let dead = kept(&server);
    println!(
        "kept {}, heard {} and {}",
        texts(&dead).len(),
        said_by_caller.len(),
        said_by_operator.len()
    );
    for heard in [&said_by_caller, &said_by_operator] {
        assert!(heard.len() > 100);
        assert_eq!(
            heard[..],
            texts(&dead)[..heard.len()],
            "everything heard was recorded, in that order"
        );
    }
    assert_ne!(dead.last().unwrap()["kind"], "ended");

    let server = server.again().start();
    let restarted = kept(&server);
    assert_eq!(restarted[..dead.len()], dead[..], "a restart changes nothing that was kept");
    let [ended] = &restarted[dead.len()..] else { panic!("{:?}", &restarted[dead.len()..]) };
    assert_eq!(
        (&ended["kind"], &ended["body"]["by"], &ended["body"]["why"]),
        (&"ended".into(), &"server".into(), &"lost".into())
    );
    for (at, entry) in restarted.iter().enumerate() {
        assert_eq!(entry["body"]["seq"], at + 1, "numbers are dense");
    }
    for call in server.calls() {
        assert_eq!(call["state"], "ended", "{call}");
    }
    let (mut caller, mut operator) = Peer::pair(address);
    Peer::chat(&mut caller, &mut operator, "as before");
}

#[test]
fn a_goodbye_says_whether_the_ticket_is_still_good() {
    let mut server = Server::start();
    let mut operator = Peer::operator(server.address(), "Wei");
    let (mut caller, _) = (Peer::caller(server.address(), "Ada"), ());
    caller.expect_connected();
    caller.hang_up();
    caller.expect_ended();
    caller.end_seen();
    assert_eq!(caller.expect_goodbye().resumable, Resumable::No);
    operator.expect_ended();
    operator.end_seen();
    assert_eq!(server.stop().code, 0);
    let errors = operator.pending().filter(|message| matches!(message, Message::Error(_))).count();
    assert_eq!(errors, 0, "{}", operator.seen());
}

/// Says one line after the other without waiting for it to be said, until the connection breaks. Returns
/// what was heard.
fn talk_until_cut_off(peer: &mut Peer, who: &str) -> Vec<String> {
    for n in 0.. {
        let say = Peer::frame(&peer.next_say(&format!("{who} {n}")));
        if peer.try_send_raw(&say).is_err() {
            break;
        }
        if n % 10 == 0 {
            while let Got::Message(..) = peer.next_within(Duration::from_millis(1)) {}
        }
    }
    peer.expect_over();
    peer.heard().iter().map(|&text| text.to_owned()).collect()
}
