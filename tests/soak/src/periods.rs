//! Periodic timers.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use oneloop::TimerId;

use crate::books::{Count, Kind};
use crate::{Soak, lock};

/// In microseconds: none a multiple of another.
const PERIODS: [u64; 8] = [900, 2_300, 5_500, 7_700, 13_000, 31_000, 83_000, 211_000];

/// A periodic timer that is moved or cancelled after so many calls, by itself.
const CALLS: u64 = 500;

pub struct Periods(Vec<Arc<Mutex<Period>>>);

struct Period {
    period: Duration,
    start: Instant,
    /// How many calls there were since then, or would have been if none had been skipped.
    calls: u64,
    last: Instant,
    timer: Option<TimerId>,
}

impl Periods {
    pub fn new() -> Periods {
        let now = Instant::now();
        let one = |micros: u64| {
            Arc::new(Mutex::new(Period {
                period: Duration::from_micros(micros),
                start: now,
                calls: 0,
                last: now,
                timer: None,
            }))
        };
        Periods(PERIODS.into_iter().map(one).collect())
    }

    pub fn fill(&self, soak: &Arc<Soak>) {
        self.0.iter().for_each(|period| set(soak, period));
    }

    /// Cancels all, on the loop's thread: elsewhere one could be about to be called.
    pub fn drain(&self, soak: &Arc<Soak>) {
        let (all, around) = (self.0.clone(), soak.clone());
        soak.books.open(Kind::Post);
        let post = move || {
            around.books.close(Kind::Post);
            all.iter().for_each(|period| cancel(&around, period));
        };
        let posted = soak
            .reactor()
            .map(|reactor| reactor.call_soon(post).is_ok());
        if posted != Some(true) {
            soak.books.fault("a post was refused");
        }
    }
}

fn cancel(soak: &Soak, period: &Mutex<Period>) {
    let Some(reactor) = soak.reactor() else {
        return;
    };
    let mut period = lock(period);
    let Some(timer) = period.timer.take() else {
        return;
    };
    if let Err(error) = reactor.cancel_timer(timer) {
        soak.books.fault(error.to_string());
    }
    soak.books.close(Kind::Period);
    soak.books.count(Count::Cancelled);
    let (own, quiet) = (
        period.period,
        reactor.now().saturating_duration_since(period.last),
    );
    if quiet > own + soak.patience {
        let what = format!("a timer with a period of {own:?} has been quiet for {quiet:?}");
        soak.books.fault(what);
    }
}

fn set(soak: &Arc<Soak>, period: &Arc<Mutex<Period>>) {
    let Some(reactor) = soak.reactor() else {
        return;
    };
    let (around, own) = (soak.clone(), period.clone());
    let mut period = lock(period);
    period.start = reactor.now() + period.period;
    period.last = period.start;
    period.calls = 0;
    let set = reactor.call_every(period.period, move || called(&around, &own));
    let set = set.and_then(|timer| {
        // It is seen to the nanosecond.
        reactor.reset_timer(timer, period.start)?;
        Ok(timer)
    });
    match set {
        Ok(timer) => period.timer = Some(timer),
        Err(error) => return soak.books.fault(error.to_string()),
    }
    soak.books.open(Kind::Period);
}

fn called(soak: &Arc<Soak>, own: &Arc<Mutex<Period>>) {
    let Some(reactor) = soak.reactor() else {
        return;
    };
    let now = reactor.now();
    let mut period = lock(own);
    let Some(timer) = period.timer else {
        return soak
            .books
            .fault("a periodic timer was called after it was cancelled");
    };
    soak.books.count(Count::Periodic);
    period.last = now;
    period.calls += 1;
    let Some(since) = now.checked_duration_since(period.start) else {
        return soak
            .books
            .fault("a periodic timer was called before its start");
    };
    let passed = (since.as_nanos() / period.period.as_nanos()) as u64;
    if period.calls > passed + 1 {
        let (calls, own) = (period.calls, period.period);
        soak.books.fault(format!(
            "{calls} calls in {since:?} for a period of {own:?}"
        ));
    }
    // Ticks that were skipped must not come later.
    period.calls = period.calls.max(passed);
    if period.calls < CALLS {
        return;
    }
    if fastrand::bool() {
        period.start = now + period.period / 3;
        period.calls = 0;
        if let Err(error) = reactor.reset_timer(timer, period.start) {
            soak.books.fault(error.to_string());
        }
        soak.books.count(Count::Reset);
    } else {
        drop(period);
        cancel(soak, own);
        if soak.gate.is_open() {
            set(soak, own);
        }
    }
}
