//! ALSA on each host, without a sound card.

use std::ffi::c_int;

use oneloop_c::oneloop_t;
use oneloop_c_libraries::{in_both_orders, on_each_host};

unsafe extern "C" {
    fn test_alsa_file(r#loop: *mut oneloop_t) -> c_int;
    fn alsa_file_is_whole() -> c_int;
    fn test_alsa_device(r#loop: *mut oneloop_t) -> c_int;
    fn alsa_device_was_waited_for() -> c_int;
    fn late_alsa(loop_last: c_int) -> c_int;
}

#[test]
fn all_that_is_played_gets_into_a_file() {
    on_each_host(|run| {
        run(test_alsa_file);
        // SAFETY: it reads the file of the test before.
        assert_eq!(unsafe { alsa_file_is_whole() }, 0);
    });
}

#[test]
fn a_device_is_waited_for() {
    on_each_host(|run| {
        run(test_alsa_device);
        // SAFETY: it reads counters of the test before.
        assert_eq!(unsafe { alsa_device_was_waited_for() }, 0);
    });
}

#[test]
fn the_loop_ends_before_the_pcm_or_after() {
    in_both_orders(late_alsa);
}
