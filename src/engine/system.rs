//! Timers by the system clock, which follow it when it is set.

use std::{io, mem};

use super::timers::Timers;
use crate::clock::Clock;
use crate::poller::Poller;

#[derive(Default)]
pub(super) struct SystemWatch {
    /// The kernel tells when the clock is set.
    is_watched: bool,
    /// Number of times that the clock of a test had been set when the timers followed it last.
    sets: u64,
}

impl SystemWatch {
    /// Has the kernel tell, before the first look at the clock.
    pub(super) fn begin(&mut self, poller: &Poller) -> io::Result<()> {
        if !self.is_watched {
            poller.watch_clock()?;
            self.is_watched = true;
        }
        Ok(())
    }

    /// Moves the timers if the clock was set. `told`: the kernel says so. A test's clock says so itself.
    pub(super) fn follow(&mut self, timers: &mut Timers, clock: &Clock, told: bool) {
        let sets = clock.sets();
        if told || mem::replace(&mut self.sets, sets) != sets {
            timers.follow(|time| clock.deadline_of(time));
        }
    }
}
