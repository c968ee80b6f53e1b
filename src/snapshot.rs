use std::fmt;
use std::panic::Location;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use crate::os::RawFd;
use crate::{FileKind, HandlerId, HookId, Interest, Mode, PostId, Priority, Ready, Stats, TimerId};

/// All that is registered with a loop, at one time. [`Reactor::snapshot`](crate::Reactor::snapshot) takes it.
///
/// Its text form is the result of [`Reactor::dump`](crate::Reactor::dump).
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Snapshot {
    /// The time by the loop's clock at which the snapshot was begun.
    pub taken: Instant,
    /// The driver of the loop, if it has one.
    pub driver: Option<DriverInfo>,
    /// True if anything is left that could call back. [`Reactor::is_alive`](crate::Reactor::is_alive) has the
    /// details.
    pub is_alive: bool,
    /// The loop's counters.
    pub stats: Stats,
    /// The handlers, in no particular order.
    pub handlers: Vec<HandlerInfo>,
    /// The timers, in no particular order.
    pub timers: Vec<TimerInfo>,
    /// The pairs of hooks, in the order in which they are called.
    pub hooks: Vec<HookInfo>,
    /// The posts that no turn has taken up yet, in the order in which they will be called.
    pub posts: Vec<PostInfo>,
}

/// The driver of a loop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct DriverInfo {
    /// The name of the host, or of the method that drives.
    pub name: &'static str,
    /// True if the driver is a host.
    pub is_host: bool,
    /// True if the driver is taking a turn now. A host that waits is not.
    pub is_driving: bool,
}

/// A handler.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct HandlerInfo {
    /// The handler's id.
    pub id: HandlerId,
    /// The name that [`Reactor::set_name`](crate::Reactor::set_name) gave.
    pub name: Option<Arc<str>>,
    /// The descriptor. None for a [`VirtualSource`](crate::VirtualSource).
    pub fd: Option<RawFd>,
    /// The event that the handler stands for, if the loop has made its source.
    pub event: Option<LoopEvent>,
    /// How the loop learns that the source is ready.
    pub readiness: ReadinessBy,
    /// The readiness of the source, if the loop knows it without the kernel.
    pub ready: Option<Ready>,
    /// The interest. [`Interest::NONE`] if the handler is paused.
    pub interest: Interest,
    /// The mode.
    pub mode: Mode,
    /// The priority within a turn.
    pub priority: Priority,
    /// The limit on how often the handler is called, if it has one.
    pub limit: Option<RateLimit>,
    /// False for a one-shot handler that was called and not armed again.
    pub is_armed: bool,
    /// True if the handler has asked to be called again, with [`Action::Again`](crate::Action::Again).
    pub is_called_again: bool,
    /// True if the loop has noticed that other code closed the descriptor.
    pub is_closed: bool,
    /// The last setting of [`Reactor::set_referenced`](crate::Reactor::set_referenced).
    pub is_referenced: bool,
    /// True if the handler keeps [`Reactor::run`](crate::Reactor::run) going now.
    pub keeps_alive: bool,
    /// The place in the source where it was registered.
    pub location: &'static Location<'static>,
    /// Calls so far.
    pub calls: u64,
    /// The time spent in those calls that were [observed](crate::Reactor::observe_callbacks).
    pub time_spent: Duration,
    /// The time at which the last observed call began.
    pub last_called: Option<Instant>,
}

impl HandlerInfo {
    /// Asks the kernel for the file behind the descriptor. Returns `None` for a virtual source, and for a
    /// descriptor that was closed before its handler was removed.
    ///
    /// The question takes a few system calls now and does not involve the loop. If the descriptor was closed
    /// after the snapshot was taken, its number may mean another file.
    ///
    /// ```
    /// use oneloop::{FileKind, Interest, Mode, Reactor};
    /// use std::net::TcpListener;
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let reactor = Reactor::new()?;
    /// let listener = TcpListener::bind("127.0.0.1:0")?;
    /// let address = listener.local_addr()?;
    /// reactor.add_handler(listener, Interest::READABLE, Mode::Level, |_, _| {})?;
    /// match reactor.snapshot()?.handlers[0].file() {
    ///     Some(FileKind::Tcp { local, .. }) => assert_eq!(local, Some(address)),
    ///     other => panic!("{other:?}"),
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn file(&self) -> Option<FileKind> {
        self.fd.filter(|_| !self.is_closed).map(FileKind::of)
    }
}

/// A limit that [`Reactor::limit_rate`](crate::Reactor::limit_rate) has set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct RateLimit {
    /// The calls that are allowed in an interval.
    pub calls: u32,
    /// The length of an interval.
    pub per: Duration,
    /// The end of the interval by the loop's clock, if the handler is not watched until then.
    pub held_until: Option<Instant>,
}

/// An event for which the loop has made a source itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum LoopEvent {
    /// A signal, by its number.
    Signal(i32),
    /// The end of a child process, by the number of the process.
    ChildExit(u32),
}

impl fmt::Display for LoopEvent {
    /// Writes a signal by its name, such as `SIGTERM`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            #[cfg(feature = "signal")]
            LoopEvent::Signal(signal) => write!(f, "{}", crate::signal::SignalName(*signal)),
            #[cfg(not(feature = "signal"))]
            LoopEvent::Signal(signal) => write!(f, "signal {signal}"),
            LoopEvent::ChildExit(pid) => write!(f, "end of process {pid}"),
        }
    }
}

/// How a loop learns that a source is ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReadinessBy {
    /// The kernel's set of descriptors reports it.
    Kernel,
    /// A thread polls the descriptor, because the descriptor forgets its events when it is polled.
    Thread,
    /// Its [`SetReadiness`](crate::SetReadiness) reports it.
    SetReadiness,
    /// It is always ready, as regular files are.
    AlwaysReady,
}

/// A timer that is pending.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct TimerInfo {
    /// The timer's id.
    pub id: TimerId,
    /// The name that [`Reactor::set_name`](crate::Reactor::set_name) gave.
    pub name: Option<Arc<str>>,
    /// The deadline by the loop's clock. None if it never comes.
    pub deadline: Option<Instant>,
    /// The period, if the timer is periodic.
    pub period: Option<Duration>,
    /// The time of the system clock that the timer follows, if it follows that clock.
    pub system_time: Option<SystemTime>,
    /// The last setting of [`Reactor::set_referenced`](crate::Reactor::set_referenced).
    pub is_referenced: bool,
    /// True if the timer keeps [`Reactor::run`](crate::Reactor::run) going now.
    pub keeps_alive: bool,
    /// The place in the source where it was set.
    pub location: &'static Location<'static>,
    /// The calls of a periodic timer so far. Other timers have 0.
    pub calls: u64,
    /// The time spent in those calls that were [observed](crate::Reactor::observe_callbacks).
    pub time_spent: Duration,
    /// The time at which the last observed call began.
    pub last_called: Option<Instant>,
}

/// A pair of hooks.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct HookInfo {
    /// The id of the pair.
    pub id: HookId,
    /// The name that [`Reactor::set_name`](crate::Reactor::set_name) gave.
    pub name: Option<Arc<str>>,
    /// The guest, if the pair is that of a [`Guest`](crate::Guest).
    pub guest: Option<GuestInfo>,
    /// True if the pair keeps [`Reactor::run`](crate::Reactor::run) going, as that of a living
    /// [`Guest`](crate::Guest) does.
    pub keeps_alive: bool,
    /// The place in the source where it was added.
    pub location: &'static Location<'static>,
    /// The calls of either hook so far.
    pub calls: u64,
    /// The time spent in those calls that were [observed](crate::Reactor::observe_callbacks).
    pub time_spent: Duration,
    /// The time at which the last observed call began.
    pub last_called: Option<Instant>,
}

/// A [`Guest`](crate::Guest).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct GuestInfo {
    /// Turns that it has taken.
    pub turns: u64,
    /// The time of its next turn by the loop's clock, if it has set one. Its descriptors may ask for an earlier one.
    pub deadline: Option<Instant>,
}

/// A post that waits.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct PostInfo {
    /// The post's id.
    pub id: PostId,
    /// The post's priority.
    pub priority: Priority,
    /// The place in the source where it was posted.
    pub location: &'static Location<'static>,
}

impl fmt::Display for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.driver {
            None => write!(f, "no driver")?,
            Some(driver) => write!(f, "{driver}")?,
        }
        writeln!(f, "; {} turns so far", self.stats.turns)?;
        writeln!(f, "{} handlers", self.handlers.len())?;
        write_list(f, &self.handlers, |one, f| one.write(f, self.taken))?;
        writeln!(f, "{} timers", self.timers.len())?;
        write_list(f, &self.timers, |one, f| one.write(f, self.taken))?;
        if !self.hooks.is_empty() {
            writeln!(f, "{} hooks", self.hooks.len())?;
        }
        write_list(f, &self.hooks, fmt::Display::fmt)?;
        writeln!(f, "{} posts waiting", self.posts.len())?;
        write_list(f, &self.posts, fmt::Display::fmt)
    }
}

impl fmt::Display for DriverInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let host = if self.is_host { "the host " } else { "" };
        let does = if self.is_driving {
            "driving"
        } else {
            "waiting"
        };
        write!(f, "{host}{} is {does}", self.name)
    }
}

impl HandlerInfo {
    fn write(&self, f: &mut fmt::Formatter<'_>, now: Instant) -> fmt::Result {
        match (self.event, self.fd) {
            (Some(event), _) => write!(f, "{event}")?,
            (None, Some(fd)) => write!(f, "descriptor {fd}")?,
            (None, None) => write!(f, "virtual source")?,
        }
        write_name(f, &self.name)?;
        if let (None, Some(file)) = (self.event, self.file()) {
            write!(f, " ({file})")?;
        }
        match self.readiness {
            ReadinessBy::Kernel | ReadinessBy::SetReadiness => {}
            ReadinessBy::Thread => write!(f, " (polled by a thread)")?,
            ReadinessBy::AlwaysReady => write!(f, " (always ready)")?,
        }
        if let Some(ready) = self.ready {
            write!(f, " {ready:?}")?;
        }
        write!(f, ", {:?} {:?}", self.mode, self.interest)?;
        let remarks = [
            (self.is_closed, "closed by its owner"),
            (self.interest.is_empty(), "paused"),
            (!self.is_armed, "not armed"),
            (self.is_called_again, "again"),
            (!self.is_referenced, "unreferenced"),
        ];
        for (_, remark) in remarks.iter().filter(|(holds, _)| *holds) {
            write!(f, ", {remark}")?;
        }
        if self.priority != Priority::Normal {
            write!(f, ", priority {:?}", self.priority)?;
        }
        if let Some(limit) = self.limit {
            write!(f, ", at most {} calls in {:?}", limit.calls, limit.per)?;
            if let Some(until) = limit.held_until {
                let left = until.saturating_duration_since(now);
                write!(f, ", held for {left:?}")?;
            }
        }
        write_calls(f, self.calls, self.time_spent)?;
        write!(f, ", added at {}", self.location)
    }
}

impl TimerInfo {
    fn write(&self, f: &mut fmt::Formatter<'_>, now: Instant) -> fmt::Result {
        match self.deadline {
            Some(deadline) => {
                let left = deadline.saturating_duration_since(now);
                write!(f, "in {left:?}")?;
            }
            None => write!(f, "never")?,
        }
        write_name(f, &self.name)?;
        if self.system_time.is_some() {
            write!(f, ", by the system clock")?;
        }
        if let Some(period) = self.period {
            write!(f, ", every {period:?}")?;
            write_calls(f, self.calls, self.time_spent)?;
        }
        if !self.is_referenced {
            write!(f, ", unreferenced")?;
        }
        write!(f, ", set at {}", self.location)
    }
}

impl fmt::Display for HookInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.guest.is_some() {
            "guest"
        } else {
            "pair"
        })?;
        write_name(f, &self.name)?;
        if let Some(guest) = self.guest {
            write!(f, ", {} turns", guest.turns)?;
        }
        write_calls(f, self.calls, self.time_spent)?;
        write!(f, ", added at {}", self.location)
    }
}

impl fmt::Display for PostInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}, posted at {}", self.priority, self.location)
    }
}

fn write_list<T>(
    f: &mut fmt::Formatter<'_>,
    list: &[T],
    write: impl Fn(&T, &mut fmt::Formatter<'_>) -> fmt::Result,
) -> fmt::Result {
    for one in list {
        f.write_str("  ")?;
        write(one, f)?;
        f.write_str("\n")?;
    }
    Ok(())
}

fn write_name(f: &mut fmt::Formatter<'_>, name: &Option<Arc<str>>) -> fmt::Result {
    match name {
        Some(name) => write!(f, " {name:?}"),
        None => Ok(()),
    }
}

fn write_calls(f: &mut fmt::Formatter<'_>, calls: u64, spent: Duration) -> fmt::Result {
    write!(f, ", {calls} calls")?;
    match spent {
        Duration::ZERO => Ok(()),
        spent => write!(f, " in {spent:?}"),
    }
}
