//! A loop that watches no descriptor and can only be woken, as that of a GUI, hosts a reactor.
//!
//! Here a channel takes the part of the GUI's queue of events, and its sender that of the proxy by which other
//! threads reach the queue.

mod help;

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use oneloop::{Action, Interest, Mode, Reactor};

enum Event {
    /// The reactor has something to do.
    Step,
    Key(char),
}

const HELP: &str = "\
Runs a reactor inside a loop that can only be woken, as that of a GUI.

Usage: cargo run --release --example host_wake

  --help   this text";

/// Shows what is typed, until that is "quit".
pub fn main() -> Result<(), Box<dyn std::error::Error>> {
    help::print_if_asked(HELP);
    let (proxy, events) = channel();
    let keyboard = proxy.clone();
    thread::spawn(move || {
        for key in "quit".chars() {
            thread::sleep(Duration::from_millis(5));
            let _ = keyboard.send(Event::Key(key));
        }
    });

    // Callbacks run on the thread of the GUI, and need not be `Send`.
    let reactor = Reactor::new_local()?;
    let (mut sender, receiver) = UnixStream::pair()?;
    let show = |stream: &mut UnixStream, _: oneloop::Event| {
        let mut bytes = [0; 100];
        match stream.read(&mut bytes) {
            Ok(0) | Err(_) => return Action::Remove,
            Ok(n) => println!("shows {:?}", String::from_utf8_lossy(&bytes[..n])),
        }
        Action::Continue
    };
    reactor.add_handler(receiver, Interest::READABLE, Mode::Level, show)?;

    let host = reactor.host("a GUI")?.exit_when_empty();
    let mut host = host.wake_by(move || drop(proxy.send(Event::Step)))?;
    let mut typed = String::new();
    let mut goes_on = host.step(100)?.is_continue();
    while goes_on {
        match events.recv()? {
            Event::Step => goes_on = host.step(100)?.is_continue(),
            Event::Key(key) => {
                typed.push(key);
                write!(sender, "{key}")?;
                if typed == "quit" {
                    // The handler ends with it, and the host as nothing is left.
                    sender.shutdown(std::net::Shutdown::Write)?;
                }
            }
        }
    }
    println!("typed {typed}");
    Ok(())
}
