//! Handlers and descriptors, and the links between them. Each handler is on one descriptor.

use std::io;
use std::ops::Range;
use std::panic::Location;

use slab::Slab;

use super::crowd::{Crowd, Merged};
use super::descriptor::Descriptor;
use super::handler::{Handler, HandlerIndex};
use super::source::ReadySource;
use crate::id::Key;
use crate::os::RawFd;
use crate::poller::Poller;
use crate::{Interest, Mode, Priority};

/// All handlers and descriptors of a loop. Crowds and counts always agree with the handlers.
#[derive(Default)]
pub(super) struct Table {
    /// Dropped before the handlers, so that nothing watches a source when that is closed.
    descriptors: Slab<Descriptor>,
    handlers: Slab<Handler>,
    /// Number of handlers that keep `run` going.
    active: usize,
    /// Number of handlers of each mode.
    modes: [usize; 3],
    /// Number of handlers whose priority is not `Normal`.
    prioritized: usize,
}

impl Table {
    /// Inserts a handler without a descriptor and without a callback.
    #[inline]
    pub(super) fn insert(
        &mut self,
        interest: Interest,
        mode: Mode,
        location: &'static Location<'static>,
    ) -> io::Result<Key> {
        // There are no more descriptors than handlers.
        Key::is_left(self.handlers.len())?;
        let entry = self.handlers.vacant_entry();
        let key = Key::new(entry.key());
        entry.insert(Handler::new(key, interest, mode, location));
        self.modes[mode as usize] += 1;
        Ok(key)
    }

    /// Removes a handler that was unlinked from its descriptor.
    pub(super) fn remove(&mut self, key: Key) -> Handler {
        let handler = self.handlers.remove(key.slot());
        self.active -= usize::from(handler.counted);
        self.modes[handler.mode as usize] -= 1;
        self.prioritized -= usize::from(handler.priority != Priority::Normal);
        handler
    }

    #[inline]
    pub(super) fn get(&mut self, key: Key) -> Option<&mut Handler> {
        let handler = self.handlers.get_mut(key.slot())?;
        (handler.key == key).then_some(handler)
    }

    /// Returns an existing handler.
    #[inline]
    pub(super) fn handler(&mut self, key: Key) -> &mut Handler {
        &mut self.handlers[key.slot()]
    }

    /// Returns the handler in a slot.
    pub(super) fn in_slot(&self, slot: usize) -> Option<&Handler> {
        self.handlers.get(slot)
    }

    /// Returns an existing descriptor.
    #[inline]
    pub(super) fn descriptor(&mut self, d: u32) -> &mut Descriptor {
        &mut self.descriptors[d as usize]
    }

    /// Returns the descriptor with an event's key, and its handlers. Returns `None` if it is gone or was replaced.
    #[inline]
    pub(super) fn of_event(&mut self, key: Key) -> Option<(&mut Descriptor, Siblings<'_>)> {
        let descriptor = self.descriptors.get_mut(key.slot())?;
        let siblings = Siblings::of(descriptor, &mut self.handlers);
        (descriptor.key == key).then_some((descriptor, siblings))
    }

    /// Returns an existing handler and its descriptor.
    #[inline]
    pub(super) fn both(&mut self, key: Key) -> (&mut Handler, &mut Descriptor) {
        let handler = &mut self.handlers[key.slot()];
        let descriptor = &mut self.descriptors[handler.descriptor as usize];
        (handler, descriptor)
    }

    /// Returns the descriptor with an index, if there is one.
    #[inline]
    pub(super) fn descriptor_at(&mut self, d: u32) -> Option<&mut Descriptor> {
        self.descriptors.get_mut(d as usize)
    }

    /// Returns the indices of all descriptors.
    pub(super) fn descriptors(&self) -> Vec<u32> {
        self.descriptors.iter().map(|(d, _)| d as u32).collect()
    }

    pub(super) fn insert_descriptor(&mut self, fd: RawFd) -> u32 {
        let entry = self.descriptors.vacant_entry();
        let key = Key::new(entry.key());
        entry.insert(Descriptor::new(fd, key));
        key.index()
    }

    /// Inserts a descriptor for a handler that has none, unless `register` fails.
    #[inline(always)]
    pub(super) fn insert_registered(
        &mut self,
        key: Key,
        fd: RawFd,
        register: impl FnOnce(&mut Descriptor, &Handler) -> io::Result<()>,
    ) -> io::Result<u32> {
        let handler = &mut self.handlers[key.slot()];
        let entry = self.descriptors.vacant_entry();
        let mut descriptor = Descriptor::new(fd, Key::new(entry.key()));
        register(&mut descriptor, handler)?;
        descriptor.first = Some(HandlerIndex::of(key));
        // `register` may have changed the key, but not its index.
        handler.descriptor = descriptor.key.index();
        (handler.previous, handler.sibling) = (None, None);
        entry.insert(descriptor);
        Ok(handler.descriptor)
    }

    /// Removes a descriptor without handlers.
    pub(super) fn remove_descriptor(&mut self, d: u32) -> Descriptor {
        self.descriptors.remove(d as usize)
    }

    /// Links a handler to a descriptor.
    pub(super) fn link(&mut self, key: Key, d: u32) {
        let link = HandlerIndex::of(key);
        let descriptor = &mut self.descriptors[d as usize];
        let previous = match descriptor.first {
            None => {
                descriptor.first = Some(link);
                None
            }
            Some(first) => {
                let first = &self.handlers[first.slot()];
                let crowd = descriptor
                    .crowd
                    .get_or_insert_with(|| Box::new(Crowd::new(first)));
                crowd.add(&self.handlers[key.slot()]);
                Some(std::mem::replace(&mut crowd.last, link))
            }
        };
        if let Some(previous) = previous {
            self.handlers[previous.slot()].sibling = Some(link);
        }
        let handler = &mut self.handlers[key.slot()];
        handler.descriptor = d;
        (handler.previous, handler.sibling) = (previous, None);
    }

    /// Unlinks a handler from its descriptor.
    pub(super) fn unlink(&mut self, key: Key) {
        let handler = &self.handlers[key.slot()];
        let (previous, next) = (handler.previous, handler.sibling);
        let descriptor = &mut self.descriptors[handler.descriptor as usize];
        if let Some(crowd) = &mut descriptor.crowd {
            crowd.subtract(handler);
            if let (None, Some(previous)) = (next, previous) {
                crowd.last = previous;
            }
        }
        match previous {
            Some(previous) => self.handlers[previous.slot()].sibling = next,
            None => descriptor.first = next,
        }
        match next {
            Some(next) => self.handlers[next.slot()].previous = previous,
            None if previous.is_none() => descriptor.crowd = None,
            None => {}
        }
    }

    /// Changes the interest or mode of an existing handler, or whether it is armed or held.
    #[inline]
    pub(super) fn alter(&mut self, key: Key, change: impl FnOnce(&mut Handler)) {
        let handler = &mut self.handlers[key.slot()];
        let crowd = self.descriptors[handler.descriptor as usize].crowd.as_mut();
        let Some(crowd) = crowd else {
            return change(handler);
        };
        crowd.subtract(handler);
        change(handler);
        crowd.add(handler);
    }

    /// Changes the mode of an existing handler.
    #[cfg(feature = "futures")]
    pub(super) fn set_mode(&mut self, key: Key, mode: Mode) {
        self.modes[self.handlers[key.slot()].mode as usize] -= 1;
        self.modes[mode as usize] += 1;
        self.alter(key, |handler| handler.mode = mode);
    }

    /// Returns true if there is a handler whose priority is not `Normal`.
    #[inline]
    pub(super) fn has_priorities(&self) -> bool {
        self.prioritized > 0
    }

    /// Changes the priority of an existing handler.
    pub(super) fn set_priority(&mut self, key: Key, priority: Priority) {
        let handler = &mut self.handlers[key.slot()];
        let before = std::mem::replace(&mut handler.priority, priority);
        self.prioritized += usize::from(priority != Priority::Normal);
        self.prioritized -= usize::from(before != Priority::Normal);
    }

    /// Returns the merged interest of all handlers on a descriptor.
    #[inline(always)]
    pub(super) fn wanted(&self, d: u32) -> Merged {
        let descriptor = &self.descriptors[d as usize];
        match (&descriptor.crowd, descriptor.first) {
            (Some(crowd), _) => crowd.wanted(),
            (None, Some(link)) => Merged::of(&self.handlers[link.slot()]),
            (None, None) => Merged::NONE,
        }
    }

    /// Returns an existing descriptor and its handlers.
    #[inline]
    pub(super) fn on(&mut self, d: u32) -> (&mut Descriptor, Siblings<'_>) {
        let descriptor = &mut self.descriptors[d as usize];
        let siblings = Siblings::of(descriptor, &mut self.handlers);
        (descriptor, siblings)
    }

    /// Drops the pending readiness of all handlers on a descriptor, because it belongs to another file.
    #[cold]
    pub(super) fn forget_pending_on(&mut self, d: u32) {
        self.on(d).1.for_each(Handler::forget_pending);
    }

    /// Silences all handlers on a descriptor, also in this turn, because its number now means another file.
    #[cold]
    pub(super) fn orphan(&mut self, d: u32) {
        let descriptor = &mut self.descriptors[d as usize];
        descriptor.orphaned = true;
        descriptor.source = ReadySource::ByKernel;
        Siblings::of(descriptor, &mut self.handlers).for_each(|handler| {
            handler.forget_pending();
            recount(&mut self.active, handler, true);
        });
    }

    /// Updates `active` after a change of an existing handler.
    #[inline]
    pub(super) fn count(&mut self, key: Key) {
        let handler = &mut self.handlers[key.slot()];
        let orphaned = self.descriptors[handler.descriptor as usize].orphaned;
        recount(&mut self.active, handler, orphaned);
    }

    pub(super) fn active(&self) -> usize {
        self.active
    }

    pub(super) fn len(&self, mode: Mode) -> usize {
        self.modes[mode as usize]
    }

    /// Returns the handlers in these slots, with their descriptors. Returns `None` beyond the last slot.
    pub(super) fn some(
        &self,
        slots: Range<usize>,
    ) -> Option<impl Iterator<Item = (&Handler, &Descriptor)>> {
        let there = slots.start < self.handlers.capacity();
        let some = slots.filter_map(|slot| self.handlers.get(slot));
        there.then(|| some.map(|one| (one, &self.descriptors[one.descriptor as usize])))
    }

    /// Takes all descriptors out of the kernel's sets.
    pub(super) fn forget_in_kernel(&mut self, poller: &Poller) {
        for (_, descriptor) in &mut self.descriptors {
            descriptor.release(poller);
        }
    }
}

/// The handlers on one descriptor.
pub(super) struct Siblings<'a> {
    next: Option<HandlerIndex>,
    handlers: &'a mut Slab<Handler>,
}

impl<'a> Siblings<'a> {
    #[inline]
    fn of(descriptor: &Descriptor, handlers: &'a mut Slab<Handler>) -> Siblings<'a> {
        Siblings {
            next: descriptor.first,
            handlers,
        }
    }

    #[inline]
    pub(super) fn for_each(self, mut each: impl FnMut(&mut Handler)) {
        let mut next = self.next;
        while let Some(link) = next {
            let handler = &mut self.handlers[link.slot()];
            next = handler.sibling;
            each(handler);
        }
    }
}

/// Counts a handler as active if it keeps `run` going.
#[inline]
fn recount(active: &mut usize, handler: &mut Handler, orphaned: bool) {
    let again = handler.again && !handler.interest.is_empty();
    let counts = (again || handler.is_active() && !orphaned) && !handler.unreferenced;
    let counted = std::mem::replace(&mut handler.counted, counts);
    *active = *active + usize::from(counts) - usize::from(counted);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Interest of all handlers, counted one by one.
    fn counted(table: &Table) -> Merged {
        let mut all = Merged::NONE;
        for (_, handler) in &table.handlers {
            let one = Merged::of(handler);
            all.level |= one.level;
            all.edge |= one.edge;
            all.has_level |= one.has_level;
            all.only_oneshots &= one.only_oneshots;
        }
        all
    }

    #[test]
    fn the_merged_interest_of_many_handlers_is_kept_up_to_date() {
        let mut table = Table::default();
        let d = table.insert_descriptor(0);
        let mut keys: Vec<Key> = Vec::new();
        let mut random = 1_u32;
        let mut pick = |of: usize| {
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (random >> 16) as usize % of
        };
        let interests = [
            Interest::NONE,
            Interest::READABLE,
            Interest::WRITABLE,
            Interest::READABLE | Interest::WRITABLE,
        ];
        let modes = [Mode::Level, Mode::Edge, Mode::Oneshot];
        for step in 0..3000 {
            let interest = interests[pick(4)];
            let choice = pick(if step < 2000 { 5 } else { 6 });
            if choice < 2 || keys.is_empty() {
                let key = table.insert(interest, modes[pick(3)], Location::caller());
                let key = key.unwrap();
                table.link(key, d);
                keys.push(key);
            } else {
                let key = keys[pick(keys.len())];
                match choice {
                    2 => table.alter(key, |one| (one.interest, one.armed) = (interest, true)),
                    3 => table.alter(key, |one| one.armed = one.mode != Mode::Oneshot),
                    4 => table.alter(key, |one| one.held = !one.held),
                    _ => {
                        table.unlink(key);
                        table.remove(key);
                        keys.retain(|one| *one != key);
                    }
                }
            }
            keys.iter().for_each(|key| table.count(*key));
            assert_eq!(table.wanted(d), counted(&table), "step {step}");
            let all = table.handlers.iter();
            let active = all.filter(|(_, handler)| handler.is_active()).count();
            assert_eq!(table.active(), active, "step {step}");
        }
        for key in keys {
            table.unlink(key);
            table.remove(key);
        }
        assert!(table.descriptors[0].first.is_none() && table.descriptors[0].crowd.is_none());
        assert_eq!(table.active(), 0);
    }
}
