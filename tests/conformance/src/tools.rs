//! Tools of tests that know nothing of a case. The tests of the other packages have this file, too, by
//! `tests/support`, which is not published.

use std::io::{self, Write};
#[cfg(windows)]
pub use std::net::TcpStream as Socket;
#[cfg(unix)]
use std::os::fd::{AsFd, AsRawFd};
#[cfg(unix)]
pub use std::os::unix::net::UnixStream as Socket;
use std::process::exit;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::{JoinHandle, spawn};
use std::time::Duration;

/// Ends the process if nothing goes on for a minute, until it is dropped. A loop that waits for an event that was lost
/// cannot be told to return.
pub struct Watchdog {
    over: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Watchdog {
    /// Gives the test `name` a minute.
    pub fn new(name: impl Into<String>) -> Watchdog {
        Watchdog::of_progress(name, String::new)
    }

    /// Gives the test `name` a minute for each change of what `progress` returns.
    pub fn of_progress(
        name: impl Into<String>,
        progress: impl Fn() -> String + Send + 'static,
    ) -> Watchdog {
        let limit = Duration::from_secs(60);
        let (over, wait) = channel();
        let (name, mut before) = (name.into(), progress());
        let watch = move || {
            while let Err(RecvTimeoutError::Timeout) = wait.recv_timeout(limit) {
                let now = progress();
                if now == before {
                    // Not by `eprintln`, whose output is kept until the test has ended.
                    let _ = writeln!(io::stderr(), "{name}: nothing for {limit:?} {now}");
                    exit(101);
                }
                before = now;
            }
        };
        Watchdog {
            over: Some(over),
            thread: Some(spawn(watch)),
        }
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        drop(self.over.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Makes a non-blocking pair of connected sockets.
pub fn pair() -> (Socket, Socket) {
    #[cfg(unix)]
    let connected = Socket::pair();
    #[cfg(windows)]
    let connected = tcp_pair();
    let (a, b) = connected.expect("a socket pair");
    a.set_nonblocking(true).expect("non-blocking");
    b.set_nonblocking(true).expect("non-blocking");
    (a, b)
}

/// Makes a pair by loopback, since Windows has no other.
#[cfg(windows)]
fn tcp_pair() -> io::Result<(Socket, Socket)> {
    let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    let a = Socket::connect(listener.local_addr()?)?;
    loop {
        let (b, from) = listener.accept()?;
        // Another program may have connected.
        if from == a.local_addr()? {
            a.set_nodelay(true)?;
            b.set_nodelay(true)?;
            return Ok((a, b));
        }
    }
}

/// Makes a pair, in whose first socket a byte waits to be read.
pub fn readable() -> (Socket, Socket) {
    let (a, mut b) = pair();
    b.write_all(b"x").expect("room for a byte");
    (a, b)
}

/// Sleeps until the descriptor is readable: poll(2), for small hosts.
#[cfg(unix)]
pub fn wait_readable(fd: &impl AsFd) {
    let mut poll = libc::pollfd {
        fd: fd.as_fd().as_raw_fd(),
        events: libc::POLLIN,
        revents: 0,
    };
    // SAFETY: one pollfd, alive during the call.
    unsafe { libc::poll(&mut poll, 1, -1) };
}
