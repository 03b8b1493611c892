//! Being away, coming back, and being kept through a restart, as stories.

use std::time::Duration;

use helpline_proto::{ids::Nonce, limits, text::Name, time::Moment};
use helpline_switchboard::{Input, KeptState, OperatorId, Party, QueueNumber, Request};

use crate::stories::{Line, call, caller_named, operator, operator_named, ticket};

const INSTANT: Duration = Duration::from_millis(1);

#[test]
fn the_first_in_line_is_waited_for_and_then_passed_over_until_back() {
    let mut line = Line::open();
    line.by_hand("wei");
    line.join("ada");
    line.join("bob");
    assert_eq!(line.away(caller_named("ada")), ["wei < withdrawn ada, 2 waiting"]);
    assert!(line.away(caller_named("ada")).is_empty(), "away already");
    assert_eq!(line.next("wei"), ["! FirstIsAway"]);
    let answer = Request::Answer { call: call("bob") };
    assert_eq!(line.ask(operator_named("wei"), answer), ["! NotOffered"]);
    assert!(line.pass(limits::PASSED_OVER - INSTANT).is_empty());
    assert_eq!(line.pass(INSTANT), ["wei < offer bob, 2 waiting"]);
    assert_eq!(line.restated(caller_named("bob")), ["bob < place 2 of 2, nonce 1"]);
    assert_eq!(
        line.back(caller_named("ada"))[..2],
        ["wei < withdrawn bob, 2 waiting", "wei < offer ada, 2 waiting"]
    );
    assert_eq!(line.restated(caller_named("ada")), ["ada < place 1 of 2, nonce 1"]);
    assert_eq!(line.next("wei")[0], "* answered ada by wei");
}

#[test]
fn only_the_first_in_line_is_waited_for() {
    let mut line = Line::open();
    line.by_hand("wei");
    for name in ["ada", "bob", "cy"] {
        line.join(name);
    }
    assert!(line.away(caller_named("bob")).is_empty());
    assert_eq!(line.next("wei")[0], "* answered ada by wei");
    line.hang_up(operator_named("wei"), "ada");
    line.end_seen(operator_named("wei"), "ada");
    assert_eq!(line.next("wei"), ["! FirstIsAway"]);
    line.pass(limits::PASSED_OVER);
    assert_eq!(line.next("wei")[0], "* answered cy by wei");
}

#[test]
fn nobody_waits_for_an_answer_while_all_are_passed_over() {
    let mut line = Line::open();
    line.by_hand("wei");
    line.join("ada");
    line.away(caller_named("ada"));
    line.pass(limits::PASSED_OVER);
    assert_eq!(line.next("wei"), ["! NobodyWaiting"]);
    assert_eq!(line.line.waiting(), 1);
}

#[test]
fn who_answers_by_themselves_waits_for_the_first_too() {
    let mut line = Line::open();
    line.join("ada");
    line.away(caller_named("ada"));
    line.by_itself("wei");
    assert_eq!(line.join("bob")[2], "bob < place 2 of 2, nonce 1");
    assert_eq!(line.pass(limits::PASSED_OVER)[0], "* answered bob by wei");
    line.hang_up(operator_named("wei"), "bob");
    line.end_seen(operator_named("wei"), "bob");
    assert_eq!(
        line.back(caller_named("ada")),
        [
            "* answered ada by wei",
            "wei < connected with ada, nonce 1",
            "ada 2. wei joined > ada wei",
        ],
        "nothing is told to the one who is back"
    );
    assert_eq!(
        line.resumed(caller_named("ada")),
        ["ada < admitted as ada", r#"ada < resumed ["ada to 2, nonce 1"]"#]
    );
    assert_eq!(line.restated(caller_named("ada")), ["ada < connected with wei, nonce 1"]);
}

#[test]
fn each_side_hears_that_the_other_is_away_and_back() {
    let mut line = Line::talk();
    assert_eq!(line.away(caller_named("ada")), ["wei < Caller is away"]);
    assert!(line.away(caller_named("ada")).is_empty());
    assert_eq!(
        line.restated(operator_named("wei"))[..2],
        ["wei < connected with ada, nonce 1", "wei < Caller is away"]
    );
    assert_eq!(line.away(operator_named("wei")), ["ada < Operator is away"]);
    assert_eq!(line.back(caller_named("ada")), ["wei < Caller is back"]);
    assert!(line.back(caller_named("ada")).is_empty(), "another connection is no news");
    assert_eq!(
        line.restated(caller_named("ada")),
        ["ada < connected with wei, nonce 1", "ada < Operator is away"]
    );
    assert_eq!(line.back(operator_named("wei")), ["ada < Operator is back"]);
    assert_eq!(line.restated(caller_named("ada")), ["ada < connected with wei, nonce 1"]);
}

#[test]
fn who_is_away_asks_for_nothing() {
    let mut line = Line::talk();
    line.away(caller_named("ada"));
    assert!(line.say(caller_named("ada"), "ada", 1, "x").is_empty());
    line.back(caller_named("ada"));
    assert_eq!(line.say(caller_named("ada"), "ada", 1, "x").len(), 1);
}

#[test]
fn strangers_are_neither_away_nor_back() {
    let mut line = Line::open();
    for party in [caller_named("eve"), operator_named("eve")] {
        assert!(line.away(party).is_empty() && line.back(party).is_empty());
        assert!(line.resumed(party).is_empty() && line.restated(party).is_empty());
    }
    assert_eq!(line.line.poll_timeout(), None);
}

#[test]
fn a_caller_whom_nobody_answered_is_given_up_after_the_grace() {
    let mut line = Line::open();
    line.join("ada");
    line.join("bob");
    line.away(caller_named("ada"));
    line.pass(limits::WAITING_GRACE - INSTANT);
    line.back(caller_named("ada"));
    line.pass(limits::WAITING_GRACE);
    line.away(caller_named("ada"));
    assert!(line.pass(limits::WAITING_GRACE - INSTANT).is_empty(), "each absence has all of it");
    assert_eq!(
        line.pass(INSTANT),
        [
            "* closed ada",
            "ada 2. ended by Server, TimedOut > ",
            "bob < place 1 of 1, nonce 1",
            "* Caller done ada",
            "ada dismissed: Done",
        ]
    );
    assert_eq!((line.line.calls(), line.line.holder(ticket("ada"))), (1, None));
    assert!(line.back(caller_named("ada")).is_empty());
}

#[test]
fn a_caller_who_was_answered_once_is_kept_for_longer() {
    let mut line = Line::talk();
    line.ask(operator_named("wei"), Request::SignOff);
    line.away(caller_named("ada"));
    assert!(line.pass(limits::CALL_GRACE - INSTANT).is_empty());
    assert_eq!(line.pass(INSTANT)[0], "* closed ada");
}

#[test]
fn a_talk_whose_caller_stays_away_ends() {
    let mut line = Line::talk();
    line.away(caller_named("ada"));
    assert!(line.pass(limits::CALL_GRACE - INSTANT).is_empty());
    assert_eq!(
        line.pass(INSTANT),
        [
            "* closed ada",
            "ada 3. ended by Server, TimedOut > wei",
            "* Caller done ada",
            "ada dismissed: Done",
        ]
    );
    assert_eq!(line.next("wei"), ["! Occupied"], "the operator has yet to see it");
    assert_eq!(line.end_seen(operator_named("wei"), "ada"), ["* Operator done ada"]);
    assert_eq!(line.line.calls(), 0);
}

#[test]
fn a_caller_who_stays_away_after_the_end_is_only_given_up() {
    let mut line = Line::talk();
    line.away(caller_named("ada"));
    line.hang_up(operator_named("wei"), "ada");
    line.end_seen(operator_named("wei"), "ada");
    assert_eq!(line.line.holder(ticket("ada")), Some(caller_named("ada")));
    assert_eq!(line.pass(limits::CALL_GRACE), ["* Caller done ada", "ada dismissed: Done"]);
    assert_eq!((line.line.calls(), line.line.holder(ticket("ada"))), (0, None));
}

#[test]
fn an_operator_who_stays_away_is_signed_off_and_the_call_put_back() {
    let mut line = Line::talk();
    line.join("bob");
    line.away(operator_named("wei"));
    assert!(line.pass(limits::OPERATOR_GRACE - INSTANT).is_empty());
    assert_eq!(
        line.pass(INSTANT),
        [
            "ada 3. wei left > ada wei",
            "* put back ada",
            "ada < place 1 of 2, nonce 1",
            "bob < place 2 of 2, nonce 1",
            "* off wei",
            "wei dismissed: Done",
        ]
    );
    assert_eq!(line.line.holder(ticket("wei")), None);
}

#[test]
fn an_operator_is_released_by_the_grace_and_not_by_the_callers_bye() {
    let mut line = Line::talk();
    line.away(operator_named("wei"));
    line.hang_up(caller_named("ada"), "ada");
    line.end_seen(caller_named("ada"), "ada");
    assert_eq!(line.line.call_of(operator("wei")), Some(call("ada")));
    assert_eq!(
        line.pass(limits::OPERATOR_GRACE),
        ["* Operator done ada", "* off wei", "wei dismissed: Done"]
    );
}

#[test]
fn an_operator_who_is_away_is_neither_offered_nor_given_callers_and_keeps_the_turn() {
    let mut line = Line::open();
    line.by_itself("ann");
    line.by_itself("zoe");
    line.by_hand("wei");
    line.away(operator_named("ann"));
    line.away(operator_named("wei"));
    assert_eq!(line.join("ada")[2], "* answered ada by zoe");
    assert_eq!(line.join("bob").len(), 4, "offered to nobody");
    assert!(line.back(operator_named("wei")).is_empty());
    assert_eq!(line.restated(operator_named("wei"))[0], "wei < offer bob, 1 waiting");
    assert!(line.away(operator_named("wei")).is_empty(), "an offer lapses without a word");
    line.hang_up(caller_named("bob"), "bob");
    line.hang_up(operator_named("zoe"), "ada");
    line.end_seen(operator_named("zoe"), "ada");
    line.back(operator_named("ann"));
    assert_eq!(line.join("cy")[2], "* answered cy by ann", "free for longer than Zoe");
}

#[test]
fn next_lets_go_of_a_caller_who_has_been_away_for_long() {
    let mut line = Line::talk();
    line.join("bob");
    line.away(caller_named("ada"));
    line.pass(limits::LET_GO - INSTANT);
    assert_eq!(line.next("wei"), ["! Occupied"]);
    line.pass(INSTANT);
    assert_eq!(
        line.next("wei")[..9],
        [
            "ada 3. wei left > ada wei",
            "* put back ada",
            "ada < place 1 of 2, nonce 1",
            "bob < place 2 of 2, nonce 1",
            "wei < put back",
            "* answered bob by wei",
            "bob < connected with wei, nonce 1",
            "wei < connected with bob, nonce 1",
            "bob 2. wei joined > bob wei",
        ]
    );
    line.by_hand("zoe");
    assert_eq!(line.next("zoe"), ["! NobodyWaiting"], "passed over already");
    assert_eq!(line.back(caller_named("ada")), ["zoe < offer ada, 1 waiting"]);
}

#[test]
fn next_lets_go_of_nobody_for_nobody() {
    let mut line = Line::talk();
    line.away(caller_named("ada"));
    line.pass(limits::LET_GO);
    assert_eq!(line.next("wei"), ["! NobodyWaiting"]);
    line.join("bob");
    line.away(caller_named("bob"));
    assert_eq!(line.next("wei"), ["! FirstIsAway"]);
    assert_eq!(line.line.call_of(operator("wei")), Some(call("ada")));
    line.back(caller_named("bob"));
    line.back(caller_named("ada"));
    assert_eq!(line.next("wei"), ["! Occupied"]);
}

#[test]
fn who_answers_by_themselves_lets_go_without_being_asked() {
    let mut line = Line::open();
    line.by_itself("wei");
    line.join("ada");
    line.away(caller_named("ada"));
    assert!(line.pass(limits::LET_GO_BY_ITSELF - INSTANT).is_empty());
    assert_eq!(
        line.pass(INSTANT),
        [
            "ada 3. wei left > ada wei",
            "* put back ada",
            "ada < place 1 of 1, nonce 1",
            "wei < put back"
        ]
    );
    assert_eq!(line.join("bob")[2], "* answered bob by wei");
}

#[test]
fn who_answers_by_hand_lets_go_only_when_asked() {
    let mut line = Line::talk();
    line.join("bob");
    line.away(caller_named("ada"));
    assert!(line.pass(limits::LET_GO_BY_ITSELF * 2).is_empty());
    assert_eq!(line.line.call_of(operator("wei")), Some(call("ada")));
}

#[test]
fn a_call_put_back_just_after_its_caller_went_away_is_waited_for() {
    let mut line = Line::talk();
    line.by_hand("zoe");
    line.join("bob");
    line.away(caller_named("ada"));
    line.pass(Duration::from_secs(5));
    line.ask(operator_named("wei"), Request::SignOff);
    assert_eq!(line.next("zoe"), ["! FirstIsAway"]);
    assert!(line.pass(limits::PASSED_OVER - Duration::from_secs(5) - INSTANT).is_empty());
    assert_eq!(line.pass(INSTANT), ["zoe < offer bob, 2 waiting"]);
}

#[test]
fn who_is_away_still_takes_a_place_but_is_on_no_board() {
    let mut line = Line::with_places(2);
    line.by_hand("wei");
    line.join("ada");
    line.join("bob");
    line.away(caller_named("ada"));
    assert_eq!(line.join("eve"), ["* refused", "! Busy { wait: None }"]);
    assert_eq!(line.restated(operator_named("wei")), [r#"wei < board 2 ["bob"] []"#]);
}

#[test]
fn a_ticket_is_held_by_one_party() {
    let mut line = Line::open();
    assert_eq!(line.line.holder(ticket("ada")), None);
    line.join("ada");
    line.by_hand("wei");
    assert_eq!(line.line.holder(ticket("ada")), Some(caller_named("ada")));
    assert_eq!(line.line.holder(ticket("wei")), Some(operator_named("wei")));
    let name = Name::new("eve").unwrap();
    for ticket in [ticket("ada"), ticket("wei")] {
        let join = Input::Join { call: call("eve"), ticket, name: name.clone() };
        assert!(line.does(join).is_empty());
        let answering = helpline_proto::ids::Answering::ByHand;
        let operator = OperatorId(u64::MAX);
        let sign_on = Input::SignOn { operator, ticket, name: name.clone(), answering };
        assert!(line.does(sign_on).is_empty());
    }
    line.hang_up(caller_named("ada"), "ada");
    assert_eq!(line.line.holder(ticket("ada")), Some(caller_named("ada")));
    line.end_seen(caller_named("ada"), "ada");
    line.ask(operator_named("wei"), Request::SignOff);
    assert_eq!((line.line.holder(ticket("ada")), line.line.holder(ticket("wei"))), (None, None));
}

#[test]
fn a_restart_keeps_everybody_where_they_were() {
    let mut line = Line::talk();
    line.say(caller_named("ada"), "ada", 1, "so");
    line.by_itself("zoe");
    line.ask(operator_named("zoe"), Request::Pause);
    line.join("bob");
    line.join("cy");
    line.hang_up(caller_named("cy"), "cy");
    let mut line = line.restarted();
    assert_eq!(line.line.snapshot(), line.restarted().line.snapshot());
    let state = |at: usize| line.line.snapshot().calls[at].state;
    assert!(matches!(state(0), KeptState::Connected { operator: by, .. } if by == operator("wei")));
    assert_eq!(state(1), KeptState::Waiting);
    assert_eq!(state(2), KeptState::Ended { caller: true, operator: None });
    assert_eq!(line.line.poll_timeout(), Some(Moment(20_000)), "nobody is there to see a board");

    assert_eq!(line.back(operator_named("wei")), ["ada < Operator is back"]);
    assert_eq!(
        line.resumed(operator_named("wei")),
        ["wei < admitted as wei", r#"wei < resumed ["ada to 3, nonce 1"]"#]
    );
    assert_eq!(
        line.restated(operator_named("wei")),
        [
            "wei < connected with ada, nonce 1",
            "wei < Caller is away",
            r#"wei < board 1 [] ["ada-wei"]"#,
        ]
    );
    assert_eq!(line.back(caller_named("ada")), ["wei < Caller is back"]);
    assert_eq!(
        line.say(caller_named("ada"), "ada", 1, "so"),
        [format!("! {:?}", helpline_switchboard::Refusal::Nonce { next: Nonce(2) })]
    );
    line.back(operator_named("zoe"));
    assert_eq!(line.resumed(operator_named("zoe")), ["zoe < admitted as zoe", "zoe < resumed []"]);
    assert_eq!(line.back(caller_named("bob")).len(), 0, "Zoe is still on a break");
    assert_eq!(line.ask(operator_named("zoe"), Request::Ready)[1], "* answered bob by zoe");
    assert!(line.back(caller_named("cy")).is_empty());
    assert_eq!(line.resumed(caller_named("cy"))[1], r#"cy < resumed ["cy to 2, nonce 1"]"#);
    assert_eq!(line.end_seen(caller_named("cy"), "cy").len(), 2);
    assert_eq!(line.join("dee")[0], "* opened dee #10");
}

#[test]
fn after_a_restart_every_time_is_a_full_one() {
    let mut line = Line::open();
    line.by_hand("wei");
    line.join("ada");
    line.join("bob");
    line.away(caller_named("ada"));
    line.pass(limits::WAITING_GRACE - INSTANT);
    let mut line = line.restarted();
    line.back(operator_named("wei"));
    line.back(caller_named("bob"));
    assert!(line.pass(limits::PASSED_OVER - INSTANT).is_empty());
    assert_eq!(line.next("wei"), ["! FirstIsAway"]);
    assert_eq!(line.pass(INSTANT), ["wei < offer bob, 2 waiting"]);
    let rest = limits::WAITING_GRACE - limits::PASSED_OVER;
    assert!(line.pass(rest - INSTANT).is_empty());
    assert_eq!(line.pass(INSTANT)[0], "* closed ada");
}

#[test]
fn a_talk_from_before_a_restart_does_not_count_into_the_wait() {
    let mut line = Line::talk();
    line.by_itself("ann");
    line.by_itself("zoe");
    line.join("bob");
    line.join("cy");
    let mut line = line.restarted();
    for (by, name) in [("wei", "ada"), ("ann", "bob"), ("zoe", "cy")] {
        line.back(operator_named(by));
        line.hang_up(operator_named(by), name);
    }
    assert_eq!(line.join("dee")[2], "dee < place 1 of 1, nonce 1");
}

#[test]
fn those_who_answer_by_themselves_have_their_turns_by_sign_on_after_a_restart() {
    let mut line = Line::open();
    line.by_itself("ann");
    line.by_itself("zoe");
    line.join("ada");
    line.hang_up(operator_named("ann"), "ada");
    line.end_seen(operator_named("ann"), "ada");
    let mut line = line.restarted();
    line.back(operator_named("zoe"));
    line.back(operator_named("ann"));
    assert_eq!(line.join("bob")[2], "* answered bob by ann");
    let [bob] = &line.line.snapshot().calls[1..] else { panic!("ada and bob") };
    assert_eq!((bob.number, bob.answered), (QueueNumber(8), true));
}

#[test]
fn nothing_is_left_of_those_who_come_and_go() {
    let mut line = Line::open();
    line.by_itself("wei");
    for round in 0..50 {
        let name = format!("c{round}");
        line.join(&name);
        for party in [Party::Caller(call(&name)), operator_named("wei")] {
            line.away(party);
            line.pass(Duration::from_secs(30));
            line.back(party);
        }
        line.hang_up(Party::Caller(call(&name)), &name);
        line.end_seen(operator_named("wei"), &name);
        line.end_seen(Party::Caller(call(&name)), &name);
        line.pass(limits::BOARD_EVERY);
        assert_eq!((line.line.calls(), line.line.poll_timeout()), (0, None));
    }
}
