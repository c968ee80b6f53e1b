//! The user data of C's callbacks, and its return to C.

use std::ffi::c_void;
use std::mem::ManuallyDrop;
use std::ops::Deref;
use std::time::{Duration, Instant};

use oneloop::bindings::Maker;
use oneloop::{HandlerId, Reactor, Shared, WeakReactor};

use crate::copies::maker;
use crate::error::Failure;
use crate::{oneloop_destroy_fn, oneloop_fd, oneloop_id, oneloop_t};

/// Lends the reactor of a pointer for a call.
///
/// # Safety
///
/// The pointer must be null or point to a loop that is alive, as for all functions of the ABI.
pub(crate) unsafe fn reactor(pointer: *mut oneloop_t) -> Result<ManuallyDrop<Reactor>, Failure> {
    if pointer.is_null() {
        return Err(Failure::Argument("the loop"));
    }
    // SAFETY: the caller's promise.
    if unsafe { maker(pointer) } != Maker::This {
        return Err(Failure::OtherCopy);
    }
    // SAFETY: the pointer points to a loop that is alive, and the handle is never dropped.
    Ok(ManuallyDrop::new(unsafe {
        Reactor::from_raw(pointer.cast())
    }))
}

/// Takes a handle of the pointer's reactor, for calls during which callbacks may give up the last handle.
///
/// # Safety
///
/// The pointer must be null or point to a loop that is alive.
pub(crate) unsafe fn hold(pointer: *mut oneloop_t) -> Result<Reactor, Failure> {
    // SAFETY: the caller's promise.
    Ok(Reactor::clone(&*unsafe { reactor(pointer) }?))
}

/// The user data of a callback, which owns this. A turn or the end of the loop destroys it along with the
/// callback. If registering fails, the user data stays the caller's.
pub(crate) struct User {
    r#loop: *mut oneloop_t,
    /// The id, or 0 for a post, which is never dropped inside the call that cancels it.
    id: oneloop_id,
    pointer: *mut c_void,
    destroy: oneloop_destroy_fn,
}

// SAFETY: the pointer is C's. `oneloop.h` tells C that callbacks and destroy functions run on the driving
// thread.
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

    /// Notes the id, and stores it for C if C asked for it. This happens under the loop's lock, because the
    /// callback may free the place as soon as it is called.
    ///
    /// # Safety
    ///
    /// `place` must be null or a place for an id.
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

    /// Returns the descriptor of the handler that has this, and was added with `fd`.
    pub(crate) fn fd_now(&self, handler: HandlerId, fd: oneloop_fd) -> oneloop_fd {
        // SAFETY: the loop exists inside its callbacks.
        unsafe { reactor(self.r#loop) }.map_or(fd, |reactor| reactor.fd_now(handler, fd))
    }

    /// Returns the loop. It exists inside its callbacks, because the driver has a handle.
    pub(crate) fn r#loop(&self) -> *mut oneloop_t {
        self.r#loop
    }
}

impl Drop for User {
    fn drop(&mut self) {
        let Some(destroy) = self.destroy else {
            return;
        };
        // SAFETY: the loop drops its callbacks while it still exists.
        if let Ok(reactor) = unsafe { reactor(self.r#loop) } {
            reactor.drop_lingering(self.id);
        }
        // SAFETY: C's own function gets its own data, once.
        unsafe { destroy(self.pointer) };
    }
}

/// User data that a turn destroys, and never the call that removes it, in which a library may hold its locks. The
/// end of the loop destroys it, too.
pub(crate) struct LateUser {
    /// Taken when this is dropped.
    user: ManuallyDrop<User>,
    reactor: WeakReactor<Shared>,
}

impl LateUser {
    pub(crate) fn new(
        reactor: &Reactor,
        pointer: *mut c_void,
        destroy: oneloop_destroy_fn,
    ) -> LateUser {
        LateUser {
            user: ManuallyDrop::new(User::of_post(reactor, pointer, destroy)),
            reactor: reactor.downgrade(),
        }
    }
}

impl Deref for LateUser {
    type Target = User;

    fn deref(&self) -> &User {
        &self.user
    }
}

impl Drop for LateUser {
    fn drop(&mut self) {
        // SAFETY: it is taken once, here.
        let user = unsafe { ManuallyDrop::take(&mut self.user) };
        // If the loop is closed, the post is refused, and drops it.
        match self.reactor.upgrade() {
            Some(reactor) => drop(reactor.call_soon(move || drop(user))),
            None => drop(user),
        }
    }
}

/// Returns the instant of a delay in nanoseconds. A negative delay is due now, and `ONELOOP_NEVER` never
/// comes.
pub(crate) fn deadline(reactor: &Reactor, delay: i64) -> Instant {
    let now = reactor.now();
    let delay = match delay {
        i64::MAX => NEVER,
        delay => Duration::from_nanos(u64::try_from(delay).unwrap_or(0)),
    };
    now.checked_add(delay).unwrap_or(now)
}

/// A delay longer than the loop can count. A timer so far away does not keep the loop going.
pub(crate) const NEVER: Duration = Duration::from_secs(700 * 365 * 24 * 3600);
