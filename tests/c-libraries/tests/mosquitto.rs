//! libmosquitto with a broker of its own, which is restarted midway.

use std::cell::RefCell;
use std::ffi::c_int;

use oneloop_c::oneloop_t;
use oneloop_c_libraries::{Server, free_port, in_both_orders, mosquitto, on_each_host};

unsafe extern "C" {
    fn mosquitto_test_port(port: c_int);
    fn test_mosquitto_reconnects(r#loop: *mut oneloop_t) -> c_int;
    fn late_mosquitto(loop_last: c_int) -> c_int;
}

thread_local! {
    static BROKER: RefCell<Option<(Server, u16)>> = const { RefCell::new(None) };
}

/// Called from C. The client finds no broker for a while, and then another one.
#[unsafe(no_mangle)]
extern "C" fn mosquitto_test_restart() {
    let (mut broker, port) = BROKER.take().expect("a broker");
    broker.kill();
    BROKER.set(Some((mosquitto(port), port)));
}

#[test]
fn a_client_goes_on_after_its_broker_was_restarted() {
    on_each_host(|run| {
        let port = free_port();
        BROKER.set(Some((mosquitto(port), port)));
        // SAFETY: it stores a number.
        unsafe { mosquitto_test_port(port.into()) };
        run(test_mosquitto_reconnects);
        BROKER.take();
    });
}

#[test]
fn the_loop_ends_before_the_client_or_after() {
    in_both_orders(late_mosquitto);
}
