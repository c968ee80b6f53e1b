//! Libraries with a set of descriptors, as poll sets.

use std::ffi::c_int;

use oneloop_c::oneloop_t;
use oneloop_c_libraries::on_every_host;

unsafe extern "C" {
    fn test_libusb(r#loop: *mut oneloop_t) -> c_int;
    fn test_glib(r#loop: *mut oneloop_t) -> c_int;
}

#[test]
fn libusb_is_interrupted_by_a_thread() {
    on_every_host(test_libusb);
}

#[test]
fn a_main_context_of_glib_has_timers_a_pipe_and_an_idle_source() {
    on_every_host(test_glib);
}
