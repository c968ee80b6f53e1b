//! Schedules: what happens to a timer when it has fired.

use std::time::SystemTime;

use crate::engine::hash::SlotMap;

/// The state of a timer after it has fired.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fired {
    /// The timer is gone, even before its callback is called.
    Gone,
    /// The timer stays, and sleeps until it is reset.
    Kept,
    /// The schedule of the timer decides.
    Scheduled,
}

/// The schedule of a timer that is periodic or follows the system clock.
#[derive(Clone, Copy)]
pub(crate) struct Schedule {
    /// The state after the timer has fired, apart from the schedule.
    pub(super) fired: Fired,
    /// The period in nanoseconds.
    pub(crate) every: Option<u64>,
    /// Calls so far.
    pub(crate) calls: u64,
    /// The time of the system clock that the deadline follows when that clock is set.
    pub(crate) at: Option<SystemTime>,
}

impl Schedule {
    pub(super) fn new(fired: Fired) -> Schedule {
        Schedule {
            fired,
            every: None,
            calls: 0,
            at: None,
        }
    }
}

/// The schedules by slot. Few timers have one, and a table of their own keeps all others small.
#[derive(Default)]
pub(super) struct Schedules(SlotMap<u32, Schedule>);

impl Schedules {
    /// Changes the schedule of a timer that is in state `fired` after it fires. Returns the new state.
    pub(super) fn change(
        &mut self,
        slot: u32,
        fired: Fired,
        change: impl FnOnce(&mut Schedule),
    ) -> Fired {
        let schedule = self.0.entry(slot);
        let schedule = schedule.or_insert_with(|| Schedule::new(fired));
        change(schedule);
        if schedule.every.is_some() || schedule.at.is_some() {
            return Fired::Scheduled;
        }
        let fired = schedule.fired;
        self.0.remove(&slot);
        fired
    }

    #[cold]
    pub(super) fn get(&self, slot: u32) -> Option<&Schedule> {
        self.0.get(&slot)
    }

    #[cold]
    pub(super) fn remove(&mut self, slot: u32) {
        self.0.remove(&slot);
    }

    /// Counts a call. Returns the state of the timer apart from its schedule.
    #[cold]
    pub(super) fn count_call(&mut self, slot: u32) -> Fired {
        let Some(schedule) = self.0.get_mut(&slot) else {
            return Fired::Kept;
        };
        schedule.calls += 1;
        schedule.fired
    }

    /// Returns all timers that follow the system clock.
    pub(super) fn by_system_clock(&self) -> Vec<(u32, SystemTime)> {
        let all = self.0.iter();
        all.filter_map(|(&slot, schedule)| Some((slot, schedule.at?)))
            .collect()
    }

    pub(super) fn trim(&mut self) {
        self.0.shrink_to_fit();
    }

    /// Returns the number of schedules for which there is memory.
    #[cfg(test)]
    pub(super) fn room(&self) -> usize {
        self.0.capacity()
    }
}
