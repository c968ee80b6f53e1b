//! The example, as a process of its own.

use std::process::Command;

#[test]
fn everything_runs_on_one_thread() {
    let output = Command::new(env!("CARGO_BIN_EXE_one_thread"))
        .arg("25")
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}");
    let said = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap_or_else(|| panic!("no {name} in {text}"))
            .to_owned()
    };
    assert_eq!(said("zbus: "), "added up to 325 in 25 calls");
    assert_eq!(said("async-net: "), "echoed 125 bytes");
    assert_eq!(said("async-tungstenite: "), "answered 25 messages");
    assert_eq!(said("hyper: "), "served 25 pages");
    assert!(said("libcurl: ").starts_with("fetched 25 pages"));
    assert_eq!(said("callbacks: "), "called 25 times");
    assert!(!said("async-io: ").starts_with("ticked 0"));
    // The kernel's list has one thread: the main one.
    let threads = said("threads: ");
    assert!(!threads.contains(','), "{threads}");
    assert!(threads.ends_with(" one_thread"), "{threads}");
}

#[test]
fn help_says_how_to_use_it() {
    let output = Command::new(env!("CARGO_BIN_EXE_one_thread"))
        .arg("--help")
        .output()
        .unwrap();
    assert!(output.stdout.starts_with(b"Usage:"));
}
