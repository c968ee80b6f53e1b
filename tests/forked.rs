//! Child processes that share the parent's descriptors without an exec.
#![cfg(target_os = "linux")]

use std::io::{Read, Write};
use std::os::fd::{AsFd, IntoRawFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use oneloop::{Interest, Mode, Reactor};
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// A child that does `work` when told, and then lives until its parent lets go of the socket.
struct Child {
    pid: i32,
    socket: UnixStream,
}

impl Child {
    fn new(work: impl FnOnce()) -> Child {
        let (parent, mut child) = UnixStream::pair().unwrap();
        // SAFETY: the child does `work`, which the tests keep to calls that take no lock another
        // thread could hold, reads and writes a socket, and leaves by _exit.
        match unsafe { libc::fork() } {
            0 => {
                drop(parent);
                let _ = child.read(&mut [0]);
                work();
                let _ = child.write(b"done");
                let _ = child.read(&mut [0]);
                // SAFETY: ends the child without running anything of the parent's.
                unsafe { libc::_exit(0) }
            }
            pid => {
                assert!(pid > 0, "fork");
                Child {
                    pid,
                    socket: parent,
                }
            }
        }
    }

    fn work(&mut self) {
        self.socket.write_all(b"!").unwrap();
        self.socket.read_exact(&mut [0; 4]).unwrap();
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        let _ = self.socket.shutdown(std::net::Shutdown::Both);
        // SAFETY: waits for the child made above, which ends now.
        unsafe { libc::waitpid(self.pid, std::ptr::null_mut(), 0) };
    }
}

fn is_readable(fd: impl AsFd, within: Duration) -> bool {
    let mut fds = [PollFd::new(&fd, PollFlags::IN)];
    let timeout = Timespec::try_from(within).unwrap();
    poll(&mut fds, Some(&timeout)).unwrap() > 0
}

/// A library closes a descriptor without unregistering it, while a child has it, and the kernel's
/// set, too. The host watches by epoll, level-triggered.
#[test]
fn a_host_that_renews_sleeps_again() {
    let reactor = Reactor::new().unwrap();
    let (a, mut b) = UnixStream::pair().unwrap();
    b.write_all(b"x").unwrap();
    let fd = a.into_raw_fd();
    // SAFETY: the descriptor is open; that it is closed before the handler is removed is the test.
    let id = unsafe { reactor.add_raw_handler(fd, Interest::READABLE, Mode::Level, |_| {}) };
    let mut host = reactor.host("an epoll loop").unwrap();
    let outer = epoll::create(CreateFlags::CLOEXEC).unwrap();
    let data = EventData::new_u64(0);
    epoll::add(&outer, &host, data, EventFlags::IN).unwrap();
    let _child = Child::new(|| {});
    // SAFETY: closes what was opened above and has no other owner.
    unsafe { libc::close(fd) };
    reactor.remove_handler(id.unwrap()).unwrap();

    let (mut renewed, mut spins) = (0, 0);
    for _ in 0..200 {
        let turn = host.turn(100).unwrap();
        if turn.haunted {
            renewed += 1;
            epoll::delete(&outer, &host).unwrap();
            host.renew().unwrap();
            epoll::add(&outer, &host, data, EventFlags::IN).unwrap();
        }
        if turn.idle && is_readable(&outer, Duration::ZERO) {
            spins += 1;
        }
    }
    assert_eq!((renewed, spins), (1, 0));
    reactor.remote().wake();
    assert!(is_readable(&outer, Duration::from_secs(20)));
}

/// What a child does with its copy of the reactor does not reach the parent's timers and wakes.
#[test]
fn a_child_touches_neither_alarm_nor_wake() {
    let reactor = Reactor::new().unwrap();
    reactor
        .call_later(Duration::from_secs(3600), || {})
        .unwrap();
    let copy = reactor.clone();
    let mut child = Child::new(move || {
        let _ = copy.as_fd();
        copy.remote().wake();
        copy.stop();
        assert!(copy.call_soon(|| {}).is_err());
        std::mem::forget(copy);
    });
    while !reactor.turn(Some(Duration::ZERO)).unwrap().idle {}
    reactor
        .call_later(Duration::from_millis(200), || {})
        .unwrap();
    let fd = reactor.as_fd();
    child.work();
    assert!(!is_readable(fd, Duration::ZERO), "the child has woken us");
    assert!(
        is_readable(fd, Duration::from_secs(20)),
        "the child has put the alarm off"
    );
}
