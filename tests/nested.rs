//! A callback runs the host's loop inside, as for a modal dialogue.

use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};
use std::{
    io::Write,
    os::fd::{AsRawFd, BorrowedFd, RawFd},
};

use oneloop::{Action, ErrorKind, Interest, Mode, Reactor, Step};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// One round of a loop that sleeps in poll(2). Gives whether the reactor's descriptor was readable.
fn round(fd: RawFd, sleep: Duration) -> bool {
    let timeout = Timespec::try_from(sleep).unwrap();
    // SAFETY: it is open for as long as the reactor.
    let fd = unsafe { BorrowedFd::borrow_raw(fd) };
    let mut fds = [PollFd::from_borrowed_fd(fd, PollFlags::IN)];
    poll(&mut fds, Some(&timeout)).unwrap() > 0
}

/// The handler has not read yet, so that the descriptor stays readable. Turns inside are errors, and the loop
/// inside does not spin.
#[test]
fn a_callback_that_runs_the_hosts_loop_does_not_make_it_spin() {
    let reactor = Reactor::new().unwrap();
    let (a, mut b) = UnixStream::pair().unwrap();
    b.write_all(b"x").unwrap();
    let mut host = reactor.host("poll").unwrap();
    let fd = host.as_raw_fd();
    let weak = reactor.downgrade();
    let modal = move |_: &mut UnixStream, _| {
        let reactor = weak.upgrade().unwrap();
        let (start, time, mut rounds) = (Instant::now(), Duration::from_millis(100), 0);
        while start.elapsed() < time {
            rounds += 1;
            if round(fd, time) {
                let error = reactor.turn(Some(Duration::ZERO)).unwrap_err();
                assert_eq!(error.kind(), ErrorKind::AlreadyDriven);
            }
        }
        assert!(rounds < 500, "{rounds} rounds in {time:?}");
        Action::Remove
    };
    reactor
        .add_handler(a, Interest::READABLE, Mode::Level, modal)
        .unwrap();
    assert!(round(fd, Duration::from_secs(9)));
    assert_eq!(host.step(1).unwrap(), Step::Yield);
    assert_eq!(reactor.stats().handler_calls, 1);
}
