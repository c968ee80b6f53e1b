//! The loop ends before what was attached to it, or after. To be looked at by valgrind and
//! AddressSanitizer, too.

use std::env;
use std::ffi::c_int;
use std::sync::Mutex;

use oneloop_c::oneloop_t;
use oneloop_c_libraries::{dbus, on_every_host, xvfb};

/// The orders of ending: the loop first, the library first, or the library before a turn of the loop.
const ORDERS: [c_int; 3] = [0, 1, 2];

type Test = unsafe extern "C" fn(order: c_int) -> c_int;

unsafe extern "C" {
    fn late_zmq(order: c_int) -> c_int;
    fn late_sd_bus(order: c_int) -> c_int;
    fn late_xcb(order: c_int) -> c_int;
    fn late_dbus(order: c_int) -> c_int;
    fn late_curl(order: c_int) -> c_int;
    fn late_avahi(order: c_int) -> c_int;
    fn late_pulse(order: c_int) -> c_int;
    fn dbus_moves() -> c_int;
    fn test_dbus_server(r#loop: *mut oneloop_t) -> c_int;
    fn test_times_out_of_range(r#loop: *mut oneloop_t) -> c_int;
}

/// The environment is the process's.
static ENVIRONMENT: Mutex<()> = Mutex::new(());

fn in_each_order(test: Test) {
    for order in ORDERS {
        // SAFETY: the test makes loops of its own.
        assert_eq!(unsafe { test(order) }, 0, "order {order}");
    }
}

/// Runs it with a variable of the environment that says where a server is.
fn with(variable: &str, value: &str, test: impl FnOnce()) {
    let _alone = ENVIRONMENT.lock();
    // SAFETY: the other tests that use the environment wait.
    unsafe { env::set_var(variable, value) };
    test();
}

#[test]
fn libzmq() {
    in_each_order(late_zmq);
}

#[test]
fn sd_bus() {
    let (_server, address) = dbus();
    with("DBUS_SESSION_BUS_ADDRESS", &address, || {
        in_each_order(late_sd_bus);
    });
}

#[test]
fn xcb() {
    for order in ORDERS {
        let (_server, display) = xvfb();
        with("DISPLAY", &display, || {
            // SAFETY: the test makes a loop of its own.
            assert_eq!(unsafe { late_xcb(order) }, 0, "order {order}");
        });
    }
}

#[test]
fn libdbus() {
    let (_server, address) = dbus();
    with("DBUS_SESSION_BUS_ADDRESS", &address, || {
        in_each_order(late_dbus);
        // SAFETY: the test makes loops of its own.
        assert_eq!(unsafe { dbus_moves() }, 0);
    });
}

#[test]
fn libcurl() {
    in_each_order(late_curl);
}

#[test]
fn avahi_and_pulseaudio() {
    in_each_order(late_avahi);
    in_each_order(late_pulse);
}

#[test]
fn a_server_of_libdbus_accepts_and_answers() {
    on_every_host(test_dbus_server);
}

#[test]
fn microseconds_of_a_second_and_more_are_carried() {
    on_every_host(test_times_out_of_range);
}
