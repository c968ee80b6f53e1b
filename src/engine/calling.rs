//! The second half of a turn: calling hooks, handlers, timers and posts.

use std::mem;
use std::panic::Location;

use super::core::Core;
use super::deadline::NEVER;
use super::driver::Driver;
use super::handlers::{self, Outcome};
use super::hooks::{Check, Hook};
use super::observe::{self, Observed, kind_of};
use super::stack::Entry;
use super::state::State;
use super::state_lock::StateGuard;
use super::timers;
use super::turn_state::Cut;
use crate::id::Key;
use crate::os::{self, RawFd};
use crate::outcome::Failure;
use crate::poller::BATCH;
use crate::{
    Action, CallbackKind, Error, FailedCallback, HandlerId, HookId, Id, Priority, Result, TimerId,
    Turn,
};

impl<'c> Driver<'c> {
    /// Calls the check hooks, then the posts of high priority.
    #[inline(never)]
    pub(super) fn call_first(
        &mut self,
        mut state: StateGuard<'c>,
        turn: &mut Turn,
        cut: Option<Cut>,
        limit: u64,
    ) -> Result<StateGuard<'c>> {
        if cut.is_none() && !state.hooks.is_empty() {
            // This often saves a look at the clock.
            let is_early = state.sleep.is_before(limit);
            let now = if is_early { 0 } else { self.core.clock.now() };
            let check = |check: &mut Check| turn.called += usize::from(check(now));
            state = self.call_hooks(state, |hook| &mut hook.check, check)?;
        }
        match cut {
            None => self.turn_state.left = self.core.inbox.take_urgent(),
            Some(Cut::Urgent) => {}
            Some(_) => return Ok(state),
        }
        self.call_posts(state, turn, Cut::Urgent, Priority::High)
    }

    /// Calls the handlers in the batch.
    pub(super) fn call_handlers(
        &mut self,
        mut state: StateGuard<'c>,
        turn: &mut Turn,
    ) -> Result<StateGuard<'c>> {
        let core = self.core;
        // One wait finds at most `BATCH` events, so a smaller budget does not break the turn off.
        let end = turn.called.saturating_add(self.most.max(BATCH));
        while let Some(key) = core.next_unless_stopped(|| self.turn_state.batch.next()) {
            let poller = &core.poller;
            let Some(call) = state.handlers.start(poller, key, &core.clock) else {
                continue;
            };
            let handlers::Call {
                mut callback,
                event,
                location,
            } = call;
            state.stats.handler_calls += 1;
            turn.called += 1;
            let id = HandlerId(key).into();
            let mut observed = core.observers.begin(id, location, Some(&state.details));
            let outcome = self.call_unlocked(state, id, &mut observed, || callback(event));
            state = self.state()?;
            let mut failed = None;
            let action = match outcome {
                Outcome::Done(action) => action,
                Outcome::Replaced(action, fd) => {
                    state.handlers.follow(poller, key, fd);
                    action
                }
                Outcome::Failed(error) => {
                    let fd = state.handlers.fd_of(key);
                    failed = Some(failure(&state, id, fd, location, error));
                    Action::Remove
                }
            };
            let dead = state.handlers.finish(poller, key, callback, action);
            if dead.is_some() | observed.is_some() {
                state = self.after_call(state, dead, observed, failed)?;
            }
            if turn.called >= end && self.turn_state.has_left_overs() {
                self.turn_state.cut = Some(Cut::Handlers);
                break;
            }
        }
        Ok(state)
    }

    /// Calls the due timers, then the posts of normal priority. If there was nothing to call, calls one idle post.
    #[inline(never)]
    pub(super) fn call_last(
        &mut self,
        mut state: StateGuard<'c>,
        turn: &mut Turn,
        cut: Option<Cut>,
        quiet: bool,
        limit: u64,
    ) -> Result<StateGuard<'c>> {
        if quiet && turn.called == 0 && !self.has_work(&state) {
            self.advance_clock(limit.min(state.next_deadline()));
        }
        if !self.is_cut() && cut != Some(Cut::Posts) {
            if cut != Some(Cut::Timers) && state.next_deadline() != NEVER {
                let now = self.core.clock.now();
                state.timers.take_due(now);
                let poller = &self.core.poller;
                state.handlers.release_due(poller, now);
            }
            state = self.call_due(state, turn)?;
        }
        if !self.is_cut() {
            if cut != Some(Cut::Posts) {
                self.turn_state.left = self.core.inbox.take_posts();
            }
            if self.turn_state.left > 0 {
                state = self.call_posts(state, turn, Cut::Posts, Priority::Normal)?;
            }
        }
        // Unclaimed events do not count as something to call, because they may come again and again.
        if cut.is_none() && turn.called == 0 && !self.is_busy(&state) {
            self.turn_state.left = 1;
            state = self.call_posts(state, turn, Cut::Posts, Priority::Idle)?;
        }
        Ok(state)
    }

    /// Calls the timers that `take_due` has found.
    fn call_due(&mut self, mut state: StateGuard<'c>, turn: &mut Turn) -> Result<StateGuard<'c>> {
        let core = self.core;
        let end = turn.called.saturating_add(self.most);
        while let Some(key) = core.next_unless_stopped(|| state.timers.pop_due()) {
            if let Some(time) = state.timers.system_time(key) {
                // The two clocks may differ a little, or the system clock was set a moment ago.
                if core.clock.system() < time {
                    // Reschedule only this timer: other due system-clock timers still fire in this turn.
                    let deadline = core.clock.later_deadline_of(time);
                    state.timers.reset(key, deadline, Some(time));
                    continue;
                }
            }
            let Some(timers::Call {
                mut callback,
                location,
                is_last,
            }) = state.timers.start(key)
            else {
                continue;
            };
            state.stats.timer_calls += 1;
            turn.called += 1;
            let id = TimerId(key).into();
            let mut observed = core.observers.begin(id, location, Some(&state.details));
            let (result, left) = if is_last {
                let call = || callback.call_last();
                (self.call_unlocked(state, id, &mut observed, call), None)
            } else {
                let call = || callback.call();
                let result = self.call_unlocked(state, id, &mut observed, call);
                (result, Some(callback))
            };
            state = self.state()?;
            let mut failed = None;
            let action = result.unwrap_or_else(|error| {
                failed = Some(failure(&state, TimerId(key).into(), None, location, error));
                Action::Remove
            });
            let now = || core.clock.now();
            let dead = left.and_then(|left| state.timers.finish(key, left, action, now));
            if dead.is_some() | observed.is_some() | failed.is_some() {
                state = self.after_call(state, dead, observed, failed)?;
            }
            if turn.called >= end && state.timers.has_due() {
                self.turn_state.cut = Some(Cut::Timers);
                break;
            }
        }
        Ok(state)
    }

    /// Calls the posts of a priority that are left in this phase.
    #[inline(never)]
    fn call_posts(
        &mut self,
        state: StateGuard<'c>,
        turn: &mut Turn,
        phase: Cut,
        priority: Priority,
    ) -> Result<StateGuard<'c>> {
        let core = self.core;
        let (inbox, observers) = (&core.inbox, &core.observers);
        let most = self.most.min(self.turn_state.left);
        if most == 0 || !inbox.posts.is_waiting(priority) {
            return Ok(state);
        }
        drop(state);
        let (mut left, mut called) = (most, 0);
        while left > 0 && !inbox.is_stopped() && !inbox.is_forked() {
            let Some(post) = inbox.posts.pop(priority) else {
                break;
            };
            left -= 1;
            let Entry {
                id,
                location,
                callback: Some(callback),
            } = post
            else {
                continue;
            };
            called += 1;
            turn.called += 1;
            let mut observed = observers.begin(id.into(), location, None);
            let result = observe::call(&mut observed, || callback.run());
            if let Some(observed) = observed {
                observers.report(observed.run());
            }
            if let Err(error) = result {
                observers.fail(&FailedCallback {
                    kind: CallbackKind::Post,
                    id: id.into(),
                    name: None,
                    fd: None,
                    location,
                    error,
                });
            }
        }
        let mut state = self.state()?;
        state.stats.post_calls += called;
        self.turn_state.left -= most - left;
        // If the loop was stopped, the other posts stay for the next turn.
        if left == 0 && self.turn_state.left > 0 {
            self.turn_state.cut = Some(phase);
        }
        Ok(state)
    }

    /// Calls the `prepare` or the `check` of each pair of hooks, whichever `half` selects.
    pub(super) fn call_hooks<C>(
        &self,
        mut state: StateGuard<'c>,
        half: fn(&mut Hook) -> &mut Option<C>,
        mut call: impl FnMut(&mut C),
    ) -> Result<StateGuard<'c>> {
        let core = self.core;
        let mut round = state.hooks.begin();
        while let Some(hook) = state.hooks.next(&mut round) {
            let (key, location) = (hook.key, hook.location);
            let Some(mut callback) = half(hook).take() else {
                continue;
            };
            hook.calls += 1;
            let id = HookId(key).into();
            let mut observed = core.observers.begin(id, location, Some(&state.details));
            self.call_unlocked(state, id, &mut observed, || call(&mut callback));
            state = self.state()?;
            let mut dead = Some(callback);
            if let Some(hook) = state.hooks.get(key) {
                *half(hook) = dead.take();
            }
            if dead.is_some() | observed.is_some() {
                state = self.after_call(state, dead, observed, None)?;
            }
        }
        Ok(state)
    }

    /// Calls a callback with no lock held. If the callback unwinds, its registration is removed.
    #[inline(always)]
    fn call_unlocked<R>(
        &self,
        state: StateGuard<'c>,
        id: Id,
        observed: &mut Option<Observed>,
        callback: impl FnOnce() -> R,
    ) -> R {
        drop(state);
        let core = self.core;
        let guard = RemoveOnPanic { core, id };
        let result = observe::call(observed, callback);
        mem::forget(guard);
        result
    }

    /// Drops a callback that was removed, tells the observers of the call, and reports an error.
    #[cold]
    #[inline(never)]
    fn after_call<T>(
        &self,
        mut state: StateGuard<'c>,
        dead: Option<T>,
        observed: Option<Observed>,
        failed: Option<Box<FailedCallback>>,
    ) -> Result<StateGuard<'c>> {
        let run = observed.as_ref().map(Observed::run);
        if let Some(run) = run {
            if let Some(detail) = state.detail(run.id) {
                detail.add(run);
            }
        }
        drop(state);
        drop(dead);
        if let Some(run) = run {
            self.core.observers.report(run);
        }
        if let Some(failed) = failed {
            self.core.observers.fail(&failed);
        }
        self.state()
    }
}

/// Makes the report of a callback that has returned an error.
#[cold]
#[inline(never)]
fn failure(
    state: &State,
    id: Id,
    fd: Option<RawFd>,
    location: &'static Location<'static>,
    error: Failure,
) -> Box<FailedCallback> {
    Box::new(FailedCallback {
        kind: kind_of(id),
        id,
        name: state.details.name(id).cloned(),
        fd: fd.filter(|&fd| fd != os::NO_FD),
        location,
        error,
    })
}

impl Core {
    /// Reports an error of a hook, which stays.
    pub(crate) fn report_failed_hook(
        &self,
        hook: Key,
        fd: RawFd,
        location: &'static Location<'static>,
        error: Error,
    ) {
        let Some(state) = self.try_state() else {
            return;
        };
        let id = HookId(hook).into();
        let failed = failure(&state, id, Some(fd), location, Failure::new(error));
        drop(state);
        self.observers.fail(&failed);
    }
}

/// Removes the registration of a callback, if it is dropped because the callback unwinds.
struct RemoveOnPanic<'c> {
    core: &'c Core,
    id: Id,
}

impl Drop for RemoveOnPanic<'_> {
    fn drop(&mut self) {
        let _ = match self.id {
            Id::Handler(id) => self.core.remove_handler(id.0),
            Id::Timer(id) => self.core.cancel_timer(id.0),
            Id::Hook(id) => self.core.remove_hook("remove_hook", id.0),
            Id::Post(_) => Ok(()),
        };
    }
}
