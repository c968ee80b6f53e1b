//! Registrations: handlers, timers, hooks, posts, names and observers.

use std::any::Any;
use std::io;
use std::panic::Location;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::core::{Core, known};
use super::handlers::{Callback as HandlerCallback, Changed, Handlers, no_descriptor};
use super::hooks::{Check, Prepare};
use super::observe::Report;
use super::state::State;
use super::target::Target;
use super::timers::{Callback as TimerCallback, Fired};
use super::when::When;
use crate::clock::nanoseconds;
use crate::guest;
use crate::id::Key;
use crate::os::{self, RawFd};
use crate::poller::Poller;
use crate::{Error, HookId, Id, Interest, Mode, PostId, Priority, Ready, Result};

impl Core {
    /// Registers a handler. `make` turns `parts` into the callback. An error gives `parts` back.
    pub(crate) fn add_handler<P>(
        &self,
        call: &'static str,
        on: Target,
        (interest, mode): (Interest, Mode),
        location: &'static Location<'static>,
        parts: P,
        make: impl FnOnce(P, Key) -> HandlerCallback,
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

    pub(crate) fn move_handler(&self, key: Key, fd: RawFd) -> Result<()> {
        self.head.has_moved.store(true, Ordering::Relaxed);
        self.change_handler("move_handler", |handlers, poller| {
            handlers.move_to(poller, key, fd)
        })
    }

    pub(crate) fn handler_ready(&self, key: Key) -> Result<Ready> {
        const CALL: &str = "handler_ready";
        let ready = self.enter(CALL)?.handlers.ready_of(key);
        known(CALL, ready)
    }

    #[inline]
    fn change_handler(
        &self,
        call: &'static str,
        change: impl FnOnce(&mut Handlers, &Poller) -> Option<Changed>,
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
            os::NO_FD => Err(Error::os(CALL, no_descriptor())),
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

    /// Sets a timer. This is not generic, so that it is compiled here and not for each caller, which is faster.
    pub(crate) fn add_timer(
        &self,
        call: &'static str,
        when: When,
        fired: Fired,
        location: &'static Location<'static>,
        callback: TimerCallback,
    ) -> Result<Key> {
        self.add_timer_with(call, when, fired, location, |_| callback)
    }

    /// Sets a timer. `make` returns its callback, and is called under the lock.
    pub(crate) fn add_timer_with(
        &self,
        call: &'static str,
        when: When,
        fired: Fired,
        location: &'static Location<'static>,
        make: impl FnOnce(Key) -> TimerCallback,
    ) -> Result<Key> {
        let mut state = self.enter(call)?;
        Key::is_left(state.timers.len()).map_err(|error| Error::os(call, error))?;
        let deadline = self.deadline(call, &mut state, when)?;
        let key = state.timers.insert(deadline, fired, location, make);
        match when {
            When::At(_) | When::After(_) => {}
            When::Every(_, period) => {
                let every = Some(nanoseconds(period));
                state
                    .timers
                    .schedule(key, |schedule| schedule.every = every);
            }
            When::System(time) => {
                let at = Some(time);
                state.timers.schedule(key, |schedule| schedule.at = at);
            }
        }
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
                // Watched before the clock is read, so that no setting of the clock goes unnoticed.
                let watched = state.system.begin(&self.poller);
                watched.map_err(|error| Error::os(call, error))?;
                clock.deadline_of(time)
            }
        })
    }

    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        let deadline = self.try_state()?.next_deadline();
        self.instant_of(deadline)
    }

    pub(crate) fn add_hook(
        &self,
        call: &'static str,
        location: &'static Location<'static>,
        make: impl FnOnce(Key) -> (Prepare, Check),
    ) -> Result<Key> {
        let mut state = self.enter(call)?;
        let key = state.hooks.add(location, make);
        drop(state);
        // The hook must be asked before the loop sleeps, even if the loop sleeps already, or has just asked the
        // others.
        self.inbox.wake();
        Ok(key)
    }

    pub(crate) fn remove_hook(&self, call: &'static str, key: Key) -> Result<()> {
        let mut state = self.enter(call)?;
        let removed = state.remove_hook(key);
        // If this hook kept `run` going, nothing may be left to wait for.
        self.changed(state);
        known(call, removed).map(drop)
    }

    /// Decides whether a handler, a timer or a pair of hooks keeps the loop going. Posts always do.
    pub(crate) fn set_referenced(&self, id: Id, is_referenced: bool) -> Result<()> {
        const CALL: &str = "set_referenced";
        let mut state = self.enter(CALL)?;
        let found = match id {
            Id::Handler(id) => state.handlers.set_referenced(id.0, is_referenced),
            Id::Timer(id) => state.timers.set_referenced(id.0, is_referenced),
            Id::Hook(id) => state.hooks.set_referenced(id.0, is_referenced),
            Id::Post(_) => {
                let what = "a post is called soon and is not counted";
                let error = io::Error::new(io::ErrorKind::Unsupported, what);
                return Err(Error::os(CALL, error));
            }
        };
        self.changed(state);
        known(CALL, found)
    }

    pub(crate) fn cancel_post(&self, id: PostId) -> Result<()> {
        const CALL: &str = "cancel_post";
        drop(self.enter(CALL)?);
        known(CALL, self.inbox.posts.cancel(id)).map(drop)
    }

    /// Keeps a value until [`let_go`](Self::let_go), or until the loop is closed or ends.
    pub(crate) fn keep(&self, call: &'static str, value: Arc<dyn Any>) -> Result<Key> {
        let kept = self.enter(call)?.kept.add(value);
        kept.map_err(|error| Error::os(call, error))
    }

    /// Returns a kept value. Only the driver calls this, on whose thread the value is used and dropped.
    pub(crate) fn kept(&self, key: Key) -> Option<Arc<dyn Any>> {
        self.try_state()?.kept.get(key).cloned()
    }

    /// Gives a kept value back. Only the driver calls this. It drops the value with no lock held.
    pub(crate) fn let_go(&self, key: Key) -> Option<Arc<dyn Any>> {
        self.try_state()?.kept.remove(key)
    }

    pub(crate) fn set_name(&self, id: Id, name: Arc<str>) -> Result<()> {
        const CALL: &str = "set_name";
        let mut state = self.enter(CALL)?;
        let old = state.detail(id).map(|detail| detail.name.replace(name));
        drop(state);
        known(CALL, old).map(drop)
    }

    /// Notes the event that a handler stands for.
    #[cfg(feature = "signal")]
    pub(crate) fn set_event(&self, key: Key, event: crate::LoopEvent) {
        if let Some(detail) = self.state().detail(crate::HandlerId(key).into()) {
            detail.event = Some(event);
        }
    }

    /// Notes that a pair of hooks is that of a guest.
    pub(crate) fn set_guest(&self, key: Key, progress: Arc<guest::Progress>) {
        if let Some(detail) = self.state().detail(HookId(key).into()) {
            detail.guest = Some(progress);
        }
    }

    pub(crate) fn observe_callbacks(
        &self,
        threshold: Duration,
        make: impl FnOnce(Key) -> Arc<Report>,
    ) -> Result<Key> {
        // Added under the lock, so that `close` on another thread either refuses or removes it.
        let state = self.enter("observe_callbacks")?;
        let key = self.observers.add(threshold, make);
        drop(state);
        Ok(key)
    }

    pub(crate) fn remove_observer(&self, key: Key) -> Result<()> {
        const CALL: &str = "remove_observer";
        self.check_process(CALL)?;
        known(CALL, self.observers.remove(key)).map(drop)
    }
}
