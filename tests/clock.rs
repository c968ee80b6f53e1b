//! The test clock, timers that follow a system clock that is set, and real timers that are not late.

use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use oneloop::{Host, Interest, Mode, Reactor, Ready, Shared, Step, TestClock, VirtualSource};
use oneloop_support::look;
use rustix::time::{ClockId, clock_gettime};

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);

fn on(clock: &TestClock) -> Reactor {
    Reactor::builder().clock(clock.clone()).build().unwrap()
}

/// A timer's callback that sends `name` and the time by the loop's clock.
fn note<T: Send + 'static>(
    reactor: &Reactor,
    set: impl Fn(Box<dyn Fn(T) + Send>),
) -> Receiver<(T, Instant)> {
    let (sender, receiver) = channel();
    let weak = reactor.downgrade();
    set(Box::new(move |name| {
        let now = weak.upgrade().unwrap().now();
        sender.send((name, now)).unwrap();
    }));
    receiver
}

#[test]
fn time_moves_only_when_it_is_told() {
    let clock = TestClock::new();
    let reactor = on(&clock);
    let (sender, fired) = channel();
    for seconds in [30, 10, 20, 10] {
        let sender = sender.clone();
        let delay = seconds * SECOND;
        reactor
            .call_later(delay, move || sender.send(seconds).unwrap())
            .unwrap();
    }
    look(&reactor);
    assert_eq!(reactor.next_deadline(), Some(clock.now() + 10 * SECOND));
    clock.advance(10 * SECOND - Duration::from_nanos(1));
    look(&reactor);
    assert_eq!(fired.try_iter().count(), 0);
    clock.advance(Duration::from_nanos(1));
    look(&reactor);
    assert_eq!(fired.try_iter().collect::<Vec<_>>(), [10, 10]);
    clock.advance(HOUR);
    look(&reactor);
    assert_eq!(fired.try_iter().collect::<Vec<_>>(), [20, 30]);
}

#[test]
fn a_period_that_began_before_the_loop_keeps_its_phase() {
    let clock = TestClock::new();
    let start = clock.now();
    clock.advance(250 * SECOND);
    let reactor = on(&clock);
    let (sender, fired) = channel();
    let weak = reactor.downgrade();
    let timer = reactor.call_every(100 * SECOND, move || {
        let passed = weak.upgrade().unwrap().now() - start;
        sender.send(passed.as_secs()).unwrap();
    });
    reactor.reset_timer(timer.unwrap(), start).unwrap();
    for _ in 0..20 {
        look(&reactor);
        clock.advance(10 * SECOND);
    }
    assert_eq!(fired.try_iter().collect::<Vec<_>>(), [250, 300, 400]);
}

#[test]
fn an_advance_wakes_a_loop_that_sleeps() {
    let clock = TestClock::new();
    let reactor = on(&clock);
    let (sender, asleep) = channel();
    reactor
        .add_hook(
            move || {
                let _ = sender.send(());
                None
            },
            || {},
        )
        .unwrap();
    reactor.call_later(HOUR, || {}).unwrap();
    let driver = thread::spawn(move || reactor.run().unwrap());
    asleep.recv().unwrap();
    clock.advance(HOUR);
    driver.join().unwrap();
}

#[test]
fn two_loops_on_one_clock_both_fire() {
    let clock = TestClock::new();
    let loops = [on(&clock), on(&clock)];
    let (sender, fired) = channel();
    for (name, reactor) in loops.iter().enumerate() {
        let sender = sender.clone();
        reactor
            .call_later(HOUR, move || sender.send(name).unwrap())
            .unwrap();
    }
    clock.advance(HOUR);
    loops.iter().for_each(look);
    assert_eq!(fired.try_iter().collect::<Vec<_>>(), [0, 1]);
}

#[test]
fn an_eager_clock_runs_through_all_timers_each_at_its_own_time() {
    let clock = TestClock::eager();
    let start = clock.now();
    let reactor = on(&clock);
    let fired = note(&reactor, |note| {
        let mut ticks = 0;
        let weak = reactor.downgrade();
        reactor
            .call_every(HOUR, move || {
                ticks += 1;
                note(ticks);
                if ticks == 24 {
                    weak.upgrade().unwrap().stop();
                }
            })
            .unwrap();
    });
    let real = Instant::now();
    reactor.run().unwrap();
    assert!(real.elapsed() < HOUR);
    let expected: Vec<_> = (1..=24).map(|n| (n, start + n * HOUR)).collect();
    assert_eq!(fired.try_iter().collect::<Vec<_>>(), expected);
}

#[test]
fn an_eager_clock_does_not_overtake_what_is_ready() {
    let clock = TestClock::eager();
    let reactor = on(&clock);
    let (source, readiness) = VirtualSource::pair();
    let (sender, order) = channel();
    let timer = sender.clone();
    reactor
        .call_later(SECOND, move || timer.send("timer").unwrap())
        .unwrap();
    let mut left = 5;
    reactor
        .add_handler(source, Interest::READABLE, Mode::Level, move |_, _| {
            sender.send("handler").unwrap();
            left -= 1;
            match left {
                0 => oneloop::Action::Remove,
                _ => oneloop::Action::Continue,
            }
        })
        .unwrap();
    readiness.set(Ready::READABLE);
    reactor.run().unwrap();
    let order: Vec<_> = order.try_iter().collect();
    assert_eq!(order[..5], ["handler"; 5]);
    assert_eq!(order[5..], ["timer"]);
}

#[test]
fn an_eager_clock_does_not_go_to_the_end_of_time() {
    let clock = TestClock::eager();
    let reactor = on(&clock);
    let (sender, fired) = channel();
    let id = reactor
        .call_later(Duration::MAX, move || sender.send(()).unwrap())
        .unwrap();
    // Something that keeps it going.
    let (source, _readiness) = VirtualSource::pair();
    reactor
        .add_handler(source, Interest::READABLE, Mode::Level, |_, _| {})
        .unwrap();
    let start = clock.now();
    look(&reactor);
    look(&reactor);
    assert_eq!((fired.try_iter().count(), clock.now()), (0, start));
    reactor.reset_timer(id, start + HOUR).unwrap();
    look(&reactor);
    assert_eq!((fired.try_iter().count(), clock.now()), (1, start + HOUR));
}

#[test]
fn a_clock_may_go_further_than_a_loop_can_count() {
    let clock = TestClock::new();
    let reactor = on(&clock);
    let start = clock.now();
    let every = reactor.call_every(Duration::from_nanos(1), || {}).unwrap();
    reactor.reset_timer(every, start).unwrap();
    clock.advance(700 * 365 * 24 * HOUR);
    reactor.turn(Some(Duration::ZERO)).unwrap();
}

#[test]
fn a_host_sees_what_an_advance_makes_due() {
    let clock = TestClock::eager();
    let reactor = on(&clock);
    let stopper = reactor.downgrade();
    reactor
        .call_later(HOUR, move || stopper.upgrade().unwrap().stop())
        .unwrap();
    futures_lite::future::block_on(async {
        async_io::block_on(oneloop_async_io::drive(&reactor)).unwrap();
    });
}

#[test]
fn timers_by_the_system_clock_follow_it_when_it_is_set() {
    let clock = TestClock::new();
    let reactor = on(&clock);
    let noon = clock.system_now() + HOUR;
    let fired = note(&reactor, |note| {
        reactor.call_at_system_time(noon, move || note(())).unwrap();
    });
    // Set back: what was due in an hour is due in three.
    clock.set_system(noon - 3 * HOUR);
    clock.advance(2 * HOUR);
    look(&reactor);
    assert_eq!(fired.try_iter().count(), 0);
    // Set forward, but not far enough; then past it.
    clock.set_system(noon - SECOND);
    look(&reactor);
    assert_eq!(fired.try_iter().count(), 0);
    clock.set_system(noon + HOUR);
    look(&reactor);
    assert_eq!(fired.try_iter().count(), 1);
    assert_eq!(reactor.stats().pending_timers, 0);
}

#[test]
fn set_back_in_a_callback_it_holds_back_what_was_due_with_that() {
    let clock = TestClock::new();
    let reactor = on(&clock);
    let noon = clock.system_now() + HOUR;
    let setter = clock.clone();
    reactor
        .call_later(HOUR, move || setter.set_system(noon - HOUR))
        .unwrap();
    let fired = note(&reactor, |note| {
        reactor.call_at_system_time(noon, move || note(())).unwrap();
    });
    let start = clock.now();
    clock.advance(HOUR);
    look(&reactor);
    assert_eq!(fired.try_iter().count(), 0);
    clock.advance(HOUR);
    look(&reactor);
    let fired: Vec<_> = fired.try_iter().collect();
    assert_eq!(fired, [((), start + 2 * HOUR)]);
}

#[test]
fn a_periodic_timer_that_is_reset_to_the_system_clock_goes_on_from_there() {
    let clock = TestClock::new();
    let reactor = on(&clock);
    let (sender, fired) = channel();
    let id = reactor
        .call_every(HOUR, move || sender.send(()).unwrap())
        .unwrap();
    let start = clock.system_now();
    reactor
        .reset_timer_to_system_time(id, start + SECOND)
        .unwrap();
    for (ahead, calls) in [(SECOND, 1), (HOUR - SECOND, 0), (SECOND, 1), (HOUR, 1)] {
        clock.advance(ahead);
        look(&reactor);
        assert_eq!(fired.try_iter().count(), calls);
    }
    // It no longer looks at it.
    clock.set_system(start);
    clock.advance(HOUR);
    look(&reactor);
    assert_eq!(fired.try_iter().count(), 1);
}

#[test]
fn a_clock_that_a_timer_has_set_is_looked_at_before_the_loop_sleeps() {
    let clock = TestClock::new();
    let reactor = on(&clock);
    for hosted in [false, true] {
        let noon = clock.system_now() + HOUR;
        let fired = note(&reactor, |note| {
            reactor.call_at_system_time(noon, move || note(())).unwrap();
        });
        look(&reactor);
        let set = clock.clone();
        reactor
            .call_later(Duration::ZERO, move || set.set_system(noon))
            .unwrap();
        if hosted {
            let mut host = reactor.host("poll").unwrap();
            while host.step(100).unwrap() != Step::Sleep || is_readable(&host) {}
        } else {
            reactor.run().unwrap();
        }
        assert_eq!(fired.try_iter().count(), 1);
    }
}

fn is_readable(host: &Host<Shared>) -> bool {
    use rustix::event::{PollFd, PollFlags, poll};
    let mut one = [PollFd::new(host, PollFlags::IN)];
    poll(&mut one, Some(&Default::default())).unwrap() == 1
}

#[test]
fn monotonic_timers_do_not_care_and_a_reset_makes_a_timer_one_of_them() {
    let clock = TestClock::new();
    let reactor = on(&clock);
    let (sender, fired) = channel();
    let other = sender.clone();
    reactor
        .call_later(HOUR, move || sender.send("later").unwrap())
        .unwrap();
    let noon = clock.system_now() + HOUR;
    let id = reactor
        .call_at_system_time(noon, move || other.send("reset").unwrap())
        .unwrap();
    reactor.reset_timer(id, clock.now() + 2 * HOUR).unwrap();
    clock.set_system(noon + 100 * HOUR);
    look(&reactor);
    assert_eq!(fired.try_iter().count(), 0);
    clock.advance(HOUR);
    look(&reactor);
    assert_eq!(fired.try_iter().collect::<Vec<_>>(), ["later"]);
    clock.advance(HOUR);
    look(&reactor);
    assert_eq!(fired.try_iter().collect::<Vec<_>>(), ["reset"]);
}

/// The system's own clock. Needs to be root.
#[cfg(target_os = "linux")]
mod a_real_clock {
    use super::*;
    use oneloop::PollerKind;
    use rustix::fs::Timespec;
    use rustix::time::{ClockId, clock_gettime, clock_settime};
    use std::sync::{Mutex, MutexGuard};
    use std::time::SystemTime;

    /// Sets the clock, and puts it back.
    struct Setter {
        before: SystemTime,
        since: Instant,
        _one_at_a_time: MutexGuard<'static, ()>,
    }

    impl Setter {
        fn new() -> Setter {
            static LOCK: Mutex<()> = Mutex::new(());
            let one_at_a_time = LOCK.lock().unwrap_or_else(|failed| failed.into_inner());
            Setter {
                before: SystemTime::now(),
                since: Instant::now(),
                _one_at_a_time: one_at_a_time,
            }
        }

        /// The time that it would show by itself.
        fn right(&self) -> SystemTime {
            self.before + self.since.elapsed()
        }
    }

    fn set(time: SystemTime) {
        let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap();
        let time = Timespec {
            tv_sec: since.as_secs() as _,
            tv_nsec: since.subsec_nanos() as _,
        };
        clock_settime(ClockId::Realtime, time).expect("the right to set the clock");
    }

    impl Drop for Setter {
        fn drop(&mut self) {
            set(self.right());
        }
    }

    fn reactors() -> impl Iterator<Item = Reactor> {
        let pollers = [PollerKind::Epoll, PollerKind::Polling].into_iter();
        pollers.map(|poller| Reactor::builder().poller(poller).build().unwrap())
    }

    /// Waits no longer than that for a turn with a call.
    fn turn(reactor: &Reactor, limit: Duration) -> bool {
        let start = Instant::now();
        while let Some(left) = limit.checked_sub(start.elapsed()) {
            if reactor.turn(Some(left)).unwrap().called > 0 {
                return true;
            }
        }
        false
    }

    /// Also while the loop sleeps, also again and again; and it sleeps on.
    #[test]
    #[ignore = "sets the system clock (to what it shows); tests/all.sh runs it"]
    fn setting_the_clock_wakes_the_loop() {
        for reactor in reactors() {
            let _setter = Setter::new();
            reactor
                .call_at_system_time(SystemTime::now() + HOUR, || {})
                .unwrap();
            for _ in 0..3 {
                look(&reactor);
                let setter = thread::spawn(|| {
                    let now = clock_gettime(ClockId::Realtime);
                    clock_settime(ClockId::Realtime, now).expect("the right to set the clock");
                });
                // Returns because of the notice: there is nothing else.
                let start = Instant::now();
                let turn = reactor.turn(Some(20 * SECOND)).unwrap();
                assert!(start.elapsed() < 20 * SECOND);
                assert_eq!(turn.called, 0);
                setter.join().unwrap();
                // Once noticed it is over.
                look(&reactor);
                let (start, moment) = (Instant::now(), Duration::from_millis(20));
                reactor.turn(Some(moment)).unwrap();
                assert!(start.elapsed() >= moment);
            }
            assert_eq!(reactor.stats().pending_timers, 1);
        }
    }

    /// By a few seconds, for a moment, while the loop sleeps. The timer would be due in so many, but
    /// for that.
    #[test]
    #[ignore = "sets the system clock, for a moment; tests/all.sh runs it"]
    fn setting_the_clock_forward_fires_the_timers_it_passes() {
        for (reactor, hosted) in reactors().flat_map(|one| [(one.clone(), false), (one, true)]) {
            let setter = Setter::new();
            let time = SystemTime::now() + 10 * SECOND;
            let stopper = reactor.downgrade();
            let timer = move || {
                assert!(SystemTime::now() >= time);
                stopper.upgrade().unwrap().stop();
            };
            reactor.call_at_system_time(time, timer).unwrap();
            let late = || panic!("as if it had not been set");
            let late = reactor.call_later(5 * SECOND, late).unwrap();
            let (sender, asleep) = channel();
            let prepare = move || {
                let _ = sender.send(());
                None
            };
            let hook = reactor.add_hook(prepare, || {}).unwrap();
            let jump = thread::spawn(move || {
                asleep.recv().unwrap();
                set(time);
            });
            if hosted {
                async_io::block_on(oneloop_async_io::drive(&reactor)).unwrap()
            } else {
                reactor.run().unwrap()
            }
            jump.join().unwrap();
            drop(setter);
            reactor.cancel_timer(late).unwrap();
            reactor.remove_hook(hook).unwrap();
            assert_eq!(reactor.stats().pending_timers, 0);
        }
    }

    #[test]
    #[ignore = "sets the system clock, for a moment; tests/all.sh runs it"]
    fn setting_the_clock_back_delays_the_timers_after_it() {
        for reactor in reactors() {
            let setter = Setter::new();
            let soon = 100 * Duration::from_millis(1);
            let time = SystemTime::now() + soon;
            reactor
                .call_at_system_time(time, move || assert!(SystemTime::now() >= time))
                .unwrap();
            set(setter.right() - 5 * SECOND);
            assert!(
                !turn(&reactor, 3 * soon),
                "it shows {:?}",
                SystemTime::now()
            );
            // Put right, it has passed the time.
            drop(setter);
            assert!(turn(&reactor, 10 * SECOND));
        }
    }
}

/// How long this thread has computed: other processes do not count.
fn computed() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// Each turn of an eager clock fires one of them.
#[test]
fn system_timers_on_an_eager_clock_cost_the_same_however_many_there_are() {
    let each = |many: u32| {
        let clock = TestClock::eager();
        let reactor = on(&clock);
        for n in 0..many {
            let time = clock.system_now() + n * SECOND;
            reactor.call_at_system_time(time, || {}).unwrap();
        }
        let start = computed();
        reactor.run().unwrap();
        assert_eq!(reactor.stats().timer_calls, u64::from(many));
        (computed() - start) / many
    };
    let best = |many| (0..3).map(|_| each(many)).min().unwrap();
    let (few, many) = (best(100), best(2000));
    assert!(many < few * 5, "{few:?} and {many:?}");
}

/// The kernel lets the waits of a thread end late by its timer slack.
#[cfg(target_os = "linux")]
#[test]
fn a_short_timer_does_not_wait_for_the_threads_slack() {
    let slack = Duration::from_secs(2);
    // SAFETY: the call changes nothing but the slack of this thread, which ends with this test.
    let set = unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, slack.as_nanos() as libc::c_ulong) };
    assert_eq!(set, 0);
    let reactor = Reactor::new().unwrap();
    for delay in [Duration::from_micros(20), Duration::from_millis(5)] {
        let start = Instant::now();
        reactor.call_later(delay, || {}).unwrap();
        reactor.run().unwrap();
        assert!(start.elapsed() >= delay);
        assert!(start.elapsed() < slack / 2, "{:?}", start.elapsed());
    }
}
