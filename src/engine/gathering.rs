//! The first half of a turn: waiting, and gathering the handlers to call.

use std::time::Duration;
use std::{io, thread};

use super::deadline::{NEVER, NO_WAIT};
use super::driver::Driver;
use super::sleep::Phase;
use super::state::State;
use super::state_lock::StateGuard;
use super::turn_state::TurnState;
use crate::id::Key;
use crate::poller::PollSet;
use crate::{Error, Result};

/// The pause of the built-in loop if a stale set cannot be rebuilt because no descriptors are left.
const STUCK: Duration = Duration::from_millis(1);

impl<'c> Driver<'c> {
    /// Waits, and gathers the handlers to call. Returns true if no descriptor was ready, and the time until which
    /// the hooks would have allowed a sleep.
    #[inline(always)]
    pub(super) fn gather(
        &mut self,
        mut state: StateGuard<'c>,
        until: u64,
    ) -> Result<(StateGuard<'c>, bool, u64)> {
        let core = self.core;
        state.stats.turns += 1;
        let turn = state.stats.turns as u16;
        let batch = &mut self.turn_state.batch;
        state.handlers.begin_turn(turn, batch);
        // Rare conditions share one branch here and one below, because every turn pays for each branch.
        let mut limit = NEVER;
        let held = state.handlers.next_release() != NEVER;
        let rare = !state.hooks.is_empty() | state.handlers.is_dirty() | held;
        if rare | core.clock.is_test() {
            (state, limit) = self.prepare(state, until)?;
        }

        // Wait.
        let until = if self.has_work(&state) {
            NO_WAIT
        } else {
            until.min(limit).min(state.timers.next_deadline())
        };
        let mut timeout;
        if until == NO_WAIT || core.clock.is_test() || !cfg!(all(epoll, pollable)) {
            timeout = self.timeout(until);
        } else {
            timeout = state.sleep.timeout(&core.poller, &core.clock, until);
        }
        if until != NO_WAIT {
            state.begin(Phase::Waiting(until));
        }
        drop(state);
        if until != NO_WAIT && !core.inbox.fall_asleep() {
            timeout = Some(Duration::ZERO);
        }
        #[cfg(pollable)]
        let waited = core.poller.wait(&mut self.turn_state.events, timeout);
        #[cfg(not(pollable))]
        let waited = core.wait(&mut self.turn_state.events, timeout);
        core.inbox.wake_up();

        // Gather. If the wait has failed, the events before the failure stay for the next turn.
        let mut gathered = waited;
        let mut state = core.state();
        state.begin(Phase::Calling);
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
        if has_priorities
            | (met != [None; 2])
            | !unclaimed.iter().all(|unclaimed| unclaimed.is_none())
        {
            state = self.look_at_batch(state, met);
        }
        gathered.map_err(|error| Error::os(self.call, error))?;
        Ok((state, quiet, limit))
    }

    /// Handles the alarm and the clock, and gathers readiness that does not come as an event.
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
            state.sleep.alarm_rang();
        }
        let watched = if events.found.notices.clock {
            core.poller.watch_clock()
        } else {
            Ok(())
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

    /// Sorts the batch if there are priorities, and handles events that concern no handler.
    #[cold]
    #[inline(never)]
    fn look_at_batch(&mut self, state: StateGuard<'c>, met: [Option<Key>; 2]) -> StateGuard<'c> {
        if state.handlers.has_priorities() {
            state.handlers.sort(&mut self.turn_state.batch);
        }
        self.rebuild_stale_sets(state, met)
    }

    /// Rebuilds the sets whose unclaimed events do not end.
    fn rebuild_stale_sets(
        &mut self,
        mut state: StateGuard<'c>,
        met: [Option<Key>; 2],
    ) -> StateGuard<'c> {
        let core = self.core;
        let mut is_stuck = false;
        for set in [PollSet::Primary, PollSet::Edge] {
            let unclaimed = &mut self.turn_state.unclaimed[set as usize];
            if !unclaimed.end_turn(met[set as usize]) {
                continue;
            }
            // A host that watches the primary set must stop that first. No host watches the second set.
            let host = state.host.as_mut().filter(|host| host.watches());
            if let Some(host) = host.filter(|_| set == PollSet::Primary) {
                host.needs_rebuild = true;
                continue;
            }
            if state.handlers.rebuild_set(&core.poller, set).is_err() {
                // No descriptors are left. Everything else goes on, and the next unclaimed event tries again.
                unclaimed.ask_again(met[set as usize]);
                is_stuck = self.built_in;
            }
        }
        // Until then no wait sleeps, and the pause keeps the loop from spinning. It delays other events by as much.
        if is_stuck && self.turn_state.batch.is_empty() {
            drop(state);
            thread::sleep(STUCK);
            state = core.state();
        }
        state
    }

    /// Returns true if a timer is due, or the interval of a held handler is over.
    #[inline(always)]
    pub(super) fn is_overdue(&self, state: &mut State) -> bool {
        let next = state.next_deadline();
        next != NEVER && self.has_passed(next)
    }

    #[inline(never)]
    fn has_passed(&self, deadline: u64) -> bool {
        deadline <= self.core.clock.now()
    }
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::net::UnixStream;
    use std::time::Instant;

    use super::*;
    use crate::{Interest, Mode, Priority, Reactor};

    #[test]
    fn turns_that_find_nothing_do_not_sleep_beside_a_handler_with_a_priority() {
        let reactor = Reactor::new().unwrap();
        let (a, _b) = UnixStream::pair().unwrap();
        let added = reactor.add_handler(a, Interest::READABLE, Mode::Level, |_, _| {});
        reactor
            .set_priority(added.unwrap(), Priority::High)
            .unwrap();
        let start = Instant::now();
        for _ in 0..500 {
            reactor.turn(Some(Duration::ZERO)).unwrap();
        }
        assert!(start.elapsed() < STUCK * 500);
    }
}
