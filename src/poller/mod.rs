//! Who asks the kernel. A [`Poller`] is a set of descriptors under keys; [`Poller::wait`] tells
//! which are ready. What that means for handlers is the engine's business.
//!
//! After a call of the kernel the processor no longer knows where functions return to, and the first
//! return costs as much as a small call. So what is between such a call and the work that goes on is
//! inlined, here and in the engine.
#![cfg_attr(loom, allow(dead_code))]

#[cfg(epoll)]
mod clock;
#[cfg(epoll)]
mod epoll;
#[cfg(epoll)]
mod eventfd;
#[cfg(loom)]
mod loom;
#[cfg_attr(not(epoll), path = "no_poll_thread.rs")]
pub(crate) mod poll_thread;
#[cfg(portable)]
mod portable;

use std::io;
use std::sync::{OnceLock, Weak};
use std::time::Duration;

use crate::id::Key;
use crate::os::{self, BorrowedFd, RawFd};
#[cfg(any(epoll, pollable))]
use crate::os::{AsFd, AsRawFd};
#[cfg(pollable)]
use crate::sync::atomic::AtomicBool;
use crate::sync::atomic::{AtomicU64, Ordering};
use crate::{Interest, Mode, Ready};

/// Which poller a reactor asks; see [`Builder::poller`](crate::Builder::poller).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PollerKind {
    /// Linux' epoll, bare: one system call per wait. The default there. (Before Linux 5.11, and
    /// where a sandbox forbids epoll_pwait2, a wait for a timer takes a second one.)
    #[cfg(epoll)]
    Epoll,
    /// The `polling` crate: kqueue and others, and epoll too. The default everywhere else.
    #[cfg(portable)]
    Polling,
    /// No kernel at all, for `tests/loom`.
    #[cfg(loom)]
    Loom,
}

impl PollerKind {
    /// What this system does best.
    pub(crate) const BEST: PollerKind = {
        #[cfg(epoll)]
        {
            PollerKind::Epoll
        }
        #[cfg(all(portable, not(epoll)))]
        {
            PollerKind::Polling
        }
        #[cfg(loom)]
        {
            PollerKind::Loom
        }
    };
}

/// What one registration asks of the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Watch {
    pub(crate) interest: Interest,
    pub(crate) mode: Mode,
}

/// Two sets, because the kernel takes a descriptor only once per set, and a descriptor may have
/// level-triggered and edge-triggered handlers at once. Nobody who does not mix needs the second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PollSet {
    Primary,
    Edge,
}

/// One descriptor is ready.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ReadyEvent {
    pub(crate) set: PollSet,
    pub(crate) key: Key,
    pub(crate) ready: Ready,
}

/// Keys of the poller's own, from `OURS` on. Table indices stay below 2^32 - 16, so no handler has one of these.
const OURS: u64 = u64::MAX - 15;
const WAKE: u64 = u64::MAX - 1;
const ALARM: u64 = u64::MAX - 2;
const EDGES: u64 = u64::MAX - 3;
#[cfg(epoll)]
const CLOCK: u64 = u64::MAX - 4;

/// How the poller's own descriptors are in the main set.
#[cfg(any(epoll, pollable))]
const NESTED: Watch = Watch {
    interest: Interest::READABLE,
    mode: Mode::Level,
};

/// How many events one wait fetches; the kernel serves the rest first next time.
pub(crate) const BATCH: usize = 1024;

/// Ends the wait that is going on, or else the next one.
///
/// May be called on any thread, and in a signal handler: so may be the drop of what implements this.
pub(crate) trait Wake: Send + Sync {
    fn wake(&self) -> io::Result<()>;
}

pub(crate) struct Poller {
    main: Backend,
    edges: OnceLock<Backend>,
    /// The second set is in the main one.
    #[cfg(pollable)]
    nested: AtomicBool,
    #[cfg(epoll)]
    clock: OnceLock<clock::ClockWatch>,
    /// How often the kernel was told of a change.
    changes: AtomicU64,
    #[cfg(feature = "__faults")]
    pub(crate) faults: faults::Faults,
}

enum Backend {
    #[cfg(epoll)]
    Epoll(epoll::Epoll),
    #[cfg(portable)]
    Portable(portable::Portable),
    #[cfg(loom)]
    Loom(loom::Loom),
    #[cfg(feature = "__faults")]
    Faulty(faults::Faulty),
}

/// Where [`Poller::wait`] puts what it finds.
pub(crate) struct Events {
    raw: EventBuf,
    pub(crate) fired: Vec<ReadyEvent>,
    pub(crate) notices: Notices,
}

enum EventBuf {
    #[cfg(epoll)]
    Epoll(epoll::Buffer),
    #[cfg(portable)]
    Portable(portable::Buffer),
    #[cfg(loom)]
    Loom,
}

/// Calls the same method on whichever backend it is.
macro_rules! each {
    ($backend:expr, $it:ident => $call:expr) => {
        match $backend {
            #[cfg(epoll)]
            Backend::Epoll($it) => $call,
            #[cfg(portable)]
            Backend::Portable($it) => $call,
            #[cfg(loom)]
            Backend::Loom($it) => $call,
            #[cfg(feature = "__faults")]
            Backend::Faulty($it) => $call,
        }
    };
}

// Below the macro, which it uses.
#[cfg(feature = "__faults")]
pub mod faults;

impl Backend {
    fn new(kind: PollerKind) -> io::Result<Backend> {
        Ok(match kind {
            #[cfg(epoll)]
            PollerKind::Epoll => Backend::Epoll(epoll::Epoll::new()?),
            #[cfg(portable)]
            PollerKind::Polling => Backend::Portable(portable::Portable::new()?),
            #[cfg(loom)]
            PollerKind::Loom => Backend::Loom(loom::Loom::default()),
        })
    }

    /// Another of the same kind.
    #[cfg(pollable)]
    fn another(&self) -> io::Result<Backend> {
        match self {
            #[cfg(epoll)]
            Backend::Epoll(_) => Ok(Backend::Epoll(epoll::Epoll::second()?)),
            #[cfg(portable)]
            Backend::Portable(_) => Backend::new(PollerKind::Polling),
            #[cfg(feature = "__faults")]
            Backend::Faulty(it) => it.another(),
        }
    }

    fn events(&self) -> EventBuf {
        match self {
            #[cfg(epoll)]
            Backend::Epoll(_) => EventBuf::Epoll(epoll::buffer(BATCH)),
            #[cfg(portable)]
            Backend::Portable(_) => EventBuf::Portable(portable::buffer(BATCH)),
            #[cfg(loom)]
            Backend::Loom(_) => EventBuf::Loom,
            #[cfg(feature = "__faults")]
            Backend::Faulty(it) => it.events(),
        }
    }

    #[inline(always)]
    fn wait(&self, set: PollSet, events: &mut Events, timeout: Option<Duration>) -> io::Result<()> {
        let Events {
            raw,
            fired,
            notices,
        } = events;
        let take = |key, ready| match key {
            ..OURS => fired.push(ReadyEvent {
                set,
                key: Key::from_u64(key),
                ready,
            }),
            WAKE => {}
            ALARM => notices.alarm = true,
            EDGES => notices.edges = true,
            #[cfg(epoll)]
            CLOCK => notices.clock = true,
            _ => {}
        };
        match (self, raw) {
            #[cfg(epoll)]
            (Backend::Epoll(epoll), EventBuf::Epoll(raw)) => epoll.wait(raw, timeout, take),
            #[cfg(portable)]
            (Backend::Portable(poll), EventBuf::Portable(raw)) => poll.wait(raw, timeout, take),
            #[cfg(loom)]
            (Backend::Loom(it), EventBuf::Loom) => {
                it.wait(timeout, take);
                Ok(())
            }
            #[cfg(feature = "__faults")]
            (Backend::Faulty(it), raw) => it.wait(raw, timeout, take),
            #[allow(unreachable_patterns)]
            _ => Err(io::ErrorKind::InvalidInput.into()),
        }
    }
}

/// What a wait found of the poller's own.
#[derive(Default)]
pub(crate) struct Notices {
    /// The alarm went off, and is no longer set.
    pub(crate) alarm: bool,
    /// The system clock was set. Said until `watch_clock` is called again.
    pub(crate) clock: bool,
    edges: bool,
}

impl Notices {
    /// There is one for the engine.
    #[inline]
    pub(crate) fn any(&self) -> bool {
        self.alarm | self.clock
    }
}

impl Poller {
    pub(crate) fn new(kind: PollerKind) -> io::Result<Poller> {
        let main = Backend::new(kind)?;
        #[cfg(feature = "__faults")]
        let faults = faults::Faults::default();
        #[cfg(feature = "__faults")]
        let main = faults.wrap(main, PollSet::Primary);
        each!(&main, it => it.add_wake_and_alarm()?);
        Ok(Poller {
            main,
            edges: OnceLock::new(),
            #[cfg(pollable)]
            nested: AtomicBool::new(false),
            #[cfg(epoll)]
            clock: OnceLock::new(),
            changes: AtomicU64::new(0),
            #[cfg(feature = "__faults")]
            faults,
        })
    }

    pub(crate) fn events(&self) -> Events {
        Events {
            raw: self.main.events(),
            fired: Vec::new(),
            notices: Notices::default(),
        }
    }

    /// An error for what the kernel would never tell.
    #[inline]
    pub(crate) fn supports(&self, watch: Watch) -> io::Result<()> {
        match each!(&self.main, it => it.unsupported_reason(watch)) {
            None => Ok(()),
            Some(what) => Err(io::Error::new(io::ErrorKind::Unsupported, what)),
        }
    }

    /// An error for a descriptor that the loop has made for itself.
    #[inline]
    pub(crate) fn allows(&self, fd: RawFd) -> io::Result<()> {
        let set_owns = |set: &Backend| each!(set, it => it.owns(fd));
        if set_owns(&self.main) || self.owns_late(fd) || poll_thread::owns(fd) {
            let what = "the descriptor is the loop's own";
            return Err(io::Error::new(io::ErrorKind::Unsupported, what));
        }
        Ok(())
    }

    #[inline]
    pub(crate) fn add(&self, set: PollSet, fd: RawFd, key: Key, watch: Watch) -> io::Result<()> {
        self.is_users(fd)?;
        each!(self.set(set)?, it => it.add(fd, key.to_u64(), watch))
    }

    #[inline]
    pub(crate) fn modify(&self, set: PollSet, fd: RawFd, key: Key, watch: Watch) -> io::Result<()> {
        self.is_users(fd)?;
        each!(self.set(set)?, it => it.modify(fd, key.to_u64(), watch))
    }

    #[inline]
    pub(crate) fn delete(&self, set: PollSet, fd: RawFd) -> io::Result<()> {
        self.is_users(fd)?;
        each!(self.set(set)?, it => it.delete(fd))
    }

    /// What the loop has made after its beginning may have the number of a handler whose descriptor was
    /// closed before. Such a handler must not get at it.
    #[inline]
    fn is_users(&self, fd: RawFd) -> io::Result<()> {
        match self.owns_late(fd) {
            true => Err(io::Error::from_raw_os_error(os::EBADF)),
            false => Ok(()),
        }
    }

    #[inline]
    fn owns_late(&self, fd: RawFd) -> bool {
        let edges = self.edges.get();
        let owns = edges.is_some_and(|set| each!(set, it => it.owns(fd)));
        #[cfg(epoll)]
        let owns = owns | self.clock.get().is_some_and(|clock| clock.owns(fd));
        owns
    }

    /// Waits until something is ready, somebody calls `wake`, or the time is up. What it has found goes
    /// to `events` even if it fails then.
    #[inline(always)]
    pub(crate) fn wait(&self, events: &mut Events, timeout: Option<Duration>) -> io::Result<()> {
        events.fired.clear();
        events.notices = Notices::default();
        self.main.wait(PollSet::Primary, events, timeout)?;
        match events.notices.edges {
            true => self.look_for_edges(events),
            false => Ok(()),
        }
    }

    #[inline(never)]
    fn look_for_edges(&self, events: &mut Events) -> io::Result<()> {
        let edges = self.edges.get();
        let look = |it: &Backend| it.wait(PollSet::Edge, events, Some(Duration::ZERO));
        edges.map_or(Ok(()), look)
    }

    /// Ends waits while the poller is there.
    pub(crate) fn waker(&self) -> Weak<dyn Wake> {
        each!(&self.main, it => it.waker())
    }

    /// Sleeps until `wait` would find something.
    #[cfg(loom)]
    pub(crate) fn sleep(&self) {
        each!(&self.main, it => it.sleep());
    }

    /// Makes the poller's own descriptor readable after `delay`; `None` calls that off.
    pub(crate) fn set_alarm(&self, delay: Option<Duration>) -> io::Result<()> {
        each!(&self.main, it => it.set_alarm(delay))
    }

    /// From now on, and once, it is noticed when somebody sets the system clock. Only called under
    /// the engine's lock.
    #[cfg(epoll)]
    pub(crate) fn watch_clock(&self) -> io::Result<()> {
        #[cfg(feature = "__faults")]
        self.faults.fails(faults::Call::Clock)?;
        if let Some(clock) = self.clock.get() {
            return clock.arm();
        }
        let clock = clock::ClockWatch::new()?;
        clock.arm()?;
        self.nest_clock(&clock)?;
        self.clock.get_or_init(|| clock);
        Ok(())
    }

    /// Nothing tells here.
    #[cfg(not(epoll))]
    pub(crate) fn watch_clock(&self) -> io::Result<()> {
        Ok(())
    }

    #[cfg(epoll)]
    fn nest_clock(&self, clock: &clock::ClockWatch) -> io::Result<()> {
        each!(&self.main, it => it.add(clock.as_fd().as_raw_fd(), CLOCK, NESTED))
    }

    /// Makes a set anew, empty, under the same number. False if the backend cannot. If it fails,
    /// all is as it was. Only called under the engine's lock, by whoever drives.
    #[cfg(all(epoll, pollable))]
    pub(crate) fn rebuild(&self, set: PollSet) -> io::Result<bool> {
        let edges = self.edges.get();
        let number = edges.map(|it| each!(it, it => it.as_fd().as_raw_fd()));
        match (set, edges, number) {
            (PollSet::Primary, ..) => {
                let edges = number.map(|number| (number, EDGES));
                let clock = self.clock.get().map(|it| (it.as_fd().as_raw_fd(), CLOCK));
                let others: Vec<_> = edges.into_iter().chain(clock).collect();
                let rebuilt = each!(&self.main, it => it.rebuild(set, &others))?;
                self.nested.store(edges.is_some(), Ordering::Relaxed);
                Ok(rebuilt)
            }
            (PollSet::Edge, Some(edges), Some(number)) if each!(edges, it => it.is_rebuildable()) =>
            {
                // It is in the main set, and must not be while its number changes its meaning.
                each!(&self.main, it => it.delete(number))?;
                self.nested.store(false, Ordering::Relaxed);
                let rebuilt = each!(edges, it => it.rebuild(set, &[]));
                match self.nest(edges) {
                    Ok(()) => rebuilt,
                    // So that it is used, and got back in, as soon as can be.
                    Err(_) => Ok(true),
                }
            }
            _ => Ok(false),
        }
    }

    #[cfg(not(all(epoll, pollable)))]
    pub(crate) fn rebuild(&self, _: PollSet) -> io::Result<bool> {
        Ok(false)
    }

    pub(crate) fn changes(&self) -> u64 {
        self.changes.load(Ordering::Relaxed)
    }

    #[inline]
    fn set(&self, set: PollSet) -> io::Result<&Backend> {
        // Only changed under the engine's lock, and a read-modify-write costs more.
        let changes = self.changes.load(Ordering::Relaxed);
        self.changes.store(changes + 1, Ordering::Relaxed);
        match set {
            PollSet::Primary => Ok(&self.main),
            PollSet::Edge => self.edges(),
        }
    }

    /// The second set: a poller inside the first one. Only called under the engine's lock.
    #[cfg(pollable)]
    fn edges(&self) -> io::Result<&Backend> {
        if let Some(edges) = self.edges.get() {
            if !self.nested.load(Ordering::Relaxed) {
                self.nest(edges)?;
            }
            return Ok(edges);
        }
        let edges = self.main.another()?;
        self.nest(&edges)?;
        Ok(self.edges.get_or_init(|| edges))
    }

    #[cfg(pollable)]
    fn nest(&self, edges: &Backend) -> io::Result<()> {
        let fd = each!(edges, it => it.as_fd().as_raw_fd());
        each!(&self.main, it => it.add(fd, EDGES, NESTED))?;
        self.nested.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// Where there are no edges there is no second set.
    #[cfg(not(pollable))]
    fn edges(&self) -> io::Result<&Backend> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

#[cfg(pollable)]
impl AsFd for Poller {
    fn as_fd(&self) -> BorrowedFd<'_> {
        each!(&self.main, it => it.as_fd())
    }
}

/// A descriptor that the engine was given by number, for a call that takes borrowed ones.
pub(crate) fn borrow<'a>(fd: RawFd) -> io::Result<BorrowedFd<'a>> {
    // So is `INVALID_SOCKET`, as a signed number.
    if (fd as isize) < 0 {
        return Err(io::Error::from_raw_os_error(os::EBADF));
    }
    // SAFETY: it is not negative, and it goes to nothing but calls on a poller's set, to poll(2) and
    // to those that say what it is, where the kernel checks it: a closed number is answered by EBADF, an unknown one by
    // ENOENT. That the number means what its owner thinks is up to the handler that owns it
    // (`add_handler`) or the caller of `add_raw_handler`; if it does not, another file is watched, and
    // nothing else is done to it.
    Ok(unsafe { BorrowedFd::borrow_raw(fd) })
}

/// Whether the number is open at all.
#[cfg(unix)]
pub(crate) fn exists(fd: RawFd) -> io::Result<()> {
    // SAFETY: F_GETFD reads a flag of a number and touches nothing else; a closed one is EBADF.
    match unsafe { libc::fcntl(fd, libc::F_GETFD) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

#[cfg(windows)]
pub(crate) fn exists(fd: RawFd) -> io::Result<()> {
    rustix::net::sockopt::socket_type(borrow(fd)?)?;
    Ok(())
}

/// Tells a file from the next under the same number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FileId {
    device: u64,
    inode: u64,
}

#[cfg(unix)]
impl FileId {
    #[allow(clippy::unnecessary_cast)] // Not everywhere.
    fn of(stat: &rustix::fs::Stat) -> FileId {
        FileId {
            device: stat.st_dev as u64,
            inode: stat.st_ino as u64,
        }
    }

    /// The file of a number, unless that is closed.
    pub(crate) fn of_number(fd: RawFd) -> Option<FileId> {
        let stat = rustix::fs::fstat(borrow(fd).ok()?).ok()?;
        Some(FileId::of(&stat))
    }

    /// The number means this file.
    pub(crate) fn is_of(self, fd: RawFd) -> bool {
        FileId::of_number(fd) == Some(self)
    }
}

#[cfg(windows)]
impl FileId {
    pub(crate) fn of_number(_: RawFd) -> Option<FileId> {
        None
    }

    pub(crate) fn is_of(self, _: RawFd) -> bool {
        true
    }
}

/// The file of a number, if it is one that is always ready, such as a regular file or a directory.
///
/// epoll refuses to watch those by EPERM. So may a sandbox, and for sockets, too.
#[cfg(unix)]
pub(crate) fn always_ready(fd: RawFd) -> io::Result<Option<FileId>> {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    use rustix::fs::{FileType, fstat};
    let fd = borrow(fd)?;
    let stat = fstat(fd)?;
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::Socket | FileType::Fifo => return Ok(None),
        _ => {}
    }
    let both = PollFlags::IN | PollFlags::OUT;
    let mut polled = [PollFd::from_borrowed_fd(fd, both)];
    poll(&mut polled, Some(&Timespec::default()))?;
    let is = polled[0].revents().contains(both);
    Ok(is.then_some(FileId::of(&stat)))
}

/// What is not a socket is not watched there.
#[cfg(windows)]
pub(crate) fn always_ready(_: RawFd) -> io::Result<Option<FileId>> {
    Ok(None)
}

/// Whether a descriptor is ready for a part of `interest`, or has hung up. True if that cannot be
/// found out.
#[cfg(all(epoll, feature = "futures"))]
pub(crate) fn is_ready(fd: RawFd, interest: Interest) -> bool {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let Ok(borrowed) = borrow(fd) else {
        return true;
    };
    let mut flags = PollFlags::empty();
    flags.set(PollFlags::IN, interest.contains(Interest::READABLE));
    flags.set(PollFlags::OUT, interest.contains(Interest::WRITABLE));
    flags.set(PollFlags::PRI, interest.contains(Interest::PRIORITY));
    let mut asked = [PollFd::new(&borrowed, flags)];
    match poll(&mut asked, Some(&Timespec::default())) {
        Ok(_) => asked[0]
            .revents()
            .intersects(flags | PollFlags::HUP | PollFlags::NVAL),
        Err(_) => true,
    }
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
    fn a_descriptor_of_the_loops_own_is_refused_however_late_it_was_made() {
        for &kind in KINDS {
            let poller = Poller::new(kind).unwrap();
            let edges = poller.edges().unwrap();
            let edges = each!(edges, it => it.as_fd().as_raw_fd());
            poller.watch_clock().unwrap();
            let clock = poller.clock.get().unwrap().as_fd().as_raw_fd();
            for own in [poller.as_fd().as_raw_fd(), edges, clock] {
                let refused = poller.allows(own).unwrap_err();
                assert_eq!(refused.kind(), io::ErrorKind::Unsupported);
            }
            let (socket, _other) = UnixStream::pair().unwrap();
            poller.allows(socket.as_raw_fd()).unwrap();
        }
    }

    /// With the feature `__faults` every other test goes through the backend that fails on command.
    #[test]
    fn a_wait_finds_what_is_ready_without_the_faults_between() {
        for &kind in KINDS {
            let mut poller = Poller::new(kind).unwrap();
            poller.main = Backend::new(kind).unwrap();
            let (socket, mut other) = UnixStream::pair().unwrap();
            let key = Key::from_u64(7);
            let fd = socket.as_raw_fd();
            poller.add(PollSet::Primary, fd, key, NESTED).unwrap();
            other.write_all(b"x").unwrap();
            let mut events = poller.events();
            poller.wait(&mut events, None).unwrap();
            assert_eq!(events.fired.len(), 1, "{kind:?}");
            assert!(events.fired[0].key == key, "{kind:?}");
        }
    }

    #[cfg(all(portable, feature = "__faults"))]
    #[test]
    fn a_second_set_that_cannot_be_made_anew_stays_in_the_first() {
        let poller = Poller::new(PollerKind::Polling).unwrap();
        poller.edges().unwrap();
        let faults = poller.faults.in_hand();
        faults.order(faults::Fault::Fails(faults::Call::Delete, 5), 1);
        assert!(!poller.rebuild(PollSet::Edge).unwrap());
        assert!(faults.is_pending(), "nothing was taken out");
    }
}
