//! libzmq on each host: 1,000 messages, in order. And an error that no callback has a place for.

use std::ffi::c_int;
use std::sync::mpsc::channel;
use std::time::Duration;

use oneloop::Reactor;
use oneloop_c::{as_ptr, oneloop_t};
use oneloop_c_libraries::{OwnCode, beside_each_host, on_every_host};

unsafe extern "C" {
    fn test_zmq_one_at_a_time(r#loop: *mut oneloop_t) -> c_int;
    fn test_zmq_drained(r#loop: *mut oneloop_t) -> c_int;
    fn test_zmq_beside(r#loop: *mut oneloop_t) -> c_int;
    fn zmq_beside_uses(r#loop: *mut oneloop_t);
    fn zmq_beside_wakes(r#loop: *mut oneloop_t);
    fn test_zmq_terminated(r#loop: *mut oneloop_t) -> c_int;
    fn zmq_terminated_end();
}

#[test]
fn a_call_reads_one_message() {
    on_every_host(test_zmq_one_at_a_time);
}

#[test]
fn a_call_reads_all_the_messages_that_wait() {
    on_every_host(test_zmq_drained);
}

#[test]
fn the_hosts_own_code_asks_and_sends() {
    let own = OwnCode {
        uses: zmq_beside_uses,
        wakes: Some(zmq_beside_wakes),
        has_hook: true,
    };
    beside_each_host(|run| run(test_zmq_beside, own));
}

#[test]
fn a_socket_of_no_more_use_is_reported_once() {
    let (sender, reported) = channel();
    let builder = Reactor::builder().on_error(move |failed| {
        sender.send(failed.to_string()).unwrap();
    });
    let reactor = builder.build().unwrap();
    // SAFETY: the loop is alive.
    assert_eq!(unsafe { test_zmq_terminated(as_ptr(&reactor)) }, 0);
    let text = loop {
        reactor.turn(Some(Duration::from_secs(10))).unwrap();
        if let Ok(text) = reported.try_recv() {
            break text;
        }
    };
    assert!(text.contains("libzmq: Context was terminated"), "{text}");
    for _ in 0..10 {
        reactor.turn(Some(Duration::ZERO)).unwrap();
    }
    assert!(reported.try_recv().is_err());
    // SAFETY: it frees what the test has made.
    unsafe { zmq_terminated_end() };
}
