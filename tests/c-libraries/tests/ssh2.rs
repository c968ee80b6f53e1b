//! libssh2 on each host, with an sshd of its own.

use std::cell::Cell;
use std::ffi::{CString, c_char, c_int};

use oneloop_c::oneloop_t;
use oneloop_c_libraries::{in_both_orders, on_each_host, sshd};

unsafe extern "C" {
    fn ssh2_test_server(port: c_int, user: *const c_char, key: *const c_char, keeps_alive: c_int);
    fn test_ssh2(r#loop: *mut oneloop_t) -> c_int;
    fn late_ssh2(loop_last: c_int) -> c_int;
}

#[test]
fn a_command_with_input_and_output_and_then_keep_alive_messages() {
    let server = sshd();
    let user = CString::new(server.user.clone()).unwrap();
    let key = CString::new(server.key()).unwrap();
    // On the first host only, because they take their time.
    let keeps_alive = Cell::new(1);
    on_each_host(|run| {
        let (port, keeps_alive) = (server.port.into(), keeps_alive.take());
        // SAFETY: the strings are kept for as long as the test runs.
        unsafe { ssh2_test_server(port, user.as_ptr(), key.as_ptr(), keeps_alive) };
        run(test_ssh2);
    });
}

#[test]
fn the_loop_ends_before_the_session_or_after() {
    in_both_orders(late_ssh2);
}
