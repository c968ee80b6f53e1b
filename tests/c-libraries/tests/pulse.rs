//! PulseAudio's table on each host: with a pulseaudio of its own, and without.

use std::ffi::{CString, c_char, c_int};

use oneloop_c::oneloop_t;
use oneloop_c_libraries::{on_each_host, on_every_host, pulseaudio};

type Test = unsafe extern "C" fn(*mut oneloop_t) -> c_int;

unsafe extern "C" {
    fn pulse_test_server(server: *const c_char, pid: c_int);
    fn test_pulse_playback(r#loop: *mut oneloop_t) -> c_int;
    fn test_pulse_the_server_dies(r#loop: *mut oneloop_t) -> c_int;
    fn test_pulse_contract(r#loop: *mut oneloop_t) -> c_int;
}

fn with_server(test: Test) {
    on_each_host(|run| {
        let (server, address) = pulseaudio();
        let address = CString::new(address).unwrap();
        // SAFETY: the address lives until the test is over.
        unsafe { pulse_test_server(address.as_ptr(), server.pid() as c_int) };
        run(test);
    });
}

#[test]
fn playback_to_a_null_sink() {
    with_server(test_pulse_playback);
}

#[test]
fn the_server_dies() {
    with_server(test_pulse_the_server_dies);
}

#[test]
fn the_contract_of_the_table() {
    unsafe extern "C" fn start(r#loop: *mut oneloop_t) -> c_int {
        // SAFETY: there is no server, and the loop is alive.
        unsafe {
            pulse_test_server(c"".as_ptr(), 0);
            test_pulse_contract(r#loop)
        }
    }
    on_every_host(start);
}
