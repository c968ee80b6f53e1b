//! Mistakes that only tokio's adapter can make. The contract is tested in the main crate.

use std::cell::{Cell, RefCell};
use std::future::{Future, pending, poll_fn};

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use oneloop::{Action, Interest, Mode, Reactor};
use oneloop_support::readable;
use oneloop_tokio::{drive, run};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{mpsc, oneshot};
use tokio::task::LocalSet;

const READ: Interest = Interest::READABLE;

#[test]
fn the_future_is_send_for_a_reactor() {
    fn is_send<T: Send>(_: T) {}
    is_send(drive(&Reactor::new().unwrap()));
}

#[tokio::test]
async fn callbacks_run_outside_the_cooperative_budget() {
    let reactor = Reactor::new().unwrap();
    let (sender, mut receiver) = mpsc::unbounded_channel();
    for n in 0..1000 {
        sender.send(n).unwrap();
    }
    let (done, received) = oneshot::channel();
    let receive = move || {
        let mut cx = Context::from_waker(Waker::noop());
        let all = (0..1000).all(|n| receiver.poll_recv(&mut cx) == Poll::Ready(Some(n)));
        done.send(all).unwrap();
    };
    reactor.call_soon(receive).unwrap();
    let driving = tokio::spawn(drive(&reactor));
    assert!(
        received.await.unwrap(),
        "a channel went dry before it was empty"
    );
    reactor.stop();
    driving.await.unwrap().unwrap();
}

#[tokio::test]
async fn callbacks_may_spawn() {
    let reactor = Reactor::new().unwrap();
    let stopper = reactor.clone();
    let spawn = move || drop(tokio::spawn(async move { stopper.stop() }));
    reactor.call_soon(spawn).unwrap();
    drive(&reactor).await.unwrap();
}

/// A descriptor that is never drained keeps the reactor busy for ever; tokio's own sockets, timers
/// and tasks get their share all the same.
async fn the_hosts_tasks_are_not_starved() {
    let reactor = Reactor::new().unwrap();
    let (a, _b) = readable();
    reactor
        .add_handler(a, READ, Mode::Level, |_, _| {})
        .unwrap();
    let driving = tokio::spawn(drive(&reactor));
    let (mut ping, mut pong) = tokio::net::UnixStream::pair().unwrap();
    let echo = tokio::spawn(async move {
        let mut byte = [0];
        while pong.read_exact(&mut byte).await.is_ok() {
            pong.write_all(&byte).await.unwrap();
        }
    });
    for n in 0..200 {
        ping.write_all(&[n]).await.unwrap();
        assert_eq!(ping.read_u8().await.unwrap(), n);
    }
    let timer = tokio::time::timeout(Duration::from_millis(2), pending::<()>());
    assert!(timer.await.is_err(), "tokio's timer has fired");
    drop(ping);
    echo.await.unwrap();
    reactor.stop();
    driving.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_busy_reactor_starves_no_task_on_one_thread() {
    the_hosts_tasks_are_not_starved().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_busy_reactor_starves_no_task_on_two_threads() {
    the_hosts_tasks_are_not_starved().await;
}

/// They are one turn, which is not one poll.
#[tokio::test]
async fn many_posts_and_timers_starve_no_task() {
    const MANY: usize = 20_000;
    let reactor = Reactor::new().unwrap();
    let (sender, mut received) = mpsc::unbounded_channel();
    for _ in 0..MANY {
        let (post, timer) = (sender.clone(), sender.clone());
        reactor.call_soon(move || post.send(()).unwrap()).unwrap();
        let timer = move || timer.send(()).unwrap();
        reactor.call_later(Duration::ZERO, timer).unwrap();
    }
    let driving = tokio::spawn(drive(&reactor));
    let (mut left, mut most) = (2 * MANY, 0);
    while left > 0 {
        tokio::task::yield_now().await;
        let called = std::iter::from_fn(|| received.try_recv().ok()).count();
        left -= called;
        most = most.max(called);
    }
    assert!(most < 1000, "{most} callbacks in one go");
    reactor.stop();
    driving.await.unwrap().unwrap();
}

/// As `run` does, which is asleep when the loop is closed, or in a callback that closes it.
#[tokio::test]
async fn a_loop_that_is_closed_while_it_sleeps_ends_the_drive() {
    let reactor = Reactor::new().unwrap();
    let driving = tokio::spawn(drive(&reactor));
    tokio::task::yield_now().await;
    let closer = reactor.clone();
    std::thread::spawn(move || closer.close()).join().unwrap();
    for ended in [driving.await.unwrap(), drive(&reactor).await] {
        let error = ended.unwrap_err();
        let kind = oneloop::Error::of(&error).unwrap().kind();
        assert_eq!(kind, oneloop::ErrorKind::Closed);
    }
}

#[tokio::test]
async fn a_second_drive_is_an_error_and_leaves_the_first_alone() {
    let reactor = Reactor::new().unwrap();
    let first = tokio::spawn(drive(&reactor));
    tokio::task::yield_now().await;
    let error = drive(&reactor).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ResourceBusy);
    assert!(error.to_string().contains("tokio"), "{error}");
    assert!(reactor.run().is_err());
    let stopper = reactor.clone();
    reactor
        .call_later(Duration::from_millis(1), move || stopper.stop())
        .unwrap();
    first.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_drive_that_is_dropped_loses_nothing() {
    let reactor = Reactor::new().unwrap();
    let (mut a, b) = UnixStream::pair().unwrap();
    b.set_nonblocking(true).unwrap();
    let (sender, mut received) = mpsc::unbounded_channel();
    let read = move |stream: &mut UnixStream, _| {
        let mut byte = [0];
        while stream.read_exact(&mut byte).is_ok() {
            sender.send(byte[0]).unwrap();
        }
    };
    reactor.add_handler(b, READ, Mode::Edge, read).unwrap();
    for n in 0..20 {
        a.write_all(&[n]).unwrap();
        let driving = tokio::spawn(drive(&reactor));
        // Dropped before, in and after its first polls.
        for _ in 0..n % 4 {
            tokio::task::yield_now().await;
        }
        driving.abort();
        let _ = driving.await;
    }
    let driving = tokio::spawn(drive(&reactor));
    for n in 0..20 {
        assert_eq!(received.recv().await, Some(n));
    }
    reactor.stop();
    driving.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_local_reactor_can_be_driven_on_a_local_set() {
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
    reactor.call_later(Duration::from_millis(1), timer).unwrap();
    let set = LocalSet::new();
    let driving = set.spawn_local(drive(&reactor));
    set.run_until(driving).await.unwrap().unwrap();
    assert_eq!(*log.borrow(), ["handler", "timer"]);
}

#[tokio::test]
async fn other_threads_reach_a_local_reactor_by_its_remote() {
    let reactor = Reactor::new_local().unwrap();
    let remote = reactor.remote();
    let here = std::thread::current().id();
    let (done, heard) = oneshot::channel();
    std::thread::spawn(move || {
        let post = move || done.send(std::thread::current().id()).unwrap();
        remote.call_soon(post).unwrap();
    });
    tokio::select! {
        driven = drive(&reactor) => panic!("{driven:?}"),
        id = heard => assert_eq!(id.unwrap(), here),
    }
}

/// The state of a task that another task on the host's thread changes while the reactor sleeps.
#[tokio::test]
async fn a_task_registers_while_the_reactor_sleeps() {
    let reactor = Reactor::new_local().unwrap();
    let calls = Rc::new(Cell::new(0));
    let register = async {
        for _ in 0..50 {
            tokio::task::yield_now().await;
            let (a, b) = readable();
            let (done, called) = oneshot::channel();
            let (count, mut done) = (calls.clone(), Some(done));
            let handle = move |_: &mut UnixStream, _| {
                let _ = &b;
                count.set(count.get() + 1);
                done.take().unwrap().send(()).unwrap();
                Action::Remove
            };
            reactor.add_handler(a, READ, Mode::Edge, handle).unwrap();
            called.await.unwrap();
        }
    };
    tokio::select! {
        driven = drive(&reactor) => panic!("{driven:?}"),
        () = register => {}
    }
    assert_eq!(calls.get(), 50);
}

#[test]
fn a_panic_in_a_callback_reaches_the_runtime_and_driving_can_go_on() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()
        .unwrap();
    let reactor = Reactor::new().unwrap();
    reactor.call_soon(|| panic!("on purpose")).unwrap();
    let stopper = reactor.clone();
    reactor.call_soon(move || stopper.stop()).unwrap();
    let error = runtime.block_on(async { tokio::spawn(drive(&reactor)).await.unwrap_err() });
    assert!(error.is_panic());
    runtime.block_on(drive(&reactor)).unwrap();
}

#[tokio::test]
async fn a_stop_ends_the_drive_and_a_finished_one_stays_finished() {
    let reactor = Reactor::new().unwrap();
    reactor.stop();
    drive(&reactor).await.unwrap();
    let idle = tokio::time::timeout(Duration::from_millis(2), drive(&reactor)).await;
    assert!(
        idle.is_err(),
        "a reactor with nothing to do waits for a stop"
    );
}

#[test]
fn a_local_reactor_can_be_driven_on_a_local_runtime() {
    let options = tokio::runtime::LocalOptions::default();
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.enable_io().build_local(options).unwrap();
    let reactor = Reactor::new_local().unwrap();
    let calls = Rc::new(Cell::new(0));
    let (count, stopper) = (calls.clone(), reactor.downgrade());
    let timer = move || {
        count.set(count.get() + 1);
        if count.get() == 3 {
            stopper.upgrade().unwrap().stop();
        }
    };
    reactor.call_every(Duration::from_millis(1), timer).unwrap();
    let driving = runtime.spawn_local(drive(&reactor));
    runtime.block_on(driving).unwrap().unwrap();
    assert_eq!(calls.get(), 3);
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

/// The kernel's set of what tokio watches is the parent's, too.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_child_process_that_drops_a_drive_leaves_the_parents_alone() {
    let reactor = Reactor::new().unwrap();
    let mut driving = Box::pin(drive(&reactor));
    let asleep = poll_fn(|cx| Poll::Ready(driving.as_mut().poll(cx)));
    assert!(asleep.await.is_pending());
    if fork() {
        drop(driving);
        exit();
    }
    let remote = reactor.remote();
    std::thread::spawn(move || remote.stop()).join().unwrap();
    let driven = tokio::time::timeout(Duration::from_secs(20), driving);
    driven.await.expect("the stop is noticed").unwrap();
}

/// The child's drive ends with an error.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_callback_that_forks_leaves_the_parents_drive_alone() {
    let reactor = Reactor::new().unwrap();
    let parent = std::process::id();
    let mut driving = Box::pin(drive(&reactor));
    let asleep = poll_fn(|cx| Poll::Ready(driving.as_mut().poll(cx)));
    assert!(asleep.await.is_pending());
    let fork = || {
        fork();
    };
    reactor.call_soon(fork).unwrap();
    let driven = poll_fn(|cx| match driving.as_mut().poll(cx) {
        Poll::Ready(Err(_)) if std::process::id() != parent => exit(),
        poll => poll,
    });
    let stop = async {
        tokio::task::yield_now().await;
        let remote = reactor.remote();
        std::thread::spawn(move || remote.stop()).join().unwrap();
        std::future::pending().await
    };
    let driven = futures_lite::future::or(driven, stop);
    let driven = tokio::time::timeout(Duration::from_secs(20), driven);
    driven.await.expect("the stop is noticed").unwrap();
}

/// Polls until the drive sleeps, watched by this runtime.
async fn sleep_here(driving: &mut (impl Future<Output = io::Result<()>> + Unpin)) {
    for _ in 0..10 {
        assert!(
            futures_lite::future::poll_once(&mut *driving)
                .await
                .is_none()
        );
        tokio::task::yield_now().await;
    }
}

fn runtime() -> tokio::runtime::Runtime {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_all().build().unwrap()
}

/// tokio tells the runtime that watches a descriptor, and no other.
#[test]
fn a_drive_may_come_from_one_runtime_to_another() {
    let reactor = Reactor::new().unwrap();
    let mut driving = drive(&reactor);
    let (one, two) = (runtime(), runtime());
    one.block_on(sleep_here(&mut driving));
    let (remote, called) = (reactor.remote(), Arc::new(AtomicUsize::new(0)));
    for (runtime, calls) in [(&two, 1), (&one, 2), (&two, 3)] {
        let (more, stopper) = (called.clone(), reactor.remote());
        let post = move || {
            more.fetch_add(1, SeqCst);
            stopper.stop();
        };
        remote.call_soon(post).unwrap();
        let limit = Duration::from_secs(20);
        let ended = runtime.block_on(async { tokio::time::timeout(limit, &mut driving).await });
        ended.expect("it is silent").unwrap();
        assert_eq!(called.load(SeqCst), calls);
        driving = drive(&reactor);
        runtime.block_on(sleep_here(&mut driving));
    }
}

#[test]
fn a_drive_that_has_left_its_runtime_is_an_error_outside_of_one() {
    let reactor = Reactor::new().unwrap();
    let mut driving = drive(&reactor);
    let runtime = runtime();
    runtime.block_on(sleep_here(&mut driving));
    reactor.remote().wake();
    let error = futures_lite::future::block_on(driving).unwrap_err();
    assert!(
        error.to_string().contains("no reactor running") || error.to_string().contains("context"),
        "{error}"
    );
}

/// A shutdown in which what is left is still written.
#[tokio::test]
async fn run_ends_when_nothing_is_left() {
    let reactor = Reactor::new().unwrap();
    run(&reactor).await.unwrap();
    let (flushed, weak) = (Arc::new(AtomicUsize::new(0)), reactor.downgrade());
    let count = flushed.clone();
    let last = move || {
        let reactor = weak.upgrade().unwrap();
        let again = count.clone();
        let post = move || _ = again.fetch_add(1, SeqCst);
        reactor.call_soon(post).unwrap();
    };
    reactor.call_later(Duration::from_millis(5), last).unwrap();
    run(&reactor).await.unwrap();
    assert_eq!(flushed.load(SeqCst), 1);
}
