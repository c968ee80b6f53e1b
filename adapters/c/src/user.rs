//! What C gives along with a callback, and gets back when that is over.

use std::ffi::c_void;
use std::mem::ManuallyDrop;
use std::time::{Duration, Instant};

use oneloop::Reactor;
use oneloop::bindings::Maker;

use crate::copies::maker;
use crate::error::Failure;
use crate::{oneloop_destroy_fn, oneloop_id, oneloop_t};

/// The reactor that a pointer means, for the time of a call.
///
/// # Safety
///
/// As for all functions of the ABI: null, or a loop that is alive.
pub(crate) unsafe fn reactor(pointer: *mut oneloop_t) -> Result<ManuallyDrop<Reactor>, Failure> {
    if pointer.is_null() {
        return Err(Failure::Argument("the loop"));
    }
    // SAFETY: the caller's promise.
    if unsafe { maker(pointer) } != Maker::This {
        return Err(Failure::OtherCopy);
    }
    // SAFETY: the pointer is of a loop that is alive, and what is made of it is never dropped.
    Ok(ManuallyDrop::new(unsafe {
        Reactor::from_raw(pointer.cast())
    }))
}

/// The same, with a handle of its own, for calls during which callbacks may give up the last one.
///
/// # Safety
///
/// As [`reactor`].
pub(crate) unsafe fn hold(pointer: *mut oneloop_t) -> Result<Reactor, Failure> {
    // SAFETY: the caller's promise.
    Ok(Reactor::clone(&*unsafe { reactor(pointer) }?))
}

/// User data of a callback, which owns this. It is destroyed along with the callback: by a turn, or by
/// the end of the loop. Only what was registered has one: else the user data stays the caller's.
pub(crate) struct User {
    r#loop: *mut oneloop_t,
    /// 0 for a post, which is never dropped inside a call that cancels it.
    id: oneloop_id,
    pointer: *mut c_void,
    destroy: oneloop_destroy_fn,
}

// SAFETY: the pointer is C's, which has been told on which thread it is used: `oneloop.h` says that
// callbacks and destroy functions run on the thread that drives.
unsafe impl Send for User {}

impl User {
    pub(crate) fn of_post(
        reactor: &Reactor,
        pointer: *mut c_void,
        destroy: oneloop_destroy_fn,
    ) -> User {
        User {
            r#loop: crate::as_ptr(reactor),
            id: 0,
            pointer,
            destroy,
        }
    }

    /// Gives the id to C, too, if it asked for it. Under the loop's lock: the callback, once it is called,
    /// may free the place.
    ///
    /// # Safety
    ///
    /// `place` must be null, or a place for an id.
    pub(crate) unsafe fn registered(
        reactor: &Reactor,
        pointer: *mut c_void,
        destroy: oneloop_destroy_fn,
        (id, place): (oneloop_id, *mut oneloop_id),
    ) -> User {
        // SAFETY: the caller's promise.
        if let Some(place) = unsafe { place.as_mut() } {
            *place = id;
        }
        if destroy.is_some() {
            reactor.add_lingering(id);
        }
        User {
            r#loop: crate::as_ptr(reactor),
            id,
            pointer,
            destroy,
        }
    }

    pub(crate) fn pointer(&self) -> *mut c_void {
        self.pointer
    }

    /// The loop. It is there inside its callbacks: the driver has a handle.
    pub(crate) fn r#loop(&self) -> *mut oneloop_t {
        self.r#loop
    }
}

impl Drop for User {
    fn drop(&mut self) {
        let Some(destroy) = self.destroy else {
            return;
        };
        // SAFETY: the loop drops its callbacks while it is there.
        if let Ok(reactor) = unsafe { reactor(self.r#loop) } {
            reactor.drop_lingering(self.id);
        }
        // SAFETY: C's own function and its own data, once.
        unsafe { destroy(self.pointer) };
    }
}

/// The instant of a delay in nanoseconds: a negative one is due now, `ONELOOP_NEVER` never.
pub(crate) fn deadline(reactor: &Reactor, delay: i64) -> Instant {
    let now = reactor.now();
    let delay = match delay {
        i64::MAX => NEVER,
        delay => Duration::from_nanos(u64::try_from(delay).unwrap_or(0)),
    };
    now.checked_add(delay).unwrap_or(now)
}

/// Longer than the loop can count: a timer so far away does not keep it going.
pub(crate) const NEVER: Duration = Duration::from_secs(700 * 365 * 24 * 3600);
