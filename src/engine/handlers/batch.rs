//! The batch: the handlers to be called in this turn.

use super::sync::Synced;
use crate::id::Key;
use crate::poller::{PollSet, Poller, ReadyEvent};
use crate::{Mode, Ready};

/// The keys of the handlers. Each handler stores the readiness to report to it.
#[derive(Default)]
pub(crate) struct Batch {
    keys: Vec<Key>,
    /// Number of handlers that were called already.
    called: usize,
}

impl Batch {
    #[inline]
    pub(crate) fn next(&mut self) -> Option<Key> {
        let key = *self.keys.get(self.called)?;
        self.called += 1;
        Some(key)
    }

    /// Returns true if handlers are left to call, such as after a stop or a panic.
    #[inline]
    pub(crate) fn is_left(&self) -> bool {
        self.called < self.keys.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    #[cfg(test)]
    pub(crate) fn push(&mut self, key: Key) {
        self.keys.push(key);
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.keys.len()
    }

    /// Sorts the handlers by priority. Those of one priority keep their order.
    #[cold]
    pub(super) fn sort(&mut self, synced: &Synced) {
        self.keys.sort_by_key(|key| {
            let handler = synced.table.in_slot(key.slot());
            handler.map(|handler| handler.priority as u8)
        });
    }

    /// Empties the batch. Keeps left-over calls that nothing would report again.
    #[inline]
    pub(super) fn begin(&mut self, synced: &mut Synced) {
        match std::mem::take(&mut self.called) {
            all if all == self.keys.len() => self.keys.clear(),
            called => self.keep_left_overs(synced, called),
        }
    }

    #[cold]
    fn keep_left_overs(&mut self, synced: &mut Synced, called: usize) {
        self.keys.drain(..called);
        self.keys.retain(|&key| keep(synced, key));
    }

    /// Appends the handlers that an event concerns. Returns false if its registration is stale.
    #[inline]
    pub(super) fn gather(
        &mut self,
        synced: &mut Synced,
        poller: &Poller,
        fired: ReadyEvent,
    ) -> bool {
        let d = fired.key.index();
        let turn = synced.turn;
        let (descriptor, siblings) = match synced.table.of_event(fired.key) {
            Some((descriptor, siblings)) if !descriptor.orphaned => (descriptor, siblings),
            _ => return false,
        };
        let is_edge = descriptor.kernel().reports_edges(fired.set);
        if descriptor.counts(turn, is_edge) && !descriptor.check(poller) {
            synced.table.forget_pending_on(d);
            return false;
        }
        let has_disarmed = descriptor.fired(fired.set);
        siblings.for_each(|handler| {
            let seen = fired.ready.seen_by(handler.interest);
            let is_concerned = handler.armed && is_edge == (handler.mode == Mode::Edge);
            if is_concerned && !seen.is_empty() && handler.add_pending(seen) {
                self.keys.push(handler.key);
            }
        });
        if has_disarmed {
            synced.mark(d, false);
        }
        // An empty event means that the number is closed. poll(2) would report it again and again.
        #[cfg(not(pollable))]
        if fired.ready.is_empty() {
            synced.mark(d, true);
        }
        true
    }

    /// Handles sources that became ready without the kernel. Appends the handlers of diverted descriptors, and puts
    /// those of virtual sources into the ready queue.
    #[inline(never)]
    pub(super) fn take_ready_sources(
        &mut self,
        synced: &mut Synced,
        poller: &Poller,
        ready_sources: &mut Vec<Key>,
    ) {
        for key in ready_sources.drain(..) {
            let d = key.index();
            let wanted = match synced.table.of_event(key) {
                Some(_) => synced.table.wanted(d),
                None => continue,
            };
            let (descriptor, siblings) = synced.table.on(d);
            let Some(diverted) = descriptor.diverted() else {
                let changed = descriptor.take_ready();
                siblings.for_each(|handler| {
                    if !changed.seen_by(handler.interest).is_empty() {
                        synced.ready.add(handler);
                    }
                });
                continue;
            };
            let found = diverted.take(wanted.level, wanted.edge, wanted.has_level);
            for (set, ready) in [(PollSet::Primary, found.level), (PollSet::Edge, found.edge)] {
                if !ready.is_empty() {
                    self.gather(synced, poller, ReadyEvent { set, key, ready });
                }
            }
            // The thread polls it again once the handlers were called.
            synced.mark(d, false);
        }
    }

    /// Appends the handlers in the ready queue.
    #[inline(never)]
    pub(super) fn gather_queued(&mut self, synced: &mut Synced) {
        let mut queue = synced.ready.take();
        for key in queue.drain(..) {
            if synced.table.get(key).is_none() {
                continue;
            }
            let (handler, descriptor) = synced.table.both(key);
            handler.queued = false;
            let gone = descriptor.is_file_gone();
            let now = match descriptor.ready() {
                Some(ready) if handler.armed && !gone => ready.seen_by(handler.interest),
                _ => Ready::NONE,
            };
            let ready = if now.is_empty() && handler.again {
                // A paused handler is queued again when it is resumed.
                handler.told_again()
            } else {
                now
            };
            if !ready.is_empty() && handler.add_pending(ready) {
                self.keys.push(key);
            }
        }
        synced.ready.put_back(queue);
    }
}

/// Returns true if a left-over call must be kept, because nothing would report it again.
fn keep(synced: &mut Synced, key: Key) -> bool {
    if synced.table.get(key).is_none() {
        return false;
    }
    let (handler, descriptor) = synced.table.both(key);
    if handler.mode != Mode::Level || descriptor.diverted().is_some() {
        return !handler.pending.is_empty();
    }
    handler.pending = Ready::NONE;
    if handler.again {
        synced.ready.add(handler)
    } else {
        synced.ready.add_if_ready(handler, descriptor)
    }
    false
}

#[cfg(test)]
mod tests {
    use std::panic::Location;
    use std::sync::Arc;

    use super::*;
    use crate::engine::inbox::Inbox;
    use crate::{Interest, PollerKind, Priority, VirtualSource};

    #[test]
    fn equals_keep_their_order() {
        let poller = Poller::new(PollerKind::BEST).unwrap();
        let mut synced = Synced::new(Arc::new(Inbox::new(poller.waker())));
        let priorities = [Priority::Normal, Priority::High, Priority::Idle];
        let mut sets = Vec::new();
        let mut keys = Vec::new();
        for n in 0..99 {
            let (source, set) = VirtualSource::pair();
            set.set(Ready::READABLE);
            sets.push(set);
            let key = synced
                .table
                .insert(Interest::READABLE, Mode::Level, Location::caller());
            let key = key.unwrap();
            synced.watch(key, &source);
            synced.call_if_ready(key);
            synced.table.set_priority(key, priorities[n % 3]);
            keys.push(key);
        }
        let mut batch = Batch::default();
        batch.gather_queued(&mut synced);
        batch.sort(&synced);
        let third = |nth: usize| keys.iter().skip(nth).step_by(3).copied();
        let expected: Vec<Key> = third(1).chain(third(0)).chain(third(2)).collect();
        let sorted: Vec<Key> = std::iter::from_fn(|| batch.next()).collect();
        assert_eq!(sorted, expected);
        for (n, key) in keys.into_iter().enumerate() {
            assert!(synced.table.has_priorities());
            if n < 50 {
                synced.table.set_priority(key, Priority::Normal);
                synced.table.set_priority(key, Priority::Normal);
            }
            synced.table.unlink(key);
            synced.table.remove(key);
        }
        assert!(!synced.table.has_priorities());
    }
}
