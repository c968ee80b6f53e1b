//! The loop's sleep: its phase, and the deadlines at which it is to wake.

use std::io;

use super::deadline::NEVER;
use super::inbox::Inbox;
use crate::clock::Clock;
use crate::poller::Poller;

pub(super) struct Sleep {
    pub(super) phase: Phase,
    /// A host may watch the descriptor, so timers have to show on it.
    pub(super) is_watched: bool,
    /// The deadline that the poller's alarm is set to.
    alarm: u64,
    /// Time until which the prepare hooks let a host sleep, if they were called after the last turn.
    pub(super) prepared: Option<u64>,
}

/// The loop's present activity, which decides how a change reaches it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// Between turns. A host may be asleep, watching the descriptor.
    Resting,
    /// In the kernel, not longer than to this deadline.
    Waiting(u64),
    /// Calling callbacks. It looks at everything before it waits again.
    Calling,
}

/// A way to let a loop know of a change.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Notice {
    /// It finds the change by itself.
    None,
    /// The alarm is to be set, and the host woken if it ends now.
    Alarm,
    /// It is to be woken if the next deadline is before this one, or nothing is left.
    WakeBefore(u64),
}

impl Default for Sleep {
    fn default() -> Sleep {
        Sleep {
            phase: Phase::Resting,
            is_watched: false,
            alarm: NEVER,
            prepared: None,
        }
    }
}

impl Sleep {
    #[inline]
    pub(super) fn notice(&self) -> Notice {
        match self.phase {
            Phase::Waiting(until) => Notice::WakeBefore(until),
            Phase::Resting if self.is_watched => Notice::Alarm,
            Phase::Resting | Phase::Calling => Notice::None,
        }
    }

    /// The alarm has rung, which sets it to no time.
    pub(super) fn alarm_rang(&mut self) {
        self.alarm = NEVER;
    }

    /// Makes a deadline show on the descriptor, if a host may watch that.
    pub(super) fn set_alarm(
        &mut self,
        poller: &Poller,
        inbox: &Inbox,
        clock: &Clock,
        deadline: u64,
    ) -> io::Result<()> {
        let next = deadline.min(self.prepared.unwrap_or(NEVER));
        if clock.is_test() {
            // A test that moves its clock wakes the loop. Only a deadline that is past shows by itself.
            if next <= clock.now() {
                inbox.wake();
            }
        } else if next != self.alarm {
            let delay = (next != NEVER).then(|| clock.until(next));
            poller.set_alarm(delay)?;
            self.alarm = next;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_loop_that_may_sleep_is_told_of_a_change() {
        let notice = |phase, is_watched| {
            let mut sleep = Sleep::default();
            (sleep.phase, sleep.is_watched) = (phase, is_watched);
            sleep.notice()
        };
        assert_eq!(notice(Phase::Resting, false), Notice::None);
        assert_eq!(notice(Phase::Resting, true), Notice::Alarm);
        for is_watched in [false, true] {
            assert_eq!(notice(Phase::Calling, is_watched), Notice::None);
            assert_eq!(notice(Phase::Waiting(7), is_watched), Notice::WakeBefore(7));
        }
    }
}
