//! sd-bus with a dbus-daemon of its own for each host.

use std::ffi::{CString, c_char, c_int};

use oneloop_c::oneloop_t;
use oneloop_c_libraries::{dbus, on_each_host};

unsafe extern "C" {
    fn sd_bus_test_daemon(address: *const c_char, pid: c_int);
    fn test_sd_bus_calls_and_signals(r#loop: *mut oneloop_t) -> c_int;
    fn test_sd_bus_read_on_the_way(r#loop: *mut oneloop_t) -> c_int;
    fn test_sd_bus_the_daemon_dies(r#loop: *mut oneloop_t) -> c_int;
}

fn with_daemon(test: unsafe extern "C" fn(*mut oneloop_t) -> c_int) {
    on_each_host(|run| {
        let (server, address) = dbus();
        let address = CString::new(address).unwrap();
        // SAFETY: the address lives until the test is over.
        unsafe { sd_bus_test_daemon(address.as_ptr(), server.pid() as c_int) };
        run(test);
    });
}

#[test]
fn large_calls_to_oneself_signals_and_a_time_out() {
    with_daemon(test_sd_bus_calls_and_signals);
}

#[test]
fn what_was_read_on_the_way_to_an_answer() {
    with_daemon(test_sd_bus_read_on_the_way);
}

#[test]
fn the_daemon_dies() {
    with_daemon(test_sd_bus_the_daemon_dies);
}
