use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use async_io::Async;

use crate::timed;

pub fn run(others: Vec<UnixStream>, one: UnixStream) -> io::Result<Duration> {
    let others = others.into_iter().map(Async::new_nonblocking);
    let _others = others.collect::<io::Result<Vec<_>>>()?;
    let once = || {
        // SAFETY: it is open for as long as this runs.
        let fd = unsafe { BorrowedFd::borrow_raw(one.as_raw_fd()) };
        Async::new_nonblocking(fd).map(drop)
    };
    // The thread that waits, for as long as it does not.
    async_io::block_on(async { timed(once) })
}
