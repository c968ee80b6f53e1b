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
    /// By the index of the handler.
    limits: HashMap<u32, Limit>,
    /// Handlers that are held, by the time at which that ends.
    held: BTreeSet<(u64, u32)>,
    /// The first of these times, which each turn looks at.
    next_release: u64,
}

pub(crate) struct Limit {
    pub(crate) calls: u32,
    /// In nanoseconds.
    pub(crate) per: u64,
    /// Calls left until the interval ends, and when that is.
    left: u32,
    ends: u64,
    held: Option<Held>,
}

/// A handler was ready for one call more than it may have. It is not watched until the interval ends.
struct Held {
    /// Readiness of that call.
    ready: Ready,
    /// File of its number, which the kernel does not know meanwhile.
    file: Option<FileId>,
}

impl Limit {
    /// End of the time in which it is held.
    pub(crate) fn held_until(&self) -> Option<u64> {
        self.held.is_some().then_some(self.ends)
    }

    /// Takes a call, if one is left.
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
    /// Time at which the next handler is no longer held.
    #[inline]
    pub(super) fn next_release(&self) -> u64 {
        self.next_release
    }

    /// A handler is held until then, or no longer.
    fn set_held(&mut self, held: bool, until: u64, index: u32) {
        if held {
            self.held.insert((until, index))
        } else {
            self.held.remove(&(until, index))
        };
        self.next_release = self.held.first().map_or(NEVER, |(at, _)| *at);
    }

    /// Limit of the handler with this index.
    pub(super) fn of(&self, index: u32) -> Option<&Limit> {
        self.limits.get(&index)
    }

    fn get_mut(&mut self, index: u32) -> Option<&mut Limit> {
        // Most loops have none.
        if self.limits.is_empty() {
            None
        } else {
            self.limits.get_mut(&index)
        }
    }

    /// Forgets the limit of a handler.
    pub(super) fn remove(&mut self, key: Key) {
        if self.limits.is_empty() {
            return;
        }
        if let Some(limit) = self.limits.remove(&key.index()) {
            self.set_held(false, limit.ends, key.index());
        }
    }

    /// Limits a handler to so many calls in an interval, or lifts its limit if either is zero. The interval
    /// begins with the first call.
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

    /// Whether a handler may be called now for what it is `ready` for. One that has had all its calls is held.
    pub(super) fn admit(
        &mut self,
        attached: &mut Attached,
        poller: &Poller,
        key: Key,
        ready: Ready,
        clock: &Clock,
    ) -> bool {
        let Some(limit) = self.get_mut(key.index()) else {
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

    /// Holds a handler, which was ready for one call more than it may have.
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
        let Some(limit) = self.get_mut(key.index()) else {
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

    /// Watches handlers again whose interval has ended by now.
    pub(super) fn release_due(&mut self, attached: &mut Attached, poller: &Poller, now: u64) {
        while let Some((at, index)) = self.held.first() {
            let handler = attached.synced.table.in_slot(*index as usize);
            let Some(key) = handler.filter(|_| *at <= now).map(|handler| handler.key) else {
                return;
            };
            self.release(attached, poller, key);
        }
    }

    /// Watches a handler again that was held.
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
        // An edge that came meanwhile is reported again.
        if synced.change(poller, d, is_edge).is_err() {
            synced.mark(d, is_edge);
        }
        if again {
            synced.call_next_turn(key)
        } else {
            synced.call_if_ready(key)
        }
    }

    /// Notes the file of a handler that is held and was updated: the caller means the file that the number
    /// has now.
    #[cold]
    pub(super) fn look_at_held(&mut self, key: Key, descriptor: &Descriptor) -> io::Result<()> {
        let limit = self.get_mut(key.index());
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
