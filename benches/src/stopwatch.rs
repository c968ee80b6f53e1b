//! Counting events inside a loop.

use std::future::{Future, poll_fn};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

/// Counts events on whichever loop handles them: first those of the warm-up, then those that are
/// timed.
///
/// It is the same for every loop, costs a few instructions per event, and leaves what comes before
/// the first event and after the last one out of the time.
pub struct Stopwatch {
    /// Events to go until the next change of state.
    left: AtomicU64,
    state: Mutex<State>,
}

struct State {
    phase: Phase,
    waiting: Option<Waker>,
}

#[derive(Clone, Copy)]
enum Phase {
    /// Then this many events are timed.
    WarmUp(u64),
    Timing(Instant),
    Over(Duration),
}

impl Stopwatch {
    /// One that times `events`, after a warm-up of an eighth as many.
    pub fn new(events: u64) -> Arc<Stopwatch> {
        Arc::new(Stopwatch {
            left: AtomicU64::new(events / 8 + 1),
            state: Mutex::new(State {
                phase: Phase::WarmUp(events.max(1)),
                waiting: None,
            }),
        })
    }

    /// Counts an event that was handled just now. False: that was the last one, and the loop is to
    /// end.
    ///
    /// Events are to be counted on one thread at a time.
    #[inline]
    pub fn count(&self) -> bool {
        match self.left.load(Relaxed) {
            // Not a read-modify-write, which costs more than all the rest: there is one thread.
            left @ 2.. => {
                self.left.store(left - 1, Relaxed);
                true
            }
            _ => self.advance(),
        }
    }

    /// Resolves after the last event.
    pub fn over(&self) -> impl Future<Output = ()> {
        poll_fn(|cx| {
            let mut state = self.state();
            match state.phase {
                Phase::Over(_) => Poll::Ready(()),
                _ => {
                    // Executors that run it beside tasks poll it often.
                    match &mut state.waiting {
                        Some(waker) => waker.clone_from(cx.waker()),
                        None => state.waiting = Some(cx.waker().clone()),
                    }
                    Poll::Pending
                }
            }
        })
    }

    /// How long the timed events took. `None` if they are not over.
    pub fn elapsed(&self) -> Option<Duration> {
        match self.state().phase {
            Phase::Over(time) => Some(time),
            _ => None,
        }
    }

    #[cold]
    fn advance(&self) -> bool {
        let now = Instant::now();
        let mut state = self.state();
        match state.phase {
            Phase::WarmUp(events) => {
                self.left.store(events, Relaxed);
                state.phase = Phase::Timing(Instant::now());
                true
            }
            Phase::Timing(start) => {
                state.phase = Phase::Over(now - start);
                let waiting = state.waiting.take();
                drop(state);
                if let Some(waker) = waiting {
                    waker.wake();
                }
                false
            }
            Phase::Over(_) => false,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_after_the_wanted_number() {
        let stopwatch = Stopwatch::new(80);
        // The event that ends the warm-up starts the clock.
        for event in 1..11 + 80 {
            assert!(stopwatch.count(), "{event}");
        }
        assert!(stopwatch.elapsed().is_none());
        assert!(!stopwatch.count());
        assert!(stopwatch.elapsed().is_some());
        assert!(!stopwatch.count());
    }
}
