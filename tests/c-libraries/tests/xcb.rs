//! xcb with an Xvfb of its own for each host.

use std::ffi::{CString, c_char, c_int};
use std::io::{BufRead, BufReader};
use std::process::Stdio;

use oneloop_c::oneloop_t;
use oneloop_c_libraries::{Server, on_each_host};

type Test = unsafe extern "C" fn(*mut oneloop_t) -> c_int;

unsafe extern "C" {
    fn xcb_test_server(display: *const c_char, pid: c_int);
    fn test_xcb_events_read_on_the_way(r#loop: *mut oneloop_t) -> c_int;
    fn test_xcb_without_the_hook(r#loop: *mut oneloop_t) -> c_int;
    fn test_xcb_flushes(r#loop: *mut oneloop_t) -> c_int;
    fn test_xcb_the_server_dies(r#loop: *mut oneloop_t) -> c_int;
}

fn with_server(tests: &[Test]) {
    on_each_host(|run| {
        let mut server = Server::start("Xvfb", |command, _| {
            // It looks for a number that is free, and says which when it listens.
            command.args(["-displayfd", "1", "-nolisten", "tcp", "-terminate"]);
            command.stdout(Stdio::piped()).stderr(Stdio::null());
        });
        let mut number = String::new();
        let mut printed = BufReader::new(server.stdout());
        printed.read_line(&mut number).unwrap();
        for &test in tests {
            let display = CString::new(format!(":{}", number.trim())).unwrap();
            // SAFETY: the name lives until the test is over.
            unsafe { xcb_test_server(display.as_ptr(), server.pid() as c_int) };
            run(test);
        }
    });
}

#[test]
fn events_that_are_read_on_the_way_to_an_answer() {
    with_server(&[test_xcb_events_read_on_the_way]);
}

#[test]
fn without_the_hook_they_are_not_seen() {
    with_server(&[test_xcb_without_the_hook]);
}

#[test]
fn what_is_asked_is_sent_before_the_loop_sleeps() {
    with_server(&[test_xcb_flushes]);
}

#[test]
fn the_server_dies() {
    with_server(&[test_xcb_the_server_dies]);
}
