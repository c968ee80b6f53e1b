use std::fmt;

#[cfg(pollable)]
use crate::os::{AsFd, AsRawFd, BorrowedFd, RawFd};
use crate::{Reactor, Result, Threading};

/// The result of [`Reactor::turn`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Turn {
    /// The number of callbacks that were called.
    pub called: usize,
    /// True if nothing is left to do now: another turn would call nothing, or wait.
    pub idle: bool,
    /// True if [`Reactor::stop`] was called. If it was called before the turn, the turn calls nothing.
    /// Callbacks that were not called stay due.
    pub stopped: bool,
}

/// The next action of a host, which [`Host::step`] returns.
///
/// After [`Watch`](Self::Watch) and [`Unwatch`](Self::Unwatch) the host steps again at once, and after
/// [`Yield`](Self::Yield) soon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "a host that does something else may sleep for ever"]
pub enum Step {
    /// Begin to watch the host's descriptor ([`AsFd`]) for reading, level- or edge-triggered.
    Watch,
    /// Stop watching the descriptor. It may mean another file after the next step.
    ///
    /// A host on poll(2) passes the descriptor with each call. It has nothing to do here or at
    /// [`Watch`](Self::Watch).
    Unwatch,
    /// Step again when the descriptor is readable. An earlier step does no harm.
    Sleep,
    /// Let the host's other work run, and step again without waiting.
    ///
    /// A host that watches level-triggered may wait for the descriptor instead, because it is readable.
    Yield,
    /// End: [`Reactor::stop`] was called, or nothing is left ([`Host::exit_when_empty`]). The host does not
    /// watch the descriptor any more.
    Done,
}

/// A host's claim on a reactor. While the claim lives, no other driver can drive the reactor.
///
/// The host steps once at the beginning, and then does what each [`Step`] says. Timers and posts also show on
/// the descriptor, so a host needs nothing else. After the claim is dropped, everything stays registered for
/// the next driver. A child process is the exception: see [`Reactor::is_forked`].
///
/// This is a complete host, on epoll. The repository has one with I/O of its own in `examples/host_epoll.rs`.
///
/// ```
/// # #[cfg(target_os = "linux")]
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use oneloop::Step;
/// use rustix::buffer::spare_capacity;
/// use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
/// use std::time::Duration;
///
/// let reactor = oneloop::Reactor::new()?;
/// reactor.call_later(Duration::from_millis(1), || oneloop::Reactor::current().unwrap().stop())?;
///
/// let epoll = epoll::create(CreateFlags::CLOEXEC)?;
/// let mut events = Vec::<Event>::with_capacity(1);
/// let mut host = reactor.host("epoll")?;
/// loop {
///     match host.step(100)? {
///         Step::Watch => epoll::add(&epoll, &host, EventData::new_u64(0), EventFlags::IN)?,
///         Step::Unwatch => epoll::delete(&epoll, &host)?,
///         Step::Sleep => {
///             events.clear();
///             epoll::wait(&epoll, spare_capacity(&mut events), None)?;
///         }
///         Step::Yield => {}
///         Step::Done => break,
///     }
/// }
/// # Ok(())
/// # }
/// # #[cfg(not(target_os = "linux"))]
/// # fn main() {}
/// ```
pub struct Host<M: Threading> {
    reactor: Reactor<M>,
    name: &'static str,
}

impl<M: Threading> Host<M> {
    pub(crate) fn new(reactor: Reactor<M>, name: &'static str) -> Result<Host<M>> {
        reactor.core.claim_host(name)?;
        Ok(Host { reactor, name })
    }

    /// Makes the host end with [`Step::Done`] when nothing is left that could call back, like
    /// [`Reactor::run`].
    #[must_use]
    pub fn exit_when_empty(self) -> Host<M> {
        self.reactor.core.exit_when_empty();
        self
    }

    /// Takes turns without waiting, and returns the host's next action.
    ///
    /// The turns end when there is nothing more to do, or when about `budget` callbacks were called. They
    /// also end when a callback woke a task of the host's. A turn that calls nothing counts as one callback.
    /// A turn is broken off after `budget` posts or timers, and after about a thousand handlers. The next
    /// step continues there.
    ///
    /// Several turns in a step make a busy loop fast. The budget keeps the loop from starving the host's
    /// other work. A budget of about a hundred works well.
    ///
    /// # Errors
    ///
    /// - [`Closed`](crate::ErrorKind::Closed) if the reactor was [closed](Reactor::close).
    /// - [`AlreadyDriven`](crate::ErrorKind::AlreadyDriven) in one of the reactor's own callbacks. This
    ///   happens when a callback runs the host's loop, for example for a modal dialogue. The error takes a
    ///   millisecond, so that the inner loop does not spin while the descriptor stays readable. If this is
    ///   common in a host, it should not watch the descriptor during a step. GLib ensures that by itself
    ///   unless `g_source_set_can_recurse` is used.
    /// - [`Forked`](crate::ErrorKind::Forked) after a fork, and [`Os`](crate::ErrorKind::Os) if the kernel
    ///   fails.
    ///
    /// After an error, the host watches as before and may step again.
    ///
    /// # Panics
    ///
    /// Panics if a callback does. Everything else stays due, and the host may step again.
    pub fn step(&mut self, budget: usize) -> Result<Step> {
        self.reactor.core.step(budget)
    }

    /// Returns the reactor.
    pub fn reactor(&self) -> &Reactor<M> {
        &self.reactor
    }
}

/// A descriptor that is readable whenever [`step`](Host::step) has something to do: I/O, a due timer or a
/// post. Its number stays unchanged while the host has its claim.
#[cfg(pollable)]
impl<M: Threading> AsFd for Host<M> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.reactor.core.as_fd()
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
