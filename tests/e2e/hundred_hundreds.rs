//! Ten thousand callers wait, and are answered in turn.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Instant,
};

use helpline_proto::{
    ids::CallId,
    message::{Message, Place},
};
use helpline_tests::{Got, Peer, Server, have};
use rustix::process::{Resource, getrlimit, setrlimit};

const CALLERS: usize = 10_000;

/// Callers that are on their way at once: the kernel holds no more until they are accepted.
const AT_ONCE: usize = 250;

const OPERATORS: usize = 8;

/// What is missing for so many connections; else they are allowed from here on.
fn descriptors() -> Option<String> {
    let mut limit = getrlimit(Resource::Nofile);
    let wanted = u64::try_from(CALLERS).unwrap() + 1000;
    if limit.maximum.is_some_and(|maximum| maximum < wanted) {
        return Some(format!("{wanted} descriptors are needed: {limit:?}"));
    }
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit).err().map(|error| format!("no more descriptors: {error}"))
}

/// A caller, and every place told so far.
struct Caller {
    peer: Peer,
    places: Vec<Place>,
}

fn joined(address: SocketAddr) -> Vec<Caller> {
    let mut callers = Vec::with_capacity(CALLERS);
    for from in (0..CALLERS).step_by(AT_ONCE) {
        let to = (from + AT_ONCE).min(CALLERS);
        let joining: Vec<Peer> =
            (from..to).map(|n| Peer::joining(address, &format!("caller {n}"))).collect();
        callers.extend(joining.into_iter().map(|mut peer| {
            let places = vec![peer.expect_place()];
            peer.forget();
            Caller { peer, places }
        }));
    }
    callers
}

#[test]
fn ten_thousand_wait_and_are_answered_first_come_first_served() {
    if !have(descriptors()) {
        return;
    }
    // The server is a process of its own, with its own descriptors; the callers are this one's.
    let server = Server::with().places(u32::try_from(CALLERS).unwrap()).says(0).start();
    let address = server.address();
    let begun = Instant::now();
    let mut callers = joined(address);
    println!("{CALLERS} callers wait after {:?}", begun.elapsed());

    // With nobody leaving, the place told first is the order of arrival.
    callers.sort_by_key(|caller| caller.places[0].position);
    for (at, caller) in callers.iter().enumerate() {
        assert_eq!(usize::try_from(caller.places[0].position).unwrap(), at + 1);
    }
    let order: HashMap<CallId, usize> =
        callers.iter().enumerate().map(|(at, caller)| (caller.places[0].call, at)).collect();
    let busy = Peer::joining(address, "one too many").expect_busy();
    println!("the wait of one more would be {:?}", busy.wait_s);

    let begun = Instant::now();
    let callers: Vec<Mutex<Caller>> = callers.into_iter().map(Mutex::new).collect();
    let (answered, left) = (AtomicUsize::new(0), AtomicUsize::new(CALLERS));
    let order_of_answers: Vec<Vec<usize>> = thread::scope(|scope| {
        let operators: Vec<_> = (0..OPERATORS)
            .map(|n| {
                let (callers, order, left, answered) = (&callers, &order, &left, &answered);
                scope.spawn(move || {
                    let mut operator = Peer::operator_by_hand(address, &format!("operator {n}"));
                    let mut mine = Vec::new();
                    while left
                        .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| {
                            left.checked_sub(1)
                        })
                        .is_ok()
                    {
                        operator.next();
                        let call = operator.expect_connected().call;
                        let at = order[&call];
                        operator.hang_up();
                        operator.expect_ended();
                        operator.end_seen();
                        operator.forget();
                        let mut caller = callers[at].lock().unwrap();
                        depart(&mut caller);
                        mine.push(at);
                        answered.fetch_add(1, Ordering::Relaxed);
                    }
                    mine
                })
            })
            .collect();
        operators.into_iter().map(|operator| operator.join().unwrap()).collect()
    });
    println!("{OPERATORS} operators answered them in {:?}", begun.elapsed());

    // Each operator was given callers in the order they came, and together all of them once.
    for mine in &order_of_answers {
        assert!(mine.is_sorted(), "not first come, first served");
    }
    let mut all = order_of_answers.concat();
    all.sort_unstable();
    assert!(all.iter().copied().eq(0..CALLERS));

    let mut told = 0;
    for (at, caller) in callers.into_iter().enumerate() {
        let places = caller.into_inner().unwrap().places;
        told += places.len() - 1;
        for place in &places[1..] {
            // As many were answered before as no longer wait: that says where this caller stands.
            let gone = CALLERS - usize::try_from(place.waiting).unwrap();
            assert_eq!(usize::try_from(place.position).unwrap(), at + 1 - gone, "{place:?}");
        }
        assert!(places.is_sorted_by(|a, b| a.position > b.position), "{places:?}");
    }
    println!("{told} places were told while the queue was drained");
    assert!(told <= 32 * CALLERS, "{told}");
    let calls = server.calls();
    assert_eq!(calls.len(), CALLERS);
    assert!(calls.iter().all(|call| call["state"] == "ended"));
}

/// Reads what a caller was told from first to last, and lets the call end.
fn depart(caller: &mut Caller) {
    loop {
        match caller.peer.next_within(helpline_tests::PATIENCE) {
            Got::Message(_, Message::Place(place)) => caller.places.push(place),
            Got::Message(_, Message::Ended(_)) => caller.peer.end_seen(),
            Got::Message(..) => {}
            Got::End => return,
            other => panic!("{other:?}"),
        }
    }
}
