//! Driving: one turn after the other, and leaving the loop as the next must find it.

use std::collections::VecDeque;
use std::panic::Location;
use std::time::Duration;
use std::{io, mem, thread};

use super::current::Entered;
use super::handlers::{Batch, Outcome};
use super::hooks::Hook;
use super::inbox::Post;
use super::observe::{self, Observed};
use super::{Core, NEVER, NO_WAIT, Phase, State, StateGuard, handlers, timers};
use crate::error::Cause;
use crate::id::Key;
use crate::os;
use crate::outcome::Failure;
use crate::poller::{BATCH, Events, PollSet};
use crate::sync::MutexGuard;
use crate::{
    Action, CallbackKind, Error, FailedCallback, HandlerId, HookId, Id, Priority, Result, TimerId,
    Turn,
};

/// What belongs to whoever drives. Left-overs of a turn that was stopped, or in which a callback
/// panicked, stay here for the next.
pub(super) struct TurnState {
    events: Events,
    /// Virtual sources that became ready; empty but while they are gathered.
    ready_sources: Vec<Key>,
    /// The handlers to be called in this turn.
    batch: Batch,
    /// Where a host's budget broke the turn off, and how many posts of that phase are left.
    cut: Option<Cut>,
    left: usize,
    /// Posts that were taken from the inbox, by priority.
    posts: [VecDeque<Post>; 3],
    /// Events that concern nobody, in each set.
    unclaimed: [Unclaimed; 2],
}

/// The phase in which a turn was broken off, and in which it goes on. What is left over stays where it
/// was, except for posts: they go back to the head of the inbox.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Cut {
    Urgent,
    Handlers,
    Timers,
    Posts,
}

/// In how many of them it is taken for a descriptor that cannot be removed.
const REBUILD_AFTER: u32 = 8;

/// How long the loop's own wait does nothing if it cannot get rid of that for want of descriptors.
const STUCK: Duration = Duration::from_millis(1);

/// Which key had events that concern nobody, and in how many turns in a row.
#[derive(Default, Clone, Copy, PartialEq, Eq)]
struct Unclaimed {
    by: Option<Key>,
    turns: u32,
}

impl Unclaimed {
    /// `met_now` is the one that was there before, if it is, or else any.
    #[cold]
    fn meet(&self, key: Key, met_now: &mut Option<Key>) {
        if met_now.is_none() || self.by == Some(key) {
            *met_now = Some(key);
        }
    }
}

impl TurnState {
    pub(super) fn new() -> TurnState {
        TurnState {
            events: Events::new(),
            ready_sources: Vec::new(),
            batch: Batch::default(),
            cut: None,
            left: 0,
            posts: Default::default(),
            unclaimed: [Unclaimed::default(); 2],
        }
    }

    /// The posts that were taken from the inbox and not called.
    pub(super) fn take_posts(&mut self) -> [VecDeque<Post>; 3] {
        mem::take(&mut self.posts)
    }

    /// It has taken calls over that no turn has made yet.
    pub(super) fn has_calls_left(&self) -> bool {
        self.has_left_overs() || self.has_idle()
    }

    /// Idle posts were taken and are left.
    #[inline]
    fn has_idle(&self) -> bool {
        !self.posts[Priority::Idle as usize].is_empty()
    }

    /// A turn that was stopped or broken off, or in which a callback panicked, has left something over.
    #[inline]
    fn has_left_overs(&self) -> bool {
        self.batch.is_left() | self.cut.is_some()
    }
}

/// The right to drive.
pub(crate) struct Driver<'a> {
    pub(super) core: &'a Core,
    pub(super) _entered: Entered<'a>,
    pub(super) turn_state: MutexGuard<'a, TurnState>,
    /// The loop was left as its host must find it.
    pub(super) resting: bool,
    /// What was called to drive.
    pub(super) call: &'static str,
    /// How long to wait, really, for a clock of which nobody knows when it will be moved.
    pub(super) real_timeout: Option<Duration>,
    /// It is not to wait when nothing is left that could call back.
    pub(super) exits_when_empty: bool,
    /// The loop's own wait drives: nobody can be told anything.
    pub(super) built_in: bool,
    /// After how many callbacks of a phase the turn is broken off: a host's own tasks have to get their
    /// share.
    pub(super) most: usize,
}

impl<'c> Driver<'c> {
    /// The state again, after user code. If that has forked, the child has to leave everything
    /// alone: what is the kernel's is the parent's, and the lock may be somebody's who is not here.
    pub(super) fn state(&self) -> Result<StateGuard<'c>> {
        match self.core.inbox.is_forked() {
            true => Err(Error::new(self.call, Cause::Forked)),
            false => Ok(self.core.state()),
        }
    }

    /// There is something left that could ever call back.
    pub(super) fn is_alive(&self, state: &State) -> bool {
        // Not `has_work`: a handler that is to be called next may have been taken out of the count.
        state.can_call()
            || self.turn_state.has_calls_left()
            || self.core.inbox.has_posts()
            || self.core.inbox.is_stopped()
    }

    /// There is something to call without waiting.
    fn has_work(&self, state: &State) -> bool {
        self.turn_state.has_idle() | self.is_busy(state)
    }

    /// The same, but for idle posts.
    fn is_busy(&self, state: &State) -> bool {
        let signalled = self.core.inbox.is_signalled();
        signalled | state.handlers.has_next() | self.turn_state.has_left_overs()
    }

    /// How long to wait, and in the poller's terms.
    #[inline]
    fn timeout(&self, until: u64) -> Option<Duration> {
        let clock = &self.core.clock;
        match until {
            NO_WAIT => Some(Duration::ZERO),
            NEVER => self.real_timeout,
            _ => match clock.test() {
                None => Some(clock.until(until)),
                // It stands still: sleep until somebody moves it, unless that is enough already.
                Some(test) if !test.is_eager() && clock.now() < until => self.real_timeout,
                Some(_) => Some(Duration::ZERO),
            },
        }
    }

    /// One turn, and what it did. Waits no longer than until then, the next timer, or what hooks
    /// allow.
    pub(super) fn turn(
        &mut self,
        mut state: StateGuard<'c>,
        until: u64,
        turn: &mut Turn,
    ) -> Result<StateGuard<'c>> {
        let core = self.core;
        *turn = Turn::default();
        if core.inbox.take_stop() {
            // As one that is stopped half way.
            self.turn_state.cut = None;
            turn.stopped = true;
            return Ok(state);
        }
        self.resting = false;
        state.phase = Phase::Calling;
        state.handlers.set_deferred(true);
        // The rest of a turn looks for nothing new until it comes to a phase that had not begun.
        let cut = self.turn_state.cut.take();
        let quiet;
        let mut limit = NEVER;
        match cut {
            None => (state, quiet, limit) = self.gather(state, until)?,
            Some(_) => quiet = false,
        }
        if cut.is_some() | !state.hooks.is_empty() | core.inbox.is_signalled() {
            state = self.call_first(state, turn, cut)?;
        }
        if !self.is_cut() {
            state = self.call_handlers(state, turn)?;
        }
        let posts = core.inbox.is_signalled() | self.turn_state.has_idle();
        let held = state.handlers.next_release() != NEVER;
        if cut.is_some() | !state.timers.is_empty() | posts | core.clock.is_test() | held {
            state = self.call_last(state, turn, cut, quiet, limit)?;
        }
        turn.stopped = core.inbox.take_stop();
        if turn.stopped {
            self.turn_state.cut = None;
        }
        turn.idle = quiet && !turn.stopped && !self.has_work(&state);
        if turn.idle && turn.called > 0 {
            turn.idle = !self.is_overdue(&mut state);
        }
        Ok(state)
    }

    /// A timer is due by now: to sleep until then would cost a host more than the next turn.
    fn is_overdue(&self, state: &mut State) -> bool {
        let next = state.next_deadline();
        next != NEVER && next <= self.core.clock.now()
    }

    /// Waits, and puts together whom to call. Gives whether nothing is ready, and until when the loop could
    /// have slept.
    #[inline(always)]
    fn gather(
        &mut self,
        mut state: StateGuard<'c>,
        until: u64,
    ) -> Result<(StateGuard<'c>, bool, u64)> {
        let core = self.core;
        state.stats.turns += 1;
        let turn = state.stats.turns as u16;
        let batch = &mut self.turn_state.batch;
        state.handlers.begin_turn(turn, batch);
        // What is rare is looked for with one branch for all of it, here and below, and is elsewhere.
        let mut limit = NEVER;
        let held = state.handlers.next_release() != NEVER;
        let rare = !state.hooks.is_empty() | state.handlers.is_dirty() | held;
        if rare | core.clock.is_test() {
            (state, limit) = self.prepare(state, until)?;
        }

        // Wait.
        let work = self.has_work(&state) || self.exits_when_empty && !self.is_alive(&state);
        let until = match work {
            true => NO_WAIT,
            false => until.min(limit).min(state.timers.next_deadline()),
        };
        let mut timeout = self.timeout(until);
        if until != NO_WAIT {
            state.phase = Phase::Waiting(until);
            state.handlers.set_deferred(false);
        }
        drop(state);
        if until != NO_WAIT && !core.inbox.fall_asleep() {
            timeout = Some(Duration::ZERO);
        }
        let waited = core.poller.wait(&mut self.turn_state.events, timeout);
        core.inbox.wake_up();

        // Gather. What was found is left over for the next turn if something fails.
        let mut gathered = waited;
        let mut state = core.state();
        state.phase = Phase::Calling;
        state.handlers.set_deferred(true);
        let noticed = self.turn_state.events.found.notices.any();
        if noticed | state.handlers.has_next() | core.inbox.is_signalled() | core.clock.is_test() {
            gathered = gathered.and(self.gather_unseen(&mut state));
        }
        let TurnState {
            events,
            batch,
            unclaimed,
            ..
        } = &mut *self.turn_state;
        let quiet = events.found.events.is_empty();
        let mut met = [None; 2];
        for fired in &events.found.events {
            if !state.handlers.gather(&core.poller, *fired, batch) {
                unclaimed[fired.set as usize].meet(fired.key, &mut met[fired.set as usize]);
            }
        }
        let has_priorities = state.handlers.has_priorities();
        if has_priorities | (met != [None; 2]) | (*unclaimed != [Unclaimed::default(); 2]) {
            state = self.look_at_batch(state, met);
        }
        gathered.map_err(|error| Error::os(self.call, error))?;
        Ok((state, quiet, limit))
    }

    /// The turn is broken off; a later call goes on with it.
    pub(super) fn is_cut(&self) -> bool {
        self.turn_state.cut.is_some()
    }

    /// What does not come as an event of a descriptor.
    #[inline(never)]
    fn gather_unseen(&mut self, state: &mut State) -> io::Result<()> {
        let core = self.core;
        let TurnState {
            events,
            ready_sources,
            batch,
            ..
        } = &mut *self.turn_state;
        if events.found.notices.alarm {
            state.alarm = NEVER;
        }
        let watched = match events.found.notices.clock {
            true => core.poller.watch_clock(),
            false => Ok(()),
        };
        core.follow_system_clock(state, events.found.notices.clock);
        if core.inbox.take_ready_sources(ready_sources) {
            let poller = &core.poller;
            state
                .handlers
                .take_ready_sources(poller, ready_sources, batch);
        }
        if state.handlers.has_next() {
            state.handlers.gather_next(batch);
        }
        watched
    }

    /// Puts the batch in order if there are priorities, and looks after events that concern nobody.
    #[cold]
    #[inline(never)]
    fn look_at_batch(&mut self, state: StateGuard<'c>, met: [Option<Key>; 2]) -> StateGuard<'c> {
        if state.handlers.has_priorities() {
            state.handlers.sort(&mut self.turn_state.batch);
        }
        self.rebuild_stale_sets(state, met)
    }

    /// If events of nobody come again and again, they are of a descriptor that cannot be removed.
    fn rebuild_stale_sets(
        &mut self,
        mut state: StateGuard<'c>,
        met: [Option<Key>; 2],
    ) -> StateGuard<'c> {
        let core = self.core;
        let mut is_stuck = false;
        for set in [PollSet::Primary, PollSet::Edge] {
            let unclaimed = &mut self.turn_state.unclaimed[set as usize];
            // Each handler that another thread has just removed may have one such event.
            unclaimed.turns = match met[set as usize] {
                Some(met_now) if unclaimed.by == Some(met_now) => unclaimed.turns + 1,
                met_now => u32::from(met_now.is_some()),
            };
            unclaimed.by = met[set as usize];
            if unclaimed.turns < REBUILD_AFTER {
                continue;
            }
            *unclaimed = Unclaimed::default();
            // A host that watches the descriptor has to stop that first. No host watches the second set.
            let host = state.host.as_mut().filter(|host| host.watches());
            if let Some(host) = host.filter(|_| set == PollSet::Primary) {
                host.ask_for_rebuild();
                continue;
            }
            if state.handlers.rebuild_set(&core.poller, set).is_err() {
                // For want of descriptors: all else goes on. It is tried again with the next such event.
                unclaimed.by = met[set as usize];
                unclaimed.turns = REBUILD_AFTER - 1;
                is_stuck = self.built_in;
            }
        }
        // Until then no wait sleeps. What comes meanwhile is late by that much, and the loop does not spin.
        if is_stuck && self.turn_state.batch.is_empty() {
            drop(state);
            thread::sleep(STUCK);
            state = core.state();
        }
        state
    }

    /// Check hooks, and urgent posts.
    #[inline(never)]
    fn call_first(
        &mut self,
        mut state: StateGuard<'c>,
        turn: &mut Turn,
        cut: Option<Cut>,
    ) -> Result<StateGuard<'c>> {
        if cut.is_none() && !state.hooks.is_empty() {
            state = self.call_hooks(state, |hook| &mut hook.check, |check| check())?;
        }
        let (inbox, most) = (&self.core.inbox, self.most);
        let TurnState { posts, left, .. } = &mut *self.turn_state;
        let urgent = &mut posts[Priority::High as usize];
        match cut {
            None if inbox.take_urgent(urgent) => *left = urgent.len(),
            Some(Cut::Urgent) => inbox.take_first(Priority::High, most.min(*left), urgent),
            _ => return Ok(state),
        }
        self.call_posts(state, turn, Cut::Urgent, Priority::High)
    }

    fn call_handlers(
        &mut self,
        mut state: StateGuard<'c>,
        turn: &mut Turn,
    ) -> Result<StateGuard<'c>> {
        let core = self.core;
        // What one wait fetches is bounded already.
        let end = turn.called.saturating_add(self.most.max(BATCH));
        while let Some(key) = core.unless_stopped(|| self.turn_state.batch.next()) {
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
            let (kind, id) = (CallbackKind::Handler, HandlerId(key).into());
            let mut observed = core.observers.begin(kind, id, location, &state.details);
            drop(state);
            turn.called += 1;
            let guard = OnPanic(|| drop(core.remove_handler(key)));
            let outcome = observe::call(&mut observed, || callback(event));
            mem::forget(guard);
            state = self.state()?;
            let mut failed = None;
            let action = match outcome {
                Outcome::Done(action) => action,
                Outcome::Replaced(action, fd) => {
                    state.handlers.follow(poller, key, fd);
                    action
                }
                Outcome::Failed(error) => {
                    failed = Some(self.failed_handler(&mut state, key, location, error));
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
        let run = run.filter(|run| self.core.observers.wants(run));
        if dead.is_none() && run.is_none() && failed.is_none() {
            return Ok(state);
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

    #[cold]
    #[inline(never)]
    fn failed_handler(
        &self,
        state: &mut State,
        key: Key,
        location: &'static Location<'static>,
        error: Failure,
    ) -> Box<FailedCallback> {
        let fd = state.handlers.fd_of(key);
        let id = Id::Handler(HandlerId(key));
        Box::new(FailedCallback {
            kind: CallbackKind::Handler,
            id,
            name: state.details.name(id).cloned(),
            fd: fd.filter(|&fd| fd != os::NO_FD),
            location,
            error,
        })
    }

    /// Timers, then posts.
    #[inline(never)]
    fn call_last(
        &mut self,
        mut state: StateGuard<'c>,
        turn: &mut Turn,
        cut: Option<Cut>,
        quiet: bool,
        limit: u64,
    ) -> Result<StateGuard<'c>> {
        if quiet && turn.called == 0 && !self.has_work(&state) {
            self.hurry(limit.min(state.next_deadline()));
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
            state = self.call_posted(state, turn, cut)?;
        }
        // Also beside events that concern nobody, which may come again and again.
        if cut.is_none() && turn.called == 0 && !self.is_busy(&state) {
            self.turn_state.left = 1;
            state = self.call_posts(state, turn, Cut::Posts, Priority::Idle)?;
        }
        Ok(state)
    }

    /// The timers that were taken as due.
    fn call_due(&mut self, mut state: StateGuard<'c>, turn: &mut Turn) -> Result<StateGuard<'c>> {
        let core = self.core;
        let end = turn.called.saturating_add(self.most);
        while let Some(key) = core.unless_stopped(|| state.timers.pop_due()) {
            if let Some(time) = state.timers.system_time(key) {
                // The two clocks may disagree by a little, or the one has just been set.
                if core.clock.system() < time {
                    // It alone: whoever else is due by that clock stays so.
                    let deadline = core.clock.later_deadline_of(time);
                    state.timers.reset(key, deadline, Some(time));
                    continue;
                }
            }
            let Some(timers::Call {
                mut callback,
                location,
            }) = state.timers.start(key)
            else {
                continue;
            };
            state.stats.timer_calls += 1;
            let (kind, id) = (CallbackKind::Timer, TimerId(key).into());
            let mut observed = core.observers.begin(kind, id, location, &state.details);
            drop(state);
            turn.called += 1;
            let guard = OnPanic(|| drop(core.cancel_timer(key)));
            let result = observe::call(&mut observed, &mut callback);
            mem::forget(guard);
            state = self.state()?;
            let (action, failed) = match result {
                Ok(action) => (action, None),
                Err(error) => (
                    Action::Remove,
                    Some(Box::new(FailedCallback {
                        kind: CallbackKind::Timer,
                        id: TimerId(key).into(),
                        name: state.details.name(TimerId(key).into()).cloned(),
                        fd: None,
                        location,
                        error,
                    })),
                ),
            };
            let now = || core.clock.now();
            let dead = state.timers.finish(key, callback, action, now);
            if dead.is_some() | observed.is_some() {
                state = self.after_call(state, dead, observed, failed)?;
            }
            if turn.called >= end && state.timers.has_due() {
                self.turn_state.cut = Some(Cut::Timers);
                break;
            }
        }
        Ok(state)
    }

    /// All that was posted when this phase began.
    fn call_posted(
        &mut self,
        state: StateGuard<'c>,
        turn: &mut Turn,
        cut: Option<Cut>,
    ) -> Result<StateGuard<'c>> {
        let (inbox, most) = (&self.core.inbox, self.most);
        let TurnState { posts, left, .. } = &mut *self.turn_state;
        let normal = Priority::Normal as usize;
        if cut == Some(Cut::Posts) {
            inbox.take_first(Priority::Normal, most.min(*left), &mut posts[normal]);
        } else if inbox.take(posts) {
            *left = posts[normal].len();
        } else {
            return Ok(state);
        }
        self.call_posts(state, turn, Cut::Posts, Priority::Normal)
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
        let now = self.most.min(self.turn_state.left);
        if now == 0 || self.turn_state.posts[priority as usize].is_empty() {
            return Ok(state);
        }
        drop(state);
        let (inbox, observers) = (&core.inbox, &core.observers);
        let mut next = inbox.begun(priority as usize);
        let (mut taken, mut cancelled) = (0, 0);
        while taken < now {
            // Both are looked for at once, before each post.
            let is_interfered = inbox.is_interfered();
            if is_interfered && inbox.is_stopped() || inbox.is_forked() {
                break;
            }
            let posts = &mut self.turn_state.posts[priority as usize];
            let Some(post) = posts.pop_front() else {
                break;
            };
            taken += 1;
            let id = next;
            next = id.plus(1);
            inbox.begin(priority, id);
            if is_interfered && inbox.take_cancelled(id) {
                cancelled += 1;
                continue;
            }
            turn.called += 1;
            let Post { callback, location } = post;
            let mut observed = observers.begin_post(id, location);
            let result = observe::call(&mut observed, callback);
            let run = observed.as_ref().map(Observed::run);
            if let Some(run) = run.filter(|run| observers.wants(run)) {
                observers.report(run);
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
        state.stats.post_calls += (taken - cancelled) as u64;
        self.turn_state.left -= taken;
        // If it was stopped, the left-overs are for the next turn.
        if taken == now && self.turn_state.left > 0 {
            self.turn_state.cut = Some(phase);
        }
        Ok(state)
    }

    /// There is nothing to do: an eager test clock moves to the next deadline.
    #[cold]
    fn hurry(&self, next: u64) {
        let clock = &self.core.clock;
        if let Some(test) = clock.test().filter(|test| test.is_eager() && next != NEVER) {
            test.advance(clock.until(next));
        }
    }

    /// Hooks, then changes for the kernel. Gives until when the loop may sleep.
    #[inline(never)]
    fn prepare(&self, mut state: StateGuard<'c>, until: u64) -> Result<(StateGuard<'c>, u64)> {
        let mut limit = NEVER;
        if !state.hooks.is_empty() {
            // What the hooks said after the last turn does if nothing can have happened since.
            let sleeps = until != NO_WAIT && !self.has_work(&state);
            match state.prepared.take() {
                Some(said) if !sleeps => limit = said,
                _ => (state, limit) = self.call_prepare(state)?,
            }
        }
        self.flush(&mut state)?;
        self.core.follow_system_clock(&mut state, false);
        limit = limit.min(state.handlers.next_release());
        Ok((state, limit))
    }

    fn flush(&self, state: &mut State) -> Result<()> {
        let flushed = state.handlers.flush(&self.core.poller);
        flushed.map_err(|(fd, error)| Error::os(self.call, error).with_fd(fd))
    }

    fn call_prepare(&self, mut state: StateGuard<'c>) -> Result<(StateGuard<'c>, u64)> {
        let mut limit = NEVER;
        state = self.call_hooks(
            state,
            |hook| &mut hook.prepare,
            |prepare| {
                limit = limit.min(match prepare() {
                    None => NEVER,
                    Some(Duration::ZERO) => NO_WAIT,
                    Some(wish) => self.core.clock.deadline_in(wish),
                });
            },
        )?;
        Ok((state, limit))
    }

    /// Calls one of the two callbacks of each hook.
    fn call_hooks<C>(
        &self,
        mut state: StateGuard<'c>,
        which: fn(&mut Hook) -> &mut Option<C>,
        mut call: impl FnMut(&mut C),
    ) -> Result<StateGuard<'c>> {
        let core = self.core;
        // Those who are there now: what a hook adds waits for the next time.
        let (mut next, last) = (state.hooks.first(), state.hooks.last());
        while let Some(key) = next {
            next = state.hooks.after(key, last);
            let Some(hook) = state.hooks.get(key) else {
                continue;
            };
            let location = hook.location;
            let Some(mut callback) = which(hook).take() else {
                continue;
            };
            hook.calls += 1;
            let (kind, id) = (CallbackKind::Hook, HookId(key).into());
            let mut observed = core.observers.begin(kind, id, location, &state.details);
            drop(state);
            let guard = OnPanic(|| drop(core.remove_hook(key)));
            observe::call(&mut observed, || call(&mut callback));
            mem::forget(guard);
            state = self.state()?;
            let mut dead = Some(callback);
            if let Some(hook) = state.hooks.get(key) {
                *which(hook) = dead.take();
            }
            if dead.is_some() | observed.is_some() {
                state = self.after_call(state, dead, observed, None)?;
            }
        }
        Ok(state)
    }

    /// After the last turn, right before a host sleeps: hooks, changes for the kernel, the alarm.
    /// False if the host must not sleep.
    pub(super) fn rest(&mut self) -> Result<bool> {
        let core = self.core;
        let (mut state, limit) = self.call_prepare(self.state()?)?;
        state.prepared = (!state.hooks.is_empty()).then_some(limit);
        self.flush(&mut state)?;
        if limit == NO_WAIT || self.has_work(&state) {
            return Ok(false);
        }
        self.leave(&mut state);
        let set = core.set_alarm(&mut state);
        drop(state);
        set.map_err(|error| Error::os(self.call, error))?;
        self.resting = core.inbox.fall_asleep();
        Ok(self.resting)
    }

    fn leave(&self, state: &mut State) {
        state.phase = Phase::Resting;
        state.handlers.set_deferred(false);
    }
}

impl Drop for Driver<'_> {
    /// Leaves the loop so that the next to drive, or a host that watches the descriptor, finds all
    /// that is left to do: after an error, a stop and a panic, too.
    fn drop(&mut self) {
        let core = self.core;
        // What is the parent's is left alone.
        if core.inbox.is_forked() {
            return;
        }
        let mut state = core.state();
        state.driver = None;
        if self.resting {
            return;
        }
        let closed = core.inbox.put_back(self.turn_state.take_posts());
        // A hook has to be asked before anybody sleeps.
        let ask = !state.hooks.is_empty() && state.prepared.is_none_or(|until| until == NO_WAIT);
        let failed = state.handlers.tell_kernel(&core.poller);
        let work = ask || failed || self.has_work(&state);
        self.leave(&mut state);
        // The wake tells of a turn that was broken off, and costs less than to set the alarm.
        let work = self.is_cut() || core.set_alarm(&mut state).is_err() || work;
        drop(state);
        if !core.inbox.fall_asleep() || work {
            core.inbox.wake();
        }
        drop(closed);
    }
}

/// Runs when a callback unwinds.
struct OnPanic<F: Fn()>(F);

impl<F: Fn()> Drop for OnPanic<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::net::UnixStream;

    use super::*;
    use crate::{Interest, Mode, Reactor, Step};

    #[test]
    fn turns_that_are_stopped_early_leave_no_more_over_than_there_is_to_call() {
        let reactor = Reactor::new_local().unwrap();
        let (a, b) = UnixStream::pair().unwrap();
        io::Write::write_all(&mut &b, b"x").unwrap();
        let added = reactor.add_handler(a, Interest::READABLE, Mode::Edge, |_, _| {});
        let id = added.unwrap();
        for _ in 0..100 {
            let weak = reactor.downgrade();
            let early = move || {
                let reactor = weak.upgrade().unwrap();
                reactor.update_handler(id, Interest::READABLE).unwrap();
                reactor.stop();
            };
            reactor.call_soon_with(Priority::High, early).unwrap();
            assert!(reactor.turn(Some(Duration::ZERO)).unwrap().stopped);
            let turn_state = reactor.core.turn_state.lock().unwrap();
            assert!(turn_state.batch.len() <= 1);
        }
    }

    #[test]
    fn a_burst_of_posts_keeps_no_memory() {
        let reactor = Reactor::new_local().unwrap();
        let mut host = reactor.host("a test").unwrap();
        while host.step(1).unwrap() != Step::Sleep {}
        for one_turn in [true, false] {
            for (count, priority) in [(100_000, Priority::Normal), (100_000, Priority::High)] {
                for _ in 0..count {
                    reactor.call_soon_with(priority, || {}).unwrap();
                }
                let budget = if one_turn { usize::MAX } else { 128 };
                while host.step(budget).unwrap() != Step::Sleep {}
                for _ in 0..3 {
                    reactor.call_soon_with(priority, || {}).unwrap();
                    while host.step(budget).unwrap() != Step::Sleep {}
                }
            }
            let turn_state = reactor.core.turn_state.lock().unwrap();
            let taken: usize = turn_state.posts.iter().map(VecDeque::capacity).sum();
            let room = taken + reactor.core.inbox.room();
            assert!(room < 10_000, "for {room} posts");
        }
    }
}
