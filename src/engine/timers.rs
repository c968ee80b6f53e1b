//! Deadlines in nanoseconds, in a heap. A timer that is pushed back stays where it is there until it
//! comes to the top: pushing a timeout back with each message costs a store.

use std::cmp::Reverse;
use std::collections::{HashMap, VecDeque};
use std::ops::Range;
use std::panic::Location;
use std::time::SystemTime;

use slab::Slab;

use super::deadline::NEVER;
use super::heap::{self, Heap};
use crate::Action;
use crate::id::{Key, Serial};
use crate::outcome::Failure;

pub(super) type Callback = Box<dyn FnMut() -> Result<Action, Failure>>;

#[derive(Default)]
pub(super) struct Timers {
    slots: Slab<Timer>,
    /// What of a timer is not needed to put it off, by slot: of a million, a reset is a cache miss,
    /// and not two.
    bodies: Vec<Body>,
    /// Those that are pending, by slot. None is there under a later deadline than its own.
    heap: Heap,
    /// Those that are due, in the order in which they are to be called.
    due: VecDeque<Due>,
    /// What few timers have, by slot: a table of its own keeps the others small.
    plans: HashMap<u32, Schedule>,
    /// Timers that keep `run` going.
    active: usize,
    /// The serial of the last that was made.
    newest: Serial,
    /// How many slots are in use, of each `PART` of them.
    used: Vec<u32>,
}

/// Of how many slots it is known whether one is in use. What fewer timers need is not worth giving back.
const PART: usize = 1 << 14;

pub(super) struct Timer {
    pub(super) deadline: u64,
    serial: [u8; 5],
    stage: Stage,
    pub(super) unreferenced: bool,
    fired: Fired,
}

/// What becomes of a timer when it fires.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fired {
    /// It is gone before its callback is called.
    Gone,
    /// It stays, and sleeps until it is reset.
    Kept,
    /// Its entry in `plans` says so.
    Planned,
}

/// A timer that is to be called. It counts for nothing if the timer was cancelled or reset since.
#[derive(Clone, Copy)]
struct Due {
    deadline: u64,
    key: Key,
}

struct Body {
    /// `None` while it is being called, and in a slot that is free.
    callback: Option<Callback>,
    /// Where it was set.
    location: &'static Location<'static>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// In the heap.
    Pending,
    /// In `due`, waiting for its turn to be called.
    Due,
    /// Being called.
    Called,
}

/// All that is known of a timer here.
pub(super) struct Entry<'a> {
    pub(super) key: Key,
    pub(super) timer: &'a Timer,
    pub(super) schedule: Schedule,
    pub(super) location: &'static Location<'static>,
}

impl Timer {
    /// It will fire, and is not taken out of the count.
    pub(super) fn is_active(&self) -> bool {
        self.deadline < NEVER && !self.unreferenced
    }
}

/// A timer that is to be called now.
pub(super) struct Call {
    pub(super) callback: Callback,
    pub(super) location: &'static Location<'static>,
}

/// What becomes of a timer that does not simply fire once at its deadline.
#[derive(Clone, Copy)]
pub(super) struct Schedule {
    /// What becomes of it otherwise.
    fired: Fired,
    /// It fires again after this many nanoseconds.
    pub(super) every: Option<u64>,
    /// How often it was called, if it has an entry in `plans`.
    pub(super) calls: u64,
    /// Its deadline is what the system clock's now makes of this, and changes when that is set.
    pub(super) at: Option<SystemTime>,
}

impl Schedule {
    pub(super) fn new(fired: Fired) -> Schedule {
        Schedule {
            fired,
            every: None,
            calls: 0,
            at: None,
        }
    }

    /// What the timer itself says of it.
    fn in_timer(self) -> Fired {
        match self.every.is_some() || self.at.is_some() {
            true => Fired::Planned,
            false => self.fired,
        }
    }
}

impl Timers {
    pub(super) fn insert(
        &mut self,
        deadline: u64,
        plan: Schedule,
        location: &'static Location<'static>,
        make: impl FnOnce(Key) -> Callback,
    ) -> Key {
        if self.slots.len() == self.slots.capacity() {
            self.slots.reserve_exact(heap::more(self.slots.len()));
        }
        let entry = self.slots.vacant_entry();
        let key = Key::new(entry.key());
        let timer = entry.insert(Timer {
            deadline,
            serial: key.serial().pack(),
            stage: Stage::Pending,
            unreferenced: false,
            fired: plan.in_timer(),
        });
        self.active += usize::from(timer.is_active());
        if timer.fired == Fired::Planned {
            self.plans.insert(key.index(), plan);
        }
        let callback = Some(make(key));
        let body = Body { callback, location };
        match self.bodies.get_mut(key.slot()) {
            Some(free) => *free = body,
            None => {
                heap::push(&mut self.bodies, body);
                self.used.resize(self.bodies.len().div_ceil(PART), 0);
            }
        }
        self.used[key.slot() / PART] += 1;
        self.heap.insert(key.index(), deadline);
        self.newest = key.serial();
        key
    }

    /// Gives the callback back for the caller to drop, unless it is running.
    pub(super) fn cancel(&mut self, key: Key) -> Option<Option<Callback>> {
        self.get(key)?;
        let timer = self.slots.remove(key.slot());
        self.active -= usize::from(timer.is_active());
        if timer.fired == Fired::Planned {
            self.plans.remove(&key.index());
        }
        if timer.stage == Stage::Pending {
            self.heap.remove(key.index());
        }
        let callback = self.bodies[key.slot()].callback.take();
        let part = key.slot() / PART;
        self.used[part] -= 1;
        if self.used[part] == 0 && part > 0 {
            self.trim();
        }
        Some(callback)
    }

    /// Gives the room of free slots back, if those in use are all in the first quarter. Ids have the number of
    /// their slot, so that no timer can move to another.
    #[cold]
    fn trim(&mut self) {
        let last = self.used.iter().rposition(|&used| used > 0);
        let needed = last.map_or(0, |last| last + 1);
        if needed * 4 > self.used.len() {
            return;
        }
        self.slots.shrink_to_fit();
        self.bodies.truncate(self.slots.capacity());
        self.bodies.shrink_to_fit();
        self.used.truncate(self.bodies.len().div_ceil(PART));
        self.heap.trim(self.bodies.len());
        self.due.shrink_to_fit();
        self.plans.shrink_to_fit();
    }

    /// Moves a timer, to a deadline that the system clock has a say in if there is `at`. A periodic
    /// one keeps its period.
    pub(super) fn reset(&mut self, key: Key, deadline: u64, at: Option<SystemTime>) -> Option<()> {
        if self.get(key)?.fired == Fired::Planned || at.is_some() {
            self.plan(key, |plan| plan.at = at);
        }
        self.shift(key, deadline)
    }

    /// Changes what becomes of a timer.
    fn plan(&mut self, key: Key, change: impl FnOnce(&mut Schedule)) {
        let Some(fired) = self.get(key).map(|timer| timer.fired) else {
            return;
        };
        let plan = self.plans.entry(key.index());
        let plan = plan.or_insert_with(|| Schedule::new(fired));
        change(plan);
        let fired = plan.in_timer();
        if fired != Fired::Planned {
            self.plans.remove(&key.index());
        }
        if let Some(timer) = self.get(key) {
            timer.fired = fired;
        }
    }

    /// What becomes of a timer when it fires, and its period.
    fn plan_of(&self, key: Key) -> Schedule {
        let timer = &self.slots[key.slot()];
        let planned = self.plans.get(&key.index());
        let planned = planned.filter(|_| timer.fired == Fired::Planned);
        planned.map_or(Schedule::new(timer.fired), |plan| *plan)
    }

    fn shift(&mut self, key: Key, deadline: u64) -> Option<()> {
        let timer = self.get(key)?;
        let (before, stage) = (timer.deadline, timer.stage);
        self.change(key, |timer| timer.deadline = deadline);
        if stage != Stage::Pending {
            self.queue(key);
        } else if deadline < before && deadline < self.heap.deadline(key.index()) {
            self.heap.shift(key.index(), deadline);
        }
        Some(())
    }

    /// Puts one that is not pending into the heap.
    fn queue(&mut self, key: Key) {
        if let Some(timer) = self.get(key) {
            timer.stage = Stage::Pending;
            let deadline = timer.deadline;
            self.heap.insert(key.index(), deadline);
        }
    }

    /// The time of the system clock that a timer is for.
    pub(super) fn system_time(&self, key: Key) -> Option<SystemTime> {
        let timer = self.slots.get(key.slot())?;
        let known = timer.fired == Fired::Planned && timer.serial == key.serial().pack();
        known.then(|| self.plans.get(&key.index()))??.at
    }

    /// The system clock was set: `deadline` says what its times are now. Not while due timers are called,
    /// which this would put off.
    pub(super) fn follow(&mut self, deadline: impl Fn(SystemTime) -> u64) {
        let at = |(&index, plan): (&u32, &Schedule)| Some((index, plan.at?));
        for (index, time) in self.plans.iter().filter_map(at).collect::<Vec<_>>() {
            let serial = Serial::unpack(self.slots[index as usize].serial);
            self.shift(Key::of(index, serial), deadline(time));
        }
    }

    pub(super) fn set_referenced(&mut self, key: Key, is_referenced: bool) -> Option<()> {
        self.change(key, |timer| timer.unreferenced = !is_referenced)
    }

    /// Changes what `is_active` looks at.
    fn change(&mut self, key: Key, change: impl FnOnce(&mut Timer)) -> Option<()> {
        let timer = self.get(key)?;
        let was_active = timer.is_active();
        change(timer);
        let is_active = timer.is_active();
        self.active = self.active + usize::from(is_active) - usize::from(was_active);
        Some(())
    }

    /// Those in these slots. None if there are no such slots any more.
    pub(super) fn some(&self, slots: Range<usize>) -> Option<impl Iterator<Item = Entry<'_>>> {
        let there = slots.start < self.slots.capacity();
        let some = slots.filter_map(|slot| {
            let timer = self.slots.get(slot)?;
            let key = Key::of(slot as u32, Serial::unpack(timer.serial));
            Some(Entry {
                key,
                timer,
                schedule: self.plan_of(key),
                location: self.bodies[slot].location,
            })
        });
        there.then_some(some)
    }

    pub(super) fn contains(&mut self, key: Key) -> bool {
        self.get(key).is_some()
    }

    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    pub(super) fn active(&self) -> usize {
        self.active
    }

    /// The earliest deadline, exactly.
    #[inline]
    pub(super) fn next_deadline(&mut self) -> u64 {
        let next = match self.heap.is_empty() {
            true => NEVER,
            false => self.next().map_or(NEVER, |(deadline, _)| deadline),
        };
        match self.due.is_empty() {
            true => next,
            false => next.min(self.first_due()),
        }
    }

    #[cold]
    fn first_due(&mut self) -> u64 {
        match self.has_due() {
            true => self.due.front().map_or(NEVER, |due| due.deadline),
            false => NEVER,
        }
    }

    /// The first in the heap, once those before it that were pushed back are where they belong.
    fn next(&mut self) -> Option<(u64, u32)> {
        loop {
            let (queued, index) = self.heap.first()?;
            let deadline = self.slots[index as usize].deadline;
            if deadline == queued {
                return Some((deadline, index));
            }
            self.heap.shift(index, deadline);
        }
    }

    /// Takes what is due by now out of the heap, for `pop_due`.
    pub(super) fn take_due(&mut self, now: u64) {
        let is_due = |&(deadline, _): &(u64, u32)| deadline <= now && deadline != NEVER;
        let (begin, mut last, mut tied) = (self.due.len(), NEVER, false);
        while let Some((deadline, index)) = self.next().filter(is_due) {
            self.heap.remove(index);
            let timer = &mut self.slots[index as usize];
            timer.stage = Stage::Due;
            let key = Key::of(index, Serial::unpack(timer.serial));
            self.due.push_back(Due { deadline, key });
            tied |= deadline == last;
            last = deadline;
        }
        let newest = self.newest;
        let order = |due: &Due| (due.deadline, Reverse(due.key.serial().age(newest)));
        // The heap knows no order among those of one deadline.
        if tied {
            let taken = &mut self.due.make_contiguous()[begin..];
            for same in taken.chunk_by_mut(|one, next| one.deadline == next.deadline) {
                same.sort_unstable_by_key(order);
            }
        }
        // What an earlier turn has left over mostly comes before all that is new.
        let last_before = begin.checked_sub(1).and_then(|last| self.due.get(last));
        let first_new = self.due.get(begin);
        if last_before
            .zip(first_new)
            .is_some_and(|(one, next)| order(one) > order(next))
        {
            // Two sorted runs, which this merges.
            self.due.make_contiguous().sort_by_key(order);
        }
    }

    /// Another timer is to be called. What was cancelled or reset since it became due is forgotten.
    pub(super) fn has_due(&mut self) -> bool {
        while let Some(&Due { deadline, key }) = self.due.front() {
            let is_due =
                |timer: &mut Timer| timer.stage == Stage::Due && timer.deadline == deadline;
            if self.get(key).is_some_and(is_due) {
                return true;
            }
            self.due.pop_front();
        }
        false
    }

    /// The next to be called.
    pub(super) fn pop_due(&mut self) -> Option<Key> {
        match self.has_due() {
            true => self.due.pop_front().map(|due| due.key),
            false => None,
        }
    }

    /// Takes the callback of a due timer, unless it was cancelled or reset since. A timer that fires once is
    /// gone from here on.
    pub(super) fn start(&mut self, key: Key) -> Option<Call> {
        let timer = self.get(key).filter(|timer| timer.stage == Stage::Due)?;
        timer.stage = Stage::Called;
        let body = &mut self.bodies[key.slot()];
        let call = Call {
            callback: body.callback.take()?,
            location: body.location,
        };
        let mut fired = self.slots[key.slot()].fired;
        if fired == Fired::Planned {
            if let Some(plan) = self.plans.get_mut(&key.index()) {
                plan.calls += 1;
                fired = plan.fired;
            }
        }
        if fired == Fired::Gone {
            self.cancel(key);
        }
        Some(call)
    }

    /// Puts the callback back if the timer may fire again; else gives it back to be dropped.
    pub(super) fn finish(
        &mut self,
        key: Key,
        callback: Callback,
        action: Action,
        now: impl FnOnce() -> u64,
    ) -> Option<Callback> {
        let Some(timer) = self.slots.get_mut(key.slot()) else {
            return Some(callback);
        };
        if timer.serial != key.serial().pack() {
            return Some(callback);
        }
        if action == Action::Remove {
            self.cancel(key);
            return Some(callback);
        }
        // A reset in its own callback goes before the period.
        if timer.stage == Stage::Called {
            self.rearm(key, now);
        }
        self.bodies[key.slot()].callback = Some(callback);
        None
    }

    /// Has a timer that was called, and not reset, fire after its period, if it has one.
    fn rearm(&mut self, key: Key, now: impl FnOnce() -> u64) {
        let mut deadline = NEVER;
        if let Some(period) = self.plan_of(key).every {
            let (now, before) = (now(), self.slots[key.slot()].deadline);
            let missed = now.saturating_sub(before) / period.max(1);
            let ahead = period.saturating_mul(missed.saturating_add(1));
            deadline = match period {
                0 => now,
                _ => before.saturating_add(ahead),
            };
        }
        // What it has fired for by the system clock is past.
        self.reset(key, deadline, None);
    }

    fn get(&mut self, key: Key) -> Option<&mut Timer> {
        let timer = self.slots.get_mut(key.slot())?;
        (timer.serial == key.serial().pack()).then_some(timer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn due(timers: &mut Timers, now: u64) -> Vec<Key> {
        timers.take_due(now);
        std::iter::from_fn(|| timers.pop_due()).collect()
    }

    fn timer(timers: &mut Timers, deadline: u64) -> Key {
        let plan = Schedule::new(Fired::Gone);
        timers.insert(deadline, plan, Location::caller(), |_| {
            Box::new(|| Ok(Action::Continue))
        })
    }

    #[test]
    fn due_by_deadline_then_by_creation() {
        let mut timers = Timers::default();
        let [c, a, d, b] = [5, 1, 5, 3].map(|deadline| timer(&mut timers, deadline));
        assert_eq!(due(&mut timers, 4), [a, b]);
        assert_eq!(due(&mut timers, 5), [c, d]);
    }

    #[test]
    fn a_timer_pushed_back_or_pulled_forward_fires_once_at_its_new_deadline() {
        let mut timers = Timers::default();
        let [a, b] = [1, 100].map(|deadline| timer(&mut timers, deadline));
        timers.reset(a, 50, None);
        timers.reset(b, 10, None);
        timers.reset(b, 20, None);
        assert_eq!(timers.next_deadline(), 20);
        assert_eq!(due(&mut timers, 30), [b]);
        assert_eq!(due(&mut timers, 1000), [a]);
    }

    #[test]
    fn pushed_back_and_forth_to_where_it_stood_it_fires_once() {
        let mut timers = Timers::default();
        let a = timer(&mut timers, 10);
        timers.reset(a, 5, None);
        timers.reset(a, 10, None);
        assert_eq!(due(&mut timers, 7), []);
        assert_eq!(due(&mut timers, 10), [a]);
        let callback = timers.start(a).unwrap().callback;
        assert!(
            timers
                .finish(a, callback, Action::Continue, || 10)
                .is_some()
        );
        assert_eq!(due(&mut timers, 1000), []);
    }

    #[test]
    fn a_due_timer_that_is_reset_or_cancelled_does_not_start() {
        let mut timers = Timers::default();
        let [a, b] = [1, 2].map(|deadline| timer(&mut timers, deadline));
        assert_eq!(due(&mut timers, 2), [a, b]);
        timers.reset(a, 9, None);
        timers.cancel(b);
        assert!(timers.start(a).is_none() && timers.start(b).is_none());
        assert_eq!(due(&mut timers, 9), [a]);
    }

    #[test]
    fn due_timers_that_are_left_over_fire_by_deadline() {
        let mut timers = Timers::default();
        let [a, b, c, e] = [1, 3, 3, 3].map(|deadline| timer(&mut timers, deadline));
        timers.take_due(3);
        timers.cancel(a);
        timers.reset(e, 4, None);
        assert_eq!(timers.next_deadline(), 3);
        let [d, f] = [2, 3].map(|deadline| timer(&mut timers, deadline));
        assert_eq!(due(&mut timers, 4), [d, b, c, f, e]);
        assert_eq!(timers.next_deadline(), NEVER);
    }

    #[test]
    fn a_left_over_that_is_reset_fires_in_its_new_place() {
        let mut timers = Timers::default();
        let [a, b] = [1, 2].map(|deadline| timer(&mut timers, deadline));
        timers.take_due(2);
        timers.reset(a, 5, None);
        assert_eq!(timers.next_deadline(), 2);
        let c = timer(&mut timers, 4);
        assert_eq!(due(&mut timers, 5), [b, c, a]);
    }

    #[test]
    fn a_period_keeps_its_phase_and_skips_what_it_missed() {
        let mut timers = Timers::default();
        let every = Schedule {
            every: Some(10),
            ..Schedule::new(Fired::Kept)
        };
        let a = timers.insert(10, every, Location::caller(), |_| {
            Box::new(|| Ok(Action::Continue))
        });
        assert_eq!(due(&mut timers, 37), [a]);
        let callback = timers.start(a).unwrap().callback;
        assert!(
            timers
                .finish(a, callback, Action::Continue, || 37)
                .is_none()
        );
        assert_eq!(timers.next_deadline(), 40);
    }

    #[test]
    fn cancelling_and_resetting_leaves_no_heap_behind() {
        let mut timers = Timers::default();
        let keep = timer(&mut timers, 1_000_000);
        for deadline in 0..100_000 {
            let one = timer(&mut timers, deadline);
            timers.reset(one, deadline / 2, None);
            timers.cancel(one);
        }
        assert_eq!(timers.heap.first(), Some((1_000_000, keep.index())));
        assert_eq!(due(&mut timers, 1_000_000), [keep]);
        assert_eq!(timers.active(), 1);
    }

    #[test]
    fn those_of_one_deadline_are_due_by_creation_whatever_was_done_to_them() {
        let mut timers = Timers::default();
        let mut keys: Vec<Key> = (0..200).map(|n| timer(&mut timers, n % 3)).collect();
        for &key in keys.iter().step_by(2) {
            timers.reset(key, 9, None);
        }
        keys.retain(|key| key.index() % 5 > 0 || timers.cancel(*key).is_none());
        for &key in keys.iter().rev() {
            timers.reset(key, 7, None);
        }
        assert_eq!(timers.len(), 160);
        assert_eq!(due(&mut timers, 7), keys);
    }

    #[test]
    fn the_older_is_due_first_though_serials_have_begun_anew() {
        let mut timers = Timers::default();
        let keys = [Serial::LAST, Key::from_u64(1 << 28).serial()].map(|serial| {
            let index = timer(&mut timers, 5).index();
            timers.slots[index as usize].serial = serial.pack();
            timers.newest = serial;
            Key::of(index, serial)
        });
        assert_eq!(due(&mut timers, 5), keys);
    }

    #[test]
    fn what_never_fires_is_not_due_at_the_end_of_time() {
        let mut timers = Timers::default();
        let last = timer(&mut timers, NEVER - 1);
        timer(&mut timers, NEVER);
        assert_eq!(due(&mut timers, u64::MAX), [last]);
        assert_eq!((timers.len(), timers.active()), (2, 1));
    }

    #[test]
    fn pushed_back_to_where_it_stood_among_others_it_fires_once() {
        let mut timers = Timers::default();
        let a = timer(&mut timers, 10);
        timers.reset(a, 5, None);
        timers.reset(a, 10, None);
        assert_eq!(timers.next_deadline(), 10);
        let others: Vec<Key> = (0..100).map(|n| timer(&mut timers, 100 + n)).collect();
        others.iter().for_each(|&one| drop(timers.cancel(one)));
        assert_eq!(due(&mut timers, 10), [a]);
        assert_eq!(timers.next_deadline(), NEVER);
    }

    fn room(timers: &Timers) -> usize {
        let Timers { slots, bodies, .. } = timers;
        let most = slots.capacity().max(bodies.capacity());
        most.max(timers.heap.room()).max(timers.due.capacity())
    }

    #[test]
    fn many_that_are_gone_leave_no_room_behind() {
        const MANY: u64 = 200_000;
        // The order in which they go decides which slots are free when.
        type Order = fn(&mut Vec<Key>);
        let (first, last): (Order, Order) = (|_| {}, |keys| keys.reverse());
        let mixed: Order = |keys| keys.sort_by_key(|key| key.index() as u64 * 7919 % MANY);
        for order in [first, last, mixed] {
            let mut timers = Timers::default();
            let keep = timer(&mut timers, 10 * MANY);
            let mut keys: Vec<Key> = (0..MANY).map(|n| timer(&mut timers, n)).collect();
            order(&mut keys);
            keys.iter().for_each(|&key| drop(timers.cancel(key)));
            assert!(room(&timers) <= MANY as usize / 4, "{}", room(&timers));
            // It grows again, and all works on.
            let next: Vec<Key> = (0..MANY).map(|n| timer(&mut timers, n)).collect();
            assert!(keys.iter().all(|&key| timers.cancel(key).is_none()));
            assert_eq!(due(&mut timers, MANY), next);
            assert_eq!(due(&mut timers, 10 * MANY), [keep]);
        }
    }

    /// One in the last slot keeps all of them.
    #[test]
    fn the_room_of_one_in_the_last_slot_is_given_back_with_that() {
        let mut timers = Timers::default();
        let keys: Vec<Key> = (0..200_000).map(|n| timer(&mut timers, n)).collect();
        let (last, others) = keys.split_last().unwrap();
        others.iter().for_each(|&key| drop(timers.cancel(key)));
        assert_eq!(timers.next_deadline(), 199_999);
        assert!(timers.cancel(*last).is_some());
        assert!(room(&timers) < 50_000, "{}", room(&timers));
    }

    #[test]
    fn those_that_have_fired_leave_no_room_behind() {
        let mut timers = Timers::default();
        for deadline in 0..200_000 {
            timer(&mut timers, deadline);
        }
        for key in due(&mut timers, 200_000) {
            let callback = timers.start(key).unwrap().callback;
            timers.finish(key, callback, Action::Continue, || 0);
        }
        assert!(room(&timers) < 50_000, "{}", room(&timers));
    }

    #[test]
    fn a_million_timers() {
        const MANY: u64 = 1_000_000;
        let mut timers = Timers::default();
        // Each deadline once, in no order: 7919 and a million have no common divisor.
        let keys: Vec<Key> = (0..MANY)
            .map(|n| timer(&mut timers, n * 7919 % MANY))
            .collect();
        for &key in keys.iter().step_by(2) {
            timers.cancel(key);
        }
        for &key in keys.iter().skip(1).step_by(4) {
            timers.reset(key, MANY + u64::from(key.index()), None);
        }
        let left = due(&mut timers, 2 * MANY);
        assert_eq!(left.len(), keys.len() / 2);
        let deadlines: Vec<u64> = left
            .iter()
            .map(|&key| timers.get(key).unwrap().deadline)
            .collect();
        assert!(deadlines.is_sorted());
        assert_eq!(timers.next_deadline(), NEVER);
    }
}
