use std::ffi::{c_int, c_void};
use std::io;
#[cfg(unix)]
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::Duration;

use oneloop::{Action, Event, HandlerId, Interest, Mode, Priority, Ready, VirtualSource};

use crate::copies::forward;
use crate::error::{Failure, call, code};
use crate::posts::priority;
use crate::user::{User, reactor};
use crate::{oneloop_destroy_fn, oneloop_fd, oneloop_id, oneloop_t};

/// Interest and readiness: data, a connection to accept, or the end of the stream.
pub const ONELOOP_READABLE: u32 = 1;
/// Exceptional data, such as TCP's out-of-band byte. ENOTSUP on kqueue, which does not report it.
pub const ONELOOP_PRIORITY: u32 = 2;
/// Room to write, or a connection attempt that has ended.
pub const ONELOOP_WRITABLE: u32 = 4;
/// Readiness only: an error is pending. Every handler that waits for anything is told.
pub const ONELOOP_ERROR: u32 = 8;
/// Readiness only: the peer is gone. Every handler that waits for anything is told.
pub const ONELOOP_HANGUP: u32 = 16;
/// Interest and readiness: the peer sends nothing more. Bytes may still wait before that end. Handlers that
/// wait for ONELOOP_READABLE are told, too. ENOTSUP if the poller does not report it.
pub const ONELOOP_READ_CLOSED: u32 = 32;

/// A mode: the handler is called in every turn in which the descriptor is ready. C libraries expect this
/// mode.
pub const ONELOOP_LEVEL: c_int = 0;
/// A mode: the handler is called for each new readiness.
pub const ONELOOP_EDGE: c_int = 1;
/// A mode: the handler is called once, and not again before `oneloop_update_handler`.
pub const ONELOOP_ONESHOT: c_int = 2;

/// A handler's result: go on.
pub const ONELOOP_CONTINUE: c_int = 0;
/// A handler's result: call the handler in the next turn, even if it is not ready.
pub const ONELOOP_AGAIN: c_int = 1;
/// A handler's result: remove the handler.
pub const ONELOOP_REMOVE: c_int = 2;

/// A handler of `fd`, which has the readiness `ready`. Returns ONELOOP_CONTINUE, ONELOOP_AGAIN or
/// ONELOOP_REMOVE.
pub type oneloop_handler_fn = Option<
    unsafe extern "C" fn(
        r#loop: *mut oneloop_t,
        id: oneloop_id,
        fd: oneloop_fd,
        ready: u32,
        user: *mut c_void,
    ) -> c_int,
>;

/// A deferred or idle callback. A deferred one is called in every turn while it is on, and an idle one in
/// turns with nothing else to do. Returns the same values as a handler.
pub type oneloop_deferred_fn = Option<
    unsafe extern "C" fn(r#loop: *mut oneloop_t, id: oneloop_id, user: *mut c_void) -> c_int,
>;

/// A callback that is called after a signal was sent. Returns the same values as a handler.
pub type oneloop_signal_fn = Option<
    unsafe extern "C" fn(
        r#loop: *mut oneloop_t,
        id: oneloop_id,
        signal: c_int,
        user: *mut c_void,
    ) -> c_int,
>;

/// A callback that is called when a child process has ended. `status` is the status of waitpid(2), and on Windows the
/// exit code. If other code has reaped the child, `error` is a negative errno.
pub type oneloop_child_fn = Option<
    unsafe extern "C" fn(
        r#loop: *mut oneloop_t,
        pid: c_int,
        status: c_int,
        error: c_int,
        user: *mut c_void,
    ),
>;

fn interest(bits: u32) -> Result<Interest, Failure> {
    let known = [
        (ONELOOP_READABLE, Interest::READABLE),
        (ONELOOP_PRIORITY, Interest::PRIORITY),
        (ONELOOP_WRITABLE, Interest::WRITABLE),
        (ONELOOP_READ_CLOSED, Interest::READ_CLOSED),
    ];
    // As with poll(2), errors and hang-ups may be part of the interest and have no effect there.
    let mut left = bits & !(ONELOOP_ERROR | ONELOOP_HANGUP);
    let mut interest = Interest::NONE;
    for (bit, one) in known {
        if left & bit != 0 {
            left &= !bit;
            interest |= one;
        }
    }
    match left {
        0 => Ok(interest),
        _ => Err(Failure::Argument("the interest")),
    }
}

fn bits(ready: Ready) -> u32 {
    let bits = [
        (Ready::READABLE, ONELOOP_READABLE),
        (Ready::PRIORITY, ONELOOP_PRIORITY),
        (Ready::WRITABLE, ONELOOP_WRITABLE),
        (Ready::ERROR, ONELOOP_ERROR),
        (Ready::HANGUP, ONELOOP_HANGUP),
        (Ready::READ_CLOSED, ONELOOP_READ_CLOSED),
    ];
    let set = bits.iter().filter(|(one, _)| ready.contains(*one));
    set.fold(0, |set, (_, bit)| set | bit)
}

fn action(returned: c_int) -> Action {
    match returned {
        ONELOOP_AGAIN => Action::Again,
        ONELOOP_REMOVE => Action::Remove,
        _ => Action::Continue,
    }
}

/// Calls `callback` when `fd` has the readiness in `interest`. `interest` has bits such as ONELOOP_READABLE,
/// or is 0 for nothing yet. `mode` is ONELOOP_LEVEL, ONELOOP_EDGE or ONELOOP_ONESHOT. The handler is in force
/// when this returns. This never calls the callback itself. One descriptor can have any number of handlers.
///
/// If `id` is not NULL, it receives the id before the callback can be called. This holds for all functions
/// that add something.
///
/// The descriptor stays the caller's, and its flags do not change. If the descriptor is closed before its
/// handler is removed, the handler is not called any more. The number can be registered again at once. There
/// is one exception: a dup, in a child process for example, may keep the file open. The loop may then call
/// the handler up to 256 more times until it notices. The handler must not use the number then, because it
/// may mean another file. Remove the handler before closing.
///
/// Fails with -EBADF if the descriptor is not open, and with -EINVAL for invalid arguments.
///
/// Threads: any.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn oneloop_add_handler(
    r#loop: *mut oneloop_t,
    fd: oneloop_fd,
    interest: u32,
    mode: c_int,
    callback: oneloop_handler_fn,
    user: *mut c_void,
    destroy: oneloop_destroy_fn,
    id: *mut oneloop_id,
) -> c_int {
    forward!(oneloop_add_handler => add_handler(r#loop, fd, interest, mode, callback, user, destroy, id));
    call("oneloop_add_handler", || {
        // SAFETY: the caller's promise.
        let reactor = unsafe { reactor(r#loop) }?;
        let callback = callback.ok_or(Failure::Argument("the callback"))?;
        let interest = self::interest(interest)?;
        let mode = match mode {
            ONELOOP_LEVEL => Mode::Level,
            ONELOOP_EDGE => Mode::Edge,
            ONELOOP_ONESHOT => Mode::Oneshot,
            _ => return Err(Failure::Argument("the mode")),
        };
        let make = |own: HandlerId| {
            let own_id = (own.to_bits(), id);
            // SAFETY: the caller's promise.
            let user = unsafe { User::registered(&reactor, user, destroy, own_id) };
            move |event: Event| {
                let ready = bits(event.ready());
                let fd = user.fd_now(own, fd);
                // SAFETY: C's own function gets its own data, as the header promises.
                let returned =
                    unsafe { callback(user.r#loop(), own.to_bits(), fd, ready, user.pointer()) };
                action(returned)
            }
        };
        // SAFETY: the descriptor is C's, and the header says what C must do before closing it.
        unsafe { reactor.add_raw_handler_with(fd, interest, mode, make) }?;
        Ok(0)
    })
}

/// Replaces the interest of a handler. 0 pauses it. This also re-arms edge and one-shot handlers. A change
/// that is undone within the same callback costs nothing. If the call changes nothing, the loop asks the
/// kernel whether the number still means the same file, and watches a new one.
///
/// Fails with -ENOENT if the id is unknown, and with -EBADF if the descriptor was closed.
///
/// Threads: any.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn oneloop_update_handler(
    r#loop: *mut oneloop_t,
    id: oneloop_id,
    interest: u32,
) -> c_int {
    forward!(oneloop_update_handler => update_handler(r#loop, id, interest));
    call("oneloop_update_handler", || {
        let interest = self::interest(interest)?;
        // SAFETY: the caller's promise.
        unsafe { reactor(r#loop) }?.update_handler(HandlerId::from_bits(id), interest)?;
        Ok(0)
    })
}

/// Registers the descriptor with the kernel again, even if nothing seems to have changed. Libraries such as
/// libpq need this: they close a socket and open another under the same number inside one call.
///
/// Threads: any.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn oneloop_rearm_handler(r#loop: *mut oneloop_t, id: oneloop_id) -> c_int {
    forward!(oneloop_rearm_handler => rearm_handler(r#loop, id));
    call("oneloop_rearm_handler", || {
        // SAFETY: the caller's promise.
        unsafe { reactor(r#loop) }?.rearm_handler(HandlerId::from_bits(id))?;
        Ok(0)
    })
}

/// Moves a handler to another descriptor, `fd`. Libraries that connect again have a new one then. The handler keeps
/// its id, callback, user data, interest, priority, limit and name. It is armed, and not called any more for what
/// the old descriptor was ready for. The old descriptor may be closed already.
///
/// Fails with -ENOENT if the id is unknown, with -EBADF if `fd` is not open, and with -ENOTSUP if the handler has
/// no descriptor. Nothing changes then. If the kernel refuses `fd` for another reason, the handler is not called
/// any more until it is moved again or re-armed.
///
/// Threads: any.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn oneloop_move_handler(
    r#loop: *mut oneloop_t,
    id: oneloop_id,
    fd: oneloop_fd,
) -> c_int {
    forward!(oneloop_move_handler => move_handler(r#loop, id, fd));
    call("oneloop_move_handler", || {
        // SAFETY: the caller's promise.
        let reactor = unsafe { reactor(r#loop) }?;
        // SAFETY: the descriptor is C's, and the header says what C must do before closing it.
        unsafe { reactor.move_handler(HandlerId::from_bits(id), fd) }?;
        Ok(0)
    })
}

/// Returns the readiness with which the loop calls a handler in this turn, or 0 if it does not. The `check` hook of
/// `oneloop_add_hook` learns by this what the sleep has found. In a handler's callback it is the readiness that the
/// callback was given.
///
/// Fails with -ENOENT if the id is unknown.
///
/// Threads: any, but meant for callbacks.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn oneloop_handler_ready(r#loop: *mut oneloop_t, id: oneloop_id) -> c_int {
    forward!(oneloop_handler_ready => handler_ready(r#loop, id));
    call("oneloop_handler_ready", || {
        // SAFETY: the caller's promise.
        let reactor = unsafe { reactor(r#loop) }?;
        let ready = reactor.handler_ready(HandlerId::from_bits(id))?;
        Ok(bits(ready) as c_int)
    })
}

/// Removes a handler of any kind: of a descriptor, deferred or idle, of a signal or a child. It is not called
/// any more. If another thread is driving, one call may be running there. The destroy function is called
/// later, in a turn.
///
/// Fails with -ENOENT if the id is unknown. That does no harm.
///
/// Threads: any.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn oneloop_remove_handler(r#loop: *mut oneloop_t, id: oneloop_id) -> c_int {
    forward!(oneloop_remove_handler => remove_handler(r#loop, id));
    call("oneloop_remove_handler", || {
        // SAFETY: the caller's promise.
        unsafe { reactor(r#loop) }?.retire_handler(HandlerId::from_bits(id))?;
        Ok(0)
    })
}

/// Orders a handler of any kind among those that are ready in one turn: ONELOOP_HIGH, then ONELOOP_NORMAL,
/// then ONELOOP_IDLE. Every handler starts with ONELOOP_NORMAL. A turn calls all handlers that are ready.
///
/// Fails with -ENOENT if the id is unknown, and with -EINVAL for a priority that does not exist.
///
/// Threads: any.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn oneloop_set_priority(
    r#loop: *mut oneloop_t,
    id: oneloop_id,
    priority: c_int,
) -> c_int {
    forward!(oneloop_set_priority => set_priority(r#loop, id, priority));
    call("oneloop_set_priority", || {
        // SAFETY: the caller's promise.
        let reactor = unsafe { reactor(r#loop) }?;
        reactor.set_priority(HandlerId::from_bits(id), self::priority(priority)?)?;
        Ok(0)
    })
}

/// Limits a handler of any kind to `calls` calls in each interval of `per` nanoseconds. If either is 0, this
/// lifts the limit. The interval begins with a call. If the handler has used up its calls and is ready again,
/// the loop stops watching it until the interval ends. It is called then if it is still ready.
///
/// Fails with -ENOENT if the id is unknown, and with -EINVAL for a negative interval.
///
/// Threads: any.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn oneloop_limit_rate(
    r#loop: *mut oneloop_t,
    id: oneloop_id,
    calls: u32,
    per: i64,
) -> c_int {
    forward!(oneloop_limit_rate => limit_rate(r#loop, id, calls, per));
    call("oneloop_limit_rate", || {
        // SAFETY: the caller's promise.
        let reactor = unsafe { reactor(r#loop) }?;
        let per = u64::try_from(per).map_err(|_| Failure::Argument("the interval"))?;
        reactor.limit_rate(HandlerId::from_bits(id), calls, Duration::from_nanos(per))?;
        Ok(0)
    })
}

/// Returns the descriptor of a handler. A failure is a negative errno here, too; on Windows, after a cast to intptr_t.
///
/// Threads: any.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn oneloop_handler_fd(r#loop: *mut oneloop_t, id: oneloop_id) -> oneloop_fd {
    forward!(oneloop_handler_fd => handler_fd(r#loop, id));
    let mut fd = None;
    let result = call("oneloop_handler_fd", || {
        // SAFETY: the caller's promise.
        fd = Some(unsafe { reactor(r#loop) }?.handler_fd(HandlerId::from_bits(id))?);
        Ok(0)
    });
    fd.unwrap_or(result as oneloop_fd)
}

/// Calls `callback` in every turn while it is on, which keeps the loop from sleeping. It is on at first, and
/// `oneloop_enable` switches it.
///
/// Threads: any.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn oneloop_add_deferred(
    r#loop: *mut oneloop_t,
    callback: oneloop_deferred_fn,
    user: *mut c_void,
    destroy: oneloop_destroy_fn,
    id: *mut oneloop_id,
) -> c_int {
    forward!(oneloop_add_deferred => add_deferred(r#loop, callback, user, destroy, id));
    call("oneloop_add_deferred", || {
        // SAFETY: the caller's promise.
        let reactor = unsafe { reactor(r#loop) }?;
        let callback = callback.ok_or(Failure::Argument("the callback"))?;
        // A source that is always ready.
        let (source, readiness) = VirtualSource::pair();
        readiness.set(Ready::READABLE);
        let make = |own: HandlerId| {
            let own_id = (own.to_bits(), id);
            // SAFETY: the caller's promise.
            let user = unsafe { User::registered(&reactor, user, destroy, own_id) };
            move |_| {
                let _always = &readiness;
                // SAFETY: C's own function gets its own data, as the header promises.
                action(unsafe { callback(user.r#loop(), own.to_bits(), user.pointer()) })
            }
        };
        reactor.add_virtual_handler_with(source, Interest::READABLE, Mode::Level, make)?;
        Ok(0)
    })
}

/// Calls `callback` again and again, but only when a turn has nothing else to do. It is on at first, and
/// `oneloop_enable` switches it.
///
/// Threads: any.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn oneloop_add_idle(
    r#loop: *mut oneloop_t,
    callback: oneloop_deferred_fn,
    user: *mut c_void,
    destroy: oneloop_destroy_fn,
    id: *mut oneloop_id,
) -> c_int {
    forward!(oneloop_add_idle => add_idle(r#loop, callback, user, destroy, id));
    call("oneloop_add_idle", || {
        // SAFETY: the caller's promise.
        let reactor = unsafe { reactor(r#loop) }?;
        let callback = callback.ok_or(Failure::Argument("the callback"))?;
        // An idle post makes the source ready once. The callback posts the next one.
        let (source, readiness) = VirtualSource::pair();
        let remote = reactor.remote();
        let post = move || {
            readiness.clear(Ready::READABLE);
            let readiness = readiness.clone();
            let _ = remote.call_soon_with(Priority::Idle, move || {
                readiness.set(Ready::READABLE);
            });
        };
        post();
        let make = |own: HandlerId| {
            let own_id = (own.to_bits(), id);
            // SAFETY: the caller's promise.
            let user = unsafe { User::registered(&reactor, user, destroy, own_id) };
            move |_| {
                // SAFETY: C's own function gets its own data, as the header promises.
                match action(unsafe { callback(user.r#loop(), own.to_bits(), user.pointer()) }) {
                    Action::Remove => Action::Remove,
                    // The callback is called again anyway, when there is nothing else to do.
                    _ => {
                        post();
                        Action::Continue
                    }
                }
            }
        };
        reactor.add_virtual_handler_with(source, Interest::READABLE, Mode::Edge, make)?;
        Ok(0)
    })
}

/// Switches a deferred or idle callback on or off.
///
/// Threads: any.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn oneloop_enable(r#loop: *mut oneloop_t, id: oneloop_id, on: bool) -> c_int {
    let interest = if on { ONELOOP_READABLE } else { 0 };
    // SAFETY: the caller's promise.
    unsafe { oneloop_update_handler(r#loop, id, interest) }
}

/// Calls `callback` in a turn after a signal was sent to the process. Several signals of one kind that arrive
/// before the turn lead to one call. This blocks no signal, and handlers that were installed before are still
/// called. After the last such handler is removed, the signal does nothing. Its default action does not
/// return.
///
/// In a child process after a fork, the signal does nothing either, unless another program is executed. The
/// child should call `signal(SIGTERM, SIG_DFL)`, and do so for every other signal that should end it. It may
/// also watch the signal with a loop of its own.
///
/// Fails with -ENOTSUP for a signal that cannot be caught. Fails with -ENOTSUP for signals that report a
/// fault of the program, which would occur again and again: SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP, SIGSYS.
/// On Linux, fails with -ENOTSUP if every thread of the process blocks the signal. Fails with -EINVAL for a
/// signal that does not exist.
///
/// On Windows there are SIGINT, which is Ctrl-C, and SIGBREAK. Others give -ENOTSUP. After the last handler is removed,
/// the key ends the process again.
///
/// Threads: any.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn oneloop_add_signal(
    r#loop: *mut oneloop_t,
    signal: c_int,
    callback: oneloop_signal_fn,
    user: *mut c_void,
    destroy: oneloop_destroy_fn,
    id: *mut oneloop_id,
) -> c_int {
    forward!(oneloop_add_signal => add_signal(r#loop, signal, callback, user, destroy, id));
    call("oneloop_add_signal", || {
        // SAFETY: the caller's promise.
        let reactor = unsafe { reactor(r#loop) }?;
        let callback = callback.ok_or(Failure::Argument("the callback"))?;
        let make = |own: HandlerId| {
            let own_id = (own.to_bits(), id);
            // SAFETY: the caller's promise.
            let user = unsafe { User::registered(&reactor, user, destroy, own_id) };
            move |signal: c_int| {
                // SAFETY: C's own function gets its own data, as the header promises.
                let returned =
                    unsafe { callback(user.r#loop(), own.to_bits(), signal, user.pointer()) };
                action(returned)
            }
        };
        reactor.add_signal_with(signal, make)?;
        Ok(0)
    })
}

/// Calls `callback` once, when a child of this process has ended and was reaped. After that, nothing is left
/// to be removed.
///
/// Fails with -ECHILD if the process is not a child of this one, or was reaped already. On Windows, any process will do
/// that this one may wait for, by its dwProcessId.
///
/// Threads: any.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn oneloop_add_child(
    r#loop: *mut oneloop_t,
    pid: c_int,
    callback: oneloop_child_fn,
    user: *mut c_void,
    destroy: oneloop_destroy_fn,
    id: *mut oneloop_id,
) -> c_int {
    forward!(oneloop_add_child => add_child(r#loop, pid, callback, user, destroy, id));
    call("oneloop_add_child", || {
        // SAFETY: the caller's promise.
        let reactor = unsafe { reactor(r#loop) }?;
        let callback = callback.ok_or(Failure::Argument("the callback"))?;
        let make = |own: HandlerId| {
            let own_id = (own.to_bits(), id);
            // SAFETY: the caller's promise.
            let user = unsafe { User::registered(&reactor, user, destroy, own_id) };
            move |status: io::Result<ExitStatus>| {
                let (status, error) = match status {
                    Ok(status) => (raw(status), 0),
                    Err(error) => (0, -code(error.raw_os_error())),
                };
                // SAFETY: C's own function gets its own data, as the header promises.
                unsafe { callback(user.r#loop(), pid, status, error, user.pointer()) };
            }
        };
        // A negative number belongs to no process.
        let child = u32::try_from(pid).unwrap_or(0);
        reactor.add_child_with(child, make)?;
        Ok(0)
    })
}

#[cfg(unix)]
fn raw(status: ExitStatus) -> c_int {
    status.into_raw()
}

#[cfg(windows)]
fn raw(status: ExitStatus) -> c_int {
    status.code().unwrap_or_default()
}
