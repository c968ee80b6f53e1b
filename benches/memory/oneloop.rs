use std::hint::black_box;
use std::io;
use std::os::fd::OwnedFd;
use std::time::Instant;

use oneloop::{Interest, LocalReactor, Mode, Reactor};

use crate::Number;

pub fn handlers(fds: Vec<OwnedFd>) -> io::Result<LocalReactor> {
    let reactor = Reactor::new_local()?;
    for (number, fd) in fds.into_iter().enumerate() {
        reactor.add_handler(fd, Interest::READABLE, Mode::Level, move |_, _| {
            black_box::<Number>(number);
        })?;
    }
    Ok(reactor)
}

pub fn timers(deadlines: Vec<Instant>) -> io::Result<LocalReactor> {
    let reactor = Reactor::new_local()?;
    for (number, deadline) in deadlines.into_iter().enumerate() {
        reactor.call_at(deadline, move || {
            black_box::<Number>(number);
        })?;
    }
    Ok(reactor)
}
