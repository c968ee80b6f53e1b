//! The soak finds what it is there to find, and nothing else.

use std::process::{Command, Output};

fn soak(options: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_oneloop-soak"));
    command.args(["--idle", "1", "--connections", "20"]);
    command.args(options);
    command.output().expect("the soak")
}

/// A mistake that is made once is found, by this.
#[track_caller]
fn finds(harm: &str, fault: &str) {
    let output = soak(&["--seconds", "2", "--patience", "2", "--sabotage", harm]);
    let report = String::from_utf8_lossy(&output.stdout);
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{report}{error}");
    let faults = report.split(" faults\n").last().unwrap_or("");
    assert!(
        format!("{faults}{error}").contains(fault),
        "{report}{error}"
    );
}

macro_rules! sabotage {
    ($($name:ident $harm:literal $fault:literal,)*) => {
        $(#[test]
        fn $name() {
            finds($harm, $fault);
        })*
    };
}

sabotage! {
    a_lost_message "message" "connection",
    a_message_that_comes_twice "order" "connection",
    a_lost_timer "timer" "timer",
    a_timer_that_is_early "early" "a timer fired early by",
    a_lost_post "post" "the post",
    a_lost_item_of_a_virtual_source "item" "the item",
    a_child_with_another_status "child" "a child ended with",
    a_lost_signal "signal" "a signal was not seen",
    a_descriptor_left_open "descriptor" "descriptors and",
    a_registration_left_with_the_kernel "registration" "registrations, where there were",
    memory_that_is_not_given_back "memory" "memory has grown",
    a_wake_up_of_the_idle_loop "wake" "of idleness",
}

#[test]
fn all_is_well_on_every_host() {
    let output = soak(&["--seconds", "6", "--host", "moving"]);
    let report = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{report}");
    assert!(report.contains("\n0 faults"), "{report}");
}
