//! Telling the kernel of changes, at once or before the next wait.

use std::io;
use std::sync::Arc;

use super::descriptor::Place;
use super::dirty::DirtyList;
use super::kernel::{OnStale, is_gone};
use super::ready::ReadyQueue;
use super::source::{ReadySource, Watched};
use super::table::Table;
use crate::engine::inbox::Inbox;
use crate::id::Key;
use crate::os::{self, RawFd};
use crate::poller::{PollSet, Poller};
use crate::{Interest, VirtualSource};

/// The result of a change. An error of the kernel comes with the number of the descriptor.
pub(crate) type Changed = Result<(), (RawFd, io::Error)>;

pub(super) struct Synced {
    pub(super) table: Table,
    pub(super) ready: ReadyQueue,
    dirty: DirtyList,
    pub(super) place: Place,
    /// True while callbacks are called. The kernel learns of their changes before the next wait.
    pub(super) defer: bool,
    /// The number of the turn, which wraps.
    pub(super) turn: u16,
}

impl Synced {
    pub(super) fn new(inbox: Arc<Inbox>) -> Synced {
        Synced {
            table: Table::default(),
            ready: ReadyQueue::default(),
            dirty: DirtyList::default(),
            place: Place {
                inbox,
                nested: false,
            },
            defer: false,
            turn: 0,
        }
    }

    /// Handles a changed interest on a descriptor. Within a turn, the kernel is told before the next wait. If it may
    /// refuse the change, it is told at once, so that the caller gets the error.
    pub(super) fn change(&mut self, poller: &Poller, d: u32, force: bool) -> io::Result<()> {
        if self.defer {
            // Only edge handlers may need the second set, and their changes are forced.
            let kernel = self.table.descriptor(d).kernel();
            let is_in_primary = !force && kernel.is_in_primary();
            if is_in_primary || !kernel.grows(self.table.wanted(d)) {
                self.mark(d, force);
                return Ok(());
            }
        }
        self.sync(poller, d, force)
    }

    /// Tells the kernel the merged interest on a descriptor. This registers whichever file the number means now.
    #[inline(always)]
    pub(super) fn sync(&mut self, poller: &Poller, d: u32, force: bool) -> io::Result<()> {
        let wanted = self.table.wanted(d);
        let descriptor = self.table.descriptor(d);
        let result = descriptor.sync(poller, &self.place, wanted, force, OnStale::Repair);
        if descriptor.is_always_ready() {
            self.call_if_ready_on(d);
        }
        result
    }

    /// Marks a descriptor, so that the kernel learns of its changes before the next wait.
    #[inline(never)]
    pub(super) fn mark(&mut self, d: u32, force: bool) {
        let mark = &mut self.table.descriptor(d).mark;
        self.dirty.add(d, mark, force);
    }

    /// Returns true if a descriptor is marked.
    #[inline]
    pub(super) fn is_dirty(&self) -> bool {
        !self.dirty.is_empty()
    }

    /// Tells the kernel of all marked descriptors. A change that it refuses gives an error once. The loop goes on and
    /// tries that change again before every wait.
    pub(super) fn flush(&mut self, poller: &Poller) -> Changed {
        match self.tell_kernel(poller) {
            None => Ok(()),
            Some((d, error)) => {
                let descriptor = self.table.descriptor(d);
                descriptor.mark.set_reported(true);
                Err((descriptor.fd, error))
            }
        }
    }

    /// Flushes like `flush`, for callers that cannot report errors. Returns the first error that was not reported.
    pub(super) fn tell_kernel(&mut self, poller: &Poller) -> Option<(u32, io::Error)> {
        let mut unreported = None;
        let listed = self.dirty.take();
        for &d in listed.iter().rev() {
            let descriptor = self.table.descriptor_at(d);
            let Some(force) = descriptor.and_then(|descriptor| descriptor.mark.take()) else {
                continue;
            };
            let result = self.sync(poller, d, force);
            let mark = &mut self.table.descriptor(d).mark;
            match result {
                Err(error) if !is_gone(&error) => {
                    self.dirty.retry(d, mark, force);
                    if !mark.is_reported() && unreported.is_none() {
                        unreported = Some((d, error));
                    }
                }
                // A closed descriptor reports nothing from here on.
                _ => mark.set_reported(false),
            }
        }
        self.dirty.put_back(listed);
        unreported
    }

    /// Rebuilds a set with the descriptors that are still valid.
    ///
    /// A descriptor may be closed before its handler is removed, while a duplicate keeps its file open. No number
    /// means that file any more, so it cannot be taken out of the set. While it is ready, the loop never sleeps.
    pub(super) fn rebuild_set(&mut self, poller: &Poller, set: PollSet) -> io::Result<()> {
        let all = self.table.descriptors();
        // Checked before the rebuild, while the kernel still knows the file of each number. A number that now
        // belongs to other code must not get into the fresh set.
        for &d in &all {
            if !self.table.descriptor(d).check(poller) {
                self.table.forget_pending_on(d);
            }
        }
        if !poller.rebuild(set)? {
            return Ok(());
        }
        self.dirty.clear();
        for d in all {
            let descriptor = self.table.descriptor(d);
            descriptor.forget_in(set);
            self.dirty.relist(d, &mut descriptor.mark);
        }
        Ok(())
    }

    /// Prepares for a host that watches the loop's descriptor from now on.
    #[cfg(pollable)]
    pub(super) fn nest(&mut self, poller: &Poller) {
        self.place.nested = true;
        for d in self.table.descriptors() {
            // If there is no thread, the descriptor stays in the set. The thread is told at once, because the loop
            // may be asleep.
            let diverted = self.divert(poller, d);
            if diverted.is_ok() && self.table.descriptor(d).diverted().is_some() {
                let _ = self.sync(poller, d, true);
            }
        }
    }

    /// Gives a descriptor that must not be polled twice to the polling thread.
    #[cold]
    pub(super) fn divert(&mut self, poller: &Poller, d: u32) -> io::Result<()> {
        let interest = self.table.wanted(d).interest();
        let descriptor = self.table.descriptor(d);
        if descriptor.divert(poller, &self.place, interest)? {
            self.mark(d, true);
        }
        Ok(())
    }

    /// Diverts like `divert`, for a file that is not registered yet. It may be polled once without harm.
    #[cold]
    pub(super) fn divert_new(&mut self, poller: &Poller, d: u32) -> io::Result<()> {
        let interest = self.table.wanted(d).interest();
        if self.place.nested | interest.contains(Interest::PRIORITY) {
            self.divert(poller, d)
        } else {
            Ok(())
        }
    }

    /// Returns true if the number of a descriptor means another file. The old file is then forgotten.
    #[cold]
    pub(super) fn look_again(&mut self, poller: &Poller, d: u32) -> bool {
        let descriptor = self.table.descriptor(d);
        if descriptor.is_file_gone() {
            descriptor.forget_file();
            true
        } else if !descriptor.check(poller) {
            descriptor.closed = false;
            self.table.forget_pending_on(d);
            true
        } else {
            false
        }
    }

    /// Registers a descriptor with the kernel again, with whichever file its number means now.
    pub(super) fn rearm(&mut self, poller: &Poller, d: u32) -> io::Result<()> {
        let descriptor = self.table.descriptor(d);
        let file = descriptor.file();
        let mut is_new = std::mem::take(&mut descriptor.closed);
        if descriptor.is_file_gone() {
            descriptor.forget_file();
            is_new = true;
        }
        let mut always_ready = None;
        if descriptor.is_always_ready() {
            let before = std::mem::replace(&mut descriptor.source, ReadySource::ByKernel);
            always_ready = Some(before);
        }
        let mut result = Ok(());
        if is_new | always_ready.is_some() {
            result = self.divert_new(poller, d);
        }
        let result = result.and_then(|()| self.sync(poller, d, true));
        let descriptor = self.table.descriptor(d);
        if let (Some(before), Err(error)) = (always_ready, &result) {
            if !is_gone(error) {
                descriptor.source = before;
            }
        }
        if descriptor.file() != file {
            self.table.forget_pending_on(d);
        }
        result
    }

    /// Puts a handler into the ready queue.
    pub(super) fn call_next_turn(&mut self, key: Key) {
        self.ready.add(self.table.handler(key));
    }

    /// Puts a handler into the ready queue if its descriptor is known to be ready without the kernel.
    pub(super) fn call_if_ready(&mut self, key: Key) {
        let (handler, descriptor) = self.table.both(key);
        self.ready.add_if_ready(handler, descriptor);
    }

    /// Does what `call_if_ready` does, for all handlers on a descriptor.
    pub(super) fn call_if_ready_on(&mut self, d: u32) {
        let (descriptor, siblings) = self.table.on(d);
        siblings.for_each(|handler| self.ready.add_if_ready(handler, descriptor));
    }

    /// Attaches a handler to a virtual source.
    pub(super) fn watch(&mut self, key: Key, source: &VirtualSource) {
        let inbox = &self.place.inbox;
        let d = match source.watched_by(inbox) {
            Some(descriptor) => descriptor.index(),
            None => {
                let d = self.table.insert_descriptor(os::NO_FD);
                let descriptor = self.table.descriptor(d);
                let watched = Watched::new(source, inbox, descriptor.key);
                descriptor.source = ReadySource::By(Box::new(watched));
                d
            }
        };
        self.table.link(key, d);
    }
}
