//! libpq with a PostgreSQL of its own.

use std::cell::RefCell;
use std::ffi::{CString, c_char, c_int};
use std::net::TcpListener;

use oneloop_c::oneloop_t;
use oneloop_c_libraries::{Database, OwnCode, Server, beside_each_host, free_port, on_each_host};

type Test = unsafe extern "C" fn(*mut oneloop_t) -> c_int;

unsafe extern "C" {
    fn pq_test_server(conninfo: *const c_char);
    fn test_pq_big_things(r#loop: *mut oneloop_t) -> c_int;
    fn test_pq_notifications_and_cancel(r#loop: *mut oneloop_t) -> c_int;
    fn test_pq_cancel(r#loop: *mut oneloop_t) -> c_int;
    fn test_pq_notifies_itself(r#loop: *mut oneloop_t) -> c_int;
    fn test_pq_left_open(r#loop: *mut oneloop_t) -> c_int;
    fn test_pq_loop_closed_inside(r#loop: *mut oneloop_t) -> c_int;
    fn test_pq_none_left(r#loop: *mut oneloop_t) -> c_int;
    fn test_pq_slow_query(r#loop: *mut oneloop_t) -> c_int;
    fn test_pq_several_hosts(r#loop: *mut oneloop_t) -> c_int;
    fn test_pq_no_server(r#loop: *mut oneloop_t) -> c_int;
    fn test_pq_the_server_dies(r#loop: *mut oneloop_t) -> c_int;
    fn test_pq_beside(r#loop: *mut oneloop_t) -> c_int;
    fn pq_beside_waits(r#loop: *mut oneloop_t);
    fn pq_beside_wakes(r#loop: *mut oneloop_t);
}

fn run(conninfo: &str, run: &dyn Fn(Test), test: Test) {
    let conninfo = CString::new(conninfo).unwrap();
    // SAFETY: it lives until the test is over.
    unsafe { pq_test_server(conninfo.as_ptr()) };
    run(test);
}

#[test]
fn big_queries_results_and_copies_notifications_and_cancel() {
    let (database, port) = (Database::new(), free_port());
    let _server = database.serve(port);
    on_each_host(|host| {
        let conninfo = database.conninfo(port);
        run(&conninfo, host, test_pq_big_things);
        run(&conninfo, host, test_pq_notifications_and_cancel);
        run(&conninfo, host, test_pq_cancel);
        run(&conninfo, host, test_pq_notifies_itself);
        run(&conninfo, host, test_pq_slow_query);
        run(&conninfo, host, test_pq_left_open);
        run(&conninfo, host, test_pq_loop_closed_inside);
        run(&conninfo, host, test_pq_none_left);
        let refused = free_port();
        let several =
            format!("host=127.0.0.1,127.0.0.1 port={refused},{port} user=test dbname=postgres");
        run(&several, host, test_pq_several_hosts);
    });
}

#[test]
fn nobody_listens_and_nobody_answers() {
    on_each_host(|host| {
        let silent = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = silent.local_addr().unwrap().port();
        run(
            &format!("host=127.0.0.1 port={port}"),
            host,
            test_pq_no_server,
        );
    });
}

thread_local! {
    static DOOMED: RefCell<Option<Server>> = const { RefCell::new(None) };
}

/// Called from C when the query is on its way.
#[unsafe(no_mangle)]
extern "C" fn pq_test_kill_server() {
    DOOMED.take().expect("a server").kill();
}

#[test]
fn the_server_dies_and_another_takes_its_place() {
    let (database, port) = (Database::new(), free_port());
    on_each_host(|host| {
        DOOMED.set(Some(database.serve_after_a_crash(port)));
        let conninfo = database.conninfo(port);
        run(&conninfo, host, test_pq_the_server_dies);
        let _server = database.serve_after_a_crash(port);
        run(&conninfo, host, test_pq_several_hosts);
    });
}

#[test]
fn the_hosts_own_code_waits_for_an_answer() {
    let (database, port) = (Database::new(), free_port());
    let _server = database.serve(port);
    let conninfo = database.conninfo(port);
    let own = OwnCode {
        uses: pq_beside_waits,
        wakes: Some(pq_beside_wakes),
        has_hook: true,
    };
    beside_each_host(|host| run(&conninfo, &|test| host(test, own), test_pq_beside));
}
