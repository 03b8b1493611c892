//! No sequence of operations panics, loses or doubles a line.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use proptest::{collection::vec, prelude::*};

use crate::{
    code::Code,
    ids::{CallId, Side},
    message::{Message, Next, Pause, Ready, Ref},
    session::ClientEvent,
    text::Text,
};

use crate::tests::cases;

use super::world::{Reads, World, entry};

#[derive(Clone, Copy, Debug)]
enum Op {
    Say(usize),
    SayMany(usize, u16),
    HangUp(usize),
    Type(usize),
    Next(usize),
    Ready(usize),
    Break(usize),
    Pass(u16),
    Reads(usize, Reads),
    Delay(usize, u16),
    Fill(usize, bool),
    /// What the client sent, and sends, is late: it may overtake itself on a newer connection.
    Stall(usize, u16),
    /// The connection breaks behind so many bytes, up and down, and both ends see it.
    Cut(usize, usize, usize),
    /// The connection breaks, and only the client sees it.
    Vanish(usize),
    /// The connection breaks, and nobody sees it.
    GoDead(usize),
    /// The client's process ends, and another one goes on.
    Restart(usize),
    RestartServer,
    DiskFull,
    PutBack(usize),
    /// Whoever is away is forgotten.
    Forget(usize),
    /// Bytes that are nobody's.
    Garbage(usize, u8),
    /// The server tells an entry again.
    Repeat(usize, usize),
    NewCaller,
    NewOperator,
}

/// Of one tuple of numbers, and not a union of strategies: that draws from each of them, and takes longer
/// than everything else here.
fn op() -> impl Strategy<Value = Op> {
    (0..80_u8, 0..6_usize, any::<u16>(), any::<u16>()).prop_map(|(which, end, a, b)| {
        let reads = [
            Reads::AsWritten,
            Reads::Slices(1),
            Reads::Slices(3),
            Reads::Slices(64),
            Reads::Together,
        ];
        // All of what is under way, or a part of it.
        let bytes = |number: u16| match number % 3 {
            0 => 0,
            1 => usize::MAX,
            _ => usize::from(number / 3) % 200,
        };
        match which {
            0..16 => Op::Say(end),
            16..20 => Op::SayMany(end, a % 90),
            20..22 => Op::HangUp(end),
            22..24 => Op::Type(end),
            24..30 => Op::Next(end),
            30 => Op::Ready(end),
            31 => Op::Break(end),
            32..38 => Op::Pass(a % 150),
            38..44 => Op::Pass(a % 3_000),
            44 => Op::Pass(a % 60_000),
            45..47 => Op::Reads(end, reads[usize::from(a) % reads.len()]),
            47..49 => Op::Delay(end, a % 700),
            49..51 => Op::Fill(end, a % 2 == 0),
            51..53 => Op::Stall(end, a % 9_000),
            53..60 => Op::Cut(end, bytes(a), bytes(b)),
            60..62 => Op::Vanish(end),
            62 => Op::GoDead(end),
            63..66 => Op::Restart(end),
            66 => Op::RestartServer,
            67..69 => Op::DiskFull,
            69..71 => Op::PutBack(end),
            71..73 => Op::Forget(end),
            73 => Op::Garbage(end, a.to_be_bytes()[1]),
            74..76 => Op::Repeat(end, usize::from(a) % 50),
            76..78 => Op::NewCaller,
            _ => Op::NewOperator,
        }
    })
}

/// A line that was to be said.
struct Line {
    by: usize,
    text: String,
    reference: Ref,
    /// A later process has it: its reference is forgotten.
    is_kept: bool,
}

#[derive(Default)]
struct Asked {
    lines: Vec<Line>,
    /// What was asked for beside lines: by whom, in which of its processes.
    requests: Vec<(usize, usize, Ref)>,
    /// Whose stream had strange bytes in it: they may have swallowed anything.
    garbled: BTreeSet<usize>,
    count: u32,
}

impl Asked {
    fn reference(&mut self) -> Ref {
        self.count += 1;
        Ref(self.count)
    }

    fn request(&mut self, world: &mut World, end: usize, request: Message) {
        let reference = self.reference();
        if !world.ends[end].is_over() {
            self.requests.push((end, world.ends[end].earlier.len(), reference));
        }
        world.ends[end].client.request(request, reference);
    }

    fn say(&mut self, world: &mut World, end: usize) {
        let reference = self.reference();
        let text = format!("line {}", reference.0);
        let call = call_of(world, end);
        let Some(call) = call else { return };
        let line = Text::new(text.as_str()).unwrap();
        if world.ends[end].client.say(call, line, reference).is_ok() {
            self.lines.push(Line { by: end, text, reference, is_kept: false });
        }
    }

    fn restart(&mut self, world: &mut World, end: usize) {
        if world.ends[end].is_over() {
            return;
        }
        let kept: BTreeSet<String> =
            world.ends[end].client.unsaid_lines().map(|(.., text)| text.to_string()).collect();
        let (said, not_said) = (world.ends[end].said(), world.ends[end].not_said());
        for line in self.lines.iter_mut().filter(|line| line.by == end) {
            let has_outcome = said.contains(&line.reference.0)
                || not_said.iter().any(|(text, ..)| *text == line.text);
            // What isn't kept though it has no outcome is known to be recorded.
            line.is_kept |= kept.contains(&line.text) || !has_outcome;
        }
        world.restart(end);
    }
}

fn call_of(world: &World, end: usize) -> Option<CallId> {
    let in_call =
        |(_, it): (Ref, &Message)| matches!(it, Message::Place(_) | Message::Connected(_));
    world.ends[end].told().any(in_call).then(|| world.ends[end].call())
}

fn perform(world: &mut World, asked: &mut Asked, op: Op) {
    let count = world.ends.len();
    match op {
        Op::Say(end) => asked.say(world, end % count),
        Op::SayMany(end, many) => (0..many).for_each(|_| asked.say(world, end % count)),
        Op::HangUp(end) => {
            if let Some(call) = call_of(world, end % count) {
                let reference = asked.reference();
                let _ = world.ends[end % count].client.hang_up(call, reference);
            }
        }
        Op::Type(end) => {
            if let Some(call) = call_of(world, end % count) {
                world.ends[end % count].client.typing(call);
            }
        }
        Op::Next(end) => asked.request(world, end % count, Next {}.into()),
        Op::Ready(end) => world.ends[end % count].client.request(Ready {}.into(), Ref::NONE),
        Op::Break(end) => world.ends[end % count].client.request(Pause {}.into(), Ref::NONE),
        Op::Pass(millis) => world.pass_ms(millis.into()),
        Op::Reads(end, reads) => {
            world.conn(end % count).up.reads = reads;
            world.conn(end % count).down.reads = reads;
        }
        Op::Delay(end, millis) => {
            world.conn(end % count).up.delay = Duration::from_millis(millis.into());
            world.conn(end % count).down.delay = Duration::from_millis(u64::from(millis) / 2);
        }
        Op::Fill(end, full) => world.conn(end % count).down.full = full,
        Op::Stall(end, millis) => world.stall(end % count, millis.into()),
        Op::Cut(end, up, down) => world.cut_behind(end % count, up, down),
        Op::Vanish(end) => world.vanish(end % count),
        Op::GoDead(end) => {
            world.conn(end % count).up.dead = true;
            world.conn(end % count).down.dead = true;
        }
        Op::Restart(end) => asked.restart(world, end % count),
        Op::RestartServer => world.restart_server(),
        Op::DiskFull => world.disk_full = true,
        Op::PutBack(call) => {
            if call < world.calls.len() {
                world.put_back(call);
            }
        }
        Op::Forget(end) => world.forget(end % count),
        Op::Garbage(end, byte) => {
            let now = world.now;
            asked.garbled.insert(end % count);
            world.conn(end % count).up.write(&[0, 0, 0, byte, byte, byte], now);
        }
        Op::Repeat(end, number) => {
            let told = world.ends[end % count].entries();
            if let Some(entry) = told.get(number) {
                world.tell(end % count, Ref::NONE, entry.clone());
            }
        }
        Op::NewCaller | Op::NewOperator if count >= 6 => {}
        Op::NewCaller => {
            let new = world.caller();
            world.ends[new].returns = true;
        }
        Op::NewOperator => {
            let new = world.operator();
            world.ends[new].returns = true;
        }
    }
}

/// What each end's processes learnt, the present one last.
fn processes(world: &World, end: usize) -> impl Iterator<Item = &Vec<ClientEvent>> {
    let end = &world.ends[end];
    end.earlier.iter().chain([&end.events])
}

/// Each transcript is dense, has every line once, and each speaker's lines in their order.
fn check_transcripts(world: &World, asked: &Asked) -> Result<BTreeSet<String>, TestCaseError> {
    let speakers: BTreeMap<&str, &Line> =
        asked.lines.iter().map(|line| (line.text.as_str(), line)).collect();
    let mut recorded = BTreeSet::new();
    for call in &world.calls {
        let mut last = BTreeMap::new();
        for (number, told) in (1..).zip(&call.transcript) {
            prop_assert_eq!(entry(told).map(|(id, seq)| (id, seq.0)), Some((call.id, number)));
            let Message::Said(said) = told else { continue };
            prop_assert!(recorded.insert(said.text.to_string()), "{:?} twice", said.text);
            let line = speakers[said.text.as_str()];
            prop_assert_eq!(world.ends[line.by].side, said.from);
            let before = last.insert(line.by, line.reference);
            prop_assert!(before < Some(line.reference), "a speaker's lines keep their order");
        }
    }
    Ok(recorded)
}

/// Each screen is a dense prefix of the transcript, told once; one that lives is complete.
fn check_screens(world: &World) -> Result<(), TestCaseError> {
    for at in 0..world.ends.len() {
        for events in processes(world, at) {
            let mut screens: BTreeMap<CallId, usize> = BTreeMap::new();
            for event in events {
                let ClientEvent::Told(_, told) = event else { continue };
                if let Message::PutBack(put_back) = told {
                    screens.remove(&put_back.call);
                }
                if let Message::Resumed(resumed) = told {
                    let is_listed = |id: CallId| resumed.calls.iter().any(|it| it.call == id);
                    screens.retain(|id, _| is_listed(*id));
                }
                let Some((id, _)) = entry(told) else { continue };
                let call = world.calls.iter().find(|call| call.id == id).unwrap();
                let shown = screens.entry(id).or_default();
                prop_assert_eq!(call.transcript.get(*shown), Some(told), "a screen is a prefix");
                *shown += 1;
            }
            let is_last = std::ptr::eq(events, &raw const world.ends[at].events);
            if !is_last || world.ends[at].is_over() {
                continue;
            }
            for (number, call) in world.calls.iter().enumerate() {
                if !world.is_in(at, number) {
                    continue;
                }
                if !call.ended {
                    let shown = screens.get(&call.id).copied();
                    prop_assert_eq!(shown, Some(call.transcript.len()), "a screen is complete");
                }
                // What an earlier process has seen to its end isn't told again.
                let last = call.transcript.last().unwrap();
                let is_last = |event: &ClientEvent| matches!(event, ClientEvent::Told(_, told) if told == last);
                prop_assert!(processes(world, at).flatten().any(is_last), "its end is told");
            }
        }
    }
    Ok(())
}

/// Each line has one outcome, which is the truth.
fn check_lines(
    world: &World,
    asked: &Asked,
    recorded: &BTreeSet<String>,
) -> Result<(), TestCaseError> {
    for line in &asked.lines {
        let mut said = 0;
        let mut not_said = vec![];
        for event in processes(world, line.by).flatten() {
            match event {
                ClientEvent::Told(reference, Message::Said(it)) if *reference == line.reference => {
                    prop_assert_eq!(it.text.as_str(), &line.text);
                    said += 1;
                }
                ClientEvent::NotSaid { text, reference, why, .. } if text.as_str() == line.text => {
                    prop_assert!(*reference == line.reference || line.is_kept);
                    not_said.push(*why);
                }
                _ => {}
            }
        }
        let recorded = recorded.contains(&line.text);
        let outcomes = said + not_said.len();
        prop_assert!(outcomes <= 1, "{} has {} outcomes", line.text, outcomes);
        if said == 1 {
            prop_assert!(recorded, "{} was called said", line.text);
        } else if let [Some(why)] = not_said[..] {
            prop_assert!(!recorded, "{} was said, though {}", line.text, why);
            // Only a call that changed hands can have a number given twice.
            let mut entries = world.calls.iter().flat_map(|call| &call.transcript);
            let explained = asked.garbled.contains(&line.by)
                || entries.any(|entry| matches!(entry, Message::Left(_)));
            prop_assert!(why != Code::NONCE || explained, "{} was misnumbered", line.text);
        } else if not_said.is_empty() && !asked.garbled.contains(&line.by) {
            prop_assert!(line.is_kept, "{} has no outcome", line.text);
            prop_assert!(recorded, "{} is lost", line.text);
        }
    }
    Ok(())
}

fn check(world: &World, asked: &Asked) -> Result<(), TestCaseError> {
    let recorded = check_transcripts(world, asked)?;
    check_screens(world)?;
    check_lines(world, asked, &recorded)?;
    for (at, end) in world.ends.iter().enumerate() {
        let over = end.events.iter().filter(|event| matches!(event, ClientEvent::Over(_))).count();
        prop_assert!(over == 0 || (over == 1 && end.is_over()), "nothing follows the end");
        let is_offline = matches!(end.events.last(), Some(ClientEvent::Offline(_)));
        prop_assert!(!is_offline, "{} is back", at);
        let is_superseded = end.is_over() && end.goodbye() == Some(Code::SUPERSEDED);
        prop_assert!(!is_superseded, "{} was superseded by itself", at);
        if asked.garbled.contains(&at) {
            continue;
        }
        prop_assert_eq!((end.client.unsaid(), end.client.unsaid_bytes()), (0, 0));
        prop_assert!(end.client.is_idle(), "whoever hung up has hung up");
        for (by, process, reference) in &asked.requests {
            if *by == at && *process == end.earlier.len() {
                let answers = end.told().filter(|(answered, _)| answered == reference).count();
                prop_assert!(answers <= 1, "{:?} is answered once", reference);
                prop_assert!(answers == 1 || end.is_over(), "{:?} has no answer", reference);
            }
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(cases(2048))]

    #[test]
    fn no_line_is_lost_or_doubled_whatever_happens(ops in vec(op(), 1..80)) {
        let (mut world, _, _) = World::returning();
        let mut asked = Asked::default();
        for op in ops {
            perform(&mut world, &mut asked, op);
        }
        // What is full takes again, and everything under way arrives.
        world.disk_full = false;
        for end in 0..world.ends.len() {
            for conn in &mut world.ends[end].conns {
                conn.down.full = false;
            }
        }
        world.pass(200);
        check(&world, &asked)?;
        prop_assert!(world.ends.iter().any(|end| end.side == Side::Caller));
    }
}
