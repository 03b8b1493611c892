//! What goes wrong, and that nothing does any more in the end.

use helpline_proto::time::Moment;
use helpline_tests::dice::Dice;

use crate::{
    coverage::Sight,
    net::{Reads, Wire},
    params::Dim,
    world::{Event, World},
};

/// A day, in milliseconds.
const DAY: usize = 24 * 3600 * 1000;

impl World {
    /// Gives a new connection the manners that the world's connections have.
    pub(crate) fn shape(&mut self, wire: &mut Wire) {
        let dims = self.params.dims;
        if self.finale {
            return;
        }
        if dims.has(Dim::Delay) {
            let jitter = [0, 20, 800][self.dice.below(3)];
            (wire.up.jitter, wire.down.jitter) = (jitter, jitter);
        }
        let least = if dims.has(Dim::BigLines) { 200 } else { 1 };
        for pipe in [&mut wire.up, &mut wire.down] {
            if dims.has(Dim::Slice) && self.dice.chance(60) {
                self.coverage.see(Sight::WireSliced);
                pipe.reads = Reads::Slices(
                    least + self.dice.below([4, 60, 1_000][self.dice.clone().below(3)]),
                );
            } else if dims.has(Dim::Coalesce) && self.dice.chance(60) {
                self.coverage.see(Sight::WireCoalesced);
                pipe.reads = Reads::Together;
                pipe.jitter = pipe.jitter.max(100);
            }
        }
    }

    /// One of the things goes wrong that may in this world.
    pub(crate) fn go_wrong(&mut self) {
        if self.finale {
            return;
        }
        let dims = self.params.dims;
        let kinds: Vec<Dim> = dims.iter().filter(|dim| is_sudden(*dim)).collect();
        if kinds.is_empty() {
            return;
        }
        let dim = kinds[self.dice.below(kinds.len())];
        match dim {
            Dim::Crash => {
                if self.server.is_up() {
                    self.see(Sight::CrashIdle);
                    self.crash(false);
                }
            }
            Dim::PowerCut => {
                if self.server.is_up() {
                    self.see(Sight::PowerCut);
                    self.crash(true);
                }
            }
            Dim::Stop => {
                let drain = self.dice.chance(70);
                self.stop_server(drain);
            }
            Dim::Clock => {
                self.see(Sight::ClockStep);
                let step = i64::try_from(self.dice.below(2 * DAY)).unwrap();
                self.server.wall += step - i64::try_from(DAY).unwrap();
            }
            Dim::SlowDisk => self.server.slow_until = self.now + self.dice.millis(20_000),
            _ => self.disturb(dim),
        }
    }

    /// Something happens to one of the connections.
    fn disturb(&mut self, dim: Dim) {
        if self.live.is_empty() {
            return;
        }
        let now = self.now;
        let id = self.live[self.dice.below(self.live.len())];
        self.trace(|| format!("{} on wire {id}", dim.name()));
        let wire = &mut self.wires[id];
        let dice = &mut self.dice;
        let until = now + dice.millis([500, 5_000, 30_000][dice.clone().below(3)]);
        match dim {
            Dim::Stall => {
                self.coverage.see(Sight::WireStalled);
                wire.up.stalled = wire.up.stalled.max(until);
                wire.down.stalled = wire.down.stalled.max(until);
            }
            Dim::OneWay => {
                self.coverage.see(Sight::WireStalledOneWay);
                let pipe = one_of(wire, dice);
                pipe.stalled = pipe.stalled.max(until);
            }
            Dim::Cut => {
                self.coverage.see(Sight::WireCut);
                one_of(wire, dice).cut = Some(dice.below(400));
            }
            Dim::Reset => {
                self.coverage.see(Sight::WireReset);
                wire.reset(now);
            }
            _ => {
                self.coverage.see(Sight::WireDead);
                wire.go_dead();
            }
        }
        let process = self.wires[id].process;
        self.wake_conn_when_up_comes(id);
        self.schedule_process(process);
    }

    /// Breaks a connection that was to be cut where it is written to its end.
    pub(crate) fn break_if_cut(&mut self, id: usize) {
        let wire = &mut self.wires[id];
        if wire.down.is_cut() {
            wire.down.cut = None;
            let keep = wire.down.on_the_way();
            wire.down.break_off(keep, self.now, &mut wire.dice);
            wire.up.break_off(0, self.now, &mut wire.dice);
            let process = wire.process;
            self.wake_conn_when_up_comes(id);
            self.schedule_process(process);
        }
    }

    /// From now on nothing goes wrong, and everybody who isn't there comes back.
    pub(crate) fn stop_going_wrong(&mut self) {
        self.trace(|| "nothing goes wrong any more".into());
        self.finale = true;
        self.server.slow_until = Moment(0);
        for id in 0..self.wires.len() {
            let process = self.wires[id].process;
            let ours = self.processes[process].alive && self.processes[process].wire == Some(id);
            if ours && !self.wires[id].forgotten {
                self.wires[id].heal(self.now);
                self.wake_conn_when_up_comes(id);
            } else if ours {
                self.wires[id].heal(self.now);
                self.answer_with_reset(id);
            } else {
                // Whoever dialled it is no more, and neither is their machine.
                self.wires[id].heal(self.now);
                self.wires[id].reset(self.now);
                self.wake_conn_when_up_comes(id);
            }
        }
        for number in 0..self.processes.len() {
            self.processes[number].reads_from = Moment(0);
            self.processes[number].reads_most = usize::MAX;
            let now = self.now;
            self.wake_process(number, now);
        }
        for at in 0..self.people.len() {
            let at_moment = self.now + self.dice.millis(1_000);
            if self.people[at].process.is_none() && self.people[at].started() {
                self.schedule(at_moment, Event::Restart(at));
            }
        }
        if self.server.stopping.is_some() {
            self.stop_now();
        }
        if !self.server.is_up() {
            let at = self.now + self.dice.millis(500);
            self.schedule(at, Event::ServerStart);
        }
        let at = self.now + std::time::Duration::from_secs(2);
        self.schedule(at, Event::Look);
    }
}

fn is_sudden(dim: Dim) -> bool {
    matches!(
        dim,
        Dim::Stall
            | Dim::OneWay
            | Dim::Cut
            | Dim::Reset
            | Dim::HalfOpen
            | Dim::Crash
            | Dim::PowerCut
            | Dim::Stop
            | Dim::Clock
            | Dim::SlowDisk
    )
}

fn one_of<'a>(wire: &'a mut Wire, dice: &mut Dice) -> &'a mut crate::net::Pipe {
    if dice.chance(50) { &mut wire.up } else { &mut wire.down }
}
