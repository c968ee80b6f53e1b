//! Which tasks are woken, and when.

use std::future::Future;
use std::io::ErrorKind::WouldBlock;
use std::io::{Read, Write};
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use futures_lite::AsyncReadExt;
use futures_lite::future::{self, zip};
use oneloop::futures::{Async, Timer};
use oneloop::{Host, Interest, Mode, Reactor, Shared, Source, SourceKind, Step};
use rustix::time::{ClockId, clock_gettime};

use crate::{MS, look, pair, wakes};

#[test]
fn any_number_of_futures_wait_for_one_source() {
    let reactor = Reactor::new().unwrap();
    let (stream, mut peer) = pair(&reactor);
    let (woken, waker) = wakes();
    let mut waits: Vec<_> = (0..10).map(|_| Box::pin(stream.readable())).collect();
    let mut cx = Context::from_waker(&waker);
    assert!(
        waits
            .iter_mut()
            .all(|wait| wait.as_mut().poll(&mut cx).is_pending())
    );
    let (polled, polling) = wakes();
    let mut poll_cx = Context::from_waker(&polling);
    assert!(stream.poll_readable(&mut poll_cx).is_pending());
    // Tasks that give up do no harm to the rest.
    waits.truncate(7);
    drop(waits.swap_remove(2));
    look(&reactor);
    assert_eq!((woken.take(), polled.take()), (0, 0));

    peer.write_all(b"x").unwrap();
    look(&reactor);
    assert_eq!((woken.take(), polled.take()), (6, 1));
    for mut wait in waits {
        assert!(matches!(wait.as_mut().poll(&mut cx), Poll::Ready(Ok(()))));
    }
    assert!(stream.poll_readable(&mut poll_cx).is_ready());
}

#[test]
fn readable_looks_again_each_time() {
    let reactor = Reactor::new().unwrap();
    let (stream, mut peer) = pair(&reactor);
    peer.write_all(b"xy").unwrap();
    reactor
        .block_on(async {
            for _ in 0..3 {
                stream.readable().await.unwrap();
            }
            let mut bytes = [0; 8];
            assert_eq!((&stream).read(&mut bytes).await.unwrap(), 2);
            // Drained by other code, it is not readable any more.
            let again = future::poll_once(stream.readable());
            assert!(again.await.is_none());
            let or_timer = future::or(
                async {
                    stream.readable().await.unwrap();
                    false
                },
                async {
                    Timer::after(&reactor, 3 * MS).await;
                    true
                },
            );
            assert!(or_timer.await, "it said readable");
        })
        .unwrap();
}

/// After the first few, the kernel is asked now and then whether the number still means the same file.
#[test]
fn a_conversation_costs_no_change_in_the_kernel() {
    let reactor = Reactor::new().unwrap();
    let (stream, mut peer) = pair(&reactor);
    let changes: Vec<u64> = (0..3)
        .map(|_| {
            let wait = zip(stream.readable(), async { peer.write_all(b"x") });
            let (ready, _) = reactor.block_on(wait).unwrap();
            ready.unwrap();
            assert_eq!({ stream.get_ref() }.read(&mut [0; 8]).unwrap(), 1);
            reactor.stats().kernel_changes
        })
        .collect();
    assert_eq!(changes, [changes[0]; 3]);
}

#[test]
fn polls_in_both_directions_have_a_waker_each() {
    let reactor = Reactor::new().unwrap();
    let (stream, mut peer) = pair(&reactor);
    while { stream.get_ref() }.write(&[0; 4096]).is_ok() {}
    let ((reads, reader), (writes, writer)) = (wakes(), wakes());
    assert!(
        stream
            .poll_readable(&mut Context::from_waker(&reader))
            .is_pending()
    );
    assert!(
        stream
            .poll_writable(&mut Context::from_waker(&writer))
            .is_pending()
    );
    look(&reactor);
    assert_eq!((reads.take(), writes.take()), (0, 0));
    peer.write_all(b"x").unwrap();
    look(&reactor);
    assert_eq!((reads.take(), writes.take()), (1, 0));
    while peer.read(&mut [0; 65536]).is_ok() {}
    look(&reactor);
    assert_eq!((reads.take(), writes.take()), (0, 1));
}

#[test]
fn a_task_that_another_replaces_is_woken() {
    let reactor = Reactor::new().unwrap();
    let (stream, mut peer) = pair(&reactor);
    let ((first, one), (last, two)) = (wakes(), wakes());
    let is_pending = |waker: &Waker| {
        let mut cx = Context::from_waker(waker);
        stream.poll_readable(&mut cx).is_pending()
    };
    assert!(is_pending(&one) && is_pending(&one));
    assert_eq!(first.take(), 0);
    assert!(is_pending(&two));
    assert_eq!((first.take(), last.take()), (1, 0));
    peer.write_all(b"x").unwrap();
    look(&reactor);
    assert_eq!((first.take(), last.take()), (0, 1));
}

#[test]
fn a_wait_wakes_the_task_that_polled_it_last() {
    let reactor = Reactor::new().unwrap();
    let (stream, mut peer) = pair(&reactor);
    let ((first, one), (last, two)) = (wakes(), wakes());
    let mut wait = pin!(stream.readable());
    for waker in [&one, &two] {
        let mut cx = Context::from_waker(waker);
        assert!(wait.as_mut().poll(&mut cx).is_pending());
    }
    peer.write_all(b"x").unwrap();
    look(&reactor);
    assert_eq!((first.take(), last.take()), (0, 1));
}

#[test]
fn two_tasks_that_read_from_one_source_both_end() {
    let reactor = Reactor::new().unwrap();
    let (stream, mut peer) = pair(&reactor);
    let read = |name: &'static str| {
        let mut stream = &stream;
        async move { stream.read_exact(&mut [0]).await.map(|()| name) }
    };
    // Each with a waker of its own, as on an executor.
    let executor = async_executor::LocalExecutor::new();
    let (one, two) = (executor.spawn(read("one")), executor.spawn(read("two")));
    peer.write_all(b"xy").unwrap();
    let both = reactor.block_on(executor.run(zip(one, two))).unwrap();
    assert_eq!((both.0.unwrap(), both.1.unwrap()), ("one", "two"));
}

#[test]
fn an_owned_wait_borrows_nothing_and_ends_with_its_source() {
    fn is_static<T: Send + Sync + Unpin + 'static>(_: &T) {}
    let reactor = Reactor::new().unwrap();
    let (stream, mut peer) = pair(&reactor);
    let (arrived, room) = (stream.readable_owned(), stream.writable_owned());
    is_static(&arrived);
    reactor.block_on(room).unwrap().unwrap();
    peer.write_all(b"x").unwrap();
    reactor.block_on(arrived).unwrap().unwrap();

    assert_eq!({ stream.get_ref() }.read(&mut [0; 8]).unwrap(), 1);
    let (woken, waker) = wakes();
    let mut cx = Context::from_waker(&waker);
    let mut waiting = pin!(stream.readable_owned());
    let late = stream.readable_owned();
    assert!(waiting.as_mut().poll(&mut cx).is_pending());
    drop(stream);
    assert_eq!(woken.take(), 1);
    assert!(matches!(waiting.poll(&mut cx), Poll::Ready(Err(_))));
    assert!(future::block_on(late).is_err());
    assert_eq!(reactor.stats().handlers, 0);
}

#[test]
fn an_owned_wait_that_is_dropped_does_not_keep_run_going() {
    let reactor = Reactor::new().unwrap();
    let (stream, _peer) = pair(&reactor);
    let wait = reactor.block_on(future::poll_once(stream.readable_owned()));
    assert!(wait.unwrap().is_none());
    reactor.run().unwrap();
}

#[test]
fn two_on_one_descriptor_beside_a_handler() {
    let reactor = Reactor::new().unwrap();
    let (socket, mut peer) = UnixStream::pair().unwrap();
    let socket = Arc::new(socket);
    let one = Async::new(&reactor, socket.clone()).unwrap();
    let two = Async::new(&reactor, socket.clone()).unwrap();
    let calls = Arc::new(AtomicUsize::new(0));
    let seen = calls.clone();
    reactor
        .add_handler(socket, Interest::READABLE, Mode::Edge, move |_, _| {
            seen.fetch_add(1, SeqCst);
        })
        .unwrap();
    let both = zip(one.readable(), two.readable());
    peer.write_all(b"x").unwrap();
    let (a, b) = reactor.block_on(both).unwrap();
    assert!(a.is_ok() && b.is_ok());
    assert_eq!(calls.load(SeqCst), 1);
    drop(one);
    peer.write_all(b"y").unwrap();
    reactor.block_on(two.readable()).unwrap().unwrap();
    assert_eq!(reactor.stats().handlers, 2);
}

#[test]
fn readiness_without_a_waiting_task_lets_the_loop_sleep() {
    let reactor = Reactor::new().unwrap();
    let (mut stream, mut peer) = pair(&reactor);
    peer.write_all(b"x").unwrap();
    reactor
        .block_on(async {
            stream.read_exact(&mut [0]).await.unwrap();
            // Now it is registered, and more comes than is asked for.
            assert!(future::poll_once(stream.readable()).await.is_none());
            peer.write_all(b"lots").unwrap();
            let before = reactor.stats().turns;
            Timer::after(&reactor, 20 * MS).await;
            let turns = reactor.stats().turns - before;
            assert!(turns < 10, "{turns} turns in which there was nothing to do");
            let mut rest = [0; 4];
            stream.read_exact(&mut rest).await.unwrap();
            assert_eq!(&rest, b"lots");
        })
        .unwrap();
}

#[test]
fn a_closed_loop_ends_every_wait_with_an_error() {
    let reactor = Reactor::new().unwrap();
    let (stream, _peer) = pair(&reactor);
    let (woken, waker) = wakes();
    let mut cx = Context::from_waker(&waker);
    let mut wait = pin!(stream.readable());
    assert!(wait.as_mut().poll(&mut cx).is_pending());
    assert!(stream.poll_readable(&mut cx).is_pending());
    reactor.close();
    assert_eq!(woken.take(), 2);
    let Poll::Ready(Err(error)) = wait.poll(&mut cx) else {
        panic!("still waiting, or readable");
    };
    assert!(error.to_string().contains("closed"), "{error}");
    assert!(matches!(stream.poll_readable(&mut cx), Poll::Ready(Err(_))));
    let late = future::block_on(stream.writable());
    assert!(late.unwrap_err().to_string().contains("closed"));
    let (socket, _) = UnixStream::pair().unwrap();
    let refused = Async::new(&reactor, socket).unwrap_err();
    assert_eq!(refused.error().kind(), oneloop::ErrorKind::Closed);
    let flags = rustix::fs::fcntl_getfl(refused.into_source()).unwrap();
    assert!(!flags.contains(rustix::fs::OFlags::NONBLOCK), "untouched");
}

#[test]
fn a_socket_without_a_waiting_task_does_not_keep_run_going() {
    let reactor = Reactor::new().unwrap();
    let (stream, _peer) = pair(&reactor);
    reactor
        .block_on(async {
            assert!(future::poll_once(stream.readable()).await.is_none());
        })
        .unwrap();
    reactor.run().unwrap();
}

#[test]
fn a_waker_that_uses_the_source_in_its_drop() {
    struct Last(std::sync::Mutex<Option<Arc<Async<UnixStream>>>>);
    impl Wake for Last {
        fn wake(self: Arc<Self>) {}
    }
    impl Drop for Last {
        fn drop(&mut self) {
            if let Some(stream) = self.0.lock().unwrap().take() {
                let _ = stream.poll_readable(&mut Context::from_waker(Waker::noop()));
            }
        }
    }
    let reactor = Reactor::new().unwrap();
    let (stream, _peer) = pair(&reactor);
    let stream = Arc::new(stream);
    let last = Arc::new(Last(std::sync::Mutex::new(Some(stream.clone()))));
    let poll = |waker: &Waker| {
        stream
            .poll_readable(&mut Context::from_waker(waker))
            .is_pending()
    };
    assert!(poll(&last.into()));
    assert!(poll(Waker::noop()), "and not a deadlock");
}

#[test]
fn a_waker_that_panics_keeps_no_other_task_asleep() {
    struct Panics;
    impl Wake for Panics {
        fn wake(self: Arc<Self>) {
            panic!("a waker");
        }
    }
    let reactor = Reactor::new().unwrap();
    let (stream, mut peer) = pair(&reactor);
    let panics = Waker::from(Arc::new(Panics));
    let (woken, waker) = wakes();
    let mut waits = [stream.readable(), stream.readable(), stream.readable()];
    for (wait, waker) in waits.iter_mut().zip([&waker, &panics, &waker]) {
        assert!(
            pin!(wait)
                .poll(&mut Context::from_waker(waker))
                .is_pending()
        );
    }
    peer.write_all(b"x").unwrap();
    let turn = || reactor.turn(Some(Duration::from_secs(20)));
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(turn));
    assert!(panicked.is_err(), "it reaches the driver");
    assert_eq!(woken.take(), 2);
    // The handler is gone, as every one is that panicked, and says so.
    let error = future::block_on(stream.writable()).unwrap_err();
    assert!(error.to_string().contains("unknown id"), "{error}");
}

/// How long this thread has computed: other processes do not count.
fn computed() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// Twenty times as many take twenty times as long, and not four hundred times.
#[test]
fn tasks_that_give_up_waiting_cost_the_same_each() {
    let reactor = Reactor::new().unwrap();
    let (stream, _peer) = pair(&reactor);
    let (_woken, waker) = wakes();
    let give_up = |count: usize| {
        let mut waits: Vec<_> = (0..count).map(|_| stream.readable()).collect();
        let start = computed();
        let mut cx = Context::from_waker(&waker);
        for wait in &mut waits {
            assert!(pin!(wait).poll(&mut cx).is_pending());
        }
        drop(waits);
        computed() - start
    };
    let best = |count| (0..5).map(|_| give_up(count)).min().unwrap();
    let (few, many) = (best(2000), best(40_000));
    assert!(many < 120 * few, "{many:?} and {few:?}");
}

/// Waits that are over cost nothing when the loop reports readiness.
#[test]
fn tasks_that_were_woken_cost_later_reports_nothing() {
    let reactor = Reactor::new().unwrap();
    let (stream, mut peer) = pair(&reactor);
    let (_woken, waker) = wakes();
    let mut cx = Context::from_waker(&waker);
    peer.write_all(b"x").unwrap();
    let mut report = |before: usize| {
        let mut waits: Vec<_> = (0..before).map(|_| stream.readable()).collect();
        for wait in &mut waits {
            assert!(pin!(wait).poll(&mut cx).is_pending());
        }
        look(&reactor);
        let start = computed();
        for _ in 0..500 {
            let mut wait = stream.readable();
            assert!(pin!(&mut wait).poll(&mut cx).is_pending());
            look(&reactor);
            assert!(pin!(&mut wait).poll(&mut cx).is_ready());
        }
        computed() - start
    };
    let mut best = |before| (0..5).map(|_| report(before)).min().unwrap();
    let (few, many) = (best(10), best(20_000));
    assert!(many < 10 * few, "{many:?} and {few:?}");
}

/// As of any socket: what looks for a code, or says "too many open files", knows nothing of a loop.
#[test]
fn a_refusal_of_the_system_is_its_own_error() {
    /// Has its descriptor closed behind its back.
    struct Closed(RawFd);
    impl Source for Closed {
        fn kind(&self) -> SourceKind<'_> {
            // SAFETY: open while it is added, and then a number for calls that answer EBADF. Nothing
            // else takes one as large.
            SourceKind::Descriptor(unsafe { BorrowedFd::borrow_raw(self.0) })
        }
    }
    let reactor = Reactor::new().unwrap();
    let (socket, _peer) = UnixStream::pair().unwrap();
    let file = rustix::io::fcntl_dupfd_cloexec(&socket, 700).unwrap();
    let source = Async::new(&reactor, Closed(file.as_raw_fd())).unwrap();
    drop(file);
    let error = future::block_on(source.readable()).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::EBADF), "{error:?}");
    let error = future::block_on(source.write_with(|_| Err::<(), _>(WouldBlock.into())));
    let error = error.unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::EBADF), "{error:?}");
    // The loop's own say what they are.
    reactor.close();
    let error = future::block_on(source.readable()).unwrap_err();
    let error = oneloop::Error::of(&error).unwrap();
    assert_eq!(error.kind(), oneloop::ErrorKind::Closed);
}

/// Steps until the host may sleep.
fn step_until_sleep(host: &mut Host<Shared>) {
    while host.step(100).unwrap() != Step::Sleep {}
}

fn is_readable(fd: RawFd) -> bool {
    let mut asked = libc::pollfd {
        fd,
        events: libc::POLLIN,
        revents: 0,
    };
    // SAFETY: one pollfd, alive during the call.
    unsafe { libc::poll(&mut asked, 1, 0) == 1 }
}

#[test]
fn a_task_that_waits_for_what_it_has_not_read_is_told_by_a_host_that_sleeps() {
    let reactor = Reactor::new().unwrap();
    let mut host = reactor.host("a test").unwrap();
    let (stream, mut peer) = pair(&reactor);
    let (woken, waker) = wakes();
    let mut cx = Context::from_waker(&waker);
    let mut first = Box::pin(stream.readable());
    assert!(first.as_mut().poll(&mut cx).is_pending());
    step_until_sleep(&mut host);
    peer.write_all(b"x").unwrap();
    step_until_sleep(&mut host);
    assert_eq!(woken.take(), 1);
    assert!(first.as_mut().poll(&mut cx).is_ready());
    // It has read nothing, and waits again.
    for _ in 0..2 {
        let mut again = Box::pin(stream.readable());
        assert!(again.as_mut().poll(&mut cx).is_pending());
        assert!(is_readable(host.as_raw_fd()));
        step_until_sleep(&mut host);
        assert_eq!(woken.take(), 1);
        assert!(again.as_mut().poll(&mut cx).is_ready());
    }
}

/// The kernel is not told of a handler that wants what it reports already.
#[test]
fn a_handler_beside_a_task_that_was_told_is_called_by_a_host_that_sleeps() {
    for resumed in [false, true] {
        let reactor = Reactor::new().unwrap();
        let mut host = reactor.host("a test").unwrap();
        let (stream, mut peer) = pair(&reactor);
        let (_, waker) = wakes();
        let mut wait = pin!(stream.readable());
        let calls = Arc::new(AtomicUsize::new(0));
        let counted = calls.clone();
        let fd = stream.get_ref().as_raw_fd();
        let add = |interest| {
            let counted = counted.clone();
            let handler = move |_| {
                counted.fetch_add(1, SeqCst);
            };
            // SAFETY: the stream is open until the end of this.
            unsafe { reactor.add_raw_handler(fd, interest, Mode::Level, handler) }.unwrap()
        };
        let paused = resumed.then(|| add(Interest::NONE));
        assert!(
            wait.as_mut()
                .poll(&mut Context::from_waker(&waker))
                .is_pending()
        );
        step_until_sleep(&mut host);
        peer.write_all(b"x").unwrap();
        step_until_sleep(&mut host);
        match paused {
            Some(id) => reactor.update_handler(id, Interest::READABLE).unwrap(),
            None => {
                add(Interest::READABLE);
            }
        }
        assert!(is_readable(host.as_raw_fd()), "resumed: {resumed}");
        let _ = host.step(1).unwrap();
        assert_eq!(calls.load(SeqCst), 1);
    }
}
