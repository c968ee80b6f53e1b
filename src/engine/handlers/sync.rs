//! Handlers and the kernel: telling it what changed, at once or before the next wait.

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

/// Result of a change: the error is the kernel's, about this descriptor.
pub(crate) type Changed = Result<(), (RawFd, io::Error)>;

pub(super) struct Synced {
    pub(super) table: Table,
    pub(super) ready: ReadyQueue,
    dirty: DirtyList,
    pub(super) place: Place,
    /// A turn is calling callbacks. Their changes are gathered until the next wait.
    pub(super) defer: bool,
    /// The number of the turn.
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

    /// The interest of the handlers on a descriptor has changed. Within a turn the kernel is told before
    /// the next wait, unless it might refuse, which the caller has to know.
    pub(super) fn change(&mut self, poller: &Poller, d: u32, force: bool) -> io::Result<()> {
        if self.defer {
            // Only edge handlers, which are forced, may need another set than the primary one.
            let kernel = self.table.descriptor(d).kernel();
            let is_in_primary = !force && kernel.is_in_primary();
            if is_in_primary || !kernel.grows(self.table.wanted(d)) {
                self.mark(d, force);
                return Ok(());
            }
        }
        self.sync(poller, d, force)
    }

    /// Tells the kernel the interest of the handlers on a descriptor, whatever file its number means now.
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

    /// Has the kernel told of a descriptor before the next wait.
    #[inline(never)]
    pub(super) fn mark(&mut self, d: u32, force: bool) {
        let mark = &mut self.table.descriptor(d).mark;
        self.dirty.add(d, mark, force);
    }

    /// Whether something changed since the last wait.
    #[inline]
    pub(super) fn is_dirty(&self) -> bool {
        !self.dirty.is_empty()
    }

    /// Tells the kernel what changed since the last wait. A change that it refuses is an error once, and
    /// is tried again before every wait, so that all else goes on.
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

    /// Like `flush`, for callers that cannot report errors. Gives the first one that was not reported.
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
                // If it was closed, it goes quiet.
                _ => mark.set_reported(false),
            }
        }
        self.dirty.put_back(listed);
        unreported
    }

    /// Makes a set again, with the descriptors that are alive.
    ///
    /// If a descriptor was closed before its handler was removed, while a duplicate keeps its file open,
    /// it cannot be taken out of the kernel's set any more: no number means it. While the file is ready,
    /// the loop never sleeps.
    pub(super) fn rebuild_set(&mut self, poller: &Poller, set: PollSet) -> io::Result<()> {
        let all = self.table.descriptors();
        // First, while the kernel still knows the file of each: a number that has come to mean a stranger's
        // must not be put into the fresh set.
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

    /// From now on the loop's descriptor may be watched.
    #[cfg(pollable)]
    pub(super) fn nest(&mut self, poller: &Poller) {
        self.place.nested = true;
        for d in self.table.descriptors() {
            // Without a thread it stays as it is. At once, since the loop may be asleep.
            let diverted = self.divert(poller, d);
            if diverted.is_ok() && self.table.descriptor(d).diverted().is_some() {
                let _ = self.sync(poller, d, true);
            }
        }
    }

    /// Has the thread poll a descriptor, if it is one that must not be asked twice.
    #[cold]
    pub(super) fn divert(&mut self, poller: &Poller, d: u32) -> io::Result<()> {
        let interest = self.table.wanted(d).interest();
        let descriptor = self.table.descriptor(d);
        if descriptor.divert(poller, &self.place, interest)? {
            self.mark(d, true);
        }
        Ok(())
    }

    /// Like `divert`, for a file that the kernel was told nothing of yet. A single look at that harms
    /// none.
    #[cold]
    pub(super) fn divert_new(&mut self, poller: &Poller, d: u32) -> io::Result<()> {
        let interest = self.table.wanted(d).interest();
        if self.place.nested | interest.contains(Interest::PRIORITY) {
            self.divert(poller, d)
        } else {
            Ok(())
        }
    }

    /// Whether the number of a descriptor means another file by now. If it does, the old one is forgotten.
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

    /// Registers a descriptor with the kernel once more, whatever file its number means now.
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

    /// Has a handler called in the next turn.
    pub(super) fn call_next_turn(&mut self, key: Key) {
        self.ready.add(self.table.handler(key));
    }

    /// Has a handler called if its descriptor is known to be ready without the kernel.
    pub(super) fn call_if_ready(&mut self, key: Key) {
        let (handler, descriptor) = self.table.both(key);
        self.ready.add_if_ready(handler, descriptor);
    }

    /// Does that for all handlers on a descriptor.
    pub(super) fn call_if_ready_on(&mut self, d: u32) {
        let (descriptor, siblings) = self.table.on(d);
        siblings.for_each(|handler| self.ready.add_if_ready(handler, descriptor));
    }

    /// Puts a handler on a virtual source.
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
