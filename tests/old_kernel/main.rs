//! A kernel that has not all calls: Linux before 5.11, or a sandbox. A binary of its own, in which the
//! thread of each test forbids some.

#![cfg(target_os = "linux")]

mod forbid;

use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};
use std::{io, process, thread};

use forbid::By;
use oneloop::{Interest, Mode, PollerKind, Reactor};
use oneloop_support::{Drive, HOSTS, Watchdog, built_in, tokio};

/// A wait that is not ended by the alarm, which takes over short ones.
const LONG: Duration = Duration::from_millis(20);

/// A descriptor, a timer and a post by another thread, each of which is slept for. The last sleep is a long one.
fn all_is_heard_of(poller: PollerKind, drive: Drive) {
    let reactor = Reactor::builder().poller(poller).build().unwrap();
    let (a, mut b) = UnixStream::pair().unwrap();
    let (peer, mut left, stopper) = (b.try_clone().unwrap(), 50, reactor.clone());
    let (start, wait) = (Instant::now(), Duration::from_micros(300));
    let read = move |a: &mut UnixStream, _| {
        a.read_exact(&mut [0]).unwrap();
        if left == 0 {
            assert!(start.elapsed() >= 50 * wait);
            let reactor = stopper.clone();
            stopper.call_later(LONG, move || reactor.stop()).unwrap();
            return;
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

fn each_host_and_poller_does_without(by: By) {
    let _watchdog = Watchdog::new("old_kernel");
    forbid::system_calls(&[libc::SYS_epoll_pwait2], by);
    for poller in [PollerKind::Epoll, PollerKind::Polling] {
        for (_, drive) in HOSTS {
            all_is_heard_of(poller, drive);
        }
    }
}

#[test]
fn each_host_and_poller_does_without_pwait2() {
    each_host_and_poller_does_without(By::Refusal);
}

#[test]
fn each_host_and_poller_does_without_pwait2_that_is_not_permitted() {
    each_host_and_poller_does_without(By::Code(libc::EPERM));
}

/// The process survives, and what others do on SIGSYS is left as it was. It is a process of its own, because other
/// tests change that, too, for a moment.
#[test]
fn each_host_and_poller_does_without_pwait2_that_is_trapped() {
    let test = "each_host_and_poller_does_without_pwait2_that_is_trapped";
    let does_without = |by: &By| {
        let before = on_sigsys();
        each_host_and_poller_does_without(*by);
        assert_eq!(on_sigsys(), before);
    };
    for output in forbid::each_alone(test, &[By::Trap], does_without) {
        assert!(output.status.success(), "{output:?}");
    }
}

/// As threads do that leave signals to others. A trap kills these in any case.
#[test]
fn a_thread_that_blocks_signals_does_without_pwait2_that_is_trapped() {
    // SAFETY: fills a set, and blocks all of it in this thread.
    unsafe {
        let mut all = std::mem::zeroed();
        libc::sigfillset(&mut all);
        libc::pthread_sigmask(libc::SIG_BLOCK, &all, std::ptr::null_mut());
    }
    forbid::system_calls(&[libc::SYS_epoll_pwait2], By::Trap);
    let reactor = Reactor::new().unwrap();
    reactor.call_later(LONG, || {}).unwrap();
    let start = Instant::now();
    reactor.run().unwrap();
    assert!(start.elapsed() >= LONG);
    // SAFETY: reads what this thread blocks.
    let blocked = unsafe {
        let mut now = std::mem::zeroed();
        libc::pthread_sigmask(libc::SIG_BLOCK, std::ptr::null(), &mut now);
        libc::sigismember(&now, libc::SIGSYS)
    };
    assert_eq!(blocked, 1);
}

/// A sandbox may be closed when everything is ready, and before the loop runs.
#[test]
fn a_loop_that_was_made_before_the_sandbox_does_without() {
    let reactor = Reactor::new().unwrap();
    reactor.turn(Some(Duration::ZERO)).unwrap();
    reactor.call_later(LONG, || {}).unwrap();
    forbid::system_calls(&[libc::SYS_epoll_pwait2], By::Trap);
    reactor.run().unwrap();
}

/// In processes of their own, because one asks for traps only once.
#[test]
fn children_are_heard_of_without_pidfds() {
    let cases = [By::Trap, By::Refusal, By::Code(libc::EPERM)];
    let test = "children_are_heard_of_without_pidfds";
    for output in forbid::each_alone(test, &cases, |by| a_child_is_heard_of_without_pidfds(*by)) {
        assert!(output.status.success(), "{output:?}");
    }
}

fn a_child_is_heard_of_without_pidfds(by: By) {
    let _watchdog = Watchdog::new("old_kernel");
    forbid::system_calls(&[libc::SYS_pidfd_open], by);
    let reactor = Reactor::new().unwrap();
    let child = process::Command::new("true").spawn().unwrap();
    let (sender, ended) = channel();
    let ended_well = move |status: io::Result<process::ExitStatus>| {
        sender.send(status.unwrap().success()).unwrap();
    };
    reactor.add_child(child, ended_well).unwrap();
    reactor.run().unwrap();
    assert_eq!(ended.recv(), Ok(true));
}

/// They are for hosts. The loop's own wait is late by up to a millisecond without epoll_pwait2, too.
#[test]
fn the_built_in_loop_does_without_timerfds() {
    let _watchdog = Watchdog::new("old_kernel");
    let calls = [libc::SYS_timerfd_create, libc::SYS_epoll_pwait2];
    let by = [By::Refusal, By::Code(libc::EPERM)];
    for (forbidden, by) in [&calls[..1], &calls[..]]
        .into_iter()
        .flat_map(|calls| by.map(|by| (calls, by)))
    {
        let forbidden = forbidden.to_owned();
        let thread = thread::spawn(move || {
            forbid::system_calls(&forbidden, by);
            for poller in [PollerKind::Epoll, PollerKind::Polling] {
                all_is_heard_of(poller, built_in);
            }
        });
        thread.join().unwrap();
    }
}

/// A host hears of all but timers, and of those that it cannot.
#[test]
fn a_host_is_told_that_there_are_no_timerfds() {
    let _watchdog = Watchdog::new("old_kernel");
    forbid::system_calls(&[libc::SYS_timerfd_create], By::Refusal);
    let reactor = Reactor::new().unwrap();
    let remote = reactor.remote();
    let stop = move || {
        let stopper = remote.clone();
        remote.call_soon(move || stopper.stop()).unwrap();
    };
    thread::spawn(stop);
    tokio(&reactor).unwrap();

    reactor.call_later(Duration::from_secs(9), || {}).unwrap();
    let error = tokio(&reactor).unwrap_err();
    assert!(error.to_string().contains("timerfd_create"), "{error}");
}

/// The name of the system call is that of the reason.
#[test]
fn a_loop_that_cannot_be_made_says_by_which_call() {
    for (number, name, code) in [
        (libc::SYS_epoll_create1, "epoll_create1", libc::ENOSYS),
        (libc::SYS_epoll_create1, "epoll_create1", libc::EPERM),
        (libc::SYS_eventfd2, "eventfd2", libc::ENOSYS),
        (libc::SYS_eventfd2, "eventfd2", libc::EPERM),
        (libc::SYS_epoll_ctl, "epoll_ctl", libc::ENOSYS),
        (libc::SYS_epoll_ctl, "epoll_ctl", libc::EPERM),
    ] {
        let thread = thread::spawn(move || {
            forbid::system_calls(&[number], By::Code(code));
            let error = Reactor::new().unwrap_err();
            assert_eq!(error.raw_os_error(), Some(code), "{error}");
            let beginning = format!("build: {name}: ");
            assert!(error.to_string().starts_with(&beginning), "{error}");
        });
        thread.join().unwrap();
    }
}

/// It takes a pipe instead.
#[test]
fn the_polling_crate_does_without_eventfds() {
    let _watchdog = Watchdog::new("old_kernel");
    forbid::system_calls(&[libc::SYS_eventfd2], By::Refusal);
    all_is_heard_of(PollerKind::Polling, built_in);
}

/// tokio cannot begin then, and says so. A thread can wait in its place.
#[test]
#[cfg(target_endian = "little")]
fn a_loop_whose_set_no_other_takes_is_driven_by_waking() {
    let _watchdog = Watchdog::new("old_kernel");
    let reactor = Reactor::new().unwrap();
    forbid::watching(reactor.watched_fd().as_raw_fd(), By::Code(libc::EINVAL));
    reactor.call_later(Duration::from_millis(2), || {}).unwrap();
    let error = tokio(&reactor).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::EINVAL), "{error}");

    let (sender, woken) = channel();
    let host = reactor.host("a loop that is woken").unwrap();
    let host = host.exit_when_empty().wake_by(move || {
        // The test may be over.
        let _ = sender.send(());
    });
    let mut host = host.unwrap();
    while host.step(8).unwrap().is_continue() {
        woken.recv().unwrap();
    }
}

/// Registrations that were there before go on.
#[test]
fn an_edge_handler_beside_a_level_handler_is_refused_where_no_second_set_can_be_made() {
    let _watchdog = Watchdog::new("old_kernel");
    let reactor = Reactor::new().unwrap();
    let (a, mut b) = UnixStream::pair().unwrap();
    let a = Arc::new(a);
    let stopper = reactor.remote();
    let stop = move |_: &mut Arc<UnixStream>, _| stopper.stop();
    reactor
        .add_handler(a.clone(), Interest::READABLE, Mode::Level, stop)
        .unwrap();
    forbid::system_calls(&[libc::SYS_epoll_create1], By::Code(libc::EPERM));
    let refused = reactor.add_handler(a, Interest::READABLE, Mode::Edge, |_, _| {});
    let refused = refused.unwrap_err();
    assert!(refused.to_string().contains("epoll_create1"), "{refused}");
    b.write_all(b"x").unwrap();
    reactor.run().unwrap();
}

/// Functions that need such a call have nothing to fall back to.
#[test]
#[cfg(target_endian = "little")]
fn other_calls_that_are_trapped_kill_the_process() {
    let trap = |number| forbid::system_calls(&[number], By::Trap);
    type Case = (&'static str, fn(&dyn Fn(libc::c_long)));
    let cases: [Case; 6] = [
        ("timerfd_create", |trap| {
            trap(libc::SYS_timerfd_create);
            let _ = Reactor::new();
        }),
        ("eventfd2", |trap| {
            trap(libc::SYS_eventfd2);
            let _ = Reactor::new();
        }),
        ("epoll_create1", |trap| {
            trap(libc::SYS_epoll_create1);
            let _ = Reactor::new();
        }),
        ("epoll_ctl", |trap| {
            trap(libc::SYS_epoll_ctl);
            let _ = Reactor::new();
        }),
        ("epoll_create1 for a second set", |trap| {
            let reactor = Reactor::new().unwrap();
            let (a, _b) = UnixStream::pair().unwrap();
            let a = Arc::new(a);
            let add = |mode| reactor.add_handler(a.clone(), Interest::READABLE, mode, |_, _| {});
            add(Mode::Level).unwrap();
            trap(libc::SYS_epoll_create1);
            let _ = add(Mode::Edge);
        }),
        ("epoll_ctl with the loop", |_| {
            let reactor = Reactor::new().unwrap();
            forbid::watching(reactor.watched_fd().as_raw_fd(), By::Trap);
            let _ = tokio(&reactor);
        }),
    ];
    let test = "other_calls_that_are_trapped_kill_the_process";
    let outputs = forbid::each_alone(test, &cases, |(_, body)| body(&trap));
    for ((call, _), output) in cases.iter().zip(outputs) {
        let signal = output.status.signal();
        assert_eq!(signal, Some(libc::SIGSYS), "{call}: {output:?}");
    }
}

/// The address of the handler, and the flags but for that of glibc, which adds it to every action that it sets.
fn on_sigsys() -> (usize, i32) {
    const SA_RESTORER: i32 = 0x0400_0000;
    // SAFETY: reads what is done on the signal.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        libc::sigaction(libc::SIGSYS, std::ptr::null(), &mut action);
        (action.sa_sigaction, action.sa_flags & !SA_RESTORER)
    }
}
