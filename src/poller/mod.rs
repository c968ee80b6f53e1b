//! The kernel's side of a loop: sets of descriptors under keys. The poller does not know handlers, which
//! belong to the engine.
//!
//! Each kind of set is a [`Backend`] in a file of its own, and [`Set::new`] chooses one. A [`Poller`] waits on
//! one set. Where the kernel takes a descriptor only once per set, a second one holds the edges.
//!
//! After a system call the processor no longer predicts where functions return to, and the first return
//! costs as much as a small call. The way from the kernel to the engine is therefore inlined.

mod backend;
#[cfg(epoll)]
mod consumed;
#[cfg(epoll)]
mod epoll;
#[cfg(epoll)]
mod eventfd;
mod file;
// The tests run on each system.
#[cfg(all(portable, any(test, not(target_pointer_width = "64"))))]
#[cfg_attr(target_pointer_width = "64", allow(dead_code))]
mod keys;
#[cfg(epoll)]
mod poll_thread;
#[cfg(portable)]
mod portable;
#[cfg(feature = "__testing")]
pub mod testing;
#[cfg(epoll)]
mod timerfd;

use std::io;
use std::sync::{OnceLock, Weak};
use std::time::Duration;

pub(crate) use backend::{BATCH, Events, PollSet, ReadyEvent, Wake, Watch};
use backend::{Backend, Buffer, EDGES, Found, NESTED, Notices};
#[cfg(epoll)]
use epoll::Epoll as Native;
#[cfg(all(epoll, feature = "futures"))]
pub(crate) use file::is_ready;
#[cfg(unix)]
pub(crate) use file::link;
pub(crate) use file::{FileId, always_ready, borrow, exists};
#[cfg(not(epoll))]
use portable::Portable as Native;

use crate::id::Key;
use crate::os::{self, RawFd};
#[cfg(pollable)]
use crate::os::{AsRawFd, BorrowedFd};
use crate::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use crate::{Interest, Mode, Ready};

/// A choice of poller. [`Builder::poller`](crate::Builder::poller) makes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PollerKind {
    /// Linux' own epoll, with one system call per wait. This is the default on Linux. Before Linux 5.11, and
    /// where a sandbox forbids epoll_pwait2, a wait for a timer takes a second system call.
    #[cfg(epoll)]
    Epoll,
    /// The `polling` crate: kqueue and others, and also epoll. This is the default on all other systems.
    #[cfg(portable)]
    Polling,
}

impl PollerKind {
    /// The system's best poller.
    #[cfg(epoll)]
    pub(crate) const BEST: PollerKind = PollerKind::Epoll;
    /// The system's best poller.
    #[cfg(not(epoll))]
    pub(crate) const BEST: PollerKind = PollerKind::Polling;
}

/// The set that a loop waits on. The best kind is called directly, so that its wait is inlined.
enum Set {
    Native(Native),
    /// Any other kind, which is called through a table.
    #[allow(dead_code)] // Some systems have only one kind.
    Other(Box<dyn Backend>),
}

impl Set {
    fn new(kind: PollerKind) -> io::Result<Set> {
        match kind {
            PollerKind::BEST => Ok(Set::Native(Native::new()?)),
            #[cfg(all(epoll, portable))]
            PollerKind::Polling => Ok(Set::Other(Box::new(portable::Portable::new()?))),
        }
    }

    fn backend_mut(&mut self) -> &mut dyn Backend {
        match self {
            Set::Native(it) => it,
            Set::Other(it) => &mut **it,
        }
    }

    fn backend(&self) -> &dyn Backend {
        match self {
            Set::Native(it) => it,
            Set::Other(it) => &**it,
        }
    }
}

pub(crate) struct Poller {
    main: Set,
    edges: OnceLock<Box<dyn Backend>>,
    /// True while the second set is in the main one.
    nested: AtomicBool,
    /// True if the poller has made descriptors of its own since it was built.
    grown: AtomicBool,
    /// The number of changes that the kernel was told of.
    changes: AtomicU64,
}

impl Poller {
    pub(crate) fn new(kind: PollerKind) -> io::Result<Poller> {
        Set::new(kind).map(Poller::on)
    }

    fn on(main: Set) -> Poller {
        Poller {
            main,
            edges: OnceLock::new(),
            nested: AtomicBool::new(false),
            grown: AtomicBool::new(false),
            changes: AtomicU64::new(0),
        }
    }

    /// Lets a signal end a wait that it interrupts.
    pub(crate) fn set_interruptible(&mut self) -> io::Result<()> {
        self.main.backend_mut().set_interruptible()
    }

    /// Returns an error if the kernel would never report the readiness in `watch`.
    #[inline]
    pub(crate) fn supports(&self, watch: Watch) -> io::Result<()> {
        match self.main.backend().unsupported_reason(watch) {
            None => Ok(()),
            Some(what) => Err(io::Error::new(io::ErrorKind::Unsupported, what)),
        }
    }

    /// Returns an error if the loop has made the descriptor for itself.
    #[inline]
    pub(crate) fn allows(&self, fd: RawFd) -> io::Result<()> {
        if self.owns(fd) || thread_owns(fd) {
            let what = "the descriptor is the loop's own";
            return Err(io::Error::new(io::ErrorKind::Unsupported, what));
        }
        Ok(())
    }

    fn owns(&self, fd: RawFd) -> bool {
        self.main.backend().owns(fd) || self.edges.get().is_some_and(|edges| edges.owns(fd))
    }

    #[inline]
    pub(crate) fn add(&self, set: PollSet, fd: RawFd, key: Key, watch: Watch) -> io::Result<()> {
        self.set_for(set, fd)?.add(fd, key.to_u64(), watch)
    }

    #[inline]
    pub(crate) fn modify(&self, set: PollSet, fd: RawFd, key: Key, watch: Watch) -> io::Result<()> {
        self.set_for(set, fd)?.modify(fd, key.to_u64(), watch)
    }

    #[inline]
    pub(crate) fn delete(&self, set: PollSet, fd: RawFd) -> io::Result<()> {
        self.set_for(set, fd)?.delete(fd)
    }

    /// Returns a set for a change of a handler's descriptor, and counts the change.
    #[inline]
    fn set_for(&self, set: PollSet, fd: RawFd) -> io::Result<&dyn Backend> {
        // A descriptor that the poller made later may have a number whose handler's descriptor was closed.
        // The handler must not reach it.
        if self.grown.load(Ordering::Relaxed) && self.owns(fd) {
            return Err(io::Error::from_raw_os_error(os::EBADF));
        }
        // Only changed under the engine's lock, and a read-modify-write would cost more.
        let changes = self.changes.load(Ordering::Relaxed);
        self.changes.store(changes + 1, Ordering::Relaxed);
        match set {
            PollSet::Primary => Ok(self.main.backend()),
            PollSet::Edge => self.edges(),
        }
    }

    pub(crate) fn changes(&self) -> u64 {
        self.changes.load(Ordering::Relaxed)
    }

    /// Waits until something is ready, `wake` is called, or the time is up. After a failure, `events` has the
    /// events that came before it.
    #[inline(always)]
    pub(crate) fn wait(&self, events: &mut Events, timeout: Option<Duration>) -> io::Result<()> {
        let Events { buffer, found } = events;
        found.set = PollSet::Primary;
        found.events.clear();
        found.notices = Notices::default();
        match &self.main {
            Set::Native(set) => set.wait(buffer, timeout, found)?,
            Set::Other(set) => set.wait(buffer, timeout, found)?,
        }
        if found.notices.edges {
            return self.look_for_edges(buffer, found);
        }
        Ok(())
    }

    #[inline(never)]
    fn look_for_edges(&self, buffer: &mut Buffer, found: &mut Found) -> io::Result<()> {
        found.set = PollSet::Edge;
        match self.edges.get() {
            Some(edges) => edges.wait(buffer, Some(Duration::ZERO), found),
            None => Ok(()),
        }
    }

    /// Returns the wake, which exists as long as the poller.
    pub(crate) fn waker(&self) -> Weak<dyn Wake> {
        self.main.backend().waker()
    }

    /// Makes the poller's own descriptor readable after `delay`. `None` cancels that.
    pub(crate) fn set_alarm(&self, delay: Option<Duration>) -> io::Result<()> {
        self.main.backend().set_alarm(delay)
    }

    /// Makes the next wait after the system clock was set report that, once. Only called under the engine's
    /// lock.
    pub(crate) fn watch_clock(&self) -> io::Result<()> {
        self.grown.store(true, Ordering::Relaxed);
        self.main.backend().watch_clock()
    }

    /// Replaces a set by an empty one under the same number. Returns false if the backend cannot do this. If
    /// it fails, nothing has changed. Only the driver calls this, under the engine's lock.
    pub(crate) fn rebuild(&self, set: PollSet) -> io::Result<bool> {
        let main = self.main.backend();
        let edges = self.edges.get();
        let nested = edges.and_then(|edges| number(&**edges));
        match (set, edges, nested) {
            (PollSet::Primary, ..) => {
                let rebuilt = main.rebuild(nested)?;
                if rebuilt {
                    self.nested.store(true, Ordering::Relaxed);
                }
                Ok(rebuilt)
            }
            (PollSet::Edge, Some(edges), Some(number)) if edges.is_rebuildable() => {
                // The set is in the main set. It must not be there while its number changes its meaning.
                main.delete(number)?;
                self.nested.store(false, Ordering::Relaxed);
                let rebuilt = edges.rebuild(None);
                match self.nest(&**edges) {
                    Ok(()) => rebuilt,
                    // Reports success, so that the set is used, and nested again, as soon as possible.
                    Err(_) => Ok(true),
                }
            }
            _ => Ok(false),
        }
    }

    /// Returns the second set, which is nested in the main one. Only called under the engine's lock.
    fn edges(&self) -> io::Result<&dyn Backend> {
        if let Some(edges) = self.edges.get() {
            if !self.nested.load(Ordering::Relaxed) {
                self.nest(&**edges)?;
            }
            return Ok(&**edges);
        }
        let edges = self.main.backend().second()?;
        self.nest(&*edges)?;
        self.grown.store(true, Ordering::Relaxed);
        Ok(&**self.edges.get_or_init(|| edges))
    }

    fn nest(&self, edges: &dyn Backend) -> io::Result<()> {
        let number = number(edges).ok_or(io::ErrorKind::Unsupported)?;
        self.main.backend().add(number, EDGES, NESTED)?;
        self.nested.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// Returns the descriptor that a host watches.
    #[cfg(pollable)]
    pub(crate) fn as_fd(&self) -> BorrowedFd<'_> {
        self.main.backend().as_fd()
    }
}

/// Returns the number of a set, if it has one.
#[cfg(pollable)]
fn number(set: &dyn Backend) -> Option<RawFd> {
    Some(set.as_fd().as_raw_fd())
}

#[cfg(not(pollable))]
fn number(_: &dyn Backend) -> Option<RawFd> {
    None
}

/// A descriptor that a thread polls in the place of the sets, until this is dropped.
pub(crate) trait Diverted: Send + Sync {
    /// Returns whether the number still means the file.
    fn is_of(&self, fd: RawFd) -> bool;

    /// Polls for this readiness from now on, until there is something to report. With `again`, readiness that
    /// edge-triggered handlers have seen counts as new, and the thread looks for it at once.
    fn ask(&self, level: Interest, edge: Interest, again: bool) -> io::Result<()>;

    /// Takes the findings for handlers that wait for this readiness. Findings for paused handlers are kept.
    /// `has_level` is true if some of the handlers are not edge-triggered.
    fn take(&self, level: Interest, edge: Interest, has_level: bool) -> DivertedReady;

    /// Keeps readiness that a handler of this mode was not called for, because it was paused or is to be
    /// called again.
    fn put_back(&self, mode: Mode, ready: Ready);
}

/// The findings for level-triggered and one-shot handlers, and the new findings for edge-triggered ones.
#[derive(Default, Clone, Copy)]
pub(crate) struct DivertedReady {
    pub(crate) level: Ready,
    pub(crate) edge: Ready,
}

/// A receiver of reports that a diverted descriptor is ready.
pub(crate) trait Report: Send + Sync {
    #[cfg_attr(not(epoll), allow(dead_code))] // Nothing is diverted there.
    fn report(&self, key: Key);
}

#[cfg(epoll)]
pub(crate) use poll_thread::{divert, owns as thread_owns};

/// Diverts a descriptor to a thread. Only Linux is known to have descriptors that must not be polled twice.
#[cfg(not(epoll))]
pub(crate) fn divert(
    _: RawFd,
    _: Interest,
    _: &std::sync::Arc<impl Report>,
    _: Key,
) -> io::Result<Option<Box<dyn Diverted>>> {
    Ok(None)
}

#[cfg(not(epoll))]
fn thread_owns(_: RawFd) -> bool {
    false
}

#[cfg(all(test, epoll, pollable))]
mod tests {
    use std::io::Write;
    use std::os::unix::net::UnixStream;

    use super::*;

    const KINDS: &[PollerKind] = &[
        PollerKind::Epoll,
        #[cfg(portable)]
        PollerKind::Polling,
    ];

    #[test]
    fn a_loop_without_a_double_calls_the_systems_own_backend_directly() {
        let reactor = crate::Reactor::new().unwrap();
        assert!(matches!(reactor.core.poller.main, Set::Native(_)));
    }

    #[test]
    fn a_descriptor_of_the_loops_own_is_refused_however_late_it_was_made() {
        for &kind in KINDS {
            let poller = Poller::new(kind).unwrap();
            poller.edges().unwrap();
            poller.watch_clock().unwrap();
            let main = poller.as_fd().as_raw_fd();
            let info = std::fs::read_to_string(format!("/proc/self/fdinfo/{main}")).unwrap();
            let targets = info.lines().filter_map(|line| line.strip_prefix("tfd:"));
            let number = |line: &str| line.split_whitespace().next().unwrap().parse().unwrap();
            let mut own: Vec<RawFd> = targets.map(number).collect();
            // The wake, the alarm, the second set and the descriptor that watches the clock.
            assert!(own.len() >= 4, "{info}");
            own.push(main);
            for own in own {
                let refused = poller.allows(own).unwrap_err();
                assert_eq!(refused.kind(), io::ErrorKind::Unsupported);
                let changed = poller.delete(PollSet::Primary, own).unwrap_err();
                assert_eq!(changed.raw_os_error(), Some(os::EBADF));
            }
            let (socket, _other) = UnixStream::pair().unwrap();
            poller.allows(socket.as_raw_fd()).unwrap();
        }
    }

    #[test]
    fn a_wait_finds_what_is_ready() {
        for &kind in KINDS {
            let poller = Poller::new(kind).unwrap();
            let (socket, mut other) = UnixStream::pair().unwrap();
            let key = Key::from_u64(7);
            let fd = socket.as_raw_fd();
            poller.add(PollSet::Primary, fd, key, NESTED).unwrap();
            other.write_all(b"x").unwrap();
            let mut events = Events::new();
            poller.wait(&mut events, None).unwrap();
            let found = events.found.events;
            assert_eq!(found.len(), 1, "{kind:?}");
            assert!(found[0].key == key, "{kind:?}");
        }
    }
}
