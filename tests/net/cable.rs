//! The cable pulled in mid-call.

use std::{
    thread,
    time::{Duration, Instant},
};

use helpline_proto::ids::Side;
use helpline_server::store::DATABASE;
use helpline_tests::{
    Client, Proof, Server, Transcripts,
    checker::Checker,
    have,
    netns::{Cable, SERVER},
    person::{Link, Person},
    wait_until,
};
use serde_json::json;

/// How soon the other side of a call learns that somebody is away.
const AWAY: Duration = Duration::from_secs(45);

/// How soon somebody is back on the line once there is a network.
const BACK: Duration = Duration::from_secs(3);

/// Silence after which a client says that it reconnects, and a little.
const SILENCE: Duration = Duration::from_secs(46);

/// Time between two lines of one person.
const PACE: Duration = Duration::from_millis(500);

#[test]
fn a_cable_pulled_for_20_s_costs_nothing() {
    pulled_for(Duration::from_secs(20));
}

#[test]
fn a_cable_pulled_for_60_s_costs_nothing() {
    pulled_for(Duration::from_secs(60));
}

fn pulled_for(time: Duration) {
    if !have(Cable::missing()) {
        return;
    }
    let mut proof = Proof::begin("cable");
    let times = proof.times("HELPLINE_CABLES", 1);
    let (mut said, mut away, mut reconnecting, mut back) = (0, None, None, Duration::ZERO);
    for _ in 0..times {
        let mut pair = Pair::talking();
        let seen = pair.without_cable(time);
        said += pair.end().said();
        if time > SILENCE {
            let other = seen.away.expect("the other side learns that the caller is away");
            assert!(other < AWAY + PACE, "away was told only after {other:?}");
            let own = seen.reconnecting.expect("the client says that it reconnects");
            assert!(own < SILENCE, "reconnecting was told only after {own:?}");
        }
        assert!(seen.back < 10 * BACK, "on the line only {:?} after the cable", seen.back);
        away = away.max(seen.away);
        reconnecting = reconnecting.max(seen.reconnecting);
        back = back.max(seen.back);
    }
    let millis = |time: Option<Duration>| json!(time.map(|time| time.as_millis()));
    proof.holds(&[
        ("times", json!(times)),
        ("pulled_s", json!(time.as_secs())),
        ("said", json!(said)),
        ("away_ms", millis(away)),
        ("reconnecting_ms", millis(reconnecting)),
        ("back_ms", json!(back.as_millis())),
    ]);
}

/// A caller behind the cable, and an operator on the server's machine.
struct Pair {
    cable: Cable,
    server: Server,
    caller: Person,
    operator: Person,
    checker: Checker,
}

/// When something was seen, from the moment the cable was pulled; and when the two heard each other again,
/// from the moment it was plugged in.
struct Seen {
    away: Option<Duration>,
    reconnecting: Option<Duration>,
    back: Duration,
}

impl Pair {
    fn talking() -> Self {
        let cable = Cable::lay();
        let listen = format!("{SERVER}:0");
        let server = Server::with().listen(&listen).through(cable.on_server()).start();
        let mut checker = Checker::new();
        let desk = Client::desk(server.address()).name("Wei").json().args(["--auto"]);
        let desk = desk.through(cable.on_server());
        let operator = Person::sit_down(Side::Operator, "Wei", desk, &mut checker);
        let call = Client::call(server.address()).name("Ada").json().through(cable.on_client());
        let caller = Person::sit_down(Side::Caller, "Ada", call, &mut checker);
        let mut pair = Self { cable, server, caller, operator, checker };
        wait_until("they are connected", || {
            pair.look();
            (pair.caller.call.is_some() && pair.operator.call.is_some()).then_some(())
        });
        for _ in 0..3 {
            pair.talk();
        }
        pair.wait_until_heard();
        pair
    }

    /// Looks at both screens. True if the operator's shows that the caller is away.
    fn look(&mut self) -> bool {
        self.caller.look(&mut self.checker);
        let events = self.operator.look(&mut self.checker);
        assert_eq!(self.checker.violation(), None);
        events.iter().any(|event| event.kind == "away")
    }

    fn talk(&mut self) {
        self.caller.type_line(&mut self.checker, 20);
        self.operator.type_line(&mut self.checker, 20);
    }

    fn wait_until_heard(&mut self) {
        wait_until("everything typed is said", || {
            self.look();
            let unknown = self.caller.unknown().len() + self.operator.unknown().len();
            (unknown == 0).then_some(())
        });
    }

    /// Both talk on while the cable is pulled, and for a while after.
    fn without_cable(&mut self, time: Duration) -> Seen {
        self.cable.pull();
        let pulled = Instant::now();
        let (mut away, mut reconnecting, mut spoken) = (None, None, Instant::now());
        while pulled.elapsed() < time {
            if self.look() {
                away.get_or_insert(pulled.elapsed());
            }
            if self.caller.link == Link::Reconnecting {
                reconnecting.get_or_insert(pulled.elapsed());
            }
            if spoken.elapsed() >= PACE {
                spoken = Instant::now();
                self.talk();
            }
            thread::sleep(Duration::from_millis(10));
        }
        assert!(!self.caller.unknown().is_empty(), "the cable wasn't pulled");
        self.cable.plug();
        let plugged = Instant::now();
        self.wait_until_heard();
        let back = plugged.elapsed();
        for _ in 0..3 {
            self.talk();
        }
        self.wait_until_heard();
        Seen { away, reconnecting, back }
    }

    /// The caller hangs up, and nothing is missing on either screen.
    fn end(mut self) -> Transcripts {
        self.caller.command("hang_up");
        wait_until("both see the end", || {
            self.look();
            (self.caller.call.is_none() && self.operator.call.is_none()).then_some(())
        });
        let kept = Transcripts::read(&self.server.data().join(DATABASE)).unwrap();
        kept.tell(&mut self.checker);
        self.checker.finish().unwrap_or_else(|violation| panic!("{violation}"));
        kept
    }
}
