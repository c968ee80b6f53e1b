use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::mem::ManuallyDrop;
use std::ptr::{self, null_mut};
use std::time::Duration;

use oneloop::{CallbackRun, HandlerId, HookId, Id, ObserverId, Reactor, Step, TimerId, Turn};

use crate::copies::forward;
use crate::error::{Failure, call};
use crate::user::{LateUser, hold, reactor};
use crate::{oneloop_id, oneloop_t};

/// Takes back the user data of a callback. It is called exactly once, when the callback can no longer be
/// called. The driving thread calls it in a turn, never inside the call that removes the callback. If the
/// loop is closed or ends first, the thread that does this calls it, and calls on the loop then fail with
/// -ESHUTDOWN. If registering failed, it is not called.
pub type oneloop_destroy_fn = Option<unsafe extern "C" fn(user: *mut c_void)>;

/// A delay or a timeout without a limit.
pub const ONELOOP_NEVER: i64 = i64::MAX;

/// A flag of a turn: nothing is left to do now.
pub const ONELOOP_TURN_IDLE: u32 = 1;
/// A flag of a turn: `oneloop_stop` was called.
pub const ONELOOP_TURN_STOPPED: u32 = 2;

/// A flag of `oneloop_host_begin`: the host is done when nothing is left that could call back.
pub const ONELOOP_HOST_EXIT_WHEN_EMPTY: u32 = 1;

/// A host's next action: begin to watch the descriptor for reading, and step again.
pub const ONELOOP_STEP_WATCH: c_int = 1;
/// A host's next action: stop watching the descriptor, and step again. The descriptor may mean another file
/// after that. A host on poll(2), which passes the descriptor with each call, need not do anything.
pub const ONELOOP_STEP_UNWATCH: c_int = 2;
/// A host's next action: step again when the descriptor is readable.
pub const ONELOOP_STEP_SLEEP: c_int = 3;
/// A host's next action: let other work run, and step again without waiting.
pub const ONELOOP_STEP_YIELD: c_int = 4;
/// A host's next action: end. `oneloop_stop` was called, or nothing is left. The descriptor is not watched
/// any more.
pub const ONELOOP_STEP_DONE: c_int = 5;

/// A number for `oneloop_count`: handlers that are registered.
pub const ONELOOP_COUNT_HANDLERS: c_int = 0;
/// A number for `oneloop_count`: timers that are pending.
pub const ONELOOP_COUNT_TIMERS: c_int = 1;
/// A number for `oneloop_count`: posts that wait to be called.
pub const ONELOOP_COUNT_POSTS: c_int = 2;
/// A number for `oneloop_count`: turns that were taken.
pub const ONELOOP_COUNT_TURNS: c_int = 3;
/// A number for `oneloop_count`: calls of handlers.
pub const ONELOOP_COUNT_HANDLER_CALLS: c_int = 4;
/// A number for `oneloop_count`: calls of timers.
pub const ONELOOP_COUNT_TIMER_CALLS: c_int = 5;
/// A number for `oneloop_count`: calls of posts.
pub const ONELOOP_COUNT_POST_CALLS: c_int = 6;

/// Makes a loop. Returns NULL if the system has no descriptors left. `oneloop_strerror` has the reason.
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

/// Adds a handle of the loop and returns the same pointer. `oneloop_free` must be called for it, too.
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

/// Gives up a handle. With the last handle the loop ends: it is closed, everything registered is dropped, and
/// the destroy functions are called. NULL is allowed.
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

/// Removes all that is registered. Later calls fail with -ESHUTDOWN, and so does the current driver.
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

/// Drives the loop until `oneloop_stop` is called, or until nothing is left that could call back.
///
/// Fails with -EBUSY if another thread, a host or the calling callback is driving the loop already. Fails
/// with -ESHUTDOWN if the loop is closed, or was closed before.
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

/// Drives the loop until `oneloop_stop` is called, even if nothing is left that could call back. Fails in the
/// same cases as `oneloop_run`.
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

/// Takes one turn: waits for up to `timeout` nanoseconds, then calls what is ready. A timeout of 0 means no
/// wait, and ONELOOP_NEVER sets no limit. Returns the number of callbacks that were called. If `flags` is not
/// NULL, it receives the ONELOOP_TURN_ bits. Fails in the same cases as `oneloop_run`.
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
        // SAFETY: the caller promises null or a place for the flags.
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

/// Ends any driver of the loop, after the callback that is running. Callbacks that were not called stay due.
/// If this is called while the loop is not being driven, the next driving call returns at once.
///
/// Threads: any. Signal handlers may call this, too. It may change errno.
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
/// Threads: any. Signal handlers may call this, too. It may change errno.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn oneloop_wake(r#loop: *mut oneloop_t) -> c_int {
    forward!(oneloop_wake => wake(r#loop));
    call("oneloop_wake", || {
        // SAFETY: the caller's promise.
        unsafe { reactor(r#loop) }?.remote().wake();
        Ok(0)
    })
}

/// Calls the `prepare` hooks once more. A host calls this right before it waits for the descriptor, if its
/// own code has run since the last turn. If a hook has something to do, the descriptor becomes readable. The
/// code of such a host may use a hook's library without calling `oneloop_wake`.
///
/// Does nothing if the loop is being driven, as in a callback, or has no hooks.
///
/// Threads: any, but preferably the one that turns. Hooks are called on it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn oneloop_ask_hooks(r#loop: *mut oneloop_t) -> c_int {
    forward!(oneloop_ask_hooks => ask_hooks(r#loop));
    call("oneloop_ask_hooks", || {
        // SAFETY: the caller's promise.
        unsafe { hold(r#loop) }?.ask_hooks()?;
        Ok(0)
    })
}

/// Claims the loop for another loop, its host, which drives it by `oneloop_step`. Returns a descriptor, which
/// belongs to the loop and keeps its number. No other driver can drive until `oneloop_host_end`: it fails
/// with -EBUSY. This fails with -EBUSY if there is a driver already, and with -ENOTSUP on Windows, where there is no
/// such descriptor.
///
/// A complete host is a loop around `oneloop_step`. `flags` is 0 or ONELOOP_HOST_EXIT_WHEN_EMPTY:
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
        Ok(reactor.begin_host("of oneloop_host_begin", exits_when_empty)? as c_int)
    })
}

/// Takes turns without waiting, and returns the host's next action as one of the ONELOOP_STEP_ values. A host
/// steps once at the beginning, and then does what each step returns.
///
/// The turns end when nothing is left to do, or when about `budget` callbacks were called. A budget of about
/// a hundred works well: a busy loop is fast, and the host's other work gets its turn.
///
/// Fails with -ESHUTDOWN if the loop was closed, with -EINVAL without `oneloop_host_begin`, and with -EBUSY
/// in a callback of the loop. After an error the host watches the descriptor as before. If it gives up, it
/// must stop watching, and call `oneloop_host_end`.
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

/// Gives up the claim of `oneloop_host_begin`. The host must not watch the descriptor any more. Another
/// driver may continue with all that is registered.
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

/// Returns the nanoseconds until the next timer is due, 0 if one is due, and ONELOOP_NEVER if there is none.
/// A host does not need this, because it watches the descriptor.
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

/// Decides whether a handler or timer keeps `oneloop_run` going. At first each one does. The loop still calls
/// one that does not, as long as something else keeps the loop going.
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
        // An id belongs to one kind only.
        let as_handler = reactor.set_referenced(HandlerId::from_bits(id), is_referenced);
        if as_handler.is_err() {
            reactor.set_referenced(TimerId::from_bits(id), is_referenced)?;
        }
        Ok(0)
    })
}

/// Names a handler of any kind, a timer or a pair of hooks. The name is copied. `oneloop_dump` prints it.
///
/// Fails with -ENOENT if the id is unknown, and with -EINVAL if the name is NULL or not UTF-8.
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
        // SAFETY: the caller promises a string.
        let name = unsafe { CStr::from_ptr(name) }.to_str();
        let name = name.map_err(|_| Failure::Argument("the name"))?;
        // An id belongs to one kind only.
        let as_handler = reactor.set_name(HandlerId::from_bits(id), name);
        let named = as_handler
            .or_else(|_| reactor.set_name(TimerId::from_bits(id), name))
            .or_else(|_| reactor.set_name(HookId::from_bits(id), name));
        named?;
        Ok(0)
    })
}

/// A callback that learns of another one, which `id` has, and which took `took` nanoseconds. `name` is from
/// `oneloop_set_name`, or NULL. It is valid during the call.
pub type oneloop_observer_fn = Option<
    unsafe extern "C" fn(
        r#loop: *mut oneloop_t,
        id: oneloop_id,
        name: *const c_char,
        took: i64,
        user: *mut c_void,
    ),
>;

/// Calls `report` after each callback that takes `threshold` nanoseconds or more. A threshold of 0 reports all
/// calls. A loop can have several observers. While it has one, it reads the clock twice per call.
///
/// `report` may use the loop, and is not reported itself.
///
/// Fails with -EINVAL for a negative threshold.
///
/// Threads: any. The driving thread calls `report`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn oneloop_observe_callbacks(
    r#loop: *mut oneloop_t,
    threshold: i64,
    report: oneloop_observer_fn,
    user: *mut c_void,
    destroy: oneloop_destroy_fn,
    id: *mut oneloop_id,
) -> c_int {
    forward!(oneloop_observe_callbacks => observe_callbacks(r#loop, threshold, report, user, destroy, id));
    call("oneloop_observe_callbacks", || {
        // SAFETY: the caller's promise.
        let reactor = unsafe { reactor(r#loop) }?;
        let report = report.ok_or(Failure::Argument("the callback"))?;
        let threshold = u64::try_from(threshold).map_err(|_| Failure::Argument("the threshold"))?;
        let make = |own: ObserverId| {
            // SAFETY: the caller promises null or a place for an id.
            if let Some(place) = unsafe { id.as_mut() } {
                *place = own.to_bits();
            }
            let user = LateUser::new(&reactor, user, destroy);
            move |run: &CallbackRun| {
                let id = match run.id {
                    Id::Handler(id) => id.to_bits(),
                    Id::Timer(id) => id.to_bits(),
                    Id::Hook(id) => id.to_bits(),
                    Id::Post(id) => id.to_bits(),
                    _ => 0,
                };
                let name = run.name.as_deref().and_then(|name| CString::new(name).ok());
                let name = name.as_ref().map_or(ptr::null(), |name| name.as_ptr());
                let took = i64::try_from(run.took.as_nanos()).unwrap_or(i64::MAX);
                // SAFETY: C's own function gets its own data, as the header promises.
                unsafe { report(user.r#loop(), id, name, took, user.pointer()) };
            }
        };
        reactor.observe_callbacks_with(Duration::from_nanos(threshold), make)?;
        Ok(0)
    })
}

/// Removes an observer. If another thread is driving, one report may be running there. The destroy function is
/// called later, in a turn.
///
/// Fails with -ENOENT if the id is unknown.
///
/// Threads: any.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn oneloop_remove_observer(r#loop: *mut oneloop_t, id: oneloop_id) -> c_int {
    forward!(oneloop_remove_observer => remove_observer(r#loop, id));
    call("oneloop_remove_observer", || {
        // SAFETY: the caller's promise.
        unsafe { reactor(r#loop) }?.remove_observer(ObserverId::from_bits(id))?;
        Ok(0)
    })
}

/// Reports an error that has no other way to be reported, such as one in a callback that returns void. `library` is
/// the name of the library that has met it. The loop reports both texts in a turn, as it reports a callback of Rust
/// that fails: to `Builder::on_error` of the reactor, or else to the standard error output. The texts are copied.
/// The headers for known libraries use this.
///
/// Fails with -EINVAL if a text is NULL.
///
/// Threads: any.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn oneloop_report_error(
    r#loop: *mut oneloop_t,
    library: *const c_char,
    text: *const c_char,
) -> c_int {
    forward!(oneloop_report_error => report_error(r#loop, library, text));
    call("oneloop_report_error", || {
        // SAFETY: the caller's promise.
        let reactor = unsafe { reactor(r#loop) }?;
        if library.is_null() || text.is_null() {
            return Err(Failure::Argument("the text"));
        }
        // SAFETY: the caller promises strings.
        let (library, text) = unsafe { (CStr::from_ptr(library), CStr::from_ptr(text)) };
        let text = format!("{}: {}", library.to_string_lossy(), text.to_string_lossy());
        let posted = reactor.call_soon(move || Err::<(), String>(text));
        posted.map_err(oneloop::Error::from)?;
        Ok(0)
    })
}

/// Returns 1 if anything is left that could call back, so that `oneloop_run` would continue. Returns 0
/// otherwise.
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

/// Returns one of the numbers of a loop, such as ONELOOP_COUNT_HANDLERS.
///
/// Fails with -EINVAL for an unknown `what`.
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

/// Writes the text of `oneloop_dump` into `buffer`, which has `size` bytes, with a zero byte at its end. Text
/// without room is left out. Returns the length of the whole text without that byte, like snprintf(3).
/// `buffer` may be NULL if `size` is 0.
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
            // SAFETY: the caller promises `size` bytes, which is more than is written.
            unsafe {
                ptr::copy_nonoverlapping(text.as_ptr(), buffer.cast(), room);
                *buffer.add(room) = 0;
            }
        }
        Ok(c_int::try_from(text.len()).unwrap_or(c_int::MAX))
    })
}

/// Prints all that is registered to the standard error output, as text.
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
