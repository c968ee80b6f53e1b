//! The time of a new timer.

use std::time::{Duration, Instant, SystemTime};

use super::timers::{Fired, Schedule};
use crate::clock::nanoseconds;

/// Time at which a timer is to fire.
#[derive(Clone, Copy)]
pub(crate) enum When {
    At(Instant),
    After(Duration),
    /// First then, and again after each period.
    Every(Instant, Duration),
    /// By the system clock.
    System(SystemTime),
}

impl When {
    /// Schedule of a timer for this time.
    pub(super) fn schedule(self, fired: Fired) -> Schedule {
        let mut schedule = Schedule::new(fired);
        match self {
            When::At(_) | When::After(_) => {}
            When::Every(_, period) => schedule.every = Some(nanoseconds(period)),
            When::System(_) => schedule.at = self.system_time(),
        }
        schedule
    }

    pub(super) fn system_time(self) -> Option<SystemTime> {
        match self {
            When::System(time) => Some(time),
            _ => None,
        }
    }
}
