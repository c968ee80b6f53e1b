//! One turn: wait, I/O handlers, due timers, posted callbacks. All semantics are here; the pollers
//! below and the hosts above know nothing of them.
//!
//! Locks, in the order in which they may be taken: `turning` (whoever drives has it, callbacks
//! included), `state` (never held while user code runs, drops included), a virtual source's, the
//! inbox's.

mod current;
mod deadline;
mod details;
mod handlers;
mod handles;
mod heap;
mod hooks;
mod host;
mod inbox;
mod kept;
mod observe;
mod retire;
mod snapshot;
mod target;
mod timers;
mod turn;

use std::future::Future;
use std::panic::Location;
use std::pin::pin;
use std::sync::{Arc, PoisonError, TryLockError};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, ThreadId};
use std::time::{Duration, Instant, SystemTime};
use std::{io, mem};

use current::Entered;
use deadline::{NEVER, NO_WAIT};
use details::{Detail, Details};
use handlers::Handlers;
pub(crate) use handlers::Outcome;
use hooks::Hooks;
use host::Claim;
#[cfg(pollable)]
pub(crate) use host::Next;
pub(crate) use inbox::Inbox;
use kept::Kept;
use observe::Observers;
pub(crate) use observe::{ErrorReport, Report};
pub(crate) use target::Target;
pub(crate) use timers::Fired;
use timers::{Schedule, Timers};
use turn::{Driver, TurnState};

use crate::bindings::Head;
use crate::clock::{Clock, ClockSource, nanoseconds};
use crate::error::Cause;
use crate::host::Turn;
use crate::id::Key;
#[cfg(pollable)]
use crate::os::BorrowedFd;
use crate::os::{self, AsRawFd, RawFd};
use crate::poller::Poller;
use crate::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use crate::sync::{Mutex, MutexGuard};
use crate::{
    Error, ErrorKind, Event, Id, Interest, IntoAction, Mode, PostId, Priority, Result, Source,
    SourceKind, Stats,
};

/// What all handles of one reactor share.
#[repr(C)] // Pointers to it are pointers to the head.
pub(crate) struct Core {
    pub(crate) head: Head,
    /// How many handles there are: see `handles`.
    handles: AtomicUsize,
    /// Its handles stay on their thread.
    pub(crate) is_local: bool,
    pub(crate) poller: Poller,
    pub(crate) inbox: Arc<Inbox>,
    state: Mutex<State>,
    turn_state: Mutex<TurnState>,
    /// The host has asked for the descriptor: timers have to show on it.
    watched: AtomicBool,
    pub(crate) clock: Clock,
    observers: Observers,
    /// How many drives there are that were not polled yet.
    #[cfg(all(feature = "futures", feature = "tracing"))]
    pub(crate) expected_drives: AtomicUsize,
    /// Of futures for which nobody had to wait.
    #[cfg(feature = "futures")]
    pub(crate) timers_at_once: crate::futures::Budget,
    /// There was a warning that nobody drives.
    #[cfg(all(feature = "futures", feature = "tracing"))]
    has_warned: AtomicBool,
}

/// When a timer is to fire.
#[derive(Clone, Copy)]
pub(crate) enum When {
    At(Instant),
    After(Duration),
    /// First then, and again after each period.
    Every(Instant, Duration),
    /// By the system clock.
    System(SystemTime),
}

impl When {
    /// What becomes of the timer beside that.
    fn plan(self, fired: Fired) -> Schedule {
        let mut plan = Schedule::new(fired);
        match self {
            When::At(_) | When::After(_) => {}
            When::Every(_, period) => plan.every = Some(nanoseconds(period)),
            When::System(_) => plan.at = self.system_time(),
        }
        plan
    }

    fn system_time(self) -> Option<SystemTime> {
        match self {
            When::System(time) => Some(time),
            _ => None,
        }
    }
}

// SAFETY: what is not Send in there are callbacks, hooks and observers. Those of a `Reactor` are Send, because
// its methods ask for it (`MaybeSend<Shared>`). Those of a `LocalReactor` need not be, but its handles
// are neither Send nor Sync, so that they are called, and dropped, on their thread only. What goes
// to other threads is the inbox, which says for itself why that is sound, and a borrowed core in the
// futures of an `Async`, which change interests and touch no callback. The locks, and the atomics,
// make the rest Sync.
unsafe impl Send for Core {}
// SAFETY: as above.
unsafe impl Sync for Core {}

struct State {
    handlers: Handlers,
    timers: Timers,
    /// There was a timer for a time of the system clock.
    watches_clock: bool,
    /// How often the clock of a test had been set when the timers followed it last.
    clock_sets: u64,
    hooks: Hooks,
    details: Details,
    kept: Kept,
    phase: Phase,
    /// Who drives now, and from which thread.
    driver: Option<(&'static str, ThreadId)>,
    /// All it does is to ask the hooks.
    asks_hooks: bool,
    host: Option<Claim>,
    closed: bool,
    /// The deadline that the poller's alarm is set to.
    alarm: u64,
    /// If the prepare hooks were called after the last turn: until when they let the host sleep.
    prepared: Option<u64>,
    stats: Stats,
}

/// What the loop is doing, which tells who has to do something about a change.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Between turns. A host may be asleep, watching the descriptor.
    Resting,
    /// In the kernel, not longer than to this deadline.
    Waiting(u64),
    /// Calling callbacks, and sure to look at everything before it waits again.
    Calling,
}

/// How long a call inside a callback that wants to drive takes to fail.
const NESTED: Duration = Duration::from_millis(1);

const ASK_HOOKS: &str = "ask_hooks";

impl State {
    /// Something is registered that could call back, and is not taken out of the count.
    fn can_call(&self) -> bool {
        self.handlers.active() > 0 || self.timers.active() > 0
    }

    /// The earliest time at which there is something to do: a timer, or the end of a handler's interval.
    #[inline]
    fn next_deadline(&mut self) -> u64 {
        let release = self.handlers.next_release();
        self.timers.next_deadline().min(release)
    }

    /// The details of what is registered.
    fn detail(&mut self, id: Id) -> Option<&mut Detail> {
        let is_there = match id {
            Id::Handler(id) => self.handlers.contains(id.0),
            Id::Timer(id) => self.timers.contains(id.0),
            Id::Hook(id) => self.hooks.get(id.0).is_some(),
            Id::Post(_) => false,
        };
        is_there.then(|| self.details.entry(id))
    }

    /// Gives the hook back for the caller to drop.
    fn remove_hook(&mut self, key: Key) -> Option<hooks::Hook> {
        let removed = self.hooks.remove(key);
        if self.hooks.is_empty() {
            self.prepared = None;
        }
        removed
    }
}

type StateGuard<'a> = MutexGuard<'a, State>;

impl Core {
    pub(crate) fn new(
        poller: Poller,
        clock: ClockSource,
        on_error: Option<ErrorReport>,
        is_local: bool,
    ) -> Core {
        let inbox = Arc::new(Inbox::new(poller.waker()));
        Core {
            head: Head::new(),
            handles: AtomicUsize::new(1),
            is_local,
            clock: Clock::new(clock, &inbox),
            observers: Observers::new(on_error),
            state: Mutex::new(State {
                watches_clock: false,
                clock_sets: 0,
                handlers: Handlers::new(inbox.clone()),
                timers: Timers::default(),
                hooks: Hooks::default(),
                details: Details::default(),
                kept: Kept::default(),
                phase: Phase::Resting,
                driver: None,
                asks_hooks: false,
                host: None,
                closed: false,
                alarm: NEVER,
                prepared: None,
                stats: Stats::default(),
            }),
            turn_state: Mutex::new(TurnState::new()),
            poller,
            inbox,
            watched: AtomicBool::new(false),
            #[cfg(all(feature = "futures", feature = "tracing"))]
            expected_drives: AtomicUsize::new(0),
            #[cfg(feature = "futures")]
            timers_at_once: crate::futures::Budget::default(),
            #[cfg(all(feature = "futures", feature = "tracing"))]
            has_warned: AtomicBool::new(false),
        }
    }

    // Handlers.

    /// Gives `parts`, of which `make` would have made the callback, back if it fails.
    pub(crate) fn add_handler<P>(
        &self,
        call: &'static str,
        on: Target,
        (interest, mode): (Interest, Mode),
        location: &'static Location<'static>,
        parts: P,
        make: impl FnOnce(P, Key) -> handlers::Callback,
    ) -> std::result::Result<Key, (Error, P)> {
        let fd = match on {
            Target::Fd(fd) | Target::Socket(fd) => Some(fd),
            Target::Virtual(_) => None,
        };
        let name = |error: Error| match fd {
            Some(fd) => error.with_fd(fd),
            None => error,
        };
        let mut state = match self.enter(call) {
            Ok(state) => state,
            Err(error) => return Err((name(error), parts)),
        };
        match state
            .handlers
            .add(&self.poller, on, interest, mode, location)
        {
            Ok(key) => {
                state.handlers.set_callback(key, make(parts, key));
                self.changed(state);
                Ok(key)
            }
            Err(error) => Err((name(Error::os(call, error)), parts)),
        }
    }

    pub(crate) fn update_handler(&self, key: Key, interest: Interest) -> Result<()> {
        self.change_handler("update_handler", |handlers, poller| {
            handlers.update(poller, key, interest)
        })
    }

    #[cfg(feature = "futures")]
    pub(crate) fn set_mode(&self, key: Key, interest: Interest, mode: Mode) -> Result<()> {
        self.change_handler("set_mode", |handlers, poller| {
            handlers.set_mode(poller, key, interest, mode)
        })
    }

    pub(crate) fn rearm_handler(&self, key: Key) -> Result<()> {
        self.change_handler("rearm_handler", |handlers, poller| {
            handlers.rearm(poller, key)
        })
    }

    #[inline]
    fn change_handler(
        &self,
        call: &'static str,
        change: impl FnOnce(&mut Handlers, &Poller) -> Option<handlers::Changed>,
    ) -> Result<()> {
        let mut state = self.enter(call)?;
        let changed = change(&mut state.handlers, &self.poller);
        self.changed(state);
        known(call, changed)?.map_err(|(fd, error)| Error::os(call, error).with_fd(fd))
    }

    pub(crate) fn remove_handler(&self, key: Key) -> Result<()> {
        const CALL: &str = "remove_handler";
        let mut state = self.enter(CALL)?;
        let removed = state.handlers.remove(&self.poller, key);
        self.changed(state);
        // The callback and its source are dropped here, with no lock held.
        known(CALL, removed).map(drop)
    }

    pub(crate) fn handler_fd(&self, key: Key) -> Result<RawFd> {
        const CALL: &str = "handler_fd";
        let fd = self.enter(CALL)?.handlers.fd_of(key);
        match known(CALL, fd)? {
            os::NO_FD => {
                let what = "a virtual source has no descriptor";
                let error = io::Error::new(io::ErrorKind::Unsupported, what);
                Err(Error::os(CALL, error))
            }
            fd => Ok(fd),
        }
    }

    pub(crate) fn set_priority(&self, key: Key, priority: Priority) -> Result<()> {
        const CALL: &str = "set_priority";
        let found = self.enter(CALL)?.handlers.set_priority(key, priority);
        known(CALL, found)
    }

    pub(crate) fn limit_rate(&self, key: Key, calls: u32, per: Duration) -> Result<()> {
        const CALL: &str = "limit_rate";
        let mut state = self.enter(CALL)?;
        let found = state.handlers.limit(&self.poller, key, calls, per);
        self.changed(state);
        known(CALL, found)
    }

    // Timers.

    pub(crate) fn add_timer(
        &self,
        call: &'static str,
        when: When,
        fired: Fired,
        location: &'static Location<'static>,
        callback: timers::Callback,
    ) -> Result<Key> {
        self.add_timer_with(call, when, fired, location, |_| callback)
    }

    /// The same, with a callback that `make` makes under the lock.
    pub(crate) fn add_timer_with(
        &self,
        call: &'static str,
        when: When,
        fired: Fired,
        location: &'static Location<'static>,
        make: impl FnOnce(Key) -> timers::Callback,
    ) -> Result<Key> {
        let mut state = self.enter(call)?;
        Key::is_left(state.timers.len()).map_err(|error| Error::os(call, error))?;
        let deadline = self.deadline(call, &mut state, when)?;
        let key = state
            .timers
            .insert(deadline, when.plan(fired), location, make);
        self.changed(state);
        Ok(key)
    }

    pub(crate) fn cancel_timer(&self, key: Key) -> Result<()> {
        const CALL: &str = "cancel_timer";
        let mut state = self.enter(CALL)?;
        let cancelled = state.timers.cancel(key);
        self.changed(state);
        known(CALL, cancelled).map(drop)
    }

    pub(crate) fn reset_timer(&self, key: Key, when: When) -> Result<()> {
        const CALL: &str = "reset_timer";
        let mut state = self.enter(CALL)?;
        let deadline = self.deadline(CALL, &mut state, when)?;
        let reset = state.timers.reset(key, deadline, when.system_time());
        self.changed(state);
        known(CALL, reset)
    }

    fn deadline(&self, call: &'static str, state: &mut State, when: When) -> Result<u64> {
        let clock = &self.clock;
        Ok(match when {
            When::At(instant) | When::Every(instant, _) => clock.deadline(instant),
            When::After(delay) => clock.deadline_in(delay),
            When::System(time) => {
                // First, so that no setting of the clock goes unnoticed.
                if !state.watches_clock {
                    let watched = self.poller.watch_clock();
                    watched.map_err(|error| Error::os(call, error))?;
                    state.watches_clock = true;
                }
                clock.deadline_of(time)
            }
        })
    }

    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        match self.try_state()?.next_deadline() {
            NEVER => None,
            deadline => self.clock.instant_of(deadline),
        }
    }

    // Hooks.

    #[track_caller]
    pub(crate) fn add_hook(
        &self,
        make: impl FnOnce(Key) -> (hooks::Prepare, hooks::Check),
    ) -> Result<Key> {
        let mut state = self.enter("add_hook")?;
        let key = state.hooks.add(Location::caller(), make);
        drop(state);
        // It has to be asked before the loop sleeps: also if it does already, or if the others were
        // asked just now.
        self.inbox.wake();
        Ok(key)
    }

    pub(crate) fn remove_hook(&self, key: Key) -> Result<()> {
        const CALL: &str = "remove_hook";
        let mut state = self.enter(CALL)?;
        let removed = state.remove_hook(key);
        drop(state);
        known(CALL, removed).map(drop)
    }

    /// Asks the prepare hooks once more if the loop's host is about to sleep. If they, or anything else, want
    /// a turn, the descriptor becomes readable.
    pub(crate) fn ask_hooks(self: &Arc<Self>) -> Result<()> {
        let state = self.enter(ASK_HOOKS)?;
        let host = state.host.as_ref().map(|host| host.name);
        let asks = !state.hooks.is_empty();
        let asks = asks && state.phase == Phase::Resting;
        drop(state);
        if !asks {
            return Ok(());
        }
        match self.drive(ASK_HOOKS, host) {
            Ok(mut driving) => driving.rest().map(drop),
            // Whoever drives asks before anybody sleeps.
            Err(error) if error.kind() == ErrorKind::AlreadyDriven => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Hooks never keep the loop going, and posts are called soon.
    pub(crate) fn set_referenced(&self, id: Id, is_referenced: bool) -> Result<()> {
        const CALL: &str = "set_referenced";
        let mut state = self.enter(CALL)?;
        let found = match id {
            Id::Handler(id) => state.handlers.set_referenced(id.0, is_referenced),
            Id::Timer(id) => state.timers.set_referenced(id.0, is_referenced),
            Id::Hook(_) | Id::Post(_) => {
                let what = "only handlers and timers are counted";
                let error = io::Error::new(io::ErrorKind::Unsupported, what);
                return Err(Error::os(CALL, error));
            }
        };
        self.changed(state);
        known(CALL, found)
    }

    // Posts.

    pub(crate) fn cancel_post(&self, id: PostId) -> Result<()> {
        const CALL: &str = "cancel_post";
        self.check_process(CALL)?;
        self.inbox.cancel(CALL, id).map(drop)
    }

    // Names and observers.

    pub(crate) fn set_name(&self, id: Id, name: Arc<str>) -> Result<()> {
        const CALL: &str = "set_name";
        let mut state = self.enter(CALL)?;
        let old = state.detail(id).map(|detail| detail.name.replace(name));
        drop(state);
        known(CALL, old).map(drop)
    }

    /// Says what event a handler stands for.
    #[cfg(all(unix, feature = "signal"))]
    pub(crate) fn set_event(&self, key: Key, event: crate::LoopEvent) {
        if let Some(detail) = self.state().detail(crate::HandlerId(key).into()) {
            detail.event = Some(event);
        }
    }

    pub(crate) fn observe_callbacks(
        &self,
        threshold: Duration,
        report: Arc<Report>,
    ) -> Result<Key> {
        // Under the lock, so that a loop that is closed meanwhile keeps none.
        let state = self.enter("observe_callbacks")?;
        let key = self.observers.add(threshold, report);
        drop(state);
        Ok(key)
    }

    pub(crate) fn remove_observer(&self, key: Key) -> Result<()> {
        const CALL: &str = "remove_observer";
        self.check_process(CALL)?;
        known(CALL, self.observers.remove(key)).map(drop)
    }

    // Driving.

    /// The right to drive, until the result is dropped. `host`: who claimed the reactor before.
    pub(crate) fn drive(
        self: &Arc<Self>,
        call: &'static str,
        host: Option<&'static str>,
    ) -> Result<Driver<'_>> {
        let mut state = self.enter(call)?;
        let driver = state.driver;
        let is_here = || driver.is_some_and(|(_, thread)| thread == thread::current().id());
        if let Some(claim) = state.host.as_ref().filter(|claim| host != Some(claim.name)) {
            let by = format!("the host {}", claim.name);
            drop(state);
            return Err(driven(call, by, is_here()));
        }
        let turn_state = match self.turn_state.try_lock() {
            Ok(turn_state) => turn_state,
            // A callback panicked. What it left behind is whole: see `TurnState`.
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => {
                let here = is_here();
                if state.asks_hooks && !here {
                    // A host has come from that thread to this, and will not have to wait for long.
                    drop(state);
                    drop(self.turn_state.lock());
                    return self.drive(call, host);
                }
                let by = match driver {
                    Some((by, _)) if here => {
                        format!("{by}, one of whose callbacks this call comes from")
                    }
                    Some((by, _)) => format!("{by} on another thread"),
                    None => "another thread".into(),
                };
                drop(state);
                return Err(driven(call, by, here));
            }
        };
        state.driver = Some((host.unwrap_or(call), thread::current().id()));
        state.asks_hooks = call == ASK_HOOKS;
        Ok(Driver {
            core: self,
            _entered: Entered::new(self),
            turn_state,
            resting: false,
            call: host.unwrap_or(call),
            real_timeout: None,
            exits_when_empty: false,
            built_in: false,
            most: usize::MAX,
        })
    }

    pub(crate) fn run(self: &Arc<Self>) -> Result<()> {
        let mut driving = self.drive("run", None)?;
        driving.exits_when_empty = true;
        driving.built_in = true;
        let mut state = self.state();
        let mut turn = Turn::default();
        while !turn.stopped && driving.is_alive(&state) {
            state = driving.turn(state, NEVER, &mut turn)?;
        }
        // Before `driving`, whose drop takes the lock.
        drop(state);
        driving.check_open()
    }

    pub(crate) fn run_forever(self: &Arc<Self>) -> Result<()> {
        let mut driving = self.drive("run_forever", None)?;
        driving.built_in = true;
        let mut state = self.state();
        let mut turn = Turn::default();
        while !turn.stopped {
            state = driving.turn(state, NEVER, &mut turn)?;
        }
        drop(state);
        driving.check_open()
    }

    pub(crate) fn turn(self: &Arc<Self>, timeout: Option<Duration>) -> Result<Turn> {
        let mut driving = self.drive("turn", None)?;
        let until = match timeout {
            None => NEVER,
            Some(Duration::ZERO) => NO_WAIT,
            Some(timeout) if self.clock.test().is_none() => self.clock.deadline_in(timeout),
            // Its time and that of the clock are not the same.
            Some(timeout) => {
                driving.real_timeout = Some(timeout);
                NEVER
            }
        };
        let mut turn = Turn::default();
        drop(driving.turn(self.state(), until, &mut turn)?);
        // Whoever calls this may sleep next, whatever it says.
        let may_sleep = !turn.stopped && driving.rest()?;
        turn.idle &= may_sleep;
        driving.check_open()?;
        Ok(turn)
    }

    pub(crate) fn block_on<F: Future>(self: &Arc<Self>, future: F) -> Result<F::Output> {
        const CALL: &str = "block_on";
        struct Woken(AtomicBool, Arc<Inbox>);
        impl Wake for Woken {
            fn wake(self: Arc<Self>) {
                self.wake_by_ref();
            }
            fn wake_by_ref(self: &Arc<Self>) {
                if !self.0.swap(true, Ordering::SeqCst) {
                    self.1.wake();
                }
            }
        }

        let mut driving = self.drive(CALL, None)?;
        driving.built_in = true;
        let woken = Arc::new(Woken(AtomicBool::new(true), self.inbox.clone()));
        let waker = Waker::from(woken.clone());
        let mut future = pin!(future);
        let mut turn = Turn::default();
        loop {
            if woken.0.swap(false, Ordering::SeqCst) {
                let polled = future.as_mut().poll(&mut Context::from_waker(&waker));
                if let Poll::Ready(output) = polled {
                    // A stop that came by now was for this call. Left over it would end the next one.
                    self.inbox.take_stop();
                    return Ok(output);
                }
            }
            drop(driving.turn(driving.state()?, NEVER, &mut turn)?);
            if turn.stopped {
                driving.check_open()?;
                return Err(Error::new(CALL, Cause::Stopped));
            }
        }
    }

    /// Drops all that is registered.
    pub(crate) fn close(&self) {
        // Twice is once; and a child must not take the parent's handlers out of the kernel's set.
        let Ok(mut state) = self.enter("close") else {
            return;
        };
        state.closed = true;
        let handlers = state.handlers.clear(&self.poller);
        let timers = mem::take(&mut state.timers);
        let hooks = mem::take(&mut state.hooks);
        let kept = mem::take(&mut state.kept);
        drop(state);
        self.inbox.stop();
        let observers = self.observers.clear();
        // The values last, since the others may use them in their drop.
        drop((handlers, timers, hooks, self.inbox.close(), observers, kept));
    }

    pub(crate) fn stats(&self) -> Stats {
        let Some(state) = self.try_state() else {
            return Stats::default();
        };
        let kernel_changes = self.poller.changes();
        let [level, edge, oneshot] =
            [Mode::Level, Mode::Edge, Mode::Oneshot].map(|mode| state.handlers.len(mode));
        Stats {
            kernel_changes,
            kernel_changes_saved: state.handlers.changes().saturating_sub(kernel_changes),
            handlers: level + edge + oneshot,
            level_handlers: level,
            edge_handlers: edge,
            oneshot_handlers: oneshot,
            pending_timers: state.timers.len(),
            pending_posts: self.inbox.waiting(),
            longest_callback: self.observers.longest(),
            ..state.stats.clone()
        }
    }

    /// Something is left that could ever call back.
    pub(crate) fn is_alive(&self) -> bool {
        let Some(state) = self.try_state() else {
            return false;
        };
        if state.can_call() || self.inbox.waiting() > 0 {
            return true;
        }
        drop(state);
        match self.turn_state.try_lock() {
            Ok(turn_state) => turn_state.has_calls_left(),
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner().has_calls_left(),
            // What a turn has taken up is called by that turn.
            Err(TryLockError::WouldBlock) => false,
        }
    }

    /// A future is about to wait for a loop that may never turn.
    #[cfg(all(feature = "futures", feature = "tracing"))]
    pub(crate) fn warn_if_not_driven(&self) {
        let expected = self.expected_drives.load(Ordering::Relaxed) > 0;
        if !expected && !self.is_driven() && !self.has_warned.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                target: "oneloop",
                "a future waits on a loop that nobody drives: it will wait until somebody does"
            );
        }
    }

    /// A driver is at work, or a host has a claim.
    #[cfg(all(feature = "futures", feature = "tracing"))]
    fn is_driven(&self) -> bool {
        let state = self.try_state();
        state.is_some_and(|state| state.driver.is_some() || state.host.is_some())
    }

    #[cfg(pollable)]
    pub(crate) fn as_fd(&self) -> BorrowedFd<'_> {
        self.watch();
        self.poller.as_fd()
    }

    /// From now on, the host may watch the descriptor.
    #[cfg(pollable)]
    pub(crate) fn watch(&self) {
        let watched = self.watched.swap(true, Ordering::SeqCst);
        // The parent's alarm is not a child's to set.
        if !watched && !self.inbox.is_forked() {
            let mut state = self.state();
            state.handlers.nest(&self.poller);
            if state.phase == Phase::Resting && self.set_alarm(&mut state).is_err() {
                self.inbox.wake();
            }
        }
    }

    // Helpers.

    #[inline(always)]
    fn state(&self) -> StateGuard<'_> {
        // Nothing in here panics half way: user code never runs under this lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An error in a child of the process that it belongs to.
    #[inline]
    pub(crate) fn check_process(&self, call: &'static str) -> Result<()> {
        match self.inbox.is_forked() {
            true => Err(Error::new(call, Cause::Forked)),
            false => Ok(()),
        }
    }

    #[inline]
    fn enter(&self, call: &'static str) -> Result<StateGuard<'_>> {
        self.check_process(call)?;
        let state = self.state();
        if state.closed {
            return Err(Error::new(call, Cause::Closed));
        }
        Ok(state)
    }

    /// The next to be called: nobody, once `stop` was called, or in the child if a callback has
    /// forked.
    fn unless_stopped<T>(&self, next: impl FnOnce() -> Option<T>) -> Option<T> {
        match self.inbox.is_stopped() || self.inbox.is_forked() {
            true => None,
            false => next(),
        }
    }

    /// For what has no error to give. Another thread may have had the lock when this process was
    /// forked, and nobody would ever release it.
    fn try_state(&self) -> Option<StateGuard<'_>> {
        (!self.inbox.is_forked()).then(|| self.state())
    }

    /// Something was registered, changed or cancelled. If the loop sleeps, see that it wakes in
    /// time for it.
    fn changed(&self, mut state: StateGuard<'_>) {
        if state.phase == Phase::Calling {
            return;
        }
        let mut wake = state.handlers.has_next();
        match state.phase {
            Phase::Resting if !self.watched.load(Ordering::SeqCst) => {}
            Phase::Waiting(until) => {
                wake |= state.next_deadline() < until;
                // With nothing left to wait for, `run` ends.
                wake |= !state.can_call();
            }
            // Whoever drives the turn that this asks for hears of it.
            _ => {
                wake |= self.set_alarm(&mut state).is_err();
                let host = state.host.as_ref();
                wake |= host.is_some_and(|host| host.exits_when_empty) && !state.can_call();
            }
        }
        // Not before: it would wake up only to wait for the lock.
        drop(state);
        if wake {
            self.inbox.wake();
        }
    }

    /// If it was set, of which the kernel has told, or which shows by the clock of a test.
    fn follow_system_clock(&self, state: &mut State, told: bool) {
        let sets = self.clock.sets();
        if told || mem::replace(&mut state.clock_sets, sets) != sets {
            let deadline = |time| self.clock.deadline_of(time);
            state.timers.follow(deadline);
        }
    }

    /// Makes the next deadline show on the descriptor, if a host watches it.
    fn set_alarm(&self, state: &mut State) -> io::Result<()> {
        if !self.watched.load(Ordering::SeqCst) {
            return Ok(());
        }
        self.follow_system_clock(state, false);
        let next = state.next_deadline();
        let next = next.min(state.prepared.unwrap_or(NEVER));
        if self.clock.test().is_some() {
            // Who moves it wakes us; there is nothing to wait for but what is due already.
            if next <= self.clock.now() {
                self.inbox.wake();
            }
        } else if next != state.alarm {
            let delay = (next != NEVER).then(|| self.clock.until(next));
            self.poller.set_alarm(delay)?;
            state.alarm = next;
        }
        Ok(())
    }
}

/// `here`: by a callback on this thread.
fn driven(call: &'static str, by: String, here: bool) -> Error {
    // It may run the host's loop, as for a modal dialogue. The descriptor may be readable all the while, and
    // that loop must not spin.
    if here {
        thread::sleep(NESTED);
    }
    Error::new(call, Cause::AlreadyDriven(by))
}

fn known<T>(call: &'static str, found: Option<T>) -> Result<T> {
    found.ok_or_else(|| Error::new(call, Cause::UnknownId))
}

trait SourceFd {
    /// Its descriptor, or none.
    fn fd(&self) -> RawFd;
}

impl<S: Source> SourceFd for S {
    fn fd(&self) -> RawFd {
        match self.kind() {
            SourceKind::Descriptor(fd) => fd.as_raw_fd(),
            SourceKind::Virtual(_) => os::NO_FD,
        }
    }
}

/// The boxed callback of a handler that owns its source.
pub(crate) fn boxed<S, F, A>(mut source: S, mut callback: F) -> handlers::Callback
where
    S: 'static,
    S: Source,
    F: FnMut(&mut S, Event) -> A + 'static,
    A: IntoAction,
{
    let mut registered = source.fd();
    Box::new(move |event| {
        let action = match callback(&mut source, event).into_action() {
            Ok(action) => action,
            Err(failure) => return Outcome::Failed(failure),
        };
        let fd = source.fd();
        if fd == registered {
            return Outcome::Done(action);
        }
        registered = fd;
        Outcome::Replaced(action, fd)
    })
}

#[cfg(all(test, unix))]
mod tests {
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;
    use std::sync::mpsc::{RecvTimeoutError, Sender, channel};

    use super::*;
    use crate::{Reactor, TestClock};

    const SHORT: Duration = Duration::from_millis(20);

    /// Posts to the loop if this is not dropped for long, so that a turn without end fails its test.
    fn wake_after_long(reactor: &Reactor) -> Sender<()> {
        let (sender, ended) = channel();
        let reactor = reactor.downgrade();
        thread::spawn(move || {
            let waited = ended.recv_timeout(Duration::from_secs(10));
            if waited == Err(RecvTimeoutError::Timeout) {
                reactor.upgrade().unwrap().call_soon(|| {}).unwrap();
            }
        });
        sender
    }

    #[test]
    fn a_turn_waits_no_longer_than_its_timeout_for_a_later_timer() {
        let reactor = Reactor::new().unwrap();
        let later = Duration::from_secs(3600);
        reactor.call_later(later, || {}).unwrap();
        let _late = wake_after_long(&reactor);
        let start = Instant::now();
        assert_eq!(reactor.turn(Some(SHORT)).unwrap().called, 0);
        assert!(start.elapsed() >= SHORT);
    }

    #[test]
    fn a_turn_waits_for_its_timeout_by_the_real_clock() {
        for clock in [TestClock::new(), TestClock::eager()] {
            let reactor = Reactor::builder().clock(clock.clone()).build().unwrap();
            let _late = wake_after_long(&reactor);
            let (start, shown) = (Instant::now(), clock.now());
            assert_eq!(reactor.turn(Some(SHORT)).unwrap().called, 0);
            assert!(start.elapsed() >= SHORT);
            assert_eq!(clock.now(), shown);
        }
    }

    #[test]
    fn a_turn_sleeps_while_a_test_clock_has_not_come_to_a_timer() {
        let clock = TestClock::new();
        let reactor = Reactor::builder().clock(clock.clone()).build().unwrap();
        let later = Duration::from_secs(3600);
        reactor.call_later(later, || {}).unwrap();
        let start = Instant::now();
        assert_eq!(reactor.turn(Some(SHORT)).unwrap().called, 0);
        assert!(start.elapsed() >= SHORT);
        clock.advance(later);
        assert_eq!(reactor.turn(Some(SHORT)).unwrap().called, 1);
    }

    #[test]
    fn a_turn_with_an_event_is_not_idle() {
        let reactor = Reactor::new().unwrap();
        let (a, mut b) = UnixStream::pair().unwrap();
        b.write_all(b"xy").unwrap();
        let read = |stream: &mut UnixStream, _| stream.read_exact(&mut [0]).unwrap();
        reactor
            .add_handler(a, Interest::READABLE, Mode::Level, read)
            .unwrap();
        let idle = [(); 3].map(|()| {
            let turn = reactor.turn(Some(Duration::ZERO)).unwrap();
            (turn.called, turn.idle)
        });
        assert_eq!(idle, [(1, false), (1, false), (0, true)]);
    }
}
