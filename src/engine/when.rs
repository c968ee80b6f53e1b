//! The time that a caller sets for a timer.

use std::time::{Duration, Instant, SystemTime};

/// The time at which a timer fires.
#[derive(Clone, Copy)]
pub(crate) enum When {
    At(Instant),
    After(Duration),
    /// At the instant, and then after every period.
    Every(Instant, Duration),
    /// At a time of the system clock.
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
