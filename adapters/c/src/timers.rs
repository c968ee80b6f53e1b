use std::ffi::{c_int, c_void};
use std::sync::OnceLock;
use std::time::{Duration, Instant, SystemTime};

use oneloop::{Action, Reactor, TimerId};

use crate::copies::forward;
use crate::error::{Failure, call};
use crate::user::{User, deadline, reactor};
use crate::{ONELOOP_NEVER, oneloop_destroy_fn, oneloop_id, oneloop_t};

/// A timer that is due.
pub type oneloop_timer_fn =
    Option<unsafe extern "C" fn(r#loop: *mut oneloop_t, id: oneloop_id, user: *mut c_void)>;

/// The clock of CLOCK_MONOTONIC, which nobody sets.
pub const ONELOOP_MONOTONIC: c_int = 1;
/// The clock of CLOCK_REALTIME. Timers follow it when it is set.
pub const ONELOOP_REALTIME: c_int = 0;

/// Calls `callback` after `delay` nanoseconds (0: in the next turn; ONELOOP_NEVER: not until it is
/// reset), and then, if `period` is not 0 or ONELOOP_NEVER, every `period` nanoseconds, keeping its phase
/// and skipping what was missed. Never early.
///
/// A timer is there until `oneloop_cancel_timer`: one that has fired sleeps until it is reset, and
/// does not keep `oneloop_run` going meanwhile.
///
/// Threads: any.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn oneloop_add_timer(
    r#loop: *mut oneloop_t,
    delay: i64,
    period: i64,
    callback: oneloop_timer_fn,
    user: *mut c_void,
    destroy: oneloop_destroy_fn,
    id: *mut oneloop_id,
) -> c_int {
    forward!(oneloop_add_timer => add_timer(r#loop, delay, period, callback, user, destroy, id));
    call("oneloop_add_timer", || {
        // SAFETY: the caller's promise.
        let reactor = unsafe { reactor(r#loop) }?;
        let callback = callback.ok_or(Failure::Argument("the callback"))?;
        let period = match period {
            0 | ONELOOP_NEVER => None,
            period => Some(u64::try_from(period).map_err(|_| Failure::Argument("the period"))?),
        };
        let make = |own: TimerId| {
            let own_id = (own.to_bits(), id);
            // SAFETY: the caller's promise.
            let user = unsafe { User::registered(&reactor, user, destroy, own_id) };
            move || {
                // SAFETY: C's own function, with its own data, as the header promises.
                unsafe { callback(user.r#loop(), own.to_bits(), user.pointer()) };
                Action::Continue
            }
        };
        let first = deadline(&reactor, delay);
        reactor.add_timer_with(first, period.map(Duration::from_nanos), make)?;
        Ok(0)
    })
}

/// Moves a timer to `delay` nanoseconds from now; ONELOOP_NEVER puts it to sleep. A periodic one goes
/// on from there. Also in its own callback, where it goes before the period.
///
/// Fails with -ENOENT if the id is unknown.
///
/// Threads: any.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn oneloop_reset_timer(
    r#loop: *mut oneloop_t,
    id: oneloop_id,
    delay: i64,
) -> c_int {
    forward!(oneloop_reset_timer => reset_timer(r#loop, id, delay));
    call("oneloop_reset_timer", || {
        // SAFETY: the caller's promise.
        let reactor = unsafe { reactor(r#loop) }?;
        reactor.reset_timer(TimerId::from_bits(id), deadline(&reactor, delay))?;
        Ok(0)
    })
}

/// Moves a timer to a time of a clock, ONELOOP_MONOTONIC or ONELOOP_REALTIME, given as a timespec is.
/// One that has passed is due in the next turn. Timers for the same time fire by creation.
///
/// Threads: any.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn oneloop_reset_timer_at(
    r#loop: *mut oneloop_t,
    id: oneloop_id,
    clock: c_int,
    seconds: i64,
    nanoseconds: i64,
) -> c_int {
    forward!(oneloop_reset_timer_at => reset_timer_at(r#loop, id, clock, seconds, nanoseconds));
    call("oneloop_reset_timer_at", || {
        // SAFETY: the caller's promise.
        let reactor = unsafe { reactor(r#loop) }?;
        let nanoseconds = u32::try_from(nanoseconds)
            .ok()
            .filter(|&n| n < 1_000_000_000);
        let nanoseconds = nanoseconds.ok_or(Failure::Argument("the nanoseconds"))?;
        // Before the clock's zero is past enough.
        let since_zero = Duration::new(u64::try_from(seconds).unwrap_or(0), nanoseconds);
        let timer = TimerId::from_bits(id);
        match clock {
            ONELOOP_MONOTONIC => {
                reactor.reset_timer(timer, instant(&reactor, since_zero))?;
            }
            ONELOOP_REALTIME => match SystemTime::UNIX_EPOCH.checked_add(since_zero) {
                Some(time) => reactor.reset_timer_to_system_time(timer, time)?,
                None => reactor.reset_timer(timer, deadline(&reactor, ONELOOP_NEVER))?,
            },
            _ => return Err(Failure::Argument("the clock")),
        }
        Ok(0)
    })
}

/// The instant at which CLOCK_MONOTONIC shows a time. Always the same one for a time, so that timers for it
/// are due together.
fn instant(reactor: &Reactor, since_zero: Duration) -> Instant {
    static BOTH: OnceLock<(Instant, Duration)> = OnceLock::new();
    let (now, shown) = match reactor.has_test_clock() || cfg!(target_vendor = "apple") {
        // That clock has another pace, or sleeps with the machine: what counts is how long it is from now.
        true => (reactor.now(), monotonic_now()),
        false => *BOTH.get_or_init(both_clocks),
    };
    let instant = match since_zero.checked_sub(shown) {
        Some(left) => now.checked_add(left),
        None => now.checked_sub(shown - since_zero),
    };
    // Where it cannot be counted it is never, or long ago.
    instant.unwrap_or_else(|| match since_zero > shown {
        true => deadline(reactor, ONELOOP_NEVER),
        false => now,
    })
}

/// What both clocks show at a time, or CLOCK_MONOTONIC a little before: timers are never early.
fn both_clocks() -> (Instant, Duration) {
    let look = || {
        let (shown, now) = (monotonic_now(), Instant::now());
        (monotonic_now().saturating_sub(shown), now, shown)
    };
    // Something may come in between: the quickest look is the best.
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
    // SAFETY: writes into a timespec that is there.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut now) };
    Duration::new(now.tv_sec as u64, now.tv_nsec as u32)
}

/// Cancels a timer, also in its own callback. Its destroy function is called later, in a turn.
///
/// Fails with -ENOENT if the id is unknown, which harms nothing.
///
/// Threads: any.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn oneloop_cancel_timer(r#loop: *mut oneloop_t, id: oneloop_id) -> c_int {
    forward!(oneloop_cancel_timer => cancel_timer(r#loop, id));
    call("oneloop_cancel_timer", || {
        // SAFETY: the caller's promise.
        unsafe { reactor(r#loop) }?.retire_timer(TimerId::from_bits(id))?;
        Ok(0)
    })
}
