//! The store on disk and the one in memory are one to whoever uses them: whatever is legal to write,
//! and however it fails, they give back the same.

use std::{
    env,
    fs::{self, OpenOptions},
    io::Write as _,
};

use helpline_proto::{ids::Uses, text::Detail};

use super::*;
use crate::{
    access::{Invitation, SecretHash},
    store::memory::{Disk, Fault, MemoryStore},
};

/// Random numbers, the same for the same seed.
pub(super) struct Dice(u64);

impl Dice {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    /// A number below this one.
    pub(super) fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let end = u64::try_from(end).unwrap();
        usize::try_from((mixed ^ (mixed >> 31)) % end).unwrap()
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Stands {
    Waiting,
    Connected(u64),
    Ended { caller: bool, operator: Option<u64> },
    Over,
}

#[derive(Clone)]
struct Call {
    number: u64,
    stands: Stands,
    seq: u32,
    nonces: [u32; 2],
}

impl Call {
    fn seq(&mut self) -> u32 {
        self.seq += 1;
        self.seq
    }
}

/// What is legal to write next.
#[derive(Clone, Default)]
struct Model {
    calls: Vec<Call>,
    operators: Vec<u64>,
    last_operator: u64,
    invitations: u8,
}

impl Model {
    fn open(&mut self) -> Write {
        let number = u64::try_from(self.calls.len()).unwrap() + 1;
        self.calls.push(Call { number, stands: Stands::Waiting, seq: 0, nonces: [0; 2] });
        opened(number)
    }

    /// Something that no call has to do with.
    fn beside_calls(&mut self, dice: &mut Dice) -> Write {
        let (by, at) = (String::from("Wei"), UnixMillis(1));
        self.invitations += 1;
        let code = |number: u8| SecretHash([number; 32]);
        match dice.below(4) {
            0 => Write::Refused(3),
            1 => {
                let uses = [Uses::Once, Uses::Many][dice.below(2)];
                let until = (uses == Uses::Many).then_some(UnixMillis(9));
                let invitation = Invitation { code: code(self.invitations), uses, until };
                Write::Invitation { invitation, by, at }
            }
            2 => {
                let network = format!("192.0.2.{}", dice.below(256)).parse().unwrap();
                Write::Ban { network, until: UnixMillis(9), reason: Detail::cut(""), by, at }
            }
            // One that was there, or was not.
            _ => Write::InvitationUsed(code(u8::try_from(dice.below(8)).unwrap())),
        }
    }

    /// One thing that may happen, if it can.
    fn step(&mut self, dice: &mut Dice, writes: &mut Vec<Write>) {
        let kind = dice.below(16);
        if kind == 0 || self.calls.is_empty() {
            let opened = self.open();
            writes.push(opened);
            return;
        }
        if kind == 1 {
            // Not every number is used: a sign-on may be refused.
            self.last_operator += 1 + u64::try_from(dice.below(2)).unwrap();
            self.operators.push(self.last_operator);
            writes.push(signed_on(self.last_operator));
            if dice.below(2) == 0 {
                let token = SecretHash([self.last_operator.to_be_bytes()[7]; 32]);
                writes.push(Write::Credential(OperatorId(self.last_operator), token));
            }
            return;
        }
        if kind == 2 {
            return writes.push(self.beside_calls(dice));
        }
        let operator = match self.operators.len() {
            0 => None,
            many => Some(dice.below(many)),
        };
        if let Some(at) = operator {
            match kind {
                3 => {
                    let presence = [Presence::Available, Presence::Break][dice.below(2)];
                    let operator = OperatorId(self.operators[at]);
                    return writes.push(Write::Record(Record::Chose { operator, presence }));
                }
                4 => {
                    let gone = self.operators.remove(at);
                    for call in &mut self.calls {
                        leave(call, gone, writes);
                    }
                    let (operator, at) = (OperatorId(gone), UnixMillis(8));
                    return writes.push(Write::Record(Record::SignedOff { operator, at }));
                }
                _ => {}
            }
        }
        let many = self.calls.len();
        // Mostly the latest, so that there are some that have something happen to them.
        let at = many - 1 - dice.below(many.min(6));
        let call = &mut self.calls[at];
        let number = call.number;
        match (kind, call.stands) {
            (5, Stands::Waiting) => {
                if let Some(at) = operator {
                    let operator = self.operators[at];
                    call.stands = Stands::Connected(operator);
                    writes.push(answered(number, operator, i64::from(call.seq) + 10));
                }
            }
            (6, Stands::Connected(operator)) => leave(call, operator, writes),
            (7, Stands::Waiting | Stands::Connected(_)) => {
                let operator = match call.stands {
                    Stands::Connected(operator) => Some(operator),
                    _ => None,
                };
                call.stands = Stands::Ended { caller: true, operator };
                let whys = [Why::Bye, Why::Abandoned, Why::TimedOut, Why::Banned];
                let by = [By::Caller, By::Operator, By::Server][dice.below(3)];
                let item = Item::Ended { by, why: whys[dice.below(4)] };
                writes.extend([closed(number), entry(number, call.seq(), item)]);
            }
            (8..=9, Stands::Ended { caller, operator }) => {
                let (caller, operator) = if dice.below(2) == 0 {
                    writes.push(done(number, Side::Caller));
                    (false, operator)
                } else {
                    writes.push(done(number, Side::Operator));
                    (caller, None)
                };
                call.stands = Stands::Ended { caller, operator };
                if !caller && operator.is_none() {
                    call.stands = Stands::Over;
                }
            }
            (10, Stands::Waiting | Stands::Connected(_)) => {
                let from = [Side::Caller, Side::Operator][dice.below(2)];
                let item = [Item::Joined { from, name: name() }, Item::Left { from, name: name() }]
                    [dice.below(2)]
                .clone();
                writes.push(entry(number, call.seq(), item));
            }
            (11.., Stands::Waiting | Stands::Connected(_)) => {
                let (side, from) = match (call.stands, dice.below(2)) {
                    (Stands::Connected(_), 1) => (1, Side::Operator),
                    _ => (0, Side::Caller),
                };
                call.nonces[side] += 1;
                let text = ["yes", "是", "a\n\tb", "0123456789abcdef"][dice.below(4)];
                let text = text.repeat(1 + dice.below(3) * dice.below(100));
                let nonce = call.nonces[side];
                writes.push(said(number, call.seq(), from, nonce, &text));
            }
            _ => {}
        }
    }
}

/// An operator is no longer in a call.
fn leave(call: &mut Call, gone: u64, writes: &mut Vec<Write>) {
    match &mut call.stands {
        Stands::Connected(operator) if *operator == gone => {
            call.stands = Stands::Waiting;
            let item = Item::Left { from: Side::Operator, name: name() };
            writes.extend([put_back(call.number), entry(call.number, call.seq(), item)]);
        }
        Stands::Ended { caller, operator } if *operator == Some(gone) => {
            *operator = None;
            if !*caller {
                call.stands = Stands::Over;
            }
            writes.push(done(call.number, Side::Operator));
        }
        _ => {}
    }
}

/// What was written, printed should they differ.
struct Story {
    seed: u64,
    batches: Vec<Vec<Write>>,
}

impl Drop for Story {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("sequence {}: {:#?}", self.seed, self.batches);
        }
    }
}

struct Twins {
    directory: TempDir,
    disk: Disk,
    real: SqliteStore,
    memory: MemoryStore,
}

impl Twins {
    /// On a copy of an empty database, which is quicker than to make one.
    fn new(empty: &Path) -> Self {
        let directory = directory();
        fs::copy(empty.join(DATABASE), directory.path().join(DATABASE)).unwrap();
        let (real, disk) = (open(directory.path()), Disk::default());
        Self { directory, memory: MemoryStore::open(disk.clone()), disk, real }
    }

    fn reopen(&mut self, dice: &mut Dice) {
        // What is assigned is opened before the old one is closed: a kill, on a copy.
        if dice.below(2) == 0 {
            let (directory, real) = killed(self.directory.path());
            self.real = real;
            self.directory = directory;
        } else {
            self.real = open(self.directory.path());
        }
        self.memory = MemoryStore::open(self.disk.clone());
    }

    /// Commits in one of the ways there are. Says whether it is recorded.
    fn commit(&mut self, dice: &mut Dice, model: &mut Model, mut writes: Vec<Write>) -> bool {
        let injected = |error: Option<StoreError>, rolled_back: bool| {
            assert_eq!(error.map(|error| error.is_rolled_back()), Some(rolled_back));
        };
        match dice.below(8) {
            0 => {
                let opened = model.open();
                let call = model.calls.len().try_into().unwrap();
                let long = "long".repeat(4096);
                writes.extend([opened, said(call, 1, Side::Caller, 1, &long)]);
                self.disk.fail_next(Fault::Full);
                injected(self.memory.commit(&writes).err(), true);
                self.real.database.pragma_update(None, "max_page_count", 1).unwrap();
                injected(self.real.commit(&writes).err(), true);
                self.real.database.pragma_update(None, "max_page_count", 1 << 20).unwrap();
                return false;
            }
            1 if !writes.is_empty() => {
                self.disk.fail_next(Fault::LostError);
                injected(self.memory.commit(&writes).err(), false);
                self.reopen(dice);
                return false;
            }
            2 if !writes.is_empty() => {
                self.disk.fail_next(Fault::KeptError);
                injected(self.memory.commit(&writes).err(), false);
                self.real.commit(&writes).unwrap();
                self.reopen(dice);
            }
            _ => {
                self.memory.commit(&writes).unwrap();
                self.real.commit(&writes).unwrap();
            }
        }
        true
    }

    fn agree(&mut self, dice: &mut Dice, calls: u64) {
        assert_eq!(self.real.snapshot().unwrap(), self.memory.snapshot().unwrap());
        assert_eq!(self.real.next_operator().unwrap(), self.memory.next_operator().unwrap());
        assert_eq!(self.real.access().unwrap(), self.memory.access().unwrap());
        assert_eq!(self.real.credentials().unwrap(), self.memory.credentials().unwrap());
        for call in (1..=calls + 1).map(id) {
            let after = Seq(dice.below(4).try_into().unwrap());
            let bytes = [0, 1, 400, WHOLE][dice.below(4)];
            let page = self.real.page(call, after, bytes).unwrap();
            assert_eq!(page, self.memory.page(call, after, bytes).unwrap());
        }
    }
}

#[test]
fn they_give_back_the_same() {
    let asked = env::var("HELPLINE_SEQUENCES").ok();
    let sequences = asked.map_or(2000, |asked| asked.parse().expect("a number of sequences"));
    let empty = directory();
    drop(open(empty.path()));
    let (mut steps, mut recorded, mut over) = (0, 0, 0);
    for seed in 0..sequences {
        let mut dice = Dice::new(seed);
        let mut story = Story { seed, batches: Vec::new() };
        let (mut twins, mut model) = (Twins::new(empty.path()), Model::default());
        for _ in 0..=dice.below(16) {
            let before = model.clone();
            let mut writes = Vec::new();
            for _ in 0..=dice.below(8) {
                model.step(&mut dice, &mut writes);
            }
            story.batches.push(writes.clone());
            if twins.commit(&mut dice, &mut model, writes) {
                recorded += 1;
            } else {
                model = before;
            }
            steps += 1;
            twins.agree(&mut dice, model.calls.len().try_into().unwrap());
        }
        over += model.calls.iter().filter(|call| call.stands == Stands::Over).count();
        let ids: Vec<_> = model.calls.iter().map(|call| id(call.number)).collect();
        assert_eq!(twins.disk.calls(), ids);
    }
    assert!(recorded < steps && over > 0, "{recorded} of {steps} commits, {over} calls over");
    let failed = steps - recorded;
    let figures = serde_json::json!({
        "proof": "stores", "sequences": sequences, "commits": steps, "failed": failed, "calls_over": over,
    });
    println!("{figures}");
    if let Some(file) = env::var_os("HELPLINE_PROOFS") {
        let mut file = OpenOptions::new().create(true).append(true).open(file).unwrap();
        file.write_all(format!("{figures}\n").as_bytes()).unwrap();
    }
}
