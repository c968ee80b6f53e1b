//! Guests: another loop that runs inside this one. The rules are in [`oneloop::Guest`].

use rustix::fd::{AsRawFd, RawFd};
use std::io::{Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

use oneloop::{ErrorKind, Guest, Interest, Mode, Reactor, Ready, Watched};

use crate::os;
use crate::tools::pair;
use crate::{Log, Number, Stage};

const READ: Interest = Interest::READABLE;
const LONG: Duration = Duration::from_secs(3600);

/// A guest whose methods are these closures.
struct Toy<P, T> {
    prepare: P,
    turn: T,
    is_alive: Arc<AtomicBool>,
    announces: bool,
}

fn toy<P, T>(prepare: P, turn: T) -> Toy<P, T>
where
    P: FnMut(&mut Watched) -> Option<Duration>,
    T: FnMut(&Watched),
{
    Toy {
        prepare,
        turn,
        is_alive: Arc::new(AtomicBool::new(true)),
        announces: false,
    }
}

impl<P, T> Guest for Toy<P, T>
where
    P: FnMut(&mut Watched) -> Option<Duration>,
    T: FnMut(&Watched),
{
    fn prepare(&mut self, watched: &mut Watched) -> Option<Duration> {
        (self.prepare)(watched)
    }

    fn turn(&mut self, watched: &Watched) {
        (self.turn)(watched)
    }

    fn is_alive(&self) -> bool {
        self.is_alive.load(SeqCst)
    }

    fn announces(&self) -> bool {
        self.announces
    }
}

/// Lists descriptors, all for reading.
fn list(watched: &mut Watched, fds: &[RawFd]) {
    for &fd in fds {
        // SAFETY: the numbers that cases use are their own.
        unsafe { watched.add(fd, READ) };
    }
}

/// The turn finds at each descriptor what it is ready for, and a descriptor stays ready until it is read.
pub fn a_guest_takes_a_turn_when_a_descriptor_is_ready(stage: &mut Stage) {
    let (quiet, _quiet_peer) = pair();
    let (mut busy, mut peer) = pair();
    let fds = [quiet.as_raw_fd(), busy.as_raw_fd()];
    let (log, reactor) = (Log::default(), stage.reactor.clone());
    let seen = log.clone();
    let turn = move |watched: &Watched| {
        assert!(watched.iter().map(|one| one.fd).eq(fds));
        seen.push(watched.iter().map(|one| one.ready).collect::<Vec<_>>());
        if seen.len() == 2 {
            assert_eq!(busy.read(&mut [0; 8]).expect("bytes"), 1);
            reactor.stop();
        }
    };
    let prepare = move |watched: &mut Watched| {
        list(watched, &fds);
        None
    };
    stage
        .reactor
        .add_guest("toy", toy(prepare, turn))
        .expect("open");
    peer.write_all(b"x").expect("room");
    stage.run();
    let readiness = vec![Ready::NONE, Ready::READABLE];
    log.expect(&[readiness.clone(), readiness]);
    let _ = quiet;
    stage.expect_sleep();
}

/// A turn at its time, and not before.
pub fn a_guest_takes_a_turn_when_its_time_is_over(stage: &mut Stage) {
    let due = Arc::new(Log::<Instant>::default());
    let (reactor, set) = (stage.reactor.clone(), due.clone());
    let mut left = 3;
    let prepare = move |_: &mut Watched| {
        let limit = Duration::from_millis(3);
        set.push(Instant::now() + limit);
        Some(limit)
    };
    let turn = move |_: &Watched| {
        let latest = due.take().pop().expect("prepared");
        assert!(Instant::now() >= latest);
        left -= 1;
        if left == 0 {
            reactor.stop();
        }
    };
    stage
        .reactor
        .add_guest("toy", toy(prepare, turn))
        .expect("open");
    stage.run();
}

/// Rule 1.
pub fn what_a_guest_leaves_to_do_is_not_slept_over(stage: &mut Stage) {
    let queue = Arc::new(AtomicUsize::new(5));
    let (left, reactor) = (queue.clone(), stage.reactor.clone());
    let prepare = move |_: &mut Watched| (left.load(SeqCst) > 0).then_some(Duration::ZERO);
    let turn = move |_: &Watched| {
        if queue.fetch_sub(1, SeqCst) == 1 {
            reactor.stop();
        }
    };
    stage
        .reactor
        .add_guest("toy", toy(prepare, turn))
        .expect("open");
    stage.run();
    stage.expect_sleep();
}

/// Rule 2. Only differences reach the kernel.
pub fn a_guest_that_is_prepared_again_and_again_costs_no_kernel_change(stage: &mut Stage) {
    let pairs: Vec<_> = (0..5).map(|_| pair()).collect();
    let fds: Vec<_> = pairs.iter().map(|(a, _)| a.as_raw_fd()).collect();
    let asked = Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    let prepare = move |watched: &mut Watched| {
        count.fetch_add(1, SeqCst);
        // From the second time on, without the third.
        match count.load(SeqCst) {
            1 => list(watched, &fds),
            _ => list(watched, &[fds[0], fds[1], fds[3], fds[4]]),
        }
        Some(LONG)
    };
    let turn = |_: &Watched| panic!("nothing is ready");
    stage
        .reactor
        .add_guest("toy", toy(prepare, turn))
        .expect("open");
    stage.turns(20);
    let changes = stage.reactor.stats().kernel_changes;
    assert_eq!(stage.reactor.stats().handlers, 4);
    for _ in 0..10 {
        stage.turns(1);
    }
    assert!(asked.load(SeqCst) >= 10);
    assert_eq!(stage.reactor.stats().kernel_changes, changes);
}

/// Rule 3.
pub fn another_thread_wakes_a_guest_by_its_descriptor(stage: &mut Stage) {
    let (mut a, mut b) = pair();
    let (fd, reactor) = (a.as_raw_fd(), stage.reactor.clone());
    let prepare = move |watched: &mut Watched| {
        list(watched, &[fd]);
        Some(LONG)
    };
    let turn = move |_: &Watched| {
        assert_eq!(a.read(&mut [0; 8]).expect("bytes"), 1);
        reactor.stop();
    };
    stage
        .reactor
        .add_guest("toy", toy(prepare, turn))
        .expect("open");
    for _ in 0..3 {
        let mut peer = b.try_clone().expect("a clone");
        stage.run_beside(move || {
            let write = move || peer.write_all(b"x").expect("room");
            thread::spawn(write).join().expect("no panic");
        });
    }
    b.write_all(b"x").expect("room");
    stage.run();
}

/// Rule 4, as the loop's other callbacks see it.
pub fn a_busy_guest_starves_nobody(stage: &mut Stage) {
    let sources = stage.sources;
    let turns = Arc::new(AtomicUsize::new(0));
    let count = turns.clone();
    let turn = move |_: &Watched| {
        count.fetch_add(1, SeqCst);
    };
    let guest = toy(|_: &mut Watched| Some(Duration::ZERO), turn);
    stage.reactor.add_guest("toy", guest).expect("open");
    let (a, _b) = sources.readable();
    let calls = stage.watch(a, READ, Mode::Level);
    stage.turns(10);
    let (own, others) = (turns.load(SeqCst), calls.take());
    assert!(own >= 9 && others >= 9, "{own} and {others}");
    let ticked = Arc::new(AtomicBool::new(false));
    let (tick, stopper) = (ticked.clone(), stage.reactor.clone());
    let timer = move || {
        tick.store(true, SeqCst);
        stopper.stop();
    };
    stage
        .reactor
        .call_later(Duration::from_millis(1), timer)
        .expect("open");
    stage.run();
    assert!(ticked.load(SeqCst));
}

/// Rule 5.
pub fn a_guests_callbacks_may_use_the_loop_and_cannot_drive_it(stage: &mut Stage) {
    let (reactor, log) = (stage.reactor.clone(), Log::default());
    let seen = log.clone();
    let turn = move |_: &Watched| {
        let nested = reactor.turn(Some(Duration::ZERO));
        seen.push(nested.expect_err("it is driven already").kind());
        let stopper = reactor.clone();
        let posted = reactor.call_soon(move || stopper.stop());
        posted.expect("open");
    };
    let mut once = true;
    let prepare = move |_: &mut Watched| {
        Some(if std::mem::take(&mut once) {
            Duration::ZERO
        } else {
            LONG
        })
    };
    stage
        .reactor
        .add_guest("toy", toy(prepare, turn))
        .expect("open");
    stage.run();
    log.expect(&[ErrorKind::AlreadyDriven]);
}

/// Rule 6. The guest closes its descriptor in a turn, and gets another under the same number.
pub fn a_guests_descriptor_may_be_closed_and_its_number_used_again(stage: &mut Stage) {
    let (first, mut first_peer) = pair();
    let (second, mut second_peer) = pair();
    let number = Arc::new(Number::of(&first));
    drop(first);
    let (fd, reactor) = (number.get(), stage.reactor.clone());
    let log = Log::default();
    let (seen, socket) = (log.clone(), number.clone());
    let turn = move |watched: &Watched| {
        assert!(
            watched
                .iter()
                .all(|one| one.ready.contains(Ready::READABLE))
        );
        let mut bytes = [0u8; 8];
        seen.push(os::read(fd, &mut bytes));
        if seen.len() == 1 {
            socket.close();
            socket.mean(&second);
        } else {
            reactor.stop();
        }
    };
    let prepare = move |watched: &mut Watched| {
        list(watched, &[fd]);
        None
    };
    stage
        .reactor
        .add_guest("toy", toy(prepare, turn))
        .expect("open");
    first_peer.write_all(b"x").expect("room");
    second_peer.write_all(b"two").expect("room");
    stage.run();
    log.expect(&[1, 3]);
    number.close();
    stage.turns(2);
}

/// Rule 7, for the loop's own callbacks.
pub fn work_that_a_callback_gives_a_guest_is_not_slept_over(stage: &mut Stage) {
    given_work(stage, |give, stage| {
        stage.reactor.call_soon(give).expect("open");
        stage.run();
    });
}

/// Rule 7, for code of the host's own.
pub fn work_that_host_code_gives_a_guest_is_seen_after_a_wake(stage: &mut Stage) {
    given_work(stage, |give, stage| {
        let reactor = stage.reactor.clone();
        stage.run_beside(move || {
            give();
            reactor.wake();
        });
    });
}

fn given_work(stage: &mut Stage, run: fn(Box<dyn FnOnce() + Send>, &mut Stage)) {
    let work = Arc::new(AtomicBool::new(false));
    let (look, take, reactor) = (work.clone(), work.clone(), stage.reactor.clone());
    let prepare = move |_: &mut Watched| look.load(SeqCst).then_some(Duration::ZERO);
    let turn = move |_: &Watched| {
        assert!(take.swap(false, SeqCst));
        reactor.stop();
    };
    stage
        .reactor
        .add_guest("toy", toy(prepare, turn))
        .expect("open");
    for _ in 0..3 {
        let give = work.clone();
        run(Box::new(move || give.store(true, SeqCst)), stage);
    }
}

/// A living guest is something that is left, also one that the last callback has given life.
pub fn run_goes_on_while_a_guest_is_alive(stage: &mut Stage) {
    for is_alive_at_first in [true, false] {
        let is_alive = Arc::new(AtomicBool::new(is_alive_at_first));
        let (ends, turns) = (is_alive.clone(), Arc::new(AtomicUsize::new(0)));
        let count = turns.clone();
        let turn = move |_: &Watched| {
            let is_last = count.fetch_add(1, SeqCst) == 4;
            ends.store(!is_last, SeqCst);
        };
        let mut guest = toy(|_: &mut Watched| Some(Duration::from_millis(1)), turn);
        guest.is_alive = is_alive.clone();
        let id = stage.reactor.add_guest("toy", guest).expect("open");
        if !is_alive_at_first {
            let give_life = move || is_alive.store(true, SeqCst);
            stage.reactor.call_soon(give_life).expect("open");
        }
        stage.run_until_empty();
        assert_eq!(turns.load(SeqCst), 5);
        stage.reactor.remove_guest(id).expect("known");
    }
}

/// Wherever it is removed: outside, in a turn, or while it is prepared.
pub fn a_removed_guest_is_dropped_with_its_handlers(stage: &mut Stage) {
    #[derive(Clone, Copy, PartialEq)]
    enum By {
        Outside,
        Turn,
        Prepare,
    }
    for by in [By::Outside, By::Turn, By::Prepare] {
        let (a, mut b) = pair();
        let (fd, alive) = (a.as_raw_fd(), Arc::new(a));
        let (inside, id) = (alive.clone(), Log::default());
        let remove = {
            let (reactor, id) = (stage.reactor.clone(), id.clone());
            move || {
                for id in id.take() {
                    reactor.remove_guest(id).expect("known");
                }
            }
        };
        let (in_prepare, in_turn) = (remove.clone(), remove.clone());
        let mut prepared = 0;
        let prepare = move |watched: &mut Watched| {
            prepared += 1;
            if by == By::Prepare && prepared > 1 {
                in_prepare();
            }
            list(watched, &[fd]);
            None
        };
        let turn = move |_: &Watched| {
            let _ = &inside;
            if by == By::Turn {
                in_turn();
            }
        };
        let guest = stage
            .reactor
            .add_guest("toy", toy(prepare, turn))
            .expect("open");
        id.push(guest);
        assert!(
            stage.reactor.dump().contains("\"toy\""),
            "{}",
            stage.reactor.dump()
        );
        stage.turns(1);
        b.write_all(b"x").expect("room");
        if by == By::Outside {
            remove();
        }
        stage.turns(3);
        assert_eq!(Arc::strong_count(&alive), 1);
        assert_eq!(stage.reactor.stats().handlers, 0);
        let unknown = stage.reactor.remove_guest(guest).expect_err("it is gone");
        assert_eq!(unknown.kind(), ErrorKind::UnknownId);
    }
    stage.expect_sleep();
}

/// In a turn for its time, in one for a descriptor, and while it is prepared.
pub fn a_panicking_guest_is_removed(stage: &mut Stage) {
    for at in 0..3 {
        let (a, mut b) = pair();
        b.write_all(b"x").expect("room");
        let fd = a.as_raw_fd();
        let prepare = move |watched: &mut Watched| {
            if at == 1 {
                list(watched, &[fd]);
            }
            assert!(at != 2, "on purpose");
            (at == 0).then_some(Duration::ZERO)
        };
        let turn = move |_: &Watched| {
            let _ = &a;
            panic!("on purpose");
        };
        let id = stage
            .reactor
            .add_guest("toy", toy(prepare, turn))
            .expect("open");
        crate::turns::panics(stage);
        assert!(stage.reactor.remove_guest(id).is_err());
        assert_eq!(stage.reactor.stats().handlers, 0);
        // The guest's end of the pair was dropped with it.
        assert_eq!(
            b.write(b"x").expect_err("closed").kind(),
            std::io::ErrorKind::BrokenPipe
        );
        stage.turns(2);
    }
}

/// A guest that says by itself when it was given work.
pub fn a_guest_that_announces_is_prepared_after_its_own_turns_only(stage: &mut Stage) {
    let (mut a, mut b) = pair();
    let (fd, reactor) = (a.as_raw_fd(), stage.reactor.clone());
    let asked = Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    let prepare = move |watched: &mut Watched| {
        count.fetch_add(1, SeqCst);
        list(watched, &[fd]);
        None
    };
    let turn = move |_: &Watched| {
        assert_eq!(a.read(&mut [0; 8]).expect("bytes"), 1);
        reactor.stop();
    };
    let mut guest = toy(prepare, turn);
    guest.announces = true;
    stage.reactor.add_guest("toy", guest).expect("open");
    stage.turns(20);
    assert_eq!(asked.load(SeqCst), 1);
    for turns in 1..4 {
        b.write_all(b"x").expect("room");
        stage.run();
        stage.turns(20);
        assert_eq!(asked.load(SeqCst), 1 + turns);
    }
}

/// The guest goes on with its other descriptors, and with that one if it is opened later.
pub fn a_guests_descriptor_that_is_refused_is_reported_once(stage: &mut Stage) {
    let log = Log::default();
    let seen = log.clone();
    let report = move |failed: &oneloop::FailedCallback| {
        assert_eq!(failed.name.as_deref(), Some("toy"));
        seen.push((failed.fd, failed.to_string().contains("add_guest")));
    };
    let builder = Reactor::builder().poller(stage.poller).on_error(report);
    let reactor = builder.build().expect("a reactor");
    let (mut a, mut b) = pair();
    let number = Number::of(&a);
    let (fd, closed, stopper) = (a.as_raw_fd(), number.get(), reactor.clone());
    number.close();
    let prepare = move |watched: &mut Watched| {
        list(watched, &[closed, fd]);
        None
    };
    let revived = Arc::new(AtomicBool::new(false));
    let is_revived = revived.clone();
    let turn = move |watched: &Watched| {
        let ready: Vec<_> = watched.iter().map(|one| !one.ready.is_empty()).collect();
        if ready[0] {
            is_revived.store(true, SeqCst);
        } else {
            assert_eq!(a.read(&mut [0; 8]).expect("bytes"), 1);
        }
        stopper.stop();
    };
    reactor.add_guest("toy", toy(prepare, turn)).expect("open");
    for _ in 0..3 {
        b.write_all(b"x").expect("room");
        let driven = stage.try_run_other(&reactor, Box::new(|| {}));
        driven.expect("driving");
    }
    log.expect(&[(Some(closed), true)]);
    let (end, mut other) = pair();
    number.mean(&end);
    other.write_all(b"x").expect("room");
    reactor.wake();
    let driven = stage.try_run_other(&reactor, Box::new(|| {}));
    driven.expect("driving");
    assert!(revived.load(SeqCst));
    number.close();
    reactor.close();
}
