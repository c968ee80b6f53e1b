//! Keys of the console and child processes on Windows. `tests/signal.rs` has those of Unix.
#![cfg(windows)]

use std::io;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc::channel;

use libc::{SIGINT, SIGTERM};
use oneloop::{Action, ErrorKind, Reactor};
use windows_sys::Win32::System::Console::{CTRL_C_EVENT, GenerateConsoleCtrlEvent};

const SIGBREAK: i32 = 21;

/// Acts as if Ctrl-C had been pressed. Wine does not know how to press Ctrl-Break.
fn press() {
    // SAFETY: the call takes numbers only, and a handler is installed.
    let pressed = unsafe { GenerateConsoleCtrlEvent(CTRL_C_EVENT, 0) };
    assert_ne!(pressed, 0, "{}", io::Error::last_os_error());
}

#[test]
#[ignore = "needs a console"]
fn ctrl_c_wakes_loops_that_sleep() {
    let reactor = Reactor::new().unwrap();
    // Another one hears of the key, too.
    let other = Reactor::new().unwrap();
    other.add_signal(SIGINT, |_| Action::Remove).unwrap();
    let other_key = reactor.add_signal(SIGBREAK, |_| unreachable!()).unwrap();
    reactor.set_referenced(other_key, false).unwrap();
    let (sender, told) = channel();
    let mut presses = 0;
    let add = reactor.add_signal(SIGINT, move |signal| {
        sender.send(signal).unwrap();
        presses += 1;
        if presses == 3 {
            return Action::Remove;
        }
        press();
        Action::Continue
    });
    add.unwrap();
    press();
    reactor.run().unwrap();
    other.run().unwrap();
    assert_eq!(told.iter().collect::<Vec<_>>(), [SIGINT; 3]);
}

#[test]
fn other_signals_are_refused() {
    let reactor = Reactor::new().unwrap();
    for signal in [SIGTERM, 0, -1, 1000] {
        let refused = reactor.add_signal(signal, |_| {}).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Unsupported);
    }
}

fn shell(script: &str) -> Command {
    let mut shell = Command::new("cmd");
    shell.args(["/c", script]).stdout(Stdio::null());
    shell
}

#[test]
fn children_that_end_are_told_with_their_codes() {
    let reactor = Reactor::new().unwrap();
    let (sender, ended) = channel();
    for code in 0..6 {
        let child = shell(&format!("exit {code}")).spawn().unwrap();
        let sender = sender.clone();
        let callback = move |status: io::Result<ExitStatus>| {
            sender.send(status.unwrap().code().unwrap()).unwrap();
        };
        if code % 2 == 0 {
            reactor.add_child(child, callback).unwrap();
        } else {
            // By the number, and the handle is closed.
            reactor.add_child(child.id(), callback).unwrap();
        }
    }
    reactor.run().unwrap();
    let mut codes: Vec<_> = ended.try_iter().collect();
    codes.sort();
    assert_eq!(codes, [0, 1, 2, 3, 4, 5]);
}

/// Returns a child that waits for the end of its input.
fn waiting() -> Command {
    let mut waiting = shell("set /p line=");
    waiting.stdin(Stdio::piped());
    waiting
}

#[test]
fn the_input_of_a_child_is_closed() {
    let reactor = Reactor::new().unwrap();
    let child = waiting().spawn().unwrap();
    reactor.add_child(child, |status| status.map(drop)).unwrap();
    reactor.run().unwrap();
}

#[test]
fn a_child_that_is_removed_is_not_told() {
    let reactor = Reactor::new().unwrap();
    let mut child = waiting().spawn().unwrap();
    let told = |_| unreachable!();
    let id = reactor.add_child(child.id(), told).unwrap();
    reactor.remove_handler(id).unwrap();
    child.wait().unwrap();
    reactor.run().unwrap();
}

#[test]
fn a_process_that_is_not_there_is_refused() {
    let reactor = Reactor::new().unwrap();
    let refused = reactor.add_child(0u32, |_| {}).unwrap_err();
    assert_eq!(refused.error().kind(), ErrorKind::Os);
}
