use std::time::{Duration, Instant, SystemTime};

use super::callbacks::What;
use super::{Me, Play, which};
use crate::face::Set;
use crate::fault::Expected;
use crate::model::{Time, Timer};
use crate::step::{Delay, Few, Offset, Who};

const MILLISECOND: i64 = 1_000_000;
/// The smallest delay that means never.
const FOREVER: u8 = 16;

impl Play {
    pub(super) fn after(&self, delay: Delay, script: Few) {
        let time = Time::At(self.deadline(delay));
        self.set_timer(time, None, script, Set::After(duration(delay)));
    }

    pub(super) fn at(&self, offset: Offset, script: Few) {
        let time = self.model().now + nanoseconds(offset);
        let set = Set::At(self.instant(time));
        self.set_timer(Time::At(Some(time)), None, script, set);
    }

    pub(super) fn every(&self, period: Delay, script: Few) {
        let start = self.deadline(period);
        let every = start.map(|_| i64::from(period.0) * MILLISECOND);
        let set = Set::Every(duration(period));
        self.set_timer(Time::At(start), every, script, set);
    }

    pub(super) fn every_at(&self, offset: Offset, period: Delay, script: Few) {
        let period = Delay(period.0 % FOREVER);
        let start = self.model().now + nanoseconds(offset);
        let every = i64::from(period.0) * MILLISECOND;
        let set = Set::EveryAt(self.instant(start), duration(period));
        self.set_timer(Time::At(Some(start)), Some(every), script, set);
    }

    pub(super) fn at_system(&self, offset: Offset, script: Few) {
        let (time, shown) = self.system(offset);
        self.set_timer(Time::System(time), None, script, Set::System(shown));
    }

    fn set_timer(&self, time: Time, period: Option<i64>, script: Few, set: Set) {
        let label = {
            let mut model = self.model();
            let timer = match (self.setting.in_c(), set) {
                (true, _) => Timer::of_c(time, period, model.now),
                (false, Set::After(_) | Set::System(_)) => Timer::new(time, period),
                // A period may be so long that it never ends. Such a timer stays as well.
                (false, _) => Timer::that_stays(time, period),
            };
            model.timers.push(timer);
            model.timers.len() - 1
        };
        let part = self.part(What::Timer, label, script);
        let result = self.with(|calls, reactor| calls.set_timer(reactor, set, part));
        if let Some(id) = self.expect("setting a timer", result, Expected::Success) {
            let mut model = self.model();
            model.timers[label].id = id;
            model.timers[label].alive = true;
            model.note(|| format!("timer {label}"));
        }
    }

    pub(super) fn reset(&self, me: Me, who: Who, delay: Delay) {
        let Some((label, id, alive)) = self.which_timer(me, who) else {
            return;
        };
        let time = Time::At(self.deadline(delay));
        let delay = duration(delay);
        let result = self.with(|calls, reactor| calls.reset_timer(reactor, id, delay));
        let reset = self.expect("reset_timer", result, Expected::known(alive));
        if reset.is_some() {
            self.model().timer_reset(label, time);
        }
    }

    pub(super) fn reset_system(&self, me: Me, who: Who, offset: Offset) {
        let Some((label, id, alive)) = self.which_timer(me, who) else {
            return;
        };
        let (time, shown) = self.system(offset);
        let result =
            self.with(|calls, reactor| calls.reset_timer_to_system_time(reactor, id, shown));
        let reset = self.expect("reset_timer_to_system_time", result, Expected::known(alive));
        if reset.is_some() {
            self.model().timer_reset(label, Time::System(time));
        }
    }

    pub(super) fn cancel(&self, me: Me, who: Who) {
        let Some((label, id, alive)) = self.which_timer(me, who) else {
            return;
        };
        self.model().timers[label].alive = false;
        let result = self.with(|calls, reactor| calls.cancel_timer(reactor, id));
        self.expect("cancel_timer", result, Expected::known(alive));
    }

    pub(super) fn unref_timer(&self, me: Me, who: Who) {
        let Some((label, id, alive)) = self.which_timer(me, who) else {
            return;
        };
        let result = self.with(|calls, reactor| calls.unref_timer(reactor, id));
        self.expect("unref", result, Expected::known(alive));
        self.model().timers[label].unreferenced = true;
    }

    pub(super) fn advance(&self, time: Delay) {
        let time = Delay(time.0 % FOREVER);
        let mut model = self.model();
        model.now += i64::from(time.0) * MILLISECOND;
        model.system += i64::from(time.0) * MILLISECOND;
        drop(model);
        self.clock.advance(duration(time));
    }

    pub(super) fn set_system(&self, offset: Offset) {
        let (time, shown) = self.system(offset);
        self.model().set_system_clock(time);
        self.clock.set_system(shown);
    }

    fn which_timer(&self, me: Me, who: Who) -> Option<(usize, u64, bool)> {
        let me = match me {
            Me::Timer(label) => Some(label),
            _ => None,
        };
        let model = self.model();
        let label = which(me, who, model.timers.len())?;
        let timer = &model.timers[label];
        Some((label, timer.id, timer.alive))
    }

    fn deadline(&self, delay: Delay) -> Option<i64> {
        let ahead = i64::from(delay.0) * MILLISECOND;
        (delay.0 < FOREVER).then(|| self.model().now + ahead)
    }

    pub(super) fn instant(&self, time: i64) -> Instant {
        let ahead = Duration::from_nanos(time.unsigned_abs());
        let instant = if time < 0 {
            self.start.checked_sub(ahead)
        } else {
            self.start.checked_add(ahead)
        };
        instant.unwrap_or(self.start)
    }

    /// A time of the system clock, for the model and for the reactor.
    fn system(&self, offset: Offset) -> (i64, SystemTime) {
        let now = self.clock.system_now();
        let ahead = nanoseconds(offset);
        let far = Duration::from_nanos(ahead.unsigned_abs());
        let shown = if ahead < 0 { now - far } else { now + far };
        (self.model().system + ahead, shown)
    }
}

fn duration(delay: Delay) -> Duration {
    match delay.0 {
        ..FOREVER => Duration::from_millis(delay.0.into()),
        _ => Duration::MAX,
    }
}

fn nanoseconds(offset: Offset) -> i64 {
    i64::from(offset.0) * MILLISECOND
}
