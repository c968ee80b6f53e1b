use std::future::Future;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use futures_core::Stream;

use crate::{driver, reactor};

/// A future or a stream that is ready at certain times.
///
/// As a stream, a timer with a period yields every tick, also those that were not taken in time. A timer without a
/// period yields once, and is then pending until it is set again. Both are what async-io's timers do.
///
/// ```
/// use async_io::Timer;
/// use futures_lite::StreamExt;
/// use std::time::{Duration, Instant};
///
/// async_io::block_on(async {
///     let start = Instant::now();
///     let mut ticks = Timer::interval(Duration::from_millis(1));
///     let second = ticks.nth(1).await.unwrap();
///     assert!(second >= start + Duration::from_millis(2));
/// });
/// ```
#[derive(Debug)]
pub struct Timer {
    /// The next time. `None` means never.
    when: Option<Instant>,
    /// `MAX` means that the timer fires once.
    period: Duration,
    /// The wait in the loop, from the first one on.
    wait: Option<oneloop::futures::Timer>,
}

// A panic in between leaves the loop's state whole.
impl UnwindSafe for Timer {}
impl RefUnwindSafe for Timer {}

impl Timer {
    /// Makes a timer that never fires, until it is set.
    pub fn never() -> Timer {
        Timer {
            when: None,
            period: Duration::MAX,
            wait: None,
        }
    }

    /// Makes a timer that fires once, after `duration`. If that is beyond the end of time, it never fires.
    pub fn after(duration: Duration) -> Timer {
        match reactor::now().checked_add(duration) {
            Some(when) => Timer::at(when),
            None => Timer::never(),
        }
    }

    /// Makes a timer that fires once, at `instant`.
    pub fn at(instant: Instant) -> Timer {
        Timer::interval_at(instant, Duration::MAX)
    }

    /// Makes a timer that fires every `period`, for the first time after one period.
    pub fn interval(period: Duration) -> Timer {
        match reactor::now().checked_add(period) {
            Some(start) => Timer::interval_at(start, period),
            None => Timer::never(),
        }
    }

    /// Makes a timer that fires every `period`, for the first time at `start`.
    pub fn interval_at(start: Instant, period: Duration) -> Timer {
        Timer {
            when: Some(start),
            period,
            wait: None,
        }
    }

    /// Returns true if the timer fires some time.
    #[inline]
    pub fn will_fire(&self) -> bool {
        self.when.is_some()
    }

    /// Sets the next time to `duration` from now. If that is beyond the end of time, the timer never fires.
    pub fn set_after(&mut self, duration: Duration) {
        self.move_to(reactor::now().checked_add(duration));
    }

    /// Sets the next time. A task that waits is woken then. A period stays.
    pub fn set_at(&mut self, instant: Instant) {
        self.move_to(Some(instant));
    }

    /// Makes the timer fire every `period`, for the first time one period from now.
    pub fn set_interval(&mut self, period: Duration) {
        match reactor::now().checked_add(period) {
            Some(start) => self.set_interval_at(start, period),
            None => self.clear(),
        }
    }

    /// Makes the timer fire every `period`, for the first time at `start`.
    pub fn set_interval_at(&mut self, start: Instant, period: Duration) {
        self.period = period;
        self.move_to(Some(start));
    }

    /// Makes the timer never fire, until it is set again.
    pub fn clear(&mut self) {
        self.move_to(None);
    }

    fn move_to(&mut self, when: Option<Instant>) {
        self.when = when;
        if let Some(wait) = &mut self.wait {
            match when {
                Some(when) => wait.set_at(when),
                None => wait.set_after(Duration::MAX),
            }
        }
    }

    /// Returns the time that has come, and goes on to the next.
    fn poll_tick(&mut self, cx: &mut Context<'_>) -> Poll<Instant> {
        loop {
            if let Some(when) = self.when.filter(|&when| when <= reactor::now()) {
                self.when = when.checked_add(self.period);
                return Poll::Ready(when);
            }
            let when = self.when;
            let wait = self.wait.get_or_insert_with(|| {
                let reactor = &reactor::get().reactor;
                match when {
                    Some(when) => oneloop::futures::Timer::at(reactor, when),
                    None => oneloop::futures::Timer::after(reactor, Duration::MAX),
                }
            });
            if wait.deadline() != when {
                match when {
                    Some(when) => wait.set_at(when),
                    None => wait.set_after(Duration::MAX),
                }
            }
            let waited = Pin::new(wait).poll(cx);
            if when.is_some() {
                ready!(driver::awaited(waited));
            } else {
                return Poll::Pending;
            }
        }
    }
}

impl Future for Timer {
    type Output = Instant;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Instant> {
        self.poll_tick(cx)
    }
}

impl Stream for Timer {
    type Item = Instant;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Instant>> {
        self.poll_tick(cx).map(Some)
    }
}
