//! The tests of `src/abi.c`, each on every host.

use std::ffi::c_int;

use oneloop::Reactor;
use oneloop_c::{as_ptr, oneloop_run, oneloop_strerror};
use oneloop_c_tests::on_every_host;

macro_rules! tests {
    ($($name:ident = $symbol:ident,)*) => {
        unsafe extern "C" {
            $(fn $symbol(r#loop: *mut oneloop_c::oneloop_t) -> c_int;)*
        }
        $(#[test]
        fn $name() {
            on_every_host($symbol);
        })*
    };
}

tests! {
    a_level_handler_is_called_until_it_removes_itself =
        test_a_level_handler_is_called_until_it_removes_itself,
    destroy_is_not_called_inside_remove = test_destroy_is_not_called_inside_remove,
    interest_can_be_changed = test_interest_can_be_changed,
    bad_arguments_are_errors = test_bad_arguments_are_errors,
    a_timer_sleeps_until_it_is_reset = test_a_timer_sleeps_until_it_is_reset,
    a_timer_with_a_period = test_a_timer_with_a_period,
    deferred_callbacks_every_turn_and_idle_ones_when_there_is_nothing =
        test_deferred_callbacks_every_turn_and_idle_ones_when_there_is_nothing,
    an_idle_callback_that_wants_again_is_called_again =
        test_an_idle_callback_that_wants_again_is_called_again,
    the_first_delay_may_be_longer_than_the_period =
        test_the_first_delay_may_be_longer_than_the_period,
    posts_from_another_thread_in_order = test_posts_from_another_thread_in_order,
    hooks_around_the_sleep = test_hooks_around_the_sleep,
    signals_and_children = test_signals_and_children,
    a_plug_in_hosts_a_loop_of_its_own = test_a_plug_in_hosts_a_loop_of_its_own,
}

/// A Rust callback that panics on a loop that C drives.
#[test]
fn a_panic_does_not_cross_the_border() {
    let reactor = Reactor::new().unwrap();
    let id = reactor.call_later(std::time::Duration::ZERO, || panic!("in Rust"));
    // SAFETY: the loop is alive.
    let result = unsafe { oneloop_run(as_ptr(&reactor)) };
    assert_eq!(result, -libc::ENOTRECOVERABLE);
    // SAFETY: valid until the next failure on this thread.
    let text = unsafe { std::ffi::CStr::from_ptr(oneloop_strerror()) };
    assert!(text.to_str().unwrap().contains("in Rust"));
    assert!(reactor.cancel_timer(id.unwrap()).is_err(), "it was removed");
    // SAFETY: as above.
    assert_eq!(unsafe { oneloop_run(as_ptr(&reactor)) }, 0);
}
