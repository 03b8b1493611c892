//! The rules at size.

use helpline_proto::{
    ids::{Answering, CallId},
    text::Name,
    time::{Moment, UnixMillis},
};
use helpline_switchboard::{
    Effect, Input, Notice, Now, OperatorId, Party, QueueNumber, Record, Request, Rules,
    Switchboard, TicketHash,
};

const NOW: Now = Now { moment: Moment(0), at: UnixMillis(0) };
const WEI: OperatorId = OperatorId(1);

fn call(number: u32) -> CallId {
    CallId(u128::from(number).to_be_bytes())
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
    let mut line = Switchboard::new(Rules { places: waiting }, QueueNumber(1));
    for number in 1..=waiting {
        let name = Name::new("caller").unwrap();
        handle(&mut line, Input::Join { call: call(number), ticket: TicketHash([0; 32]), name });
    }
    assert_eq!(line.waiting(), waiting);
    line
}

fn sign_on(line: &mut Switchboard, operator: OperatorId) {
    let (ticket, name) = (TicketHash([0; 32]), Name::new("wei").unwrap());
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
        told += places(&handle(&mut line, Input::Gone(Party::Caller(call(number)))));
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
            handle(&mut line, Input::Gone(Party::Caller(call(number))));
            ask(&mut line, Party::Operator(WEI), Request::EndSeen { call: call(number) });
        }
    }
    assert_eq!(line.calls(), 0);
}
