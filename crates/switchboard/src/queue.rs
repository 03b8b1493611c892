//! The order of the waiting calls, by queue number.

use std::{collections::BTreeMap, iter};

use helpline_proto::{
    ids::CallId,
    planted::{Bug, has},
};

use crate::QueueNumber;

/// Dead slots that may stand about before the slots are compacted, beside one for each live slot.
const SLACK: usize = 64;

/// Keeps every call that waits, or may wait again, in the order of first arrival.
///
/// A slot for each arrival, in rising order of number, and beside them a Fenwick tree that counts the
/// waiting ones: finding a slot, its rank, or the slot of a rank is O(log n). The slot of a call that is
/// talked on is *held*, so that the call can be put back under its first number. Forgotten slots are
/// compacted away once they outnumber the others, so the size follows the calls that live, not those
/// that passed.
///
/// Who is first is another question than who has position 1: a caller who is away keeps the position, but is
/// passed over after a while.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    slots: Vec<Slot>,
    waiting: Counts,
    forgotten: usize,
    /// The waiting ones whose caller is there.
    present: BTreeMap<QueueNumber, CallId>,
    /// The waiting ones whose caller is away, but not passed over yet.
    awaited: BTreeMap<QueueNumber, CallId>,
}

/// Whether the caller of a waiting call is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// The caller is there.
    Present,
    /// The caller is away, and is waited for.
    Awaited,
    /// The caller is away, and no longer waited for.
    PassedOver,
}

/// Who is to be answered next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum First {
    /// The caller of this call, who is there.
    Present(CallId),
    /// Somebody who is away, and is waited for.
    Awaited,
}

#[derive(Debug)]
struct Slot {
    number: QueueNumber,
    call: CallId,
    state: SlotState,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SlotState {
    Waiting,
    Held,
    Forgotten,
}

impl Queue {
    /// How many wait.
    pub(crate) fn len(&self) -> u32 {
        self.waiting.total()
    }

    /// Lets a new call, whose caller is there, wait behind all others, and says its position. `number` is larger
    /// than any before.
    pub(crate) fn push(&mut self, number: QueueNumber, call: CallId) -> u32 {
        self.slots.push(Slot { number, call, state: SlotState::Waiting });
        self.waiting.push(1);
        self.present.insert(number, call);
        self.len()
    }

    /// Takes a call out of the line but keeps its place in the order; says the position it had.
    pub(crate) fn hold(&mut self, number: QueueNumber) -> Option<u32> {
        self.change(number, SlotState::Held)
    }

    /// Lets a held call wait again where it belongs, and says its position.
    pub(crate) fn put_back(&mut self, number: QueueNumber, standing: Standing) -> Option<u32> {
        let position = self.change(number, SlotState::Waiting);
        self.stand(number, standing);
        position
    }

    /// Takes note of how the caller of a waiting call stands now.
    pub(crate) fn stand(&mut self, number: QueueNumber, standing: Standing) {
        let Some(slot) = self.find(number).and_then(|at| self.slots.get(at)) else { return };
        if slot.state != SlotState::Waiting {
            return;
        }
        self.present.remove(&number);
        self.awaited.remove(&number);
        match standing {
            Standing::Present => self.present.insert(number, slot.call),
            Standing::Awaited => self.awaited.insert(number, slot.call),
            Standing::PassedOver => None,
        };
    }

    /// Takes a call out for good; says the position it had, if it waited.
    pub(crate) fn forget(&mut self, number: QueueNumber) -> Option<u32> {
        let position = self.change(number, SlotState::Forgotten);
        self.compact();
        position
    }

    /// The position of a waiting call, from 1.
    pub(crate) fn position(&self, number: QueueNumber) -> Option<u32> {
        let at = self.find(number)?;
        let slot = self.slots.get(at)?;
        (slot.state == SlotState::Waiting).then(|| self.waiting.before(at) + 1)
    }

    /// The call that waits at a position, from 1.
    pub(crate) fn at(&self, position: u32) -> Option<CallId> {
        self.slots.get(self.waiting.select(position)?).map(|slot| slot.call)
    }

    /// Who is to be answered next: the first in line who isn't passed over.
    pub(crate) fn first(&self) -> Option<First> {
        let mut present = self.present.iter();
        let first =
            if has(Bug::LastComeFirstServed) { present.next_back() } else { present.next() };
        match (first, self.awaited.first_key_value()) {
            (Some((number, _)), Some((awaited, _))) if awaited < number => Some(First::Awaited),
            (Some((_, call)), _) => Some(First::Present(*call)),
            (None, Some(_)) => Some(First::Awaited),
            (None, None) => None,
        }
    }

    /// Those who wait and are there, in order.
    pub(crate) fn present(&self) -> impl Iterator<Item = CallId> {
        self.present.values().copied()
    }

    fn find(&self, number: QueueNumber) -> Option<usize> {
        self.slots.binary_search_by_key(&number, |slot| slot.number).ok()
    }

    /// Changes a slot's state, and says its position among the waiting if it joins or leaves them.
    fn change(&mut self, number: QueueNumber, to: SlotState) -> Option<u32> {
        let at = self.find(number)?;
        let slot = self.slots.get_mut(at)?;
        let from = slot.state;
        // What is forgotten stays forgotten: nothing counts it twice.
        if from == to || from == SlotState::Forgotten {
            return None;
        }
        slot.state = to;
        if to == SlotState::Forgotten {
            self.forgotten += 1;
        }
        match (from, to) {
            (SlotState::Waiting, _) => {
                self.waiting.add(at, -1);
                self.present.remove(&number);
                self.awaited.remove(&number);
            }
            (_, SlotState::Waiting) => self.waiting.add(at, 1),
            _ => return None,
        }
        Some(self.waiting.before(at) + 1)
    }

    /// Drops the forgotten slots once they outnumber the others: its cost is paid for by the forgetting.
    fn compact(&mut self) {
        let live = self.slots.len().saturating_sub(self.forgotten);
        if self.forgotten <= live + SLACK {
            return;
        }
        self.slots.retain(|slot| slot.state != SlotState::Forgotten);
        self.slots.shrink_to(2 * self.slots.len() + SLACK);
        self.forgotten = 0;
        self.waiting = Counts::default();
        for slot in &self.slots {
            self.waiting.push(u32::from(slot.state == SlotState::Waiting));
        }
    }
}

/// A Fenwick tree: the element of 1-based index `i` sums up the `lowest_bit(i)` counts that end with count `i`.
#[derive(Debug, Default)]
struct Counts {
    sums: Vec<u32>,
    total: u32,
}

impl Counts {
    fn total(&self) -> u32 {
        self.total
    }

    fn sum(&self, index: usize) -> u32 {
        index.checked_sub(1).and_then(|at| self.sums.get(at)).copied().unwrap_or(0)
    }

    /// Appends a count.
    fn push(&mut self, count: u32) {
        let index = self.sums.len() + 1;
        let parts = iter::successors(Some(1), |part| Some(part * 2))
            .take_while(|part| *part < lowest_bit(index))
            .map(|part| self.sum(index - part));
        let sum = count + parts.sum::<u32>();
        self.sums.push(sum);
        self.total += count;
    }

    /// Adds to the count at a 0-based place.
    fn add(&mut self, at: usize, change: i32) {
        self.total = self.total.wrapping_add_signed(change);
        let mut index = at + 1;
        while let Some(sum) = self.sums.get_mut(index - 1) {
            *sum = sum.wrapping_add_signed(change);
            index += lowest_bit(index);
        }
    }

    /// The sum of the counts before a 0-based place.
    fn before(&self, at: usize) -> u32 {
        let mut index = at;
        let mut sum = 0;
        while index > 0 {
            sum += self.sum(index);
            index -= lowest_bit(index);
        }
        sum
    }

    /// The 0-based place at which the running sum reaches `nth`, which is at least 1.
    fn select(&self, nth: u32) -> Option<usize> {
        if nth == 0 || nth > self.total {
            return None;
        }
        let mut passed = 0;
        let mut left = nth;
        let mut step = self.sums.len().checked_ilog2().map_or(0, |power| 1_usize << power);
        while step > 0 {
            let sum = self.sum(passed + step);
            if passed + step <= self.sums.len() && sum < left {
                passed += step;
                left -= sum;
            }
            step /= 2;
        }
        Some(passed)
    }
}

/// The lowest set bit; 0 for 0.
fn lowest_bit(index: usize) -> usize {
    index & index.wrapping_neg()
}

/// The positions that are told, from `from` to `to`: 1 to 10, 12, 16, 24, 32, 48, 64, ... (two a doubling).
///
/// Near the front every step counts for the person who waits; far back a few words on the way do, and
/// draining a long queue must not cost a message for each caller and step.
pub(crate) fn told_positions(from: u32, to: u32) -> impl Iterator<Item = u32> {
    iter::successors(told_from(from), |told| told_from(told.checked_add(1)?))
        .take_while(move |told| *told <= to)
}

/// The first told position that is not before `position`.
fn told_from(position: u32) -> Option<u32> {
    if position <= 10 {
        return Some(position.max(1));
    }
    let power = 1_u32 << position.ilog2();
    [Some(power), Some(power + power / 2), power.checked_mul(2)]
        .into_iter()
        .flatten()
        .find(|told| *told >= position)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(number: u64) -> CallId {
        CallId(u128::from(number).to_be_bytes())
    }

    fn queue(numbers: std::ops::Range<u64>) -> Queue {
        let mut queue = Queue::default();
        for number in numbers {
            queue.push(QueueNumber(number), call(number));
        }
        queue
    }

    #[test]
    fn the_order_is_that_of_a_sorted_list() {
        // A fixed walk through all operations, held against a sorted list of numbers.
        let mut queue = Queue::default();
        let (mut waiting, mut held) = (Vec::<u64>::new(), Vec::<u64>::new());
        let standings = [Standing::Present, Standing::Awaited, Standing::PassedOver];
        let mut standing = BTreeMap::new();
        let mut dice = 1_u64;
        for number in 0..20_000_u64 {
            dice = dice
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            let pick = usize::try_from(dice >> 40).unwrap();
            match (dice >> 33) % 6 {
                0 | 1 => {
                    waiting.push(number);
                    standing.insert(number, Standing::Present);
                    let position = queue.push(QueueNumber(number), call(number));
                    assert_eq!(usize::try_from(position).unwrap(), waiting.len());
                }
                2 if !waiting.is_empty() => {
                    let at = pick % waiting.len();
                    let number = waiting.remove(at);
                    held.push(number);
                    assert_eq!(queue.hold(QueueNumber(number)), u32::try_from(at + 1).ok());
                }
                3 if !held.is_empty() => {
                    let number = held.swap_remove(pick % held.len());
                    let at = waiting.partition_point(|other| *other < number);
                    waiting.insert(at, number);
                    let position = queue.put_back(QueueNumber(number), standings[pick % 3]);
                    assert_eq!(position, u32::try_from(at + 1).ok());
                    standing.insert(number, standings[pick % 3]);
                }
                4 if !waiting.is_empty() && pick % 3 > 0 => {
                    let at = pick % waiting.len();
                    let number = waiting.remove(at);
                    assert_eq!(queue.forget(QueueNumber(number)), u32::try_from(at + 1).ok());
                    assert_eq!(queue.forget(QueueNumber(number)), None);
                    assert_eq!(queue.put_back(QueueNumber(number), Standing::Present), None);
                }
                4 if !held.is_empty() => {
                    let number = held.swap_remove(pick % held.len());
                    assert_eq!(queue.forget(QueueNumber(number)), None);
                }
                5 if !waiting.is_empty() => {
                    let number = waiting[pick % waiting.len()];
                    queue.stand(QueueNumber(number), standings[pick % 3]);
                    standing.insert(number, standings[pick % 3]);
                }
                5 if !held.is_empty() => {
                    queue.stand(QueueNumber(held[pick % held.len()]), Standing::Awaited);
                }
                _ => {}
            }
            assert_eq!(usize::try_from(queue.len()).unwrap(), waiting.len());
            let first = waiting.iter().find(|number| standing[number] != Standing::PassedOver);
            let first = first.map(|number| match standing[number] {
                Standing::Present => First::Present(call(*number)),
                _ => First::Awaited,
            });
            assert_eq!(queue.first(), first);
            if !waiting.is_empty() {
                let at = pick % waiting.len();
                let position = u32::try_from(at + 1).unwrap();
                assert_eq!(queue.at(position), Some(call(waiting[at])));
                assert_eq!(queue.position(QueueNumber(waiting[at])), Some(position));
            }
            assert_eq!(queue.at(queue.len() + 1), None);
            assert_eq!(queue.at(0), None);
        }
        waiting.retain(|number| standing[number] == Standing::Present);
        assert!(queue.present().eq(waiting.iter().map(|number| call(*number))));
    }

    #[test]
    fn a_hundred_thousand_wait_and_any_of_them_is_found() {
        let mut queue = queue(0..100_000);
        for number in (0..100_000).step_by(3) {
            assert!(queue.hold(QueueNumber(number)).is_some());
        }
        assert_eq!(queue.len(), 66_666);
        assert_eq!(queue.position(QueueNumber(99_998)), Some(66_666));
        assert_eq!(queue.at(66_666), Some(call(99_998)));
        assert_eq!(queue.put_back(QueueNumber(0), Standing::Present), Some(1));
        assert_eq!(queue.put_back(QueueNumber(99_999), Standing::Awaited), Some(66_668));
        for position in (1..66_668).rev() {
            let number = u64::try_from(u128::from_be_bytes(queue.at(position).unwrap().0)).unwrap();
            assert_eq!(queue.forget(QueueNumber(number)), Some(position));
        }
        assert_eq!(queue.len(), 1);
    }

    #[test]
    fn a_call_held_while_a_million_pass_keeps_its_place_and_costs_no_room() {
        let mut queue = queue(0..1);
        queue.hold(QueueNumber(0));
        for number in 1..1_000_000 {
            queue.push(QueueNumber(number), call(number));
            if number > 100 {
                queue.forget(QueueNumber(number - 100));
            }
            assert!(queue.slots.len() <= 2 * 102 + SLACK, "{} slots", queue.slots.len());
        }
        assert!(queue.slots.capacity() < 1_000);
        assert_eq!(queue.put_back(QueueNumber(0), Standing::Present), Some(1));
    }

    #[test]
    fn a_drained_queue_gives_its_room_back() {
        let mut queue = queue(0..100_000);
        for number in 0..100_000 {
            queue.forget(QueueNumber(number));
        }
        assert!(queue.slots.len() <= SLACK && queue.slots.capacity() < 1_000);
    }

    #[test]
    fn positions_are_told_one_by_one_near_the_front_and_two_a_doubling_behind() {
        let told: Vec<u32> = told_positions(1, 200).collect();
        assert_eq!(told, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 16, 24, 32, 48, 64, 96, 128, 192]);
        assert_eq!(told_positions(13, 24).collect::<Vec<_>>(), [16, 24]);
        assert_eq!(told_positions(0, 1).collect::<Vec<_>>(), [1]);
        assert_eq!(told_positions(17, 23).count(), 0);
        assert_eq!(told_positions(u32::MAX, u32::MAX).count(), 0);
    }
}
