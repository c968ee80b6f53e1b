//! libdbus with a dbus-daemon of its own for each host.

use std::ffi::{CString, c_char, c_int};

use oneloop_c::oneloop_t;
use oneloop_c_libraries::{OwnCode, beside_each_host, dbus, on_each_host};

unsafe extern "C" {
    fn dbus_test_daemon(address: *const c_char, pid: c_int);
    fn test_dbus_calls_both_ways(r#loop: *mut oneloop_t) -> c_int;
    fn test_dbus_timeouts_and_other_threads(r#loop: *mut oneloop_t) -> c_int;
    fn test_dbus_the_daemon_dies(r#loop: *mut oneloop_t) -> c_int;
    fn test_dbus_beside(r#loop: *mut oneloop_t) -> c_int;
    fn dbus_beside_waits(r#loop: *mut oneloop_t);
}

/// Runs a test on each host, each with a new daemon.
fn with_daemon(test: unsafe extern "C" fn(*mut oneloop_t) -> c_int) {
    on_each_host(|run| {
        let (server, address) = dbus();
        let address = CString::new(address).unwrap();
        // SAFETY: the address lives until the test is over.
        unsafe { dbus_test_daemon(address.as_ptr(), server.pid() as c_int) };
        run(test);
    });
}

#[test]
fn calls_both_ways_and_large_messages() {
    with_daemon(test_dbus_calls_both_ways);
}

#[test]
fn timeouts_and_messages_from_other_threads() {
    with_daemon(test_dbus_timeouts_and_other_threads);
}

#[test]
fn the_daemon_dies() {
    with_daemon(test_dbus_the_daemon_dies);
}

/// libdbus says itself that there is something to do.
#[test]
fn the_hosts_own_code_waits_for_an_answer() {
    beside_each_host(|run| {
        let (server, address) = dbus();
        let address = CString::new(address).unwrap();
        // SAFETY: the address lives until the test is over.
        unsafe { dbus_test_daemon(address.as_ptr(), server.pid() as c_int) };
        let own = OwnCode {
            uses: dbus_beside_waits,
            wakes: None,
            has_hook: false,
        };
        run(test_dbus_beside, own);
    });
}
