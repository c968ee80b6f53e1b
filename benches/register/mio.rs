use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use mio::unix::SourceFd;
use mio::{Interest, Poll, Token};

use crate::timed;

pub fn run(others: Vec<UnixStream>, one: UnixStream) -> io::Result<Duration> {
    let poll = Poll::new()?;
    let registry = poll.registry();
    for (number, socket) in (1..).zip(&others) {
        let fd = socket.as_raw_fd();
        registry.register(&mut SourceFd(&fd), Token(number), Interest::READABLE)?;
    }
    let fd = one.as_raw_fd();
    timed(|| {
        registry.register(&mut SourceFd(&fd), Token(0), Interest::READABLE)?;
        registry.deregister(&mut SourceFd(&fd))
    })
}
