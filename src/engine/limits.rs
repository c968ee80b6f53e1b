//! Priorities of handlers, and limits on how often one is called. Few handlers have either, so that what is
//! known of them is in tables of their own.

use std::collections::{BTreeSet, HashMap};
use std::io;
use std::time::Duration;

use super::NEVER;
use super::handlers::Handlers;
use crate::clock::{Clock, nanoseconds};
use crate::id::Key;
use crate::poller::{FileId, Poller, exists};
use crate::{Mode, Priority, Ready};

pub(super) struct Limits {
    /// By the index of the handler.
    limits: HashMap<u32, Limit>,
    /// Handlers that are held, by when that ends.
    held: BTreeSet<(u64, u32)>,
    /// When the first of these ends, which each turn looks at.
    next_release: u64,
    /// How many handlers have another priority than the normal one.
    prioritized: usize,
}

pub(super) struct Limit {
    pub(super) calls: u32,
    /// In nanoseconds.
    pub(super) per: u64,
    /// How many calls are left until the interval ends, and when that is.
    left: u32,
    ends: u64,
    held: Option<Held>,
}

/// A handler was ready for one call more than it may have. It is not watched until the interval ends.
struct Held {
    /// What it was to be told.
    ready: Ready,
    /// What its number meant, which the kernel does not know meanwhile.
    file: Option<FileId>,
}

impl Limit {
    /// Until when it is held.
    pub(super) fn held_until(&self) -> Option<u64> {
        self.held.is_some().then_some(self.ends)
    }

    /// Whether there is a call left, which it takes.
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
            prioritized: 0,
        }
    }
}

impl Limits {
    /// When the next handler is no longer held.
    #[inline]
    pub(super) fn next_release(&self) -> u64 {
        self.next_release
    }

    /// A handler is held until then, or no longer.
    fn set_held(&mut self, held: bool, until: u64, index: u32) {
        match held {
            true => self.held.insert((until, index)),
            false => self.held.remove(&(until, index)),
        };
        self.next_release = self.held.first().map_or(NEVER, |(at, _)| *at);
    }

    pub(super) fn of(&self, index: u32) -> Option<&Limit> {
        self.limits.get(&index)
    }

    fn get_mut(&mut self, index: u32) -> Option<&mut Limit> {
        // Most loops have none.
        match self.limits.is_empty() {
            true => None,
            false => self.limits.get_mut(&index),
        }
    }

    fn remove(&mut self, index: u32) {
        if self.limits.is_empty() {
            return;
        }
        if let Some(limit) = self.limits.remove(&index) {
            self.set_held(false, limit.ends, index);
        }
    }
}

impl Handlers {
    /// Some handler has another priority than the normal one.
    #[inline]
    pub(super) fn has_priorities(&self) -> bool {
        self.limits.prioritized > 0
    }

    pub(super) fn set_priority(&mut self, key: Key, priority: Priority) -> Option<()> {
        let handler = self.get(key)?;
        let before = std::mem::replace(&mut handler.priority, priority);
        let change = |is: Priority| usize::from(is != Priority::Normal);
        self.limits.prioritized += change(priority);
        self.limits.prioritized -= change(before);
        Some(())
    }

    /// Puts those of higher priority first, and leaves the order among equals.
    #[cold]
    pub(super) fn sort(&self, batch: &mut [Key]) {
        batch.sort_by_key(|key| {
            let handler = self.handlers.get(key.slot());
            handler.map(|handler| handler.priority as u8)
        });
    }

    /// Limits a handler to so many calls in an interval, or lifts its limit if either is zero. The interval
    /// begins with the first call.
    pub(super) fn limit(
        &mut self,
        poller: &Poller,
        key: Key,
        calls: u32,
        per: Duration,
    ) -> Option<()> {
        if self.get(key)?.held {
            self.release(poller, key);
        }
        self.limits.remove(key.index());
        if calls > 0 && !per.is_zero() {
            let limit = Limit {
                calls,
                per: nanoseconds(per),
                left: 0,
                ends: 0,
                held: None,
            };
            self.limits.limits.insert(key.index(), limit);
        }
        self.set_counts_calls(key);
        Some(())
    }

    /// A handler has another mode, or another limit.
    pub(super) fn set_counts_calls(&mut self, key: Key) {
        let is_limited = self.limits.get_mut(key.index()).is_some();
        if let Some(handler) = self.get(key) {
            handler.counts_calls = is_limited | (handler.mode == Mode::Oneshot);
        }
    }

    /// Whether a handler may be called now for what it is `ready` for. One that has had all its calls is held.
    pub(super) fn admit(&mut self, poller: &Poller, key: Key, ready: Ready, clock: &Clock) -> bool {
        let Some(limit) = self.limits.get_mut(key.index()) else {
            return true;
        };
        if let Some(held) = &mut limit.held {
            held.ready |= ready;
            return false;
        }
        let is_admitted = limit.take(clock.now());
        if !is_admitted {
            self.hold(poller, key, ready);
        }
        is_admitted
    }

    /// A handler was ready for one call more than it may have.
    fn hold(&mut self, poller: &Poller, key: Key, ready: Ready) {
        let d = self.handlers[key.slot()].descriptor;
        let descriptor = &self.descriptors[d as usize];
        let mut file = None;
        if descriptor.is_told_by_kernel() {
            file = FileId::of_number(descriptor.fd);
            if file.is_none() {
                self.disown(poller, key);
                return;
            }
        }
        let Some(limit) = self.limits.get_mut(key.index()) else {
            return;
        };
        limit.held = Some(Held { ready, file });
        let until = limit.ends;
        self.limits.set_held(true, until, key.index());
        self.alter(key, |handler| handler.held = true);
        self.mark(d, false);
    }

    /// Watches those again whose interval has ended by now.
    pub(super) fn release_due(&mut self, poller: &Poller, now: u64) {
        while let Some((at, index)) = self.limits.held.first() {
            if *at > now {
                return;
            }
            let key = self.handlers[*index as usize].key;
            self.release(poller, key);
        }
    }

    /// Watches a handler again that was held.
    #[cold]
    fn release(&mut self, poller: &Poller, key: Key) {
        let limit = self.limits.get_mut(key.index());
        let Some((limit, held)) = limit.and_then(|limit| {
            let held = limit.held.take()?;
            Some((limit, held))
        }) else {
            return;
        };
        let until = limit.ends;
        self.limits.set_held(false, until, key.index());
        self.alter(key, |handler| handler.held = false);
        let handler = &self.handlers[key.slot()];
        let (again, mode, d) = (handler.again, handler.mode, handler.descriptor);
        let is_edge = mode == Mode::Edge;
        let descriptor = &self.descriptors[d as usize];
        if held.file.is_some_and(|file| !file.is_of(descriptor.fd)) {
            self.disown(poller, key);
            return;
        }
        if let Some(diverted) = descriptor.diverted() {
            diverted.put_back(mode, held.ready);
        }
        // An edge that came meanwhile is reported again.
        if self.change(poller, d, is_edge).is_err() {
            self.mark(d, is_edge);
        }
        match again {
            true => self.call_next_turn(key),
            false => self.call_if_ready(key),
        }
    }

    /// A handler that is held was updated: whatever its number means now is what the caller means.
    #[cold]
    pub(super) fn look_at_held(&mut self, key: Key) -> io::Result<()> {
        let d = self.handlers[key.slot()].descriptor;
        let descriptor = &self.descriptors[d as usize];
        let limit = self.limits.get_mut(key.index());
        let held = limit.and_then(|limit| limit.held.as_mut());
        if let (Some(held), true) = (held, descriptor.is_told_by_kernel()) {
            exists(descriptor.fd)?;
            held.file = FileId::of_number(descriptor.fd);
        }
        Ok(())
    }

    /// The handler goes.
    #[cold]
    pub(super) fn drop_limits(&mut self, index: u32, priority: Priority) {
        self.limits.remove(index);
        self.limits.prioritized -= usize::from(priority != Priority::Normal);
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

    #[test]
    #[cfg(unix)]
    fn equals_keep_their_order() {
        use std::sync::Arc;

        use super::super::{Inbox, Target};
        use crate::{Interest, PollerKind, VirtualSource};

        let poller = Poller::new(PollerKind::BEST).unwrap();
        let mut handlers = Handlers::new(Arc::new(Inbox::new(poller.waker())));
        let priorities = [Priority::Normal, Priority::High, Priority::Idle];
        let mut batch: Vec<Key> = (0..99)
            .map(|_| {
                let (on, location) = (VirtualSource::pair().0, std::panic::Location::caller());
                let added = handlers.add(
                    &poller,
                    Target::Virtual(on),
                    Interest::READABLE,
                    Mode::Level,
                    location,
                );
                added.unwrap()
            })
            .collect();
        assert!(!handlers.has_priorities());
        for (n, key) in batch.iter().enumerate() {
            handlers.set_priority(*key, priorities[n % 3]).unwrap();
        }
        assert!(handlers.has_priorities());
        let before = batch.clone();
        handlers.sort(&mut batch);
        let third = |nth: usize| before.iter().skip(nth).step_by(3).copied();
        let expected: Vec<Key> = third(1).chain(third(0)).chain(third(2)).collect();
        assert_eq!(batch, expected);
        for key in batch {
            handlers.remove(&poller, key).unwrap();
        }
        assert!(!handlers.has_priorities());
    }
}
