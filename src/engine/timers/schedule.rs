//! Schedules: the future of a timer after it has fired.

use std::time::SystemTime;

use crate::engine::hash::SlotMap;

/// Future of a timer when it fires.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fired {
    /// It is gone before its callback is called.
    Gone,
    /// It stays, and sleeps until it is reset.
    Kept,
    /// Its schedule says so.
    Scheduled,
}

/// Future of a timer that does not simply fire once at its deadline.
#[derive(Clone, Copy)]
pub(crate) struct Schedule {
    /// Its future otherwise.
    pub(super) fired: Fired,
    /// It fires again after this many nanoseconds.
    pub(crate) every: Option<u64>,
    /// Calls so far.
    pub(crate) calls: u64,
    /// The system clock's time that its deadline follows, also when that clock is set.
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

/// The few timers that have one, by slot. A table of its own keeps all others small.
#[derive(Default)]
pub(super) struct Schedules(SlotMap<u32, Schedule>);

impl Schedules {
    /// Changes the schedule of a timer, whose future is `fired` now. Returns its future.
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

    /// Counts a call. Returns the future of the timer apart from its schedule.
    #[cold]
    pub(super) fn count_call(&mut self, slot: u32) -> Fired {
        let Some(schedule) = self.0.get_mut(&slot) else {
            return Fired::Kept;
        };
        schedule.calls += 1;
        schedule.fired
    }

    /// All timers that follow the system clock.
    pub(super) fn by_system_clock(&self) -> Vec<(u32, SystemTime)> {
        let all = self.0.iter();
        all.filter_map(|(&slot, schedule)| Some((slot, schedule.at?)))
            .collect()
    }

    pub(super) fn trim(&mut self) {
        self.0.shrink_to_fit();
    }
}
