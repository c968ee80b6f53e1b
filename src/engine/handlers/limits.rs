//! Limits on how often a handler is called. Few handlers have one, so limits have a table of their own.

use std::collections::{BTreeSet, HashMap};
use std::io;
use std::time::Duration;

use super::attach::Attached;
use super::descriptor::Descriptor;
use crate::clock::{Clock, nanoseconds};
use crate::engine::deadline::NEVER;
use crate::id::Key;
use crate::poller::{FileId, Poller, exists};
use crate::{Mode, Ready};

pub(super) struct Limits {
    /// Limits by the index of the handler.
    limits: HashMap<u32, Limit>,
    /// Held handlers by the end of their intervals.
    held: BTreeSet<(u64, u32)>,
    /// The first of these times. Every turn reads it.
    next_release: u64,
}

pub(crate) struct Limit {
    pub(crate) calls: u32,
    /// The length of the interval in nanoseconds.
    pub(crate) per: u64,
    /// The calls that are left in the interval.
    left: u32,
    /// The end of the interval.
    ends: u64,
    held: Option<Held>,
}

/// The state of a held handler. It was ready for one call more than it may have.
struct Held {
    /// The readiness of that call.
    ready: Ready,
    /// The file of its number, which the kernel does not watch meanwhile.
    file: Option<FileId>,
}

impl Limit {
    /// Returns the end of the interval, if the handler is held.
    pub(crate) fn held_until(&self) -> Option<u64> {
        self.held.is_some().then_some(self.ends)
    }

    /// Takes one call. Returns false if none is left in the interval.
    fn take(&mut self, now: u64) -> bool {
        if now >= self.ends {
            self.ends = now.saturating_add(self.per);
            self.left = self.calls;
        }
        let is_left = self.left > 0;
        self.left = self.left.saturating_sub(1);
        is_left
    }
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            limits: HashMap::new(),
            held: BTreeSet::new(),
            next_release: NEVER,
        }
    }
}

impl Limits {
    /// Returns the time at which the next handler is no longer held.
    #[inline]
    pub(super) fn next_release(&self) -> u64 {
        self.next_release
    }

    /// Notes that a handler is held until `until`, or no longer.
    fn set_held(&mut self, held: bool, until: u64, index: u32) {
        if held {
            self.held.insert((until, index))
        } else {
            self.held.remove(&(until, index))
        };
        self.next_release = self.held.first().map_or(NEVER, |(at, _)| *at);
    }

    /// Returns the limit of the handler with this index.
    pub(super) fn of(&self, index: u32) -> Option<&Limit> {
        self.limits.get(&index)
    }

    /// Forgets the limit of a handler.
    pub(super) fn remove(&mut self, key: Key) {
        // Without limits, this saves the hash.
        if self.limits.is_empty() {
            return;
        }
        if let Some(limit) = self.limits.remove(&key.index()) {
            self.set_held(false, limit.ends, key.index());
        }
    }

    /// Limits a handler to `calls` calls in an interval, which begins with the first of them. If either argument is
    /// zero, lifts the limit.
    pub(super) fn set(
        &mut self,
        attached: &mut Attached,
        poller: &Poller,
        key: Key,
        calls: u32,
        per: Duration,
    ) {
        let table = &mut attached.synced.table;
        if table.handler(key).held {
            self.release(attached, poller, key);
        }
        self.remove(key);
        let is_limited = calls > 0 && !per.is_zero();
        if is_limited {
            let limit = Limit {
                calls,
                per: nanoseconds(per),
                left: 0,
                ends: 0,
                held: None,
            };
            self.limits.insert(key.index(), limit);
        }
        let handler = attached.synced.table.handler(key);
        handler.counts_calls = is_limited | (handler.mode == Mode::Oneshot);
    }

    /// Returns true if a handler may be called now. Holds a handler that has used up its calls.
    pub(super) fn admit(
        &mut self,
        attached: &mut Attached,
        poller: &Poller,
        key: Key,
        ready: Ready,
        clock: &Clock,
    ) -> bool {
        let Some(limit) = self.limits.get_mut(&key.index()) else {
            return true;
        };
        if let Some(held) = &mut limit.held {
            held.ready |= ready;
            return false;
        }
        let is_admitted = limit.take(clock.now());
        if !is_admitted {
            self.hold(attached, poller, key, ready);
        }
        is_admitted
    }

    /// Holds a handler until its interval ends.
    fn hold(&mut self, attached: &mut Attached, poller: &Poller, key: Key, ready: Ready) {
        let (handler, descriptor) = attached.synced.table.both(key);
        let d = handler.descriptor;
        let mut file = None;
        if descriptor.is_told_by_kernel() {
            file = FileId::of_number(descriptor.fd);
            if file.is_none() {
                attached.disown(poller, key);
                return;
            }
        }
        let Some(limit) = self.limits.get_mut(&key.index()) else {
            return;
        };
        limit.held = Some(Held { ready, file });
        let until = limit.ends;
        self.set_held(true, until, key.index());
        attached
            .synced
            .table
            .alter(key, |handler| handler.held = true);
        attached.synced.mark(d, false);
    }

    /// Releases the handlers whose interval has ended.
    pub(super) fn release_due(&mut self, attached: &mut Attached, poller: &Poller, now: u64) {
        while let Some((at, index)) = self.held.first() {
            let handler = attached.synced.table.in_slot(*index as usize);
            let Some(key) = handler.filter(|_| *at <= now).map(|handler| handler.key) else {
                return;
            };
            self.release(attached, poller, key);
        }
    }

    /// Watches a held handler again.
    #[cold]
    fn release(&mut self, attached: &mut Attached, poller: &Poller, key: Key) {
        let Some(limit) = self.limits.get_mut(&key.index()) else {
            return;
        };
        let Some(held) = limit.held.take() else {
            return;
        };
        let until = limit.ends;
        self.set_held(false, until, key.index());
        let synced = &mut attached.synced;
        synced.table.alter(key, |handler| handler.held = false);
        let (handler, descriptor) = synced.table.both(key);
        let (again, mode, d) = (handler.again, handler.mode, handler.descriptor);
        let is_edge = mode == Mode::Edge;
        if held.file.is_some_and(|file| !file.is_of(descriptor.fd)) {
            attached.disown(poller, key);
            return;
        }
        if let Some(diverted) = descriptor.diverted() {
            diverted.put_back(mode, held.ready);
        }
        // The forced call makes the kernel report an edge that came meanwhile.
        if synced.change(poller, d, is_edge).is_err() {
            synced.mark(d, is_edge);
        }
        if again {
            synced.call_next_turn(key)
        } else {
            synced.call_if_ready(key)
        }
    }

    /// Notes the present file of a held handler, because an update means the file that the number has now.
    #[cold]
    pub(super) fn look_at_held(&mut self, key: Key, descriptor: &Descriptor) -> io::Result<()> {
        let limit = self.limits.get_mut(&key.index());
        let held = limit.and_then(|limit| limit.held.as_mut());
        if let (Some(held), true) = (held, descriptor.is_told_by_kernel()) {
            exists(descriptor.fd)?;
            held.file = FileId::of_number(descriptor.fd);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limit(calls: u32, per: u64) -> Limit {
        Limit {
            calls,
            per,
            left: 0,
            ends: 0,
            held: None,
        }
    }

    #[test]
    fn an_interval_begins_with_its_first_call() {
        let mut limit = limit(2, 10);
        let calls = [5, 14, 14, 15, 24, 24, 100, 109, 110].map(|now| limit.take(now));
        assert_eq!(
            calls,
            [true, true, false, true, true, false, true, true, true]
        );
    }

    #[test]
    fn an_interval_without_end_begins_once() {
        let mut limit = limit(1, u64::MAX);
        assert_eq!(
            [1, 2, u64::MAX - 1].map(|now| limit.take(now)),
            [true, false, false]
        );
    }
}
