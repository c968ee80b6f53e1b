//! A host's budget bounds the work of one call of `Host::step`, in each phase of a turn.

use std::cell::Cell;
use std::future::Future;
use std::io::{self, Read, Write};
use std::pin::{Pin, pin};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use oneloop::adapter::{Descriptor, Drive, Watch};
use oneloop::futures::Async;
use oneloop::{
    Action, Host, Interest, Mode, Priority, Reactor, Ready, Shared, Step, VirtualSource,
};
use oneloop_conformance::{pair, wait_readable};
use rustix::time::{ClockId, clock_gettime};

const BUDGET: usize = 10;
const MANY: usize = 5000;

/// One step, which calls at most so many callbacks. Gives whether the host may sleep.
fn sleeps(host: &mut Host<Shared>, most: usize) -> bool {
    let calls = |host: &Host<Shared>| {
        let stats = host.reactor().stats();
        (stats.handler_calls + stats.timer_calls + stats.post_calls) as usize
    };
    let before = calls(host);
    let step = host.step(BUDGET).unwrap();
    let called = calls(host) - before;
    assert!(called <= most, "{step:?} after {called}");
    matches!(step, Step::Watch | Step::Sleep)
}

/// Steps until the host may sleep. No step may do much more than its budget, and none that leaves
/// something over may say that the host may sleep. Gives how many steps it took.
fn steps_until_sleep(host: &mut Host<Shared>) -> usize {
    let mut steps = 1;
    while !sleeps(host, 4 * BUDGET) {
        steps += 1;
    }
    steps
}

/// How long this thread has computed: other processes do not count.
fn computed() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

fn log() -> (Sender<usize>, Receiver<usize>) {
    channel()
}

fn in_order(log: &Receiver<usize>) {
    assert_eq!(
        log.try_iter().collect::<Vec<_>>(),
        (0..MANY).collect::<Vec<_>>()
    );
}

#[test]
fn posts_of_each_priority_keep_their_order_within_a_budget() {
    let priorities = [Priority::High, Priority::Normal, Priority::Idle];
    for (priority, has_hook) in priorities.iter().flat_map(|&it| [(it, false), (it, true)]) {
        let reactor = Reactor::new().unwrap();
        if has_hook {
            reactor.add_hook(|| None, || {}).unwrap();
        }
        let mut host = reactor.host("a test").unwrap();
        let (sender, called) = log();
        for n in 0..MANY {
            let sender = sender.clone();
            let post = move || sender.send(n).unwrap();
            reactor.call_soon_with(priority, post).unwrap();
        }
        assert!(steps_until_sleep(&mut host) >= MANY / BUDGET / 4);
        in_order(&called);
    }
}

#[test]
fn timers_keep_their_order_within_a_budget() {
    for apart in [0, 1] {
        let reactor = Reactor::new().unwrap();
        let mut host = reactor.host("a test").unwrap();
        let (sender, fired) = log();
        let start = Instant::now();
        for n in 0..MANY {
            let sender = sender.clone();
            let deadline = start + Duration::from_nanos(apart * n as u64);
            reactor
                .call_at(deadline, move || sender.send(n).unwrap())
                .unwrap();
        }
        assert!(steps_until_sleep(&mut host) >= MANY / BUDGET / 4);
        in_order(&fired);
    }
}

/// One descriptor, or source, may have any number of handlers, which are all ready at once.
#[test]
fn handlers_beyond_what_one_wait_fetches() {
    let reactor = Reactor::new().unwrap();
    let mut host = reactor.host("a test").unwrap();
    let (source, readiness) = VirtualSource::pair();
    let (sender, called) = log();
    for n in 0..MANY {
        let sender = sender.clone();
        let handle = move |_: &mut VirtualSource, _| {
            sender.send(n).unwrap();
            Action::Remove
        };
        reactor
            .add_handler(source.clone(), Interest::READABLE, Mode::Level, handle)
            .unwrap();
    }
    readiness.set(Ready::READABLE);
    let mut steps = 1;
    while !sleeps(&mut host, 1024 + BUDGET) {
        steps += 1;
    }
    assert!(steps >= MANY / 1024);
    in_order(&called);
}

/// A turn that was broken off goes on where it was: what is new has to wait for the next turn, and each
/// phase is ended before the next begins.
#[test]
fn a_turn_that_is_broken_off_keeps_its_order() {
    const FEW: usize = 3 * BUDGET;
    let reactor = Reactor::new().unwrap();
    let mut host = reactor.host("a test").unwrap();
    let (sender, log) = channel();
    let note = |what: &'static str| {
        let sender = sender.clone();
        move || sender.send(what).unwrap()
    };
    let (source, readiness) = VirtualSource::pair();
    let handle = note("handler");
    let handle = move |_: &mut VirtualSource, _| handle();
    reactor
        .add_handler(source, Interest::READABLE, Mode::Level, handle)
        .unwrap();
    readiness.set(Ready::READABLE);
    let now = Instant::now();
    for _ in 0..FEW {
        reactor
            .call_soon_with(Priority::High, note("urgent"))
            .unwrap();
        let (weak, zero) = (reactor.downgrade(), note("zero"));
        let timer = note("timer");
        reactor
            .call_at(now, move || {
                timer();
                let reactor = weak.upgrade().unwrap();
                reactor.call_later(Duration::ZERO, zero.clone()).unwrap();
            })
            .unwrap();
        let (weak, next, post) = (reactor.downgrade(), note("next"), note("post"));
        reactor
            .call_soon(move || {
                post();
                weak.upgrade().unwrap().call_soon(next).unwrap();
            })
            .unwrap();
    }
    for _ in 0..3 * 5 + 4 {
        let sleeps = sleeps(&mut host, 4 * BUDGET);
        assert!(!sleeps, "the handler's source stays ready");
    }
    let all: Vec<&str> = log.try_iter().collect();
    let turns: Vec<&[&str]> = all.split(|what| *what == "handler").collect();
    let of = |phases: &[&'static str]| -> Vec<&'static str> {
        let each = phases.iter().map(|phase| vec![*phase; FEW]);
        each.collect::<Vec<_>>().concat()
    };
    assert_eq!(turns[0], of(&["urgent"]));
    assert_eq!(turns[1], of(&["timer", "post"]));
    assert_eq!(turns[2], of(&["zero", "next"]));
}

/// The host goes away in the middle of a turn. The next to drive does the rest, and what comes then.
#[test]
fn the_next_driver_goes_on_with_a_turn_that_was_broken_off() {
    let reactor = Reactor::new().unwrap();
    let (sender, called) = log();
    let now = Instant::now();
    for n in 0..MANY {
        let send = sender.clone();
        let note = move |n| send.send(n).unwrap();
        if n < MANY / 2 {
            reactor.call_at(now, move || note(n)).unwrap();
        } else {
            reactor.call_soon(move || note(n)).unwrap();
        }
    }
    let mut host = reactor.host("a test").unwrap();
    assert_eq!(host.step(BUDGET).unwrap(), Step::Yield);
    assert!(reactor.next_deadline().is_some_and(|next| next <= now));
    drop(host);
    reactor.run().unwrap();
    in_order(&called);
}

#[test]
fn close_drops_what_a_turn_that_was_broken_off_has_left() {
    struct OnDrop(Sender<usize>, usize);
    impl Drop for OnDrop {
        fn drop(&mut self) {
            self.0.send(self.1).unwrap();
        }
    }
    let reactor = Reactor::new().unwrap();
    let mut host = reactor.host("a test").unwrap();
    let (sender, dropped) = log();
    for n in 0..MANY {
        let guard = OnDrop(sender.clone(), n);
        match n % 2 {
            0 => drop(
                reactor
                    .call_later(Duration::ZERO, move || _ = &guard)
                    .unwrap(),
            ),
            _ => _ = reactor.call_soon(move || drop(guard)).unwrap(),
        }
    }
    assert_eq!(host.step(BUDGET).unwrap(), Step::Yield);
    reactor.close();
    assert_eq!(dropped.try_iter().count(), MANY);
}

/// Left-overs cost nothing until it is their turn.
#[test]
fn many_left_overs_cost_each_call_no_more_than_few() {
    let each = |many: usize| {
        let reactor = Reactor::new().unwrap();
        let mut host = reactor.host("a test").unwrap();
        let now = Instant::now();
        for _ in 0..many {
            reactor.call_soon(|| {}).unwrap();
            reactor.call_soon_with(Priority::Idle, || {}).unwrap();
            reactor.call_at(now, || {}).unwrap();
        }
        let start = computed();
        while host.step(BUDGET).unwrap() == Step::Yield {}
        (computed() - start) / many as u32
    };
    let best = |many| (0..3).map(|_| each(many)).min().unwrap();
    let (few, many) = (best(1000), best(30_000));
    assert!(many < few * 8, "{few:?} and {many:?}");
}

/// A chain of timers without a delay, each of which sets the next.
fn set_chain(reactor: &Reactor, links: usize, fired: &Sender<usize>) {
    let (again, weak) = (fired.clone(), reactor.downgrade());
    let fire = move || {
        again.send(links).unwrap();
        if links > 1 {
            set_chain(&weak.upgrade().unwrap(), links - 1, &again);
        }
    };
    reactor.call_later(Duration::ZERO, fire).unwrap();
}

/// A timer that is due already does not send the host to sleep, which would cost it three system calls.
#[test]
fn a_chain_of_timers_without_a_delay_takes_one_step() {
    let reactor = Reactor::new().unwrap();
    let mut host = reactor.host("poll").unwrap();
    let (sender, fired) = log();
    while host.step(BUDGET).unwrap() != Step::Sleep {}
    let chain = BUDGET * 4;
    set_chain(&reactor, chain, &sender);
    wait_readable(&host);
    assert_eq!(host.step(chain * 2).unwrap(), Step::Sleep);
    assert_eq!(fired.try_iter().count(), chain);
    drop(host);

    set_chain(&reactor, chain, &sender);
    for left in (0..chain).rev() {
        let turn = reactor.turn(None).unwrap();
        assert_eq!((turn.called, turn.idle), (1, left == 0));
    }
}

#[test]
fn a_step_that_finds_nothing_takes_one_turn() {
    let reactor = Reactor::new().unwrap();
    let mut host = reactor.host("a test").unwrap();
    while host.step(BUDGET).unwrap() != Step::Sleep {}
    let before = reactor.stats().turns;
    assert_eq!(host.step(BUDGET).unwrap(), Step::Sleep);
    assert_eq!(reactor.stats().turns - before, 1);
}

thread_local! {
    static READABLE: Cell<bool> = const { Cell::new(false) };
    static YIELDS: Cell<usize> = const { Cell::new(0) };
}

/// A runtime's watch that sees what the test says, and counts how often the runtime gets its turn.
struct ByHand;

impl Watch<Shared> for ByHand {
    const RUNTIME: &'static str = "a test";

    fn new(_: Descriptor<Shared>) -> io::Result<ByHand> {
        Ok(ByHand)
    }

    fn poll_readable(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        if READABLE.take() {
            Poll::Ready(Ok(()))
        } else {
            Poll::Pending
        }
    }

    fn yield_now(_: &mut Context<'_>) {
        YIELDS.set(YIELDS.get() + 1);
    }
}

/// While woken tasks run between the polls of a drive, the runtime's I/O waits until a limit is reached.
#[test]
fn a_drive_yields_to_its_runtime_after_so_many_callbacks_that_wake_tasks() {
    const LIMIT: usize = 128;
    let reactor = Reactor::new().unwrap();
    let (socket, mut peer) = pair();
    let stream = Async::new(&reactor, socket).unwrap();
    let mut drive = Drive::<_, ByHand>::until_stopped(&reactor);
    let mut cx = Context::from_waker(Waker::noop());
    let mut yields_for_a_message = |is_last_for_now: bool| {
        let mut wait = pin!(stream.readable());
        assert!(wait.as_mut().poll(&mut cx).is_pending());
        peer.write_all(b"x").unwrap();
        READABLE.set(true);
        assert!(Pin::new(&mut drive).poll(&mut cx).is_pending());
        assert!(wait.poll(&mut cx).is_ready());
        assert_eq!({ stream.get_ref() }.read(&mut [0]).unwrap(), 1);
        if is_last_for_now {
            READABLE.set(false);
            assert!(Pin::new(&mut drive).poll(&mut cx).is_pending());
        }
        YIELDS.take()
    };
    // It does not watch yet.
    assert_eq!(yields_for_a_message(true), 1);
    let yields: Vec<usize> = (0..2 * LIMIT)
        .map(|_| yields_for_a_message(false))
        .collect();
    let expected: Vec<usize> = (1..=2 * LIMIT)
        .map(|n| usize::from(n % LIMIT == 0))
        .collect();
    assert_eq!(yields, expected);
}
