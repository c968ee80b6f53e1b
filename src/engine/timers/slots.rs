//! Timers by slot, and their memory.

use std::ops::Range;
use std::panic::Location;

use slab::Slab;

use super::callback::Callback;
use super::heap;
use super::schedule::Fired;
use crate::engine::deadline::NEVER;
use crate::id::{Key, Serial};

#[derive(Default)]
pub(super) struct Slots {
    timers: Slab<Timer>,
    /// Fields that a reset does not touch. Keeping them apart makes a reset cost one cache miss instead of two.
    bodies: Vec<Body>,
    /// Number of timers in each part of `PART` slots.
    used: Vec<u32>,
    /// The serial of the newest timer.
    pub(super) newest: Serial,
}

/// Number of slots in a part. Memory is freed in whole parts.
const PART: usize = 1 << 14;

pub(crate) struct Timer {
    pub(crate) deadline: u64,
    pub(super) serial: [u8; 5],
    pub(super) stage: Stage,
    pub(crate) unreferenced: bool,
    pub(super) fired: Fired,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// The timer is in the heap.
    Pending,
    /// The timer is in the due queue.
    Due,
    /// The timer is being called.
    Called,
}

pub(super) struct Body {
    /// `None` while the callback runs, and in a slot that is free.
    pub(super) callback: Option<Callback>,
    /// Place where the timer was set.
    pub(super) location: &'static Location<'static>,
}

impl Timer {
    /// Returns true if the timer will fire and keeps `run` going.
    #[inline]
    pub(crate) fn is_active(&self) -> bool {
        self.deadline < NEVER && !self.unreferenced
    }
}

impl Slots {
    /// Inserts a pending timer.
    #[inline]
    pub(super) fn insert(
        &mut self,
        deadline: u64,
        fired: Fired,
        location: &'static Location<'static>,
        make: impl FnOnce(Key) -> Callback,
    ) -> Key {
        if self.timers.len() == self.timers.capacity() {
            self.timers.reserve_exact(heap::more(self.timers.len()));
        }
        let entry = self.timers.vacant_entry();
        let key = Key::new(entry.key());
        entry.insert(Timer {
            deadline,
            serial: key.serial().pack(),
            stage: Stage::Pending,
            unreferenced: false,
            fired,
        });
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
        self.newest = key.serial();
        key
    }

    /// Removes an existing timer. Returns true with it if memory may be freed.
    #[inline]
    pub(super) fn remove(&mut self, key: Key) -> (Timer, Option<Callback>, bool) {
        let timer = self.timers.remove(key.slot());
        let callback = self.bodies[key.slot()].callback.take();
        let part = key.slot() / PART;
        self.used[part] -= 1;
        let is_unused = self.used[part] == 0 && part > 0;
        (timer, callback, is_unused)
    }

    /// Frees unused memory if all timers are in the first quarter of the slots. A timer cannot move to another slot,
    /// because its id contains the slot. Returns the number of slots that are left.
    #[cold]
    pub(super) fn trim(&mut self) -> Option<usize> {
        let last = self.used.iter().rposition(|&used| used > 0);
        let needed = last.map_or(0, |last| last + 1);
        if needed * 4 > self.used.len() {
            return None;
        }
        self.timers.shrink_to_fit();
        self.bodies.truncate(self.timers.capacity());
        self.bodies.shrink_to_fit();
        self.used.truncate(self.bodies.len().div_ceil(PART));
        Some(self.bodies.len())
    }

    #[inline]
    pub(super) fn get(&mut self, key: Key) -> Option<&mut Timer> {
        let timer = self.timers.get_mut(key.slot())?;
        (timer.serial == key.serial().pack()).then_some(timer)
    }

    /// Returns an existing timer.
    #[inline]
    pub(super) fn in_slot(&mut self, slot: u32) -> &mut Timer {
        &mut self.timers[slot as usize]
    }

    /// Returns the body of an existing timer.
    #[inline]
    pub(super) fn body(&mut self, key: Key) -> &mut Body {
        &mut self.bodies[key.slot()]
    }

    /// Returns the timers in these slots, with their keys and places. Returns `None` beyond the last slot.
    pub(super) fn some(
        &self,
        slots: Range<usize>,
    ) -> Option<impl Iterator<Item = (Key, &Timer, &'static Location<'static>)>> {
        let there = slots.start < self.timers.capacity();
        let some = slots.filter_map(|slot| {
            let timer = self.timers.get(slot)?;
            let key = Key::of(slot as u32, Serial::unpack(timer.serial));
            Some((key, timer, self.bodies[slot].location))
        });
        there.then_some(some)
    }

    pub(super) fn len(&self) -> usize {
        self.timers.len()
    }

    /// Returns the number of timers for which there is memory.
    #[cfg(test)]
    pub(super) fn room(&self) -> usize {
        self.timers.capacity().max(self.bodies.capacity())
    }
}
