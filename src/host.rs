use std::fmt;

#[cfg(pollable)]
use crate::engine::BY_HOST;
#[cfg(pollable)]
use crate::os::{AsFd, AsRawFd, BorrowedFd, RawFd};
use crate::{Reactor, Result, Threading};

/// What a turn, or a few of them, did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Turn {
    /// How many callbacks were called.
    pub called: usize,
    /// Nothing is left to do, and what comes will show on the descriptor: the host may sleep.
    /// While this is false, a host that is told only of changes (edge-triggered) must turn again.
    pub idle: bool,
    /// The budget of [`Host::turn`] was used up in the middle of a turn, with which the next call goes
    /// on. It is not [idle](Self::idle) then.
    pub unfinished: bool,
    /// A task that awaits an [`Async`](crate::futures::Async) was woken, which ends the turns: before it
    /// has read what is there, the next one would find the same again. It is not
    /// [idle](Self::idle) then: let the executor run what is ready, and turn again.
    pub woke: bool,
    /// The descriptor may be readable for ever without anything to do. Whoever has it registered
    /// with epoll, or a runtime, should take it out, call [`rebuild`](Reactor::rebuild), and register it
    /// anew; with poll(2), calling that will do. Said again, now and then, until that was done.
    ///
    /// This is rare: it mends what a C library leaves behind that closes a descriptor without
    /// unregistering it, while a child process still has it.
    pub needs_rebuild: bool,
    /// [`Reactor::stop`] was called, perhaps before the turn, which calls nobody then. What was not
    /// called stays due. So it is for a [`Host`] whose loop was [closed](Reactor::close).
    pub stopped: bool,
}

/// A host's claim on a reactor, for those who write adapters: while it lives nobody else can drive.
/// Dropping it leaves the reactor as it is, for the next host to go on; the descriptor should have
/// been unregistered by then. (Not in a child process: see [`Reactor::is_forked`].)
///
/// A host watches the descriptor ([`AsFd`]) for reading, level- or edge-triggered, and calls
/// [`turn`](Self::turn) when it becomes readable, and once at the beginning. Timers and posts show
/// on the descriptor too, so that it needs nothing else.
///
/// A complete host, on poll(2):
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use std::{os::fd::AsRawFd, time::Duration};
///
/// let reactor = oneloop::Reactor::new()?;
/// reactor.call_later(Duration::from_millis(1), || oneloop::Reactor::current().unwrap().stop())?;
///
/// let mut host = reactor.host("poll")?;
/// loop {
///     let turn = host.turn(100)?;
///     if turn.stopped {
///         break;
///     }
///     if turn.needs_rebuild {
///         host.rebuild()?;
///     }
///     let mut fd = libc::pollfd { fd: host.as_raw_fd(), events: libc::POLLIN, revents: 0 };
///     unsafe { libc::poll(&mut fd, 1, -1) };
/// }
/// # Ok(())
/// # }
/// ```
pub struct Host<M: Threading> {
    reactor: Reactor<M>,
    name: &'static str,
}

/// A host that has still to come to its first turn, such as a future that was spawned and not polled
/// yet: while it lives, nobody is warned that futures wait on a loop that nobody drives. It claims
/// nothing, and anybody may drive.
pub struct ExpectedHost<M: Threading>(Reactor<M>);

impl<M: Threading> ExpectedHost<M> {
    pub(crate) fn new(reactor: Reactor<M>) -> ExpectedHost<M> {
        reactor.core.expect_host(true);
        ExpectedHost(reactor)
    }

    /// It has come: as [`Reactor::host`].
    ///
    /// # Errors
    ///
    /// If something else drives the reactor already.
    pub fn claim(self, name: &'static str) -> Result<Host<M>> {
        self.0.host(name)
    }
}

impl<M: Threading> Drop for ExpectedHost<M> {
    fn drop(&mut self) {
        self.0.core.expect_host(false);
    }
}

impl<M: Threading> fmt::Debug for ExpectedHost<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ExpectedHost")
    }
}

impl<M: Threading> Host<M> {
    pub(crate) fn new(reactor: Reactor<M>, name: &'static str) -> Result<Host<M>> {
        reactor.core.claim_host(name)?;
        Ok(Host { reactor, name })
    }

    /// Takes turns without waiting until the host may sleep, or until about `budget` callbacks
    /// were called (a turn that calls nobody counts as one). A turn is broken off after that many
    /// posts or timers, and after a thousand handlers or so; the next call goes on where it was. The
    /// turns end, too, when a task was woken ([`Turn::woke`]).
    ///
    /// Several turns in one go are what makes a busy loop fast under a host; that there is a bound
    /// is what keeps it from starving the host's own tasks. A hundred or so is a good one.
    ///
    /// # Errors
    ///
    /// If called from one of the reactor's own callbacks, after a fork, or if the kernel fails.
    ///
    /// The first happens where a callback runs the host's loop, as for a modal dialogue. It takes a
    /// millisecond, so that the loop inside does not spin: the descriptor may stay readable until the
    /// callback returns. A host in which that is common should not watch the descriptor during a turn. GLib does
    /// so by itself, unless `g_source_set_can_recurse` is used.
    ///
    /// # Panics
    ///
    /// If a callback does. All else stays due, and the host can go on.
    pub fn turn(&mut self, budget: usize) -> Result<Turn> {
        self.reactor.core.host_turns(self.name, budget)
    }

    /// As [`Reactor::rebuild`], for the host.
    ///
    /// # Errors
    ///
    /// If called from one of the reactor's own callbacks, or after a fork.
    pub fn rebuild(&mut self) -> Result<()> {
        self.reactor.core.rebuild(Some(self.name))
    }

    /// The reactor.
    pub fn reactor(&self) -> &Reactor<M> {
        &self.reactor
    }
}

#[cfg(pollable)]
impl<M: Threading> AsFd for Host<M> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.reactor.core.as_fd(BY_HOST)
    }
}

#[cfg(pollable)]
impl<M: Threading> AsRawFd for Host<M> {
    fn as_raw_fd(&self) -> RawFd {
        self.as_fd().as_raw_fd()
    }
}

impl<M: Threading> Drop for Host<M> {
    fn drop(&mut self) {
        self.reactor.core.release_host();
    }
}

impl<M: Threading> fmt::Debug for Host<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Host").field("name", &self.name).finish()
    }
}
