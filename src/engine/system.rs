//! Timers on the system clock, which follow it when it is set.

use std::{io, mem};

use super::timers::Timers;
use crate::clock::Clock;
use crate::poller::Poller;

#[derive(Default)]
pub(super) struct SystemWatch {
    /// True if the kernel reports settings of the clock.
    is_watched: bool,
    /// Number of settings of a test clock that the timers have followed.
    sets: u64,
}

impl SystemWatch {
    /// Makes the kernel report settings of the clock. This happens before the clock is first read.
    pub(super) fn begin(&mut self, poller: &Poller) -> io::Result<()> {
        if !self.is_watched {
            poller.watch_clock()?;
            self.is_watched = true;
        }
        Ok(())
    }

    /// Moves the timers if the clock was set. `told` is true if the kernel has reported that. A test clock counts its
    /// settings.
    pub(super) fn follow(&mut self, timers: &mut Timers, clock: &Clock, told: bool) {
        let sets = clock.sets();
        if told || mem::replace(&mut self.sets, sets) != sets {
            timers.follow(|time| clock.deadline_of(time));
        }
    }
}
