use std::ffi::{c_char, c_int, c_void};

use crate::*;

/// The version of the library: major, minor and patch, with a byte for each.
pub const ONELOOP_VERSION: u32 = 0x00_01_00;

/// A bit of `oneloop_features`: there are edge-triggered handlers.
pub const ONELOOP_HAS_EDGE: u32 = 1;
/// A bit of `oneloop_features`: timers notice at once when the system clock is set.
pub const ONELOOP_HAS_CLOCK_NOTICE: u32 = 2;
/// A bit of `oneloop_features`: children are waited for by pidfd, not by SIGCHLD.
pub const ONELOOP_HAS_PIDFD: u32 = 4;
/// A bit of `oneloop_features`: `oneloop_inspect` works.
pub const ONELOOP_HAS_INSPECT: u32 = 8;

/// Returns the version of the running library: its ONELOOP_VERSION when it was compiled.
///
/// Threads: any.
#[unsafe(no_mangle)]
pub extern "C" fn oneloop_version() -> u32 {
    ONELOOP_VERSION
}

/// Returns what the library can do on this system, as ONELOOP_HAS_ bits.
///
/// Threads: any.
#[unsafe(no_mangle)]
pub extern "C" fn oneloop_features() -> u32 {
    let epoll = cfg!(any(target_os = "linux", target_os = "android"));
    let kqueue = cfg!(any(
        target_vendor = "apple",
        target_os = "freebsd",
        target_os = "netbsd",
        target_os = "openbsd",
        target_os = "dragonfly"
    ));
    let has = [
        (epoll || kqueue, ONELOOP_HAS_EDGE),
        (epoll, ONELOOP_HAS_CLOCK_NOTICE),
        (has_pidfds(), ONELOOP_HAS_PIDFD),
        (cfg!(feature = "inspect"), ONELOOP_HAS_INSPECT),
    ];
    let has = has.into_iter().filter(|(is, _)| *is);
    has.fold(0, |bits, (_, bit)| bits | bit)
}

#[cfg(target_os = "linux")]
use oneloop::bindings::has_pidfds;

#[cfg(not(target_os = "linux"))]
fn has_pidfds() -> bool {
    false
}

/// The version of `oneloop_api` that this header describes. Later versions only add to its end.
pub const ONELOOP_API_VERSION: u32 = 1;

/// A table of all functions, for plug-ins that are loaded at run time and cannot link the library. The
/// program that loads a plug-in passes the table on.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
#[allow(missing_docs)]
pub struct oneloop_api {
    /// The library's ONELOOP_API_VERSION.
    pub version: u32,
    /// The size of the library's table.
    pub size: u32,
    pub strerror: extern "C" fn() -> *const c_char,
    pub features: extern "C" fn() -> u32,
    pub new_loop: extern "C" fn() -> *mut oneloop_t,
    pub hold: unsafe extern "C" fn(r#loop: *mut oneloop_t) -> *mut oneloop_t,
    pub free: unsafe extern "C" fn(r#loop: *mut oneloop_t),
    pub close: unsafe extern "C" fn(r#loop: *mut oneloop_t) -> c_int,
    pub run: unsafe extern "C" fn(r#loop: *mut oneloop_t) -> c_int,
    pub run_forever: unsafe extern "C" fn(r#loop: *mut oneloop_t) -> c_int,
    pub turn: unsafe extern "C" fn(r#loop: *mut oneloop_t, timeout: i64, flags: *mut u32) -> c_int,
    pub stop: unsafe extern "C" fn(r#loop: *mut oneloop_t) -> c_int,
    pub wake: unsafe extern "C" fn(r#loop: *mut oneloop_t) -> c_int,
    pub host_begin: unsafe extern "C" fn(r#loop: *mut oneloop_t, flags: u32) -> c_int,
    pub step: unsafe extern "C" fn(r#loop: *mut oneloop_t, budget: u32) -> c_int,
    pub host_end: unsafe extern "C" fn(r#loop: *mut oneloop_t) -> c_int,
    pub next_timeout: unsafe extern "C" fn(r#loop: *mut oneloop_t) -> i64,
    pub set_referenced:
        unsafe extern "C" fn(r#loop: *mut oneloop_t, id: oneloop_id, is_referenced: bool) -> c_int,
    pub set_name:
        unsafe extern "C" fn(r#loop: *mut oneloop_t, id: oneloop_id, name: *const c_char) -> c_int,
    pub is_alive: unsafe extern "C" fn(r#loop: *mut oneloop_t) -> c_int,
    pub count: unsafe extern "C" fn(r#loop: *mut oneloop_t, what: c_int) -> i64,
    pub dump: unsafe extern "C" fn(r#loop: *mut oneloop_t) -> c_int,
    pub dump_text:
        unsafe extern "C" fn(r#loop: *mut oneloop_t, buffer: *mut c_char, size: usize) -> c_int,
    pub add_handler: unsafe extern "C" fn(
        r#loop: *mut oneloop_t,
        fd: oneloop_fd,
        interest: u32,
        mode: c_int,
        callback: oneloop_handler_fn,
        user: *mut c_void,
        destroy: oneloop_destroy_fn,
        id: *mut oneloop_id,
    ) -> c_int,
    pub update_handler:
        unsafe extern "C" fn(r#loop: *mut oneloop_t, id: oneloop_id, interest: u32) -> c_int,
    pub rearm_handler: unsafe extern "C" fn(r#loop: *mut oneloop_t, id: oneloop_id) -> c_int,
    pub remove_handler: unsafe extern "C" fn(r#loop: *mut oneloop_t, id: oneloop_id) -> c_int,
    pub handler_fd: unsafe extern "C" fn(r#loop: *mut oneloop_t, id: oneloop_id) -> oneloop_fd,
    pub add_deferred: unsafe extern "C" fn(
        r#loop: *mut oneloop_t,
        callback: oneloop_deferred_fn,
        user: *mut c_void,
        destroy: oneloop_destroy_fn,
        id: *mut oneloop_id,
    ) -> c_int,
    pub add_idle: unsafe extern "C" fn(
        r#loop: *mut oneloop_t,
        callback: oneloop_deferred_fn,
        user: *mut c_void,
        destroy: oneloop_destroy_fn,
        id: *mut oneloop_id,
    ) -> c_int,
    pub enable: unsafe extern "C" fn(r#loop: *mut oneloop_t, id: oneloop_id, on: bool) -> c_int,
    pub add_signal: unsafe extern "C" fn(
        r#loop: *mut oneloop_t,
        signal: c_int,
        callback: oneloop_signal_fn,
        user: *mut c_void,
        destroy: oneloop_destroy_fn,
        id: *mut oneloop_id,
    ) -> c_int,
    pub add_child: unsafe extern "C" fn(
        r#loop: *mut oneloop_t,
        pid: c_int,
        callback: oneloop_child_fn,
        user: *mut c_void,
        destroy: oneloop_destroy_fn,
        id: *mut oneloop_id,
    ) -> c_int,
    pub add_timer: unsafe extern "C" fn(
        r#loop: *mut oneloop_t,
        delay: i64,
        period: i64,
        callback: oneloop_timer_fn,
        user: *mut c_void,
        destroy: oneloop_destroy_fn,
        id: *mut oneloop_id,
    ) -> c_int,
    pub reset_timer:
        unsafe extern "C" fn(r#loop: *mut oneloop_t, id: oneloop_id, delay: i64) -> c_int,
    pub reset_timer_at: unsafe extern "C" fn(
        r#loop: *mut oneloop_t,
        id: oneloop_id,
        clock: c_int,
        seconds: i64,
        nanoseconds: i64,
    ) -> c_int,
    pub cancel_timer: unsafe extern "C" fn(r#loop: *mut oneloop_t, id: oneloop_id) -> c_int,
    pub call_soon: unsafe extern "C" fn(
        r#loop: *mut oneloop_t,
        priority: c_int,
        callback: oneloop_post_fn,
        user: *mut c_void,
        destroy: oneloop_destroy_fn,
        id: *mut oneloop_id,
    ) -> c_int,
    pub cancel_post: unsafe extern "C" fn(r#loop: *mut oneloop_t, id: oneloop_id) -> c_int,
    pub add_hook: unsafe extern "C" fn(
        r#loop: *mut oneloop_t,
        prepare: oneloop_prepare_fn,
        check: oneloop_post_fn,
        user: *mut c_void,
        destroy: oneloop_destroy_fn,
        id: *mut oneloop_id,
    ) -> c_int,
    pub remove_hook: unsafe extern "C" fn(r#loop: *mut oneloop_t, id: oneloop_id) -> c_int,
    pub ask_hooks: unsafe extern "C" fn(r#loop: *mut oneloop_t) -> c_int,
    pub set_priority:
        unsafe extern "C" fn(r#loop: *mut oneloop_t, id: oneloop_id, priority: c_int) -> c_int,
    pub limit_rate:
        unsafe extern "C" fn(r#loop: *mut oneloop_t, id: oneloop_id, calls: u32, per: i64) -> c_int,
    pub add_pollset: unsafe extern "C" fn(
        r#loop: *mut oneloop_t,
        prepare: oneloop_pollset_prepare_fn,
        ready: oneloop_pollset_ready_fn,
        user: *mut c_void,
        destroy: oneloop_destroy_fn,
        id: *mut oneloop_id,
    ) -> c_int,
    pub remove_pollset: unsafe extern "C" fn(r#loop: *mut oneloop_t, id: oneloop_id) -> c_int,
    pub move_handler:
        unsafe extern "C" fn(r#loop: *mut oneloop_t, id: oneloop_id, fd: oneloop_fd) -> c_int,
    pub handler_ready: unsafe extern "C" fn(r#loop: *mut oneloop_t, id: oneloop_id) -> c_int,
    pub observe_callbacks: unsafe extern "C" fn(
        r#loop: *mut oneloop_t,
        threshold: i64,
        report: oneloop_observer_fn,
        user: *mut c_void,
        destroy: oneloop_destroy_fn,
        id: *mut oneloop_id,
    ) -> c_int,
    pub remove_observer: unsafe extern "C" fn(r#loop: *mut oneloop_t, id: oneloop_id) -> c_int,
    pub report_error: unsafe extern "C" fn(
        r#loop: *mut oneloop_t,
        library: *const c_char,
        text: *const c_char,
    ) -> c_int,
    pub inspect: unsafe extern "C" fn(r#loop: *mut oneloop_t, address: *const c_char) -> c_int,
}

pub(crate) static API: oneloop_api = oneloop_api {
    version: ONELOOP_API_VERSION,
    size: size_of::<oneloop_api>() as u32,
    strerror: oneloop_strerror,
    features: oneloop_features,
    new_loop: oneloop_new,
    hold: oneloop_hold,
    free: oneloop_free,
    close: oneloop_close,
    run: oneloop_run,
    run_forever: oneloop_run_forever,
    turn: oneloop_turn,
    stop: oneloop_stop,
    wake: oneloop_wake,
    host_begin: oneloop_host_begin,
    step: oneloop_step,
    host_end: oneloop_host_end,
    next_timeout: oneloop_next_timeout,
    set_referenced: oneloop_set_referenced,
    set_name: oneloop_set_name,
    is_alive: oneloop_is_alive,
    count: oneloop_count,
    dump: oneloop_dump,
    dump_text: oneloop_dump_text,
    add_handler: oneloop_add_handler,
    update_handler: oneloop_update_handler,
    rearm_handler: oneloop_rearm_handler,
    remove_handler: oneloop_remove_handler,
    handler_fd: oneloop_handler_fd,
    add_deferred: oneloop_add_deferred,
    add_idle: oneloop_add_idle,
    enable: oneloop_enable,
    add_signal: oneloop_add_signal,
    add_child: oneloop_add_child,
    add_timer: oneloop_add_timer,
    reset_timer: oneloop_reset_timer,
    reset_timer_at: oneloop_reset_timer_at,
    cancel_timer: oneloop_cancel_timer,
    call_soon: oneloop_call_soon,
    cancel_post: oneloop_cancel_post,
    add_hook: oneloop_add_hook,
    remove_hook: oneloop_remove_hook,
    ask_hooks: oneloop_ask_hooks,
    set_priority: oneloop_set_priority,
    limit_rate: oneloop_limit_rate,
    add_pollset: oneloop_add_pollset,
    remove_pollset: oneloop_remove_pollset,
    move_handler: oneloop_move_handler,
    handler_ready: oneloop_handler_ready,
    observe_callbacks: oneloop_observe_callbacks,
    remove_observer: oneloop_remove_observer,
    report_error: oneloop_report_error,
    inspect: oneloop_inspect,
};

/// Returns the table of all functions, in the given version or a later one. Returns NULL if the library is
/// older.
///
/// Threads: any.
#[unsafe(no_mangle)]
pub extern "C" fn oneloop_get_api(version: u32) -> *const oneloop_api {
    if version <= ONELOOP_API_VERSION {
        &API
    } else {
        std::ptr::null()
    }
}
