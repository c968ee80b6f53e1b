//! The right to drive, and the loop as seen by the driver.

use std::time::Duration;

use super::core::Core;
use super::current::Entered;
use super::deadline::{NEVER, NO_WAIT};
use super::sleep::Phase;
use super::state::{State, StateGuard};
use super::turn_state::TurnState;
use crate::error::Cause;
use crate::sync::MutexGuard;
use crate::{Error, Priority, Result};

/// The right to drive.
pub(crate) struct Driver<'a> {
    pub(super) core: &'a Core,
    pub(super) _entered: Entered<'a>,
    pub(super) turn_state: MutexGuard<'a, TurnState>,
    /// The loop is left as its host must find it.
    pub(super) resting: bool,
    /// Name of the call that drives.
    pub(super) call: &'static str,
    /// Real time to wait while a test's clock stands still.
    pub(super) real_timeout: Option<Duration>,
    /// It does not wait when nothing is left that could call back.
    pub(super) exits_when_empty: bool,
    /// The loop's own wait drives: there is no host to tell anything.
    pub(super) built_in: bool,
    /// Number of callbacks of a phase after which the turn is broken off, so that a host's own tasks get their
    /// share.
    pub(super) most: usize,
}

impl<'c> Driver<'c> {
    /// Takes the state again, after user code. If that has forked, the child has to leave everything
    /// alone: the kernel's sets are the parent's, and a thread which is not here may have the lock.
    pub(super) fn state(&self) -> Result<StateGuard<'c>> {
        if self.core.inbox.is_forked() {
            Err(Error::new(self.call, Cause::Forked))
        } else {
            Ok(self.core.state())
        }
    }

    /// Whether something is left that could ever call back.
    pub(super) fn is_alive(&self, state: &State) -> bool {
        // Not `has_work`: a handler that is to be called next may have been taken out of the count.
        state.can_call()
            || self.turn_state.has_left_overs()
            || self.core.inbox.has_posts()
            || self.core.inbox.is_stopped()
    }

    /// Asks the hooks before the end, since a guest may have something to do by now. Returns true if nothing is left.
    #[cold]
    #[inline(never)]
    pub(super) fn is_over(&self, mut state: StateGuard<'c>) -> Result<(StateGuard<'c>, bool)> {
        if !state.hooks.is_empty() {
            let limit;
            (state, limit) = self.call_prepare(state)?;
            state.sleep.prepared = (!state.hooks.is_empty()).then_some(limit);
        }
        let is_over = !self.is_alive(&state);
        Ok((state, is_over))
    }

    /// Whether there is something to call without waiting.
    pub(super) fn has_work(&self, state: &State) -> bool {
        self.core.inbox.posts.is_waiting(Priority::Idle) | self.is_busy(state)
    }

    /// Whether there is something to call without waiting, idle posts apart.
    pub(super) fn is_busy(&self, state: &State) -> bool {
        let signalled = self.core.inbox.is_signalled();
        signalled | state.handlers.has_next() | self.turn_state.has_left_overs()
    }

    /// Timeout of a wait until a deadline.
    #[inline]
    pub(super) fn timeout(&self, until: u64) -> Option<Duration> {
        let clock = &self.core.clock;
        match until {
            NO_WAIT => Some(Duration::ZERO),
            NEVER => self.real_timeout,
            _ => match clock.test() {
                None => Some(clock.until(until)),
                // It stands still: sleep until it is moved, unless that is enough already.
                Some(test) if !test.is_eager() && clock.now() < until => self.real_timeout,
                Some(_) => Some(Duration::ZERO),
            },
        }
    }

    /// Whether the turn is broken off. A later call goes on with it.
    pub(super) fn is_cut(&self) -> bool {
        self.turn_state.cut.is_some()
    }

    /// Returns an error if the loop was closed meanwhile, which ends all drivers alike.
    pub(super) fn check_open(&self) -> Result<()> {
        let closed = !self.core.inbox.is_forked() && self.core.state().closed;
        if closed {
            Err(Error::new(self.call, Cause::Closed))
        } else {
            Ok(())
        }
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
        core.inbox.leave_posts();
        // A hook has to be asked before the loop sleeps.
        let ask =
            !state.hooks.is_empty() && state.sleep.prepared.is_none_or(|until| until == NO_WAIT);
        let failed = state.handlers.tell_kernel(&core.poller);
        let work = ask || failed || self.has_work(&state);
        state.begin(Phase::Resting);
        // The wake tells of a turn that was broken off, and costs less than to set the alarm.
        let work = self.is_cut() || core.set_alarm(&mut state).is_err() || work;
        drop(state);
        if !core.inbox.fall_asleep() || work {
            core.inbox.wake();
        }
    }
}

#[cfg(all(test, pollable))]
mod tests {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};

    use super::*;
    use crate::{Interest, Mode, Reactor, Ready, VirtualSource};

    #[test]
    fn handlers_that_a_stop_left_over_show_on_the_descriptor_beside_others() {
        let reactor = Reactor::new().unwrap();
        // The first one is to be called again, and the second one is left over.
        let mut kept = Vec::new();
        for _ in 0..2 {
            let (source, readiness) = VirtualSource::pair();
            let remote = reactor.remote();
            let stop = move |_: &mut VirtualSource, _| remote.stop();
            let added = reactor.add_handler(source, Interest::READABLE, Mode::Level, stop);
            added.unwrap();
            readiness.set(Ready::READABLE);
            kept.push(readiness);
        }
        for _ in 0..3 {
            let turn = reactor.turn(Some(Duration::ZERO)).unwrap();
            assert!(turn.stopped && turn.called == 1);
            let fd = reactor.core.as_fd();
            let mut watched = [PollFd::new(&fd, PollFlags::IN)];
            assert_eq!(poll(&mut watched, Some(&Timespec::default())), Ok(1));
        }
    }
}
