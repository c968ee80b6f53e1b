//! A set that is rebuilt while a child process has the old one: each loop has to stop watching before.
#![cfg(target_os = "linux")]

use std::cell::Cell;
use std::io::{Read, Write};
use std::os::fd::{FromRawFd, IntoRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::time::Duration;

use oneloop::{Interest, Mode, Reactor};
use oneloop_conformance::{Watchdog, readable};
use oneloop_guests_tests::OuterLoop;
use oneloop_guests_tests::calloop::Calloop;
use oneloop_guests_tests::glib::Glib;
use oneloop_guests_tests::glue::{Libev, Libevent, SdEvent};
use oneloop_guests_tests::uv::Uv;

/// A child that has all descriptors, until its parent lets go of the socket.
struct Child {
    pid: i32,
    socket: UnixStream,
}

impl Child {
    fn new() -> Child {
        let (socket, mut child) = UnixStream::pair().unwrap();
        // SAFETY: the child takes no lock: it reads a socket, and leaves by _exit.
        match unsafe { libc::fork() } {
            0 => {
                let _ = child.read(&mut [0]);
                // SAFETY: ends the child without running anything of the parent's.
                unsafe { libc::_exit(0) }
            }
            pid => {
                assert!(pid > 0, "fork");
                Child { pid, socket }
            }
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        let _ = self.socket.shutdown(std::net::Shutdown::Both);
        // SAFETY: waits for the child made above, which ends now.
        unsafe { libc::waitpid(self.pid, std::ptr::null_mut(), 0) };
    }
}

fn sleeps_again_after_a_rebuild<L: OuterLoop>() {
    let _watchdog = Watchdog::new(L::NAME);
    let (outer, reactor) = (L::new(), Reactor::new().unwrap());
    let ended = Rc::new(Cell::new(false));
    let end = ended.clone();
    let attached = outer.attach(&reactor, false, move |_| end.set(true));
    // The loop watches after some of these.
    for _ in 0..5 {
        outer.iterate(false);
    }
    let (stream, mut peer) = readable();
    let fd = stream.into_raw_fd();
    // SAFETY: the descriptor is open. That it is closed before the handler is removed is the test.
    let id = unsafe { reactor.add_raw_handler(fd, Interest::READABLE, Mode::Level, |_| {}) };
    let child = Child::new();
    // SAFETY: from above, and without another owner.
    drop(unsafe { OwnedFd::from_raw_fd(fd) });
    reactor.remove_handler(id.unwrap()).unwrap();
    // The kernel goes on reporting the file, which the child has. The set is rebuilt after some of these.
    for _ in 0..200 {
        outer.iterate(false);
    }
    // It is not the peer that tells the set to be silent.
    peer.write_all(b"x").unwrap();
    let stopper = reactor.downgrade();
    let stop = move || stopper.upgrade().unwrap().stop();
    reactor.call_later(Duration::from_millis(50), stop).unwrap();
    let mut sleeps = 0;
    while !ended.get() {
        outer.iterate(true);
        sleeps += 1;
    }
    assert!(sleeps < 40, "{sleeps} sleeps in 50 ms");
    drop(attached);
    outer.iterate(false);
    drop(child);
}

macro_rules! of_each {
    ($($name:ident $loop:ty),*) => {$(
        #[test]
        fn $name() {
            sleeps_again_after_a_rebuild::<$loop>();
        }
    )*};
}

of_each!(glib Glib, libuv Uv, calloop Calloop, libevent Libevent, libev Libev, sd_event SdEvent);
