//! A kernel without epoll_pwait2: Linux before 5.11, or a sandbox. A binary of its own, for which that
//! call is forbidden.

#![cfg(target_os = "linux")]

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};
use std::{io, process, thread};

use oneloop::{Interest, Mode, PollerKind, Reactor};

/// From now on, in this thread and those that it starts, the call is one that the kernel has not.
fn forbid_pwait2() {
    let statement = |code, jump_if_not, k| libc::sock_filter {
        code,
        jt: 0,
        jf: jump_if_not,
        k,
    };
    let (load, ret) = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, libc::BPF_RET);
    let equal = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
    let refuse = libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32;
    let mut program = [
        statement(load as u16, 0, 0), // the number of the call
        statement(equal as u16, 1, libc::SYS_epoll_pwait2 as u32),
        statement(ret as u16, 0, refuse),
        statement(ret as u16, 0, libc::SECCOMP_RET_ALLOW),
    ];
    let program = libc::sock_fprog {
        len: program.len() as u16,
        filter: program.as_mut_ptr(),
    };
    // SAFETY: two system calls; the program is there during the second.
    unsafe {
        assert_eq!(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
        let filter = libc::SECCOMP_MODE_FILTER;
        assert_eq!(libc::prctl(libc::PR_SET_SECCOMP, filter, &program), 0);
    }
}

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
    forbid_pwait2();
    for poller in [PollerKind::Epoll, PollerKind::Polling] {
        all_is_heard_of(poller, |reactor| Ok(reactor.run()?));
        all_is_heard_of(poller, tokio);
        all_is_heard_of(poller, |reactor| {
            async_io::block_on(oneloop_async_io::drive(reactor))
        });
    }
}
