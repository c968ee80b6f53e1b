use std::fmt;
use std::future::Future;
use std::panic::Location;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};
use std::time::{Duration, Instant};

use futures_core::Stream;

use crate::engine::{Fired, When, once};
use crate::id::Key;
use crate::sync::{Mutex, MutexGuard, lock};
use crate::{Reactor, Shared, Threading};

/// A timer of a loop as a future, or as a stream of ticks.
///
/// As a future, it is ready with the deadline once that has passed. If it is polled again, it is ready at
/// once.
///
/// As a stream, it yields a tick per period, keeps its phase, and skips ticks that were not taken in time.
/// Without a period there is one tick. A timer that is due when it is first polled makes its task yield now
/// and then, like an [`Async`](super::Async) that is always ready.
///
/// On a loop that is closed or has no driver, it waits for ever.
///
/// ```
/// use futures_lite::StreamExt;
/// use oneloop::{Reactor, futures::Timer};
/// use std::time::Duration;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let reactor = Reactor::new()?;
/// let start = reactor.now();
/// reactor.block_on(async {
///     Timer::after(&reactor, Duration::from_micros(300)).await;
///     let mut ticks = Timer::interval(&reactor, Duration::from_micros(200));
///     ticks.next().await;
///     ticks.next().await;
/// })?;
/// assert!(start.elapsed() >= Duration::from_micros(700));
/// # Ok(())
/// # }
/// ```
pub struct Timer<M: Threading = Shared> {
    reactor: Reactor<M>,
    /// `None` means never.
    deadline: Option<Instant>,
    period: Option<Duration>,
    /// True if the stream has ended.
    over: bool,
    /// True if a task has waited since the timer was last ready.
    waited: bool,
    /// The wait in the loop, and its deadline.
    registered: Option<(Key, Instant)>,
    task: Arc<Mutex<Option<Waker>>>,
    location: &'static Location<'static>,
}

impl<M: Threading> Timer<M> {
    /// Makes a timer that fires at `deadline`.
    #[track_caller]
    pub fn at(reactor: &Reactor<M>, deadline: Instant) -> Timer<M> {
        Timer::new(reactor, Some(deadline), None)
    }

    /// Makes a timer that fires after `delay`, counted from now. If the deadline is beyond the end of time,
    /// it never fires.
    #[track_caller]
    pub fn after(reactor: &Reactor<M>, delay: Duration) -> Timer<M> {
        Timer::new(reactor, reactor.now().checked_add(delay), None)
    }

    /// Makes a timer that fires every `period`, for the first time after one period. With a period of zero,
    /// it is always ready.
    #[track_caller]
    pub fn interval(reactor: &Reactor<M>, period: Duration) -> Timer<M> {
        Timer::new(reactor, reactor.now().checked_add(period), Some(period))
    }

    /// Makes a timer that fires every `period`, for the first time at `start`.
    #[track_caller]
    pub fn interval_at(reactor: &Reactor<M>, start: Instant, period: Duration) -> Timer<M> {
        Timer::new(reactor, Some(start), Some(period))
    }

    #[track_caller]
    fn new(reactor: &Reactor<M>, deadline: Option<Instant>, period: Option<Duration>) -> Timer<M> {
        Timer {
            reactor: reactor.clone(),
            deadline,
            period,
            over: false,
            waited: false,
            registered: None,
            task: Arc::default(),
            location: Location::caller(),
        }
    }

    /// Moves the timer to `deadline`, forward or back. A waiting task is woken then.
    pub fn set_at(&mut self, deadline: Instant) {
        self.move_to(Some(deadline));
    }

    /// Moves the timer to `delay` from now.
    pub fn set_after(&mut self, delay: Duration) {
        self.move_to(self.reactor.now().checked_add(delay));
    }

    /// Returns the next deadline, or `None` for never.
    pub fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    fn move_to(&mut self, deadline: Option<Instant>) {
        self.deadline = deadline;
        self.over = false;
        let waits = self.registered.is_some() || self.task().is_some();
        if waits {
            self.register();
        }
    }

    fn task(&self) -> MutexGuard<'_, Option<Waker>> {
        lock(&self.task)
    }

    /// Makes the loop wake the task at the deadline.
    fn register(&mut self) {
        let registered = self.registered.take();
        let Some(deadline) = self.deadline else {
            if let Some((key, _)) = registered {
                let _ = self.reactor.core.cancel_timer(key);
            }
            return;
        };
        if let Some((key, before)) = registered {
            // A registered wait is moved, unless it has fired.
            if before == deadline
                || self
                    .reactor
                    .core
                    .reset_timer(key, When::At(deadline))
                    .is_ok()
            {
                self.registered = Some((key, deadline));
                return;
            }
        }
        let task = self.task.clone();
        let wake = once(move || {
            let task = lock(&task).take();
            if let Some(task) = task {
                task.wake();
            }
            Ok(())
        });
        let when = When::At(deadline);
        let core = &self.reactor.core;
        let added = core.add_timer("Timer", when, Fired::Gone, self.location, wake);
        self.registered = added.ok().map(|key| (key, deadline));
    }

    /// Returns the deadline once it has passed.
    fn poll_deadline(&mut self, cx: &mut Context<'_>) -> Poll<Instant> {
        let mut passed = self.passed();
        // Dropped after the lock, because it may be the last handle of a task, and the task may own this
        // timer.
        let _old;
        if passed.is_none() {
            #[cfg(feature = "tracing")]
            self.reactor.core.warn_if_not_driven();
            let waker = cx.waker().clone();
            _old = self.task().replace(waker);
            // The wait may have fired just before, for the old waker.
            passed = self.passed();
        }
        let Some(deadline) = passed else {
            self.register();
            self.waited = true;
            return Poll::Pending;
        };
        if !self.waited {
            ready!(self.reactor.core.timers_at_once.poll_spend(cx));
        }
        self.waited = false;
        Poll::Ready(deadline)
    }

    fn passed(&self) -> Option<Instant> {
        self.deadline
            .filter(|&deadline| deadline <= self.reactor.now())
    }
}

impl<M: Threading> Future for Timer<M> {
    type Output = Instant;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Instant> {
        self.poll_deadline(cx)
    }
}

impl<M: Threading> Stream for Timer<M> {
    type Item = Instant;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Instant>> {
        if self.over {
            return Poll::Ready(None);
        }
        let Poll::Ready(mut tick) = self.poll_deadline(cx) else {
            return Poll::Pending;
        };
        let now = self.reactor.now();
        self.over = self.period.is_none();
        self.deadline = self.period.and_then(|period| next(tick, period, now));
        // The last tick that has passed. The ticks before it were missed.
        if let (Some(next), Some(period)) = (self.deadline, self.period) {
            tick = next.checked_sub(period).unwrap_or(tick);
        }
        Poll::Ready(Some(tick))
    }
}

/// Returns the first tick after `now`.
fn next(deadline: Instant, period: Duration, now: Instant) -> Option<Instant> {
    let late = now.saturating_duration_since(deadline);
    let into = late.as_nanos().checked_rem(period.as_nanos()).unwrap_or(0);
    // The remainder is shorter than the period, which is a duration of this type.
    let into = Duration::new((into / 1_000_000_000) as u64, (into % 1_000_000_000) as u32);
    now.checked_add(period.saturating_sub(into))
}

impl<M: Threading> Drop for Timer<M> {
    fn drop(&mut self) {
        if let Some((key, _)) = self.registered {
            // The wait may have fired.
            let _ = self.reactor.core.cancel_timer(key);
        }
    }
}

impl<M: Threading> fmt::Debug for Timer<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut timer = f.debug_struct("Timer");
        timer.field("deadline", &self.deadline);
        timer.field("period", &self.period).finish()
    }
}
