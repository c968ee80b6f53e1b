//! Timers: deadlines in a heap. A timer that is put off stays where it is until it comes to the top. Putting a
//! timeout off with each message therefore costs one store.

mod callback;
mod due;
mod heap;
mod schedule;
mod slots;

use std::ops::Range;
use std::panic::Location;
use std::time::SystemTime;

pub(crate) use callback::{Callback, once, repeated};
use due::{Due, DueQueue};
use heap::Heap;
use schedule::Schedules;
pub(crate) use schedule::{Fired, Schedule};
pub(super) use slots::Timer;
use slots::{Slots, Stage};

use super::deadline::NEVER;
use crate::Action;
use crate::id::{Key, Serial};

#[derive(Default)]
pub(super) struct Timers {
    slots: Slots,
    /// Pending timers by slot. The deadline in the heap may be earlier than the timer's own, and never later.
    heap: Heap,
    due: DueQueue,
    schedules: Schedules,
    /// Number of timers that keep `run` going.
    active: usize,
}

/// A timer, for a snapshot.
pub(super) struct Entry<'a> {
    pub(super) key: Key,
    pub(super) timer: &'a Timer,
    pub(super) schedule: Schedule,
    pub(super) location: &'static Location<'static>,
}

/// A call of a timer, which the driver makes now.
pub(super) struct Call {
    pub(super) callback: Callback,
    pub(super) location: &'static Location<'static>,
    /// True if the timer is gone, so that there is no other call.
    pub(super) is_last: bool,
}

impl Timers {
    #[inline]
    pub(super) fn insert(
        &mut self,
        deadline: u64,
        fired: Fired,
        location: &'static Location<'static>,
        make: impl FnOnce(Key) -> Callback,
    ) -> Key {
        let key = self.slots.insert(deadline, fired, location, make);
        self.active += usize::from(deadline < NEVER);
        self.heap.insert(key.index(), deadline);
        key
    }

    /// Cancels a timer. Returns its callback for the caller to drop, unless the callback is running.
    pub(super) fn cancel(&mut self, key: Key) -> Option<Option<Callback>> {
        self.slots.get(key)?;
        Some(self.remove(key))
    }

    /// Removes an existing timer.
    #[inline(always)]
    fn remove(&mut self, key: Key) -> Option<Callback> {
        let (timer, callback, is_part_unused) = self.slots.remove(key);
        self.active -= usize::from(timer.is_active());
        if timer.fired == Fired::Scheduled {
            self.schedules.remove(key.index());
        }
        if timer.stage == Stage::Pending {
            self.heap.remove(key.index());
        }
        if is_part_unused {
            self.trim();
        }
        callback
    }

    #[cold]
    fn trim(&mut self) {
        if let Some(left) = self.slots.trim() {
            self.heap.trim(left);
            self.due.trim();
            self.schedules.trim();
        }
    }

    /// Moves a timer. With `at`, its deadline follows the system clock. A periodic timer keeps its period.
    pub(super) fn reset(&mut self, key: Key, deadline: u64, at: Option<SystemTime>) -> Option<()> {
        if self.slots.get(key)?.fired == Fired::Scheduled || at.is_some() {
            self.schedule(key, |schedule| schedule.at = at);
        }
        self.shift(key, deadline)
    }

    /// Changes the schedule of a timer.
    #[cold]
    pub(super) fn schedule(&mut self, key: Key, change: impl FnOnce(&mut Schedule)) {
        if let Some(timer) = self.slots.get(key) {
            timer.fired = self.schedules.change(key.index(), timer.fired, change);
        }
    }

    fn shift(&mut self, key: Key, deadline: u64) -> Option<()> {
        let timer = self.slots.get(key)?;
        let (before, stage) = (timer.deadline, timer.stage);
        self.change(key, |timer| timer.deadline = deadline);
        if stage != Stage::Pending {
            self.slots.in_slot(key.index()).stage = Stage::Pending;
            self.heap.insert(key.index(), deadline);
        } else if deadline < before && deadline < self.heap.deadline(key.index()) {
            self.heap.shift(key.index(), deadline);
        }
        Some(())
    }

    /// Returns the time of the system clock that a timer follows.
    #[inline]
    pub(super) fn system_time(&mut self, key: Key) -> Option<SystemTime> {
        let is_scheduled = self.slots.get(key)?.fired == Fired::Scheduled;
        if is_scheduled {
            self.schedules.get(key.index())?.at
        } else {
            None
        }
    }

    /// Moves the timers on the system clock after it was set. `deadline` converts its times. This must not happen
    /// while due timers are called, because it would put them off.
    pub(super) fn follow(&mut self, deadline: impl Fn(SystemTime) -> u64) {
        for (index, time) in self.schedules.by_system_clock() {
            let serial = Serial::unpack(self.slots.in_slot(index).serial);
            self.shift(Key::of(index, serial), deadline(time));
        }
    }

    pub(super) fn set_referenced(&mut self, key: Key, is_referenced: bool) -> Option<()> {
        self.change(key, |timer| timer.unreferenced = !is_referenced)
    }

    /// Changes the fields on which `is_active` depends.
    fn change(&mut self, key: Key, change: impl FnOnce(&mut Timer)) -> Option<()> {
        let timer = self.slots.get(key)?;
        let was_active = timer.is_active();
        change(timer);
        let is_active = timer.is_active();
        self.active = self.active + usize::from(is_active) - usize::from(was_active);
        Some(())
    }

    /// Returns the timers in these slots. Returns `None` beyond the last slot.
    pub(super) fn some(&self, slots: Range<usize>) -> Option<impl Iterator<Item = Entry<'_>>> {
        let some = self.slots.some(slots)?;
        Some(some.map(|(key, timer, location)| {
            let schedule = match timer.fired {
                Fired::Scheduled => self.schedules.get(key.index()).copied(),
                _ => None,
            };
            Entry {
                key,
                timer,
                schedule: schedule.unwrap_or(Schedule::new(timer.fired)),
                location,
            }
        }))
    }

    pub(super) fn contains(&mut self, key: Key) -> bool {
        self.slots.get(key).is_some()
    }

    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    #[inline]
    pub(super) fn active(&self) -> usize {
        self.active
    }

    /// Returns the earliest deadline.
    #[inline]
    pub(super) fn next_deadline(&mut self) -> u64 {
        let next = if self.heap.is_empty() {
            NEVER
        } else {
            self.next().map_or(NEVER, |(deadline, _)| deadline)
        };
        if self.due.is_empty() {
            next
        } else {
            next.min(self.first_due())
        }
    }

    #[cold]
    fn first_due(&mut self) -> u64 {
        if self.has_due() {
            self.due.first().map_or(NEVER, |due| due.deadline)
        } else {
            NEVER
        }
    }

    /// Returns the first timer in the heap. Moves timers that were put off to their places before.
    fn next(&mut self) -> Option<(u64, u32)> {
        loop {
            let (queued, index) = self.heap.first()?;
            let deadline = self.slots.in_slot(index).deadline;
            if deadline == queued {
                return Some((deadline, index));
            }
            self.heap.shift(index, deadline);
        }
    }

    /// Moves the timers that are due from the heap into the due queue.
    pub(super) fn take_due(&mut self, now: u64) {
        let is_due = |&(deadline, _): &(u64, u32)| deadline <= now && deadline != NEVER;
        let Some(mut next) = self.next().filter(is_due) else {
            return;
        };
        let mut due = std::mem::take(&mut self.due);
        let mut adding = due.add();
        loop {
            let (deadline, index) = next;
            self.heap.remove(index);
            let timer = self.slots.in_slot(index);
            timer.stage = Stage::Due;
            let key = Key::of(index, Serial::unpack(timer.serial));
            adding.push(Due { deadline, key });
            match self.next().filter(is_due) {
                Some(more) => next = more,
                None => break,
            }
        }
        adding.end(self.slots.newest);
        self.due = due;
    }

    /// Returns true if the due queue has a timer to call. Drops those that were cancelled or reset meanwhile.
    pub(super) fn has_due(&mut self) -> bool {
        while let Some(Due { deadline, key }) = self.due.first() {
            let is_due =
                |timer: &mut Timer| timer.stage == Stage::Due && timer.deadline == deadline;
            if self.slots.get(key).is_some_and(is_due) {
                return true;
            }
            self.due.pop();
        }
        false
    }

    /// Takes the next timer to call.
    pub(super) fn pop_due(&mut self) -> Option<Key> {
        if self.has_due() {
            self.due.pop().map(|due| due.key)
        } else {
            None
        }
    }

    /// Takes the callback of a due timer. Returns `None` if the timer was cancelled or reset meanwhile. A timer that
    /// fires once is gone from here on.
    pub(super) fn start(&mut self, key: Key) -> Option<Call> {
        let timer = self.slots.get(key)?;
        if timer.stage != Stage::Due {
            return None;
        }
        timer.stage = Stage::Called;
        let fired = match timer.fired {
            Fired::Scheduled => self.schedules.count_call(key.index()),
            fired => fired,
        };
        let body = self.slots.body(key);
        let call = Call {
            callback: body.callback.take()?,
            location: body.location,
            is_last: fired == Fired::Gone,
        };
        if call.is_last {
            self.remove(key);
        }
        Some(call)
    }

    /// Puts the callback back. Returns it for the caller to drop if the timer is gone.
    pub(super) fn finish(
        &mut self,
        key: Key,
        callback: Callback,
        action: Action,
        now: impl FnOnce() -> u64,
    ) -> Option<Callback> {
        let Some(timer) = self.slots.get(key) else {
            return Some(callback);
        };
        if action == Action::Remove {
            self.remove(key);
            return Some(callback);
        }
        // A reset by the timer's own callback takes precedence over the period.
        if timer.stage == Stage::Called {
            self.rearm(key, now);
        }
        self.slots.body(key).callback = Some(callback);
        None
    }

    /// Moves a timer that was called to the end of its next period, if it has one.
    fn rearm(&mut self, key: Key, now: impl FnOnce() -> u64) {
        let timer = self.slots.in_slot(key.index());
        let mut deadline = NEVER;
        let mut period = None;
        if timer.fired == Fired::Scheduled {
            period = self
                .schedules
                .get(key.index())
                .and_then(|schedule| schedule.every);
        }
        if let Some(period) = period {
            let (now, before) = (now(), timer.deadline);
            let missed = now.saturating_sub(before) / period.max(1);
            let ahead = period.saturating_mul(missed.saturating_add(1));
            deadline = match period {
                0 => now,
                _ => before.saturating_add(ahead),
            };
        }
        // The timer does not follow the system clock any more, because it has fired for that time.
        self.reset(key, deadline, None);
    }
}

#[cfg(test)]
mod tests;
