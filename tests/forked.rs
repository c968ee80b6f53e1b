//! Child processes that share the parent's descriptors without an exec.
#![cfg(target_os = "linux")]

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::io::{Read, Write};
use std::os::fd::{AsFd, IntoRawFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering::SeqCst};
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::Duration;

use oneloop::futures::Async;
use oneloop::{Action, ErrorKind, Interest, Mode, PollerKind, Reactor, Step, VirtualSource};
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
fn a_host_sleeps_again_after_a_rebuild() {
    let reactor = Reactor::new().unwrap();
    let mut host = reactor.host("an epoll loop").unwrap();
    let outer = epoll::create(CreateFlags::CLOEXEC).unwrap();
    let data = EventData::new_u64(0);
    assert_eq!(host.step(100).unwrap(), Step::Watch);
    epoll::add(&outer, &host, data, EventFlags::IN).unwrap();
    assert_eq!(host.step(100).unwrap(), Step::Sleep);
    let (a, mut b) = UnixStream::pair().unwrap();
    b.write_all(b"x").unwrap();
    let fd = a.into_raw_fd();
    // SAFETY: the descriptor is open; that it is closed before the handler is removed is the test.
    let id = unsafe { reactor.add_raw_handler(fd, Interest::READABLE, Mode::Level, |_| {}) };
    let _child = Child::new(|| {});
    // SAFETY: closes what was opened above and has no other owner.
    unsafe { libc::close(fd) };
    reactor.remove_handler(id.unwrap()).unwrap();

    let (mut rebuilt, mut spins) = (0, 0);
    for _ in 0..200 {
        match host.step(100).unwrap() {
            Step::Watch => epoll::add(&outer, &host, data, EventFlags::IN).unwrap(),
            Step::Unwatch => {
                rebuilt += 1;
                epoll::delete(&outer, &host).unwrap();
            }
            Step::Sleep if is_readable(&outer, Duration::ZERO) => spins += 1,
            Step::Sleep | Step::Yield => {}
            Step::Done => unreachable!("it is not stopped"),
        }
    }
    assert_eq!((rebuilt, spins), (1, 0));
    reactor.remote().wake();
    assert!(is_readable(&outer, Duration::from_secs(20)));
}

/// A child's calls on its copy of the reactor do not reach the parent's timers and wakes.
#[test]
fn a_child_touches_neither_alarm_nor_wake() {
    let reactor = Reactor::new().unwrap();
    reactor
        .call_later(Duration::from_secs(3600), || {})
        .unwrap();
    let mut host = reactor.host("poll").unwrap();
    let _ = host.as_fd();
    let copy = reactor.clone();
    let mut child = Child::new(move || {
        copy.remote().wake();
        copy.stop();
        assert!(copy.call_soon(|| {}).is_err());
        std::mem::forget(copy);
    });
    while host.step(100).unwrap() != Step::Sleep {}
    reactor
        .call_later(Duration::from_millis(200), || {})
        .unwrap();
    let fd = host.as_fd();
    child.work();
    assert!(!is_readable(fd, Duration::ZERO), "the child has woken us");
    assert!(
        is_readable(fd, Duration::from_secs(20)),
        "the child has put the alarm off"
    );
}

/// The child of a fork inside user code: reports by its exit status whether it was told.
fn fork() -> i32 {
    // SAFETY: the children of these tests return to the test, which has them leave by _exit.
    let pid = unsafe { libc::fork() };
    assert!(pid >= 0, "fork");
    pid
}

/// In the child: leaves. In the parent: how the child has left, which must not take long.
fn verdict(pid: i32, told: bool) -> bool {
    if pid == 0 {
        // SAFETY: ends the child without running anything of the parent's.
        unsafe { libc::_exit(if told { 0 } else { 1 }) };
    }
    let child = rustix::process::Pid::from_raw(pid).unwrap();
    let ended = rustix::process::pidfd_open(child, rustix::process::PidfdFlags::empty());
    let ended = is_readable(ended.unwrap(), Duration::from_secs(20));
    let mut status = 0;
    // SAFETY: the child is this process's own, and is waited for here only.
    unsafe {
        libc::kill(pid, libc::SIGKILL);
        libc::waitpid(pid, &mut status, 0);
    }
    ended && status == 0
}

fn is_forked<T>(result: &oneloop::Result<T>) -> bool {
    matches!(result, Err(error) if error.kind() == ErrorKind::Forked)
}

#[test]
fn a_future_may_fork() {
    let reactor = Reactor::new().unwrap();
    let (mut pid, waker) = (None, reactor.clone());
    let result = reactor.block_on(poll_fn(|cx| match pid {
        None => {
            pid = Some(fork());
            if pid != Some(0) {
                let again = cx.waker().clone();
                let wake = move || again.wake_by_ref();
                waker.call_later(Duration::from_millis(20), wake).unwrap();
            }
            Poll::Pending
        }
        Some(_) => Poll::Ready(()),
    }));
    assert!(
        verdict(pid.unwrap(), is_forked(&result)),
        "it sleeps in the parent's set"
    );
    result.unwrap();
}

#[test]
fn a_hook_may_fork() {
    let reactor = Reactor::new().unwrap();
    let pid = Arc::new(AtomicI32::new(-1));
    let forked = pid.clone();
    let prepare = move || {
        if forked.load(SeqCst) < 0 {
            forked.store(fork(), SeqCst);
        }
        Some(Duration::from_millis(20))
    };
    reactor.add_hook(prepare, || {}).unwrap();
    let result = reactor.turn(None);
    assert!(verdict(pid.load(SeqCst), is_forked(&result)));
    result.unwrap();
}

/// The result of the child's copy of a handler does not concern the parent.
#[test]
fn a_handler_may_fork_and_remove_itself_in_the_child() {
    let reactor = Reactor::new().unwrap();
    let (a, mut b) = UnixStream::pair().unwrap();
    let pid = Arc::new(AtomicI32::new(-1));
    let forked = pid.clone();
    let handler = move |stream: &mut UnixStream, _| {
        stream.read_exact(&mut [0]).unwrap();
        if forked.load(SeqCst) < 0 {
            forked.store(fork(), SeqCst);
        }
        match forked.load(SeqCst) {
            0 => Action::Remove,
            _ => Action::Continue,
        }
    };
    reactor
        .add_handler(a, Interest::READABLE, Mode::Level, handler)
        .unwrap();
    b.write_all(b"x").unwrap();
    let result = reactor.turn(Some(Duration::from_secs(20)));
    assert!(verdict(pid.load(SeqCst), is_forked(&result)));
    b.write_all(b"y").unwrap();
    let turn = reactor.turn(Some(Duration::from_secs(20))).unwrap();
    assert_eq!(turn.called, 1, "the parent's handler is deaf");
}

/// Other threads may have the loop's lock at the time. No thread would release it in the child.
#[test]
fn a_fork_while_other_threads_use_the_loop_leaves_no_lock_held() {
    for _ in 0..200 {
        let reactor = Reactor::new().unwrap();
        let host = reactor.host("a host").unwrap();
        let other = Reactor::new().unwrap();
        let over = Arc::new(AtomicBool::new(false));
        let busy = [&reactor, &other, &other].map(|reactor| {
            let (reactor, over) = (reactor.clone(), over.clone());
            thread::spawn(move || {
                while !over.load(SeqCst) {
                    let timer = reactor.call_later(Duration::from_secs(9), || {});
                    reactor.cancel_timer(timer.unwrap()).unwrap();
                }
            })
        });
        let pid = Arc::new(AtomicI32::new(-1));
        let forked = pid.clone();
        other
            .call_soon(move || forked.store(fork(), SeqCst))
            .unwrap();
        let result = other.turn(Some(Duration::ZERO));
        drop(host);
        let pid = pid.load(SeqCst);
        if pid != 0 {
            over.store(true, SeqCst);
            busy.into_iter().for_each(|thread| thread.join().unwrap());
        }
        assert!(verdict(pid, is_forked(&result)));
    }
}

/// Forks again and again while another thread calls `busy`, which takes a lock for most of the time.
/// The child does its part, which is true if all is well.
fn fork_beside(busy: impl Fn() + Sync, child: impl Fn() -> bool) {
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(SeqCst) {
                busy();
            }
        });
        let good = (0..100).all(|_| match fork() {
            0 => verdict(0, child()),
            pid => verdict(pid, true),
        });
        over.store(true, SeqCst);
        assert!(good, "the child waits for a thread that it has not got");
    });
}

/// No task waits for the hang-up there.
#[test]
fn a_child_drops_a_readiness_that_other_threads_look_at() {
    let (source, readiness) = VirtualSource::pair();
    let readiness = std::cell::RefCell::new(Some(readiness));
    let drop_it = || readiness.take().is_some();
    fork_beside(|| _ = source.ready(), drop_it);
}

/// No thread would ever wake it.
#[test]
fn a_child_is_told_that_the_loop_of_a_future_is_not_its_own() {
    let reactor = Reactor::new().unwrap();
    let (source, _readiness) = VirtualSource::pair();
    let source = Async::new(&reactor, source).unwrap();
    let mut cx = Context::from_waker(Waker::noop());
    let mut waiting = Box::pin(source.readable());
    assert!(waiting.as_mut().poll(&mut cx).is_pending());
    let waiting = RefCell::new(Some(waiting));
    let is_forked = |poll: Poll<std::io::Result<()>>| match poll {
        Poll::Ready(Err(error)) => error
            .get_ref()
            .and_then(|error| error.downcast_ref::<oneloop::Error>())
            .is_some_and(|error| error.kind() == ErrorKind::Forked),
        _ => false,
    };
    let child = || {
        let mut cx = Context::from_waker(Waker::noop());
        let mut waiting = waiting.take().unwrap();
        is_forked(waiting.as_mut().poll(&mut cx))
            && is_forked(source.poll_readable(&mut cx))
            && is_forked(Box::pin(source.writable()).as_mut().poll(&mut cx))
    };
    let busy = || {
        let mut cx = Context::from_waker(Waker::noop());
        let _ = source.poll_writable(&mut cx);
    };
    fork_beside(busy, child);
}

/// The loop's own wait rebuilds the set by itself.
#[test]
fn run_sleeps_beside_a_descriptor_that_cannot_be_removed() {
    let reactor = Reactor::new().unwrap();
    let (a, mut b) = UnixStream::pair().unwrap();
    b.write_all(b"x").unwrap();
    let dup = a.try_clone().unwrap();
    let fd = a.into_raw_fd();
    // SAFETY: the descriptor is open; that it is closed before the handler is removed is the test.
    let id = unsafe { reactor.add_raw_handler(fd, Interest::READABLE, Mode::Level, |_| {}) };
    // SAFETY: closes what was opened above and has no other owner.
    unsafe { libc::close(fd) };
    reactor.remove_handler(id.unwrap()).unwrap();
    reactor
        .call_later(Duration::from_millis(30), || {})
        .unwrap();
    reactor.run().unwrap();
    assert!(reactor.stats().turns < 100);
    drop(dup);
}

/// The child closes its own descriptors, and the parent's stay as they are.
#[test]
fn a_child_may_drop_the_reactor() {
    for kind in [PollerKind::Epoll, PollerKind::Polling] {
        let reactor = Reactor::builder().poller(kind).build().unwrap();
        let (a, mut b) = UnixStream::pair().unwrap();
        let calls = Arc::new(AtomicI32::new(0));
        let called = calls.clone();
        reactor
            .add_handler(a, Interest::READABLE, Mode::Edge, move |_, _| {
                called.fetch_add(1, SeqCst);
            })
            .unwrap();
        let reactor = RefCell::new(Some(reactor));
        let mut child = Child::new(|| drop(reactor.take()));
        child.work();
        let reactor = reactor.take().unwrap();
        b.write_all(b"x").unwrap();
        reactor.call_later(Duration::from_millis(1), || {}).unwrap();
        let remote = reactor.remote();
        let post = thread::spawn(move || remote.call_soon(|| {}).unwrap());
        let done = |reactor: &Reactor| {
            let stats = reactor.stats();
            stats.pending_timers == 0 && stats.post_calls == 1 && calls.load(SeqCst) == 1
        };
        while !done(&reactor) {
            reactor.turn(None).unwrap();
        }
        post.join().unwrap();
    }
}

/// Another thread may have the lock of all signal handlers.
#[cfg(feature = "signal")]
#[test]
fn a_child_drops_a_reactor_with_a_signal() {
    let reactor = Reactor::new().unwrap();
    reactor.add_signal(libc::SIGUSR1, |_| {}).unwrap();
    let reactor = RefCell::new(Some(reactor));
    let drop_it = || reactor.take().is_some();
    let other = Reactor::new().unwrap();
    let busy = || {
        let id = other.add_signal(libc::SIGUSR2, |_| {}).unwrap();
        other.remove_handler(id).unwrap();
    };
    fork_beside(busy, drop_it);
}

/// Another thread may be in the middle of a change.
#[test]
fn a_child_drops_a_reactor_that_other_threads_use() {
    let reactor = Reactor::new().unwrap();
    let other = reactor.clone();
    let reactor = RefCell::new(Some(reactor));
    let busy = || {
        let timer = other.call_later(Duration::from_secs(9), || {}).unwrap();
        other.call_soon(|| {}).unwrap();
        other.cancel_timer(timer).unwrap();
        other.turn(Some(Duration::ZERO)).unwrap();
    };
    // SAFETY: the other handle, which a thread of the parent has, has no owner in the child.
    let drop_both = || unsafe {
        drop(std::ptr::read(&other));
        reactor.take().is_some()
    };
    fork_beside(busy, drop_both);
}

/// Another thread may have the lock of the tasks that wait on it.
#[test]
fn a_child_drops_a_reactor_on_which_other_threads_await() {
    let reactor = Reactor::new().unwrap();
    let source = Async::new(&reactor, VirtualSource::pair().0).unwrap();
    let reactor = RefCell::new(Some(reactor));
    let busy = || {
        let mut cx = Context::from_waker(Waker::noop());
        let _ = source.poll_readable(&mut cx);
        let _ = source.poll_writable(&mut cx);
    };
    // SAFETY: the source, which a thread of the parent has, has no owner in the child.
    let drop_both = || unsafe {
        drop(std::ptr::read(&source));
        reactor.take().is_some()
    };
    fork_beside(busy, drop_both);
}

/// A process made by the bare system call, of which the C library knows nothing.
#[test]
fn a_child_of_clone_is_told() {
    let reactor = Reactor::new().unwrap();
    let (a, mut b) = UnixStream::pair().unwrap();
    let handler = reactor.add_handler(a, Interest::READABLE, Mode::Level, |stream, _| {
        stream.read_exact(&mut [0]).unwrap();
    });
    let handler = handler.unwrap();
    // Another thread may be at the allocator: the child gets the room for its error from this one.
    let stale = reactor.call_later(Duration::ZERO, || {}).unwrap();
    reactor.cancel_timer(stale).unwrap();
    drop(reactor.cancel_timer(stale));
    let (flags, none) = (libc::SIGCHLD, 0_usize);
    // SAFETY: without flags it is a fork; the child makes a few calls that take no lock, and leaves.
    let pid = unsafe { libc::syscall(libc::SYS_clone, flags, none, none, none, none) };
    let told = pid == 0 && is_forked(&reactor.remove_handler(handler)) && {
        reactor.remote().wake();
        reactor.next_deadline().is_none()
    };
    assert!(verdict(i32::try_from(pid).unwrap(), told));
    while !reactor.turn(Some(Duration::ZERO)).unwrap().idle {}
    b.write_all(b"x").unwrap();
    let turn = reactor.turn(Some(Duration::from_secs(20))).unwrap();
    assert_eq!(turn.called, 1, "the parent's handler is deaf");
}

/// Each generation has loops of its own, and knows those of its parents for what they are.
#[test]
fn a_childs_child_is_told_too() {
    let reactor = Reactor::new().unwrap();
    let pid = fork();
    if pid > 0 {
        assert!(verdict(pid, true));
        return reactor.run().unwrap();
    }
    let own = Reactor::new().unwrap();
    let works = own.turn(Some(Duration::ZERO)).is_ok() && is_forked(&reactor.run());
    let pid = fork();
    if pid == 0 {
        let told = is_forked(&reactor.run()) && is_forked(&own.run());
        let another = Reactor::new().and_then(|another| another.run());
        verdict(0, told && another.is_ok());
    }
    let told = verdict(pid, true);
    verdict(0, works && told && own.run().is_ok());
}

/// Another thread may be about to poll the future.
#[test]
fn a_child_drops_a_reactor_that_a_future_waits_on() {
    let reactor = Reactor::new().unwrap();
    let (source, _readiness) = VirtualSource::pair();
    let source = Async::new(&reactor, source).unwrap();
    let reactor = RefCell::new(Some(reactor));
    let busy = || {
        let mut cx = Context::from_waker(Waker::noop());
        let _ = source.poll_writable(&mut cx);
    };
    // SAFETY: the source, which a thread of the parent has, has no owner in the child.
    let drop_both = || unsafe {
        drop(std::ptr::read(&source));
        reactor.take().is_some()
    };
    fork_beside(busy, drop_both);
}
