//! One descriptor with handlers: its file, and its registration with the kernel.

use std::io;
use std::sync::Arc;

use super::crowd::{Crowd, Merged};
use super::dirty::Mark;
use super::handler::HandlerIndex;
use super::kernel::{Kernel, OnStale, is, is_gone};
use super::row::EventRow;
use super::source::ReadySource;
use crate::engine::inbox::Inbox;
use crate::id::Key;
use crate::os::{self, RawFd};
use crate::poller::{Diverted, PollSet, Poller, always_ready, divert};
use crate::{Interest, Mode, Ready};

pub(crate) struct Descriptor {
    /// The number, or `NO_FD` for a virtual source.
    pub(crate) fd: RawFd,
    pub(super) key: Key,
    pub(crate) source: ReadySource,
    /// The first handler. Each handler knows the next one.
    pub(super) first: Option<HandlerIndex>,
    /// The merged handlers, once there are several.
    pub(super) crowd: Option<Box<Crowd>>,
    kernel: Kernel,
    /// True if the file was closed before its handlers were removed, and the number now belongs to another
    /// descriptor.
    pub(super) orphaned: bool,
    /// True if the number was closed or meant another file when the kernel was last asked. The kernel is told
    /// nothing more until a handler is updated, because the number may belong to other code.
    pub(super) closed: bool,
    row: EventRow,
    pub(super) mark: Mark,
}

/// The loop's part in the registration of a descriptor.
pub(super) struct Place {
    /// The loop's inbox, to which the polling thread reports events.
    pub(super) inbox: Arc<Inbox>,
    /// True if the loop's set may be inside another one. The polling thread then polls the files that must not be
    /// polled twice.
    pub(super) nested: bool,
}

impl Descriptor {
    pub(super) fn new(fd: RawFd, key: Key) -> Descriptor {
        Descriptor {
            fd,
            key,
            source: ReadySource::ByKernel,
            first: None,
            crowd: None,
            kernel: Kernel::NOTHING,
            orphaned: false,
            closed: false,
            row: EventRow::default(),
            mark: Mark::default(),
        }
    }

    /// Returns the readiness, if it is known without the kernel.
    pub(crate) fn ready(&self) -> Option<Ready> {
        match &self.source {
            ReadySource::ByKernel | ReadySource::Diverted(_) | ReadySource::Refused => None,
            ReadySource::Always(_) => Some(Ready::READABLE | Ready::WRITABLE),
            ReadySource::By(watched) => Some(watched.ready()),
        }
    }

    /// Returns true if the loop has noticed that the file is closed.
    pub(crate) fn is_closed(&self) -> bool {
        self.orphaned || self.closed
    }

    /// Takes the readiness of a virtual source that was set since the last call of this.
    pub(super) fn take_ready(&self) -> Ready {
        match &self.source {
            ReadySource::By(watched) => watched.take_ready(),
            _ => Ready::NONE,
        }
    }

    /// Returns a key that changes with the watched file. Files that are always ready count as one file, because they
    /// have the same readiness.
    pub(super) fn file(&self) -> Option<Key> {
        (!self.is_always_ready()).then_some(self.key)
    }

    pub(super) fn is_told_by_kernel(&self) -> bool {
        matches!(self.source, ReadySource::ByKernel)
    }

    pub(super) fn is_always_ready(&self) -> bool {
        matches!(self.source, ReadySource::Always(_))
    }

    /// Returns true if the kernel does not watch the file and the number no longer means it. This asks the kernel.
    pub(super) fn is_file_gone(&self) -> bool {
        match &self.source {
            ReadySource::Always(file) => !file.is_of(self.fd),
            ReadySource::Diverted(diverted) => !diverted.is_of(self.fd),
            _ => false,
        }
    }

    /// Forgets everything about the file, because the number means another one.
    pub(super) fn forget_file(&mut self) {
        self.source = ReadySource::ByKernel;
        self.drop_registration();
    }

    pub(super) fn diverted(&self) -> Option<&dyn Diverted> {
        match &self.source {
            ReadySource::Diverted(diverted) => Some(&***diverted),
            _ => None,
        }
    }

    /// Counts an event. Returns true if it is time to ask the kernel whether the number still means the watched file.
    /// If a duplicate keeps a closed file open, nothing else shows that.
    #[inline]
    pub(super) fn counts(&mut self, turn: u16, is_edge: bool) -> bool {
        self.row.add(turn, is_edge) && self.is_check_due(is_edge)
    }

    #[cold]
    fn is_check_due(&self, is_edge: bool) -> bool {
        // The call that arms a one-shot finds out by itself.
        let finds_out = !is_edge && self.kernel.primary_mode() == Some(Mode::Oneshot);
        !finds_out && self.row.is_check_due(is_edge)
    }

    /// Returns true if an event was reported in this turn.
    pub(super) fn has_fired_in(&self, turn: u16) -> bool {
        self.row.has_one_in(turn)
    }

    /// Asks the kernel whether the number still means the watched file. If it does not, the descriptor is closed
    /// from here on.
    #[cold]
    pub(super) fn check(&mut self, poller: &Poller) -> bool {
        // The number of an orphan belongs to another descriptor of the set.
        if self.orphaned {
            return true;
        }
        let probed = self.kernel.probe(poller, self.fd, self.key);
        let gone = probed.is_err_and(|error| is_gone(&error));
        if gone {
            self.drop_registration();
            self.closed = true;
        }
        !gone
    }

    #[inline]
    pub(super) fn kernel(&self) -> Kernel {
        self.kernel
    }

    /// Notes an event of `set`. Returns true if the kernel has disarmed the descriptor with it.
    #[inline]
    pub(super) fn fired(&mut self, set: PollSet) -> bool {
        self.kernel.fired(set)
    }

    /// Tells the kernel, or the polling thread, which readiness is wanted.
    #[inline(always)]
    pub(super) fn sync(
        &mut self,
        poller: &Poller,
        place: &Place,
        wanted: Merged,
        force: bool,
        stale: OnStale,
    ) -> io::Result<()> {
        if self.orphaned || self.closed {
            return Ok(());
        }
        match &self.source {
            ReadySource::ByKernel => {}
            ReadySource::Diverted(diverted) => {
                return diverted.ask(wanted.level, wanted.edge, force);
            }
            ReadySource::Always(_) | ReadySource::By(_) => return Ok(()),
            // This reports an error once, and whenever the handler is updated.
            ReadySource::Refused => return poller.allows(self.fd),
        }
        let known = self.kernel.is_known();
        let on = (self.fd, self.key);
        let mut result = self.kernel.tell(poller, on, wanted, force, stale);
        if stale == OnStale::Repair {
            result = result.or_else(|error| self.repair(poller, place, wanted, error));
        }
        self.closed = result.as_ref().is_err_and(|error| is(error, os::EBADF));
        if known && !self.kernel.is_known() && self.diverted().is_none() {
            self.drop_registration();
        }
        result
    }

    /// Tells the kernel of the new file if the number means another one. A C library that closes a descriptor and
    /// opens another under its number expects that.
    #[cold]
    fn repair(
        &mut self,
        poller: &Poller,
        place: &Place,
        wanted: Merged,
        error: io::Error,
    ) -> io::Result<()> {
        let before = (self.key, self.kernel);
        let repaired = if self.kernel.is_known() && is(&error, os::ENOENT) {
            self.tell_of_new_file(poller, place, wanted)
        } else {
            Err(error)
        };
        let Err(error) = repaired else {
            return Ok(());
        };
        if is(&error, os::EPERM) {
            // A sandbox may give this error, too, for files that are not always ready.
            if let Ok(Some(file)) = always_ready(self.fd) {
                self.drop_registration();
                self.source = ReadySource::Always(Box::new(file));
                return Ok(());
            }
        }
        (self.key, self.kernel) = before;
        Err(error)
    }

    fn tell_of_new_file(
        &mut self,
        poller: &Poller,
        place: &Place,
        wanted: Merged,
    ) -> io::Result<()> {
        // If both sets are in use, one of them may have the new file already.
        let stale = if self.kernel.uses_edge_set() {
            OnStale::Repair
        } else {
            OnStale::Fail
        };
        self.drop_registration();
        if place.nested | wanted.interest().contains(Interest::PRIORITY) {
            self.divert(poller, place, wanted.interest())?;
        }
        match self.diverted() {
            Some(diverted) => diverted.ask(wanted.level, wanted.edge, true),
            None => {
                let on = (self.fd, self.key);
                self.kernel.tell(poller, on, wanted, false, stale)
            }
        }
    }

    /// Forgets the registration, because the kernel has dropped it with the file. If a duplicate keeps the file open,
    /// its further events have a key that no descriptor has.
    fn drop_registration(&mut self) {
        self.kernel = Kernel::NOTHING;
        self.key = Key::new(self.key.slot());
    }

    /// Notes that a set was rebuilt and does not contain the descriptor.
    pub(super) fn forget_in(&mut self, set: PollSet) {
        self.kernel.forget(set);
    }

    /// Gives a file that must not be polled twice to the polling thread. Returns true if the thread did not have it
    /// before.
    #[cold]
    pub(super) fn divert(
        &mut self,
        poller: &Poller,
        place: &Place,
        interest: Interest,
    ) -> io::Result<bool> {
        if self.orphaned || self.closed || !self.is_told_by_kernel() {
            return Ok(false);
        }
        let Some(diverted) = divert(self.fd, interest, &place.inbox, self.key)? else {
            return Ok(false);
        };
        self.release(poller);
        self.source = ReadySource::Diverted(Box::new(diverted));
        Ok(true)
    }

    /// Takes the descriptor out of the kernel's sets.
    pub(super) fn release(&mut self, poller: &Poller) {
        if self.orphaned {
            // The number belongs to another descriptor.
            self.kernel = Kernel::NOTHING
        } else {
            self.kernel.release(poller, self.fd)
        }
    }
}
