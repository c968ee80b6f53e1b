//! MariaDB Connector/C on each host, with a server of its own.

use std::ffi::{CString, c_char, c_int};
use std::os::unix::ffi::OsStrExt;

use oneloop_c::oneloop_t;
use oneloop_c_libraries::{in_both_orders, mariadb, on_every_host};

unsafe extern "C" {
    fn mariadb_test_socket(path: *const c_char);
    fn test_mariadb(r#loop: *mut oneloop_t) -> c_int;
    fn late_mariadb(loop_last: c_int) -> c_int;
}

#[test]
fn queries_results_errors_timeouts_and_a_connection_made_again() {
    let (_server, socket) = mariadb();
    let path = CString::new(socket.as_os_str().as_bytes()).unwrap();
    // SAFETY: the path is kept for as long as the test runs.
    unsafe { mariadb_test_socket(path.as_ptr()) };
    on_every_host(test_mariadb);
}

#[test]
fn the_loop_ends_before_the_connection_or_after() {
    in_both_orders(late_mariadb);
}
