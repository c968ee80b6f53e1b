//! The loop's sleep: its phase, and the deadlines at which it wakes.

use std::io;

use super::deadline::NEVER;
use super::inbox::Inbox;
use crate::clock::Clock;
use crate::poller::Poller;

pub(super) struct Sleep {
    pub(super) phase: Phase,
    /// True if a host may watch the descriptor, so that timers must show on it.
    pub(super) is_watched: bool,
    /// The deadline that the poller's alarm is set to.
    alarm: u64,
    /// The time until which the prepare hooks let a host sleep, if they were called after the last turn.
    pub(super) prepared: Option<u64>,
}

/// The loop's present activity, which decides how a change reaches it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// Between turns. A host may sleep and watch the descriptor.
    Resting,
    /// In the kernel, until this deadline at the latest.
    Waiting(u64),
    /// Calling callbacks. The loop looks at everything before it waits again.
    Calling,
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
    /// Notes that the alarm went off and is no longer set.
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
            // A test clock wakes the loop when it is moved. Only a deadline in the past needs a wake here.
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
