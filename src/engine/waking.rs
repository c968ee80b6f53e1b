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
                let host = state.host.as_ref();
                wake |= host.is_some_and(|host| host.exits_when_empty) && !state.can_call();
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
        if state.sleep.phase == Phase::Resting && self.set_alarm(&mut state).is_err() {
            self.inbox.wake();
        }
    }
}
