//! A kernel without epoll_pwait2: Linux before 5.11, or a sandbox. A binary of its own, for which that
//! call is forbidden.

#![cfg(target_os = "linux")]

mod forbid;

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};
use std::{io, process, thread};

use oneloop::{Interest, Mode, PollerKind, Reactor};

/// A descriptor, a timer and a post by another thread, each of which is slept for.
fn all_is_heard_of(poller: PollerKind, drive: fn(&Reactor) -> io::Result<()>) {
    let reactor = Reactor::builder().poller(poller).build().unwrap();
    let (a, mut b) = UnixStream::pair().unwrap();
    let (peer, mut left, stopper) = (b.try_clone().unwrap(), 50, reactor.clone());
    let (start, wait) = (Instant::now(), Duration::from_micros(300));
    let read = move |a: &mut UnixStream, _| {
        a.read_exact(&mut [0]).unwrap();
        if left == 0 {
            assert!(start.elapsed() >= 50 * wait);
            return stopper.stop();
        }
        left -= 1;
        let (peer, remote) = (peer.try_clone().unwrap(), stopper.remote());
        let answer = move || {
            let (mut peer, remote) = (peer.try_clone().unwrap(), remote.clone());
            let post = move || peer.write_all(b"x").unwrap();
            thread::spawn(move || remote.call_soon(post).unwrap());
        };
        stopper.call_later(wait, answer).unwrap();
    };
    b.write_all(b"x").unwrap();
    reactor
        .add_handler(a, Interest::READABLE, Mode::Level, read)
        .unwrap();
    drive(&reactor).unwrap();
    reactor.close();
}

fn tokio(reactor: &Reactor) -> io::Result<()> {
    let runtime = { tokio::runtime::Builder::new_current_thread() };
    let runtime = { runtime }.enable_all().build()?;
    runtime.block_on(oneloop_tokio::drive(reactor))
}

#[test]
fn each_host_and_poller_does_without() {
    thread::spawn(|| {
        thread::sleep(Duration::from_secs(60));
        eprintln!("not done after a minute");
        process::exit(101);
    });
    forbid::system_call(libc::SYS_epoll_pwait2);
    for poller in [PollerKind::Epoll, PollerKind::Polling] {
        all_is_heard_of(poller, |reactor| Ok(reactor.run()?));
        all_is_heard_of(poller, tokio);
        all_is_heard_of(poller, |reactor| {
            async_io::block_on(oneloop_async_io::drive(reactor))
        });
    }
}
