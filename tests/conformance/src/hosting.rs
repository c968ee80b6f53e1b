//! Clauses 22 to 25: the descriptor, changing hosts, the end of `run`, and sleep.

use std::io::{Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

use oneloop::{Action, ErrorKind, Event, HandlerId, Id, Interest, Mode, Reactor, Ready, TimerId};

use crate::os::{self, Socket};
use crate::stage::{after_turns, ours};
use crate::tools::readable;
use crate::{End, Log, Outside, Stage, pair};

const READ: Interest = Interest::READABLE;
const NONE: Interest = Interest::NONE;
const MS: Duration = Duration::from_millis(1);

// Clause 22.

/// A handler resumed by the host's own code while the loop sleeps.
pub fn a_handler_resumed_by_host_code_while_the_loop_sleeps_is_called(stage: &mut Stage) {
    let sources = stage.sources;
    for &mode in stage.modes() {
        let (a, b) = sources.readable();
        let stopper = stage.reactor.clone();
        let handle = move |_: &mut _, _| {
            let _ = &b;
            stopper.stop();
            Action::Remove
        };
        let id = stage
            .reactor
            .add_handler(a, Interest::NONE, mode, handle)
            .expect("add_handler");
        let reactor = stage.reactor.clone();
        stage.run_beside(move || reactor.update_handler(id, READ).expect("known"));
    }
}

/// Bytes come while the loop sleeps.
pub fn bytes_that_arrive_while_the_loop_sleeps_are_reported(stage: &mut Stage) {
    let sources = stage.sources;
    for &mode in stage.modes() {
        let (a, mut b) = sources.pair();
        let stopper = stage.reactor.clone();
        let handle = move |_: &mut _, _| {
            stopper.stop();
            Action::Remove
        };
        stage
            .reactor
            .add_handler(a, READ, mode, handle)
            .expect("add_handler");
        stage.run_beside(move || {
            thread::spawn(move || {
                b.write_all(b"x").expect("room");
                // Gone before it can be read: that is no reason not to be told.
                b
            });
        });
    }
}

/// A long conversation, in which the loop sleeps between any two messages.
pub fn a_long_conversation_with_sleeps_in_between_loses_nothing(stage: &mut Stage) {
    let sources = stage.sources;
    const ROUNDS: u8 = 200;
    for mode in stage.some_of(&[Mode::Level, Mode::Edge]) {
        let (a, mut b) = sources.pair();
        b.set_nonblocking(false).expect("blocking");
        let stopper = stage.reactor.clone();
        let handle = move |stream: &mut End, _| {
            let mut byte = [0];
            if stream.read_exact(&mut byte).is_err() {
                return Action::Continue;
            }
            stream.write_all(&byte).expect("room");
            match byte[0] {
                ROUNDS => {
                    stopper.stop();
                    Action::Remove
                }
                _ => Action::Continue,
            }
        };
        stage
            .reactor
            .add_handler(a, READ, mode, handle)
            .expect("add_handler");
        let peer = thread::spawn(move || {
            for n in 1..=ROUNDS {
                b.write_all(&[n]).expect("connected");
                let mut echo = [0];
                b.read_exact(&mut echo).expect("an answer");
                assert_eq!(echo, [n]);
            }
        });
        stage.run();
        peer.join().expect("no panic");
    }
}

// Clause 23.

/// Stopped and driven again, again and again, on the same host: nothing is lost.
pub fn a_loop_driven_again_after_each_stop_loses_nothing(stage: &mut Stage) {
    let sources = stage.sources;
    let log = Log::default();
    let peers: Vec<_> = (0..20)
        .map(|n| {
            let (a, b) = sources.readable();
            let (log, stopper) = (log.clone(), stage.reactor.clone());
            let handle = move |_: &mut _, _| {
                log.push(n);
                stopper.stop();
            };
            stage
                .reactor
                .add_handler(a, READ, stage.edge_or_oneshot(), handle)
                .expect("add_handler");
            b
        })
        .collect();
    for _ in 0..peers.len() {
        stage.run();
    }
    let mut log = log.take();
    log.sort();
    assert_eq!(log, (0..20).collect::<Vec<_>>());
}

/// Driven on by the built-in loop on another thread, and back.
pub fn a_loop_driven_on_another_thread_and_back_loses_nothing(stage: &mut Stage) {
    let sources = stage.sources;
    let log = Log::default();
    let (a, mut b) = sources.pair();
    let (seen, stopper) = (log.clone(), stage.reactor.clone());
    stage
        .reactor
        .add_handler(a, READ, Mode::Level, move |stream, _| {
            stream.read_exact(&mut [0]).expect("readable");
            seen.push(thread::current().id());
            stopper.stop();
        })
        .expect("add_handler");
    let mut ids = Vec::new();
    for elsewhere in [false, true, false, true] {
        b.write_all(b"x").expect("room");
        if elsewhere {
            let reactor = stage.reactor.clone();
            let run = move || {
                reactor.run().expect("run");
                thread::current().id()
            };
            ids.push(thread::spawn(run).join().expect("no panic"));
        } else {
            stage.run();
        }
    }
    let log = log.take();
    assert_eq!(log.len(), 4);
    assert_eq!([log[1], log[3]], [ids[0], ids[1]]);
}

/// A stop in the middle of a batch: what was not called stays due, on any host.
pub fn callbacks_left_due_by_a_stop_are_called_by_the_next_host(stage: &mut Stage) {
    let log = Log::default();
    let now = Instant::now();
    for n in 0..3 {
        let (log, stopper) = (log.clone(), stage.reactor.clone());
        let timer = move || {
            log.push(n);
            stopper.stop();
        };
        stage.reactor.call_at(now, timer).expect("open");
    }
    for n in 3..6 {
        let (log, stopper) = (log.clone(), stage.reactor.clone());
        let post = move || {
            log.push(n);
            stopper.stop();
        };
        stage.reactor.call_soon(post).expect("open");
    }
    for n in 0..6 {
        match n % 2 {
            0 => stage.run(),
            _ => stage.reactor.run().expect("run"),
        }
        log.expect(&[n]);
    }
}

// Clause 24.

/// `run` returns when nothing is left that could call back.
pub fn run_returns_when_nothing_is_left(stage: &mut Stage) {
    let sources = stage.sources;
    let reactor = &stage.reactor;
    reactor.run().expect("nothing at all");
    let log = Log::default();
    let (a, b) = sources.readable();
    let seen = log.clone();
    let id = reactor
        .add_handler(a, READ, Mode::Oneshot, move |_, _| seen.push("oneshot"))
        .expect("add_handler");
    let seen = log.clone();
    reactor
        .call_later(MS, move || seen.push("timer"))
        .expect("open");
    reactor.run().expect("run");
    log.expect(&["oneshot", "timer"]);
    // The one-shot is still there, and called again once armed.
    reactor.update_handler(id, READ).expect("known");
    reactor.run().expect("run");
    log.expect(&["oneshot"]);
    reactor.update_handler(id, Interest::NONE).expect("known");
    reactor.run().expect("a paused handler cannot call back");
    drop(b);
}

/// Nor does it sleep on if another thread, or a hook, takes the last thing away.
pub fn run_returns_when_the_last_thing_is_taken_away(stage: &mut Stage) {
    let sources = stage.sources;
    type Take = fn(&Reactor, Id);
    let ways: [(bool, Take); 5] = [
        (true, |reactor, id| match id {
            Id::Handler(id) => reactor.remove_handler(id).expect("known"),
            _ => unreachable!("a handler"),
        }),
        (true, |reactor, id| {
            reactor.set_referenced(id, false).expect("known")
        }),
        (true, |reactor, id| match id {
            Id::Handler(id) => reactor.update_handler(id, Interest::NONE).expect("known"),
            _ => unreachable!("a handler"),
        }),
        (false, |reactor, id| match id {
            Id::Timer(id) => reactor.cancel_timer(id).expect("known"),
            _ => unreachable!("a timer"),
        }),
        (false, |reactor, id| {
            reactor.set_referenced(id, false).expect("known")
        }),
    ];
    for (on_handler, take) in ways {
        for by_hook in [true, false] {
            let reactor = Reactor::builder().poller(stage.poller).build();
            let reactor = reactor.expect("a reactor");
            let (a, _b) = sources.pair();
            let id: Id = if on_handler {
                reactor
                    .add_handler(a, READ, Mode::Level, |_, _| {})
                    .expect("add_handler")
                    .into()
            } else {
                reactor
                    .call_later(Duration::from_secs(3600), || {})
                    .expect("open")
                    .into()
            };
            let (sender, about_to_sleep) = std::sync::mpsc::channel();
            let weak = reactor.downgrade();
            let mut once = true;
            let prepare = move || {
                if by_hook && std::mem::take(&mut once) {
                    take(&weak.upgrade().expect("it drives"), id);
                }
                let _ = sender.send(());
                None
            };
            reactor.add_hook(prepare, || {}).expect("open");
            let other = reactor.clone();
            let taker = thread::spawn(move || {
                about_to_sleep.recv().expect("it is driven");
                if !by_hook {
                    take(&other, id);
                }
            });
            reactor.run().expect("run");
            taker.join().expect("no panic");
        }
    }
}

/// An unreferenced handler or timer does not keep `run` going, but fires while it runs.
pub fn an_unreferenced_handler_or_timer_does_not_keep_run_going(stage: &mut Stage) {
    let sources = stage.sources;
    let reactor = &stage.reactor;
    let log = Log::default();
    let (a, _b) = sources.readable();
    let seen = log.clone();
    let id = reactor
        .add_handler(a, READ, Mode::Level, move |_, _| seen.push(()))
        .expect("add_handler");
    reactor.set_referenced(id, false).expect("known");
    let every = reactor
        .call_every(Duration::from_secs(100), || {})
        .expect("open");
    reactor.set_referenced(every, false).expect("known");
    reactor.run().expect("nothing that counts");
    assert!(log.take().is_empty());
    reactor.call_later(2 * MS, || {}).expect("open");
    reactor.run().expect("run");
    assert!(
        !log.take().is_empty(),
        "it fires while others keep the loop alive"
    );
}

/// References can be switched both ways, any number of times, and while a loop waits.
pub fn a_handler_or_timer_that_is_referenced_again_keeps_run_going(stage: &mut Stage) {
    let reactor = stage.reactor.clone();
    let (a, _b) = stage.sources.readable();
    let handler = reactor
        .add_handler(a, READ, Mode::Level, |_, _| {})
        .expect("add_handler");
    let timer = reactor
        .call_every(Duration::from_secs(100), || {})
        .expect("open");
    let ids: [Id; 2] = [handler.into(), timer.into()];
    for id in ids {
        for is_referenced in [false, false, true, true, false] {
            reactor.set_referenced(id, is_referenced).expect("known");
        }
    }
    reactor.run().expect("nothing that counts");
    for id in ids {
        reactor.set_referenced(id, true).expect("known");
        assert!(reactor.is_alive());
        let again = reactor.clone();
        let let_go = move || again.set_referenced(id, false).expect("known");
        reactor.call_later(MS, let_go).expect("open");
        reactor.run().expect("run");
        assert!(!reactor.is_alive());
    }
}

/// An unreferenced handler that is ready in every turn does not keep `run` going.
pub fn an_unreferenced_handler_that_is_always_ready_does_not_keep_run_going(stage: &mut Stage) {
    let reactor = &stage.reactor;
    let calls = stage.watch(os::regular_file(), READ, Mode::Level);
    reactor.set_referenced(calls.id, false).expect("known");
    reactor.run().expect("nothing that counts");
    reactor.call_later(2 * MS, || {}).expect("open");
    reactor.run().expect("run");
    assert!(calls.take() > 0);
}

/// A stop before makes the next driver return at once, and only that one.
pub fn a_stop_before_counts_once(stage: &mut Stage) {
    let log = Log::default();
    let seen = log.clone();
    stage
        .reactor
        .call_soon(move || seen.push("post"))
        .expect("open");
    stage.reactor.stop();
    stage.run();
    log.expect(&[]);
    stage.turns(1);
    log.expect(&["post"]);
    stage.reactor.stop();
    stage.reactor.run().expect("run");
}

/// A stop that comes while `block_on` drives is for that call, also if the future is ready at once.
pub fn a_stop_during_block_on_ends_no_other_driver(stage: &mut Stage) {
    let reactor = stage.reactor.clone();
    let done = stage.reactor.block_on(async { reactor.stop() });
    done.expect("ready");
    let log = Log::default();
    let (seen, stopper) = (log.clone(), stage.reactor.clone());
    let post = move || {
        seen.push("post");
        stopper.stop();
    };
    stage.reactor.call_soon(post).expect("open");
    stage.run();
    log.expect(&["post"]);
}

/// A stop lets the running callback finish and starts no other.
pub fn a_stop_starts_no_other_callback(stage: &mut Stage) {
    let sources = stage.sources;
    let log = Log::default();
    let peers: Vec<_> = (0..3)
        .map(|n| {
            let (a, b) = sources.readable();
            let (log, stopper) = (log.clone(), stage.reactor.clone());
            let handle = move |_: &mut _, _| {
                stopper.stop();
                log.push(n);
            };
            stage
                .reactor
                .add_handler(a, READ, Mode::Level, handle)
                .expect("add_handler");
            b
        })
        .collect();
    let seen = log.clone();
    stage
        .reactor
        .call_soon(move || seen.push(99))
        .expect("open");
    stage.run();
    assert_eq!(log.take().len(), 1);
    drop(peers);
}

/// `block_on` gives the future's result, woken from any thread, while callbacks run.
pub fn block_on_polls_a_future_beside_the_callbacks(stage: &mut Stage) {
    use std::future::poll_fn;
    use std::task::{Poll, Waker};
    let state = Arc::new(std::sync::Mutex::new((0, None::<Waker>)));
    let (remote, shared) = (stage.reactor.remote(), state.clone());
    let thread = thread::spawn(move || {
        for _ in 0..100 {
            let shared = shared.clone();
            let post = move || {
                let mut state = shared.lock().expect("no panic");
                state.0 += 1;
                if let Some(waker) = state.1.take() {
                    thread::spawn(move || waker.wake());
                }
            };
            remote.call_soon(post).expect("open");
        }
    });
    let future = poll_fn(|cx| {
        let mut state = state.lock().expect("no panic");
        state.1 = Some(cx.waker().clone());
        match state.0 {
            100 => Poll::Ready("done"),
            _ => Poll::Pending,
        }
    });
    assert_eq!(stage.reactor.block_on(future).expect("driving"), "done");
    thread.join().expect("no panic");
    stage.reactor.stop();
    let stopped = stage.reactor.block_on(std::future::pending::<()>());
    assert_eq!(stopped.expect_err("stopped").kind(), ErrorKind::Stopped);
}

/// A host's driver that ends as `run` does: what is left is done before.
pub fn a_host_may_end_when_nothing_is_left(stage: &mut Stage) {
    let sources = stage.sources;
    stage.run_until_empty();
    let log = Log::default();
    let (a, mut b) = sources.pair();
    let (seen, poster) = (log.clone(), stage.reactor.remote());
    let read = move |stream: &mut End, _| {
        let _ = stream.read(&mut [0]);
        seen.push("handler");
        let seen = seen.clone();
        poster.call_soon(move || seen.push("post")).expect("open");
        Action::Remove
    };
    let added = stage.reactor.add_handler(a, READ, Mode::Level, read);
    added.expect("add_handler");
    let seen = log.clone();
    let timer = move || {
        seen.push("timer");
        b.write_all(b"x").expect("room");
    };
    stage.reactor.call_later(MS, timer).expect("open");
    stage.run_until_empty();
    log.expect(&["timer", "handler", "post"]);
}

/// Another thread may take the last thing away while the host sleeps.
pub fn a_host_ends_when_another_thread_takes_the_last_thing_away(stage: &mut Stage) {
    let (a, _b) = stage.sources.pair();
    let added = stage
        .reactor
        .add_handler(a, READ, Mode::Level, |_: &mut End, _| {});
    let id = added.expect("add_handler");
    let (sender, asleep) = channel();
    let post = move || sender.send(()).expect("it waits");
    stage.reactor.call_soon(post).expect("open");
    let reactor = stage.reactor.clone();
    let thread = thread::spawn(move || {
        asleep.recv().expect("it runs");
        reactor.remove_handler(id).expect("known");
    });
    stage.run_until_empty();
    thread.join().expect("no panic");
}

/// Whatever drives, a close ends it, with an error that says so.
pub fn a_close_ends_every_driver_with_an_error(stage: &mut Stage) {
    let new = || {
        Reactor::builder()
            .poller(stage.poller)
            .build()
            .expect("a reactor")
    };
    let closed_soon = || {
        let reactor = new();
        let closer = reactor.clone();
        reactor.call_soon(move || closer.close()).expect("open");
        reactor
    };
    type Driver = fn(&Reactor) -> oneloop::Result<()>;
    let drivers: [Driver; 5] = [
        |reactor| reactor.run(),
        |reactor| reactor.run_forever(),
        |reactor| reactor.turn(Some(Duration::ZERO)).map(drop),
        |reactor| reactor.block_on(std::future::pending()),
        |reactor| reactor.host("a host")?.step(100).map(drop),
    ];
    for drive in drivers {
        let reactor = closed_soon();
        for ended in [drive(&reactor), drive(&reactor)] {
            assert_eq!(ended.expect_err("closed").kind(), ErrorKind::Closed);
        }
    }
    let (inside, before, asleep) = (closed_soon(), new(), new());
    before.close();
    let closer = asleep.clone();
    let close = move || {
        thread::spawn(move || closer.close())
            .join()
            .expect("no panic")
    };
    let hosted: [(_, Outside); 3] = [
        (inside, Box::new(|| {})),
        (before, Box::new(|| {})),
        (asleep, Box::new(close)),
    ];
    for (reactor, outside) in hosted {
        let ended = stage.try_run_other(&reactor, outside);
        assert_eq!(ours(ended.expect_err("closed")).kind(), ErrorKind::Closed);
    }
}

// Clause 25.

/// An idle loop stays asleep: counted in turns over a while in which nothing happens.
pub fn an_idle_loop_stays_asleep(stage: &mut Stage) {
    let sources = stage.sources;
    let (a, _b) = sources.pair();
    stage.watch(a, READ, Mode::Level);
    stage
        .reactor
        .call_later(Duration::from_secs(1000), || {})
        .expect("open");
    let stopper = stage.reactor.clone();
    stage
        .reactor
        .call_later(40 * MS, move || stopper.stop())
        .expect("open");
    let before = stage.reactor.stats().turns;
    stage.run();
    let turns = stage.reactor.stats().turns - before;
    assert!(turns <= 8, "{turns} turns for one timer");
}

/// The prepare hook runs before the loop sleeps, the check hook after.
pub fn hooks_run_around_the_sleep(stage: &mut Stage) {
    let log = Log::default();
    let (before, after) = (log.clone(), log.clone());
    let prepare = move || {
        before.push("prepare");
        None
    };
    let hook = stage
        .reactor
        .add_hook(prepare, move || after.push("check"))
        .expect("open");
    let (seen, stopper) = (log.clone(), stage.reactor.clone());
    let timer = move || {
        seen.push("timer");
        stopper.stop();
    };
    stage.reactor.call_later(2 * MS, timer).expect("open");
    stage.run();
    stage.reactor.remove_hook(hook).expect("known");
    let log = log.take();
    let timer = log
        .iter()
        .position(|entry| *entry == "timer")
        .expect("it fired");
    assert_eq!(log[timer - 1], "check", "{log:?}");
    assert_eq!(log[timer - 2], "prepare", "{log:?}");
}

/// A check hook sees with which readiness a handler will be called, and the handler sees its own.
pub fn a_check_hook_sees_the_readiness_of_the_turn(stage: &mut Stage) {
    let ((a, _b), (c, _d)) = (pair(), readable());
    let quiet = stage.watch(a, Interest::READABLE, Mode::Level);
    let log = Log::default();
    let (seen, reactor) = (log.clone(), stage.reactor.clone());
    let callback = move |_: &mut Socket, event: Event| {
        let ready = reactor.handler_ready(event.handler()).expect("known");
        seen.push(("handler", ready));
        Action::Remove
    };
    let added = (stage.reactor).add_handler(c, Interest::READABLE, Mode::Level, callback);
    let (id, quiet) = (added.expect("add_handler"), quiet.id);
    let (seen, reactor) = (log.clone(), stage.reactor.clone());
    let check = move || {
        assert_eq!(reactor.handler_ready(quiet).expect("known"), Ready::NONE);
        match reactor.handler_ready(id) {
            Ok(ready) => seen.push(("check", ready)),
            Err(error) => assert_eq!(error.kind(), ErrorKind::UnknownId),
        }
    };
    let hook = stage.reactor.add_hook(|| None, check).expect("open");
    stage.turns(3);
    stage.reactor.remove_hook(hook).expect("known");
    stage.reactor.remove_handler(quiet).expect("known");
    let log: Vec<_> = log.take();
    let called = log.iter().position(|(which, _)| *which == "handler");
    let called = called.expect("it is ready");
    assert_eq!(log[called].1, Ready::READABLE);
    assert_eq!(log[called - 1], ("check", Ready::READABLE), "{log:?}");
    assert_eq!(log.len(), called + 1);
}

/// A prepare hook that says how long the loop may sleep is obeyed, under any host.
pub fn a_prepare_hook_limits_the_sleep(stage: &mut Stage) {
    let log = Log::default();
    let (seen, stopper) = (log.clone(), stage.reactor.clone());
    let check = move || {
        seen.push(());
        if seen.len() > 5 {
            stopper.stop();
        }
    };
    let hook = stage
        .reactor
        .add_hook(|| Some(2 * MS), check)
        .expect("open");
    stage.run();
    stage.reactor.remove_hook(hook).expect("known");
    assert!(log.len() > 5);
}

/// A pull-style library: it has events in its own queue that no descriptor shows.
pub fn a_prepare_hook_of_zero_lets_nothing_wait(stage: &mut Stage) {
    let queue = Log::default();
    let handled = Log::default();
    let (look, take) = (queue.clone(), queue.clone());
    let (seen, stopper) = (handled.clone(), stage.reactor.clone());
    let check = move || {
        for event in take.take() {
            seen.push(event);
        }
        if seen.len() == 20 {
            stopper.stop();
        }
    };
    let prepare = move || (!look.is_empty()).then_some(Duration::ZERO);
    let hook = stage.reactor.add_hook(prepare, check).expect("open");
    fn produce(reactor: &Reactor, queue: Log<u32>, left: u32) {
        let again = reactor.clone();
        let timer = move || {
            queue.push(left);
            queue.push(left);
            if left > 1 {
                produce(&again, queue.clone(), left - 1);
            }
        };
        reactor.call_later(MS / 2, timer).expect("open");
    }
    produce(&stage.reactor, queue, 10);
    stage.run();
    stage.reactor.remove_hook(hook).expect("known");
    assert_eq!(handled.len(), 20);
}

/// Once a hook that let nothing sleep is gone, the loop sleeps.
pub fn a_hook_that_is_gone_lets_the_loop_sleep(stage: &mut Stage) {
    let hook = stage.reactor.add_hook(|| Some(Duration::ZERO), || {});
    let hook = hook.expect("open");
    let turns = Log::default();
    let (before, after) = (turns.clone(), turns.clone());
    let (remover, stopper) = (stage.reactor.clone(), stage.reactor.clone());
    let remove = move || {
        remover.remove_hook(hook).expect("known");
        before.push(remover.stats().turns);
    };
    let stop = move || {
        after.push(stopper.stats().turns);
        stopper.stop();
    };
    stage.reactor.call_later(2 * MS, remove).expect("open");
    stage.reactor.call_later(40 * MS, stop).expect("open");
    stage.run();
    let turns = turns.take();
    assert!(turns[1] - turns[0] <= 8, "{turns:?}");
}

/// Events that the loop's owner leaves in a library's queue between two turns are not slept over either.
pub fn prepare_is_asked_before_every_sleep(stage: &mut Stage) {
    let queue = Arc::new(AtomicBool::new(false));
    let (full, drained) = (queue.clone(), queue.clone());
    let prepare = move || full.load(SeqCst).then_some(Duration::ZERO);
    let check = move || drained.store(false, SeqCst);
    let hook = stage.reactor.add_hook(prepare, check).expect("open");
    stage.turns(3);
    let reactor = &stage.reactor;
    while !reactor.turn(Some(Duration::ZERO)).expect("a turn").idle {}
    queue.store(true, SeqCst);
    let (start, long) = (Instant::now(), Duration::from_secs(20));
    reactor.turn(Some(long)).expect("a turn");
    assert!(start.elapsed() < long, "it slept over the queue");
    assert!(!queue.load(SeqCst));
    reactor.remove_hook(hook).expect("known");
}

/// A handler fills the queue with more than its library gives away in one go.
pub fn events_that_a_handler_leaves_in_a_queue_are_not_slept_over(stage: &mut Stage) {
    let sources = stage.sources;
    let queue = Log::default();
    let (a, b) = sources.pair();
    let fill = queue.clone();
    let handle = move |stream: &mut End, _| {
        let mut bytes = [0; 64];
        let n = stream.read(&mut bytes).expect("readable");
        bytes[..n].iter().for_each(|byte| fill.push(*byte));
    };
    stage
        .reactor
        .add_handler(a, READ, Mode::Level, handle)
        .expect("add_handler");
    let (look, take, stopper) = (queue.clone(), queue.clone(), stage.reactor.clone());
    let handled = Log::default();
    let seen = handled.clone();
    let check = move || {
        let mut all = take.take().into_iter();
        if let Some(event) = all.next() {
            seen.push(event);
            if event == b'9' {
                stopper.stop();
            }
        }
        all.for_each(|event| take.push(event));
    };
    let prepare = move || (!look.is_empty()).then_some(Duration::ZERO);
    let hook = stage.reactor.add_hook(prepare, check).expect("open");
    let mut writer = b.clone();
    stage.run_beside(move || writer.write_all(b"0123456789").expect("room"));
    stage.reactor.remove_hook(hook).expect("known");
    drop(b);
    handled.expect(b"0123456789");
}

/// The host's own code fills the queue while the loop sleeps. It has to wake the loop after
/// that.
pub fn events_that_host_code_leaves_in_a_queue_are_seen_after_a_wake(stage: &mut Stage) {
    left_while_the_loop_sleeps(stage, |reactor| reactor.wake());
}

/// Or the host, which is about to sleep, has the hooks asked once more.
pub fn events_that_host_code_leaves_in_a_queue_are_seen_by_asking_the_hooks(stage: &mut Stage) {
    left_while_the_loop_sleeps(stage, |reactor| reactor.ask_hooks().expect("no error"));
}

fn left_while_the_loop_sleeps(stage: &mut Stage, then: fn(&Reactor)) {
    let queue = Log::default();
    let (look, take, stopper) = (queue.clone(), queue.clone(), stage.reactor.clone());
    let prepare = move || (!look.is_empty()).then_some(Duration::ZERO);
    let check = move || {
        if !take.take().is_empty() {
            stopper.stop();
        }
    };
    let hook = stage.reactor.add_hook(prepare, check).expect("open");
    for _ in 0..3 {
        let (fill, reactor) = (queue.clone(), stage.reactor.clone());
        stage.run_beside(move || {
            fill.push(());
            then(&reactor);
        });
        assert!(queue.is_empty());
    }
    stage.reactor.remove_hook(hook).expect("known");
}

/// Handlers and posts that a prepare hook adds are not slept over.
pub fn a_prepare_hook_may_post_and_register(stage: &mut Stage) {
    let reactor = stage.reactor.clone();
    let mut once = true;
    let prepare = move || {
        if std::mem::take(&mut once) {
            let stopper = reactor.clone();
            let (a, b) = readable();
            let handle = move |_: &mut _, _| {
                let _ = &b;
                stopper.stop();
            };
            let poster = reactor.clone();
            let add = move || {
                poster
                    .add_handler(a, READ, Mode::Level, handle)
                    .map(drop)
                    .expect("add_handler");
            };
            reactor.call_soon(add).expect("open");
        }
        None
    };
    let hook = stage.reactor.add_hook(prepare, || {}).expect("open");
    stage.run();
    stage.reactor.remove_hook(hook).expect("known");
    after_turns(&stage.reactor, 1, |_| {});
    stage.turns(1);
}

/// Changes by another thread while a prepare hook runs are not slept over: it registers, resumes or sets.
pub fn a_change_by_another_thread_during_a_prepare_hook_is_not_slept_over(stage: &mut Stage) {
    type Act = fn(&Reactor, HandlerId, TimerId);
    let acts: [Act; 3] = [
        |reactor, _, _| {
            let (a, b) = readable();
            let stopper = reactor.clone();
            let handle = move |_: &mut _, _| {
                let _ = &b;
                stopper.stop();
                Action::Remove
            };
            let added = reactor.add_handler(a, READ, Mode::Level, handle);
            added.map(drop).expect("add_handler");
        },
        |reactor, paused, _| reactor.update_handler(paused, READ).expect("known"),
        |reactor, _, far| reactor.reset_timer_after(far, MS).expect("known"),
    ];
    // Asked for the first time a host may not sleep yet; for the second time it does.
    for (act, nth) in acts.into_iter().flat_map(|act| [(act, 1), (act, 2)]) {
        let stopper = stage.reactor.clone();
        let (a, _b) = readable();
        let stop = move |_: &mut _, _| stopper.stop();
        let added = stage.reactor.add_handler(a, NONE, Mode::Level, stop);
        let paused = added.expect("add_handler");
        let stopper = stage.reactor.clone();
        let hours = Duration::from_secs(9999);
        let far = stage.reactor.call_later(hours, move || stopper.stop());
        let far = far.expect("open");
        stage.reactor.call_later(MS, || {}).expect("open");

        let (go, gone) = channel();
        let (done, is_done) = channel();
        let other = stage.reactor.clone();
        let thread = thread::spawn(move || {
            gone.recv().expect("the hook is asked");
            act(&other, paused, far);
            done.send(()).expect("the hook waits");
        });
        let mut asked = 0;
        let prepare = move || {
            asked += 1;
            if asked == nth {
                go.send(()).expect("the thread waits");
                is_done.recv().expect("no panic");
            }
            None
        };
        let hook = stage.reactor.add_hook(prepare, || {}).expect("open");
        stage.run();
        thread.join().expect("no panic");
        stage.reactor.remove_hook(hook).expect("known");
        stage.reactor.remove_handler(paused).expect("known");
        let _ = stage.reactor.cancel_timer(far);
    }
}

/// A hook that another one adds is asked before that sleep, too.
pub fn a_hook_added_by_a_hook_is_asked_before_the_sleep(stage: &mut Stage) {
    let (a, _b) = stage.sources.pair();
    stage.watch(a, READ, Mode::Level);
    let reactor = stage.reactor.clone();
    // The first time comes with a turn that does not sleep anyway.
    let mut asked = 0;
    let prepare = move || {
        asked += 1;
        if asked == 2 {
            let stopper = reactor.clone();
            let has_something = move || {
                stopper.stop();
                None
            };
            reactor.add_hook(has_something, || {}).expect("open");
        }
        None
    };
    stage.reactor.add_hook(prepare, || {}).expect("open");
    stage.run();
}

/// The kernel hears of it before the wait, with and without a hook to be asked there.
pub fn an_interest_changed_in_a_callback_counts_beside_a_hook(stage: &mut Stage) {
    let hook = stage.reactor.add_hook(|| None, || {}).expect("open");
    let (a, _b) = pair();
    let calls = stage.watch(a, READ, Mode::Level);
    let (reactor, id) = (stage.reactor.clone(), calls.id);
    let change = move || {
        reactor
            .update_handler(id, Interest::WRITABLE)
            .expect("known")
    };
    stage.reactor.call_soon(change).expect("open");
    stage.turns(4);
    assert!(calls.take() >= 2);
    stage.reactor.remove_hook(hook).expect("known");
}
