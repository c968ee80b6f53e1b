//! Removing, cancelling, closing and dropping while another thread dispatches or posts: nothing is called any more,
//! and everything is dropped once, where it belongs.
#![cfg(loom)]

use std::rc::Rc;
use std::time::Duration;

use loom::sync::atomic::{AtomicBool, Ordering::SeqCst};
use loom::thread;
use oneloop::{Action, Error, ErrorKind, Interest, Mode, Priority, Reactor, Ready, VirtualSource};
use oneloop_loom::{Count, explore, explore_both, join, local_reactor, reactor};

const HOUR: Duration = Duration::from_secs(3600);

/// Some turns, none of which waits.
fn turn(reactor: &Reactor) {
    for _ in 0..2 {
        reactor.turn(Some(Duration::ZERO)).unwrap();
    }
}

/// A handler that is always ready, and what counts its calls and its drop.
fn busy_handler(
    reactor: &Reactor,
    mut each: impl FnMut() -> Action + Send + 'static,
) -> (oneloop::HandlerId, Count, Count) {
    let (source, readiness) = VirtualSource::pair();
    readiness.set(Ready::READABLE);
    let (calls, drops) = (Count::default(), Count::default());
    let (called, dropped) = (calls.clone(), drops.on_drop());
    let handler = move |_: &mut VirtualSource, _| {
        let _with = (&dropped, &readiness);
        called.up();
        each()
    };
    let added = reactor.add_handler(source, Interest::READABLE, Mode::Level, handler);
    (added.unwrap(), calls, drops)
}

/// From another thread: one call may be under way when it returns, and no other comes after.
#[test]
fn a_handler_that_another_thread_removes_is_not_called_again() {
    explore(
        "a_handler_that_another_thread_removes_is_not_called_again",
        || {
            let reactor = reactor();
            let (id, calls, drops) = busy_handler(&reactor, || Action::Continue);
            let (other, counted) = (reactor.clone(), calls.clone());
            let thread = thread::spawn(move || {
                other.remove_handler(id).unwrap();
                counted.get()
            });
            turn(&reactor);
            let before = thread.join().unwrap();
            assert!(calls.get() <= before + 1);
            assert_eq!(drops.get(), 1);
            assert_eq!(reactor.stats().handlers, 0);
        },
    );
}

/// Two threads and the handler itself: one of them has removed it.
#[test]
fn a_handler_is_removed_by_one_of_three() {
    explore("a_handler_is_removed_by_one_of_three", || {
        let reactor = reactor();
        let (id, calls, drops) = busy_handler(&reactor, || Action::Remove);
        let threads = [(); 2].map(|()| {
            let other = reactor.clone();
            thread::spawn(move || usize::from(other.remove_handler(id).is_ok()))
        });
        turn(&reactor);
        let removed: usize = join(threads).into_iter().sum();
        assert!(calls.get() <= 1 && removed <= 1 && calls.get() + removed >= 1);
        assert_eq!(drops.get(), 1);
    });
}

/// The place of the one is taken by another while the batch of the first turn is under way.
#[test]
fn a_handler_in_the_place_of_another_gets_no_call_of_it() {
    explore(
        "a_handler_in_the_place_of_another_gets_no_call_of_it",
        || {
            let reactor = reactor();
            let (id, _, drops) = busy_handler(&reactor, || Action::Continue);
            let other = reactor.clone();
            let thread = thread::spawn(move || {
                other.remove_handler(id).unwrap();
                let (source, readiness) = VirtualSource::pair();
                let handler = move |_: &mut VirtualSource, _| -> Action {
                    unreachable!("no thread has set {readiness:?}")
                };
                let added = other.add_handler(source, Interest::READABLE, Mode::Edge, handler);
                added.is_ok()
            });
            turn(&reactor);
            assert!(thread.join().unwrap());
            turn(&reactor);
            assert_eq!(drops.get(), 1);
        },
    );
}

#[test]
fn a_handler_that_another_thread_pauses_and_resumes_is_called() {
    explore_both(
        "a_handler_that_another_thread_pauses_and_resumes_is_called",
        |until| {
            let reactor = reactor();
            let (source, readiness) = VirtualSource::pair();
            let count = Count::default();
            let called = count.clone();
            let handler = move |_: &mut VirtualSource, _| called.up();
            let added = reactor.add_handler(source, Interest::READABLE, Mode::Oneshot, handler);
            let (id, other) = (added.unwrap(), reactor.clone());
            let update = move || {
                for interest in [Interest::NONE, Interest::READABLE] {
                    other.update_handler(id, interest).unwrap();
                }
                true
            };
            let set = move || readiness.set(Ready::READABLE);
            let threads = [thread::spawn(update), thread::spawn(set)];
            until(&reactor, &count, 1);
            assert_eq!(join(threads), [true; 2]);
        },
    );
}

/// One that fires once, and one that fires in every turn. If a call is under way there, it is the last.
#[test]
fn a_timer_that_another_thread_cancels_is_not_called_again() {
    let cancel = |every: bool| {
        let reactor = reactor();
        let (fires, drops) = (Count::default(), Count::default());
        let (fired, dropped) = (fires.clone(), drops.on_drop());
        let fire = move || {
            let _with = &dropped;
            fired.up();
        };
        let timer = if every {
            reactor.call_every(Duration::ZERO, fire)
        } else {
            reactor.call_later(Duration::ZERO, fire)
        };
        let (timer, other, counted) = (timer.unwrap(), reactor.clone(), fires.clone());
        let thread = thread::spawn(move || {
            let cancelled = other.cancel_timer(timer).is_ok();
            (cancelled, counted.get())
        });
        turn(&reactor);
        let (cancelled, before) = thread.join().unwrap();
        assert!(cancelled || !every && fires.get() == 1);
        assert!(fires.get() <= before + 1);
        assert_eq!(drops.get(), 1);
        assert_eq!(reactor.stats().pending_timers, 0);
    };
    explore(
        "a_timer_that_another_thread_cancels_is_not_called_again",
        move || cancel(false),
    );
    explore("a_periodic_timer_that_another_thread_cancels", move || {
        cancel(true);
    });
}

/// Each post runs, or comes back, or is dropped, though there is a handle of the loop: once.
#[test]
fn a_loop_that_another_thread_closes_ends_each_post_once() {
    explore(
        "a_loop_that_another_thread_closes_ends_each_post_once",
        || {
            let reactor = reactor();
            let drops = Count::default();
            for _ in 0..2 {
                let dropped = drops.on_drop();
                reactor.call_soon(move || drop(dropped)).unwrap();
            }
            let (remote, other, dropped) = (reactor.remote(), reactor.clone(), drops.on_drop());
            let post = move || match remote.call_soon(move || drop(dropped)).map(drop) {
                Ok(()) => {}
                Err(error) => assert_eq!(Error::from(error).kind(), ErrorKind::Closed),
            };
            let threads = [thread::spawn(post), thread::spawn(move || other.close())];
            match reactor.turn(Some(Duration::ZERO)) {
                Ok(_) => {}
                Err(error) => assert_eq!(error.kind(), ErrorKind::Closed),
            }
            join(threads);
            assert_eq!(drops.get(), 3);
        },
    );
}

/// A handler, too, and a timer that is due.
#[test]
fn a_busy_loop_that_another_thread_closes_drops_all() {
    explore("a_busy_loop_that_another_thread_closes_drops_all", || {
        let reactor = reactor();
        let (_, _, handlers) = busy_handler(&reactor, || Action::Continue);
        let timers = Count::default();
        let dropped = timers.on_drop();
        let timer = move || {
            let _with = &dropped;
        };
        reactor.call_later(Duration::ZERO, timer).unwrap();
        let other = reactor.clone();
        let thread = thread::spawn(move || other.close());
        for _ in 0..2 {
            match reactor.turn(Some(Duration::ZERO)) {
                Ok(_) => {}
                Err(error) => assert_eq!(error.kind(), ErrorKind::Closed),
            }
        }
        thread.join().unwrap();
        assert_eq!((handlers.get(), timers.get()), (1, 1));
    });
}

/// It sleeps at the time.
#[test]
fn a_loop_that_another_thread_closes_ends() {
    explore("a_loop_that_another_thread_closes_ends", || {
        let reactor = reactor();
        reactor.call_later(HOUR, || {}).unwrap();
        let other = reactor.clone();
        let thread = thread::spawn(move || other.close());
        match reactor.run() {
            Ok(()) => {}
            Err(error) => assert_eq!(error.kind(), ErrorKind::Closed),
        }
        thread.join().unwrap();
    });
}

/// Remotes go on after the last handle of the loop.
#[test]
fn a_loop_that_is_dropped_while_others_post_drops_each_post_once() {
    explore(
        "a_loop_that_is_dropped_while_others_post_drops_each_post_once",
        || {
            let reactor = reactor();
            let drops = Count::default();
            let (remote, dropped) = (reactor.remote(), drops.on_drop());
            let post = move || match remote.call_soon(move || drop(dropped)).map(drop) {
                Ok(()) => {}
                Err(error) => assert_eq!(Error::from(error).kind(), ErrorKind::Closed),
            };
            let (remote, dropped) = (reactor.remote(), drops.on_drop());
            let post_and_stop = move || {
                let _ = remote.call_soon_with(Priority::Idle, move || drop(dropped));
                remote.stop();
            };
            let threads = [thread::spawn(post), thread::spawn(post_and_stop)];
            reactor.turn(Some(Duration::ZERO)).unwrap();
            drop(reactor);
            join(threads);
            assert_eq!(drops.get(), 2);
        },
    );
}

/// Notes on which thread it is dropped.
struct Here(Rc<()>, thread::ThreadId, Count);

impl Drop for Here {
    fn drop(&mut self) {
        assert_eq!(thread::current().id(), self.1);
        self.2.up();
    }
}

/// A value that is not Send stays on the loop's thread, however long another has a remote and a readiness.
#[test]
fn a_local_loop_that_is_dropped_while_others_use_it_drops_on_its_thread() {
    explore(
        "a_local_loop_that_is_dropped_while_others_use_it_drops_on_its_thread",
        || {
            let reactor = local_reactor();
            let drops = Count::default();
            let here = || Here(Rc::new(()), thread::current().id(), drops.clone());
            let (source, readiness) = VirtualSource::pair();
            let one = here();
            let handler = move |_: &mut VirtualSource, _| drop(one.0.clone());
            let added = reactor.add_handler(source, Interest::READABLE, Mode::Level, handler);
            added.unwrap();
            for priority in [Priority::Normal, Priority::Idle] {
                let one = here();
                reactor.call_soon_with(priority, || drop(one)).unwrap();
            }
            let (remote, waker) = (reactor.remote(), reactor.remote());
            let post = move || {
                let _ = remote.call_soon(|| {});
                drop(remote);
            };
            let set = move || {
                readiness.set(Ready::READABLE);
                waker.wake();
                drop((readiness, waker));
            };
            let threads = [thread::spawn(post), thread::spawn(set)];
            reactor.turn(Some(Duration::ZERO)).unwrap();
            drop(reactor);
            assert_eq!(drops.get(), 3);
            join(threads);
        },
    );
}

#[test]
fn a_source_that_is_set_while_its_loop_ends() {
    explore("a_source_that_is_set_while_its_loop_ends", || {
        let reactor = reactor();
        let (source, readiness) = VirtualSource::pair();
        let drops = Count::default();
        let dropped = drops.on_drop();
        let kept = source.clone();
        let handler = move |_: &mut VirtualSource, _| {
            let _with = &dropped;
        };
        let added = reactor.add_handler(source, Interest::READABLE, Mode::Edge, handler);
        added.unwrap();
        let other = readiness.clone();
        let thread = thread::spawn(move || other.set(Ready::READABLE));
        drop(reactor);
        let _watched: bool = thread.join().unwrap();
        assert_eq!(drops.get(), 1);
        assert!(
            !readiness.set(Ready::WRITABLE),
            "no handler watches any more"
        );
        assert_eq!(kept.ready(), Ready::READABLE | Ready::WRITABLE);
    });
}

/// One at a time, and the other is told so.
#[test]
fn of_two_threads_that_drive_one_gets_an_error() {
    explore("of_two_threads_that_drive_one_gets_an_error", || {
        let reactor = reactor();
        let ran = Count::default();
        let inside = loom::sync::Arc::new(AtomicBool::new(false));
        for _ in 0..2 {
            let (ran, inside) = (ran.clone(), inside.clone());
            let post = move || {
                assert!(!inside.swap(true, SeqCst), "two callbacks at once");
                ran.up();
                inside.store(false, SeqCst);
            };
            reactor.call_soon(post).unwrap();
        }
        let drive = |reactor: &Reactor| match reactor.turn(Some(Duration::ZERO)) {
            Ok(turn) => turn.called,
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::AlreadyDriven);
                0
            }
        };
        let other = reactor.clone();
        let thread = thread::spawn(move || drive(&other));
        let called = drive(&reactor) + thread.join().unwrap();
        let called = called + drive(&reactor);
        assert_eq!((called, ran.get()), (2, 2));
    });
}

/// A host gives up its claim in the middle of what others post, and the next finds it all.
#[test]
fn a_loop_that_changes_hosts_while_others_post_loses_nothing() {
    explore_both(
        "a_loop_that_changes_hosts_while_others_post_loses_nothing",
        |until| {
            let reactor = reactor();
            let count = Count::default();
            let (remote, ran) = (reactor.remote(), count.clone());
            let thread = thread::spawn(move || {
                for _ in 0..2 {
                    let ran = ran.clone();
                    remote.call_soon(move || ran.up()).unwrap();
                }
            });
            let mut host = reactor.host("the first").unwrap();
            let _ = host.step(1).unwrap();
            drop(host);
            until(&reactor, &count, 2);
            thread.join().unwrap();
            assert_eq!(count.get(), 2);
        },
    );
}

/// An error, and no deadlock, whichever thread is quicker.
#[test]
fn a_callback_that_drives_while_its_handler_is_removed_gets_an_error() {
    explore(
        "a_callback_that_drives_while_its_handler_is_removed_gets_an_error",
        || {
            let reactor = reactor();
            let weak = reactor.downgrade();
            let drive = move || {
                let again = weak.upgrade().unwrap().turn(Some(Duration::ZERO));
                let kind = again.as_ref().map_err(Error::kind).map(|_| ());
                assert_eq!(kind, Err(ErrorKind::AlreadyDriven));
                Action::Continue
            };
            let (id, _, drops) = busy_handler(&reactor, drive);
            let other = reactor.clone();
            let thread = thread::spawn(move || other.remove_handler(id).unwrap());
            turn(&reactor);
            thread.join().unwrap();
            assert_eq!(drops.get(), 1);
        },
    );
}
