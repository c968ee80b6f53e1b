//! The right to drive a loop.

use std::time::Duration;

use super::core::Core;
use super::current::Entered;
use super::deadline::{NEVER, NO_WAIT};
use super::sleep::Phase;
use super::state::State;
use super::state_lock::StateGuard;
use super::turn_state::TurnState;
use crate::error::Cause;
use crate::sync::MutexGuard;
use crate::{Error, Priority, Result};

/// The right to drive a loop. Only one exists at a time.
pub(crate) struct Driver<'a> {
    pub(super) core: &'a Core,
    pub(super) _entered: Entered<'a>,
    pub(super) turn_state: MutexGuard<'a, TurnState>,
    /// True if nothing has happened since `rest`, so that the drop has nothing to do.
    pub(super) resting: bool,
    /// The name of the call that drives, for error messages.
    pub(super) call: &'static str,
    /// The real time to wait while a test clock stands still.
    pub(super) real_timeout: Option<Duration>,
    /// True if the driver does not wait when nothing is left that could call back.
    pub(super) exits_when_empty: bool,
    /// True if the loop itself waits, and not a host.
    pub(super) built_in: bool,
    /// The number of callbacks in one phase after which the turn is broken off, so that a host's own tasks get
    /// their share.
    pub(super) most: usize,
}

impl<'c> Driver<'c> {
    /// Takes the state again after user code. If that code has forked, returns an error in the child. The kernel's
    /// sets belong to the parent, and a thread that exists only there may have the lock.
    pub(super) fn state(&self) -> Result<StateGuard<'c>> {
        if self.core.inbox.is_forked() {
            Err(Error::new(self.call, Cause::Forked))
        } else {
            Ok(self.core.state())
        }
    }

    /// Returns true if anything is left that could call back.
    pub(super) fn is_alive(&self, state: &State) -> bool {
        // `has_work` would not do: it includes handlers that `set_referenced` has excluded.
        state.can_call()
            || self.turn_state.has_left_overs()
            || self.core.inbox.has_posts()
            || self.core.inbox.is_stopped()
    }

    /// Asks the hooks before the end, because a guest may have something to do by now. Returns true if nothing is left.
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

    /// Returns true if there is something to call without waiting.
    pub(super) fn has_work(&self, state: &State) -> bool {
        self.core.inbox.posts.is_waiting(Priority::Idle) | self.is_busy(state)
    }

    /// Returns true if there is something to call without waiting, apart from idle posts.
    pub(super) fn is_busy(&self, state: &State) -> bool {
        let signalled = self.core.inbox.is_signalled();
        signalled | state.handlers.has_next() | self.turn_state.has_left_overs()
    }

    /// Returns the timeout of a wait until a deadline.
    #[inline]
    pub(super) fn timeout(&self, until: u64) -> Option<Duration> {
        let clock = &self.core.clock;
        match until {
            NO_WAIT => Some(Duration::ZERO),
            NEVER => self.real_timeout,
            _ => match clock.test() {
                None => Some(clock.until(until)),
                // A test clock that stands still wakes the loop when it is moved.
                Some(test) if !test.is_eager() && clock.now() < until => self.real_timeout,
                Some(_) => Some(Duration::ZERO),
            },
        }
    }

    /// Returns true if the turn is broken off. A later call continues it.
    pub(super) fn is_cut(&self) -> bool {
        self.turn_state.cut.is_some()
    }

    /// Returns an error if the loop was closed meanwhile.
    pub(super) fn check_open(&self) -> Result<()> {
        if self.core.try_state().is_some_and(|state| state.closed) {
            Err(Error::new(self.call, Cause::Closed))
        } else {
            Ok(())
        }
    }
}

impl Drop for Driver<'_> {
    /// Makes everything that is left to do visible to the next driver, and on the descriptor. This also covers
    /// errors, stops and panics.
    fn drop(&mut self) {
        let core = self.core;
        // A child must not touch what it shares with its parent.
        if core.inbox.is_forked() {
            return;
        }
        let mut state = core.state();
        state.driver = None;
        if self.resting {
            return;
        }
        core.inbox.leave_posts();
        // The hooks must be asked before the loop sleeps.
        let ask =
            !state.hooks.is_empty() && state.sleep.prepared.is_none_or(|until| until == NO_WAIT);
        let failed = state.handlers.tell_kernel(&core.poller);
        let work = ask || failed || self.has_work(&state);
        state.begin(Phase::Resting);
        // A turn that was broken off needs a wake in any case, which makes the alarm unnecessary.
        let work = self.is_cut() || core.set_alarm(&mut state).is_err() || work;
        if !core.inbox.fall_asleep() || work {
            let is_watched = state.sleep.is_watched;
            if !is_watched {
                // The next driver sees it, and `watch` does if a host comes.
                core.inbox.note_work();
            }
            drop(state);
            if is_watched {
                core.inbox.wake();
            }
        }
    }
}

#[cfg(all(test, pollable))]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use rustix::event::{PollFd, PollFlags, Timespec, poll};

    use super::*;
    use crate::{Interest, Mode, Reactor, Ready, VirtualSource};

    fn is_readable(reactor: &Reactor) -> bool {
        let fd = reactor.core.as_fd();
        let mut watched = [PollFd::new(&fd, PollFlags::IN)];
        poll(&mut watched, Some(&Timespec::default())) == Ok(1)
    }

    #[test]
    fn a_hook_that_forbids_a_sleep_shows_to_a_host_that_comes_later() {
        let reactor = Reactor::new().unwrap();
        reactor.add_hook(|| Some(Duration::ZERO), || {}).unwrap();
        reactor.turn(Some(Duration::ZERO)).unwrap();
        assert!(is_readable(&reactor));
    }

    #[test]
    fn hooks_that_were_asked_before_the_end_are_not_to_be_asked_again() {
        let reactor = Reactor::new().unwrap();
        reactor.add_hook(|| None, || {}).unwrap();
        reactor.turn(Some(Duration::ZERO)).unwrap();
        reactor.run().unwrap();
        assert!(!is_readable(&reactor));
    }

    #[test]
    fn hooks_that_a_turn_with_a_panic_has_not_asked_show_to_a_host_that_comes_later() {
        let reactor = Reactor::new().unwrap();
        reactor.add_hook(|| None, || {}).unwrap();
        reactor.call_soon(|| panic!("as a test has it")).unwrap();
        let turn = AssertUnwindSafe(|| reactor.turn(Some(Duration::ZERO)));
        catch_unwind(turn).unwrap_err();
        assert!(is_readable(&reactor));
    }

    #[test]
    fn a_post_that_a_turn_left_over_shows_to_a_host_that_comes_later() {
        let reactor = Reactor::new().unwrap();
        let inner = reactor.downgrade();
        let post = move || {
            inner.upgrade().unwrap().call_soon(|| {}).unwrap();
        };
        reactor.call_soon(post).unwrap();
        let turn = reactor.turn(Some(Duration::ZERO)).unwrap();
        assert!(turn.called == 1 && !turn.idle);
        assert!(is_readable(&reactor));
        assert_eq!(reactor.turn(None).unwrap().called, 1);
        assert!(!is_readable(&reactor));
    }

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
            assert!(is_readable(&reactor));
        }
    }
}
