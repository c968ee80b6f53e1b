//! libwayland-client on each host, with a compositor of libwayland-server on the same loop.

use std::ffi::c_int;

use oneloop_c::oneloop_t;
use oneloop_c_libraries::{in_both_orders, on_every_host};

unsafe extern "C" {
    fn test_wayland(r#loop: *mut oneloop_t) -> c_int;
    fn late_wayland(loop_last: c_int) -> c_int;
}

#[test]
fn events_and_requests_pass_until_the_connection_is_lost() {
    on_every_host(test_wayland);
}

#[test]
fn the_loop_ends_before_the_display_or_after() {
    in_both_orders(late_wayland);
}
