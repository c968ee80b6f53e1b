//! Waking a loop that may sleep, in time for a change.

use std::io;

use super::core::Core;
use super::sleep::{Notice, Phase};
use super::state::{State, StateGuard};
#[cfg(pollable)]
use crate::os::BorrowedFd;

impl Core {
    /// Something was registered, changed or cancelled. If the loop sleeps, it has to wake in time.
    pub(super) fn changed(&self, mut state: StateGuard<'_>) {
        if state.sleep.phase == Phase::Calling {
            return;
        }
        let mut wake = state.handlers.has_next();
        match state.sleep.notice() {
            Notice::None => {}
            Notice::WakeBefore(until) => {
                wake |= state.next_deadline() < until;
                // With nothing left to wait for, `run` ends.
                wake |= !state.can_call();
            }
            // The driver of the turn that this asks for hears of an error.
            Notice::Alarm => {
                wake |= self.set_alarm(&mut state).is_err();
                wake |= ends_host(&state);
            }
        }
        // Not before: the loop would wake up only to wait for the lock.
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

    pub(super) fn follow_system_clock(&self, state: &mut State, told: bool) {
        let State { system, timers, .. } = state;
        system.follow(timers, &self.clock, told);
    }

    #[cfg(pollable)]
    pub(crate) fn as_fd(&self) -> BorrowedFd<'_> {
        self.watch();
        self.poller.as_fd()
    }

    /// From now on, the host may watch the descriptor.
    #[cfg(pollable)]
    pub(crate) fn watch(&self) {
        // The parent's alarm is not a child's to set.
        let Some(mut state) = self.try_state() else {
            return;
        };
        if std::mem::replace(&mut state.sleep.is_watched, true) {
            return;
        }
        state.handlers.nest(&self.poller);
        // Another thread may have removed the last registration since the turn, and woken no host.
        if state.sleep.phase == Phase::Resting
            && (self.set_alarm(&mut state).is_err() || ends_host(&state))
        {
            self.inbox.wake();
        }
    }
}

/// Returns true if the host ends now, because nothing is left that could call back.
fn ends_host(state: &State) -> bool {
    let host = state.host.as_ref();
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
