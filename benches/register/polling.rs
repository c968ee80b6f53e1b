//! polling, level-triggered.

use std::io;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use polling::{Event, PollMode, Poller};

use crate::timed;

pub fn run(others: Vec<UnixStream>, one: UnixStream) -> io::Result<Duration> {
    let poller = Poller::new()?;
    for socket in &others {
        // SAFETY: the poller, made after the sockets were given, goes before them.
        unsafe { poller.add_with_mode(socket, Event::readable(1), PollMode::Level)? };
    }
    timed(|| {
        // SAFETY: it is removed at once.
        unsafe { poller.add_with_mode(&one, Event::readable(1), PollMode::Level)? };
        poller.delete(&one)
    })
}
