//! The server's process ends, one way or the other, and another one goes on where it was.

use std::{
    thread,
    time::{Duration, Instant},
};

use helpline_proto::{
    code::{Code, Why},
    ids::{By, CallId, Nonce, Resumable, Seq, Side},
    message::{Message, Pause, Ready},
    text::{Name, Text},
    time::UnixMillis,
};
use helpline_server::entries::Entries;
use helpline_switchboard::{Entry, Item};
use helpline_tests::{Got, Peer, Server, ServerSetup};
use rustix::process::Signal;

/// How a process ends.
#[derive(Clone, Copy, Debug)]
enum Fall {
    /// With SIGKILL.
    Killed,
    /// With SIGTERM, then another one.
    Stopped,
}

const FALLS: [Fall; 2] = [Fall::Killed, Fall::Stopped];

/// The process ends and another one takes its place.
/// Returns when it was started.
fn restarted(server: &mut Server, fall: Fall) -> Instant {
    match fall {
        Fall::Killed => server.crash(),
        Fall::Stopped => {
            server.signal(Signal::TERM);
            server.wait_for_stderr("the line is closing");
            // One that has nobody to wait for may be gone by now.
            if server.is_running() {
                server.signal(Signal::TERM);
            }
            assert_eq!(server.wait().code, 0);
        }
    }
    let begun = Instant::now();
    *server = server.again().start();
    begun
}

/// Nothing comes on it any more, and nothing can be said.
fn is_gone(peer: &mut Peer) {
    peer.expect_over();
}

fn lines(server: &Server, peer: &Peer) -> Vec<String> {
    let entries = server.transcript(&peer.call().to_hex());
    let texts = entries.iter().filter_map(|entry| entry["body"]["text"].as_str());
    texts.map(ToOwned::to_owned).collect()
}

fn long_graces() -> ServerSetup {
    Server::with().graces(600, 600, 600)
}

#[test]
fn n13_a_call_goes_on_with_the_next_process_and_nothing_is_lost() {
    for fall in FALLS {
        let mut server = Server::start();
        let (mut caller, mut operator) = Peer::pair(server.address());
        let mut wanted = Vec::new();
        for round in 0..3 {
            let text = format!("{fall:?} {round}");
            Peer::chat(&mut caller, &mut operator, &text);
            wanted.extend([format!("{text}?"), format!("{text}!")]);
            restarted(&mut server, fall);
            is_gone(&mut caller);
            is_gone(&mut operator);
            for (peer, other) in [(&mut caller, "Wei"), (&mut operator, "Ada")] {
                let resumed = peer.come_back();
                assert_eq!(resumed.calls[0].next_nonce, Nonce(round + 2));
                assert_eq!(peer.expect_connected().peer.as_str(), other);
            }
        }
        Peer::chat(&mut caller, &mut operator, "to the end");
        wanted.extend(["to the end?", "to the end!"].map(Into::into));
        assert_eq!(caller.entries(), operator.entries(), "{fall:?}");
        assert_eq!(caller.heard(), wanted);
        assert_eq!(lines(&server, &caller), wanted);
        operator.hang_up();
        for peer in [&mut caller, &mut operator] {
            assert_eq!(peer.expect_ended().why, Why::BYE);
            peer.end_seen();
        }
    }
}

#[test]
fn places_order_and_counts_are_those_of_before() {
    for fall in FALLS {
        let mut server = long_graces().places(3).start();
        let mut waiting = ["Ada", "Bea", "Cleo"].map(|name| Peer::caller(server.address(), name));
        for (lines, caller) in (0..).zip(&mut waiting) {
            caller.expect_place();
            for n in 0..lines {
                caller.say(&format!("line {n}"));
                caller.expect_text(&format!("line {n}"));
            }
        }
        restarted(&mut server, fall);
        // Nobody is back, and every place is taken.
        Peer::joining(server.address(), "Dora").expect_busy();
        // The last one is back first: that gains her nothing.
        let mut operator = Peer::operator(server.address(), "Wei");
        for (at, caller) in waiting.iter_mut().enumerate().rev() {
            let resumed = caller.come_back();
            assert_eq!(resumed.calls[0].next_nonce, Nonce(u32::try_from(at + 1).unwrap()));
            if at > 0 {
                let place = caller.expect_place();
                assert_eq!((usize::try_from(place.position).unwrap(), place.waiting), (at + 1, 3));
            }
        }
        for (at, (caller, name)) in waiting.iter_mut().zip(["Ada", "Bea", "Cleo"]).enumerate() {
            assert_eq!(operator.expect_connected().peer.as_str(), name, "{fall:?}");
            caller.expect_connected();
            Peer::chat(caller, &mut operator, "hello");
            let mut wanted: Vec<String> = (0..at).map(|n| format!("line {n}")).collect();
            wanted.extend(["hello?", "hello!"].map(Into::into));
            assert_eq!(caller.heard(), wanted);
            operator.hang_up();
            operator.expect_ended();
            operator.end_seen();
        }
        let mut new = Peer::caller(server.address(), "Dora");
        assert_eq!(operator.expect_connected().peer.as_str(), "Dora");
        new.expect_connected();
    }
}

#[test]
fn a_call_whose_operator_does_not_come_back_waits_again_before_others() {
    for fall in FALLS {
        let mut server = Server::with().graces(600, 600, 1).start();
        let (mut ada, _wei) = Peer::pair(server.address());
        ada.say("my story");
        ada.expect_text("my story");
        let mut bea = Peer::caller(server.address(), "Bea");
        bea.expect_place();
        restarted(&mut server, fall);
        bea.come_back();
        ada.come_back();
        assert_eq!(ada.expect_left().name.as_str(), "Wei");
        assert_eq!(ada.expect_place().position, 1);
        let mut li = Peer::operator(server.address(), "Li");
        assert_eq!(li.expect_connected().peer.as_str(), "Ada", "{fall:?}");
        li.expect_text("my story");
        Peer::chat(&mut ada, &mut li, "again");
    }
}

#[test]
fn the_time_the_server_was_gone_costs_nobody_the_place() {
    let mut server = Server::with().graces(10, 10, 10).start();
    let mut ada = Peer::caller(server.address(), "Ada");
    ada.expect_place();
    let (mut caller, mut operator) = {
        let mut operator = Peer::operator_by_hand(server.address(), "Wei");
        operator.next();
        operator.expect_connected();
        ada.expect_connected();
        (ada, operator)
    };
    let mut bea = Peer::caller(server.address(), "Bea");
    bea.expect_place();
    for peer in [&mut caller, &mut operator, &mut bea] {
        peer.vanish();
    }
    // Away for more than half of the grace before the fall, and again behind it.
    thread::sleep(Duration::from_secs(6));
    restarted(&mut server, Fall::Killed);
    thread::sleep(Duration::from_secs(6));
    for peer in [&mut caller, &mut operator, &mut bea] {
        peer.come_back();
    }
    Peer::chat(&mut caller, &mut operator, "still there");
    assert_eq!(bea.expect_place().position, 1);
}

#[test]
fn an_end_that_nobody_saw_is_told_to_both_after_the_restart() {
    for fall in FALLS {
        let mut server = long_graces().start();
        let (mut caller, mut operator) = Peer::pair(server.address());
        let mut next = Peer::caller(server.address(), "Bea");
        next.expect_place();
        caller.say("thank you");
        caller.hang_up();
        let ended = caller.expect_ended();
        operator.expect_ended();
        restarted(&mut server, fall);
        next.come_back();

        let mut caller = caller.again(ended.seq.0 - 1);
        assert_eq!(caller.expect_ended(), ended, "{fall:?}");
        caller.end_seen();
        let goodbye = caller.expect_goodbye();
        assert_eq!((goodbye.code, goodbye.resumable), (Code::DONE, Resumable::No));
        let mut operator = operator.again(0);
        operator.expect_text("thank you");
        assert_eq!(operator.expect_ended(), ended);
        operator.end_seen();
        assert_eq!(operator.expect_connected().peer.as_str(), "Bea");
        next.expect_connected();
        // One that was seen isn't told once more.
        caller.ask_to_come_back();
        assert_eq!(caller.expect_goodbye().code, Code::NO_SUCH_TICKET);
    }
}

#[test]
fn an_end_that_was_seen_stays_seen() {
    for fall in FALLS {
        let mut server = long_graces().start();
        let (mut caller, mut operator) = Peer::pair(server.address());
        caller.hang_up();
        for peer in [&mut caller, &mut operator] {
            peer.expect_ended();
            peer.end_seen();
        }
        assert_eq!(caller.expect_goodbye().code, Code::DONE);
        let mut next = Peer::caller(server.address(), "Bea");
        next.expect_connected();
        restarted(&mut server, fall);
        caller.ask_to_come_back();
        assert_eq!(caller.expect_goodbye().code, Code::NO_SUCH_TICKET);
        let resumed = operator.come_back();
        assert_eq!(resumed.calls.len(), 1);
        assert_eq!(resumed.calls[0].call, next.call(), "{fall:?}");
    }
}

#[test]
fn a_break_of_an_operator_outlives_the_process() {
    let mut server = long_graces().start();
    let mut operator = Peer::operator(server.address(), "Wei");
    operator.send(Pause {});
    operator.settle();
    let mut ada = Peer::caller(server.address(), "Ada");
    assert_eq!(ada.expect_place().position, 1, "he is on a break");
    restarted(&mut server, Fall::Killed);
    assert_eq!(operator.come_back().calls, []);
    ada.come_back();
    assert_eq!(ada.expect_place().position, 1, "he still is");
    operator.settle();
    assert!(!operator.pending().any(|message| matches!(message, Message::Connected(_))));
    operator.send(Ready {});
    assert_eq!(operator.expect_connected().peer.as_str(), "Ada");
}

#[test]
fn an_operator_without_a_call_has_the_next_caller_after_a_restart() {
    for fall in FALLS {
        let mut server = long_graces().start();
        let mut by_hand = Peer::operator_by_hand(server.address(), "Li");
        let mut by_itself = Peer::operator(server.address(), "Wei");
        restarted(&mut server, fall);
        for operator in [&mut by_hand, &mut by_itself] {
            assert_eq!(operator.come_back().calls, []);
        }
        let mut ada = Peer::caller(server.address(), "Ada");
        ada.expect_connected();
        by_itself.expect_connected();
        let mut bea = Peer::caller(server.address(), "Bea");
        let call = bea.expect_place().call;
        assert_eq!(by_hand.expect_offer().call, call);
    }
}

#[test]
fn n27_a_restart_needs_no_wait_for_the_port_and_clients_resume() {
    let mut server = Server::start();
    let address = server.address();
    let mut callers: Vec<Peer> = (0..3).map(|_| Peer::caller(address, "Ada")).collect();
    for caller in &mut callers {
        caller.expect_place();
    }
    for round in 0..3 {
        // The server closes first, so its port is in TIME_WAIT with each of these.
        assert_eq!(server.stop().code, 0);
        for caller in &mut callers {
            assert_eq!(caller.expect_goodbye().resumable, Resumable::Yes);
            assert_eq!(caller.expect_over(), Got::End);
        }
        let begun = Instant::now();
        server = server.again().start();
        for (position, caller) in (1..).zip(&mut callers) {
            caller.come_back();
            assert_eq!(caller.expect_place().position, position);
        }
        let took = begun.elapsed();
        println!("round {round}: serves again after {took:?}");
        assert!(took < Duration::from_secs(10), "{took:?}");
    }
}

#[test]
fn what_was_under_way_at_the_fall_is_recorded_once_each() {
    const LINES: usize = 200;
    let mut server = Server::with().says(0).start();
    let (mut caller, mut operator) = Peer::pair(server.address());
    let mut wanted = Vec::new();
    for round in 0..8 {
        let texts: Vec<String> = (0..LINES).map(|n| format!("{round}: line {n}")).collect();
        let says: Vec<Message> = texts.iter().map(|text| caller.next_say(text)).collect();
        let first = 1 + wanted.len();
        wanted.extend(texts);
        caller.send_all(says.clone());
        if round % 4 > 0 {
            caller.expect_text(&format!("{round}: line {}", LINES * round / 10));
        }
        restarted(&mut server, FALLS[round % 2]);
        caller.expect_over();
        let next = usize::try_from(caller.come_back().calls[0].next_nonce.0).unwrap();
        println!("{} of {LINES} were recorded", next - first);
        caller.say_again(&says);
        caller.expect_text(wanted.last().unwrap());
        operator.come_back();
    }
    operator.expect_text(wanted.last().unwrap());
    assert_eq!(operator.heard(), wanted);
    assert_eq!(caller.heard(), wanted);
    assert_eq!(lines(&server, &caller), wanted);
    caller.hang_up();
    let ended = operator.expect_ended();
    assert_eq!((ended.by, ended.why), (By::Caller, Why::BYE));
}

/// Entries that are kept when the server starts.
const KEPT: u32 = 1_000_000;

/// Calls they are of.
const CALLS: u32 = 10_000;

/// Fills the database with ended calls, between those that are open and the next to come.
fn fill(server: &Server) {
    let mut database = rusqlite::Connection::open(server.data().join("helpline.db")).unwrap();
    let begun = Instant::now();
    let transaction = database.transaction().unwrap();
    let last = |sql| transaction.query_row(sql, [], |row| row.get::<_, u32>(0)).unwrap();
    let number = last("SELECT max(number) FROM call");
    let mut row = last("SELECT max(row) FROM block");
    let mut call = transaction
        .prepare(
            "INSERT INTO call (number, id, line, ticket, name, opened_at, state, operator,
                               answered_at, closed_at, first_row, last_row)
             VALUES (?1, ?2, 'main', randomblob(32), 'Caller', 1, 2, 1, 1, 1, ?3, ?4)",
        )
        .unwrap();
    let mut block = transaction.prepare("INSERT INTO block VALUES (?, ?, ?, ?, ?)").unwrap();
    let each = KEPT / CALLS;
    let name = Name::new("Caller").unwrap();
    for n in 1..=CALLS {
        let mut id = [0; 16];
        id[..4].copy_from_slice(&n.to_be_bytes());
        let first = row + 1;
        call.execute(rusqlite::params![number + n, id, first, row + each]).unwrap();
        for seq in 1..=each {
            row += 1;
            let (from, name) = (Side::Caller, name.clone());
            let item = match seq {
                1 => Item::Joined { from, name },
                seq if seq == each => {
                    Item::Ended { by: By::Caller, why: helpline_switchboard::Why::Bye }
                }
                seq => {
                    let text =
                        format!("line {seq}: the lines people say have about eighty letters");
                    let text = Text::new(text).unwrap();
                    Item::Said { from, name, nonce: Nonce(seq - 1), text }
                }
            };
            let entry = Entry { seq: Seq(seq), at: UnixMillis(1), item };
            let entries = Entries::of(CallId(id), entry, 0);
            let before = (row > first).then_some(row - 1);
            block
                .execute(rusqlite::params![row, number + n, before, seq, entries.frames()])
                .unwrap();
        }
    }
    drop((call, block));
    transaction.commit().unwrap();
    println!("{KEPT} entries of {CALLS} calls were made in {:?}", begun.elapsed());
}

#[test]
fn a_server_that_keeps_a_million_entries_starts_at_once() {
    let mut first = long_graces().start();
    let (mut caller, mut operator) = Peer::pair(first.address());
    Peer::chat(&mut caller, &mut operator, "before them");
    let mut waiting = Peer::caller(first.address(), "Bea");
    waiting.expect_place();
    first.crash();
    fill(&first);
    let mut server = first.again().start();
    // The open calls began before all these, and go on behind them.
    for peer in [&mut caller, &mut operator] {
        peer.come_back();
    }
    Peer::chat(&mut caller, &mut operator, "behind them");
    for fall in FALLS {
        let begun = restarted(&mut server, fall);
        let mut newcomer = Peer::caller(server.address(), "Cleo");
        newcomer.expect_place();
        let took = begun.elapsed();
        println!("{fall:?}: listening after {:?}, first answer after {took:?}", server.took());
        assert!(took < Duration::from_secs(10), "{took:?}");
        drop(newcomer);
        for peer in [&mut caller, &mut operator, &mut waiting] {
            peer.come_back();
        }
        Peer::chat(&mut caller, &mut operator, &format!("{fall:?}"));
        assert_eq!(waiting.expect_place().position, 1);
    }
    assert_eq!(server.calls().len(), usize::try_from(CALLS).unwrap() + 4);
    let mut again = caller.again(0);
    again.expect_text("Stopped!");
    assert_eq!(again.entries(), caller.entries(), "from both sides of the million");
}
