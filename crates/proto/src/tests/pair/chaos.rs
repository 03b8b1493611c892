//! No sequence of operations panics, loses or doubles a line.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use proptest::{collection::vec, prelude::*, sample::select};

use crate::{
    code::Code,
    message::{Message, Next, Pause, Ready, Ref},
    session::ClientEvent,
    text::Text,
};

use crate::tests::cases;

use super::world::{Reads, World, entry};

#[derive(Clone, Copy, Debug)]
enum Op {
    Say(usize),
    SayMany(usize, u8),
    HangUp(usize),
    Type(usize),
    Next(usize),
    Ready(usize),
    Break(usize),
    Pass(u16),
    Reads(usize, Reads),
    Delay(usize, u16),
    Fill(usize, bool),
    /// The connection breaks, and both ends see it.
    Cut(usize),
    /// The connection breaks, and nobody sees it.
    GoDead(usize),
    /// Bytes that are nobody's.
    Garbage(usize, u8),
    /// The server tells an entry again.
    Repeat(usize, usize),
    NewCaller,
}

fn op() -> impl Strategy<Value = Op> {
    let end = || 0..4_usize;
    let reads = select(vec![
        Reads::AsWritten,
        Reads::Slices(1),
        Reads::Slices(3),
        Reads::Slices(64),
        Reads::Together,
    ]);
    prop_oneof![
        12 => end().prop_map(Op::Say),
        4 => (end(), 1..90_u8).prop_map(|(end, many)| Op::SayMany(end, many)),
        2 => end().prop_map(Op::HangUp),
        2 => end().prop_map(Op::Type),
        4 => end().prop_map(Op::Next),
        1 => end().prop_map(Op::Ready),
        1 => end().prop_map(Op::Break),
        8 => (0..3_000_u16).prop_map(Op::Pass),
        1 => (3_000..60_000_u16).prop_map(Op::Pass),
        3 => (end(), reads).prop_map(|(end, reads)| Op::Reads(end, reads)),
        2 => (end(), 0..2_000_u16).prop_map(|(end, delay)| Op::Delay(end, delay)),
        2 => (end(), any::<bool>()).prop_map(|(end, full)| Op::Fill(end, full)),
        1 => end().prop_map(Op::Cut),
        1 => end().prop_map(Op::GoDead),
        1 => (end(), any::<u8>()).prop_map(|(end, byte)| Op::Garbage(end, byte)),
        2 => (end(), 0..50_usize).prop_map(|(end, entry)| Op::Repeat(end, entry)),
        1 => Just(Op::NewCaller),
    ]
}

/// What was asked to be said: by whom, under which reference, and whether it was taken.
#[derive(Default)]
struct Lines {
    count: u32,
    taken: Vec<(usize, Ref, String)>,
    /// The ends whose stream had strange bytes in it: what they said may have become anything.
    garbled: BTreeSet<usize>,
}

fn in_call(world: &World, end: usize) -> bool {
    let mut told = world.ends[end].told();
    told.any(|(_, it)| matches!(it, Message::Place(_) | Message::Connected(_)))
}

fn say(world: &mut World, lines: &mut Lines, end: usize) {
    if !in_call(world, end) {
        return;
    }
    lines.count += 1;
    let text = format!("line {}", lines.count);
    let call = world.ends[end].call();
    let reference = Ref(lines.count);
    let taken = world.ends[end].client.say(call, Text::new(text.as_str()).unwrap(), reference);
    if taken.is_ok() {
        lines.taken.push((end, reference, text));
    }
}

fn perform(world: &mut World, lines: &mut Lines, op: Op) {
    let count = world.ends.len();
    match op {
        Op::Say(end) => say(world, lines, end % count),
        Op::SayMany(end, many) => (0..many).for_each(|_| say(world, lines, end % count)),
        Op::HangUp(end) | Op::Type(end) if !in_call(world, end % count) => {}
        Op::HangUp(end) => {
            let call = world.ends[end % count].call();
            let _ = world.ends[end % count].client.hang_up(call, Ref(1_000_000));
        }
        Op::Type(end) => {
            let call = world.ends[end % count].call();
            world.ends[end % count].client.typing(call);
        }
        Op::Next(end) => world.ends[end % count].client.request(Next {}.into(), Ref(1_000_001)),
        Op::Ready(end) => world.ends[end % count].client.request(Ready {}.into(), Ref::NONE),
        Op::Break(end) => world.ends[end % count].client.request(Pause {}.into(), Ref::NONE),
        Op::Pass(millis) => world.pass_ms(millis.into()),
        Op::Reads(end, reads) => {
            world.ends[end % count].up.reads = reads;
            world.ends[end % count].down.reads = reads;
        }
        Op::Delay(end, millis) => {
            world.ends[end % count].up.delay = Duration::from_millis(millis.into());
            world.ends[end % count].down.delay = Duration::from_millis(u64::from(millis) / 2);
        }
        Op::Fill(end, full) => world.ends[end % count].down.full = full,
        Op::Cut(end) => world.cut(end % count),
        Op::GoDead(end) => {
            world.ends[end % count].up.dead = true;
            world.ends[end % count].down.dead = true;
        }
        Op::Garbage(end, byte) => {
            let now = world.now;
            lines.garbled.insert(end % count);
            world.ends[end % count].up.write(&[0, 0, 0, byte, byte, byte], now);
        }
        Op::Repeat(end, number) => {
            let told = world.ends[end % count].entries();
            if let Some(entry) = told.get(number) {
                world.tell(end % count, Ref::NONE, entry.clone());
            }
        }
        Op::NewCaller => {
            if count < 6 {
                world.caller();
            }
        }
    }
}

fn check(world: &World, lines: &Lines) -> Result<(), TestCaseError> {
    let mut recorded: BTreeMap<String, usize> = BTreeMap::new();
    for call in &world.calls {
        for (number, told) in (1..).zip(&call.transcript) {
            prop_assert_eq!(entry(told).map(|(id, seq)| (id, seq.0)), Some((call.id, number)));
            if let Message::Said(said) = told {
                *recorded.entry(said.text.to_string()).or_default() += 1;
            }
        }
    }
    prop_assert!(recorded.values().all(|times| *times == 1), "a line was recorded twice");

    for (at, end) in world.ends.iter().enumerate() {
        let over = end.events.iter().filter(|event| matches!(event, ClientEvent::Over(_))).count();
        prop_assert!(over == 0 || (over == 1 && end.is_over()), "nothing follows the end");
        for call in &world.calls {
            let screen: Vec<Message> = end
                .entries()
                .into_iter()
                .filter(|told| entry(told).map(|(id, _)| id) == Some(call.id))
                .collect();
            prop_assert!(call.transcript.starts_with(&screen), "a screen isn't a prefix");
            if !end.is_over() && !screen.is_empty() {
                prop_assert_eq!(&screen, &call.transcript, "a living screen is complete");
            }
        }
        if lines.garbled.contains(&at) {
            continue;
        }
        let said: Vec<Ref> = end
            .told()
            .filter(|(reference, it)| matches!(it, Message::Said(_)) && *reference != Ref::NONE)
            .map(|(reference, _)| reference)
            .collect();
        prop_assert!(said.is_sorted(), "a speaker's lines keep their order");
        let not_said = end.not_said();
        for (_, reference, text) in lines.taken.iter().filter(|(by, ..)| *by == at) {
            let outcomes = said.iter().filter(|said| *said == reference).count()
                + not_said.iter().filter(|(_, refused, _)| refused == reference).count();
            prop_assert_eq!(outcomes, 1, "{} has one outcome", text);
            let refused = not_said.iter().find(|(_, refused, _)| refused == reference);
            let recorded = recorded.contains_key(text);
            match refused {
                None => prop_assert!(recorded),
                Some((_, _, Some(code))) => {
                    prop_assert_eq!(*code, Code::CALL_ENDED);
                    prop_assert!(!recorded, "{} was said after all", text);
                }
                // Nobody can know: the connection was lost.
                Some((_, _, None)) => prop_assert!(end.is_over()),
            }
        }
        prop_assert_eq!(end.client.unsaid(), 0);
        prop_assert_eq!(end.client.unsaid_bytes(), 0);
    }
    Ok(())
}

proptest! {
    #![proptest_config(cases(192))]

    #[test]
    fn no_line_is_lost_or_doubled_whatever_happens(ops in vec(op(), 1..80)) {
        let (mut world, _, _) = World::connected();
        let mut lines = Lines::default();
        for op in ops {
            perform(&mut world, &mut lines, op);
        }
        // What is full takes again, and everything under way arrives.
        for end in &mut world.ends {
            end.down.full = false;
        }
        world.pass(400);
        check(&world, &lines)?;
    }
}
