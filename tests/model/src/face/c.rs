use std::ffi::{CStr, c_int, c_void};
use std::os::fd::RawFd;
use std::ptr::null_mut;
use std::time::{Duration, SystemTime};

use oneloop::{Action, Reactor, Turn};
use oneloop_c::*;

use super::{Calls, Set};
use crate::fault::Fault;
use crate::play::Part;
use crate::step::{HandlerMode, Urgency};

pub(super) struct C;

// C passes a `Part` along, or two for hooks, and `destroy` frees each once. The library promises that no callback
// runs inside another. The references to a part are therefore unique, which is the subject of the test.

unsafe extern "C" fn on_event(
    _: *mut oneloop_t,
    id: oneloop_id,
    _: c_int,
    ready: u32,
    user: *mut c_void,
) -> c_int {
    // SAFETY: as said above.
    let part = unsafe { &mut *user.cast::<Part>() };
    // The model does not know the end of a stream, which only one of the pollers tells.
    let ready = ready & !oneloop_c::ONELOOP_READ_CLOSED;
    match part.event(id, ready as u8) {
        Action::Continue => ONELOOP_CONTINUE,
        Action::Again => ONELOOP_AGAIN,
        Action::Remove => ONELOOP_REMOVE,
    }
}

unsafe extern "C" fn on_timer(_: *mut oneloop_t, _: oneloop_id, user: *mut c_void) {
    // SAFETY: as said above.
    unsafe { &mut *user.cast::<Part>() }.timer();
}

unsafe extern "C" fn on_post(_: *mut oneloop_t, user: *mut c_void) {
    // SAFETY: as said above.
    unsafe { &mut *user.cast::<Part>() }.called();
}

unsafe extern "C" fn on_prepare(_: *mut oneloop_t, user: *mut c_void) -> i64 {
    // SAFETY: as said above.
    let [before, _] = unsafe { &mut *user.cast::<[Part; 2]>() };
    before.prepare().map_or(ONELOOP_NEVER, nanoseconds)
}

unsafe extern "C" fn on_check(_: *mut oneloop_t, user: *mut c_void) {
    // SAFETY: as said above.
    let [_, after] = unsafe { &mut *user.cast::<[Part; 2]>() };
    after.check();
}

unsafe extern "C" fn destroy(user: *mut c_void) {
    // SAFETY: as said above.
    let part = unsafe { Box::from_raw(user.cast::<Part>()) };
    part.destroyed();
}

unsafe extern "C" fn destroy_two(user: *mut c_void) {
    // SAFETY: as said above.
    let parts = unsafe { Box::from_raw(user.cast::<[Part; 2]>()) };
    parts[0].destroyed();
}

/// Calls with user data, which is the caller's again if that fails.
fn pass<T>(user: T, call: impl FnOnce(*mut c_void) -> c_int) -> Result<c_int, Fault> {
    let user = Box::into_raw(Box::new(user));
    let result = Fault::check(call(user.cast()));
    if result.is_err() {
        // SAFETY: it was boxed above, and no other code has it.
        drop(unsafe { Box::from_raw(user) });
    }
    result
}

fn nanoseconds(time: Duration) -> i64 {
    i64::try_from(time.as_nanos()).unwrap_or(ONELOOP_NEVER)
}

fn since_zero(time: SystemTime) -> Duration {
    time.duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default()
}

// SAFETY, for all that follow: the loop is alive during the call, and user data as said above.
impl Calls for C {
    fn add_raw_handler(
        &self,
        reactor: &Reactor,
        (fd, interest, mode): (RawFd, u8, HandlerMode),
        part: Part,
    ) -> Result<u64, Fault> {
        let mode = match mode {
            HandlerMode::Level => ONELOOP_LEVEL,
            HandlerMode::Edge => ONELOOP_EDGE,
            HandlerMode::Oneshot => ONELOOP_ONESHOT,
        };
        let (r#loop, mut id) = (as_ptr(reactor), 0);
        let (callback, interest) = (Some(on_event as _), interest.into());
        // SAFETY: see above.
        pass(part, |user| unsafe {
            let destroy: oneloop_destroy_fn = Some(destroy);
            oneloop_add_handler(r#loop, fd, interest, mode, callback, user, destroy, &mut id)
        })?;
        Ok(id)
    }

    fn update_handler(&self, reactor: &Reactor, id: u64, interest: u8) -> Result<(), Fault> {
        // SAFETY: see above.
        Fault::check(unsafe { oneloop_update_handler(as_ptr(reactor), id, interest.into()) })?;
        Ok(())
    }

    fn rearm_handler(&self, reactor: &Reactor, id: u64) -> Result<(), Fault> {
        // SAFETY: see above.
        Fault::check(unsafe { oneloop_rearm_handler(as_ptr(reactor), id) })?;
        Ok(())
    }

    fn remove_handler(&self, reactor: &Reactor, id: u64) -> Result<(), Fault> {
        // SAFETY: see above.
        Fault::check(unsafe { oneloop_remove_handler(as_ptr(reactor), id) })?;
        Ok(())
    }

    fn handler_fd(&self, reactor: &Reactor, id: u64) -> Result<RawFd, Fault> {
        // SAFETY: see above.
        let fd = unsafe { oneloop_handler_fd(as_ptr(reactor), id) };
        // A number that was never open is a number as well.
        Fault::check(fd)
    }

    fn unref_handler(&self, reactor: &Reactor, id: u64) -> Result<(), Fault> {
        // SAFETY: see above.
        Fault::check(unsafe { oneloop_set_referenced(as_ptr(reactor), id, false) })?;
        Ok(())
    }

    fn set_timer(&self, reactor: &Reactor, set: Set, part: Part) -> Result<u64, Fault> {
        let until = |time| nanoseconds(Duration::saturating_sub(time, Duration::ZERO));
        let now = reactor.now();
        let (delay, period) = match set {
            Set::After(delay) => (until(delay), 0),
            Set::At(time) => (until(time.saturating_duration_since(now)), 0),
            Set::Every(period) => (until(period), nanoseconds(period)),
            Set::EveryAt(time, period) => (
                until(time.saturating_duration_since(now)),
                nanoseconds(period),
            ),
            Set::System(_) => (ONELOOP_NEVER, 0),
        };
        let (r#loop, mut id) = (as_ptr(reactor), 0);
        // SAFETY: see above.
        pass(part, |user| unsafe {
            let destroy: oneloop_destroy_fn = Some(destroy);
            oneloop_add_timer(
                r#loop,
                delay,
                period,
                Some(on_timer),
                user,
                destroy,
                &mut id,
            )
        })?;
        if let Set::System(time) = set {
            self.reset_timer_to_system_time(reactor, id, time)?;
        }
        Ok(id)
    }

    fn reset_timer(&self, reactor: &Reactor, id: u64, delay: Duration) -> Result<(), Fault> {
        // SAFETY: see above.
        Fault::check(unsafe { oneloop_reset_timer(as_ptr(reactor), id, nanoseconds(delay)) })?;
        Ok(())
    }

    fn reset_timer_to_system_time(
        &self,
        reactor: &Reactor,
        id: u64,
        time: SystemTime,
    ) -> Result<(), Fault> {
        let time = since_zero(time);
        let (seconds, nanoseconds) = (time.as_secs() as i64, time.subsec_nanos().into());
        let (r#loop, clock) = (as_ptr(reactor), ONELOOP_REALTIME);
        // SAFETY: see above.
        Fault::check(unsafe { oneloop_reset_timer_at(r#loop, id, clock, seconds, nanoseconds) })?;
        Ok(())
    }

    fn cancel_timer(&self, reactor: &Reactor, id: u64) -> Result<(), Fault> {
        // SAFETY: see above.
        Fault::check(unsafe { oneloop_cancel_timer(as_ptr(reactor), id) })?;
        Ok(())
    }

    fn unref_timer(&self, reactor: &Reactor, id: u64) -> Result<(), Fault> {
        self.unref_handler(reactor, id)
    }

    fn post(&self, reactor: &Reactor, urgency: Urgency, part: Part) -> Result<(), Fault> {
        let priority = match urgency {
            Urgency::High => ONELOOP_HIGH,
            Urgency::Normal => ONELOOP_NORMAL,
            Urgency::Idle => ONELOOP_IDLE,
        };
        // SAFETY: see above.
        pass(part, |user| unsafe {
            let r#loop = as_ptr(reactor);
            oneloop_call_soon(
                r#loop,
                priority,
                Some(on_post),
                user,
                Some(destroy),
                null_mut(),
            )
        })?;
        Ok(())
    }

    fn add_hook(&self, reactor: &Reactor, before: Part, after: Part) -> Result<u64, Fault> {
        let (r#loop, mut id) = (as_ptr(reactor), 0);
        let (prepare, check) = (Some(on_prepare as _), Some(on_check as _));
        // SAFETY: see above.
        pass([before, after], |user| unsafe {
            oneloop_add_hook(r#loop, prepare, check, user, Some(destroy_two), &mut id)
        })?;
        Ok(id)
    }

    fn remove_hook(&self, reactor: &Reactor, id: u64) -> Result<(), Fault> {
        // SAFETY: see above.
        Fault::check(unsafe { oneloop_remove_hook(as_ptr(reactor), id) })?;
        Ok(())
    }

    fn turn(&self, reactor: &Reactor, timeout: Option<Duration>) -> Result<Turn, Fault> {
        let (timeout, mut flags) = (timeout.map_or(ONELOOP_NEVER, nanoseconds), 0);
        // SAFETY: see above.
        let called = check_drive(unsafe { oneloop_turn(as_ptr(reactor), timeout, &mut flags) })?;
        let mut turn = Turn::default();
        turn.called = called as usize;
        turn.idle = flags & ONELOOP_TURN_IDLE != 0;
        turn.stopped = flags & ONELOOP_TURN_STOPPED != 0;
        Ok(turn)
    }

    fn run(&self, reactor: &Reactor) -> Result<(), Fault> {
        // SAFETY: see above.
        check_drive(unsafe { oneloop_run(as_ptr(reactor)) })?;
        Ok(())
    }

    fn stop(&self, reactor: &Reactor) {
        // SAFETY: see above.
        unsafe { oneloop_stop(as_ptr(reactor)) };
    }

    fn close(&self, reactor: &Reactor) {
        // SAFETY: see above.
        unsafe { oneloop_close(as_ptr(reactor)) };
    }

    fn garbage(&self, reactor: &Reactor, call: u8, id: u64, number: RawFd) -> Result<(), Fault> {
        // Every other time with no loop at all.
        let r#loop = match call % 2 {
            0 => as_ptr(reactor),
            _ => null_mut(),
        };
        let (user, none, no_id) = (null_mut(), None, null_mut());
        let handler: oneloop_handler_fn = Some(on_event);
        let timer: oneloop_timer_fn = Some(on_timer);
        let post: oneloop_post_fn = Some(on_post);
        // SAFETY: null is allowed everywhere, and what would call back with it is not registered.
        let result = unsafe {
            match call / 2 % 20 {
                0 => oneloop_update_handler(r#loop, id, 1),
                1 => oneloop_update_handler(r#loop, id, u32::MAX),
                2 => oneloop_rearm_handler(r#loop, id),
                3 => oneloop_remove_handler(r#loop, id),
                4 => oneloop_handler_fd(r#loop, id),
                5 => oneloop_set_referenced(r#loop, id, false),
                6 => oneloop_cancel_timer(r#loop, id),
                7 => oneloop_reset_timer(r#loop, id, i64::from(number)),
                8 => oneloop_reset_timer_at(r#loop, id, number, i64::MIN, i64::MAX),
                9 => oneloop_remove_hook(r#loop, id),
                10 => oneloop_enable(r#loop, id, number % 2 == 0),
                11 => oneloop_add_handler(r#loop, number, 1, 0, handler, user, none, no_id),
                12 => oneloop_add_handler(r#loop, 0, 1, 0, None, user, none, no_id),
                13 => oneloop_add_handler(r#loop, 0, 1, 99, handler, user, none, no_id),
                14 => oneloop_add_timer(r#loop, 0, -1, timer, user, none, no_id),
                15 => oneloop_add_timer(r#loop, 0, 0, None, user, none, no_id),
                16 => oneloop_call_soon(r#loop, 77, post, user, none, null_mut()),
                17 => oneloop_add_hook(r#loop, None, post, user, none, no_id),
                18 => oneloop_add_signal(r#loop, number, None, user, none, no_id),
                _ => oneloop_add_child(r#loop, number, None, user, none, no_id),
            }
        };
        Fault::check(result).map(drop)
    }
}

/// Checks like `Fault::check`, and throws a panic on that comes from a callback.
fn check_drive(result: c_int) -> Result<c_int, Fault> {
    let result = Fault::check(result);
    if result == Err(Fault::Panic) {
        // SAFETY: a string until the next call that fails.
        let text = unsafe { CStr::from_ptr(oneloop_strerror()) };
        let text = text.to_string_lossy();
        // One on purpose carries no message.
        if text.ends_with("without a message") {
            std::panic::resume_unwind(Box::new(crate::play::OnPurpose))
        } else {
            panic!("{text}")
        }
    }
    result
}
