//! The server's process: the real core over a store in memory, and all that can become of it.
//!
//! A turn is decided at one moment and committed at another: between the two the disk takes its time, the
//! inbox fills, and the process can die. What is told goes to the connections only behind the commit, and
//! how many of them hear it before a crash is chance.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    sync::Arc,
};

use helpline_proto::{
    ids::Ticket,
    limits,
    session::Settings,
    text::LineName,
    time::{Moment, UnixMillis},
};
use helpline_server::{
    core::{ConnectionId, Core, Host, Inbox, Policy, Random, Turn, thread::INBOX},
    store::{
        Write,
        memory::{Disk, Fault, MemoryStore},
    },
    tell::About,
};
use helpline_switchboard::{Now, OperatorId, Rules, TicketHash};
use helpline_tests::{
    checker::{PartyId, Terms},
    dice::Dice,
};

use crate::{
    conn::{Conn, Door, Going, Lies, WRITE},
    coverage::Sight,
    net::{End, NEVER, Wire},
    params::Dim,
    witness::{TicketKey, briefly, hash, name},
    world::{Event, World},
};

/// What becomes of a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// It is recorded, and told.
    Told,
    /// The process dies before it is recorded.
    CrashBefore,
    /// The process dies when it is recorded.
    CrashAfter,
    /// The process dies when some have been told.
    CrashTelling,
    /// The store fails.
    Fails(Fault),
}

/// A turn that is being committed.
struct Pending {
    turn: Turn,
    fate: Fate,
    /// The last one before the process ends.
    last: bool,
    /// What superseded connections said in it, and nobody else.
    unheard: Vec<String>,
}

/// Whether there is a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Life {
    Down,
    Up,
    /// The core has ended; the last words go out.
    Leaving,
}

/// The server's machine, with a process on it or not.
pub(crate) struct Server {
    pub(crate) disk: Disk,
    pub(crate) rules: Rules,
    pub(crate) settings: Settings,
    pub(crate) door: Door,
    pub(crate) core: Option<Core<MemoryStore>>,
    life: Life,
    machine_off: bool,
    pending: Option<Pending>,
    /// Rises with every process, so that what was meant for one doesn't reach the next.
    epoch: u32,
    pub(crate) stopping: Option<Moment>,
    wake: Moment,
    /// Those that ended and the core isn't told so yet.
    gone: VecDeque<ConnectionId>,
    /// Whose ticket is whose.
    pub(crate) holders: HashMap<TicketHash, PartyId>,
    pub(crate) operators: BTreeMap<OperatorId, PartyId>,
    /// Which connection speaks for a ticket, as the core knows.
    pub(crate) bound: BTreeMap<TicketKey, u64>,
    pub(crate) tickets: BTreeMap<u64, TicketHash>,
    pub(crate) superseded: BTreeSet<u64>,
    decided: Moment,
    pub(crate) lies: Lies,
    /// Until when the disk is slow.
    pub(crate) slow_until: Moment,
    pub(crate) wall: i64,
    fresh: Dice,
}

impl Server {
    pub(crate) fn new(rules: Rules, settings: Settings, narrow: bool, mut dice: Dice) -> Self {
        let bound = if narrow { 1 + dice.below(4) } else { INBOX };
        Self {
            disk: Disk::default(),
            rules,
            settings,
            door: Door { queue: VecDeque::new(), bound, open: false, was_full: false },
            core: None,
            life: Life::Down,
            machine_off: false,
            pending: None,
            epoch: 0,
            stopping: None,
            wake: NEVER,
            gone: VecDeque::new(),
            holders: HashMap::new(),
            operators: BTreeMap::new(),
            bound: BTreeMap::new(),
            tickets: BTreeMap::new(),
            superseded: BTreeSet::new(),
            decided: Moment(0),
            lies: Lies::default(),
            slow_until: Moment(0),
            wall: 0,
            fresh: dice.split(),
        }
    }

    pub(crate) fn terms(&self) -> Terms {
        let Rules { places, waiting_grace, call_grace, operator_grace } = self.rules;
        Terms { places, waiting_grace, call_grace, operator_grace }
    }

    /// From now on this ticket is known to be a party's.
    pub(crate) fn knows(&mut self, ticket: &Ticket, party: PartyId) {
        self.holders.insert(hash(ticket), party);
    }

    /// Whether a ticket stands for somebody.
    pub(crate) fn holds(&self, ticket: &Ticket) -> bool {
        self.core().is_some_and(|core| core.switchboard().holder(hash(ticket)).is_some())
    }

    pub(crate) fn machine_is_off(&self) -> bool {
        self.machine_off
    }

    pub(crate) fn is_up(&self) -> bool {
        self.life == Life::Up
    }

    pub(crate) fn core(&self) -> Option<&Core<MemoryStore>> {
        self.core.as_ref()
    }

    fn random(&mut self) -> Random {
        let mut dice = self.fresh.split();
        Box::new(move || {
            let ticket = dice.ticket();
            let mut id = [0; 16];
            id.copy_from_slice(&ticket.0[..16]);
            id
        })
    }
}

impl World {
    fn clock(&self) -> Now {
        let at = 1_700_000_000_000 + self.server.wall + i64::try_from(self.now.0).unwrap();
        Now { moment: self.now, at: UnixMillis(at) }
    }

    /// Starts the server's process on what its disk has.
    pub(crate) fn start_server(&mut self) {
        if self.server.life != Life::Down {
            return;
        }
        let about = About { line: LineName::new("main").unwrap(), greeting: None };
        let store = MemoryStore::open(self.server.disk.clone());
        let random = self.server.random();
        let (policy, gate) = (Policy::default(), Arc::default());
        let host = Host { rules: self.server.rules, about, policy, gate };
        let core = Core::open(host, store, random, self.clock()).unwrap();
        self.trace(|| "the server starts".into());
        if core.switchboard().calls() > 0 {
            self.coverage.see(Sight::ServerStarted);
        }
        self.checker.server_started(self.now);
        let server = &mut self.server;
        server.core = Some(core);
        server.life = Life::Up;
        server.machine_off = false;
        server.stopping = None;
        server.door.open = true;
        server.door.queue.clear();
        server.wake = NEVER;
        for wire in 0..self.wires.len() {
            if self.wires[wire].forgotten && self.wires[wire].up.on_the_way() > 0 {
                self.answer_with_reset(wire);
            }
        }
        self.wake_core(self.now);
    }

    /// Bytes reach a machine that knows nothing of their connection.
    pub(crate) fn answer_with_reset(&mut self, at: usize) {
        if self.server.machine_off {
            return;
        }
        let wire = &mut self.wires[at];
        wire.down.stalled = wire.down.stalled.min(self.now);
        wire.up.break_off(0, self.now, &mut wire.dice);
        wire.down.break_off(0, self.now, &mut wire.dice);
        let process = wire.process;
        self.schedule_process(process);
    }

    /// Accepts a connection, if anybody listens.
    pub(crate) fn connect(&mut self, process: usize) -> Option<usize> {
        if self.server.life != Life::Up {
            return None;
        }
        let id = self.wires.len();
        let dims = self.params.dims;
        let delay = if dims.has(Dim::Delay) {
            self.coverage.see(Sight::WireDelayed);
            [1, 50, 300, 1_500][self.dice.below(4)]
        } else {
            1 + u64::try_from(self.dice.below(20)).unwrap()
        };
        let mut wire = Wire::new(process, delay, self.dice.split());
        self.shape(&mut wire);
        self.wires.push(wire);
        let conn =
            Conn::new(ConnectionId(u64::try_from(id).unwrap()), self.server.settings, self.now);
        self.conns.push(Some(Box::new(conn)));
        self.conn_wakes.push(NEVER);
        self.live.push(id);
        self.wake_conn(id, self.now);
        Some(id)
    }

    /// A connection does what it can.
    pub(crate) fn serve(&mut self, id: usize) {
        let Some(mut conn) = self.conns[id].take() else { return };
        let (now, lies) = (self.now, if self.finale { Lies::default() } else { self.server.lies });
        let (was_parted, came) = (conn.parted, self.wires[id].up.on_the_way());
        let (server, wire) = (&mut self.server, &mut self.wires[id]);
        let going = conn.step(now, wire, &mut server.door, lies, &mut self.coverage);
        let (out, rest, asked) = conn.holds();
        // Beside what waits: one frame more than the gathering allows, and what the session says itself.
        self.checker.buffer("what is to be written", out, WRITE + limits::OUTBOX + 128 * 1024);
        self.checker.buffer("what was read", rest, 2 * 64 * 1024);
        self.checker.buffer("what is asked", asked, 8 * 1024);
        if conn.parted && !was_parted {
            self.parted(id);
        }
        if std::mem::take(&mut conn.leaves) && self.server.door.open {
            self.server.gone.push_back(ConnectionId(u64::try_from(id).unwrap()));
            self.let_in();
        }
        if conn.skipped {
            self.skipped.insert(id);
        }
        if !self.server.door.queue.is_empty() {
            self.wake_core(now);
        }
        let process = self.wires[id].process;
        let up = &mut self.wires[id].up;
        if up.on_the_way() < came && std::mem::take(&mut up.full) {
            self.wake_process(process, now);
        }
        if self.processes[process].wire == Some(id) {
            self.schedule_process(process);
        }
        if going == Going::On {
            let next = conn.next(now, &self.wires[id]);
            self.conns[id] = Some(conn);
            if let Some(at) = next {
                self.wake_conn(id, at);
            }
            return;
        }
        self.trace(|| format!("connection {id} ends"));
        let wire = &mut self.wires[id];
        wire.down.end(End::Broken, now, &mut wire.dice);
        wire.up.end(End::Broken, now, &mut wire.dice);
        self.live.retain(|live| *live != id);
        if self.processes[process].wire == Some(id) {
            self.schedule_process(process);
        }
        if self.server.door.open {
            self.server.gone.push_back(ConnectionId(u64::try_from(id).unwrap()));
            self.let_in();
        }
    }

    /// Lets those tell the core that they are gone who still have to.
    fn let_in(&mut self) {
        let server = &mut self.server;
        while server.door.queue.len() < server.door.bound
            && let Some(id) = server.gone.pop_front()
        {
            server.door.queue.push_back(Inbox::Gone(id));
        }
        if !server.door.queue.is_empty() {
            self.wake_core(self.now);
        }
    }

    /// The core let go of a connection, which speaks for nobody any more.
    fn parted(&mut self, id: usize) {
        let id = u64::try_from(id).unwrap();
        let Some(ticket) = self.server.tickets.get(&id) else { return };
        if self.server.bound.get(&ticket.0) == Some(&id) {
            let party = self.server.holders[ticket];
            self.server.bound.remove(&ticket.0);
            self.checker.away(party, self.server.decided);
        }
    }

    /// Everybody takes what the core has for them, so many of them at most.
    fn pump(&mut self, most: usize) {
        let live = self.live.clone();
        for id in live.into_iter().take(most) {
            self.serve(id);
        }
    }

    pub(crate) fn wake_core(&mut self, at: Moment) {
        let at = at.max(self.now);
        if at < self.server.wake {
            self.server.wake = at;
            self.schedule(at, Event::Core(self.server.epoch));
        }
    }

    /// The core's loop, once around.
    pub(crate) fn turn(&mut self, epoch: u32) {
        if epoch != self.server.epoch {
            return;
        }
        self.server.wake = NEVER;
        if self.server.pending.is_some() {
            return;
        }
        let Some(core) = &self.server.core else { return };
        let due = core.poll_timeout().is_some_and(|at| at <= self.now);
        if self.server.door.queue.is_empty() && !due {
            if let Some(at) = core.poll_timeout() {
                self.wake_core(at);
            }
            return;
        }
        let many = self.server.door.queue.len().min(INBOX);
        let items: Vec<Inbox> = self.server.door.queue.drain(..many).collect();
        if many >= 10 {
            self.see(Sight::BigTurn);
        }
        let was_full = std::mem::take(&mut self.server.door.was_full);
        let last = items.iter().any(|item| matches!(item, Inbox::End));
        self.take_turn(items, last);
        self.let_in();
        if was_full {
            self.pump(usize::MAX);
        }
    }

    fn take_turn(&mut self, items: Vec<Inbox>, last: bool) {
        let now = self.clock();
        self.server.decided = self.now;
        self.checker.turn(self.now);
        let mut notes = Vec::with_capacity(items.len());
        let unheard = self.listen(&items, &mut notes);
        self.trace(|| {
            format!("the core takes {}", items.iter().map(name).collect::<Vec<_>>().join(", "))
        });
        let core = self.server.core.as_mut().unwrap();
        let turn = core.decide(now, items);
        for note in notes {
            self.note(note);
        }
        if !turn.writes().is_empty() {
            self.trace(|| format!("the core decides {}", briefly(turn.writes())));
        }
        // Nothing has been told yet: whoever hears something all the same hears it now.
        self.pump(usize::MAX);
        let (fate, takes) = self.fate(&turn);
        let pending = Pending { turn, fate, last, unheard };
        self.server.pending = Some(pending);
        if takes == 0 {
            return self.commit(self.server.epoch);
        }
        if takes >= 100 {
            self.see(Sight::SlowCommit);
        }
        self.schedule(Moment(self.now.0 + takes), Event::Commit(self.server.epoch));
    }

    /// What becomes of a turn, and how long that takes.
    fn fate(&mut self, turn: &Turn) -> (Fate, u64) {
        let writes = turn.writes().iter().any(|write| !matches!(write, Write::Refused(_)));
        let dims = self.params.dims;
        if self.finale {
            return (Fate::Told, 0);
        }
        let crash = if dims.has(Dim::Crash) && self.dice.below(150) == 0 {
            match self.dice.below(3) {
                0 => Fate::CrashBefore,
                1 => Fate::CrashAfter,
                _ => Fate::CrashTelling,
            }
        } else {
            Fate::Told
        };
        if !writes {
            return (crash, 0);
        }
        let mut fate = crash;
        for (dim, fault) in [
            (Dim::DiskFull, Fault::Full),
            (Dim::LostError, Fault::LostError),
            (Dim::KeptError, Fault::KeptError),
        ] {
            if dims.has(dim) && self.dice.below(60) == 0 {
                fate = Fate::Fails(fault);
            }
        }
        let slow = dims.has(Dim::SlowDisk) && self.now < self.server.slow_until;
        let takes = if slow {
            20 + self.dice.below(if self.dice.clone().chance(50) { 300 } else { 5_000 })
        } else {
            self.dice.below(4)
        };
        (fate, u64::try_from(takes).unwrap())
    }

    /// The disk has done what it could.
    pub(crate) fn commit(&mut self, epoch: u32) {
        if epoch != self.server.epoch {
            return;
        }
        let Some(pending) = self.server.pending.take() else { return };
        let Pending { mut turn, fate, last, unheard } = pending;
        if self.server.door.queue.iter().any(|item| matches!(item, Inbox::Arrived(..))) {
            self.see(Sight::ArrivedInCommit);
        }
        if let Fate::CrashBefore = fate {
            self.see(Sight::CrashBeforeCommit);
            return self.crash(false);
        }
        if let Fate::Fails(fault) = fate {
            self.server.disk.fail_next(fault);
            self.see(match fault {
                Fault::Full => Sight::DiskFull,
                Fault::LostError => Sight::LostError,
                Fault::KeptError => Sight::KeptError,
            });
        }
        let now = self.clock();
        let core = self.server.core.as_mut().unwrap();
        match core.commit(&mut turn) {
            Ok(()) => {
                self.record(&turn, &unheard);
                if let Fate::CrashAfter = fate {
                    self.see(Sight::CrashAfterCommit);
                    return self.crash(false);
                }
                self.server.core.as_mut().unwrap().committed(turn).unwrap();
                if let Fate::CrashTelling = fate {
                    self.see(Sight::CrashTelling);
                    let some = self.dice.below(self.live.len() + 1);
                    self.pump(some);
                    return self.crash(false);
                }
                self.pump(usize::MAX);
            }
            Err(error) if error.is_rolled_back() => {
                core.rolled_back(now, turn).unwrap();
                self.trace(|| "the disk is full".into());
                self.server.bound.clear();
                self.checker.server_started(self.now);
                self.pump(usize::MAX);
            }
            Err(_) => {
                if fate == Fate::Fails(Fault::KeptError) {
                    self.record(&turn, &unheard);
                }
                return self.crash(false);
            }
        }
        if last {
            return self.leave();
        }
        if let Some(deadline) = self.server.stopping
            && (self.now >= deadline
                || self.server.core().is_some_and(|core| core.switchboard().finishing() == 0))
        {
            self.take_turn(vec![Inbox::End], true);
            return;
        }
        self.wake_core(self.now);
    }

    /// The core has ended in good order.
    fn leave(&mut self) {
        self.trace(|| "the core ends".into());
        let server = &mut self.server;
        server.core = None;
        server.life = Life::Leaving;
        server.epoch += 1;
        server.door.open = false;
        server.door.queue.clear();
        server.gone.clear();
        self.pump(usize::MAX);
        let at = self.now + limits::LINGER;
        self.schedule(at, Event::Left(self.server.epoch));
    }

    /// The process ends, and whatever connections are left with it.
    pub(crate) fn left(&mut self, epoch: u32) {
        if self.server.epoch == epoch && self.server.life == Life::Leaving {
            self.down(false);
        }
    }

    /// The process dies, and maybe its machine.
    pub(crate) fn crash(&mut self, machine: bool) {
        if self.server.life != Life::Down {
            self.trace(|| format!("the server dies (its machine: {machine})"));
            self.down(machine);
        }
    }

    fn down(&mut self, machine: bool) {
        let server = &mut self.server;
        server.core = None;
        server.life = Life::Down;
        server.machine_off = machine;
        server.pending = None;
        server.epoch += 1;
        server.door.open = false;
        server.door.queue.clear();
        server.gone.clear();
        server.bound.clear();
        server.superseded.clear();
        server.stopping = None;
        for id in std::mem::take(&mut self.live) {
            self.conns[id] = None;
            let wire = &mut self.wires[id];
            if machine {
                wire.forgotten = true;
                wire.up.stalled = NEVER;
            } else {
                let all = wire.down.on_the_way();
                let keep = if wire.dice.chance(50) { all } else { wire.dice.below(all + 1) };
                let dead = wire.down.stalled;
                wire.down.break_off(keep, self.now, &mut wire.dice);
                wire.down.stalled = dead;
                wire.up.break_off(0, self.now, &mut wire.dice);
            }
            let process = wire.process;
            self.schedule_process(process);
        }
        let pause = if self.finale {
            self.dice.millis(500)
        } else if machine {
            limits::RECONNECT_TRY + self.dice.millis(20_000)
        } else {
            self.dice.millis([200, 3_000, 15_000][self.dice.clone().below(3)])
        };
        let at = self.now + pause;
        self.schedule(at, Event::ServerStart);
    }

    /// Asks the server to stop: talks may go on for a while, or not.
    pub(crate) fn stop_server(&mut self, drain: bool) {
        if self.server.life != Life::Up || self.server.stopping.is_some() {
            return;
        }
        let core = self.server.core.as_ref().unwrap();
        let talks = core.switchboard().finishing() > 0;
        self.trace(|| format!("the server is asked to stop (drain: {drain})"));
        let wait = if drain { self.dice.millis(30_000) } else { std::time::Duration::ZERO };
        let deadline = self.now + wait;
        if drain {
            self.see(Sight::Stop);
            if talks {
                self.see(Sight::Drained);
            }
            self.server.stopping = Some(deadline);
            self.server.door.queue.push_back(Inbox::Stop);
            self.schedule(deadline, Event::DrainOver(self.server.epoch));
        } else {
            self.see(Sight::End);
            self.server.door.queue.push_back(Inbox::End);
        }
        self.wake_core(self.now);
    }

    /// A server that is stopping has no more time.
    pub(crate) fn stop_now(&mut self) {
        let epoch = self.server.epoch;
        self.drain_over(epoch);
    }

    /// Those who talk have had their time.
    pub(crate) fn drain_over(&mut self, epoch: u32) {
        if epoch == self.server.epoch && self.server.life == Life::Up {
            self.server.door.queue.push_back(Inbox::End);
            self.wake_core(self.now);
        }
    }
}
