//! Fifty pairs who talk over the worst of networks.

use std::sync::Mutex;

use helpline_server::store::DATABASE;
use helpline_tests::{
    Manner, PATIENCE, Proof, Server, Talkers,
    dice::Dice,
    proxy::{Fate, Proxy},
};
use serde_json::json;

const PAIRS: usize = 50;

/// Messages said to one server. More of them begin with a new one, so that what has to be known at once
/// stays within bounds.
const LEG: usize = 1_000_000;

/// Calls of a few hundred lines, of which some are under way at once.
const MANNER: Manner = Manner { lines: 200, at_once: 16 };

/// One connection is cut for at least this many messages.
const MESSAGES_OF_A_CUT: usize = 100;

#[test]
fn a_bad_network_loses_doubles_and_misorders_nothing() {
    let mut proof = Proof::begin("proxy");
    let messages = proof.times("HELPLINE_MESSAGES", 100_000);
    let (mut said, mut cuts, mut connections, mut calls) = (0, 0, 0, 0);
    while said < messages {
        let dice = Dice::new(proof.seed(), said);
        let leg = Leg::run(dice, LEG.min(messages - said));
        said += leg.said;
        cuts += leg.cuts;
        connections += leg.connections;
        calls += leg.calls;
    }
    assert!(cuts >= messages / MESSAGES_OF_A_CUT, "hardly a connection was cut: {cuts}");
    proof.holds(&[
        ("messages", json!(said)),
        ("pairs", json!(PAIRS)),
        ("calls", json!(calls)),
        ("connections", json!(connections)),
        ("cuts", json!(cuts)),
    ]);
}

/// What one server saw.
struct Leg {
    said: usize,
    cuts: usize,
    connections: usize,
    calls: usize,
}

impl Leg {
    fn run(mut dice: Dice, messages: usize) -> Self {
        let server = Server::with().says(0).places(2 * u32::try_from(PAIRS).unwrap()).start();
        let mut talkers = Talkers::new();
        let fates = Mutex::new(dice.split());
        let fate = move || Fate::any(&mut fates.lock().unwrap());
        let proxy = talkers.runtime().block_on(Proxy::start(server.address(), fate)).unwrap();
        for _ in 0..PAIRS {
            talkers.operator(proxy.address(), &mut dice, MANNER);
            talkers.caller(proxy.address(), &mut dice, MANNER);
        }
        talkers.wait_until_said(messages);
        talkers.finish(2 * PATIENCE);
        let file = server.data().join(DATABASE);
        let kept = talkers.judge(&file).unwrap_or_else(|violation| panic!("{violation}"));
        Self {
            said: kept.said(),
            cuts: proxy.cuts(),
            connections: proxy.connections(),
            calls: kept.calls.len(),
        }
    }
}
