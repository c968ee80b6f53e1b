//! Futures that wait on a loop, polled by any thread while another drives it: each is woken.
#![cfg(loom)]

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use loom::future::block_on;
use loom::thread;
use oneloop::futures::{Async, Timer};
use oneloop::{ErrorKind, Interest, Reactor, Ready, VirtualSource};
use oneloop_loom::{Count, explore, explore_both, join, reactor};

fn pair(reactor: &Reactor) -> (Arc<Async<VirtualSource>>, oneloop::SetReadiness) {
    let (source, readiness) = VirtualSource::pair();
    (Arc::new(Async::new(reactor, source).unwrap()), readiness)
}

#[test]
fn a_task_of_the_loop_and_a_source_of_another_thread() {
    explore("a_task_of_the_loop_and_a_source_of_another_thread", || {
        let reactor = reactor();
        let (source, readiness) = pair(&reactor);
        let thread = thread::spawn(move || readiness.set(Ready::READABLE));
        reactor.block_on(source.readable()).unwrap().unwrap();
        assert!(thread.join().unwrap());
    });
}

/// A future, and a poll of the kind that only remembers the last task.
#[test]
fn two_tasks_on_one_source() {
    explore_both("two_tasks_on_one_source", |until| {
        let reactor = reactor();
        let (source, readiness) = pair(&reactor);
        readiness.set(Ready::READABLE);
        let (other, remote, woken) = (source.clone(), reactor.remote(), Count::default());
        let counted = woken.clone();
        let thread = thread::spawn(move || {
            block_on(other.readable()).unwrap();
            counted.up();
            remote.wake();
        });
        let poll = poll_fn(|cx| source.poll_readable(cx));
        reactor.block_on(poll).unwrap().unwrap();
        until(&reactor, &woken, 1);
        thread.join().unwrap();
    });
}

/// A waker that does nothing.
struct Nothing;

impl Wake for Nothing {
    fn wake(self: Arc<Self>) {}
}

/// It takes the interest out that the other needs.
#[test]
fn a_task_that_gives_up_beside_one_that_waits() {
    explore("a_task_that_gives_up_beside_one_that_waits", || {
        let reactor = reactor();
        let (source, readiness) = pair(&reactor);
        let other = source.clone();
        let give_up = move || {
            let waker = Waker::from(Arc::new(Nothing));
            let mut wait = pin!(other.readable());
            let _ = wait.as_mut().poll(&mut Context::from_waker(&waker));
            true
        };
        let set = move || readiness.set(Ready::READABLE);
        let threads = [thread::spawn(give_up), thread::spawn(set)];
        reactor.block_on(source.readable()).unwrap().unwrap();
        assert_eq!(join(threads), [true; 2]);
    });
}

/// Attempts that would block, as of a socket whose other side has just written.
#[test]
fn an_attempt_between_two_reports() {
    explore("an_attempt_between_two_reports", || {
        let reactor = reactor();
        let (source, readiness) = pair(&reactor);
        let setter = readiness.clone();
        let thread = thread::spawn(move || setter.set(Ready::READABLE));
        let read = source.read_with(|_| {
            if readiness.get().is_empty() {
                Err(std::io::ErrorKind::WouldBlock.into())
            } else {
                Ok(())
            }
        });
        reactor.block_on(read).unwrap().unwrap();
        assert!(thread.join().unwrap());
    });
}

/// After reports in vain there are edges only. One that comes right after an attempt must not be taken
/// for refuted by that.
#[test]
fn an_edge_beside_an_attempt() {
    explore_both("an_edge_beside_an_attempt", |until| {
        let reactor = reactor();
        let (source, readiness) = pair(&reactor);
        readiness.set(Ready::READABLE);
        let in_vain = |_: &VirtualSource| Err::<(), _>(std::io::ErrorKind::WouldBlock.into());
        reactor.block_on(source.readable()).unwrap().unwrap();
        for _ in 0..2 {
            assert!(source.try_io(Interest::READABLE, in_vain).is_err());
            look(&reactor);
        }
        readiness.set(Ready::READABLE);
        look(&reactor);
        let (woken, remote, setter) = (Count::default(), reactor.remote(), readiness.clone());
        let counted = woken.clone();
        let thread = thread::spawn(move || {
            let read = source.read_with(|_| {
                if readiness.get().contains(Ready::WRITABLE) {
                    Ok(())
                } else {
                    Err(std::io::ErrorKind::WouldBlock.into())
                }
            });
            block_on(read).unwrap();
            counted.up();
            remote.wake();
        });
        setter.set(Ready::READABLE | Ready::WRITABLE);
        until(&reactor, &woken, 1);
        thread.join().unwrap();
    });
}

fn look(reactor: &Reactor) {
    while !reactor.turn(Some(Duration::ZERO)).unwrap().idle {}
}

#[test]
fn a_task_that_waits_while_its_loop_is_closed() {
    explore("a_task_that_waits_while_its_loop_is_closed", || {
        let reactor = reactor();
        let (source, _readiness) = pair(&reactor);
        let thread = thread::spawn(move || block_on(source.readable()));
        reactor.close();
        let error = thread.join().unwrap().unwrap_err();
        let error = error.into_inner().unwrap();
        let error = error.downcast::<oneloop::Error>().unwrap();
        assert_eq!(error.kind(), ErrorKind::Closed);
    });
}

/// Its last handle goes while the loop reports to it.
#[test]
fn a_source_that_is_dropped_while_it_is_reported() {
    explore("a_source_that_is_dropped_while_it_is_reported", || {
        let reactor = reactor();
        let (source, readiness) = pair(&reactor);
        readiness.set(Ready::READABLE);
        let task = move || {
            let waker = Waker::from(Arc::new(Nothing));
            let mut wait = Box::pin(source.readable());
            let first = wait.as_mut().poll(&mut Context::from_waker(&waker));
            assert!(first.is_pending());
            drop(wait);
            drop(source);
        };
        let thread = thread::spawn(task);
        for _ in 0..2 {
            reactor.turn(Some(Duration::ZERO)).unwrap();
        }
        thread.join().unwrap();
        assert_eq!(reactor.stats().handlers, 0);
        assert!(!readiness.set(Ready::WRITABLE));
    });
}

/// Due at once: it may fire for a waker that is replaced just then.
#[test]
fn a_timer_that_moves_from_task_to_task() {
    explore_both("a_timer_that_moves_from_task_to_task", |until| {
        let reactor = reactor();
        let hour = Duration::from_secs(3600);
        let mut timer = Timer::after(&reactor, hour);
        let (woken, remote) = (Count::default(), reactor.remote());
        let counted = woken.clone();
        let thread = thread::spawn(move || {
            let waker = Waker::from(Arc::new(Nothing));
            let first = pin!(&mut timer).poll(&mut Context::from_waker(&waker));
            assert_eq!(first, Poll::Pending);
            timer.set_after(Duration::ZERO);
            block_on(timer);
            counted.up();
            remote.wake();
        });
        until(&reactor, &woken, 1);
        thread.join().unwrap();
    });
}
