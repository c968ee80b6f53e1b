//! All that libpq has is delivered, whichever function sent the query.

use std::ffi::{CString, c_char, c_int};
use std::net::TcpListener;

use oneloop_c::oneloop_t;
use oneloop_c_libraries::{
    Database, OwnCode, beside_each_host, free_port, on_each_host, tls_front,
};

type Test = unsafe extern "C" fn(*mut oneloop_t) -> c_int;

unsafe extern "C" {
    fn pq_queries_server(conninfo: *const c_char);
    fn test_pq_every_send(r#loop: *mut oneloop_t) -> c_int;
    fn test_pq_pipeline(r#loop: *mut oneloop_t) -> c_int;
    fn test_pq_long_pipeline(r#loop: *mut oneloop_t) -> c_int;
    fn test_pq_row_by_row(r#loop: *mut oneloop_t) -> c_int;
    fn test_pq_copy_both(r#loop: *mut oneloop_t) -> c_int;
    fn test_pq_listen_amid_work(r#loop: *mut oneloop_t) -> c_int;
    fn test_pq_tls(r#loop: *mut oneloop_t) -> c_int;
    fn test_pq_reset(r#loop: *mut oneloop_t) -> c_int;
    fn test_pq_reset_in_vain(r#loop: *mut oneloop_t) -> c_int;
    fn test_pq_asks_to_cancel(r#loop: *mut oneloop_t) -> c_int;
    fn test_pq_closed_in_a_result(r#loop: *mut oneloop_t) -> c_int;
    fn test_pq_closed_in_a_row(r#loop: *mut oneloop_t) -> c_int;
    fn test_pq_closed_in_a_notification(r#loop: *mut oneloop_t) -> c_int;
    fn test_pq_sent_beside(r#loop: *mut oneloop_t) -> c_int;
    fn pq_queries_send_beside(r#loop: *mut oneloop_t);
    fn pq_queries_wake(r#loop: *mut oneloop_t);
}

fn run(conninfo: &str, run: &dyn Fn(Test), test: Test) {
    let conninfo = CString::new(conninfo).unwrap();
    // SAFETY: it lives until the test is over.
    unsafe { pq_queries_server(conninfo.as_ptr()) };
    run(test);
}

/// Runs tests on each host, beside one server.
fn with_a_server(tests: &[Test]) {
    let (database, port) = (Database::new(), free_port());
    let _server = database.serve(port);
    database.wait(port);
    on_each_host(|host| {
        for test in tests {
            run(&database.conninfo(port), host, *test);
        }
    });
}

#[test]
fn functions_that_send_pipelines_and_notifications() {
    with_a_server(&[
        test_pq_every_send,
        test_pq_pipeline,
        test_pq_listen_amid_work,
    ]);
}

#[test]
fn much_work_is_spread_over_the_turns() {
    with_a_server(&[test_pq_long_pipeline, test_pq_row_by_row, test_pq_copy_both]);
}

#[test]
fn a_query_is_cancelled_and_a_connection_reset_or_closed_inside_a_callback() {
    with_a_server(&[
        test_pq_asks_to_cancel,
        test_pq_reset,
        test_pq_closed_in_a_result,
        test_pq_closed_in_a_row,
        test_pq_closed_in_a_notification,
    ]);
}

#[test]
fn a_reset_is_not_answered() {
    on_each_host(|host| {
        let silent = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = silent.local_addr().unwrap().port();
        run(
            &Database::conninfo_by_tcp(port),
            host,
            test_pq_reset_in_vain,
        );
    });
}

/// libpq reads a part of a large record, and the descriptor does not show the rest.
#[test]
fn answers_arrive_over_tls_whatever_the_size_of_its_records() {
    let (database, port) = (Database::new(), free_port());
    let _server = database.serve(port);
    database.wait(port);
    for record in [1000, 16_384] {
        let front = tls_front(port, record);
        let conninfo = format!("{} sslmode=require", Database::conninfo_by_tcp(front));
        on_each_host(|host| run(&conninfo, host, test_pq_tls));
    }
}

#[test]
fn the_hosts_own_code_sends() {
    let (database, port) = (Database::new(), free_port());
    let _server = database.serve(port);
    database.wait(port);
    let own = OwnCode {
        uses: pq_queries_send_beside,
        wakes: Some(pq_queries_wake),
        has_hook: true,
    };
    let conninfo = database.conninfo(port);
    beside_each_host(|host| run(&conninfo, &|test| host(test, own), test_pq_sent_beside));
}
