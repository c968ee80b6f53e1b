//! libcurl with a server on the same loop and thread, on each host.

use std::ffi::{CString, c_char, c_int};

use oneloop_c::{as_ptr, oneloop_t};
use oneloop_c_libraries::http::Http;
use oneloop_c_libraries::http::Version::{self, Http1, Tls};
use oneloop_c_libraries::{HOSTS, assert_over, on_a_loop};

type Test = unsafe extern "C" fn(*mut oneloop_t) -> c_int;

unsafe extern "C" {
    fn curl_test_server(root: *const c_char);
    fn test_curl_downloads(r#loop: *mut oneloop_t) -> c_int;
    fn test_curl_one_after_another(r#loop: *mut oneloop_t) -> c_int;
    fn test_curl_failures(r#loop: *mut oneloop_t) -> c_int;
    fn test_curl_upload_with_pauses(r#loop: *mut oneloop_t) -> c_int;
    fn test_curl_connect_only(r#loop: *mut oneloop_t) -> c_int;
    fn test_curl_ended_inside(r#loop: *mut oneloop_t) -> c_int;
}

/// Runs it on each host. Gives how many connections and requests the server saw there.
fn with_server(version: Version, test: Test) -> [(usize, usize); 3] {
    HOSTS.map(|(name, drive)| {
        println!("on {name}");
        let mut seen = None;
        on_a_loop(drive, |reactor| {
            let http = Http::serve(reactor);
            let root = CString::new(http.root(version)).unwrap();
            // SAFETY: it makes a copy; and the test is made for this, and the loop is alive.
            let failed = unsafe {
                curl_test_server(root.as_ptr());
                test(as_ptr(reactor))
            };
            assert_eq!(failed, 0, "at the start, on {name}");
            seen = Some(http);
        });
        assert_over(name);
        let seen = seen.unwrap();
        (seen.connections(), seen.requests())
    })
}

#[test]
fn two_hundred_downloads_over_http_1() {
    let seen = with_server(Http1, test_curl_downloads);
    assert_eq!(seen.map(|(_, requests)| requests), [200; 3]);
}

#[test]
fn two_hundred_downloads_over_http_2() {
    let seen = with_server(Tls, test_curl_downloads);
    assert_eq!(seen.map(|(_, requests)| requests), [200; 3]);
}

#[test]
fn sequential_transfers_use_one_connection() {
    for version in [Http1, Tls] {
        let seen = with_server(version, test_curl_one_after_another);
        assert_eq!(seen, [(1, 41); 3]);
    }
}

#[test]
fn failures_are_reported_and_disturb_no_other_transfer() {
    with_server(Http1, test_curl_failures);
}

#[test]
fn an_upload_is_paused_and_goes_on() {
    for version in [Http1, Tls] {
        with_server(version, test_curl_upload_with_pauses);
    }
}

#[test]
fn ended_inside_a_callback_with_transfers_under_way() {
    with_server(Http1, test_curl_ended_inside);
}

#[test]
fn a_connection_without_a_transfer_stays_open_beyond_its_end() {
    with_server(Http1, test_curl_connect_only);
}
