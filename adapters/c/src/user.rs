//! What C gives along with a callback, and gets back when that is over.

use std::ffi::c_void;
use std::mem::ManuallyDrop;
use std::sync::atomic::{AtomicU8, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use oneloop::{Priority, Reactor, Remote, Shared, WeakLoop};

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

/// Gives an id to C, if it asked for it.
///
/// # Safety
///
/// Null, or a place for an id.
pub(crate) unsafe fn give_id(place: *mut oneloop_id, id: oneloop_id) {
    // SAFETY: the caller's promise.
    if let Some(place) = unsafe { place.as_mut() } {
        *place = id;
    }
}

/// The id of a callback that is being registered, which may be called before that is over.
pub(crate) fn lock(id: &Mutex<oneloop_id>) -> MutexGuard<'_, oneloop_id> {
    id.lock().unwrap_or_else(PoisonError::into_inner)
}

/// User data of a callback, which owns this: when that is gone, `destroy` is called, in a turn of
/// its own and not inside the call that removed it: libraries hold their locks there.
pub(crate) struct User {
    pointer: *mut c_void,
    destroy: oneloop_destroy_fn,
    remote: Remote,
    reactor: WeakLoop<Shared>,
    stage: Arc<AtomicU8>,
}

// SAFETY: the pointer is C's, which has been told on which thread it is used: `oneloop.h` says that
// callbacks and destroy functions run on the thread that drives.
unsafe impl Send for User {}

/// The callback is not registered yet: if that fails, the user data stays with the caller.
const NEW: u8 = 0;
const REGISTERED: u8 = 1;
const GONE: u8 = 2;

/// What is left with whoever registers a callback, to say that it was.
pub(crate) struct Ticket {
    stage: Arc<AtomicU8>,
    destroy: Destroy,
    remote: Remote,
}

impl User {
    pub(crate) fn new(
        reactor: &Reactor,
        pointer: *mut c_void,
        destroy: oneloop_destroy_fn,
    ) -> (User, Ticket) {
        let stage = Arc::new(AtomicU8::new(NEW));
        let remote = reactor.remote();
        let ticket = Ticket {
            stage: stage.clone(),
            destroy: Destroy(pointer, destroy),
            remote: remote.clone(),
        };
        let user = User {
            pointer,
            destroy,
            remote,
            reactor: reactor.downgrade(),
            stage,
        };
        (user, ticket)
    }

    pub(crate) fn pointer(&self) -> *mut c_void {
        self.pointer
    }

    /// The loop, which is there inside its callbacks.
    pub(crate) fn with_loop<R>(&self, call: impl FnOnce(*mut oneloop_t) -> R) -> Option<R> {
        let reactor = self.reactor.upgrade()?;
        Some(call(crate::as_ptr(&reactor)))
    }

    pub(crate) fn reactor(&self) -> Option<Reactor> {
        self.reactor.upgrade()
    }
}

impl Drop for User {
    fn drop(&mut self) {
        if self.stage.swap(GONE, SeqCst) == REGISTERED {
            Destroy(self.pointer, self.destroy).later(&self.remote);
        }
    }
}

impl Ticket {
    pub(crate) fn registered(self) {
        // Another thread may have called and removed it already.
        match self.stage.swap(REGISTERED, SeqCst) {
            GONE => self.destroy.later(&self.remote),
            _ => self.destroy.never(),
        }
    }

    pub(crate) fn refused(self) {
        self.destroy.never();
    }
}

/// Calls `destroy` when it is dropped.
struct Destroy(*mut c_void, oneloop_destroy_fn);

// SAFETY: as for `User`.
unsafe impl Send for Destroy {}

impl Destroy {
    /// In the next turn; now, if there will be none.
    fn later(self, remote: &Remote) {
        if self.1.is_some() {
            let _ = remote.call_soon_with(Priority::High, move || drop(self));
        }
    }

    fn never(mut self) {
        self.1 = None;
    }
}

impl Drop for Destroy {
    fn drop(&mut self) {
        if let Some(destroy) = self.1.take() {
            // SAFETY: C's own function and its own data, once.
            unsafe { destroy(self.0) };
        }
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
