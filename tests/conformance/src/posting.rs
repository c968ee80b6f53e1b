//! Clauses 20 and 21: posts and wakes.

use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use oneloop::{Action, ErrorKind, Interest, Mode, PostId, Priority, Reactor};

use crate::stage::{Drops, Number, after_turns, ours};
use crate::tools::readable;
use crate::{Log, Outside, Stage};

// Clause 20.

/// Posts run in order.
pub fn posts_run_in_order(stage: &mut Stage) {
    let log = Log::default();
    for n in 0..100 {
        let log = log.clone();
        stage.reactor.call_soon(move || log.push(n)).expect("open");
    }
    stage.turns(1);
    log.expect(&(0..100).collect::<Vec<_>>());
}

/// A post that is cancelled is not called, and its callback is dropped, once. The others keep their order.
pub fn a_cancelled_post_is_not_called(stage: &mut Stage) {
    for priority in [Priority::High, Priority::Normal, Priority::Idle] {
        let (log, drops) = (Log::default(), Drops::default());
        let reactor = &stage.reactor;
        let ids: Vec<_> = (0..5)
            .map(|n| {
                let (log, dropped) = (log.clone(), drops.guard());
                let post = move || {
                    let _dropped = &dropped;
                    log.push(n);
                };
                reactor.call_soon_with(priority, post).expect("open")
            })
            .collect();
        for n in [0, 3] {
            reactor.cancel_post(ids[n]).expect("it waits");
            let again = reactor.cancel_post(ids[n]).expect_err("twice");
            assert_eq!(again.kind(), ErrorKind::UnknownId);
        }
        assert_eq!(drops.count(), 2);
        let stopper = reactor.clone();
        let stop = move || stopper.stop();
        reactor.call_soon_with(priority, stop).expect("open");
        stage.run();
        log.expect(&[1, 2, 4]);
        assert_eq!(drops.count(), 5);
        for id in ids {
            let late = stage.reactor.cancel_post(id).expect_err("over");
            assert_eq!(late.kind(), ErrorKind::UnknownId);
        }
    }
}

/// Also by another post of the same turn, by which time the turn has taken it up, and after a stop.
pub fn a_post_can_be_cancelled_by_another(stage: &mut Stage) {
    let (log, drops) = (Log::default(), Drops::default());
    let ids: Arc<Mutex<Vec<PostId>>> = Arc::default();
    for n in 0..6 {
        let (reactor, log, ids, dropped) = (
            stage.reactor.clone(),
            log.clone(),
            ids.clone(),
            drops.guard(),
        );
        let ids_of_posts = ids.clone();
        let post = move || {
            let _dropped = &dropped;
            log.push(n);
            let ids = ids_of_posts.lock().expect("no panic").clone();
            if n == 1 {
                // The post that runs, one that ran, and two that wait.
                for n in [1, 0] {
                    let error = reactor.cancel_post(ids[n]).expect_err("begun");
                    assert_eq!(error.kind(), ErrorKind::UnknownId);
                }
                for n in [2, 4] {
                    reactor.cancel_post(ids[n]).expect("it waits");
                }
                reactor.stop();
            }
        };
        let id = stage.reactor.call_soon(post).expect("open");
        ids.lock().expect("no panic").push(id);
    }
    stage.run();
    log.expect(&[0, 1]);
    stage.turns(2);
    log.expect(&[3, 5]);
    assert_eq!(drops.count(), 6);
}

/// An id means nothing on another loop, nor after the loop was closed.
pub fn a_post_is_cancelled_on_its_own_loop_only(stage: &mut Stage) {
    let other = Reactor::new().expect("another loop");
    let log = Log::default();
    let seen = log.clone();
    let id = stage
        .reactor
        .call_soon(move || seen.push(()))
        .expect("open");
    other.call_soon(|| {}).expect("open");
    let unknown = other.cancel_post(id).expect_err("of another loop");
    assert_eq!(unknown.kind(), ErrorKind::UnknownId);
    stage.turns(1);
    log.expect(&[()]);
    stage.reactor.close();
    let closed = stage.reactor.cancel_post(id).expect_err("closed");
    assert_eq!(closed.kind(), ErrorKind::Closed);
}

/// A post by another thread wakes a loop that sleeps.
pub fn a_post_by_another_thread_wakes_the_loop(stage: &mut Stage) {
    let reactor = stage.reactor.clone();
    stage.run_beside(move || {
        thread::spawn(move || {
            let stopper = reactor.clone();
            reactor.call_soon(move || stopper.stop()).expect("open");
        });
    });
}

/// A post by the host's own code, outside a turn, wakes it.
pub fn a_post_by_host_code_wakes_the_loop(stage: &mut Stage) {
    let reactor = stage.reactor.clone();
    stage.run_beside(move || {
        let stopper = reactor.clone();
        reactor.call_soon(move || stopper.stop()).expect("open");
    });
}

/// A stop by another thread wakes it.
pub fn a_stop_by_another_thread_wakes_the_loop(stage: &mut Stage) {
    let reactor = stage.reactor.clone();
    stage.run_beside(move || {
        thread::spawn(move || reactor.stop());
    });
}

/// Thousands of posts from four threads, to a loop that sleeps and wakes all the while: none is
/// lost, and each thread's are in order.
pub fn no_post_is_lost_and_each_threads_are_in_order(stage: &mut Stage) {
    const EACH: usize = 5000;
    let log = Log::default();
    let threads: Vec<_> = (0..4)
        .map(|me| {
            let (remote, log) = (stage.reactor.remote(), log.clone());
            thread::spawn(move || {
                for n in 0..EACH {
                    let log = log.clone();
                    remote.call_soon(move || log.push((me, n))).expect("open");
                    if n % 64 == 0 {
                        thread::yield_now();
                    }
                }
            })
        })
        .collect();
    let (reactor, joiner) = (stage.reactor.clone(), stage.reactor.remote());
    thread::spawn(move || {
        for thread in threads {
            thread.join().expect("no panic");
        }
        joiner.call_soon(move || reactor.stop()).expect("open");
    });
    stage.run();
    let log = log.take();
    for me in 0..4 {
        let own: Vec<_> = log
            .iter()
            .filter(|(who, _)| *who == me)
            .map(|(_, n)| *n)
            .collect();
        assert_eq!(own, (0..EACH).collect::<Vec<_>>());
    }
}

/// Ping-pong: each post is made when the loop has just gone, or is just going, to sleep.
pub fn no_wake_is_lost_between_looking_and_sleeping(stage: &mut Stage) {
    let (answer, answers) = std::sync::mpsc::channel();
    let (remote, reactor) = (stage.reactor.remote(), stage.reactor.clone());
    let pinger = thread::spawn(move || {
        for _ in 0..2000 {
            let answer = answer.clone();
            remote
                .call_soon(move || answer.send(()).expect("listening"))
                .expect("open");
            let wait = answers.recv_timeout(Duration::from_secs(20));
            wait.expect("a wake was lost");
        }
        reactor.stop();
    });
    stage.run();
    pinger.join().expect("no panic");
}

/// Many posts before the loop looks cost few turns.
pub fn many_posts_cost_one_wake(stage: &mut Stage) {
    let log = Log::default();
    let remote = stage.reactor.remote();
    let posts = log.clone();
    thread::spawn(move || {
        for _ in 0..10_000 {
            let posts = posts.clone();
            remote.call_soon(move || posts.push(())).expect("open");
        }
    })
    .join()
    .expect("no panic");
    let before = stage.reactor.stats().turns;
    stage.turns(1);
    assert_eq!(log.len(), 10_000);
    assert!(stage.reactor.stats().turns - before < 6);
}

// Clause 21.

/// A turn is: urgent posts, handlers, timers, posts.
pub fn urgent_posts_run_before_the_handlers(stage: &mut Stage) {
    let (a, _b) = stage.sources.readable();
    let log = Log::default();
    let reactor = &stage.reactor;
    let note = |name: &'static str| {
        let log = log.clone();
        move || log.push(name)
    };
    let handler = note("handler");
    reactor
        .add_handler(a, Interest::READABLE, Mode::Oneshot, move |_, _| handler())
        .expect("add_handler");
    reactor
        .call_later(Duration::ZERO, note("timer"))
        .expect("open");
    for (priority, name) in [
        (Priority::Idle, "idle"),
        (Priority::Normal, "normal"),
        (Priority::High, "high"),
        (Priority::High, "high, second"),
    ] {
        reactor.call_soon_with(priority, note(name)).expect("open");
    }
    let stopper = stage.reactor.clone();
    reactor
        .call_soon_with(Priority::Idle, move || stopper.stop())
        .expect("open");
    stage.run();
    log.expect(&["high", "high, second", "handler", "timer", "normal", "idle"]);
}

/// Idle posts wait for a turn that had nothing else to do, and each for one of its own.
pub fn idle_posts_run_when_there_is_nothing_else(stage: &mut Stage) {
    let log = Log::default();
    let reactor = &stage.reactor;
    for number in 0..3 {
        let (seen, poster) = (log.clone(), reactor.clone());
        let idle = move || {
            seen.push(format!("idle {number}"));
            let (seen, stopper) = (seen.clone(), poster.clone());
            poster
                .call_soon(move || {
                    seen.push(format!("after {number}"));
                    if number == 2 {
                        stopper.stop();
                    }
                })
                .expect("open");
        };
        reactor.call_soon_with(Priority::Idle, idle).expect("open");
    }
    let seen = log.clone();
    after_turns(reactor, 20, move |_| seen.push("busy no more".into()));
    stage.run();
    let expected = [
        "busy no more",
        "idle 0",
        "after 0",
        "idle 1",
        "after 1",
        "idle 2",
        "after 2",
    ];
    assert_eq!(log.take(), expected);
}

/// None shares a turn with a handler, a timer or another post.
pub fn idle_posts_have_turns_of_their_own(stage: &mut Stage) {
    type Add = fn(&Stage, Outside);
    let others: [Add; 3] = [
        |stage, other| {
            let (a, b) = stage.sources.readable();
            let mut other = Some(other);
            let handle = move |_: &mut _, _| {
                let _ = &b;
                other.take().into_iter().for_each(|other| other());
                Action::Remove
            };
            let add = { &stage.reactor }.add_handler(a, Interest::READABLE, Mode::Level, handle);
            add.expect("add_handler");
        },
        |stage, other| {
            let mut other = Some(other);
            let fire = move || other.take().into_iter().for_each(|other| other());
            stage
                .reactor
                .call_later(Duration::ZERO, fire)
                .expect("open");
        },
        |stage, other| {
            stage.reactor.call_soon(other).expect("open");
        },
    ];
    for add in others {
        let turns = Log::default();
        let [other, idle] = [(); 2].map(|()| {
            let (turns, reactor) = (turns.clone(), stage.reactor.clone());
            move || turns.push(reactor.stats().turns)
        });
        let stopper = stage.reactor.clone();
        let idle = move || {
            idle();
            stopper.stop();
        };
        let posted = stage.reactor.call_soon_with(Priority::Idle, idle);
        posted.expect("open");
        add(stage, Box::new(other));
        stage.run();
        let turns = turns.take();
        assert!(turns.len() == 2 && turns[0] < turns[1], "{turns:?}");
    }
}

/// The loop does not sleep while there are idle posts.
pub fn idle_posts_let_nothing_sleep(stage: &mut Stage) {
    fn again(reactor: &Reactor, left: usize) {
        let next = reactor.clone();
        let idle = move || match left {
            0 => next.stop(),
            _ => again(&next, left - 1),
        };
        reactor
            .call_soon_with(Priority::Idle, Box::new(idle) as Outside)
            .expect("open");
    }
    again(&stage.reactor, 10);
    stage.run();
    let reactor = stage.reactor.clone();
    stage.run_beside(move || again(&reactor, 10));
}

/// Events that concern no handler are nothing to do: here, of a file that was closed under its handler while
/// another number keeps it open.
pub fn idle_posts_run_beside_events_without_a_handler(stage: &mut Stage) {
    let (a, _b) = readable();
    let number = Number::of(&a);
    let closed = stage.watch_number(number.get(), Interest::READABLE, Mode::Level);
    stage.turns(2);
    number.close();
    let removed = stage.reactor.remove_handler(closed.id);
    removed.expect("known");
    let stopper = stage.reactor.clone();
    let idle = move || stopper.stop();
    let posted = stage.reactor.call_soon_with(Priority::Idle, idle);
    posted.expect("open");
    stage.run();
    drop(a);
}

/// After the reactor is gone a post fails and the closure comes back.
pub fn after_the_reactor_is_gone_a_post_comes_back(stage: &mut Stage) {
    let reactor = Reactor::builder()
        .poller(stage.poller)
        .build()
        .expect("a reactor");
    let remote = reactor.remote();
    let drops = Drops::default();
    let guard = drops.guard();
    reactor.call_soon(move || drop(guard)).expect("open");
    drop(reactor);
    assert_eq!(
        drops.count(),
        1,
        "what was not called is dropped with the reactor"
    );
    let guard = drops.guard();
    let back = remote.call_soon(move || drop(guard)).expect_err("gone");
    assert_eq!(drops.count(), 1);
    assert_eq!(back.error().kind(), ErrorKind::Closed);
    drop(back.into_callback());
    assert_eq!(drops.count(), 2);
    remote.wake();
}

/// After `close` everything fails with an error that says so, and all was dropped.
pub fn after_close_every_call_says_so(stage: &mut Stage) {
    let reactor = stage.reactor.clone();
    let drops = Drops::default();
    let timer = {
        let guard = drops.guard();
        reactor
            .call_later(Duration::from_secs(9), move || {
                let _ = &guard;
            })
            .expect("open")
    };
    let guard = drops.guard();
    reactor.call_soon(move || drop(guard)).expect("open");
    reactor.close();
    assert_eq!(drops.count(), 2);
    assert!(reactor.call_soon(|| {}).is_err());
    for error in [
        reactor.cancel_timer(timer).expect_err("closed"),
        reactor.run().expect_err("closed"),
        reactor
            .call_later(Duration::ZERO, || {})
            .expect_err("closed"),
    ] {
        assert_eq!(error.kind(), ErrorKind::Closed);
    }
}

/// After `close` in a callback, the reactor calls no other callback.
pub fn after_close_in_a_callback_no_other_callback_is_called(stage: &mut Stage) {
    let reactor = stage.reactor.clone();
    let now = std::time::Instant::now();
    stage
        .reactor
        .call_at(now, move || reactor.close())
        .expect("open");
    stage
        .reactor
        .call_at(now, || panic!("closed"))
        .expect("open");
    stage.reactor.call_soon(|| panic!("closed")).expect("open");
    let ended = stage.try_run(Box::new(|| {})).expect_err("closed");
    assert_eq!(ours(ended).kind(), ErrorKind::Closed);
}

/// `close` drops posts that a stop has left over, or that come after the one that closes; also if
/// they hold the reactor themselves.
pub fn close_drops_the_posts_that_were_not_called(stage: &mut Stage) {
    for close_in_a_post in [false, true] {
        let reactor = Reactor::builder().poller(stage.poller).build();
        let reactor = reactor.expect("a reactor");
        let weak = reactor.downgrade();
        let (first, own, drops) = (reactor.clone(), reactor.clone(), Drops::default());
        let guard = drops.guard();
        let post = move || {
            if close_in_a_post {
                first.close()
            } else {
                first.stop()
            }
        };
        reactor.call_soon(post).expect("open");
        let hold = move || drop((own, guard));
        reactor.call_soon(hold).expect("open");
        let ended = reactor.run().map_err(|error| error.kind());
        let expected = if close_in_a_post {
            Err(ErrorKind::Closed)
        } else {
            Ok(())
        };
        assert_eq!(ended, expected);
        reactor.close();
        drop(reactor);
        assert_eq!(drops.count(), 1);
        assert!(weak.upgrade().is_none(), "it keeps itself alive");
    }
}
