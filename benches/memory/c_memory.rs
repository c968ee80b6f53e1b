//! libev, libevent and libuv, which say themselves.

use std::io;
use std::os::fd::{AsRawFd, RawFd};

use oneloop_benches::{Measured, c_memory};

use crate::{Many, PER_HANDLER, PER_TIMER, fds};

type Bytes = fn(&[RawFd], usize) -> io::Result<usize>;

pub fn libev(many: &Many, _: u64) -> io::Result<Measured> {
    measure(c_memory::libev, *many)
}

pub fn libevent(many: &Many, _: u64) -> io::Result<Measured> {
    measure(c_memory::libevent, *many)
}

pub fn libuv(many: &Many, _: u64) -> io::Result<Measured> {
    measure(c_memory::libuv, *many)
}

fn measure(bytes: Bytes, many: Many) -> io::Result<Measured> {
    let (unit, number, bytes) = match many {
        Many::Handlers(number) => {
            let fds = fds(number)?;
            let numbers: Vec<RawFd> = fds.iter().map(AsRawFd::as_raw_fd).collect();
            (PER_HANDLER, number, bytes(&numbers, 0)?)
        }
        Many::Timers(number) => (PER_TIMER, number, bytes(&[], number)?),
    };
    Ok(Measured::untimed().with(unit, bytes as f64 / number as f64))
}
