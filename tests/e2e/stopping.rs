//! The server is told to stop: calls may finish, and whatever hasn't goes on when the line opens again.

use std::{
    thread,
    time::{Duration, Instant},
};

use helpline_proto::{
    code::{Code, Why},
    ids::{By, Resumable},
    message::{Answer, Message, Next},
};
use helpline_tests::{Got, Peer, Server, wait_until};
use rustix::process::Signal;

/// Waits until new callers hear that the line is closed.
fn closed(server: &Server) {
    wait_until("the line is closed", || {
        let mut late = Peer::joining(server.address(), "Late");
        // Who comes before the server has noticed is let in, or finds every place taken.
        let closed = late.expect("an answer", |message| match message {
            Message::Closed(closed) => {
                assert_eq!(closed.why, Why::STOPPING);
                Some(true)
            }
            Message::Busy(_) => Some(false),
            Message::Place(_) | Message::Connected(_) => Some(false),
            _ => None,
        });
        if closed {
            assert_eq!(late.expect_over(), Got::End);
        } else if late.pending().any(|message| matches!(message, Message::Admitted(_))) {
            late.hang_up();
            late.expect_ended();
            late.end_seen();
        }
        closed.then_some(())
    });
}

/// The connection ends because the server does: what was begun goes on later.
fn stopped(peer: &mut Peer) {
    let goodbye = peer.expect_goodbye();
    assert_eq!((goodbye.code, goodbye.resumable), (Code::STOPPING, Resumable::Yes));
    let ends = peer.pending().filter(|message| matches!(message, Message::Ended(_))).count();
    assert_eq!(ends, 0, "{}", peer.seen());
    assert_eq!(peer.expect_over(), Got::End);
}

/// The whole of a drain: one call talks and finishes, one caller waits, one comes too late.
fn drained_by(signal: Signal) {
    let mut server = Server::with().drain(60).start();
    let (mut caller, mut operator) = Peer::pair(server.address());
    let mut free = Peer::operator_by_hand(server.address(), "Li");
    Peer::chat(&mut caller, &mut operator, "before");
    let mut waiting = Peer::caller(server.address(), "Bea");
    let call = waiting.expect_place().call;
    free.expect_offer();
    waiting.say("anybody?");
    waiting.expect_text("anybody?");
    server.signal(signal);
    closed(&server);

    // Who waits is neither sent away nor answered any more.
    free.expect_withdrawn();
    free.ask(1, Next {});
    free.ask(2, Answer { call });
    for reference in [1, 2] {
        let answer = free.expect_answer(reference);
        assert!(
            matches!(&answer, Message::Error(error) if error.code == Code::STOPPING),
            "{answer:?}"
        );
    }
    waiting.say("still here");
    waiting.expect_text("still here");
    // Those who were there may come back, away before or not.
    waiting.go_away();
    waiting.come_back();
    assert_eq!(waiting.expect_place().position, 1);
    let mut caller = caller.again(4);
    let mut operator = operator.again(0);
    for peer in [&mut caller, &mut operator] {
        peer.expect_connected();
    }
    Peer::chat(&mut caller, &mut operator, "to the end");
    assert!(server.is_running());
    caller.hang_up();
    for peer in [&mut caller, &mut operator] {
        let ended = peer.expect_ended();
        assert_eq!((ended.by, ended.why), (By::Caller, Why::BYE));
        let goodbye = peer.expect_goodbye();
        assert_eq!((goodbye.code, goodbye.resumable), (Code::STOPPING, Resumable::Yes));
        assert_eq!(peer.expect_over(), Got::End);
    }
    stopped(&mut waiting);
    stopped(&mut free);
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
    assert_eq!(texts(&call.to_hex()), ["anybody?", "still here"]);

    // The line opens again, and who waited is first.
    let server = server.again().start();
    waiting.come_back();
    assert_eq!(waiting.expect_place().position, 1);
    operator.come_back();
    operator.end_seen();
    assert_eq!(operator.expect_connected().call, call);
    Peer::chat(&mut waiting, &mut operator, "at last");
    let states: Vec<_> = server.calls().iter().map(|call| call["state"].clone()).collect();
    assert_eq!(states.first().unwrap(), "ended");
}

#[test]
fn n23_ctrl_c_lets_calls_finish_and_keeps_who_waits() {
    drained_by(Signal::INT);
}

#[test]
fn n24_sigterm_lets_calls_finish_and_keeps_who_waits() {
    drained_by(Signal::TERM);
}

#[test]
fn a_call_that_goes_on_when_the_drain_is_over_goes_on_after_the_next_start() {
    let mut server = Server::with().drain(1).start();
    let (mut caller, mut operator) = Peer::pair(server.address());
    Peer::chat(&mut caller, &mut operator, "before");
    let begun = Instant::now();
    server.signal(Signal::TERM);
    stopped(&mut caller);
    stopped(&mut operator);
    assert!(begun.elapsed() >= Duration::from_millis(900), "a second was promised");
    assert_eq!(server.wait().code, 0);
    assert_ne!(server.transcript(&caller.call().to_hex()).last().unwrap()["kind"], "ended");
    let _server = server.again().start();
    caller.come_back();
    operator.come_back();
    Peer::chat(&mut caller, &mut operator, "after");
    assert_eq!(caller.entries(), operator.entries());
}

#[test]
fn a_second_signal_ends_the_server_at_once() {
    let mut server = Server::with().drain(600).start();
    let (mut caller, mut operator) = Peer::pair(server.address());
    Peer::chat(&mut caller, &mut operator, "hello");
    server.signal(Signal::TERM);
    closed(&server);
    let begun = Instant::now();
    server.signal(Signal::INT);
    // Neither side reads or closes: nobody can keep the server waiting.
    let finished = server.wait_within(Duration::from_secs(20));
    println!("from the second signal to exit: {:?}", begun.elapsed());
    assert_eq!(finished.code, 0, "{}", finished.stderr);
    stopped(&mut caller);
    stopped(&mut operator);
    let _server = server.again().start();
    for peer in [&mut operator, &mut caller] {
        peer.come_back();
        peer.expect_connected();
    }
    Peer::chat(&mut caller, &mut operator, "again");
}

#[test]
fn nobody_is_waited_for_who_has_nobody_to_talk_to() {
    for caller_is_away in [true, false] {
        let mut server = Server::with().drain(600).start();
        let (mut caller, mut operator) = Peer::pair(server.address());
        let mut waiting = Peer::caller(server.address(), "Bea");
        waiting.expect_place();
        let (gone, left) = if caller_is_away {
            (&mut caller, &mut operator)
        } else {
            (&mut operator, &mut caller)
        };
        gone.vanish();
        left.expect_away();
        assert_eq!(server.stop().code, 0);
        stopped(left);
        stopped(&mut waiting);
        let _server = server.again().start();
        for peer in [&mut operator, &mut caller] {
            peer.come_back();
        }
        Peer::chat(&mut caller, &mut operator, "after");
    }
}

#[test]
fn a_drain_ends_when_a_side_of_the_last_call_is_away() {
    let mut server = Server::with().drain(600).start();
    let (mut caller, mut operator) = Peer::pair(server.address());
    server.signal(Signal::TERM);
    closed(&server);
    Peer::chat(&mut caller, &mut operator, "still talking");
    caller.vanish();
    stopped(&mut operator);
    assert_eq!(server.wait().code, 0);
}

#[test]
fn a_server_with_nobody_on_it_stops_at_once() {
    let mut server = Server::with().drain(600).start();
    let mut operator = Peer::operator(server.address(), "Wei");
    let silent = Peer::connect(server.address());
    assert_eq!(server.stop().code, 0);
    stopped(&mut operator);
    drop(silent);
    let _server = server.again().start();
    assert_eq!(operator.come_back().calls, []);
}

#[test]
fn n37_what_was_said_is_kept_when_the_server_is_killed() {
    let mut server = Server::with().says(0).start();
    let address = server.address();
    let (mut caller, mut operator) = Peer::pair(address);
    let mut waiting = Peer::caller(address, "Bea");
    waiting.expect_place();
    let (asked_by_caller, asked_by_operator) = thread::scope(|scope| {
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
    for peer in [&caller, &operator] {
        let heard = peer.heard();
        println!("kept {}, heard {}", texts(&dead).len(), heard.len());
        assert!(heard.len() > 100);
        assert_eq!(
            heard[..],
            texts(&dead)[..heard.len()],
            "everything heard was recorded, in that order"
        );
    }

    let server = server.again().start();
    assert_eq!(kept(&server), dead, "a restart changes nothing that was kept");
    for (at, entry) in dead.iter().enumerate() {
        assert_eq!(entry["body"]["seq"], at + 1, "numbers are dense");
    }
    // Both come back, and what isn't recorded is said again.
    for (peer, asked) in [(&mut caller, &asked_by_caller), (&mut operator, &asked_by_operator)] {
        let next = usize::try_from(peer.come_back().calls[0].next_nonce.0).unwrap();
        assert!(next <= asked.len() + 1);
        peer.say_again(asked);
    }
    let wanted = [&asked_by_caller, &asked_by_operator].map(|asked| {
        asked.iter().map(|say| match say {
            Message::Say(say) => say.text.as_str(),
            other => panic!("{other:?}"),
        })
    });
    for mut asked in wanted.clone() {
        caller.expect_text(asked.next_back().unwrap());
    }
    caller.hang_up();
    for peer in [&mut caller, &mut operator] {
        peer.expect_ended();
        let heard = peer.heard();
        for (own, who) in wanted.iter().zip(["caller", "operator"]) {
            let said: Vec<_> = heard.iter().filter(|text| text.starts_with(who)).collect();
            let asked: Vec<_> = own.clone().collect();
            assert!(asked.iter().eq(said), "each line once, in order");
        }
    }
    assert_eq!(caller.entries(), operator.entries());
}

#[test]
fn a_goodbye_says_whether_the_ticket_is_still_good() {
    let mut server = Server::start();
    let mut operator = Peer::operator(server.address(), "Wei");
    let mut caller = Peer::caller(server.address(), "Ada");
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
    stopped(&mut operator);
}

/// Says one line after the other without waiting for it to be said, until the connection breaks. Returns
/// what it wanted to say.
fn talk_until_cut_off(peer: &mut Peer, who: &str) -> Vec<Message> {
    let mut asked = Vec::new();
    for n in 0.. {
        let say = peer.next_say(&format!("{who} {n}"));
        asked.push(say.clone());
        if peer.try_send_raw(&Peer::frame(&say)).is_err() {
            break;
        }
        if n % 10 == 0 {
            while let Got::Message(..) = peer.next_within(Duration::from_millis(1)) {}
        }
    }
    peer.expect_over();
    asked
}
