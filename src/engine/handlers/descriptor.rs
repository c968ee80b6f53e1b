//! One descriptor that handlers are on: its file, and what the kernel was told of it.

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
    /// -1 for a virtual source.
    pub(crate) fd: RawFd,
    pub(super) key: Key,
    pub(crate) source: ReadySource,
    /// The first of the handlers on it. Each knows the next.
    pub(super) first: Option<HandlerIndex>,
    /// The handlers together, once there are several.
    pub(super) crowd: Option<Box<Crowd>>,
    kernel: Kernel,
    /// Its file was closed before its handlers were removed, and the number belongs to another descriptor now.
    pub(super) orphaned: bool,
    /// When the kernel was asked last, the number was closed or meant another file. The kernel is
    /// told nothing more of it until a handler is updated: the number may be a stranger's.
    pub(super) closed: bool,
    row: EventRow,
    pub(super) mark: Mark,
}

/// Context in which descriptors are registered.
pub(super) struct Place {
    /// The loop's inbox, through which the polling thread tells it of an event.
    pub(super) inbox: Arc<Inbox>,
    /// The loop's set may be inside another one. Files that must not be asked twice are then polled by the
    /// thread.
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

    /// Its readiness, if that can be known without the kernel.
    pub(crate) fn ready(&self) -> Option<Ready> {
        match &self.source {
            ReadySource::ByKernel | ReadySource::Diverted(_) | ReadySource::Refused => None,
            ReadySource::Always(_) => Some(Ready::READABLE | Ready::WRITABLE),
            ReadySource::By(watched) => Some(watched.ready()),
        }
    }

    /// Whether it is closed, as far as is known.
    pub(crate) fn is_closed(&self) -> bool {
        self.orphaned || self.closed
    }

    /// Takes the readiness of a virtual source that was set since the last look.
    pub(super) fn take_ready(&self) -> Ready {
        match &self.source {
            ReadySource::By(watched) => watched.take_ready(),
            _ => Ready::NONE,
        }
    }

    /// Tells a file that is watched from the next under the same number. Regular files count as one, since
    /// they are always ready for the same.
    pub(super) fn file(&self) -> Option<Key> {
        (!self.is_always_ready()).then_some(self.key)
    }

    pub(super) fn is_told_by_kernel(&self) -> bool {
        matches!(self.source, ReadySource::ByKernel)
    }

    pub(super) fn is_always_ready(&self) -> bool {
        matches!(self.source, ReadySource::Always(_))
    }

    /// The kernel does not watch it, and its number is closed or means another file by now, which only
    /// a look can tell.
    pub(super) fn is_file_gone(&self) -> bool {
        match &self.source {
            ReadySource::Always(file) => !file.is_of(self.fd),
            ReadySource::Diverted(diverted) => !diverted.is_of(self.fd),
            _ => false,
        }
    }

    /// Forgets all that is known of the file, since the number means another one.
    pub(super) fn forget_file(&mut self) {
        self.source = ReadySource::ByKernel;
        self.lose();
    }

    pub(super) fn diverted(&self) -> Option<&dyn Diverted> {
        match &self.source {
            ReadySource::Diverted(diverted) => Some(&***diverted),
            _ => None,
        }
    }

    /// Counts an event. True if it is time to ask the kernel whether the number still means the file that
    /// is watched. If a duplicate keeps a closed file open, nothing else tells.
    #[inline]
    pub(super) fn counts(&mut self, turn: u16, is_edge: bool) -> bool {
        self.row.add(turn, is_edge) && self.is_check_due(is_edge)
    }

    #[cold]
    fn is_check_due(&self, is_edge: bool) -> bool {
        // A one-shot is armed by a call that finds out by itself.
        let finds_out = !is_edge && self.kernel.primary_mode() == Some(Mode::Oneshot);
        !finds_out && self.row.is_check_due()
    }

    /// Whether it was reported ready in this turn.
    pub(super) fn has_fired_in(&self, turn: u16) -> bool {
        self.row.has_one_in(turn)
    }

    /// Asks the kernel whether the number still means the file that is watched. If it does not, the
    /// descriptor goes quiet.
    #[cold]
    pub(super) fn check(&mut self, poller: &Poller) -> bool {
        // The number of an orphan is of another descriptor in the set.
        if self.orphaned {
            return true;
        }
        let probed = self.kernel.probe(poller, self.fd, self.key);
        let gone = probed.is_err_and(|error| is_gone(&error));
        if gone {
            self.lose();
            self.closed = true;
        }
        !gone
    }

    #[inline]
    pub(super) fn kernel(&self) -> Kernel {
        self.kernel
    }

    /// Notes an event of `set`. True if that has disarmed it in the kernel.
    #[inline]
    pub(super) fn fired(&mut self, set: PollSet) -> bool {
        self.kernel.fired(set)
    }

    /// Tells the kernel, or the thread, what is wanted.
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
            // An error once, and whenever the handler is updated.
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
            self.lose();
        }
        result
    }

    /// If the file under the number has changed, tells the kernel of the new one: a C library that
    /// closes and opens means that.
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
            // If the file can be watched, a sandbox refuses.
            if let Ok(Some(file)) = always_ready(self.fd) {
                self.lose();
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
        // Of two sets, one may have the new file by now.
        let stale = if self.kernel.uses_edge_set() {
            OnStale::Repair
        } else {
            OnStale::Fail
        };
        self.lose();
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

    /// Forgets what the kernel knew. It has let go of the file, unless a duplicate keeps that open.
    /// Further events of it have a key that is unknown.
    fn lose(&mut self) {
        self.kernel = Kernel::NOTHING;
        self.key = Key::new(self.key.slot());
    }

    /// A set was rebuilt, without it.
    pub(super) fn forget_in(&mut self, set: PollSet) {
        self.kernel.forget(set);
    }

    /// Has the thread poll it, if it is a file that must not be asked twice. True if the thread did not
    /// poll it before.
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

    /// Takes it out of the kernel's sets.
    pub(super) fn release(&mut self, poller: &Poller) {
        if self.orphaned {
            // The number is another's.
            self.kernel = Kernel::NOTHING
        } else {
            self.kernel.release(poller, self.fd)
        }
    }
}
