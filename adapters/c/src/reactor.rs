use std::ffi::{CStr, c_char, c_int, c_void};
use std::mem::ManuallyDrop;
use std::ptr::{self, null_mut};
use std::time::Duration;

use oneloop::{HandlerId, HookId, Reactor, Step, TimerId, Turn};

use crate::copies::forward;
use crate::error::{Failure, call};
use crate::user::{hold, reactor};
use crate::{oneloop_id, oneloop_t};

/// Gives user data back that was passed along with a callback. Called exactly once, when the callback
/// can no longer be called, on the thread that drives, in a turn and never inside the call that removes
/// the callback. If the loop is closed or ends first, it is called by the thread that does that, and
/// functions that it calls with the loop say that it is closed. Not called if registering failed.
pub type oneloop_destroy_fn = Option<unsafe extern "C" fn(user: *mut c_void)>;

/// As a delay or a timeout: for as long as it takes.
pub const ONELOOP_NEVER: i64 = i64::MAX;

/// What a turn reports: nothing is left to do now.
pub const ONELOOP_TURN_IDLE: u32 = 1;
/// What a turn reports: `oneloop_stop` was called.
pub const ONELOOP_TURN_STOPPED: u32 = 2;

/// For `oneloop_host_begin`: the host is done when nothing is left that could call back.
pub const ONELOOP_HOST_EXIT_WHEN_EMPTY: u32 = 1;

/// What a host does next: begin to watch the descriptor for reading, and step again.
pub const ONELOOP_STEP_WATCH: c_int = 1;
/// What a host does next: stop watching the descriptor, and step again. The descriptor may mean another
/// file after that. A host on poll(2), which hands it over with each call, need not do anything.
pub const ONELOOP_STEP_UNWATCH: c_int = 2;
/// What a host does next: step again when the descriptor is readable.
pub const ONELOOP_STEP_SLEEP: c_int = 3;
/// What a host does next: let its other work have its turn, and step again without waiting.
pub const ONELOOP_STEP_YIELD: c_int = 4;
/// What a host does next: end. `oneloop_stop` was called, or nothing is left. The descriptor is not
/// watched any more.
pub const ONELOOP_STEP_DONE: c_int = 5;

/// What `oneloop_count` gives: handlers that are registered.
pub const ONELOOP_COUNT_HANDLERS: c_int = 0;
/// Timers that are pending.
pub const ONELOOP_COUNT_TIMERS: c_int = 1;
/// Posts that wait to be called.
pub const ONELOOP_COUNT_POSTS: c_int = 2;
/// Turns taken.
pub const ONELOOP_COUNT_TURNS: c_int = 3;
/// Calls of handlers.
pub const ONELOOP_COUNT_HANDLER_CALLS: c_int = 4;
/// Calls of timers.
pub const ONELOOP_COUNT_TIMER_CALLS: c_int = 5;
/// Calls of posts.
pub const ONELOOP_COUNT_POST_CALLS: c_int = 6;

/// Makes a loop. NULL if the system has no descriptors left; see `oneloop_strerror`.
///
/// Threads: any.
#[unsafe(no_mangle)]
pub extern "C" fn oneloop_new() -> *mut oneloop_t {
    let mut made = null_mut();
    call("oneloop_new", || {
        let reactor = Reactor::new()?;
        made = crate::as_ptr(&reactor);
        let _held = reactor.into_raw();
        Ok(0)
    });
    made
}

/// Another handle of the loop, for which `oneloop_free` has to be called, too. Gives the pointer that
/// it was given.
///
/// Threads: any.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn oneloop_hold(r#loop: *mut oneloop_t) -> *mut oneloop_t {
    forward!(oneloop_hold => hold(r#loop));
    let mut held = null_mut();
    call("oneloop_hold", || {
        // SAFETY: the caller's promise.
        let _handle = unsafe { hold(r#loop) }?.into_raw();
        held = r#loop;
        Ok(0)
    });
    held
}

/// Gives a handle up. With the last one the loop ends: it is closed, what was registered is dropped, and
/// its destroy functions are called. NULL is fine.
///
/// Threads: any. Destroy functions are called on it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn oneloop_free(r#loop: *mut oneloop_t) {
    forward!(oneloop_free => free(r#loop));
    call("oneloop_free", || {
        // SAFETY: the caller's promise.
        let reactor = unsafe { reactor(r#loop) }?;
        drop(ManuallyDrop::into_inner(reactor));
        Ok(0)
    });
}

/// Removes all that is registered. Later calls fail with -ESHUTDOWN, as does the one that drives now.
///
/// Threads: any. Destroy functions are called on it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn oneloop_close(r#loop: *mut oneloop_t) -> c_int {
    forward!(oneloop_close => close(r#loop));
    call("oneloop_close", || {
        // SAFETY: the caller's promise.
        unsafe { hold(r#loop) }?.close();
        Ok(0)
    })
}

/// Drives the loop until `oneloop_stop`, or until nothing is left that could call back.
///
/// Fails with -EBUSY if it is driven already: by another thread, by a host, or by the callback that
/// calls this. Fails with -ESHUTDOWN if it is closed, or was before.
///
/// Threads: any, one at a time. Callbacks are called on it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn oneloop_run(r#loop: *mut oneloop_t) -> c_int {
    forward!(oneloop_run => run(r#loop));
    call("oneloop_run", || {
        // SAFETY: the caller's promise.
        unsafe { hold(r#loop) }?.run()?;
        Ok(0)
    })
}

/// Drives the loop until `oneloop_stop`, even if nothing is left that could call back. Fails as
/// `oneloop_run`.
///
/// Threads: any, one at a time. Callbacks are called on it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn oneloop_run_forever(r#loop: *mut oneloop_t) -> c_int {
    forward!(oneloop_run_forever => run_forever(r#loop));
    call("oneloop_run_forever", || {
        // SAFETY: the caller's promise.
        unsafe { hold(r#loop) }?.run_forever()?;
        Ok(0)
    })
}

/// One turn: waits for up to `timeout` nanoseconds (0: not at all; ONELOOP_NEVER: as long as it
/// takes), then calls what is ready. Gives how many callbacks were called, and in `flags`, if that is
/// not NULL, the ONELOOP_TURN_ bits. Fails as `oneloop_run`.
///
/// Threads: any, one at a time. Callbacks are called on it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn oneloop_turn(
    r#loop: *mut oneloop_t,
    timeout: i64,
    flags: *mut u32,
) -> c_int {
    forward!(oneloop_turn => turn(r#loop, timeout, flags));
    call("oneloop_turn", || {
        let timeout = match timeout {
            ONELOOP_NEVER => None,
            timeout => Some(Duration::from_nanos(u64::try_from(timeout).unwrap_or(0))),
        };
        // SAFETY: the caller's promise.
        let turn = unsafe { hold(r#loop) }?.turn(timeout)?;
        // SAFETY: the caller's promise: null, or a place for the flags.
        if let Some(place) = unsafe { flags.as_mut() } {
            *place = turn_flags(&turn);
        }
        Ok(c_int::try_from(turn.called).unwrap_or(c_int::MAX))
    })
}

fn turn_flags(turn: &Turn) -> u32 {
    let flags = [
        (turn.idle, ONELOOP_TURN_IDLE),
        (turn.stopped, ONELOOP_TURN_STOPPED),
    ];
    let set = flags.iter().filter(|(holds, _)| *holds);
    set.fold(0, |set, (_, flag)| set | flag)
}

/// Ends whatever drives the loop, after the callback that is running. What was not called stays due.
/// If nobody drives, the next who does returns at once.
///
/// Threads: any. Also in signal handlers, where it may change errno.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn oneloop_stop(r#loop: *mut oneloop_t) -> c_int {
    forward!(oneloop_stop => stop(r#loop));
    call("oneloop_stop", || {
        // SAFETY: the caller's promise.
        unsafe { reactor(r#loop) }?.stop();
        Ok(0)
    })
}

/// Makes the loop take a turn.
///
/// Threads: any. Also in signal handlers, where it may change errno.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn oneloop_wake(r#loop: *mut oneloop_t) -> c_int {
    forward!(oneloop_wake => wake(r#loop));
    call("oneloop_wake", || {
        // SAFETY: the caller's promise.
        unsafe { reactor(r#loop) }?.remote().wake();
        Ok(0)
    })
}

/// Calls the `prepare` hooks once more. For a host whose own code has run since the last turn, right
/// before it waits for the descriptor. If a hook has something to do, the descriptor becomes readable. Such
/// a host's code may use the library of a hook without calling `oneloop_wake`.
///
/// Does nothing if the loop is driven, as in a callback, or has no hooks.
///
/// Threads: any; rather the one that turns. Hooks are called on it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn oneloop_ask_hooks(r#loop: *mut oneloop_t) -> c_int {
    forward!(oneloop_ask_hooks => ask_hooks(r#loop));
    call("oneloop_ask_hooks", || {
        // SAFETY: the caller's promise.
        unsafe { hold(r#loop) }?.ask_hooks()?;
        Ok(0)
    })
}

/// Claims the loop for another loop, its host, which drives it by `oneloop_step`. Gives a descriptor, which
/// belongs to the loop and stays the same. No other driver can drive until `oneloop_host_end`: they fail with
/// -EBUSY, as does this if there is one.
///
/// A complete host is a loop around this; `flags` is 0, or ONELOOP_HOST_EXIT_WHEN_EMPTY:
///
/// ```c
/// int fd = oneloop_host_begin(loop, 0);
/// for (;;) {
///     switch (oneloop_step(loop, 100)) {
///     case ONELOOP_STEP_WATCH: epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event); continue;
///     case ONELOOP_STEP_UNWATCH: epoll_ctl(epoll, EPOLL_CTL_DEL, fd, NULL); continue;
///     case ONELOOP_STEP_SLEEP: epoll_wait(epoll, &event, 1, -1); continue;
///     case ONELOOP_STEP_YIELD: continue;
///     }
///     break;
/// }
/// oneloop_host_end(loop);
/// ```
///
/// Threads: any.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn oneloop_host_begin(r#loop: *mut oneloop_t, flags: u32) -> c_int {
    forward!(oneloop_host_begin => host_begin(r#loop, flags));
    call("oneloop_host_begin", || {
        let exits_when_empty = flags & ONELOOP_HOST_EXIT_WHEN_EMPTY != 0;
        // SAFETY: the caller's promise.
        let reactor = unsafe { reactor(r#loop) }?;
        Ok(reactor.begin_host("of oneloop_host_begin", exits_when_empty)?)
    })
}

/// Takes turns without waiting, and says what the host does next, as one of the ONELOOP_STEP_ values. Step
/// once at the beginning, and then as the last step said.
///
/// The turns end when nothing is left to do, or when about `budget` callbacks were called. A hundred is a
/// good budget. With it the host's other work gets its turn, and a busy loop is fast.
///
/// Fails with -ESHUTDOWN if the loop was closed, with -EINVAL without `oneloop_host_begin`, and with -EBUSY
/// in a callback of the loop. After an error the host watches the descriptor as before. If it gives up, it
/// stops watching, and calls `oneloop_host_end`.
///
/// Threads: any, one at a time. Callbacks are called on it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn oneloop_step(r#loop: *mut oneloop_t, budget: u32) -> c_int {
    forward!(oneloop_step => step(r#loop, budget));
    call("oneloop_step", || {
        let budget = usize::try_from(budget).unwrap_or(usize::MAX);
        // SAFETY: the caller's promise.
        Ok(match unsafe { hold(r#loop) }?.step(budget)? {
            Step::Watch => ONELOOP_STEP_WATCH,
            Step::Unwatch => ONELOOP_STEP_UNWATCH,
            Step::Sleep => ONELOOP_STEP_SLEEP,
            Step::Yield => ONELOOP_STEP_YIELD,
            Step::Done => ONELOOP_STEP_DONE,
        })
    })
}

/// Gives the claim of `oneloop_host_begin` up. The descriptor must not be watched any more. Another driver
/// may go on with all that is registered.
///
/// Threads: any.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn oneloop_host_end(r#loop: *mut oneloop_t) -> c_int {
    forward!(oneloop_host_end => host_end(r#loop));
    call("oneloop_host_end", || {
        // SAFETY: the caller's promise.
        unsafe { reactor(r#loop) }?.end_host();
        Ok(0)
    })
}

/// Nanoseconds until the next timer is due, 0 if one is; ONELOOP_NEVER if there is none. A host, which
/// watches the descriptor, does not need it.
///
/// Threads: any.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn oneloop_next_timeout(r#loop: *mut oneloop_t) -> i64 {
    forward!(oneloop_next_timeout => next_timeout(r#loop));
    let mut timeout = ONELOOP_NEVER;
    call("oneloop_next_timeout", || {
        // SAFETY: the caller's promise.
        let reactor = unsafe { reactor(r#loop) }?;
        if let Some(deadline) = reactor.next_deadline() {
            let left = deadline.saturating_duration_since(reactor.now());
            timeout = i64::try_from(left.as_nanos()).unwrap_or(ONELOOP_NEVER);
        }
        Ok(0)
    });
    timeout
}

/// Says whether a handler or timer keeps `oneloop_run` going. At first each does. One that does not is called
/// all the same, as long as something else keeps the loop going.
///
/// Fails with -ENOENT if the id is unknown.
///
/// Threads: any.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn oneloop_set_referenced(
    r#loop: *mut oneloop_t,
    id: oneloop_id,
    is_referenced: bool,
) -> c_int {
    forward!(oneloop_set_referenced => set_referenced(r#loop, id, is_referenced));
    call("oneloop_set_referenced", || {
        // SAFETY: the caller's promise.
        let reactor = unsafe { reactor(r#loop) }?;
        // An id is of one kind only.
        let as_handler = reactor.set_referenced(HandlerId::from_bits(id), is_referenced);
        if as_handler.is_err() {
            reactor.set_referenced(TimerId::from_bits(id), is_referenced)?;
        }
        Ok(0)
    })
}

/// Names a handler of any kind, a timer or a pair of hooks. The name is copied, and stands in what
/// `oneloop_dump` prints.
///
/// Fails with -ENOENT if the id is unknown, with -EINVAL if the name is NULL or no UTF-8.
///
/// Threads: any.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn oneloop_set_name(
    r#loop: *mut oneloop_t,
    id: oneloop_id,
    name: *const c_char,
) -> c_int {
    forward!(oneloop_set_name => set_name(r#loop, id, name));
    call("oneloop_set_name", || {
        // SAFETY: the caller's promise.
        let reactor = unsafe { reactor(r#loop) }?;
        if name.is_null() {
            return Err(Failure::Argument("the name"));
        }
        // SAFETY: the caller's promise: a string.
        let name = unsafe { CStr::from_ptr(name) }.to_str();
        let name = name.map_err(|_| Failure::Argument("the name"))?;
        // An id is of one kind only.
        let as_handler = reactor.set_name(HandlerId::from_bits(id), name);
        let named = as_handler
            .or_else(|_| reactor.set_name(TimerId::from_bits(id), name))
            .or_else(|_| reactor.set_name(HookId::from_bits(id), name));
        named?;
        Ok(0)
    })
}

/// Gives 1 if anything is left that could call back, so that `oneloop_run` would go on; 0 if not.
///
/// Threads: any.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn oneloop_is_alive(r#loop: *mut oneloop_t) -> c_int {
    forward!(oneloop_is_alive => is_alive(r#loop));
    call("oneloop_is_alive", || {
        // SAFETY: the caller's promise.
        Ok(c_int::from(unsafe { reactor(r#loop) }?.is_alive()))
    })
}

/// Gives one of the numbers of a loop, ONELOOP_COUNT_HANDLERS and so on.
///
/// Fails with -EINVAL for another `what`.
///
/// Threads: any.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn oneloop_count(r#loop: *mut oneloop_t, what: c_int) -> i64 {
    forward!(oneloop_count => count(r#loop, what));
    let mut count = 0;
    let failed = call("oneloop_count", || {
        // SAFETY: the caller's promise.
        let stats = unsafe { reactor(r#loop) }?.stats();
        count = match what {
            ONELOOP_COUNT_HANDLERS => stats.handlers as u64,
            ONELOOP_COUNT_TIMERS => stats.pending_timers as u64,
            ONELOOP_COUNT_POSTS => stats.pending_posts as u64,
            ONELOOP_COUNT_TURNS => stats.turns,
            ONELOOP_COUNT_HANDLER_CALLS => stats.handler_calls,
            ONELOOP_COUNT_TIMER_CALLS => stats.timer_calls,
            ONELOOP_COUNT_POST_CALLS => stats.post_calls,
            _ => return Err(Failure::Argument("the count")),
        };
        Ok(0)
    });
    match failed {
        0 => i64::try_from(count).unwrap_or(i64::MAX),
        error => error.into(),
    }
}

/// Writes what `oneloop_dump` prints into `buffer`, of `size` bytes, with a zero byte at its end. What has no
/// room is left out. Gives the length of the whole text, without that byte, as snprintf(3) does. `buffer` may be
/// NULL if `size` is 0.
///
/// Threads: any.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn oneloop_dump_text(
    r#loop: *mut oneloop_t,
    buffer: *mut c_char,
    size: usize,
) -> c_int {
    forward!(oneloop_dump_text => dump_text(r#loop, buffer, size));
    call("oneloop_dump_text", || {
        // SAFETY: the caller's promise.
        let text = unsafe { reactor(r#loop) }?.dump();
        if size > 0 {
            if buffer.is_null() {
                return Err(Failure::Argument("the buffer"));
            }
            let most = text.len().min(size - 1);
            let room = (0..=most).rev().find(|&end| text.is_char_boundary(end));
            let room = room.unwrap_or(0);
            // SAFETY: the caller's promise: `size` bytes, more than are written.
            unsafe {
                ptr::copy_nonoverlapping(text.as_ptr(), buffer.cast(), room);
                *buffer.add(room) = 0;
            }
        }
        Ok(c_int::try_from(text.len()).unwrap_or(c_int::MAX))
    })
}

/// Prints all that is registered to the standard error output, for people.
///
/// Threads: any.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn oneloop_dump(r#loop: *mut oneloop_t) -> c_int {
    forward!(oneloop_dump => dump(r#loop));
    call("oneloop_dump", || {
        // SAFETY: the caller's promise.
        eprint!("{}", unsafe { reactor(r#loop) }?.dump());
        Ok(0)
    })
}
