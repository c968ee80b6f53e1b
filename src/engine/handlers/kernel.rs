//! The registration of one descriptor in the poller's two sets.

use std::io;

use super::crowd::Merged;
use crate::Mode;
use crate::id::Key;
use crate::os::{self, RawFd};
use crate::poller::{PollSet, Poller, Watch};

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Kernel {
    primary: Entry,
    edges: Entry,
}

/// The registration of a descriptor in one set.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Entry {
    Absent,
    Armed(Watch),
    /// A one-shot that has fired. It is still in the set, and reports nothing.
    Disarmed,
}

/// The reaction to a stale registration, whose number was closed or means another file.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum OnStale {
    /// Register the file that the number means now.
    Repair,
    /// Return the kernel's error.
    Fail,
}

impl Kernel {
    pub(super) const NOTHING: Kernel = Kernel {
        primary: Entry::Absent,
        edges: Entry::Absent,
    };

    /// Returns true if one of the sets has the descriptor.
    pub(super) fn is_known(self) -> bool {
        self != Kernel::NOTHING
    }

    /// Returns true if the primary set has the descriptor.
    #[inline]
    pub(super) fn is_in_primary(self) -> bool {
        self.primary != Entry::Absent
    }

    pub(super) fn uses_edge_set(self) -> bool {
        self.edges != Entry::Absent
    }

    /// Returns the mode in the primary set, if the descriptor is armed there.
    #[inline]
    pub(super) fn primary_mode(self) -> Option<Mode> {
        match self.primary {
            Entry::Armed(watch) => Some(watch.mode),
            _ => None,
        }
    }

    /// Returns true if events of `set` are for the edge-triggered handlers, and false if they are for all others.
    #[inline]
    pub(super) fn reports_edges(self, set: PollSet) -> bool {
        set == PollSet::Edge || self.primary_mode() == Some(Mode::Edge)
    }

    /// Notes an event of `set`. Returns true if the kernel has disarmed the descriptor with it.
    #[inline]
    pub(super) fn fired(&mut self, set: PollSet) -> bool {
        let disarmed = set == PollSet::Primary && self.primary_mode() == Some(Mode::Oneshot);
        if disarmed {
            self.primary = Entry::Disarmed;
        }
        disarmed
    }

    /// Returns true if `wanted` adds the descriptor to a set. Only then may the kernel refuse.
    pub(super) fn grows(self, wanted: Merged) -> bool {
        let (primary, edges) = wanted.split();
        (self.primary == Entry::Absent && primary.is_some())
            || (self.edges == Entry::Absent && edges.is_some())
    }

    /// Makes a change that changes nothing. An error shows that the number is closed or means another file.
    pub(super) fn probe(self, poller: &Poller, fd: RawFd, key: Key) -> io::Result<()> {
        match (self.primary, self.edges) {
            (Entry::Armed(watch), _) => poller.modify(PollSet::Primary, fd, key, watch),
            (_, Entry::Armed(watch)) => poller.modify(PollSet::Edge, fd, key, watch),
            _ => Ok(()),
        }
    }

    /// Tells the kernel the difference to what is wanted, with as few calls as possible. With `force`, makes at
    /// least one call, so that the kernel reports again what is ready now.
    #[inline(always)]
    pub(super) fn tell(
        &mut self,
        poller: &Poller,
        (fd, key): (RawFd, Key),
        wanted: Merged,
        force: bool,
        stale: OnStale,
    ) -> io::Result<()> {
        let (primary, edges) = wanted.split();
        let result = self
            .primary
            .tell(poller, PollSet::Primary, (fd, key), primary, force, stale);
        // Handlers of both kinds on one descriptor are rare.
        if self.edges != Entry::Absent || edges.is_some() {
            return result
                .and_then(|()| self.tell_of_edges(poller, (fd, key), edges, force, stale));
        }
        result
    }

    #[inline(never)]
    fn tell_of_edges(
        &mut self,
        poller: &Poller,
        on: (RawFd, Key),
        wanted: Option<Watch>,
        force: bool,
        stale: OnStale,
    ) -> io::Result<()> {
        self.edges
            .tell(poller, PollSet::Edge, on, wanted, force, stale)
    }

    /// Notes that a set was rebuilt and does not contain the descriptor.
    pub(super) fn forget(&mut self, set: PollSet) {
        match set {
            PollSet::Primary => self.primary = Entry::Absent,
            PollSet::Edge => self.edges = Entry::Absent,
        }
    }

    /// Takes the descriptor out of both sets. A closed file is out of them already.
    pub(super) fn release(&mut self, poller: &Poller, fd: RawFd) {
        for (set, known) in [
            (PollSet::Primary, self.primary),
            (PollSet::Edge, self.edges),
        ] {
            if known != Entry::Absent {
                let _ = poller.delete(set, fd);
            }
        }
        *self = Kernel::NOTHING;
    }
}

impl Entry {
    #[inline(always)]
    fn tell(
        &mut self,
        poller: &Poller,
        set: PollSet,
        (fd, key): (RawFd, Key),
        wanted: Option<Watch>,
        force: bool,
        stale: OnStale,
    ) -> io::Result<()> {
        let result = match (*self, wanted) {
            (Entry::Absent, None) => return Ok(()),
            (Entry::Disarmed, None) if !force => return Ok(()),
            (Entry::Armed(watch), Some(wanted)) if watch == wanted && !force => return Ok(()),
            (_, None) => poller.delete(set, fd),
            (Entry::Absent, Some(wanted)) => poller.add(set, fd, key, wanted),
            (_, Some(wanted)) => poller.modify(set, fd, key, wanted),
        };
        let result = match (result, wanted, stale) {
            (Err(error), Some(wanted), OnStale::Repair) if is(&error, os::EEXIST) => {
                poller.modify(set, fd, key, wanted)
            }
            (Err(error), None, OnStale::Repair) if is(&error, os::EBADF) => Ok(()),
            (result, ..) => result,
        };
        match result {
            Ok(()) => *self = wanted.map_or(Entry::Absent, Entry::Armed),
            Err(ref error) if is(error, os::EBADF) && stale == OnStale::Repair => {
                *self = Entry::Absent;
            }
            Err(_) => {}
        }
        result
    }
}

pub(super) fn is(error: &io::Error, errno: i32) -> bool {
    error.raw_os_error() == Some(errno)
}

/// Returns true if the error shows that a number is closed, or means another file.
pub(super) fn is_gone(error: &io::Error) -> bool {
    is(error, os::ENOENT) || is(error, os::EBADF)
}
