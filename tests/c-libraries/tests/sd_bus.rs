//! sd-bus with a dbus-daemon of its own for each host.

use std::ffi::{CString, c_char, c_int};

use oneloop_c::oneloop_t;
use oneloop_c_libraries::{OwnCode, Step, beside_each_host, dbus, on_each_host};

unsafe extern "C" {
    fn sd_bus_test_daemon(address: *const c_char, pid: c_int);
    fn test_sd_bus_calls_and_signals(r#loop: *mut oneloop_t) -> c_int;
    fn test_sd_bus_read_on_the_way(r#loop: *mut oneloop_t) -> c_int;
    fn test_sd_bus_the_daemon_dies(r#loop: *mut oneloop_t) -> c_int;
    fn test_sd_bus_beside(r#loop: *mut oneloop_t) -> c_int;
    fn sd_bus_beside_waits(r#loop: *mut oneloop_t);
    fn sd_bus_beside_sends(r#loop: *mut oneloop_t);
    fn sd_bus_beside_calls(r#loop: *mut oneloop_t);
    fn sd_bus_beside_wakes(r#loop: *mut oneloop_t);
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
fn messages_read_while_waiting_for_a_reply_are_handled() {
    with_daemon(test_sd_bus_read_on_the_way);
}

#[test]
fn the_daemon_dies() {
    with_daemon(test_sd_bus_the_daemon_dies);
}

#[test]
fn the_hosts_own_code_waits_for_an_answer_sends_or_calls() {
    beside_each_host(|run| {
        for uses in [
            sd_bus_beside_waits,
            sd_bus_beside_sends,
            sd_bus_beside_calls,
        ] {
            let (server, address) = dbus();
            let address = CString::new(address).unwrap();
            // SAFETY: the address lives until the test is over.
            unsafe { sd_bus_test_daemon(address.as_ptr(), server.pid() as c_int) };
            let own = OwnCode {
                uses,
                wakes: Some(sd_bus_beside_wakes as Step),
                has_hook: true,
            };
            run(test_sd_bus_beside, own);
        }
    });
}
