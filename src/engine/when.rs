//! The time of a new timer.

use std::time::{Duration, Instant, SystemTime};

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
    pub(super) fn system_time(self) -> Option<SystemTime> {
        match self {
            When::System(time) => Some(time),
            _ => None,
        }
    }
}
