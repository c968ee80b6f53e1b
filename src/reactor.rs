use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::panic::Location;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant, SystemTime};

use crate::engine::{Core, ErrorReport, Fired, Inbox, Outcome, Target, When, boxed};
use crate::error::Cause;
use crate::os::RawFd;
use crate::{
    Action, AddError, CallbackRun, Error, Event, FailedCallback, HandlerId, HookId, Host, Id,
    Interest, IntoAction, IntoResult, Local, MaybeSend, Mode, ObserverId, PollerKind, PostError,
    PostId, Priority, Result, Shared, Snapshot, Source, Stats, TestClock, Threading, TimerId, Turn,
};
#[cfg(not(feature = "__testing"))]
use crate::{clock::ClockSource, poller::Poller};

/// An event loop: handlers of descriptors, timers, and posts from any thread.
///
/// A `Reactor` is a handle. Clones are handles of the same loop, which ends with the last of them. A
/// callback that holds a handle keeps its own loop alive. Let it call [`Reactor::current`] instead.
///
/// Handles may be cloned and sent to any thread, and every method may be called from any thread,
/// inside callbacks or outside. Callbacks are `Send`. They run one at a time, on the thread that
/// drives. For callbacks that are not `Send`, such as with an `Rc` in them, there is
/// [`LocalReactor`].
///
/// ```
/// use oneloop::{Interest, Mode, Reactor};
/// use std::{io::Read, io::Write, os::unix::net::UnixStream};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let reactor = Reactor::new()?;
/// let (mut ours, theirs) = UnixStream::pair()?;
///
/// reactor.add_handler(theirs, Interest::READABLE, Mode::Level, |stream, _event| {
///     let mut buffer = [0; 100];
///     let n = stream.read(&mut buffer).unwrap();
///     assert_eq!(&buffer[..n], b"hello");
///     oneloop::Action::Remove
/// })?;
/// ours.write_all(b"hello")?;
///
/// reactor.run()?; // returns when nothing is left that could call back
/// # Ok(())
/// # }
/// ```
pub struct Reactor<M: Threading = Shared> {
    pub(crate) core: Arc<Core>,
    threads: PhantomData<M>,
}

/// A [`Reactor`] that stays on its thread, so that its callbacks may hold an `Rc`.
///
/// Make one with [`Reactor::new_local`]. Other threads reach it through a [`Remote`].
pub type LocalReactor = Reactor<Local>;

/// How a loop is made, where [`Reactor::new`] does not do.
#[derive(Clone)]
pub struct Builder {
    poller: PollerKind,
    clock: Option<TestClock>,
    on_error: Option<ErrorReport>,
    #[cfg(feature = "__testing")]
    doubles: crate::testing::Doubles,
}

impl Builder {
    /// Chooses the poller. The default is the best one of the system.
    pub fn poller(mut self, poller: PollerKind) -> Builder {
        self.poller = poller;
        self
    }

    /// Runs the timers by a clock of your own, for tests.
    pub fn clock(mut self, clock: TestClock) -> Builder {
        self.clock = Some(clock);
        self
    }

    /// Calls `report` for every callback that returns an `Err`: a handler, a timer, a post. By then the
    /// callback was removed and dropped. Without a report, such errors go to `tracing` as errors (feature
    /// `tracing`), or else to the standard error output.
    ///
    /// `report` is called on the driving thread, with no lock held. If it panics, that reaches whoever
    /// drives.
    ///
    /// ```
    /// use oneloop::Reactor;
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let reactor = Reactor::builder()
    ///     .on_error(|failed| {
    ///         eprintln!("{failed}"); // "the callback posted at src/main.rs:9:9 failed: no luck"
    ///         Reactor::current().unwrap().stop();
    ///     })
    ///     .build()?;
    /// reactor.call_soon(|| Err::<(), _>("no luck"))?;
    /// reactor.run()?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn on_error(mut self, report: impl Fn(&FailedCallback) + Send + Sync + 'static) -> Builder {
        self.on_error = Some(Arc::new(report));
        self
    }

    /// Puts test doubles in the place of the kernel and of the clock.
    #[cfg(feature = "__testing")]
    #[doc(hidden)]
    pub fn doubles(mut self, doubles: crate::testing::Doubles) -> Builder {
        self.doubles = doubles;
        self
    }

    /// Makes a [`Reactor`].
    ///
    /// # Errors
    ///
    /// If the process or the system has no descriptors left.
    pub fn build(self) -> Result<Reactor> {
        self.make()
    }

    /// Makes a [`LocalReactor`]. Fails as [`build`](Self::build) does.
    pub fn build_local(self) -> Result<LocalReactor> {
        self.make()
    }

    fn make<M: Threading>(self) -> Result<Reactor<M>> {
        #[cfg(feature = "__testing")]
        let (poller, clock) = self.doubles.stand_in(self.poller, self.clock);
        #[cfg(not(feature = "__testing"))]
        let (poller, clock) = (Poller::new(self.poller), ClockSource::from(self.clock));
        let poller = poller.map_err(|error| Error::os("build", error))?;
        let core = Core::new(poller, clock, self.on_error, M::IS_LOCAL);
        Ok(Reactor {
            core: Arc::new(core),
            threads: PhantomData,
        })
    }
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut builder = f.debug_struct("Builder");
        builder.field("poller", &self.poller);
        builder.field("clock", &self.clock);
        builder.finish()
    }
}

impl Reactor {
    /// A loop with the best poller of the system. Fails as [`Builder::build`] does.
    pub fn new() -> Result<Reactor> {
        Reactor::builder().build()
    }

    /// A loop with something of your choice.
    pub fn builder() -> Builder {
        Builder {
            poller: PollerKind::BEST,
            clock: None,
            on_error: None,
            #[cfg(feature = "__testing")]
            doubles: Default::default(),
        }
    }
}

impl LocalReactor {
    /// A loop of this thread's own. Fails as [`Builder::build`] does.
    pub fn new_local() -> Result<LocalReactor> {
        Reactor::builder().build_local()
    }
}

impl Reactor {
    /// The loop that is calling, for callbacks: they need not hold a handle.
    ///
    /// There is one inside every callback and every drop of a callback or source in a turn, and for
    /// the future of [`block_on`](Self::block_on). If a callback drives another loop, the callbacks of
    /// that one get it, and the outer one is back afterwards.
    ///
    /// The result is a handle like any other. Do not keep it in a callback: that keeps the loop alive.
    ///
    /// ```
    /// use oneloop::Reactor;
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let reactor = Reactor::new()?;
    /// reactor.call_soon(|| Reactor::current().unwrap().stop())?;
    /// reactor.run()?;
    ///
    /// assert!(Reactor::current().is_err()); // nothing is calling here
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`NotCurrent`](crate::ErrorKind::NotCurrent) outside of callbacks, and if the loop that is calling is
    /// a [`LocalReactor`]: [`current_local`](Self::current_local) gets that.
    pub fn current() -> Result<Reactor> {
        current(
            "current",
            "the loop that is calling is a `LocalReactor`: use `Reactor::current_local`",
        )
    }
}

impl LocalReactor {
    /// The loop that is calling, as [`Reactor::current`], if that is a [`LocalReactor`].
    ///
    /// ```
    /// use oneloop::Reactor;
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let reactor = Reactor::new_local()?;
    /// reactor.call_soon(|| Reactor::current_local().unwrap().stop()).map_err(oneloop::Error::from)?;
    /// reactor.run()?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`NotCurrent`](crate::ErrorKind::NotCurrent) outside of callbacks, and if the loop that is calling is
    /// a [`Reactor`].
    pub fn current_local() -> Result<LocalReactor> {
        current(
            "current_local",
            "the loop that is calling is a `Reactor`: use `Reactor::current`",
        )
    }
}

/// The loop that is calling. `other_kind` says so if its handles are not of this kind.
fn current<M: Threading>(call: &'static str, other_kind: &'static str) -> Result<Reactor<M>> {
    const NONE: &str = "no loop is calling on this thread";
    let not_current = |reason| Error::new(call, Cause::NotCurrent(reason));
    let core = Core::current().ok_or_else(|| not_current(NONE))?;
    if core.is_local != M::IS_LOCAL {
        return Err(not_current(other_kind));
    }
    match core.try_add_handle() {
        true => Ok(Reactor {
            core,
            threads: PhantomData,
        }),
        false => Err(Error::new(call, Cause::Closed)),
    }
}

/// Handlers.
impl<M: Threading> Reactor<M> {
    /// Calls `callback` when `source` is ready for what `interest` says. In force when it returns.
    ///
    /// The loop owns the source, so that it stays open while it is watched. The callback gets it as
    /// `&mut S`. If it replaces the source by another, such as a new connection, that one is watched
    /// when the callback returns. If it replaces a descriptor by a
    /// [`VirtualSource`](crate::VirtualSource), the handler goes quiet.
    ///
    /// Take an `Arc`, an `Rc` or a `BorrowedFd<'static>` to share a source. A [`Source`] is anything
    /// with a descriptor, or without one.
    ///
    /// Any number of handlers may be on one descriptor, each as if it were alone. A callback that
    /// returns `()` goes on, and one that returns an error is removed; see [`IntoAction`] for the rest. A
    /// handler that is added in a callback is first called in a later turn.
    ///
    /// O_NONBLOCK and all else of the descriptor stays as it is. Regular files and directories
    /// are always ready.
    ///
    /// # Errors
    ///
    /// The operating system's, with the number of the descriptor, if it cannot be watched, with
    /// the source in it; nothing is registered then. [`Unsupported`](crate::ErrorKind::Unsupported)
    /// if the poller has no edge-triggered mode, or the system (kqueue) tells of no priority data.
    #[doc(alias = "register")]
    #[track_caller]
    pub fn add_handler<S, F, A>(
        &self,
        source: S,
        interest: Interest,
        mode: Mode,
        callback: F,
    ) -> std::result::Result<HandlerId, AddError<S>>
    where
        S: Source + MaybeSend<M> + 'static,
        F: FnMut(&mut S, Event) -> A + MaybeSend<M> + 'static,
        A: IntoAction,
    {
        let on = Target::of(&source);
        let parts = (source, callback);
        let make = |(source, callback), _| boxed(source, callback);
        let (what, location) = ((interest, mode), Location::caller());
        match self
            .core
            .add_handler("add_handler", on, what, location, parts, make)
        {
            Ok(key) => Ok(HandlerId(key)),
            Err((error, (source, _))) => Err(AddError::new(error, source)),
        }
    }

    /// Like [`add_handler`](Self::add_handler) for a descriptor that somebody else owns, such as
    /// a C library.
    ///
    /// Bears what C libraries do: a descriptor closed before its handler is removed goes quiet,
    /// and its number can be registered anew at once; the kernel's complaints about that are
    /// mended and not reported. It is tidier to remove first and close then.
    ///
    /// ```
    /// use oneloop::{Interest, Mode, Reactor};
    /// use std::os::{fd::AsRawFd, unix::net::UnixStream};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let reactor = Reactor::new()?;
    /// let (library, _peer) = UnixStream::pair()?;
    /// let (fd, interest) = (library.as_raw_fd(), Interest::WRITABLE);
    /// let ready = |event: oneloop::Event| assert!(event.is_writable());
    /// // SAFETY: the library closes it after the handler was removed.
    /// let id = unsafe { reactor.add_raw_handler(fd, interest, Mode::Level, ready)? };
    /// assert_eq!(reactor.turn(None)?.called, 1);
    /// reactor.remove_handler(id)?;
    /// drop(library);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Safety
    ///
    /// The descriptor must be open now, and the handler be removed before, or soon after, its
    /// owner closes it. The number may come to mean another file, and
    /// [`update_handler`](Self::update_handler) and [`rearm_handler`](Self::rearm_handler) would
    /// have the callback watch that one.
    ///
    /// If a dup of the descriptor, in a child process for example, keeps the closed file open, the
    /// handler may be called for it up to 256 times more, until the loop has noticed. A callback
    /// that reads from the number then reads from whatever file has it.
    ///
    /// # Errors
    ///
    /// As [`add_handler`](Self::add_handler).
    #[track_caller]
    pub unsafe fn add_raw_handler<F, A>(
        &self,
        fd: RawFd,
        interest: Interest,
        mode: Mode,
        mut callback: F,
    ) -> Result<HandlerId>
    where
        F: FnMut(Event) -> A + MaybeSend<M> + 'static,
        A: IntoAction,
    {
        let make = |(), _| -> Box<dyn FnMut(Event) -> Outcome> {
            Box::new(move |event| callback(event).into_action().into())
        };
        let (what, location) = ((interest, mode), Location::caller());
        match self
            .core
            .add_handler("add_raw_handler", Target::Fd(fd), what, location, (), make)
        {
            Ok(key) => Ok(HandlerId(key)),
            Err((error, ())) => Err(error),
        }
    }

    /// Replaces what a handler waits for. [`Interest::NONE`] pauses it.
    ///
    /// For edge and one-shot handlers it also re-arms: what is ready now is reported again. Within
    /// a callback the kernel is told only before the loop waits again, so that a change and its
    /// undoing cost nothing.
    ///
    /// If the descriptor was closed, and its number means another file by now, that one is watched
    /// from here on. A change that is undone within one callback does not notice it:
    /// [`rearm_handler`](Self::rearm_handler) always does.
    ///
    /// ```
    /// use oneloop::{Interest, Mode, Reactor};
    /// use std::{io::Write, os::unix::net::UnixStream, time::Duration};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let reactor = Reactor::new()?;
    /// let (ours, _theirs) = UnixStream::pair()?;
    /// let id = reactor.add_handler(ours, Interest::WRITABLE, Mode::Level, |stream, event| {
    ///     stream.write_all(b"all there is").unwrap();
    ///     // It stays writable: without a pause this would be called in every turn.
    ///     Reactor::current().unwrap().update_handler(event.handler(), Interest::NONE).unwrap();
    /// })?;
    /// assert_eq!(reactor.turn(None)?.called, 1);
    /// assert_eq!(reactor.turn(Some(Duration::ZERO))?.called, 0);
    ///
    /// reactor.update_handler(id, Interest::WRITABLE)?; // there is more to write
    /// assert_eq!(reactor.turn(None)?.called, 1);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// If the id is unknown, or the descriptor was closed by its owner. (In a callback that may be
    /// noticed only before the next wait; the handler goes quiet then.) As
    /// [`add_handler`](Self::add_handler), for an interest that the system cannot tell of.
    #[doc(alias = "modify")]
    pub fn update_handler(&self, id: HandlerId, interest: Interest) -> Result<()> {
        self.core.update_handler(id.0, interest)
    }

    /// Makes the kernel take the descriptor anew even if nothing seems changed: for libraries
    /// that close a socket and open another under the same number inside one call, as libpq does.
    /// One-shot handlers are armed.
    ///
    /// # Errors
    ///
    /// As [`update_handler`](Self::update_handler).
    pub fn rearm_handler(&self, id: HandlerId) -> Result<()> {
        self.core.rearm_handler(id.0)
    }

    /// Removes a handler and drops its callback and source.
    ///
    /// It is not called any more, not even if it is ready in the current turn. (If another thread
    /// drives, one call may be under way there; it is dropped after that, on that thread.)
    ///
    /// # Errors
    ///
    /// If the id is unknown.
    pub fn remove_handler(&self, id: HandlerId) -> Result<()> {
        self.core.remove_handler(id.0)
    }

    /// Orders a handler among those that are ready in one turn: `High` before `Normal`, which is what every
    /// handler has at first, and that before `Idle`.
    ///
    /// All that are ready are called in that turn, so that none starves. Equals keep their order. In a
    /// callback, it counts from the next turn on.
    ///
    /// ```
    /// use oneloop::{Interest, Mode, Priority, Reactor, Ready, VirtualSource};
    /// use std::{sync::mpsc::channel, time::Duration};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let reactor = Reactor::new()?;
    /// let (sender, called) = channel();
    /// for priority in [Priority::Idle, Priority::Normal, Priority::High] {
    ///     let (source, readiness) = VirtualSource::pair();
    ///     readiness.set(Ready::READABLE);
    ///     let sender = sender.clone();
    ///     let id = reactor.add_handler(source, Interest::READABLE, Mode::Level, move |_, _| {
    ///         let _ = &readiness;
    ///         sender.send(priority).unwrap();
    ///     })?;
    ///     reactor.set_priority(id, priority)?;
    /// }
    /// reactor.turn(Some(Duration::ZERO))?;
    /// let called: Vec<_> = called.try_iter().collect();
    /// assert_eq!(called, [Priority::High, Priority::Normal, Priority::Idle]);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// If the id is unknown.
    pub fn set_priority(&self, id: HandlerId, priority: Priority) -> Result<()> {
        self.core.set_priority(id.0, priority)
    }

    /// Limits a handler to so many `calls` in an interval of `per`, by the loop's clock. Zero of either lifts
    /// the limit.
    ///
    /// The interval begins with a call. If the handler is ready once more than it may be called, the loop stops
    /// watching it until the interval ends, and calls it then if it is still ready. An edge that came meanwhile
    /// is such a call, and so is [`Action::Again`]. All else stays: the handler counts for [`run`](Self::run),
    /// and an update or a [`rearm_handler`](Self::rearm_handler) takes effect when the interval ends.
    ///
    /// A limit that replaces another begins at once: a handler that was held by the old one is watched again.
    ///
    /// ```
    /// use oneloop::{Interest, Mode, Reactor, Ready, TestClock, VirtualSource};
    /// use std::time::Duration;
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let clock = TestClock::new();
    /// let reactor = Reactor::builder().clock(clock.clone()).build()?;
    /// let (source, readiness) = VirtualSource::pair();
    /// readiness.set(Ready::READABLE); // and it stays so
    /// let id = reactor.add_handler(source, Interest::READABLE, Mode::Level, |_, _| {})?;
    /// reactor.limit_rate(id, 2, Duration::from_secs(1))?;
    ///
    /// let turns = || -> oneloop::Result<usize> {
    ///     (0..9).map(|_| Ok(reactor.turn(Some(Duration::ZERO))?.called)).sum()
    /// };
    /// assert_eq!(turns()?, 2);
    /// clock.advance(Duration::from_secs(1));
    /// assert_eq!(turns()?, 2);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// If the id is unknown.
    #[doc(alias = "ratelimit")]
    pub fn limit_rate(&self, id: HandlerId, calls: u32, per: Duration) -> Result<()> {
        self.core.limit_rate(id.0, calls, per)
    }

    /// The descriptor of a handler.
    ///
    /// # Errors
    ///
    /// If the id is unknown; [`Unsupported`](crate::ErrorKind::Unsupported) if it is on a
    /// [`VirtualSource`](crate::VirtualSource).
    pub fn handler_fd(&self, id: HandlerId) -> Result<RawFd> {
        self.core.handler_fd(id.0)
    }
}

/// Timers, on the monotonic clock: a system clock that is set changes nothing. They never fire
/// early, and they fire in the order of their deadlines.
impl<M: Threading> Reactor<M> {
    /// Calls `callback` once, at `deadline`. If that has passed: in the next turn, or in this one
    /// if a handler says so, whose turn has not come to its timers yet.
    ///
    /// The timer can be [reset](Self::reset_timer) and cancelled until it fires. In its own callback it is
    /// gone already: [`add_timer`](Self::add_timer) makes one that fires again.
    ///
    /// # Errors
    ///
    /// If the loop is closed, or is of a parent process.
    #[track_caller]
    pub fn call_at<F, R>(&self, deadline: Instant, callback: F) -> Result<TimerId>
    where
        F: FnOnce() -> R + MaybeSend<M> + 'static,
        R: IntoResult,
    {
        self.call_once("call_at", When::At(deadline), callback)
    }

    /// Calls `callback` once, after `delay`. A delay of zero means the next turn, or this one if a
    /// handler says so; one of more than 480 years means never, which does not keep
    /// [`run`](Self::run) going.
    ///
    /// The timer can be [reset](Self::reset_timer) and cancelled until it fires. In its own callback it is
    /// gone already: [`add_timer`](Self::add_timer) makes one that fires again.
    ///
    /// ```
    /// use std::{sync::mpsc::channel, time::Duration};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let reactor = oneloop::Reactor::new()?;
    /// let (sender, receiver) = channel();
    /// let text = String::from("given away");
    /// reactor.call_later(Duration::from_millis(1), move || sender.send(text))?;
    /// reactor.run()?;
    /// assert_eq!(receiver.recv()?, "given away");
    /// # Ok(())
    /// # }
    /// ```
    /// # Errors
    ///
    /// As [`call_at`](Self::call_at).
    #[doc(alias = "timeout")]
    #[track_caller]
    pub fn call_later<F, R>(&self, delay: Duration, callback: F) -> Result<TimerId>
    where
        F: FnOnce() -> R + MaybeSend<M> + 'static,
        R: IntoResult,
    {
        self.call_once("call_later", When::After(delay), callback)
    }

    /// Adds a timer that sleeps until [`reset_timer`](Self::reset_timer) gives it a deadline. When it has
    /// fired, it sleeps until it is reset again, which its own callback may do.
    ///
    /// It is there until it is cancelled, or its callback returns [`Action::Remove`]. While it sleeps it does
    /// not keep [`run`](Self::run) going. A reset to more than 480 years from now puts it to sleep.
    ///
    /// Resetting costs much less than to cancel one timer and to add another. That is what a limit to the
    /// silence of a connection needs, for example:
    ///
    /// ```
    /// use oneloop::{Action, Interest, Mode, Reactor};
    /// use std::{io::Read, os::unix::net::UnixStream, time::Duration};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use std::io::Write;
    /// const LIMIT: Duration = Duration::from_millis(5);
    ///
    /// let reactor = Reactor::new()?;
    /// let (ours, mut theirs) = UnixStream::pair()?;
    /// let silence = reactor.add_timer(|| Reactor::current().unwrap().stop())?;
    /// reactor.reset_timer_after(silence, LIMIT)?;
    /// let read = move |stream: &mut UnixStream, _| -> Result<(), Box<dyn std::error::Error>> {
    ///     stream.read(&mut [0; 100])?;
    ///     Ok(Reactor::current()?.reset_timer_after(silence, LIMIT)?)
    /// };
    /// reactor.add_handler(ours, Interest::READABLE, Mode::Level, read)?;
    /// # theirs.write_all(b"a message")?;
    /// reactor.run()?; // until nothing has come for so long
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`call_at`](Self::call_at).
    #[track_caller]
    pub fn add_timer<F, A>(&self, callback: F) -> Result<TimerId>
    where
        F: FnMut() -> A + MaybeSend<M> + 'static,
        A: IntoAction,
    {
        self.call_repeatedly("add_timer", When::After(Duration::MAX), callback)
    }

    /// Calls `callback` every `period`, the first time a period from now. Keeps its phase: what
    /// was missed because the loop was busy is skipped. A period of zero means every turn. Ends when
    /// it returns [`Action::Remove`] or an error; `()`, and any other, means to go on.
    ///
    /// ```
    /// use oneloop::{Action, Reactor};
    /// use std::time::Duration;
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let reactor = Reactor::new()?;
    /// let mut calls = 0;
    /// reactor.call_every(Duration::from_millis(1), move || {
    ///     calls += 1;
    ///     if calls == 3 { Action::Remove } else { Action::Continue }
    /// })?;
    /// reactor.run()?; // returns when the timer is gone
    /// assert_eq!(reactor.stats().timer_calls, 3);
    /// # Ok(())
    /// # }
    /// ```
    #[track_caller]
    pub fn call_every<F, A>(&self, period: Duration, callback: F) -> Result<TimerId>
    where
        F: FnMut() -> A + MaybeSend<M> + 'static,
        A: IntoAction,
    {
        let now = self.now();
        let when = match now.checked_add(period) {
            Some(start) => When::Every(start, period),
            // Beyond the end of time: never.
            None => When::After(period),
        };
        self.call_repeatedly("call_every", when, callback)
    }

    /// Calls `callback` once, when the system clock shows `time`; if that has passed, as soon as
    /// [`call_at`](Self::call_at) does. Follows a clock that is set, and never fires while the clock
    /// shows less.
    ///
    /// On Linux the kernel says when the clock is set, or the machine has slept. Elsewhere the
    /// clock is looked at when the timer is due by what it showed before: one that was set forward
    /// is noticed only then.
    ///
    /// Before it fires, [`reset_timer`](Self::reset_timer) makes it a timer on the monotonic clock.
    ///
    /// # Errors
    ///
    /// As [`call_at`](Self::call_at), and the operating system's if there are no descriptors left
    /// for the first such timer of a loop, which needs one.
    #[track_caller]
    pub fn call_at_system_time<F, R>(&self, time: SystemTime, callback: F) -> Result<TimerId>
    where
        F: FnOnce() -> R + MaybeSend<M> + 'static,
        R: IntoResult,
    {
        self.call_once("call_at_system_time", When::System(time), callback)
    }

    #[track_caller]
    fn call_once<F, R>(&self, call: &'static str, when: When, callback: F) -> Result<TimerId>
    where
        F: FnOnce() -> R + 'static,
        R: IntoResult,
    {
        let mut callback = Some(callback);
        let callback = Box::new(move || {
            if let Some(callback) = callback.take() {
                callback().into_result()?;
            }
            Ok(Action::Remove)
        });
        let location = Location::caller();
        let added = (self.core).add_timer(call, when, Fired::Gone, location, callback);
        added.map(TimerId)
    }

    #[track_caller]
    fn call_repeatedly<F, A>(
        &self,
        call: &'static str,
        when: When,
        mut callback: F,
    ) -> Result<TimerId>
    where
        F: FnMut() -> A + 'static,
        A: IntoAction,
    {
        let callback = Box::new(move || callback().into_action());
        let location = Location::caller();
        let added = (self.core).add_timer(call, when, Fired::Kept, location, callback);
        added.map(TimerId)
    }

    /// Moves a timer, forward or back. A periodic one goes on from there. In its own callback the reset goes
    /// before the period. (If another thread drives, a call may be under way there. The timer fires once more
    /// then.)
    ///
    /// Reckon the deadline from [`now`](Self::now), which is right with a [`TestClock`], too.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let reactor = oneloop::Reactor::new()?;
    /// let limit = Duration::from_millis(5);
    /// let idle = reactor.call_later(limit, || oneloop::Reactor::current().unwrap().stop())?;
    ///
    /// let later = reactor.now() + 2 * limit;
    /// reactor.reset_timer(idle, later)?; // something has happened
    /// reactor.run()?;
    /// assert!(reactor.now() >= later);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// If the timer was cancelled or has fired.
    pub fn reset_timer(&self, id: TimerId, deadline: Instant) -> Result<()> {
        self.core.reset_timer(id.0, When::At(deadline))
    }

    /// As [`reset_timer`](Self::reset_timer), to `delay` from now.
    ///
    /// # Errors
    ///
    /// If the timer was cancelled or has fired.
    pub fn reset_timer_after(&self, id: TimerId, delay: Duration) -> Result<()> {
        self.core.reset_timer(id.0, When::After(delay))
    }

    /// As [`reset_timer`](Self::reset_timer), to a time of the system clock, as
    /// [`call_at_system_time`](Self::call_at_system_time). A periodic timer goes on from there, too, by the
    /// monotonic clock.
    ///
    /// # Errors
    ///
    /// As both.
    pub fn reset_timer_to_system_time(&self, id: TimerId, time: SystemTime) -> Result<()> {
        self.core.reset_timer(id.0, When::System(time))
    }

    /// Cancels a timer and drops its callback. (If another thread drives, a call may be under way there.)
    ///
    /// # Errors
    ///
    /// If the timer was cancelled or has fired.
    pub fn cancel_timer(&self, id: TimerId) -> Result<()> {
        self.core.cancel_timer(id.0)
    }

    /// When the next timer is due. Hosts do not need it: timers show on the descriptor.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.core.next_deadline()
    }

    /// The time by the loop's clock: [`Instant::now`], unless it has a [`TestClock`].
    pub fn now(&self) -> Instant {
        self.core.clock.instant()
    }
}

/// Posts and hooks.
impl<M: Threading> Reactor<M> {
    /// Calls `callback` in this turn if that has not begun with posts yet, else in the next. Posts of
    /// one thread run in their order; a post made by a post runs in the next turn.
    ///
    /// # Errors
    ///
    /// If the loop is closed; gives the callback back. So the error is `Send` and `Sync` only if the
    /// callback is. Where `?` wants that, leave the callback out of it:
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    /// let reactor = oneloop::Reactor::new_local()?;
    /// let shared = std::rc::Rc::new(5);
    /// reactor.call_soon(move || assert_eq!(*shared, 5)).map_err(oneloop::Error::from)?;
    /// reactor.run()?;
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "spawn")]
    #[track_caller]
    pub fn call_soon<F, R>(&self, callback: F) -> std::result::Result<PostId, PostError<F>>
    where
        F: FnOnce() -> R + MaybeSend<M> + 'static,
        R: IntoResult,
    {
        let inbox = &self.core.inbox;
        inbox.post("call_soon", Location::caller(), Priority::Normal, callback)
    }

    /// As [`call_soon`](Self::call_soon), before the turn's handlers or only when there is nothing
    /// else to do. Posts of one priority keep their order.
    #[track_caller]
    pub fn call_soon_with<F, R>(
        &self,
        priority: Priority,
        callback: F,
    ) -> std::result::Result<PostId, PostError<F>>
    where
        F: FnOnce() -> R + MaybeSend<M> + 'static,
        R: IntoResult,
    {
        let inbox = &self.core.inbox;
        inbox.post("call_soon_with", Location::caller(), priority, callback)
    }

    /// Cancels a post that was not called yet, and drops its callback.
    ///
    /// If a turn has taken the post up, as when this is called by another post of the turn, the callback is
    /// dropped when its turn has come. If another thread drives, the call may be under way there.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let reactor = oneloop::Reactor::new()?;
    /// let id = reactor.call_soon(|| unreachable!())?;
    /// reactor.cancel_post(id)?;
    /// reactor.run()?;
    /// assert_eq!(reactor.stats().post_calls, 0);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// If the post was called or cancelled, or is of another loop.
    pub fn cancel_post(&self, id: PostId) -> Result<()> {
        self.core.cancel_post(id)
    }

    /// A handle for other threads that can only post, wake and stop. It keeps neither the loop alive
    /// nor [`run`](Self::run) going.
    pub fn remote(&self) -> Remote {
        Remote {
            inbox: self.core.inbox.clone(),
        }
    }

    /// Makes the loop take a turn, which asks the [hooks](Self::add_hook), too. Any thread, by
    /// [`Remote::wake`].
    #[doc(alias = "notify")]
    pub fn wake(&self) {
        self.core.inbox.wake();
    }

    /// Adds a pair of hooks around the loop's sleep, for libraries that may have something to do
    /// without any descriptor showing it (xcb, Wayland, sd-bus, libzmq).
    ///
    /// `prepare` is called after all callbacks, right before the loop, or its host, goes to sleep,
    /// and says how long it may: `None` for as long as it likes, zero for not at all. `check` is
    /// called right after. Both must tolerate extra calls, including the same hook twice in a row.
    /// Hooks do not keep [`run`](Self::run) going.
    ///
    /// # Under a host
    ///
    /// The host's own code, such as the tasks of a runtime, runs after the loop's turns and before the
    /// host sleeps. This has two consequences:
    ///
    /// - If such code uses the library, it must call [`wake`](Self::wake) after that. Otherwise what it
    ///   leaves in a queue is not seen until the next turn. A host that knows when it is about to sleep can
    ///   call [`ask_hooks`](Self::ask_hooks) instead, as `oneloop_tokio::before_park` does.
    /// - A hook must not hold anything from `prepare` to `check` for which such code may wait. For Wayland, this
    ///   means `wl_display_prepare_read` and `wl_display_read_events` in the handler, with
    ///   `wl_display_dispatch_pending` and `wl_display_flush` in `prepare`.
    ///
    /// ```
    /// use std::{cell::RefCell, rc::Rc, time::Duration};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let reactor = oneloop::Reactor::new_local()?;
    /// // What a library has read already, and will not be told of again.
    /// let queue = Rc::new(RefCell::new(vec!["a message", "another"]));
    /// let (asked, emptied) = (queue.clone(), queue.clone());
    /// let prepare = move || (!asked.borrow().is_empty()).then_some(Duration::ZERO);
    /// let check = move || emptied.borrow_mut().clear();
    /// reactor.add_hook(prepare, check)?;
    /// reactor.turn(None)?;
    /// assert!(queue.borrow().is_empty());
    /// # Ok(())
    /// # }
    /// ```
    #[track_caller]
    pub fn add_hook<P, C>(&self, prepare: P, check: C) -> Result<HookId>
    where
        P: FnMut() -> Option<Duration> + MaybeSend<M> + 'static,
        C: FnMut() + MaybeSend<M> + 'static,
    {
        let hook = self.core.add_hook(|_| (Box::new(prepare), Box::new(check)));
        hook.map(HookId)
    }

    /// Calls the `prepare` hooks once more. For hosts whose own code has run since the last turn, right
    /// before they sleep.
    ///
    /// If a hook wants a turn, the descriptor becomes readable, so that the host does not sleep. If the loop
    /// is being driven, or has no hooks, this does nothing.
    ///
    /// # Errors
    ///
    /// As [`Host::step`].
    ///
    /// # Panics
    ///
    /// If a hook does. It is removed.
    pub fn ask_hooks(&self) -> Result<()> {
        self.core.ask_hooks()
    }

    /// Removes a pair of hooks.
    ///
    /// # Errors
    ///
    /// If the id is unknown.
    pub fn remove_hook(&self, id: HookId) -> Result<()> {
        self.core.remove_hook(id.0)
    }
}

/// Driving.
///
/// Only one at a time can drive. All of these fail with
/// [`AlreadyDriven`](crate::ErrorKind::AlreadyDriven) if a callback, another thread or a host does
/// already, and with the operating system's error if the kernel fails; nothing is lost, and it can
/// be tried again.
impl<M: Threading> Reactor<M> {
    /// The built-in loop: runs until nothing is left that could ever call back, or until
    /// [`stop`](Self::stop) is called.
    ///
    /// Handlers with an interest, timers and posts can call back, unless [`set_referenced`](Self::set_referenced) took them out
    /// of the count. A [`Remote`] alone, or any other handle, does not keep it going. Nor do hooks, or handlers
    /// that are paused. To run until `stop`, whatever is registered, use [`run_forever`](Self::run_forever).
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let reactor = oneloop::Reactor::new()?;
    /// reactor.run()?; // returns at once: nothing is registered
    ///
    /// reactor.call_later(Duration::from_millis(1), || println!("done"))?;
    /// reactor.run()?; // returns then
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Closed`](crate::ErrorKind::Closed) if [`close`](Self::close) is called, or was called before.
    ///
    /// # Panics
    ///
    /// If a callback does. A handler, timer or hook that panics is removed, all else stays due, and
    /// driving can go on.
    pub fn run(&self) -> Result<()> {
        self.core.run()
    }

    /// The built-in loop: runs until [`stop`](Self::stop) is called, even if nothing is left that could
    /// call back. Another thread may still post.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let reactor = oneloop::Reactor::new()?;
    /// let (remote, stopper) = (reactor.remote(), reactor.remote());
    /// std::thread::spawn(move || remote.call_soon(move || stopper.stop()));
    /// reactor.run_forever()?;
    /// assert_eq!(reactor.stats().post_calls, 1);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`run`](Self::run).
    ///
    /// # Panics
    ///
    /// As [`run`](Self::run).
    pub fn run_forever(&self) -> Result<()> {
        self.core.run_forever()
    }

    /// One turn: waits for up to `timeout` (`None`: for as long as it takes), then calls handlers
    /// that are ready, due timers, and what was posted.
    ///
    /// It also waits if nothing is left that could call back: another thread may post. After a
    /// [`stop`](Self::stop) it returns at once and says so.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let reactor = oneloop::Reactor::new()?;
    /// reactor.call_soon(|| println!("called in the turn"))?;
    /// let turn = reactor.turn(Some(Duration::ZERO))?;
    /// assert_eq!(turn.called, 1);
    /// assert!(!turn.stopped);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`run`](Self::run).
    ///
    /// # Panics
    ///
    /// If a callback does. A handler, timer or hook that panics is removed, all else stays due, and
    /// driving can go on.
    #[doc(alias = "poll_once")]
    pub fn turn(&self, timeout: Option<Duration>) -> Result<Turn> {
        self.core.turn(timeout)
    }

    /// The built-in loop, polling `future` too, until that is ready. It does not end because nothing
    /// is left that could call back.
    ///
    /// ```
    /// # #[cfg(feature = "futures")]
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use oneloop::{Reactor, futures::Timer};
    /// use std::time::Duration;
    ///
    /// let reactor = Reactor::new()?;
    /// reactor.call_soon(|| println!("called beside the future"))?;
    /// let answer = reactor.block_on(async {
    ///     Timer::after(&reactor, Duration::from_millis(1)).await;
    ///     42
    /// })?;
    /// assert_eq!(answer, 42);
    /// # Ok(())
    /// # }
    /// # #[cfg(not(feature = "futures"))]
    /// # fn main() {}
    /// ```
    ///
    /// # Errors
    ///
    /// [`Stopped`](crate::ErrorKind::Stopped) if [`stop`](Self::stop) is called, or was called
    /// before and the future is not ready at once; give `&mut future` to go on with it later.
    /// [`Closed`](crate::ErrorKind::Closed) if [`close`](Self::close) is.
    ///
    /// # Panics
    ///
    /// If the future or a callback does. A handler, timer or hook that panics is removed, all else stays
    /// due, and driving can go on.
    pub fn block_on<F: Future>(&self, future: F) -> Result<F::Output> {
        self.core.block_on(future)
    }

    /// Ends [`run`](Self::run), or whatever else drives, after the callback that is running. What
    /// was not called stays due. If nobody drives, the next who does returns at once.
    pub fn stop(&self) {
        self.core.inbox.stop();
    }

    /// Claims the reactor for a host, named for error messages; see [`Host`].
    pub fn host(&self, name: &'static str) -> Result<Host<M>> {
        Host::new(self.clone(), name)
    }

    /// Says whether a handler or timer counts for [`run`](Self::run): whether it keeps the loop going. At first
    /// each does.
    ///
    /// One that does not count is called all the same, as long as something else keeps the loop going.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let reactor = oneloop::Reactor::new()?;
    /// let tick = reactor.call_every(Duration::from_millis(1), || println!("still at it"))?;
    /// reactor.set_referenced(tick, false)?;
    /// reactor.call_later(Duration::from_millis(5), || println!("done"))?;
    /// reactor.run()?; // returns then
    /// assert_eq!(reactor.stats().pending_timers, 1);
    ///
    /// reactor.set_referenced(tick, true)?;
    /// assert!(reactor.is_alive());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// If the id is unknown. [`Unsupported`](crate::ErrorKind::Unsupported) for hooks and posts.
    #[doc(alias = "ref")]
    #[doc(alias = "unref")]
    pub fn set_referenced(&self, id: impl Into<Id>, is_referenced: bool) -> Result<()> {
        self.core.set_referenced(id.into(), is_referenced)
    }

    /// Removes all that is registered and drops it. Whatever drives ends after the callback that is running,
    /// with an error of the kind [`Closed`](crate::ErrorKind::Closed). Later calls give the same error.
    pub fn close(&self) {
        self.core.close();
    }

    /// A handle that does not keep the loop alive.
    ///
    /// Callbacks of the loop itself need none: see [`Reactor::current`]. The loop owns its callbacks, so a
    /// clone in one of them would keep the loop alive for as long as that is registered.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let reactor = oneloop::Reactor::new()?;
    /// let weak = reactor.downgrade();
    /// assert!(weak.upgrade().is_some());
    ///
    /// drop(reactor);
    /// assert!(weak.upgrade().is_none());
    /// # Ok(())
    /// # }
    /// ```
    pub fn downgrade(&self) -> WeakReactor<M> {
        WeakReactor {
            core: Arc::downgrade(&self.core),
            threads: PhantomData,
        }
    }

    /// Whether this process is a child, by `fork`, of the one that made the loop, and cannot use it.
    ///
    /// For those who write adapters. A runtime's set of descriptors is the parent's, too, after a fork. A
    /// child that unregisters the loop's descriptor there leaves the parent deaf.
    pub fn is_forked(&self) -> bool {
        self.core.inbox.is_forked()
    }

    /// Names a handler, a timer or a pair of hooks.
    ///
    /// The name appears beside the place of registration in [`dump`](Self::dump), in [`CallbackRun`] and in
    /// the spans of `tracing`. A second name replaces the first. Names need not be unique.
    ///
    /// ```
    /// use oneloop::{Interest, Mode, Reactor};
    /// use std::net::TcpListener;
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let reactor = Reactor::new()?;
    /// let listener = TcpListener::bind("127.0.0.1:0")?;
    /// let id = reactor.add_handler(listener, Interest::READABLE, Mode::Level, |_, _| {})?;
    /// reactor.set_name(id, "admin port")?;
    /// assert!(reactor.dump().contains("admin port"));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// If the id is unknown.
    pub fn set_name(&self, id: impl Into<Id>, name: impl Into<Arc<str>>) -> Result<()> {
        self.core.set_name(id.into(), name.into())
    }

    /// Times every call of a callback from now on, and calls `report` after each that took `threshold` or
    /// more. A threshold of zero reports all calls.
    ///
    /// A loop can have several observers, each with a threshold of its own. `report` is called on the driving
    /// thread, with no lock held, once the callback has returned, and may use the loop. If it panics, the
    /// panic reaches the driver, and the callback stays. The time that `report` takes is not counted.
    ///
    /// While a loop has no observer, its callbacks are not timed. With one, a call costs two looks at the
    /// clock, which is some 50 ns.
    ///
    /// ```
    /// use oneloop::{CallbackKind, Reactor};
    /// use std::time::Duration;
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let reactor = Reactor::new()?;
    /// reactor.observe_callbacks(Duration::from_millis(10), |run| eprintln!("{run}"))?;
    /// reactor.call_soon(|| std::thread::sleep(Duration::from_millis(20)))?;
    /// reactor.run()?; // the callback posted at src/main.rs:7:9 held the loop for 20.1ms
    ///
    /// let longest = reactor.stats().longest_callback.unwrap();
    /// assert_eq!(longest.kind, CallbackKind::Post);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// If the loop is closed, or belongs to a parent process.
    #[doc(alias = "slow_callback")]
    pub fn observe_callbacks<F>(&self, threshold: Duration, report: F) -> Result<ObserverId>
    where
        F: Fn(&CallbackRun) + MaybeSend<M> + 'static,
    {
        let added = self.core.observe_callbacks(threshold, Arc::new(report));
        added.map(ObserverId)
    }

    /// Removes an observer and drops it. If another thread drives, one report may be under way there.
    ///
    /// # Errors
    ///
    /// If the id is unknown.
    pub fn remove_observer(&self, id: ObserverId) -> Result<()> {
        self.core.remove_observer(id.0)
    }

    /// What the loop has done so far.
    pub fn stats(&self) -> Stats {
        self.core.stats()
    }

    /// Takes a snapshot of all that is registered: handlers, timers, hooks and posts.
    ///
    /// The loop goes on meanwhile, so the parts of a snapshot may be of slightly different times. The loop's
    /// lock is held for 256 registrations at a time.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let reactor = oneloop::Reactor::new()?;
    /// let tick = reactor.call_every(Duration::from_secs(5), || {})?;
    /// reactor.set_name(tick, "tick")?;
    /// let snapshot = reactor.snapshot()?;
    /// let timer = &snapshot.timers[0];
    /// assert_eq!((timer.id, timer.name.as_deref()), (tick, Some("tick")));
    /// assert!(timer.keeps_alive && timer.location.file().ends_with(".rs"));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// If the loop belongs to a parent process.
    pub fn snapshot(&self) -> Result<Snapshot> {
        self.core.snapshot()
    }

    /// Whether anything is left that could call back: a handler with an interest, a timer or a post, and not
    /// counting what [`set_referenced`](Self::set_referenced) took out. If not, [`run`](Self::run) returns.
    ///
    /// Inside a callback, the callback itself counts as long as it is registered. A post that runs does not.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let reactor = oneloop::Reactor::new()?;
    /// assert!(!reactor.is_alive());
    /// reactor.call_soon(|| {})?;
    /// assert!(reactor.is_alive());
    /// reactor.run()?;
    /// assert!(!reactor.is_alive());
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "uv_loop_alive")]
    pub fn is_alive(&self) -> bool {
        self.core.is_alive()
    }

    /// Describes all that is registered as text for people: what keeps the loop alive or busy, and where it
    /// was registered. The text form of a [`snapshot`](Self::snapshot), which may change with any version.
    ///
    /// ```text
    /// run is driving; 12 turns so far
    /// 2 handlers
    ///   descriptor 5 "admin port" (TCP listener 127.0.0.1:4711), Level Interest(READABLE), 3 calls, added at src/main.rs:11:9
    ///   SIGTERM, Level Interest(READABLE), 0 calls, added at src/main.rs:14:9
    /// 1 timers
    ///   in 3.2s, every 5s, 1 calls, set at src/main.rs:20:9
    /// 0 posts waiting
    /// ```
    pub fn dump(&self) -> String {
        match self.snapshot() {
            Ok(snapshot) => snapshot.to_string(),
            Err(error) => format!("{error}\n"),
        }
    }
}

/// Handles for C, which has only pointers.
impl Reactor {
    /// A pointer that means this loop, the same for all its handles. It is good while there is any.
    pub fn as_raw(&self) -> *const () {
        Arc::as_ptr(&self.core).cast()
    }

    /// The same, which is a handle itself, for [`from_raw`](Self::from_raw) to take back.
    pub fn into_raw(self) -> *const () {
        ManuallyDrop::new(self).as_raw()
    }

    /// The handle that a pointer is.
    ///
    /// # Safety
    ///
    /// The pointer must come from [`into_raw`](Self::into_raw), each of which allows one call. (Or
    /// from [`as_raw`](Self::as_raw), of a loop that is alive, if the result is never dropped.)
    pub unsafe fn from_raw(pointer: *const ()) -> Reactor {
        Reactor {
            // SAFETY: the caller's promise: it was made by `Arc::into_raw`, or `as_ptr`, above.
            core: unsafe { Arc::from_raw(pointer.cast()) },
            threads: PhantomData,
        }
    }
}

impl<M: Threading> Clone for Reactor<M> {
    fn clone(&self) -> Self {
        self.core.add_handle();
        Reactor {
            core: self.core.clone(),
            threads: PhantomData,
        }
    }
}

impl<M: Threading> Drop for Reactor<M> {
    /// The last one ends the loop, which is there until that is done.
    fn drop(&mut self) {
        self.core.drop_handle();
    }
}

impl<M: Threading> fmt::Debug for Reactor<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reactor")
            .field("stats", &self.stats())
            .finish()
    }
}

/// A handle that does not keep its loop alive; see [`Reactor::downgrade`].
pub struct WeakReactor<M: Threading> {
    core: Weak<Core>,
    threads: PhantomData<M>,
}

impl<M: Threading> WeakReactor<M> {
    /// The loop, if it is still there. Inside its own callbacks it always is; where callbacks and
    /// sources are dropped, because the last handle goes, it is not.
    pub fn upgrade(&self) -> Option<Reactor<M>> {
        let core = self.core.upgrade().filter(|core| core.try_add_handle())?;
        Some(Reactor {
            core,
            threads: PhantomData,
        })
    }
}

impl<M: Threading> Clone for WeakReactor<M> {
    fn clone(&self) -> Self {
        WeakReactor {
            core: self.core.clone(),
            threads: PhantomData,
        }
    }
}

impl<M: Threading> fmt::Debug for WeakReactor<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WeakReactor")
    }
}

/// Posts to a loop from any thread, wakes and stops it. Keeps neither the loop nor its descriptors alive.
///
/// Nor does it keep [`Reactor::run`] going, which returns when nothing else is left: see there for how
/// to wait for what a `Remote` will post.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let reactor = oneloop::Reactor::new_local()?;
/// let remote = reactor.remote();
/// let thread = std::thread::spawn(move || remote.call_soon(|| println!("on the loop's thread")));
/// thread.join().unwrap()?;
/// reactor.run()?;
/// assert_eq!(reactor.stats().post_calls, 1);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Remote {
    inbox: Arc<Inbox>,
}

impl Remote {
    /// As [`Reactor::call_soon`].
    ///
    /// # Errors
    ///
    /// If the loop is gone or closed; gives the callback back.
    #[track_caller]
    pub fn call_soon<F, R>(&self, callback: F) -> std::result::Result<PostId, PostError<F>>
    where
        F: FnOnce() -> R + Send + 'static,
        R: IntoResult,
    {
        self.inbox
            .post("call_soon", Location::caller(), Priority::Normal, callback)
    }

    /// As [`Reactor::call_soon_with`].
    ///
    /// # Errors
    ///
    /// If the loop is gone or closed; gives the callback back.
    #[track_caller]
    pub fn call_soon_with<F, R>(
        &self,
        priority: Priority,
        callback: F,
    ) -> std::result::Result<PostId, PostError<F>>
    where
        F: FnOnce() -> R + Send + 'static,
        R: IntoResult,
    {
        self.inbox
            .post("call_soon_with", Location::caller(), priority, callback)
    }

    /// Makes the loop take a turn. May be called in a signal handler, where it may change `errno`.
    #[doc(alias = "wakeup")]
    #[doc(alias = "notify")]
    pub fn wake(&self) {
        self.inbox.wake();
    }

    /// As [`Reactor::stop`].
    pub fn stop(&self) {
        self.inbox.stop();
    }
}

impl fmt::Debug for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Remote")
    }
}
