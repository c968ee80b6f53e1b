use std::ffi::{c_int, c_void};
use std::time::{Duration, SystemTime};

use oneloop::{Action, TimerId};

use crate::copies::forward;
use crate::error::{Failure, call};
use crate::user::{User, deadline, reactor};
use crate::{ONELOOP_NEVER, oneloop_destroy_fn, oneloop_id, oneloop_t};

/// A callback of a timer that is due.
pub type oneloop_timer_fn =
    Option<unsafe extern "C" fn(r#loop: *mut oneloop_t, id: oneloop_id, user: *mut c_void)>;

/// The clock of CLOCK_MONOTONIC, which cannot be set.
pub const ONELOOP_MONOTONIC: c_int = 1;
/// The clock of CLOCK_REALTIME. Timers follow it when it is set.
pub const ONELOOP_REALTIME: c_int = 0;

/// Calls `callback` after `delay` nanoseconds. A delay of 0 means the next turn, and ONELOOP_NEVER means not
/// before a reset. If `period` is neither 0 nor ONELOOP_NEVER, it is then called every `period` nanoseconds.
/// Such a timer keeps its phase and skips the calls that it missed. Timers are never early.
///
/// A timer exists until `oneloop_cancel_timer`. After it has fired, it sleeps until it is reset, and does not
/// keep `oneloop_run` going meanwhile.
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
                // SAFETY: C's own function gets its own data, as the header promises.
                unsafe { callback(user.r#loop(), own.to_bits(), user.pointer()) };
                Action::Continue
            }
        };
        let first = deadline(&reactor, delay);
        reactor.add_timer_with(first, period.map(Duration::from_nanos), make)?;
        Ok(0)
    })
}

/// Moves a timer to `delay` nanoseconds from now. ONELOOP_NEVER puts it to sleep. A periodic timer continues
/// from there. In the timer's own callback, the reset takes precedence over the period.
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

/// Moves a timer to a time of a clock, ONELOOP_MONOTONIC or ONELOOP_REALTIME, given like a timespec. If the
/// time has passed, the timer is due in the next turn. Timers for the same time fire in the order of their
/// creation.
///
/// Fails with -EINVAL for ONELOOP_MONOTONIC on Windows, which has no such clock.
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
        // A time before the clock's zero counts as the clock's zero, which has passed as well.
        let since_zero = Duration::new(u64::try_from(seconds).unwrap_or(0), nanoseconds);
        let timer = TimerId::from_bits(id);
        match clock {
            #[cfg(not(windows))]
            ONELOOP_MONOTONIC => {
                reactor.reset_timer(timer, crate::clock::instant(&reactor, since_zero))?;
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

/// Cancels a timer, even in its own callback. The destroy function is called later, in a turn.
///
/// Fails with -ENOENT if the id is unknown. That does no harm.
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
