//! The C ABI from C: the tests of `src/abi.c`, `src/modes.c`, `src/misuse.c`, `src/pollset.c` and
//! `src/threads.c`, each on every host and
//! poller.

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::mem::transmute;
use std::ptr::{null, null_mut};
use std::sync::mpsc::channel;
use std::time::Duration;

use oneloop::{Action, Interest, Mode, Reactor, Ready, VirtualSource};
use oneloop_c::*;
use oneloop_c_tests::{HOSTS, on_a_loop, on_every_host_and_poller};

macro_rules! tests {
    ($($name:ident)*) => {
        $(#[test]
        fn $name() {
            unsafe extern "C" {
                #[link_name = concat!("test_", stringify!($name))]
                fn start(r#loop: *mut oneloop_t) -> c_int;
            }
            on_every_host_and_poller(start);
        })*

        const NAMES: &[&str] = &[$(stringify!($name)),*];
    };
}

tests! {
    a_level_handler_is_called_until_it_removes_itself
    destroy_is_not_called_inside_remove
    interest_can_be_changed
    a_handler_of_high_priority_is_called_first
    a_handler_is_called_no_more_often_than_its_limit
    bad_arguments_are_errors
    a_timer_sleeps_until_it_is_reset
    timers_for_one_time_fire_by_creation
    timers_for_times_of_long_ago_fire_in_order
    a_timer_with_a_period
    a_timer_whose_period_is_never
    deferred_callbacks_every_turn_and_idle_ones_when_there_is_nothing
    an_idle_callback_that_wants_again_is_called_again
    the_first_delay_may_be_longer_than_the_period
    posts_from_another_thread_in_order
    hooks_around_the_sleep
    a_handler_is_moved_to_another_descriptor
    slow_callbacks_are_reported
    a_loop_serves_its_page
    a_host_asks_the_hooks
    signals_and_children
    a_plug_in_hosts_a_loop_of_its_own
    a_poll_set_gets_its_entries_back
    a_poll_set_changes_and_times_out
    a_poll_set_that_lists_nothing

    an_edge_is_reported_once
    a_oneshot_is_called_once
    again_is_called_in_the_next_turn
    a_descriptor_is_neither_changed_nor_closed
    posts_by_their_priorities
    names_counts_and_cancelled_posts
    removed_each_gives_its_data_back_once
    the_loop_ends_and_each_gives_its_data_back_once
    a_timer_that_has_fired_can_be_set_again
    what_keeps_a_loop_going
    stopped_by_a_signal_handler

    each_callback_has_to_be_there
    arguments_that_make_no_sense
    no_loop
    a_closed_loop
    ids_of_a_loop_that_is_gone
    in_a_child_process
    destroy_functions_use_the_loop_that_ends
    destroy_functions_use_the_loop_that_ends_in_a_child
    at_the_end_of_a_thread

    an_id_is_written_before_its_callback_is_called
    closed_by_another_thread_no_call_destroys_anything
}

/// One that is not in the list would never run.
#[test]
fn every_test_is_in_the_list() {
    let sources = [
        include_str!("../src/abi.c"),
        include_str!("../src/modes.c"),
        include_str!("../src/misuse.c"),
        include_str!("../src/pollset.c"),
        include_str!("../src/threads.c"),
    ];
    let mut count = 0;
    for line in sources.iter().flat_map(|source| source.lines()) {
        if let Some(test) = line.strip_prefix("int test_") {
            let name = test.split('(').next().unwrap();
            assert!(NAMES.contains(&name), "{name}");
            count += 1;
        }
    }
    assert_eq!(count, NAMES.len());
}

/// An error that C reports reaches the reactor's own report.
#[test]
fn an_error_is_reported() {
    let (sender, reported) = channel();
    let builder = Reactor::builder().on_error(move |failed| {
        sender.send(failed.to_string()).unwrap();
    });
    let reactor = builder.build().unwrap();
    // SAFETY: the loop is alive, and the text is copied.
    let done =
        unsafe { oneloop_report_error(as_ptr(&reactor), c"MQTT".as_ptr(), c"no route".as_ptr()) };
    assert_eq!(done, 0);
    assert!(
        reported.try_recv().is_err(),
        "it is not reported inside the call"
    );
    reactor.run().unwrap();
    let text = reported.try_recv().unwrap();
    assert!(text.contains("MQTT: no route"), "{text}");
}

/// Returns the message of the last call that failed on this thread.
fn said() -> String {
    // SAFETY: valid until the next failure on this thread.
    let text = unsafe { CStr::from_ptr(oneloop_strerror()) };
    text.to_str().unwrap().to_owned()
}

/// A plug-in that is not linked with the library.
#[test]
fn a_plug_in_that_is_loaded_at_run_time() {
    plug_in_on_each_host(oneloop_get_api(1));
}

/// Has the plug-in use loops of this copy of the library by a table of functions.
fn plug_in_on_each_host(api: *const oneloop_api) {
    let plugin = load(env!("PLUGIN"));
    type Start = unsafe extern "C" fn(*const oneloop_api, *mut oneloop_t) -> c_int;
    type IsOver = unsafe extern "C" fn() -> bool;
    // SAFETY: they are of those types.
    let (start, is_over) = unsafe {
        let start = transmute::<*mut c_void, Start>(symbol(plugin, c"plugin_start"));
        let is_over = transmute::<*mut c_void, IsOver>(symbol(plugin, c"plugin_is_over"));
        (start, is_over)
    };
    for (name, drive) in HOSTS {
        on_a_loop(drive, |reactor| {
            // SAFETY: the table is there for ever, and the loop is alive.
            let result = unsafe { start(api, as_ptr(reactor)) };
            assert_eq!(result, 0);
        });
        // SAFETY: it looks at what the plug-in has counted on this thread.
        assert!(unsafe { is_over() }, "on {name}");
    }
}

/// Loads a library, for itself alone. It stays.
fn load(path: &str) -> *mut c_void {
    let path = CString::new(path).unwrap();
    // SAFETY: it is the test's own, and loading it does nothing.
    let library = unsafe { libc::dlopen(path.as_ptr(), libc::RTLD_NOW | libc::RTLD_LOCAL) };
    assert!(!library.is_null(), "{path:?}");
    library
}

fn symbol(library: *mut c_void, name: &CStr) -> *mut c_void {
    // SAFETY: it is loaded.
    let found = unsafe { libc::dlsym(library, name.as_ptr()) };
    assert!(!found.is_null(), "{name:?}");
    found
}

/// The functions of a second copy of the library in this process.
fn second_copy() -> &'static oneloop_api {
    let tests = std::env::current_exe().unwrap();
    let library = tests.with_file_name("liboneloop_c.so");
    let library = load(library.to_str().unwrap());
    type GetApi = extern "C" fn(u32) -> *const oneloop_api;
    // SAFETY: it is of that type, and the table is there for ever.
    let second = unsafe {
        let get_api = transmute::<*mut c_void, GetApi>(symbol(library, c"oneloop_get_api"));
        &*get_api(1)
    };
    assert_ne!(second.run as usize, oneloop_run as *const () as usize);
    second
}

#[test]
fn a_library_that_is_linked_with_another_copy() {
    plug_in_on_each_host(second_copy());
}

unsafe extern "C" fn count_timer(r#loop: *mut oneloop_t, id: oneloop_id, count: *mut c_void) {
    // SAFETY: the loop calls this, and the count is there until the loop has ended.
    unsafe {
        *count.cast::<u32>() += 1;
        assert_eq!(oneloop_cancel_timer(r#loop, id), 0);
        assert_eq!(oneloop_cancel_timer(r#loop, id), -libc::ENOENT);
    }
    assert!(said().starts_with("cancel_timer: unknown id"), "{}", said());
}

unsafe extern "C" fn count_end(count: *mut c_void) {
    // SAFETY: as above.
    unsafe { *count.cast::<u32>() += 10 };
}

/// Each function finds the copy that has made the loop.
#[test]
fn a_loop_that_was_made_by_another_copy() {
    let second = second_copy();
    let mut count = 0_u32;
    // SAFETY: the loop is alive until it was freed as often as it was held.
    unsafe {
        let r#loop = (second.new_loop)();
        assert_eq!(oneloop_hold(r#loop), r#loop);
        assert!(oneloop_host_begin(r#loop, 0) >= 0);
        assert_eq!((second.host_begin)(r#loop, 0), -libc::EBUSY);
        assert_eq!(oneloop_host_end(r#loop), 0);
        let (user, destroy) = ((&raw mut count).cast(), Some(count_end as _));
        let (mut id, callback) = (0, Some(count_timer as _));
        let added = oneloop_add_timer(r#loop, 0, 0, callback, user, destroy, &mut id);
        assert_eq!((added, oneloop_next_timeout(r#loop)), (0, 0));
        assert_eq!((second.reset_timer)(r#loop, id, 1), 0);
        assert_eq!(oneloop_run(r#loop), 0);
        assert_eq!(count, 11);
        let never = i64::MAX;
        let added = oneloop_add_timer(r#loop, never, 0, callback, user, destroy, null_mut());
        assert_eq!(added, 0);
        oneloop_free(r#loop);
        assert_eq!(count, 11);
        oneloop_free(r#loop);
        assert_eq!(count, 21);
    }
}

/// It has no table of functions, or one of a later version.
#[test]
fn a_loop_of_another_copy_that_cannot_be_used_is_refused() {
    let second = second_copy();
    let reactor = Reactor::new().unwrap();
    let unknown = [u64::MAX; 8];
    for pointer in [reactor.as_raw().cast(), unknown.as_ptr()] {
        let r#loop = pointer.cast_mut().cast::<oneloop_t>();
        // SAFETY: the loop is alive, or begins as a loop may.
        unsafe {
            assert_eq!((second.wake)(r#loop), -libc::EXDEV);
            assert_eq!((second.hold)(r#loop), null_mut());
            (second.free)(r#loop);
            let said = CStr::from_ptr((second.strerror)()).to_str().unwrap();
            assert!(said.contains("another copy of oneloop"), "{said}");
        }
    }
}

/// `examples/c/echo.c`, its own client.
#[test]
fn the_example() {
    unsafe extern "C" {
        fn echo_example(count: c_int, arguments: *const *const c_char) -> c_int;
    }
    let arguments = [c"echo".as_ptr(), null()];
    // SAFETY: it is a `main`; one argument.
    assert_eq!(unsafe { echo_example(1, arguments.as_ptr()) }, 0);
}

/// Rust callbacks that panic on a loop that C drives: each is told of, and removed, and all else goes
/// on.
#[test]
fn a_panic_does_not_cross_the_border() {
    for runs in [true, false] {
        let reactor = Reactor::new().unwrap();
        // SAFETY: the loop is alive.
        let drive = || unsafe {
            if runs {
                oneloop_run(as_ptr(&reactor))
            } else {
                oneloop_turn(as_ptr(&reactor), 0, null_mut())
            }
        };
        let (source, readiness) = VirtualSource::pair();
        readiness.set(Ready::READABLE);
        let panic = |_: &mut _, _| -> Action { panic!("in a handler") };
        let handler = { reactor.add_handler(source, Interest::READABLE, Mode::Level, panic) };
        assert_eq!(drive(), -libc::ENOTRECOVERABLE);
        assert!(said().ends_with("in a handler"), "{}", said());
        assert!(reactor.remove_handler(handler.unwrap()).is_err());

        let timer = reactor.call_later(Duration::ZERO, || panic!("in a timer"));
        assert_eq!(drive(), -libc::ENOTRECOVERABLE);
        assert!(said().ends_with("in a timer"), "{}", said());
        assert!(reactor.cancel_timer(timer.unwrap()).is_err());

        let (sender, called) = channel();
        reactor.call_soon(|| panic!("in a post")).unwrap();
        reactor.call_soon(move || sender.send(()).unwrap()).unwrap();
        assert_eq!(drive(), -libc::ENOTRECOVERABLE);
        assert!(said().ends_with("in a post"), "{}", said());
        assert!(drive() >= 0);
        assert_eq!(called.try_recv(), Ok(()));
    }
}

/// Panics when it is dropped.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        panic!("in a drop");
    }
}

/// A handler that Rust has registered panics as C takes it away.
#[test]
fn a_panic_in_a_drop_does_not_unwind_into_c() {
    let reactor = Reactor::new().unwrap();
    let r#loop = as_ptr(&reactor);
    let add_bomb = || {
        let (source, bomb) = (VirtualSource::pair().0, Bomb);
        let handle = move |_: &mut _, _| {
            let _ = &bomb;
        };
        let added = reactor.add_handler(source, Interest::READABLE, Mode::Level, handle);
        added.unwrap().to_bits()
    };
    let bomb = Bomb;
    let timer = reactor.call_later(Duration::MAX, move || {
        let _ = &bomb;
    });
    let bomb = Bomb;
    let hook = reactor.add_hook(
        || None,
        move || {
            let _ = &bomb;
        },
    );
    let (handler, _other) = (add_bomb(), add_bomb());
    // SAFETY: the loop is alive.
    unsafe {
        let result = oneloop_remove_handler(r#loop, handler);
        assert_eq!(result, -libc::ENOTRECOVERABLE);
        assert!(said().ends_with("in a drop"), "{}", said());
        assert_eq!(oneloop_remove_handler(r#loop, handler), -libc::ENOENT);
        let result = oneloop_cancel_timer(r#loop, timer.unwrap().to_bits());
        assert_eq!(result, -libc::ENOTRECOVERABLE);
        let result = oneloop_remove_hook(r#loop, hook.unwrap().to_bits());
        assert_eq!(result, -libc::ENOTRECOVERABLE);
        assert!(oneloop_turn(r#loop, 0, null_mut()) >= 0);
        assert_eq!(oneloop_close(r#loop), -libc::ENOTRECOVERABLE);
    }
    // And with its last handle.
    let reactor = Reactor::new().unwrap();
    let bomb = Bomb;
    reactor.call_soon(move || drop(bomb)).unwrap();
    // SAFETY: it is a handle, which is given up.
    unsafe { oneloop_free(reactor.into_raw().cast_mut().cast()) };
    assert!(said().ends_with("in a drop"), "{}", said());
}
