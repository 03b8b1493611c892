//! The rules at size.

use helpline_proto::{
    ids::{Answering, CallId},
    limits,
    text::Name,
    time::{Moment, UnixMillis},
};
use helpline_switchboard::{
    Effect, Input, Notice, Now, OperatorId, Party, Record, Refusal, Request, Rules, Snapshot,
    Switchboard, TicketHash,
};

const NOW: Now = Now { moment: Moment(0), at: UnixMillis(0) };
const WEI: OperatorId = OperatorId(1);

fn call(number: u32) -> CallId {
    CallId(u128::from(number).to_be_bytes())
}

/// Everybody has another ticket.
fn ticket(number: u32) -> TicketHash {
    let mut ticket = [0; 32];
    ticket[..4].copy_from_slice(&number.to_be_bytes());
    TicketHash(ticket)
}

fn handle(line: &mut Switchboard, input: Input) -> Vec<Effect> {
    let mut effects = Vec::new();
    line.handle(NOW, input, &mut effects);
    effects
}

fn ask(line: &mut Switchboard, from: Party, request: Request) -> Vec<Effect> {
    handle(line, Input::Ask { from, request })
}

fn crowd(waiting: u32) -> Switchboard {
    let rules = Rules { places: waiting, ..Rules::default() };
    let mut line = Switchboard::restore(rules, &Snapshot::default(), NOW);
    for number in 1..=waiting {
        let name = Name::new("caller").unwrap();
        handle(&mut line, Input::Join { call: call(number), ticket: ticket(number), name });
    }
    assert_eq!(line.waiting(), waiting);
    line
}

fn sign_on(line: &mut Switchboard, operator: OperatorId) {
    let number = u32::MAX - u32::try_from(operator.0).unwrap();
    let (ticket, name) = (ticket(number), Name::new("wei").unwrap());
    let answering = Answering::ByHand;
    handle(line, Input::SignOn { operator, ticket, name, answering });
}

fn places(effects: &[Effect]) -> usize {
    let place =
        |effect: &&Effect| matches!(effect, Effect::Tell { notice: Notice::Place { .. }, .. });
    effects.iter().filter(place).count()
}

/// Lets one operator answer everybody, first come first served, and counts the places told.
fn drain(line: &mut Switchboard) -> usize {
    let mut told = 0;
    for number in 1..=line.waiting() {
        let from = Party::Operator(WEI);
        let effects = ask(line, from, Request::Next);
        let answered = |effect: &Effect| matches!(effect, Effect::Record(Record::Answered { call: first, .. }) if *first == call(number));
        assert!(effects.first().is_some_and(answered));
        told += places(&effects);
        ask(line, from, Request::HangUp { call: call(number) });
        ask(line, from, Request::EndSeen { call: call(number) });
        ask(line, Party::Caller(call(number)), Request::EndSeen { call: call(number) });
    }
    assert_eq!((line.waiting(), line.calls()), (0, 0));
    told
}

#[test]
fn draining_ten_thousand_callers_costs_at_most_32_places_each() {
    let mut line = crowd(10_000);
    sign_on(&mut line, WEI);
    let told = drain(&mut line);
    assert!(told <= 32 * 10_000, "{told} places told");
}

#[test]
fn an_impatient_crowd_costs_no_more_than_a_patient_one() {
    // Everybody leaves from the front: the most that one leaving can move.
    let mut line = crowd(10_000);
    let mut told = 0;
    for number in 1..=10_000 {
        let (from, call) = (Party::Caller(call(number)), call(number));
        told += places(&ask(&mut line, from, Request::HangUp { call }));
        ask(&mut line, from, Request::EndSeen { call });
    }
    assert!(told <= 32 * 10_000, "{told} places told");
    assert_eq!(line.calls(), 0);
}

#[test]
fn a_hundred_thousand_wait_and_each_is_answered_in_turn() {
    let mut line = crowd(100_000);
    sign_on(&mut line, WEI);
    // Every third gives up, from the back.
    for number in (1..=100_000).rev().step_by(3) {
        ask(&mut line, Party::Caller(call(number)), Request::HangUp { call: call(number) });
        ask(&mut line, Party::Caller(call(number)), Request::EndSeen { call: call(number) });
    }
    assert_eq!(line.waiting(), 66_666);
    // The first is put back again and again, and stays first.
    for operator in (2..1_000).map(OperatorId) {
        sign_on(&mut line, operator);
        let effects = ask(&mut line, Party::Operator(operator), Request::Next);
        let record = Record::Answered { call: call(2), operator, at: UnixMillis(0) };
        assert_eq!(effects.first(), Some(&Effect::Record(record)));
        ask(&mut line, Party::Operator(operator), Request::SignOff);
    }
    assert_eq!(line.waiting(), 66_666);
    for number in 1..=100_000 {
        if number % 3 != 1 {
            ask(&mut line, Party::Operator(WEI), Request::Next);
            assert_eq!(line.call_of(WEI), Some(call(number)));
            let (from, call) = (Party::Caller(call(number)), call(number));
            ask(&mut line, from, Request::HangUp { call });
            ask(&mut line, from, Request::EndSeen { call });
            ask(&mut line, Party::Operator(WEI), Request::EndSeen { call });
        }
    }
    assert_eq!(line.calls(), 0);
}

#[test]
fn a_hundred_thousand_come_back_after_a_restart_in_any_order() {
    let line = crowd(100_000);
    let snapshot = line.snapshot();
    let rules = Rules { places: 1, ..Rules::default() };
    let mut line = Switchboard::restore(rules, &snapshot, NOW);
    assert_eq!(line.snapshot(), snapshot);
    sign_on(&mut line, WEI);
    // The first is waited for, however many others come back.
    for number in (50_001..=100_000).rev() {
        handle(&mut line, Input::Back(Party::Caller(call(number))));
        let refusal = ask(&mut line, Party::Operator(WEI), Request::Next);
        assert_eq!(refusal, [Effect::Refuse(Refusal::FirstIsAway)]);
    }
    // Half of them are passed over, and back in time all the same.
    let later = Now { moment: NOW.moment + limits::PASSED_OVER, at: NOW.at };
    line.handle_timeout(later, &mut Vec::new());
    for number in (1..=50_000).rev() {
        handle(&mut line, Input::Back(Party::Caller(call(number))));
    }
    drain(&mut line);
    assert_eq!(line.snapshot().calls, []);
}
