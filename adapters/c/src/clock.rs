//! The clock by which C gives times.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use oneloop::Reactor;

use crate::ONELOOP_NEVER;
use crate::user::deadline;

/// Returns the instant at which CLOCK_MONOTONIC shows a time. It is always the same instant for a time, so
/// that timers for one time are due together.
pub(crate) fn instant(reactor: &Reactor, since_zero: Duration) -> Instant {
    static BOTH: OnceLock<(Instant, Duration)> = OnceLock::new();
    let (now, shown) = if reactor.has_test_clock() || cfg!(target_vendor = "apple") {
        // `Instant` uses a clock with another pace, or one that sleeps with the machine. The time from now is
        // what counts.
        (reactor.now(), monotonic_now())
    } else {
        *BOTH.get_or_init(both_clocks)
    };
    let instant = match since_zero.checked_sub(shown) {
        Some(left) => now.checked_add(left),
        None => now.checked_sub(shown - since_zero),
    };
    // A time outside the range of `Instant` means never, or long ago.
    instant.unwrap_or_else(|| {
        if since_zero > shown {
            deadline(reactor, ONELOOP_NEVER)
        } else {
            now
        }
    })
}

/// Reads both clocks at one moment, or CLOCK_MONOTONIC a little before, so that timers are never early.
fn both_clocks() -> (Instant, Duration) {
    let look = || {
        let (shown, now) = (monotonic_now(), Instant::now());
        (monotonic_now().saturating_sub(shown), now, shown)
    };
    // The thread may be interrupted between the readings, so the quickest pair of readings is the best.
    let mut best = look();
    for _ in 0..20 {
        let another = look();
        if another.0 < best.0 {
            best = another;
        }
    }
    let (_, now, shown) = best;
    (now, shown)
}

fn monotonic_now() -> Duration {
    let mut now = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: writes into a timespec on the stack.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut now) };
    Duration::new(now.tv_sec as u64, now.tv_nsec as u32)
}
