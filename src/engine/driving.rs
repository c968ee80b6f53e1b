//! The loop's own drivers: `run`, `run_forever`, `turn` and `block_on`.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::Duration;

use super::core::Core;
use super::current::Entered;
use super::deadline::{NEVER, NO_WAIT};
use super::driver::Driver;
use super::inbox::Inbox;
use super::sleep::Phase;
use crate::error::Cause;
use crate::host::Turn;
use crate::sync::atomic::{AtomicBool, Ordering};
use crate::sync::{lock, try_lock};
use crate::{Error, ErrorKind, Result};

/// Time after which an attempt to drive inside a callback fails.
const NESTED: Duration = Duration::from_millis(1);

const ASK_HOOKS: &str = "ask_hooks";

const TURN_IF_FREE: &str = "turn_if_free";

impl Core {
    /// Takes the right to drive, until the result is dropped. A host passes its name, under which it has claimed the
    /// loop before.
    pub(crate) fn drive(
        self: &Arc<Self>,
        call: &'static str,
        host: Option<&'static str>,
    ) -> Result<Driver<'_>> {
        let mut state = self.enter(call)?;
        let driver = state.driver;
        let is_here = || driver.is_some_and(|(_, thread)| thread == thread::current().id());
        if let Some(claim) = state.host.as_ref().filter(|claim| host != Some(claim.name)) {
            let by = format!("the host {}", claim.name);
            drop(state);
            return Err(driven(call, by, is_here()));
        }
        if state.waiting_drivers > 0 && call == TURN_IF_FREE {
            drop(state);
            return Err(driven(call, "a driver that begins".into(), false));
        }
        let Some(turn_state) = try_lock(&self.turn_state) else {
            let here = is_here();
            if state.asks_hooks && !here {
                // A host that moves between threads may still be asking the hooks on the other one, which does
                // not take long.
                drop(state);
                drop(lock(&self.turn_state));
                return self.drive(call, host);
            }
            if state.gives_way && !here && call != TURN_IF_FREE {
                state.waiting_drivers += 1;
                drop(state);
                self.inbox.wake();
                drop(lock(&self.turn_state));
                let driver = self.drive(call, host);
                self.state().waiting_drivers -= 1;
                return driver;
            }
            let by = match driver {
                Some((by, _)) if here => {
                    format!("{by}, one of whose callbacks this call comes from")
                }
                Some((by, _)) => format!("{by} on another thread"),
                None => "another thread".into(),
            };
            drop(state);
            return Err(driven(call, by, here));
        };
        state.driver = Some((host.unwrap_or(call), thread::current().id()));
        state.asks_hooks = call == ASK_HOOKS;
        state.gives_way = call == TURN_IF_FREE;
        Ok(Driver {
            core: self,
            _entered: Entered::new(self),
            turn_state,
            resting: false,
            call: host.unwrap_or(call),
            real_timeout: None,
            exits_when_empty: false,
            built_in: false,
            most: usize::MAX,
        })
    }

    /// Drives until `stop` is called. With `exits_when_empty`, also ends when nothing is left that could call back.
    pub(crate) fn run(self: &Arc<Self>, call: &'static str, exits_when_empty: bool) -> Result<()> {
        let mut driver = self.drive(call, None)?;
        driver.exits_when_empty = exits_when_empty;
        driver.built_in = true;
        let mut state = self.state();
        let mut turn = Turn::default();
        while !turn.stopped {
            if exits_when_empty && !driver.is_alive(&state) {
                let is_over;
                (state, is_over) = driver.is_over(state)?;
                if is_over {
                    break;
                }
            }
            state = driver.turn(state, NEVER, &mut turn)?;
        }
        // Unlocked first, because the drop of `driver` takes the lock.
        drop(state);
        driver.check_open()
    }

    /// Takes one turn, which waits for up to `timeout`.
    pub(crate) fn turn(self: &Arc<Self>, timeout: Option<Duration>) -> Result<Turn> {
        self.drive("turn", None)?.take_turn(timeout)
    }

    /// Takes a turn, and gives way to a driver that begins meanwhile. Returns `None` if another drives.
    pub(crate) fn turn_if_free(
        self: &Arc<Self>,
        timeout: Option<Duration>,
    ) -> Result<Option<Turn>> {
        let state = self.enter(TURN_IF_FREE)?;
        let is_free = state.driver.is_none() && state.host.is_none() && state.waiting_drivers == 0;
        drop(state);
        if !is_free {
            return Ok(None);
        }
        match self.drive(TURN_IF_FREE, None) {
            Ok(driver) => driver.take_turn(timeout).map(Some),
            // It began just now.
            Err(error) if error.kind() == ErrorKind::AlreadyDriven => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Drives and polls `future`, until the future is ready.
    pub(crate) fn block_on<F: Future>(self: &Arc<Self>, future: F) -> Result<F::Output> {
        const CALL: &str = "block_on";
        struct Woken(AtomicBool, Arc<Inbox>);
        impl Wake for Woken {
            fn wake(self: Arc<Self>) {
                self.wake_by_ref();
            }
            fn wake_by_ref(self: &Arc<Self>) {
                if !self.0.swap(true, Ordering::SeqCst) {
                    self.1.wake();
                }
            }
        }

        let mut driver = self.drive(CALL, None)?;
        driver.built_in = true;
        let woken = Arc::new(Woken(AtomicBool::new(true), self.inbox.clone()));
        let waker = Waker::from(woken.clone());
        let mut future = pin!(future);
        let mut turn = Turn::default();
        loop {
            if woken.0.swap(false, Ordering::SeqCst) {
                let polled = future.as_mut().poll(&mut Context::from_waker(&waker));
                if let Poll::Ready(output) = polled {
                    // A stop that has come by now was meant for this call, and must not end the next one.
                    self.inbox.take_stop();
                    return Ok(output);
                }
            }
            drop(driver.turn(driver.state()?, NEVER, &mut turn)?);
            if turn.stopped {
                driver.check_open()?;
                return Err(Error::new(CALL, Cause::Stopped));
            }
        }
    }

    /// Asks the prepare hooks once more, for a host that is about to sleep. If there is something to do then, the
    /// descriptor becomes readable.
    pub(crate) fn ask_hooks(self: &Arc<Self>) -> Result<()> {
        let state = self.enter(ASK_HOOKS)?;
        let host = state.host.as_ref().map(|host| host.name);
        let asks = !state.hooks.is_empty() && state.sleep.phase == Phase::Resting;
        drop(state);
        if !asks {
            return Ok(());
        }
        match self.drive(ASK_HOOKS, host) {
            Ok(mut driver) => driver.rest().map(drop),
            // The present driver asks the hooks before the loop sleeps.
            Err(error) if error.kind() == ErrorKind::AlreadyDriven => Ok(()),
            Err(error) => Err(error),
        }
    }
}

impl Driver<'_> {
    /// Takes one turn, after which the caller may sleep.
    fn take_turn(mut self, timeout: Option<Duration>) -> Result<Turn> {
        let clock = &self.core.clock;
        let until = match timeout {
            None => NEVER,
            Some(Duration::ZERO) => NO_WAIT,
            Some(timeout) if clock.test().is_none() => clock.deadline_in(timeout),
            // The timeout is in real time, and the clock is not.
            Some(timeout) => {
                self.real_timeout = Some(timeout);
                NEVER
            }
        };
        let mut turn = Turn::default();
        drop(self.turn(self.core.state(), until, &mut turn)?);
        // Prepares for a sleep even if the turn was not idle, because the caller may ignore that.
        let may_sleep = !turn.stopped && self.rest()?;
        turn.idle &= may_sleep;
        self.check_open()?;
        Ok(turn)
    }
}

/// Makes the error for a loop that has a driver. `in_callback` is true if that driver is calling the caller.
fn driven(call: &'static str, by: String, in_callback: bool) -> Error {
    // The callback may run the host's loop, for example for a modal dialogue. The descriptor may stay readable
    // meanwhile, and the pause keeps the inner loop from spinning.
    if in_callback {
        thread::sleep(NESTED);
    }
    Error::new(call, Cause::AlreadyDriven(by))
}

#[cfg(all(test, unix))]
mod tests {
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;
    use std::sync::mpsc::{RecvTimeoutError, Sender, channel};

    use std::time::Instant;

    use super::*;
    use crate::{Interest, Mode, Priority, Reactor, TestClock};

    const SHORT: Duration = Duration::from_millis(20);

    /// Posts to the loop unless the result is dropped soon, so that an endless turn fails its test.
    fn wake_after_long(reactor: &Reactor) -> Sender<()> {
        let (sender, ended) = channel();
        let reactor = reactor.downgrade();
        thread::spawn(move || {
            let waited = ended.recv_timeout(Duration::from_secs(10));
            if waited == Err(RecvTimeoutError::Timeout) {
                reactor.upgrade().unwrap().call_soon(|| {}).unwrap();
            }
        });
        sender
    }

    #[test]
    fn a_free_turn_gives_way_to_every_driver() {
        let reactor = Reactor::new().unwrap();
        let is_over = AtomicBool::new(false);
        thread::scope(|scope| {
            let helpers = [(); 2].map(|()| {
                scope.spawn(|| {
                    let mut turns = 0;
                    while !is_over.load(Ordering::SeqCst) {
                        turns += u32::from(reactor.turn_if_free(None).unwrap().is_some());
                    }
                    turns
                })
            });
            for _ in 0..300 {
                reactor.turn(Some(Duration::ZERO)).unwrap();
                drop(reactor.host("a test").unwrap());
                thread::yield_now();
            }
            is_over.store(true, Ordering::SeqCst);
            while helpers.iter().any(|helper| !helper.is_finished()) {
                reactor.wake();
                thread::yield_now();
            }
            let turns = helpers.map(|helper| helper.join().unwrap());
            assert!(turns.iter().sum::<u32>() > 0);
        });
        // No driver is counted as waiting any more.
        assert!(
            reactor
                .turn_if_free(Some(Duration::ZERO))
                .unwrap()
                .is_some()
        );
    }

    #[test]
    fn a_free_turn_is_refused_inside_a_callback() {
        let reactor = Reactor::new().unwrap();
        let (sender, turned) = channel();
        let turn = move || sender.send(Reactor::current().unwrap().turn_if_free(None));
        reactor.call_soon(move || turn().unwrap()).unwrap();
        let outer = reactor.turn_if_free(None).unwrap();
        assert_eq!(outer.unwrap().called, 1);
        assert_eq!(turned.recv().unwrap().unwrap(), None);
    }

    #[test]
    fn a_turn_waits_no_longer_than_its_timeout_for_a_later_timer() {
        let reactor = Reactor::new().unwrap();
        let later = Duration::from_secs(3600);
        reactor.call_later(later, || {}).unwrap();
        let _late = wake_after_long(&reactor);
        let start = Instant::now();
        assert_eq!(reactor.turn(Some(SHORT)).unwrap().called, 0);
        assert!(start.elapsed() >= SHORT);
    }

    #[test]
    fn a_turn_waits_for_its_timeout_by_the_real_clock() {
        for clock in [TestClock::new(), TestClock::eager()] {
            let reactor = Reactor::builder().clock(clock.clone()).build().unwrap();
            let _late = wake_after_long(&reactor);
            let (start, shown) = (Instant::now(), clock.now());
            assert_eq!(reactor.turn(Some(SHORT)).unwrap().called, 0);
            assert!(start.elapsed() >= SHORT);
            assert_eq!(clock.now(), shown);
        }
    }

    #[test]
    fn a_turn_sleeps_while_a_test_clock_has_not_come_to_a_timer() {
        let clock = TestClock::new();
        let reactor = Reactor::builder().clock(clock.clone()).build().unwrap();
        let later = Duration::from_secs(3600);
        reactor.call_later(later, || {}).unwrap();
        let start = Instant::now();
        assert_eq!(reactor.turn(Some(SHORT)).unwrap().called, 0);
        assert!(start.elapsed() >= SHORT);
        clock.advance(later);
        assert_eq!(reactor.turn(Some(SHORT)).unwrap().called, 1);
    }

    #[test]
    fn an_eager_clock_stands_still_in_a_turn_that_calls_something() {
        let clock = TestClock::eager();
        let reactor = Reactor::builder().clock(clock.clone()).build().unwrap();
        let start = clock.now();
        let (a, mut b) = UnixStream::pair().unwrap();
        let read = |stream: &mut UnixStream, _| stream.read_exact(&mut [0]).unwrap();
        reactor
            .add_handler(a, Interest::READABLE, Mode::Level, read)
            .unwrap();
        reactor.call_later(SHORT, || {}).unwrap();
        reactor.call_soon_with(Priority::High, || {}).unwrap();
        assert_eq!(reactor.turn(Some(Duration::ZERO)).unwrap().called, 1);
        assert_eq!(clock.now(), start);
        b.write_all(b"x").unwrap();
        assert_eq!(reactor.turn(Some(Duration::ZERO)).unwrap().called, 1);
        assert_eq!(clock.now(), start);
        assert_eq!(reactor.turn(Some(Duration::ZERO)).unwrap().called, 1);
        assert_eq!(clock.now(), start + SHORT);
    }

    #[test]
    fn a_turn_with_an_event_is_not_idle() {
        let reactor = Reactor::new().unwrap();
        let (a, mut b) = UnixStream::pair().unwrap();
        b.write_all(b"xy").unwrap();
        let read = |stream: &mut UnixStream, _| stream.read_exact(&mut [0]).unwrap();
        reactor
            .add_handler(a, Interest::READABLE, Mode::Level, read)
            .unwrap();
        let idle = [(); 3].map(|()| {
            let turn = reactor.turn(Some(Duration::ZERO)).unwrap();
            (turn.called, turn.idle)
        });
        assert_eq!(idle, [(1, false), (1, false), (0, true)]);
    }
    #[test]
    fn an_error_says_from_where_the_loop_is_driven() {
        let reactor = Reactor::new().unwrap();
        let (sender, errors) = channel();
        let inner = reactor.clone();
        let post = move || {
            let turn = |reactor: &Reactor| reactor.turn(None).unwrap_err().to_string();
            sender.send(turn(&inner)).unwrap();
            let elsewhere = thread::spawn(move || turn(&inner));
            sender.send(elsewhere.join().unwrap()).unwrap();
        };
        reactor.call_soon(post).unwrap();
        reactor.run().unwrap();
        let says = ["run, one of whose callbacks", "run on another thread"];
        for (error, says) in errors.iter().zip(says) {
            assert!(error.contains(says), "{error}");
        }
    }
}
