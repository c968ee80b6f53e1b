//! Timers as futures, and as streams.

use std::cell::RefCell;
use std::future::Future;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::Duration;

use async_executor::LocalExecutor;
use futures_lite::StreamExt;
use futures_lite::future;
use oneloop::futures::Timer;
use oneloop::{Reactor, TestClock};

use crate::{MS, Wakes, look, wakes};

#[test]
fn timers_in_order_and_cancelled_by_dropping() {
    let clock = TestClock::eager();
    let reactor = Reactor::builder().clock(clock.clone()).build().unwrap();
    let executor = LocalExecutor::new();
    let log = Rc::new(RefCell::new(Vec::new()));
    let hour = Duration::from_secs(3600);
    for hours in [5, 1, 3] {
        let timer = Timer::after(&reactor, hours * hour);
        let log = log.clone();
        let wait = async move {
            timer.await;
            log.borrow_mut().push(hours);
        };
        executor.spawn(wait).detach();
    }
    let timer = Timer::after(&reactor, 2 * hour);
    let cancelled = executor.spawn(async {
        timer.await;
        unreachable!("it was dropped");
    });
    let main = executor.run(async {
        Timer::after(&reactor, hour / 2).await;
        cancelled.cancel().await;
        let mut moved = Timer::after(&reactor, 100 * hour);
        assert!(future::poll_once(&mut moved).await.is_none());
        moved.set_after(6 * hour);
        moved.await
    });
    let start = clock.now();
    let fired = reactor.block_on(main).unwrap();
    assert_eq!(fired - start, 6 * hour + hour / 2);
    assert_eq!(*log.borrow(), [1, 3, 5]);
    assert_eq!(reactor.stats().pending_timers, 0);
}

#[test]
fn ticks_keep_their_phase_and_those_that_were_missed_are_skipped() {
    let clock = TestClock::new();
    let reactor = Reactor::builder().clock(clock.clone()).build().unwrap();
    let start = clock.now();
    let mut ticks = Timer::interval(&reactor, 10 * MS);
    let (woken, waker) = wakes();
    let mut cx = Context::from_waker(&waker);
    let mut tick = |to: u32| {
        let now = clock.now() - start;
        clock.advance(to * MS - now);
        look(&reactor);
        match ticks.poll_next(&mut cx) {
            Poll::Ready(tick) => Some(tick.unwrap() - start),
            Poll::Pending => None,
        }
    };
    assert_eq!(tick(9), None);
    assert_eq!(tick(10), Some(10 * MS));
    assert_eq!(tick(10), None);
    assert_eq!(tick(47), Some(40 * MS), "the last of those that passed");
    assert_eq!(tick(49), None);
    assert_eq!(tick(50), Some(50 * MS));
    assert!(woken.take() > 0);

    let mut once = Timer::at(&reactor, start);
    assert_eq!(once.poll_next(&mut cx), Poll::Ready(Some(start)));
    assert_eq!(once.poll_next(&mut cx), Poll::Ready(None));
    let mut never = Timer::after(&reactor, Duration::MAX);
    assert_eq!(never.deadline(), None);
    assert!(never.poll_next(&mut cx).is_pending());
}

#[test]
fn a_timer_that_is_moved_wakes_its_task() {
    let clock = TestClock::new();
    let reactor = Reactor::builder().clock(clock.clone()).build().unwrap();
    let (woken, waker) = wakes();
    let mut cx = Context::from_waker(&waker);
    let mut never = Timer::after(&reactor, Duration::MAX);
    let mut soon = Timer::after(&reactor, MS);
    let mut late = Timer::after(&reactor, 60 * MS);
    let mut ticks = Timer::interval(&reactor, Duration::MAX);
    assert!(pin!(&mut never).poll(&mut cx).is_pending());
    assert!(pin!(&mut soon).poll(&mut cx).is_pending());
    assert!(pin!(&mut late).poll(&mut cx).is_pending());
    assert!(ticks.poll_next(&mut cx).is_pending());
    soon.set_after(Duration::MAX);
    clock.advance(MS);
    look(&reactor);
    assert_eq!(woken.take(), 0);
    never.set_after(MS);
    soon.set_after(MS);
    late.set_after(MS);
    ticks.set_after(MS);
    clock.advance(MS);
    look(&reactor);
    assert_eq!(woken.take(), 4);
}

#[test]
fn a_timer_is_moved_to_a_deadline() {
    let clock = TestClock::eager();
    let reactor = Reactor::builder().clock(clock.clone()).build().unwrap();
    let mut timer = Timer::after(&reactor, Duration::MAX);
    assert_eq!(timer.deadline(), None);
    let deadline = clock.now() + 60 * MS;
    timer.set_at(deadline);
    assert_eq!(timer.deadline(), Some(deadline));
    assert_eq!(reactor.block_on(timer).unwrap(), deadline);
}

#[test]
fn a_dropped_wait_of_a_timer_leaves_no_timer_in_the_loop() {
    let reactor = Reactor::new().unwrap();
    let pending = || reactor.stats().pending_timers;
    let mut timer = Timer::after(&reactor, MS * 60_000);
    assert_eq!(pending(), 0, "it was not polled");
    let poll = |timer: &mut Timer| {
        let mut cx = Context::from_waker(Waker::noop());
        assert!(pin!(timer).poll(&mut cx).is_pending());
    };
    for _ in 0..3 {
        poll(&mut timer);
        assert_eq!(pending(), 1);
    }
    timer.set_after(Duration::MAX);
    assert_eq!(pending(), 0);
    timer.set_after(MS * 60_000);
    assert_eq!(pending(), 1);
    drop(timer);
    assert_eq!(pending(), 0);
}

/// The loop may fire for the waker before just when a poll brings another.
#[test]
fn a_timer_that_is_given_another_waker_as_it_fires_wakes_that_one() {
    let reactor = Reactor::new().unwrap();
    let every = reactor.call_every(Duration::ZERO, || {}).unwrap();
    let driven = reactor.clone();
    let driver = thread::spawn(move || driven.run().unwrap());
    for _ in 0..10_000 {
        let mut timer = Timer::after(&reactor, Duration::from_micros(10));
        let mut before: Option<Arc<Wakes>> = None;
        loop {
            let (woken, waker) = wakes();
            if pin!(&mut timer)
                .poll(&mut Context::from_waker(&waker))
                .is_ready()
            {
                break;
            }
            if before.is_some_and(|before| before.take() > 0) {
                // Or this test never ends.
                while woken.take() == 0 {
                    thread::yield_now();
                }
                break;
            }
            before = Some(woken);
        }
    }
    reactor.cancel_timer(every).unwrap();
    driver.join().unwrap();
}
