//! The duties of a guest, in the words of each loop, on each of oneloop's own hosts.

use std::cell::{Cell, RefCell};
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::rc::Rc;
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

use oneloop::{GuestId, Interest, Local, LocalReactor, Mode, Reactor};
use oneloop_conformance::{Watchdog, pair};
use oneloop_guests_tests::ForeignLoop;
use oneloop_guests_tests::compio::Compio;
use oneloop_guests_tests::glib::{Glib, OwnerlessGlib};
use oneloop_guests_tests::glue::SdEvent;
use oneloop_guests_tests::nested::Nested;
use oneloop_guests_tests::uv::Uv;
use oneloop_support::{Drive, async_io, tokio};

/// A loop inside a reactor, which a host drives.
struct Scene<L> {
    reactor: LocalReactor,
    guest: GuestId,
    inner: Rc<L>,
    drive: Drive<Local>,
    _watchdog: Watchdog,
}

impl<L: ForeignLoop> Scene<L> {
    fn new(drive: Drive<Local>) -> Scene<L> {
        let (reactor, inner) = (Reactor::new_local().unwrap(), Rc::new(L::new()));
        let guest = reactor.add_guest(L::NAME, inner.guest()).unwrap();
        Scene {
            reactor,
            guest,
            inner,
            drive,
            _watchdog: Watchdog::new(L::NAME),
        }
    }

    fn run(&self) {
        (self.drive)(&self.reactor).unwrap();
    }

    /// The reactor, for callbacks: it is closed at the end.
    fn reactor(&self) -> LocalReactor {
        self.reactor.clone()
    }
}

impl<L> Drop for Scene<L> {
    fn drop(&mut self) {
        let _ = self.reactor.remove_guest(self.guest);
        self.reactor.close();
    }
}

/// Also while nothing is left: GLib cannot tell that another thread is about to add something.
fn built_in(reactor: &LocalReactor) -> std::io::Result<()> {
    Ok(reactor.run_forever()?)
}

fn timers_are_not_early<L: ForeignLoop>(scene: Scene<L>) {
    for millis in [1, 5, 12] {
        let (start, delay, reactor) = (
            Instant::now(),
            Duration::from_millis(millis),
            scene.reactor(),
        );
        scene.inner.after(delay, move || reactor.stop());
        scene.run();
        // libuv's clock has whole milliseconds.
        assert!(start.elapsed() > delay - Duration::from_millis(1));
    }
}

fn a_timer_set_in_a_timer_fires<L: ForeignLoop>(scene: Scene<L>) {
    let (inner, reactor) = (scene.inner.clone(), scene.reactor());
    let set_another = move || inner.after(Duration::from_millis(2), move || reactor.stop());
    scene.inner.after(Duration::from_millis(1), set_another);
    scene.run();
}

fn a_timer_set_by_a_callback_of_the_reactor_fires<L: ForeignLoop>(scene: Scene<L>) {
    let (inner, reactor) = (scene.inner.clone(), scene.reactor());
    let set = move || inner.after(Duration::from_millis(1), move || reactor.stop());
    scene
        .reactor
        .call_later(Duration::from_millis(2), set)
        .unwrap();
    scene.run();
}

fn a_descriptor_is_reported_until_it_is_read<L: ForeignLoop>(scene: Scene<L>) {
    let (mut a, mut b) = pair();
    let (reactor, mut calls) = (scene.reactor(), 0);
    let fd = a.as_raw_fd();
    let read = move || {
        calls += 1;
        if calls == 3 {
            assert_eq!(a.read(&mut [0; 8]).unwrap(), 1);
            reactor.stop();
        }
        calls < 3
    };
    scene.inner.watch_read(fd, read);
    b.write_all(b"x").unwrap();
    scene.run();
}

fn a_watch_added_by_a_callback_of_the_reactor_is_reported<L: ForeignLoop>(scene: Scene<L>) {
    let (a, mut b) = pair();
    let (inner, reactor) = (scene.inner.clone(), scene.reactor());
    let add = move || {
        let fd = a.as_raw_fd();
        let read = move || {
            let _ = &a;
            reactor.stop();
            false
        };
        inner.watch_read(fd, read);
        b.write_all(b"x").unwrap();
        std::mem::forget(b);
    };
    scene
        .reactor
        .call_later(Duration::from_millis(2), add)
        .unwrap();
    scene.run();
}

fn another_thread_wakes_it<L: ForeignLoop>(scene: Scene<L>) {
    for _ in 0..20 {
        let reactor = scene.reactor();
        let wake = scene.inner.waker(move || reactor.stop());
        // Once the loop sleeps, or just before.
        let (asleep, sleeps) = channel::<()>();
        let thread = thread::spawn(move || {
            sleeps.recv().unwrap();
            wake();
        });
        let fall_asleep = move || asleep.send(()).unwrap();
        scene
            .reactor
            .call_soon(fall_asleep)
            .map_err(oneloop::Error::from)
            .unwrap();
        scene.run();
        thread.join().unwrap();
    }
}

fn a_busy_one_starves_nobody<L: ForeignLoop>(scene: Scene<L>) {
    let (is_over, idled) = (Rc::new(Cell::new(false)), Rc::new(Cell::new(0)));
    let (ends, count) = (is_over.clone(), idled.clone());
    scene.inner.idle(move || {
        count.set(count.get() + 1);
        !ends.get()
    });
    let (reactor, ticks) = (scene.reactor(), Cell::new(0));
    let (mut a, mut b) = pair();
    b.write_all(b"x").unwrap();
    let echo = move |_: &mut _, _| {
        let mut byte = [0];
        let n = a.read(&mut byte).unwrap_or(0);
        b.write_all(&byte[..n]).unwrap();
    };
    let (c, _d) = pair();
    scene
        .reactor
        .add_handler(c, Interest::WRITABLE, Mode::Level, echo)
        .unwrap();
    let tick = move || {
        ticks.set(ticks.get() + 1);
        if ticks.get() == 20 {
            is_over.set(true);
            reactor.stop();
        }
    };
    scene
        .reactor
        .call_every(Duration::from_millis(1), tick)
        .unwrap();
    scene.run();
    assert!(idled.get() >= 20);
    // The handle of the idle callback closes in a later turn.
    for _ in 0..3 {
        scene.reactor.turn(Some(Duration::ZERO)).unwrap();
    }
}

/// One turn calls an idle callback once, so that `stop` is heard in time.
fn a_turn_is_short<L: ForeignLoop>(scene: Scene<L>) {
    let (is_over, idled) = (Rc::new(Cell::new(false)), Rc::new(Cell::new(0)));
    let (ends, count, reactor) = (is_over.clone(), idled.clone(), scene.reactor());
    scene.inner.idle(move || {
        count.set(count.get() + 1);
        reactor.stop();
        !ends.get()
    });
    scene.run();
    assert_eq!(idled.get(), 1);
    is_over.set(true);
    // The stop counts for a turn, too.
    for _ in 0..6 {
        scene.reactor.turn(Some(Duration::ZERO)).unwrap();
    }
}

/// Turns are not all: a guest that asks for a turn at once, again and again, would keep the processor busy.
fn at_rest_nothing_is_done<L: ForeignLoop>(scene: Scene<L>) {
    let delay = Duration::from_millis(60);
    for waits in ["the guest", "the reactor"] {
        let reactor = scene.reactor();
        if waits == "the guest" {
            scene.inner.after(delay, move || reactor.stop());
        } else {
            let stop = move || reactor.stop();
            scene.reactor.call_later(delay, stop).unwrap();
        }
        let before = (scene.reactor.stats().turns, processor_time());
        scene.run();
        let turns = scene.reactor.stats().turns - before.0;
        assert!(turns <= 12, "{turns} turns while {waits} waits");
        let spent = processor_time() - before.1;
        assert!(spent < delay / 2, "{spent:?} while {waits} waits");
    }
}

/// The time that this thread has computed.
fn processor_time() -> Duration {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: writes one timespec.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) };
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

fn its_callbacks_use_the_reactor<L: ForeignLoop>(scene: Scene<L>) {
    let reactor = scene.reactor();
    let (a, mut b) = pair();
    b.write_all(b"x").unwrap();
    let callback = move || {
        let here = LocalReactor::current_local().unwrap();
        let stopper = reactor.clone();
        let timer = move || stopper.stop();
        let read = move |_: &mut _, _| {
            let here = LocalReactor::current_local().unwrap();
            here.call_later(Duration::from_millis(1), timer.clone())
                .unwrap();
            oneloop::Action::Remove
        };
        here.add_handler(a, Interest::READABLE, Mode::Level, read)
            .unwrap();
    };
    scene.inner.after(Duration::from_millis(1), callback);
    scene.run();
}

fn a_pool_of_threads_reports_back<L: ForeignLoop>(scene: Scene<L>) {
    let (sender, results) = channel();
    let reactor = scene.reactor();
    let done = move || {
        assert_eq!(results.recv().unwrap(), 42);
        reactor.stop();
    };
    scene.inner.work(move || sender.send(42).unwrap(), done);
    scene.run();
}

fn its_timers_fire_beside_traffic<L: ForeignLoop>(scene: Scene<L>) {
    let (a, b) = pair();
    (&a).write_all(b"x").unwrap();
    for own in [a, b] {
        let echo = |stream: &mut std::os::unix::net::UnixStream, _| {
            let mut byte = [0];
            if let Ok(n) = stream.read(&mut byte) {
                stream.write_all(&byte[..n]).unwrap();
            }
        };
        scene
            .reactor
            .add_handler(own, Interest::READABLE, Mode::Level, echo)
            .unwrap();
    }
    chain(scene.inner.clone(), scene.reactor(), 20);
    scene.run();
}

/// Sets a timer that sets the next.
fn chain<L: ForeignLoop>(inner: Rc<L>, reactor: LocalReactor, left: u32) {
    let next = inner.clone();
    let fire = move || match left {
        0 => reactor.stop(),
        _ => chain(next, reactor, left - 1),
    };
    inner.after(Duration::from_millis(1), fire);
}

fn the_built_in_loop_runs_until_it_has_nothing_left<L: ForeignLoop>(scene: Scene<L>) {
    let fired = Rc::new(Cell::new(0));
    for millis in [1, 3] {
        let count = fired.clone();
        let fire = move || count.set(count.get() + 1);
        scene.inner.after(Duration::from_millis(millis), fire);
    }
    scene.reactor.run().unwrap();
    assert_eq!(fired.get(), 2);
}

/// A post, and some microseconds later a byte, whose callback sets a timer. Then there is silence, in which a loop that
/// looked too early sleeps for ever.
fn a_timer_set_while_the_loop_falls_asleep_fires<L: ForeignLoop>(scene: Scene<L>) {
    let rounds = std::env::var("ONELOOP_GUEST_ROUNDS");
    let rounds: u64 = rounds.map_or(60, |rounds| rounds.parse().unwrap());
    let (mut a, mut b) = pair();
    let fd = a.as_raw_fd();
    let (sender, begin) = channel::<u64>();
    let remote = scene.reactor.remote();
    let thread = thread::spawn(move || {
        for round in begin {
            remote
                .call_soon(|| {})
                .map_err(oneloop::Error::from)
                .unwrap();
            let until = Instant::now() + Duration::from_micros(round % 61);
            while Instant::now() < until {}
            b.write_all(b"x").unwrap();
        }
    });
    let sender = Rc::new(RefCell::new(Some(sender)));
    let (inner, reactor, next) = (scene.inner.clone(), scene.reactor(), sender.clone());
    let mut round = 0;
    let read = move || {
        assert_eq!(a.read(&mut [0; 8]).unwrap(), 1);
        round += 1;
        let (reactor, next) = (reactor.clone(), next.clone());
        let is_last = round == rounds;
        let fire = move || {
            if is_last {
                next.take();
                reactor.stop();
            } else if let Some(next) = &*next.borrow() {
                next.send(round).unwrap();
            }
        };
        inner.after(Duration::from_millis(1), fire);
        !is_last
    };
    scene.inner.watch_read(fd, read);
    sender.borrow().as_ref().unwrap().send(0).unwrap();
    scene.run();
    thread.join().unwrap();
}

macro_rules! words {
    ($($name:ident: $loop:ty;)*) => {$(
        mod $name {
            use super::*;
            words!(@ built_in $loop);
            words!(@ tokio $loop);
            words!(@ async_io $loop);
        }
    )*};
    (@ $host:ident $loop:ty) => {
        mod $host {
            use super::*;
            words!(@ $host $loop:
                timers_are_not_early
                a_timer_set_in_a_timer_fires
                a_timer_set_by_a_callback_of_the_reactor_fires
                a_descriptor_is_reported_until_it_is_read
                a_watch_added_by_a_callback_of_the_reactor_is_reported
                another_thread_wakes_it
                a_busy_one_starves_nobody
                a_turn_is_short
                at_rest_nothing_is_done
                its_callbacks_use_the_reactor
                a_pool_of_threads_reports_back
                its_timers_fire_beside_traffic
                a_timer_set_while_the_loop_falls_asleep_fires);
        }
    };
    (@ $host:ident $loop:ty: $($case:ident)*) => {$(
        #[test]
        fn $case() {
            super::super::$case::<$loop>(Scene::new($host));
        }
    )*};
}

words! {
    compio: Compio;
    glib: Glib;
    ownerless_glib: OwnerlessGlib;
    another_reactor: Nested;
    sd_event: SdEvent;
    uv: Uv;
}

/// The others do not tell whether they have anything left.
mod run_ends {
    use super::*;

    #[test]
    fn beside_compio() {
        the_built_in_loop_runs_until_it_has_nothing_left::<Compio>(Scene::new(built_in));
    }

    #[test]
    fn beside_glib() {
        the_built_in_loop_runs_until_it_has_nothing_left::<Glib>(Scene::new(built_in));
    }

    #[test]
    fn beside_ownerless_glib() {
        the_built_in_loop_runs_until_it_has_nothing_left::<OwnerlessGlib>(Scene::new(built_in));
    }

    #[test]
    fn beside_uv() {
        the_built_in_loop_runs_until_it_has_nothing_left::<Uv>(Scene::new(built_in));
    }
}
