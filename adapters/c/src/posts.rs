use std::ffi::{c_int, c_void};
use std::mem;
use std::sync::Arc;
use std::time::Duration;

use oneloop::{HookId, PostId, Priority};

use crate::copies::forward;
use crate::error::{Failure, call};
use crate::user::{User, reactor};
use crate::{ONELOOP_NEVER, oneloop_destroy_fn, oneloop_id, oneloop_t};

/// A post with this priority is called after the handlers and timers of the turn. A handler has it at first.
pub const ONELOOP_NORMAL: c_int = 0;
/// A post with this priority is called before the handlers of the turn, and a handler before those of normal
/// priority.
pub const ONELOOP_HIGH: c_int = 1;
/// A post with this priority is called in a turn that had nothing else to do, one in each. A handler is
/// called after all others of the turn.
pub const ONELOOP_IDLE: c_int = 2;

pub(crate) fn priority(priority: c_int) -> Result<Priority, Failure> {
    match priority {
        ONELOOP_NORMAL => Ok(Priority::Normal),
        ONELOOP_HIGH => Ok(Priority::High),
        ONELOOP_IDLE => Ok(Priority::Idle),
        _ => Err(Failure::Argument("the priority")),
    }
}

/// A posted callback.
pub type oneloop_post_fn = Option<unsafe extern "C" fn(r#loop: *mut oneloop_t, user: *mut c_void)>;

/// A hook that is called after all callbacks, right before the loop or its host sleeps. Returns how many
/// nanoseconds the loop may sleep: ONELOOP_NEVER sets no limit, and 0 forbids sleeping.
pub type oneloop_prepare_fn =
    Option<unsafe extern "C" fn(r#loop: *mut oneloop_t, user: *mut c_void) -> i64>;

/// Calls `callback` once, in a turn, with the priority ONELOOP_NORMAL, ONELOOP_HIGH or ONELOOP_IDLE. Posts of
/// one thread and one priority keep their order. The user data is destroyed after the call, or when the loop
/// ends without a call.
///
/// If `id` is not NULL, it receives the id for `oneloop_cancel_post`.
///
/// Threads: any.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn oneloop_call_soon(
    r#loop: *mut oneloop_t,
    priority: c_int,
    callback: oneloop_post_fn,
    user: *mut c_void,
    destroy: oneloop_destroy_fn,
    id: *mut oneloop_id,
) -> c_int {
    forward!(oneloop_call_soon => call_soon(r#loop, priority, callback, user, destroy, id));
    call("oneloop_call_soon", || {
        // SAFETY: the caller's promise.
        let reactor = unsafe { reactor(r#loop) }?;
        let callback = callback.ok_or(Failure::Argument("the callback"))?;
        let priority = self::priority(priority)?;
        let make = |own: PostId| {
            // SAFETY: the caller promises null or a place for an id.
            if let Some(place) = unsafe { id.as_mut() } {
                *place = own.to_bits();
            }
            let user = User::of_post(&reactor, user, destroy);
            move || {
                // SAFETY: C's own function gets its own data, as the header promises.
                unsafe { callback(user.r#loop(), user.pointer()) };
            }
        };
        reactor
            .post_with(priority, make)
            .map_err(|(error, callback)| {
                // The user data stays the caller's, and the callback owns nothing else.
                mem::forget(callback);
                error
            })?;
        Ok(0)
    })
}

/// Cancels a post that was not called yet. Its destroy function is called later, in a turn.
///
/// Fails with -ENOENT if the post was called or cancelled. If another thread is driving, the call may be
/// running there.
///
/// Threads: any.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn oneloop_cancel_post(r#loop: *mut oneloop_t, id: oneloop_id) -> c_int {
    forward!(oneloop_cancel_post => cancel_post(r#loop, id));
    call("oneloop_cancel_post", || {
        // SAFETY: the caller's promise.
        unsafe { reactor(r#loop) }?.retire_post(PostId::from_bits(id))?;
        Ok(0)
    })
}

/// Adds a pair of hooks around the loop's sleep, for libraries that may have something to do although none of
/// their descriptors is ready. The loop calls `prepare` right before it sleeps, and `check`, if it is not
/// NULL, right after. Both must tolerate extra calls, including the same hook twice in a row.
///
/// Under a host (`oneloop_host_begin`), the host's own code may run after `prepare`. If that code uses the
/// library, it must call `oneloop_wake` afterwards, or the host must call `oneloop_ask_hooks` right before it
/// waits. A hook must not hold anything from `prepare` to `check` for which such code may wait.
///
/// Threads: any.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn oneloop_add_hook(
    r#loop: *mut oneloop_t,
    prepare: oneloop_prepare_fn,
    check: oneloop_post_fn,
    user: *mut c_void,
    destroy: oneloop_destroy_fn,
    id: *mut oneloop_id,
) -> c_int {
    forward!(oneloop_add_hook => add_hook(r#loop, prepare, check, user, destroy, id));
    call("oneloop_add_hook", || {
        // SAFETY: the caller's promise.
        let reactor = unsafe { reactor(r#loop) }?;
        let prepare = prepare.ok_or(Failure::Argument("the prepare hook"))?;
        let make = |own: HookId| {
            let own_id = (own.to_bits(), id);
            // SAFETY: the caller's promise.
            let user = unsafe { User::registered(&reactor, user, destroy, own_id) };
            let user = Arc::new(SendUser(user));
            let before = user.clone();
            let prepare = move || {
                let user = &before.0;
                // SAFETY: C's own function gets its own data, as the header promises.
                match unsafe { prepare(user.r#loop(), user.pointer()) } {
                    ONELOOP_NEVER => None,
                    limit => Some(Duration::from_nanos(u64::try_from(limit).unwrap_or(0))),
                }
            };
            let check = move || {
                let user = &user.0;
                if let Some(check) = check {
                    // SAFETY: C's own function gets its own data, as the header promises.
                    unsafe { check(user.r#loop(), user.pointer()) };
                }
            };
            (prepare, check)
        };
        reactor.add_hook_with(make)?;
        Ok(0)
    })
}

/// The user data of two callbacks.
struct SendUser(User);

// SAFETY: only callbacks of one loop use it, and they run one at a time.
unsafe impl Sync for SendUser {}

/// Removes a pair of hooks. Their destroy function is called later, in a turn.
///
/// Threads: any.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn oneloop_remove_hook(r#loop: *mut oneloop_t, id: oneloop_id) -> c_int {
    forward!(oneloop_remove_hook => remove_hook(r#loop, id));
    call("oneloop_remove_hook", || {
        // SAFETY: the caller's promise.
        unsafe { reactor(r#loop) }?.retire_hook(HookId::from_bits(id))?;
        Ok(0)
    })
}
