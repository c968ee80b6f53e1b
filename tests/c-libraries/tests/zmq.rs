//! libzmq on each host: 1,000 messages, in order.

use std::ffi::c_int;

use oneloop_c::oneloop_t;
use oneloop_c_libraries::{OwnCode, beside_each_host, on_every_host};

unsafe extern "C" {
    fn test_zmq_one_at_a_time(r#loop: *mut oneloop_t) -> c_int;
    fn test_zmq_drained(r#loop: *mut oneloop_t) -> c_int;
    fn test_zmq_beside(r#loop: *mut oneloop_t) -> c_int;
    fn zmq_beside_uses(r#loop: *mut oneloop_t);
    fn zmq_beside_wakes(r#loop: *mut oneloop_t);
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
