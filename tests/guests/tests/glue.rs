//! The headers of the C glue for loops, as programs in C use them.

use std::ffi::c_int;

// So that the linker finds the programs.
use oneloop_conformance::Watchdog;
use oneloop_guests_tests as _;

macro_rules! programs {
    ($($test:ident: $program:ident;)*) => {$(
        #[test]
        fn $test() {
            unsafe extern "C" {
                fn $program() -> c_int;
            }
            let _watchdog = Watchdog::new(stringify!($test));
            // SAFETY: a program that takes nothing, and returns how many checks have failed.
            assert_eq!(unsafe { $program() }, 0);
        }
    )*};
}

programs! {
    libevent_drives_a_loop: guests_libevent_program;
    libev_drives_a_loop: guests_libev_program;
    sd_event_drives_a_loop: guests_sd_event_program;
    a_loop_drives_sd_event: guests_sd_event_guest_program;
}
