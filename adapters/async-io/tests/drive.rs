//! Mistakes that only async-io's adapter can make. The contract is tested in the main crate.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::io;
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::sync::mpsc::channel;
use std::task::Poll;
use std::time::Duration;

use async_executor::{Executor, LocalExecutor};
use async_io::{Async, Timer, block_on};
use futures_lite::future::{or, pending, race, yield_now};
use futures_lite::{AsyncReadExt, AsyncWriteExt};
use oneloop::{Action, Interest, Mode, Reactor};
use oneloop_async_io::drive;
use oneloop_support::readable;

const READ: Interest = Interest::READABLE;

#[test]
fn the_future_is_send_for_a_reactor() {
    fn is_send<T: Send>(_: T) {}
    is_send(drive(&Reactor::new().unwrap()));
}

#[test]
fn a_busy_reactor_starves_neither_sockets_nor_timers() {
    let reactor = Reactor::new().unwrap();
    let (a, _b) = readable();
    reactor
        .add_handler(a, READ, Mode::Level, |_, _| {})
        .unwrap();
    let (mut ping, mut pong) = Async::<UnixStream>::pair().unwrap();
    let echo = async move {
        let mut byte = [0];
        while pong.read_exact(&mut byte).await.is_ok() {
            pong.write_all(&byte).await.unwrap();
        }
        pending().await
    };
    let talk = async {
        for n in 0..200 {
            ping.write_all(&[n]).await.unwrap();
            let mut byte = [0];
            ping.read_exact(&mut byte).await.unwrap();
            assert_eq!(byte, [n]);
        }
        Timer::after(Duration::from_millis(2)).await;
        Ok(())
    };
    block_on(or(talk, race(drive(&reactor), echo))).unwrap();
}

/// They are one turn, which is not one poll.
#[test]
fn many_posts_and_timers_starve_no_task() {
    const MANY: usize = 20_000;
    let reactor = Reactor::new().unwrap();
    let (sender, received) = channel();
    for _ in 0..MANY {
        let (post, timer) = (sender.clone(), sender.clone());
        reactor.call_soon(move || post.send(()).unwrap()).unwrap();
        let timer = move || timer.send(()).unwrap();
        reactor.call_later(Duration::ZERO, timer).unwrap();
    }
    let look = async {
        let (mut left, mut most) = (2 * MANY, 0);
        while left > 0 {
            yield_now().await;
            let called = received.try_iter().count();
            left -= called;
            most = most.max(called);
        }
        assert!(most < 1000, "{most} callbacks in one go");
        Ok(())
    };
    block_on(or(look, drive(&reactor))).unwrap();
}

/// Between the two halves of a hook tasks run: what the first holds, they must not wait for. What they
/// leave is seen once they have woken the loop.
#[test]
fn tasks_run_between_the_halves_of_a_hook() {
    let reactor = Reactor::new_local().unwrap();
    let (held, left) = (Rc::new(Cell::new(false)), Rc::new(Cell::new(false)));
    let (take, give, look, seen) = (held.clone(), held.clone(), left.clone(), left.clone());
    let prepare = move || {
        take.set(true);
        look.get().then_some(Duration::ZERO)
    };
    let check = move || {
        give.set(false);
        seen.set(false);
    };
    reactor.add_hook(prepare, check).unwrap();
    let tasks = async {
        for _ in 0..20 {
            yield_now().await;
            assert!(held.get(), "a step of a task");
        }
        left.set(true);
        reactor.wake();
        while left.get() {
            yield_now().await;
        }
        Ok(())
    };
    block_on(or(drive(&reactor), tasks)).unwrap();
}

#[test]
fn a_second_drive_is_an_error() {
    let reactor = Reactor::new().unwrap();
    let executor = Executor::new();
    let first = executor.spawn(drive(&reactor));
    block_on(executor.run(async {
        yield_now().await;
        let error = drive(&reactor).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ResourceBusy);
        assert!(error.to_string().contains("async-io"), "{error}");
        reactor.stop();
        first.await.unwrap();
    }));
}

#[test]
fn a_local_reactor_can_be_driven_on_a_local_executor() {
    let reactor = Reactor::new_local().unwrap();
    let log = Rc::new(RefCell::new(Vec::new()));
    let (a, _b) = readable();
    let seen = log.clone();
    let handle = move |_: &mut UnixStream, _| {
        seen.borrow_mut().push("handler");
        Action::Remove
    };
    reactor.add_handler(a, READ, Mode::Level, handle).unwrap();
    let (seen, weak) = (log.clone(), reactor.downgrade());
    let timer = move || {
        seen.borrow_mut().push("timer");
        weak.upgrade().unwrap().stop();
    };
    reactor.call_later(Duration::from_millis(2), timer).unwrap();
    let executor = LocalExecutor::new();
    let driving = executor.spawn(drive(&reactor));
    block_on(executor.run(driving)).unwrap();
    assert_eq!(*log.borrow(), ["handler", "timer"]);
}

#[test]
fn a_drive_that_is_dropped_loses_nothing() {
    let reactor = Reactor::new().unwrap();
    let (sender, receiver) = std::sync::mpsc::channel();
    for n in 0..20 {
        let sender = sender.clone();
        reactor
            .call_later(Duration::from_micros(50 * n), move || {
                sender.send(n).unwrap()
            })
            .unwrap();
        // The timeout drops the drive in the middle of whatever it does.
        let timeout = async {
            Timer::after(Duration::from_micros(30 * (n % 5))).await;
            Ok(())
        };
        block_on(or(timeout, drive(&reactor))).unwrap();
    }
    drop(sender);
    let stopper = reactor.clone();
    reactor
        .call_later(Duration::from_millis(5), move || stopper.stop())
        .unwrap();
    block_on(drive(&reactor)).unwrap();
    let mut got: Vec<u64> = receiver.iter().collect();
    got.sort();
    assert_eq!(got, (0..20).collect::<Vec<_>>());
}

/// As `run` does, which is asleep when the loop is closed, or in a callback that closes it.
#[test]
fn a_loop_that_is_closed_while_it_sleeps_ends_the_drive() {
    let reactor = Reactor::new().unwrap();
    let closer = reactor.clone();
    let close = async move {
        yield_now().await;
        std::thread::spawn(move || closer.close()).join().unwrap();
        pending().await
    };
    for ended in [
        block_on(or(drive(&reactor), close)),
        block_on(drive(&reactor)),
    ] {
        let error = ended.unwrap_err();
        let kind = oneloop::Error::of(&error).unwrap().kind();
        assert_eq!(kind, oneloop::ErrorKind::Closed);
    }
}

/// Forks, and says whether this is the child. In the parent the child is gone then.
#[cfg(target_os = "linux")]
fn fork() -> bool {
    // SAFETY: what the tests do in the child takes no lock that another thread could have.
    let pid = unsafe { libc::fork() };
    if pid > 0 {
        // SAFETY: waits for the child made above.
        let ended = unsafe { libc::waitpid(pid, std::ptr::null_mut(), 0) };
        assert_eq!(ended, pid);
    }
    pid == 0
}

/// Ends a child without running anything of the parent's.
#[cfg(target_os = "linux")]
fn exit() -> ! {
    // SAFETY: it has no memory to answer for.
    unsafe { libc::_exit(0) }
}

/// An error if nothing happens for long.
#[cfg(target_os = "linux")]
async fn overdue() -> std::io::Result<()> {
    Timer::after(Duration::from_secs(20)).await;
    Err(std::io::ErrorKind::TimedOut.into())
}

/// The kernel's set of what async-io watches is the parent's, too.
#[cfg(target_os = "linux")]
#[test]
fn a_child_process_that_drops_a_drive_leaves_the_parents_alone() {
    let reactor = Reactor::new().unwrap();
    let mut driving = Box::pin(drive(&reactor));
    let asleep = poll_fn(|cx| Poll::Ready(driving.as_mut().poll(cx)));
    assert!(block_on(asleep).is_pending());
    if fork() {
        drop(driving);
        exit();
    }
    let remote = reactor.remote();
    std::thread::spawn(move || remote.stop()).join().unwrap();
    block_on(or(driving, overdue())).unwrap();
}

/// The child's drive ends with an error.
#[cfg(target_os = "linux")]
#[test]
fn a_callback_that_forks_leaves_the_parents_drive_alone() {
    let reactor = Reactor::new().unwrap();
    let parent = std::process::id();
    let mut driving = Box::pin(drive(&reactor));
    let asleep = poll_fn(|cx| Poll::Ready(driving.as_mut().poll(cx)));
    assert!(block_on(asleep).is_pending());
    let fork = || {
        fork();
    };
    reactor.call_soon(fork).unwrap();
    let driven = poll_fn(|cx| match driving.as_mut().poll(cx) {
        Poll::Ready(Err(_)) if std::process::id() != parent => exit(),
        poll => poll,
    });
    let stop = async {
        yield_now().await;
        let remote = reactor.remote();
        std::thread::spawn(move || remote.stop()).join().unwrap();
        pending().await
    };
    block_on(or(or(driven, stop), overdue())).unwrap();
}
