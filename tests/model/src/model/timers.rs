use super::Model;

pub(crate) struct Timer {
    pub(crate) id: u64,
    pub(crate) alive: bool,
    pub(crate) dropped: bool,
    pub(crate) unreferenced: bool,
    /// When it fires by the monotonic clock; never, if that is none.
    deadline: Option<i64>,
    period: Option<i64>,
    /// When it fires by the system clock, if that is what it follows.
    system: Option<i64>,
    /// It is among those of this turn.
    due: bool,
    /// It has gone over from the system clock to its period: the deadline is the latest that it may be.
    vague: bool,
    /// It follows the system clock, which showed its time when this turn began.
    seen_due: bool,
    /// The turn in which it was called last.
    called: u64,
    /// It was reset since it was called.
    reset: bool,
    /// One that has fired stays, asleep. Without this, it is gone in its callback.
    stays: bool,
}

/// When a timer is to fire.
#[derive(Clone, Copy)]
pub(crate) enum Time {
    At(Option<i64>),
    System(i64),
}

impl Timer {
    pub(crate) fn new(time: Time, period: Option<i64>) -> Timer {
        let mut timer = Timer {
            id: 0,
            alive: false,
            dropped: false,
            unreferenced: false,
            deadline: None,
            period,
            system: None,
            due: false,
            vague: false,
            seen_due: false,
            called: 0,
            reset: false,
            stays: false,
        };
        timer.set(time);
        timer
    }

    /// One of `add_timer` with a deadline, or of `call_every`.
    pub(crate) fn that_stays(time: Time, period: Option<i64>) -> Timer {
        Timer {
            stays: true,
            ..Timer::new(time, period)
        }
    }

    /// C's timers stay, have no period of zero, and are not set for what has passed.
    pub(crate) fn of_c(time: Time, period: Option<i64>, now: i64) -> Timer {
        let time = match time {
            Time::At(Some(time)) => Time::At(Some(time.max(now))),
            time => time,
        };
        let period = period.filter(|&period| period != 0);
        Timer {
            stays: true,
            ..Timer::new(time, period)
        }
    }

    fn set(&mut self, time: Time) {
        (self.due, self.vague, self.seen_due) = (false, false, false);
        match time {
            Time::At(deadline) => {
                self.system = None;
                self.deadline = deadline;
            }
            Time::System(time) => {
                self.system = Some(time);
                self.deadline = None;
            }
        }
    }

    /// When it fires is known to the nanosecond.
    fn is_exact(&self) -> bool {
        self.system.is_none() && !self.vague
    }

    fn is_due(&self) -> bool {
        self.alive && self.due
    }

    pub(super) fn keeps_going(&self) -> bool {
        let fires = self.deadline.is_some() || self.system.is_some();
        self.alive && fires && !self.unreferenced
    }
}

impl Model {
    pub(super) fn see_system_clock(&mut self) {
        let now = self.system;
        for timer in &mut self.timers {
            timer.seen_due = timer.alive && timer.system.is_some_and(|time| time <= now);
            self.stirred |= timer.seen_due;
        }
    }

    /// Timers that were due by it are asked again, which may make them wait for the next turn.
    pub(crate) fn set_system_clock(&mut self, time: i64) {
        self.system = time;
        self.timers
            .iter_mut()
            .for_each(|timer| timer.seen_due = false);
    }

    /// The phase of timers begins: these are due in this turn, in this order.
    pub(super) fn take_due(&mut self) {
        let mut due: Vec<(i64, usize)> = Vec::new();
        for (label, timer) in self.timers.iter_mut().enumerate() {
            let deadline = timer.deadline.filter(|&deadline| deadline <= self.now);
            if let (true, false, Some(deadline)) = (timer.alive, timer.due, deadline) {
                timer.due = true;
                due.push((deadline, label));
            }
        }
        due.sort();
        self.due.extend(due.iter().map(|(_, label)| label));
    }

    /// The turn was cut short: what was due is so with what becomes due meanwhile.
    pub(super) fn keep_timers(&mut self) {
        self.due.clear();
        self.timers.iter_mut().for_each(|timer| timer.due = false);
    }

    pub(super) fn due_timer(&self) -> Option<String> {
        let due = |timer: &Timer| {
            let deadline = timer.deadline.is_some_and(|deadline| deadline <= self.now);
            let system = timer.system.is_some_and(|time| time <= self.system);
            timer.alive && (deadline || system)
        };
        let label = self.timers.iter().position(due)?;
        Some(format!("to call timer {label}"))
    }

    pub(super) fn all_timers_were_called(&mut self) {
        while let Some(label) = self.due.pop_front() {
            if self.timers[label].is_due() {
                self.violated(format!("timer {label} was not called, and was due"));
            }
        }
        if let Some(label) = self.missed_by_system() {
            self.violated(format!("timer {label} was not called, and was due"));
        }
    }

    /// A timer that the turn has seen to be due by the system clock, and has not called.
    fn missed_by_system(&self) -> Option<usize> {
        let missed = |timer: &Timer| {
            timer.seen_due && timer.alive && timer.system.is_some_and(|time| time <= self.system)
        };
        self.timers.iter().position(missed)
    }

    /// The phase of timers has begun, and is not over.
    pub(super) fn has_timers_left(&self) -> bool {
        let due = self.due.iter().any(|label| self.timers[*label].is_due());
        // Which of those by the system clock belong to this turn is not known.
        due || self.due_timer().is_some()
    }

    pub(crate) fn timer_called(&mut self, label: usize) {
        self.note(|| format!("timer {label} is called"));
        self.fired += 1;
        let (now, system, turn) = (self.now, self.system, self.turn);
        let timer = &mut self.timers[label];
        let early = match (timer.system, timer.deadline) {
            (Some(time), _) => time > system,
            (None, Some(deadline)) => deadline > now && !timer.vague,
            (None, None) => true,
        };
        let wrong = match () {
            () if !timer.alive => Some("it was cancelled, or has fired"),
            () if early => Some("it is too early"),
            () if timer.called == turn => Some("it was called in this turn already"),
            () if timer.is_exact() && !timer.due => Some("it was not due in this turn"),
            () => None,
        };
        timer.called = turn;
        timer.alive &= timer.stays;
        (timer.due, timer.seen_due, timer.reset) = (false, false, false);
        if timer.is_exact() {
            // Those before it in the line were cancelled or reset, or have been called.
            while let Some(other) = self.due.pop_front() {
                if other == label {
                    break;
                }
                if self.timers[other].is_due() && self.timers[other].is_exact() {
                    self.violated(format!("timer {label} was called before timer {other}"));
                }
            }
        }
        if let Some(wrong) = wrong {
            self.violated(format!("timer {label} was called, but {wrong}"));
        }
    }

    pub(crate) fn timer_returned(&mut self, label: usize) {
        let now = self.now;
        let timer = &mut self.timers[label];
        if !timer.alive || timer.reset {
            return;
        }
        timer.vague |= timer.system.take().is_some();
        match (timer.period, timer.deadline) {
            (Some(0), _) => timer.deadline = Some(now),
            (Some(period), _) if timer.vague => timer.deadline = now.checked_add(period),
            (Some(period), Some(deadline)) => {
                let missed = (now - deadline) / period;
                let ahead = period.checked_mul(missed + 1);
                timer.deadline = ahead.and_then(|ahead| deadline.checked_add(ahead));
            }
            _ => timer.set(Time::At(None)),
        }
    }

    pub(crate) fn timer_reset(&mut self, label: usize, time: Time) {
        let timer = &mut self.timers[label];
        timer.set(time);
        timer.reset = true;
    }

    /// When the next timer fires, if that is sure.
    pub(crate) fn next_deadline(&self) -> Option<Option<i64>> {
        let alive = || self.timers.iter().filter(|timer| timer.alive);
        let sure = alive().all(Timer::is_exact);
        // The end of time is never.
        let deadlines = alive().filter_map(|timer| timer.deadline);
        sure.then(|| deadlines.filter(|&deadline| deadline < i64::MAX).min())
    }
}
