//! libverto: what it promises, on each host, on loops of its own, and, to show that it is libverto
//! that promises it, on libverto's own modules.

use std::ffi::{CString, c_char, c_int};
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use oneloop_c::oneloop_t;
use oneloop_c_libraries::on_each_host;
use oneloop_c_libraries::verto::Modules;

unsafe extern "C" {
    fn verto_test_select(name: *const c_char) -> c_int;
    fn verto_test_start(r#loop: *mut oneloop_t) -> c_int;
    fn verto_test_end() -> c_int;
    fn verto_test_own_loops() -> c_int;
}

const PROGRAM: &str = env!("VERTO_PROGRAM");

/// One for all tests that run now: a static would never be dropped, and leave its folder behind.
fn modules() -> Arc<Modules> {
    static SHARED: Mutex<Weak<Modules>> = Mutex::new(Weak::new());
    let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
    shared.upgrade().unwrap_or_else(|| {
        let modules = Arc::new(Modules::build());
        *shared = Arc::downgrade(&modules);
        modules
    })
}

fn succeeds(command: &mut Command) {
    let status = command.status().unwrap();
    assert!(status.success(), "{command:?}: {status}");
}

/// By `verto_run`, and by `verto_run_once` again and again.
fn on_module(module: &str, test: &str) {
    for drive in ["run", "once"] {
        println!("on {module}, {drive}");
        succeeds(Command::new(PROGRAM).args([module, drive, test]));
    }
}

fn on_hosts(test: &str) {
    let test = CString::new(test).unwrap();
    on_each_host(|run| {
        // SAFETY: the calls are in the order that the C side expects, on one thread.
        assert_eq!(unsafe { verto_test_select(test.as_ptr()) }, 0, "{test:?}");
        run(verto_test_start);
        // SAFETY: as above.
        assert_eq!(unsafe { verto_test_end() }, 0);
    });
}

/// Tests that run everywhere, each with those of libverto's modules that do the same.
macro_rules! everywhere {
    ($($test:ident: $others:expr,)*) => {
        $(#[test]
        fn $test() {
            let ours = modules();
            on_hosts(stringify!($test));
            on_module(ours.oneloop(), stringify!($test));
            let others: &[&str] = &$others;
            for module in others {
                on_module(module, stringify!($test));
            }
        })*

        const EVERYWHERE: &[&str] = &[$(stringify!($test)),*];
    };
}

const LIBEV: &str = "libev";
const GLIB: &str = "glib";

everywhere! {
    reads: [LIBEV, GLIB],
    reads_once: [LIBEV, GLIB],
    writes: [LIBEV, GLIB],
    reads_and_writes_in_one_call: [LIBEV, GLIB],
    two_events_on_one_descriptor: [LIBEV, GLIB],
    two_readers_of_one_descriptor: [LIBEV, GLIB],
    flags_toggled_in_callbacks: [LIBEV, GLIB],
    made_anew_in_each_callback: [LIBEV, GLIB],
    another_file_under_the_number: [LIBEV, GLIB],
    descriptors_are_closed_with_their_events: [LIBEV, GLIB],
    // With glib a hang-up is an error, whatever is left to read.
    bytes_before_a_hangup_are_read: [LIBEV],
    // With libev it is only found out by writing.
    nobody_is_left_to_write_to: [GLIB],
    // libev aborts, glib takes it.
    a_bad_descriptor_is_refused: [],
    a_reader_deletes_another: [LIBEV, GLIB],
    a_timeout_deletes_another: [LIBEV, GLIB],
    an_idle_event_deletes_another: [LIBEV, GLIB],
    // libev's module knows no priorities, here and below.
    one_of_high_priority_deletes_another: [GLIB],
    // libev counts from when its loop last looked at the clock.
    timeouts_fire_in_order_and_not_early: [GLIB],
    a_timeout_persists: [GLIB],
    a_timeout_of_zero_fires_once: [LIBEV, GLIB],
    // With libev it fires once.
    a_timeout_of_zero_persists: [GLIB],
    // glib's have 32 bits.
    timeouts_as_long_as_can_be: [LIBEV],
    idle_events_wait_for_all_else: [LIBEV, GLIB],
    an_idle_event_fires_once: [LIBEV, GLIB],
    idle_events_that_add_others: [LIBEV, GLIB],
    // glib's module has no signals.
    signals: [LIBEV],
    a_signal_once: [LIBEV],
    ignored_signals: [LIBEV],
    // libev aborts.
    signals_that_cannot_be_caught: [],
    children: [LIBEV, GLIB],
    // With glib the second is told nothing of use.
    two_events_for_one_child: [LIBEV],
    // libev reaps them all, and glib tells that they exited well.
    children_of_others: [],
    priorities_of_descriptors: [GLIB],
    priorities_of_timeouts: [GLIB],
    priorities_of_all_kinds: [GLIB],
    priorities_of_idle_events: [GLIB],
    priorities_are_changed: [GLIB],
    what_was_read_is_not_reported_to_lower_ones: [GLIB],
    // With glib it is an error.
    a_hangup_of_low_priority: [],
    reinitialized_in_a_child: [LIBEV, GLIB],
    reinitialized_without_a_fork: [LIBEV, GLIB],
    an_event_that_cannot_be_made_anew: [],
}

/// The tests that need a loop without a host.
const ALONE: [&str; 2] = ["a_callback_forks", "forked_and_not_reinitialized"];

#[test]
fn a_program_forks_as_it_likes() {
    let ours = modules();
    for test in ALONE {
        on_module(ours.oneloop(), test);
    }
}

#[test]
fn run_and_break() {
    let ours = modules();
    on_module(ours.oneloop(), "broken_and_run_again");
    on_module(LIBEV, "broken_and_run_again");
    on_module(GLIB, "broken_and_run_again");
    // With libev that is nothing.
    on_module(ours.oneloop(), "broken_before_it_runs");
    on_module(GLIB, "broken_before_it_runs");
    // With glib it waits for ever.
    on_module(ours.oneloop(), "run_with_nothing_left");
    on_module(LIBEV, "run_with_nothing_left");
    // With glib, once may be for nothing.
    on_module(
        ours.oneloop(),
        "run_once_is_one_call_for_each_that_is_ready",
    );
    on_module(LIBEV, "run_once_is_one_call_for_each_that_is_ready");
    on_module(ours.oneloop(), "run_inside_a_callback");
}

#[test]
fn own_loops_of_a_program_with_the_module_in_it() {
    // SAFETY: a test in C, on a thread of its own.
    assert_eq!(unsafe { verto_test_own_loops() }, 0);
}

#[test]
fn the_default() {
    let ours = modules();
    on_module(ours.oneloop(), "the_default_one");
    on_module(LIBEV, "the_default_one");
}

#[test]
fn a_signal_after_the_module_was_closed() {
    let ours = modules();
    on_module(ours.oneloop(), "a_signal_after_the_end");
}

#[test]
fn found_by_its_name_and_by_what_the_program_is_linked_with() {
    let modules = Modules::build();
    let program = |module: &str, test: &str| {
        let mut command = Command::new(PROGRAM);
        command.env("LD_LIBRARY_PATH", modules.folder());
        command.args([module, "run", test]);
        command
    };
    succeeds(&mut program("oneloop", "found_by_name"));
    modules.add("libverto-libev.so.1");
    modules.add("libverto-glib.so.1");
    let mut linked = program("any", "found_as_it_is_linked");
    succeeds(linked.env("LD_PRELOAD", "liboneloop.so.0"));
}

#[test]
fn valgrind_finds_nothing() {
    let ours = modules();
    for drive in ["run", "once"] {
        let mut valgrind = Command::new("valgrind");
        valgrind.args(["-q", "--error-exitcode=9", "--leak-check=full"]);
        valgrind.args([
            "--show-leak-kinds=definite",
            "--errors-for-leak-kinds=definite",
        ]);
        valgrind.args([PROGRAM, ours.oneloop(), drive]);
        valgrind.args(EVERYWHERE).args(ALONE);
        let output = valgrind.output().expect("tests/all.sh installs valgrind");
        let said = String::from_utf8_lossy(&output.stderr);
        // It warns of system calls that it does not know.
        let said: Vec<_> = said
            .lines()
            .filter(|line| !line.starts_with("--"))
            .collect();
        assert!(output.status.success(), "{}", said.join("\n"));
    }
}
