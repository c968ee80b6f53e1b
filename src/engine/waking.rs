//! Waking a loop that may be asleep, in time for a change.

use std::io;

use super::core::Core;
use super::sleep::Phase;
use super::state::State;
use super::state_lock::StateGuard;
#[cfg(pollable)]
use crate::os::BorrowedFd;

impl Core {
    /// Makes a sleeping loop wake in time, after something was registered, changed or cancelled.
    #[inline]
    pub(super) fn changed(&self, state: StateGuard<'_>) {
        // A loop that is calling callbacks finds the change before it waits, and one that rests with no host to watch
        // it in its next turn.
        let is_seen = match state.sleep.phase {
            Phase::Calling => true,
            Phase::Resting => !state.sleep.is_watched && !state.handlers.has_next(),
            Phase::Waiting(_) => false,
        };
        if !is_seen {
            self.wake_in_time(state);
        }
    }

    #[inline(never)]
    fn wake_in_time(&self, mut state: StateGuard<'_>) {
        let mut wake = state.handlers.has_next();
        if let Phase::Waiting(until) = state.sleep.phase {
            // With nothing left to wait for, `run` ends.
            wake |= state.next_deadline() < until || !state.can_call();
        } else {
            // If the alarm cannot be set, the next turn reports the error.
            wake |= self.set_alarm(&mut state).is_err() || ends_host(&state);
        }
        // Unlocked first, because the loop would wake up only to wait for the lock.
        drop(state);
        if wake {
            self.inbox.wake();
        }
    }

    /// Makes the next deadline show on the descriptor, if a host may watch that.
    pub(super) fn set_alarm(&self, state: &mut State) -> io::Result<()> {
        if !state.sleep.is_watched {
            return Ok(());
        }
        self.follow_system_clock(state, false);
        let next = state.next_deadline();
        let State { sleep, .. } = state;
        sleep.set_alarm(&self.poller, &self.inbox, &self.clock, next)
    }

    /// Moves timers on the system clock if that was set. `told` is true if the kernel has reported that.
    pub(super) fn follow_system_clock(&self, state: &mut State, told: bool) {
        let State { system, timers, .. } = state;
        system.follow(timers, &self.clock, told);
    }

    /// Returns the descriptor for a host to watch.
    #[cfg(pollable)]
    pub(crate) fn as_fd(&self) -> BorrowedFd<'_> {
        self.watch();
        self.poller.as_fd()
    }

    /// Makes timers and the end of the loop show on the descriptor, because a host may watch it from now on. Where
    /// there is none, they end a look.
    pub(crate) fn watch(&self) {
        // A child must not set the alarm of its parent.
        let Some(mut state) = self.try_state() else {
            return;
        };
        if std::mem::replace(&mut state.sleep.is_watched, true) {
            return;
        }
        #[cfg(pollable)]
        state.handlers.nest(&self.poller);
        // The last driver, or another thread that has removed the last registration since, has woken nothing.
        if state.sleep.phase == Phase::Resting
            && (self.set_alarm(&mut state).is_err()
                || self.inbox.is_signalled()
                || ends_host(&state))
        {
            self.inbox.wake();
        }
    }
}

/// Returns true if a host watches that ends now, because nothing is left that could call back.
fn ends_host(state: &State) -> bool {
    let host = state.host.as_ref().filter(|_| state.sleep.is_watched);
    host.is_some_and(|host| host.exits_when_empty) && !state.can_call()
}

#[cfg(all(test, pollable))]
mod tests {
    use std::time::Duration;

    use rustix::event::{PollFd, PollFlags, Timespec, poll};

    use crate::engine::Next;
    use crate::{Host, Reactor, Shared, TimerId};

    fn is_readable(reactor: &Reactor) -> bool {
        let fd = reactor.core.as_fd();
        let mut watched = [PollFd::new(&fd, PollFlags::IN)];
        poll(&mut watched, Some(&Timespec::default())) == Ok(1)
    }

    /// A reactor with a timer of an hour, whose host has taken its turns and is about to watch.
    fn about_to_watch(exits_when_empty: bool) -> (Reactor, Host<Shared>, TimerId) {
        let reactor = Reactor::new().unwrap();
        let timer = reactor
            .call_later(Duration::from_secs(3600), || {})
            .unwrap();
        let mut host = reactor.host("a test").unwrap();
        if exits_when_empty {
            host = host.exit_when_empty();
        }
        let turns = reactor.core.host_turns("a test", 1).unwrap();
        assert_eq!(turns.next, Next::Sleep);
        (reactor, host, timer)
    }

    #[test]
    fn a_host_that_begins_to_watch_learns_that_nothing_is_left() {
        for (exits, removes) in [(true, true), (true, false), (false, true)] {
            let (reactor, _host, timer) = about_to_watch(exits);
            if removes {
                reactor.cancel_timer(timer).unwrap();
            }
            assert_eq!(is_readable(&reactor), exits && removes);
        }
    }

    #[test]
    fn a_host_that_watches_learns_that_nothing_is_left() {
        for exits in [true, false] {
            let (reactor, _host, timer) = about_to_watch(exits);
            assert!(!is_readable(&reactor));
            reactor.cancel_timer(timer).unwrap();
            assert_eq!(is_readable(&reactor), exits);
        }
    }
}
