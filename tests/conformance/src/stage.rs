use std::fmt::Debug;
use std::io;
use std::sync::atomic::{AtomicI32, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustix::fd::{AsFd, RawFd};

use oneloop::{
    Action, Error, ErrorKind, Event, HandlerId, Interest, Mode, PollerKind, Reactor, Source, Step,
    Threading,
};

use crate::faulty::Faults;
use crate::os;
use crate::tools::{Watchdog, pair};
use crate::{HostUnderTest, Outside, Sources, tally};

/// The means of a case: a reactor, and a host that drives it when the case says so.
pub struct Stage<'a> {
    /// The reactor. It is closed at the end, so that callbacks may hold clones.
    pub reactor: Reactor,
    /// Its poller.
    pub poller: PollerKind,
    /// Where the case gets its sources.
    pub sources: Sources,
    /// The faults on command, if the case has asked for them.
    faults: Option<Faults>,
    has_edge: bool,
    host: &'a mut dyn HostUnderTest,
    _watchdog: Watchdog,
}

impl<'a> Stage<'a> {
    pub(crate) fn new(
        name: &str,
        poller: PollerKind,
        sources: Sources,
        host: &'a mut dyn HostUnderTest,
    ) -> Stage<'a> {
        os::end_of_numbers();
        let reactor = Reactor::builder().poller(poller).build();
        let reactor = reactor.expect("a reactor");
        Stage {
            has_edge: sources == Sources::Virtual || has_edge(&reactor),
            reactor,
            poller,
            sources,
            faults: None,
            host,
            _watchdog: Watchdog::new(name),
        }
    }

    /// Lets the host drive until the reactor is stopped.
    pub fn run(&mut self) {
        self.run_beside(|| {});
    }

    /// Runs like [`run`](Self::run), and calls `outside` on the host's thread once the loop sleeps.
    pub fn run_beside(&mut self, outside: impl FnOnce() + Send + 'static) {
        self.try_run(Box::new(outside)).expect("driving")
    }

    /// Runs like [`run_beside`](Self::run_beside), and returns the error.
    pub fn try_run(&mut self, outside: Outside) -> std::io::Result<()> {
        self.host.drive(&self.reactor, outside)
    }

    /// Runs like [`try_run`](Self::try_run), with a reactor of the case's own.
    pub fn try_run_other(&mut self, reactor: &Reactor, outside: Outside) -> std::io::Result<()> {
        self.host.drive(reactor, outside)
    }

    /// Lets the host drive until nothing is left.
    pub fn run_until_empty(&mut self) {
        self.host.drive_until_empty(&self.reactor).expect("driving");
    }

    /// Runs like [`run`](Self::run), through no more than so many errors, which it returns.
    pub fn run_through(&mut self, most: usize) -> Vec<Error> {
        let mut errors = Vec::new();
        while let Err(error) = self.try_run(Box::new(|| {})) {
            errors.push(ours(error));
            assert!(errors.len() <= most, "{errors:?}");
        }
        errors
    }

    /// The modes that the poller has, for the case's sources.
    pub fn modes(&self) -> &'static [Mode] {
        let all = &[Mode::Level, Mode::Oneshot, Mode::Edge];
        if self.has_edge { all } else { &all[..2] }
    }

    /// Those of these that the poller has.
    pub fn some_of(&self, modes: &[Mode]) -> Vec<Mode> {
        let all = self.modes();
        let here = modes.iter().filter(|mode| all.contains(mode));
        here.copied().collect()
    }

    /// A mode that does not repeat itself.
    pub fn edge_or_oneshot(&self) -> Mode {
        if self.has_edge {
            Mode::Edge
        } else {
            Mode::Oneshot
        }
    }

    /// Puts a reactor on the stage in which things go wrong on command. To be called before anything is
    /// registered, and before the reactor is cloned: all other cases run on one that tests have not touched.
    pub fn faults(&mut self) -> Faults {
        assert_eq!(self.reactor.stats().handlers, 0, "a handler is lost");
        let faults = Faults::default();
        self.reactor = faults.reactor(self.poller).expect("a reactor");
        self.faults = Some(faults.clone());
        faults
    }

    /// Lets the host drive for `n` whole turns at least, none of which waits.
    pub fn turns(&mut self, n: usize) {
        after_turns(&self.reactor, n, |reactor| reactor.stop());
        self.run();
    }

    /// Takes turns like [`turns`](Self::turns), through errors, which it returns.
    pub fn turns_through(&mut self, n: usize) -> Vec<Error> {
        after_turns(&self.reactor, n, |reactor| reactor.stop());
        self.run_through(100)
    }

    /// Asserts that the loop sleeps in the end, when it has nothing to do.
    pub fn expect_sleep(&mut self) {
        // It may need some turns to get rid of what is left.
        self.turns(20);
        let stopper = self.reactor.clone();
        let timer = move || stopper.stop();
        let timer = self.reactor.call_later(Duration::from_millis(3), timer);
        timer.expect("open");
        let before = self.reactor.stats().turns;
        self.run();
        let turns = self.reactor.stats().turns - before;
        assert!(turns <= 8, "{turns} turns for one timer");
    }

    /// Adds a handler that only counts.
    pub fn watch<S>(&self, source: S, interest: Interest, mode: Mode) -> Calls
    where
        S: Source + Send + 'static,
    {
        let log = Log::default();
        let seen = log.clone();
        let id = self
            .reactor
            .add_handler(source, interest, mode, move |_, event| seen.push(event))
            .expect("add_handler");
        Calls { id, log }
    }

    /// Adds a raw handler that only counts.
    pub fn watch_number(&self, fd: RawFd, interest: Interest, mode: Mode) -> Calls {
        let log = Log::default();
        let seen = log.clone();
        // SAFETY: the numbers that cases use are their own (`Number`), and no update or rearm is
        // made after a close but to see it do no harm.
        let id = unsafe {
            self.reactor
                .add_raw_handler(fd, interest, mode, move |event| seen.push(event))
        };
        Calls {
            id: id.expect("add_raw_handler"),
            log,
        }
    }
}

impl Drop for Stage<'_> {
    fn drop(&mut self) {
        self.reactor.close();
        if let Some(faults) = &self.faults {
            tally::add_all(faults.injected());
        }
    }
}

/// poll(2), for one, has no edges.
fn has_edge(reactor: &Reactor) -> bool {
    let added = reactor.add_handler(pair().0, Interest::NONE, Mode::Edge, |_, _| {});
    match added {
        Ok(id) => reactor.remove_handler(id).is_ok(),
        Err(refused) => {
            assert_eq!(refused.error().kind(), ErrorKind::Unsupported);
            assert!(refused.to_string().contains("edge"), "{refused}");
            false
        }
    }
}

/// The reactor's error, as the driver returned it.
pub(crate) fn ours(error: io::Error) -> Error {
    let inner = error.into_inner().expect("an error of the reactor's");
    *inner.downcast().expect("an error of the reactor's")
}

/// Calls `then` in a post, `n` turns from now.
pub(crate) fn after_turns(
    reactor: &Reactor,
    n: usize,
    then: impl FnOnce(&Reactor) + Send + 'static,
) {
    let next = reactor.clone();
    let post = move || match n {
        0 => then(&next),
        _ => after_turns(&next, n - 1, then),
    };
    // A case may have closed the reactor.
    let _ = reactor.call_soon(Box::new(post) as Outside);
}

/// A handler of [`Stage::watch`] and the events that it got.
#[derive(Clone)]
pub struct Calls {
    /// Its id.
    pub id: HandlerId,
    log: Log<Event>,
}

impl Calls {
    /// How often it was called since the last look.
    pub fn take(&self) -> usize {
        self.log.take().len()
    }

    /// The events since the last look.
    pub fn events(&self) -> Vec<Event> {
        self.log.take()
    }
}

/// The handlers that were called, in order; shared with callbacks.
pub struct Log<T>(Arc<Mutex<Vec<T>>>);

impl<T> Log<T> {
    /// Appends.
    pub fn push(&self, entry: T) {
        self.0.lock().expect("no panic in a log").push(entry);
    }

    /// Empties it.
    pub fn take(&self) -> Vec<T> {
        std::mem::take(&mut *self.0.lock().expect("no panic in a log"))
    }

    /// How many entries it has.
    pub fn len(&self) -> usize {
        self.0.lock().expect("no panic in a log").len()
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<T: PartialEq + Debug> Log<T> {
    /// Asserts what was logged since the last look.
    pub fn expect(&self, entries: &[T]) {
        assert_eq!(self.take(), entries);
    }
}

impl<T> Default for Log<T> {
    fn default() -> Log<T> {
        Log(Arc::default())
    }
}

impl<T> Clone for Log<T> {
    fn clone(&self) -> Log<T> {
        Log(self.0.clone())
    }
}

/// A descriptor number that no other test of the process gets by chance: tests run in threads, and the
/// system hands out the lowest number that is free. So these are taken from the highest downwards.
pub struct Number(RawFd);

impl Number {
    /// A number for the file of `source`.
    pub fn of(source: impl AsFd) -> Number {
        static NEXT: AtomicI32 = AtomicI32::new(1);
        let least = os::end_of_numbers() - NEXT.fetch_add(1, SeqCst);
        Number(os::duplicate(&source, least))
    }

    /// The number.
    pub fn get(&self) -> RawFd {
        self.0
    }

    /// Closes it without telling anybody.
    pub fn close(&self) {
        // SAFETY: the number is this case's own, and no owner of it exists.
        unsafe { os::close(self.0) };
    }

    /// Makes it mean the file of `source`, in one step.
    pub fn mean(&self, source: impl AsFd) {
        // SAFETY: the number is this case's own, and no owner of it exists.
        unsafe { os::replace(self.0, &source) };
    }
}

/// Steps a reactor inside a handler of another reactor, which is on its [`Host`](oneloop::Host).
///
/// # Errors
///
/// Returns the error of a step.
pub fn step_inside<M: Threading>(
    host: &mut oneloop::Host<M>,
    outer: &Reactor,
    handler: HandlerId,
) -> oneloop::Result<Action> {
    loop {
        match host.step(8)? {
            // The number may have come to mean another file.
            Step::Watch => outer.rearm_handler(handler)?,
            Step::Unwatch => {}
            Step::Sleep => return Ok(Action::Continue),
            Step::Yield => return Ok(Action::Again),
            Step::Done => return Ok(Action::Remove),
        }
    }
}

/// Counts drops.
#[derive(Clone, Default)]
pub(crate) struct Drops(Arc<AtomicUsize>);

impl Drops {
    pub(crate) fn guard(&self) -> DropGuard {
        DropGuard(self.0.clone())
    }

    pub(crate) fn count(&self) -> usize {
        self.0.load(SeqCst)
    }
}

pub(crate) struct DropGuard(Arc<AtomicUsize>);

impl Drop for DropGuard {
    fn drop(&mut self) {
        self.0.fetch_add(1, SeqCst);
    }
}
