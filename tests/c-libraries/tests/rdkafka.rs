//! librdkafka with its mock cluster on each host.

use std::ffi::c_int;

use oneloop_c::oneloop_t;
use oneloop_c_libraries::{in_both_orders, on_each_host, on_every_host};

unsafe extern "C" {
    fn test_rdkafka(r#loop: *mut oneloop_t) -> c_int;
    fn test_rdkafka_callbacks(r#loop: *mut oneloop_t) -> c_int;
    fn rdkafka_callbacks_end();
    fn late_rdkafka(loop_last: c_int) -> c_int;
}

#[test]
fn a_consumer_gets_what_a_producer_sends() {
    on_every_host(test_rdkafka);
}

#[test]
fn the_librarys_own_callbacks_are_called() {
    on_each_host(|run| {
        run(test_rdkafka_callbacks);
        // SAFETY: the loop is over, and this frees what the test has made.
        unsafe { rdkafka_callbacks_end() };
    });
}

#[test]
fn the_loop_ends_before_the_queue_or_after() {
    in_both_orders(late_rdkafka);
}
