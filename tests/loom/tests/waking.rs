//! Whatever another thread does, a loop that falls asleep or sleeps is woken for it.
#![cfg(loom)]

use std::future::poll_fn;
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

use loom::thread;
use oneloop::{Action, Event, Interest, Mode, Priority, Ready, Step, TestClock, VirtualSource};
use oneloop_loom::{Count, explore, explore_both, join, reactor, reactor_with, sleep};

const HOUR: Duration = Duration::from_secs(3600);

#[test]
fn posts_of_two_threads_are_all_called() {
    explore_both("posts_of_two_threads_are_all_called", |until| {
        let reactor = reactor();
        let count = Count::default();
        let threads = [Priority::Normal, Priority::High].map(|priority| {
            let (remote, count) = (reactor.remote(), count.clone());
            thread::spawn(move || remote.call_soon_with(priority, move || count.up()).unwrap())
        });
        until(&reactor, &count, 2);
        join(threads);
        assert_eq!(count.get(), 2);
    });
}

#[test]
fn posts_of_one_thread_are_called_in_order() {
    explore_both("posts_of_one_thread_are_called_in_order", |until| {
        let reactor = reactor();
        let (count, log) = (Count::default(), Arc::new(Mutex::new(Vec::new())));
        let (remote, ran, log_of_posts) = (reactor.remote(), count.clone(), log.clone());
        let thread = thread::spawn(move || {
            for n in 0..3 {
                let (ran, log) = (ran.clone(), log_of_posts.clone());
                let post = move || {
                    log.lock().unwrap().push(n);
                    ran.up();
                };
                remote.call_soon(post).unwrap();
            }
        });
        until(&reactor, &count, 3);
        thread.join().unwrap();
        assert_eq!(*log.lock().unwrap(), [0, 1, 2]);
    });
}

/// A post that another thread cancels is called, or the thread is told that it was cancelled; it may be both
/// where the call is under way. Its callback is dropped once, and the other post is called.
#[test]
fn a_post_that_another_thread_cancels_is_dropped_once() {
    explore_both(
        "a_post_that_another_thread_cancels_is_dropped_once",
        |until| {
            let reactor = reactor();
            let (count, calls) = (Count::default(), Count::default());
            let (called, held) = (calls.clone(), Arc::new(()));
            let in_post = held.clone();
            let post = move || {
                called.up();
                drop(in_post);
            };
            let id = reactor.call_soon(post).unwrap();
            let ran = count.clone();
            reactor.call_soon(move || ran.up()).unwrap();
            let other = reactor.clone();
            let thread = thread::spawn(move || other.cancel_post(id).is_ok());
            until(&reactor, &count, 1);
            let cancelled = thread.join().unwrap();
            assert!(cancelled || calls.get() == 1);
            assert!(calls.get() <= 1);
            // A post that was cancelled too late is forgotten by the next post.
            let ran = count.clone();
            reactor.call_soon(move || ran.up()).unwrap();
            until(&reactor, &count, 2);
            assert_eq!(Arc::strong_count(&held), 1);
        },
    );
}

#[test]
fn a_timer_of_another_thread_fires() {
    explore_both("a_timer_of_another_thread_fires", |until| {
        let reactor = reactor();
        reactor.call_later(HOUR, || {}).unwrap();
        let (other, count) = (reactor.clone(), Count::default());
        let fired = count.clone();
        let set = move || other.call_later(Duration::ZERO, move || fired.up());
        let thread = thread::spawn(set);
        until(&reactor, &count, 1);
        thread.join().unwrap().unwrap();
    });
}

#[test]
fn a_timer_that_another_thread_moves_fires() {
    explore_both("a_timer_that_another_thread_moves_fires", |until| {
        let reactor = reactor();
        let (other, count) = (reactor.clone(), Count::default());
        let fired = count.clone();
        let timer = reactor.call_later(HOUR, move || fired.up()).unwrap();
        let thread = thread::spawn(move || other.reset_timer(timer, other.now()).unwrap());
        until(&reactor, &count, 1);
        thread.join().unwrap();
    });
}

#[test]
fn a_clock_that_another_thread_moves_wakes_the_loop() {
    explore_both(
        "a_clock_that_another_thread_moves_wakes_the_loop",
        |until| {
            let clock = TestClock::new();
            let reactor = reactor_with(|builder| builder.clock(clock.clone()));
            let count = Count::default();
            let fired = count.clone();
            reactor.call_later(HOUR, move || fired.up()).unwrap();
            let thread = thread::spawn(move || clock.advance(HOUR));
            until(&reactor, &count, 1);
            thread.join().unwrap();
        },
    );
}

/// Each bit arrives, on whichever thread it is set.
#[test]
fn a_source_that_two_threads_set_reports_both_bits() {
    explore_both("a_source_that_two_threads_set_reports_both_bits", |until| {
        let reactor = reactor();
        let (source, readiness) = VirtualSource::pair();
        let (count, mut told) = (Count::default(), [false; 2]);
        let counted = count.clone();
        let handler = move |_: &mut VirtualSource, event: Event| {
            let ready = [event.is_readable(), event.is_writable()];
            for (told, ready) in told.iter_mut().zip(ready) {
                if ready && !std::mem::replace(told, true) {
                    counted.up();
                }
            }
        };
        let both = Interest::READABLE | Interest::WRITABLE;
        let added = reactor.add_handler(source, both, Mode::Edge, handler);
        let threads = [Ready::READABLE, Ready::WRITABLE].map(|ready| {
            let readiness = readiness.clone();
            thread::spawn(move || readiness.set(ready))
        });
        until(&reactor, &count, 2);
        assert_eq!(join(threads), [true; 2]);
        added.unwrap();
    });
}

/// Each handler is told of its own bit, whichever thread sets it.
#[test]
fn two_handlers_on_a_source_that_two_threads_set_are_both_called() {
    explore_both(
        "two_handlers_on_a_source_that_two_threads_set_are_both_called",
        |until| {
            let reactor = reactor();
            let (source, readiness) = VirtualSource::pair();
            let count = Count::default();
            for interest in [Interest::READABLE, Interest::WRITABLE] {
                let told = count.clone();
                let handler = move |_: &mut VirtualSource, _| told.up();
                let mode = Mode::Oneshot;
                let added = reactor.add_handler(source.clone(), interest, mode, handler);
                added.unwrap();
            }
            let threads = [Ready::READABLE, Ready::WRITABLE].map(|ready| {
                let readiness = readiness.clone();
                thread::spawn(move || readiness.set(ready))
            });
            until(&reactor, &count, 2);
            assert_eq!(join(threads), [true; 2]);
        },
    );
}

/// The loop may be looking at the one when the other is set.
#[test]
fn two_sources_that_two_threads_set_are_both_reported() {
    explore_both(
        "two_sources_that_two_threads_set_are_both_reported",
        |until| {
            let reactor = reactor();
            let count = Count::default();
            let threads = [(); 2].map(|()| {
                let (source, readiness) = VirtualSource::pair();
                let told = count.clone();
                let handler = move |_: &mut VirtualSource, _| told.up();
                let what = (Interest::READABLE, Mode::Oneshot);
                let added = reactor.add_handler(source, what.0, what.1, handler);
                added.unwrap();
                thread::spawn(move || {
                    readiness.set(Ready::READABLE);
                    readiness
                })
            });
            until(&reactor, &count, 2);
            join(threads);
            assert_eq!(count.get(), 2);
        },
    );
}

/// Whether it is set before or after it has a handler.
#[test]
fn a_source_that_is_set_while_its_handler_is_added_is_reported() {
    explore_both(
        "a_source_that_is_set_while_its_handler_is_added_is_reported",
        |until| {
            let reactor = reactor();
            let (source, readiness) = VirtualSource::pair();
            let (other, count) = (reactor.clone(), Count::default());
            let called = count.clone();
            let handler = move |_: &mut VirtualSource, _| {
                called.up();
                Action::Remove
            };
            let add = move || {
                let what = (Interest::READABLE, Mode::Edge);
                other.add_handler(source, what.0, what.1, handler).is_ok()
            };
            let set = move || {
                let _watched = readiness.set(Ready::READABLE);
                true
            };
            let threads = [thread::spawn(add), thread::spawn(set)];
            until(&reactor, &count, 1);
            assert_eq!(join(threads), [true; 2]);
            assert_eq!(count.get(), 1);
        },
    );
}

/// The last that could make it ready is gone: a hang-up.
#[test]
fn a_source_whose_readiness_other_threads_drop_hangs_up() {
    explore_both(
        "a_source_whose_readiness_other_threads_drop_hangs_up",
        |until| {
            let reactor = reactor();
            let (source, readiness) = VirtualSource::pair();
            let count = Count::default();
            let told = count.clone();
            let handler = move |_: &mut VirtualSource, event: Event| {
                assert!(event.is_hangup());
                told.up();
            };
            let what = (Interest::READABLE, Mode::Oneshot);
            let added = reactor.add_handler(source, what.0, what.1, handler);
            let threads = [readiness.clone(), readiness].map(|one| thread::spawn(|| drop(one)));
            until(&reactor, &count, 1);
            join(threads);
            assert_eq!(count.get(), 1);
            added.unwrap();
        },
    );
}

#[test]
fn a_stop_of_another_thread_ends_the_driver() {
    explore("a_stop_of_another_thread_ends_the_driver, built-in", || {
        let reactor = reactor();
        reactor.call_later(HOUR, || {}).unwrap();
        let remote = reactor.remote();
        let thread = thread::spawn(move || remote.stop());
        reactor.run().unwrap();
        thread.join().unwrap();
    });
    explore("a_stop_of_another_thread_ends_the_driver, hosted", || {
        let reactor = reactor();
        let remote = reactor.remote();
        let thread = thread::spawn(move || remote.stop());
        let mut host = reactor.host("loom").unwrap();
        loop {
            match host.step(1).unwrap() {
                Step::Watch | Step::Unwatch | Step::Yield => {}
                Step::Sleep => sleep(&host),
                Step::Done => break,
            }
        }
        thread.join().unwrap();
    });
}

/// A post runs, or stays for the next driver.
#[test]
fn a_stop_loses_no_post() {
    explore_both("a_stop_loses_no_post", |until| {
        let reactor = reactor();
        let anchor = reactor.call_later(HOUR, || {}).unwrap();
        let (count, stopper, remote) = (Count::default(), reactor.remote(), reactor.remote());
        let ran = count.clone();
        let post = move || {
            remote.call_soon(move || ran.up()).unwrap();
        };
        let threads = [thread::spawn(post), thread::spawn(move || stopper.stop())];
        reactor.run().unwrap();
        reactor.cancel_timer(anchor).unwrap();
        until(&reactor, &count, 1);
        join(threads);
        assert_eq!(count.get(), 1);
    });
}

#[test]
fn a_loop_that_loses_its_last_handler_and_timer_ends() {
    explore("a_loop_that_loses_its_last_handler_and_timer_ends", || {
        let reactor = reactor();
        let (source, _readiness) = VirtualSource::pair();
        let (interest, mode) = (Interest::READABLE, Mode::Level);
        let handler = reactor.add_handler(source, interest, mode, |_, _| {});
        let handler = handler.unwrap();
        let timer = reactor.call_later(HOUR, || {}).unwrap();
        let (one, two) = (reactor.clone(), reactor.clone());
        let remove = move || one.remove_handler(handler).unwrap();
        let unref = move || two.set_referenced(timer, false).unwrap();
        let threads = [thread::spawn(remove), thread::spawn(unref)];
        reactor.run().unwrap();
        join(threads);
    });
}

#[test]
fn a_future_that_another_thread_wakes_is_polled() {
    explore("a_future_that_another_thread_wakes_is_polled", || {
        let reactor = reactor();
        let done = Count::default();
        let mut thread = None;
        let future = poll_fn(|cx| {
            let (waker, set) = (cx.waker().clone(), done.clone());
            thread.get_or_insert_with(|| {
                thread::spawn(move || {
                    set.up();
                    waker.wake();
                })
            });
            match done.get() {
                0 => Poll::Pending,
                _ => Poll::Ready(()),
            }
        });
        reactor.block_on(future).unwrap();
        thread.unwrap().join().unwrap();
    });
}
