//! xcb with an Xvfb of its own for each host.

use std::ffi::{CString, c_char, c_int};

use oneloop_c::oneloop_t;
use oneloop_c_libraries::{OwnCode, Step, beside_each_host, on_each_host, xvfb};

type Test = unsafe extern "C" fn(*mut oneloop_t) -> c_int;

unsafe extern "C" {
    fn xcb_test_server(display: *const c_char, pid: c_int);
    fn test_xcb_events_read_on_the_way(r#loop: *mut oneloop_t) -> c_int;
    fn test_xcb_without_the_hook(r#loop: *mut oneloop_t) -> c_int;
    fn test_xcb_flushes(r#loop: *mut oneloop_t) -> c_int;
    fn test_xcb_the_server_dies(r#loop: *mut oneloop_t) -> c_int;
    fn test_xcb_beside(r#loop: *mut oneloop_t) -> c_int;
    fn xcb_beside_requests(r#loop: *mut oneloop_t);
    fn xcb_beside_waits(r#loop: *mut oneloop_t);
    fn xcb_beside_wakes(r#loop: *mut oneloop_t);
}

fn with_server(test: Test) {
    on_each_host(|run| {
        let (server, display) = xvfb();
        let display = CString::new(display).unwrap();
        // SAFETY: the name lives until the test is over.
        unsafe { xcb_test_server(display.as_ptr(), server.pid() as c_int) };
        run(test);
    });
}

#[test]
fn events_read_while_waiting_for_a_reply_are_handled() {
    with_server(test_xcb_events_read_on_the_way);
}

#[test]
fn without_the_hook_queued_events_are_not_seen() {
    with_server(test_xcb_without_the_hook);
}

#[test]
fn requests_are_sent_before_the_loop_sleeps() {
    with_server(test_xcb_flushes);
}

#[test]
fn the_server_dies() {
    with_server(test_xcb_the_server_dies);
}

#[test]
fn the_hosts_own_code_makes_a_request_or_waits_for_an_answer() {
    beside_each_host(|run| {
        for uses in [xcb_beside_requests, xcb_beside_waits] {
            let (server, display) = xvfb();
            let display = CString::new(display).unwrap();
            // SAFETY: the name lives until the test is over.
            unsafe { xcb_test_server(display.as_ptr(), server.pid() as c_int) };
            let own = OwnCode {
                uses,
                wakes: Some(xcb_beside_wakes as Step),
                has_hook: true,
            };
            run(test_xcb_beside, own);
        }
    });
}
