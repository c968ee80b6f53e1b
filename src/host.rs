use std::fmt;

#[cfg(pollable)]
use crate::os::{AsFd, AsRawFd, BorrowedFd, RawFd};
use crate::{Reactor, Result, Threading};

/// What [`Reactor::turn`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Turn {
    /// How many callbacks were called.
    pub called: usize,
    /// Nothing is left to do now: another turn would call nothing, or wait.
    pub idle: bool,
    /// [`Reactor::stop`] was called, perhaps before the turn, which calls nothing then. Callbacks that
    /// were not called stay due.
    pub stopped: bool,
}

/// What a host does next, as [`Host::step`] tells it.
///
/// After each of these but [`Sleep`](Self::Sleep) and [`Done`](Self::Done) the host steps again at once,
/// or, after [`Yield`](Self::Yield), soon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "a host that does something else may sleep for ever"]
pub enum Step {
    /// Begin to watch the host's descriptor ([`AsFd`]) for reading, level- or edge-triggered.
    Watch,
    /// Stop watching the descriptor. It may mean another file after the next step.
    ///
    /// A host on poll(2), which hands the descriptor over with each call, has nothing to do here or at
    /// [`Watch`](Self::Watch).
    Unwatch,
    /// Step again when the descriptor is readable. A step before that does no harm.
    Sleep,
    /// Let the host's other work have its turn, and step again without waiting.
    ///
    /// A host that watches level-triggered may wait for the descriptor instead: it is readable.
    Yield,
    /// The end: [`Reactor::stop`] was called, or nothing is left ([`Host::exit_when_empty`]). The host
    /// does not watch the descriptor any more.
    Done,
}

/// A loop's claim on a reactor that it drives: while it lives, nothing else can drive.
///
/// The host steps once at the beginning, and does what each [`Step`] says. Timers and posts show on the
/// descriptor, too, so that a host needs nothing else. If something drives on after the claim was dropped,
/// whatever is registered is still there. (In a child process it is not: see [`Reactor::is_forked`].)
///
/// A complete host, on epoll. In the repository, `examples/host_epoll.rs` has one with I/O of its own:
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

    /// Has the host end, by [`Step::Done`], when nothing is left that could call back, as
    /// [`Reactor::run`] does.
    #[must_use]
    pub fn exit_when_empty(self) -> Host<M> {
        self.reactor.core.exit_when_empty();
        self
    }

    /// Takes turns without waiting, and says what the host does next.
    ///
    /// The turns end when there is nothing more to do, when a callback woke a task of the host's, or when
    /// about `budget` callbacks were called; a turn that calls nothing counts as one. A turn is broken off
    /// after that many posts or timers, and after a thousand handlers or so. The next step goes on there.
    ///
    /// Several turns in a step make a busy loop fast. A bound on them keeps the loop from starving the
    /// host's other work. A hundred or so is a good one.
    ///
    /// # Errors
    ///
    /// - [`Closed`](crate::ErrorKind::Closed) if the reactor was [closed](Reactor::close).
    /// - [`AlreadyDriven`](crate::ErrorKind::AlreadyDriven) in one of the reactor's own callbacks. This
    ///   happens where a callback runs the host's loop, as for a modal dialogue. It takes a millisecond,
    ///   so that the loop inside does not spin while the descriptor stays readable. A host in which
    ///   that is common should not watch the descriptor during a step. GLib does so by itself, unless
    ///   `g_source_set_can_recurse` is used.
    /// - [`Forked`](crate::ErrorKind::Forked) after a fork, and [`Os`](crate::ErrorKind::Os) if the
    ///   kernel fails.
    ///
    /// After an error the host watches as before, and may step again.
    ///
    /// # Panics
    ///
    /// If a callback does. All else stays due, and the host may step again.
    pub fn step(&mut self, budget: usize) -> Result<Step> {
        self.reactor.core.step(budget)
    }

    /// The reactor.
    pub fn reactor(&self) -> &Reactor<M> {
        &self.reactor
    }
}

/// Readable whenever [`step`](Host::step) has something to do: I/O, a due timer, a post. The number stays
/// the same while the host has its claim.
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
