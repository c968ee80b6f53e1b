//! The hosts. After each turn the model is told, and asked whether the host may sleep.

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use oneloop::{Action, Event, Host, Interest, Mode, Reactor, Shared, Step, Turn};

use crate::fault::Fault;
use crate::play::{OnPurpose, Play};
use crate::step::HostKind;
use crate::world::poll;

/// A host goes on for no more rounds than this in one step. Callbacks calm down before.
const ROUNDS: usize = 60;
/// So many rounds in which nothing is done are too many.
const QUIET: usize = 4;

/// A reactor with its host.
pub(crate) struct Hosted {
    pub(crate) reactor: Reactor,
    pub(crate) play: Arc<Play>,
    kind: HostKind,
    /// None until it drives for the first time, and after a stop or a panic.
    host: Option<Claim>,
}

/// The claim that a host keeps between its turns.
enum Claim {
    Poll(Stepper),
    Epoll(Watching),
    Future(Driver),
    Nested(Reactor),
}

/// A host that is told of changes only.
struct Watching {
    stepper: Stepper,
    epoll: OwnedFd,
    /// The last step said so.
    sleeps: bool,
}

struct Stepper {
    host: Host<Shared>,
}

/// Counts the callbacks that were called, but for hooks. In C those are more than the program knows of: what is
/// cancelled is destroyed by a post of the loop's own.
fn calls(reactor: &Reactor) -> u64 {
    let stats = reactor.stats();
    stats.handler_calls + stats.timer_calls + stats.post_calls
}

impl Stepper {
    const BUDGET: u64 = 8;

    /// Takes a step, and tells the model of its turns. None after a panic or an error.
    fn step(&mut self, play: &Play) -> Option<Step> {
        let before = calls(self.host.reactor());
        let step = attempt(play, || self.host.step(Self::BUDGET as usize));
        let turns = self.host.reactor().stats().turns;
        let called = calls(self.host.reactor()) - before;
        let mut model = play.model();
        let Some(step) = step else {
            model.driven(turns, true);
            return None;
        };
        let step = match step {
            Ok(step) => step,
            Err(error) => {
                model.driven(turns, false);
                if !model.closed {
                    model.violated(format!("a step gave {error}"));
                }
                return None;
            }
        };
        model.note(|| format!("{step:?}"));
        let goes_on = matches!(step, Step::Yield | Step::Unwatch);
        // So many calls are the budget, which may break a turn off.
        if goes_on && called >= Self::BUDGET {
            model.broken_off(turns)
        } else {
            model.driven(turns, false)
        }
        // A stop is told when the host does not watch any more.
        if step != Step::Unwatch {
            model.stopped(step == Step::Done);
        }
        if matches!(step, Step::Watch | Step::Sleep) {
            model.may_sleep();
        }
        Some(step)
    }
}

/// The future of an adapter, which is polled when its waker was called.
struct Driver {
    future: Pin<Box<dyn Future<Output = io::Result<()>>>>,
    woken: Arc<Woken>,
}

#[derive(Default)]
struct Woken {
    is: AtomicBool,
    outer: Mutex<Option<Waker>>,
}

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.is.store(true, SeqCst);
        let outer = self.outer.lock().unwrap_or_else(PoisonError::into_inner);
        outer.iter().for_each(Waker::wake_by_ref);
    }
}

impl Hosted {
    pub(crate) fn new(reactor: Reactor, play: Arc<Play>, kind: HostKind) -> Hosted {
        Hosted {
            reactor,
            play,
            kind,
            host: None,
        }
    }

    /// Leaves the host, and goes to another.
    pub(crate) fn change(&mut self, kind: HostKind) {
        self.host = None;
        self.kind = kind;
    }

    /// Lets the host drive until it would sleep; or for so many turns.
    pub(crate) fn drive(&mut self, turns: u8) {
        let (reactor, play) = (&self.reactor, &self.play);
        if self.kind == HostKind::Turn {
            for _ in 0..turns {
                let turn = attempt(play, || play.calls.turn(reactor, Some(Duration::ZERO)));
                after(reactor, play, turn);
            }
            return;
        }
        if play.model().closed {
            self.host = None;
            return;
        }
        let claim = match self.host.take() {
            Some(claim) => Some(claim),
            None => self.claim(),
        };
        let Some(claim) = claim else {
            return;
        };
        self.host = match claim {
            Claim::Poll(host) => poll_host(play, host),
            Claim::Epoll(watching) => epoll_host(play, watching),
            Claim::Future(driving) => future_host(self.kind, reactor, play, driving),
            Claim::Nested(outer) => outer_reactor(play, outer),
        };
    }

    fn claim(&self) -> Option<Claim> {
        let (reactor, play) = (&self.reactor, &self.play);
        let claimed = || {
            let host = reactor.host("a test");
            host.map_err(|error| play.model().violated(format!("claiming gave {error}")))
                .ok()
        };
        let future: Pin<Box<dyn Future<Output = io::Result<()>>>> = match self.kind {
            HostKind::Turn => return None,
            HostKind::Poll | HostKind::Epoll | HostKind::Nested => {
                let mut stepper = Stepper { host: claimed()? };
                if self.kind == HostKind::Epoll {
                    return Some(Claim::Epoll(Watching {
                        stepper,
                        epoll: new_epoll(),
                        sleeps: false,
                    }));
                }
                // As every host must.
                if stepper.step(play)? == Step::Done {
                    return None;
                }
                return Some(match self.kind {
                    HostKind::Poll => Claim::Poll(stepper),
                    _ => Claim::Nested(outer(play, stepper)?),
                });
            }
            HostKind::Tokio => Box::pin(oneloop_tokio::drive(reactor)),
            HostKind::AsyncIo => Box::pin(oneloop_async_io::drive(reactor)),
        };
        let woken = Arc::new(Woken::default());
        woken.is.store(true, SeqCst);
        Some(Claim::Future(Driver { future, woken }))
    }

    /// The descriptor, if the host sleeps by it.
    pub(crate) fn descriptor(&self) -> Option<RawFd> {
        match &self.host {
            Some(Claim::Poll(stepper)) => Some(stepper.host.as_raw_fd()),
            Some(Claim::Epoll(watching)) => Some(watching.stepper.host.as_raw_fd()),
            _ => None,
        }
    }

    /// A turn that may wait, if it must not.
    pub(crate) fn wait(&mut self) {
        let model = self.play.model();
        let hooked = model.hooks.iter().any(|hook| hook.alive);
        let must_not = model.to_do().is_some() && !hooked && !model.closed;
        drop(model);
        if must_not {
            self.host = None;
            let turn = attempt(&self.play, || self.play.calls.turn(&self.reactor, None));
            after(&self.reactor, &self.play, turn);
        }
    }

    /// The built-in loop, until it ends.
    pub(crate) fn run(&mut self) {
        self.host = None;
        let (reactor, play) = (&self.reactor, &self.play);
        self.stop_when_idle();
        let ran = attempt(play, || play.calls.run(reactor));
        play.runs.store(false, SeqCst);
        let mut model = play.model();
        model.driven(reactor.stats().turns, ran.is_none());
        match ran {
            Some(Ok(())) if model.closed => model.violated("run returned, and told of no close"),
            Some(Ok(())) if model.stop => model.stop = false,
            Some(Ok(())) if model.keeps_going(true) => {
                model.violated("run returned, and something was left");
            }
            Some(Err(fault)) if !model.closed => model.violated(format!("run gave {fault:?}")),
            _ => {}
        }
    }

    /// The built-in loop with a future that wakes itself twice.
    pub(crate) fn block_on(&mut self) {
        self.host = None;
        let (reactor, play) = (&self.reactor, &self.play);
        self.stop_when_idle();
        let mut polls = 0;
        let future = poll_fn(|cx| {
            polls += 1;
            cx.waker().wake_by_ref();
            match polls {
                ..3 => Poll::Pending,
                _ => Poll::Ready(polls),
            }
        });
        let result = attempt(play, || reactor.block_on(future));
        play.runs.store(false, SeqCst);
        let mut model = play.model();
        model.driven(reactor.stats().turns, result.is_none());
        match result {
            Some(Ok(3)) if !model.stop || model.closed => {}
            Some(Err(error)) if error.kind() == oneloop::ErrorKind::Stopped && model.stop => {
                model.stop = false;
            }
            Some(Err(_)) if model.closed => {}
            // The future was ready before anybody looked.
            Some(Ok(3)) => {}
            Some(other) => model.violated(format!("block_on gave {other:?}")),
            None => {}
        }
    }

    fn stop_when_idle(&self) {
        self.play.runs.store(true, SeqCst);
        if self.play.model().keeps_going(false) {
            self.play.post_stopper();
        }
    }
}

/// Drives, and catches what callbacks throw.
fn attempt<R>(play: &Play, drive: impl FnOnce() -> R) -> Option<R> {
    play.model().note(|| "driving".into());
    match catch_unwind(AssertUnwindSafe(drive)) {
        Ok(result) => Some(result),
        Err(panic) if panic.is::<OnPurpose>() => None,
        Err(panic) => resume_unwind(panic),
    }
}

/// Tells the model of the turns that were taken, or cut short if there is no result.
fn after<E: Into<Fault>>(
    reactor: &Reactor,
    play: &Play,
    turn: Option<Result<Turn, E>>,
) -> Option<Turn> {
    let mut model = play.model();
    model.driven(reactor.stats().turns, turn.is_none());
    match turn? {
        Ok(_) if model.closed => {
            model.violated("a turn told of no close");
            None
        }
        Ok(turn) => {
            model.note(|| format!("{turn:?}"));
            model.stopped(turn.stopped);
            if turn.idle {
                model.may_sleep();
            }
            Some(turn)
        }
        Err(error) => {
            if !model.closed {
                let fault = error.into();
                model.violated(format!("driving gave {fault:?}"));
            }
            None
        }
    }
}

/// On poll(2): whatever it is told, it goes by the descriptor alone.
fn poll_host(play: &Play, mut stepper: Stepper) -> Option<Claim> {
    let mut quiet = 0;
    for _ in 0..ROUNDS {
        if poll(stepper.host.as_raw_fd()) == 0 {
            asleep(play, "the descriptor is not readable");
            break;
        }
        let before = play.called.load(SeqCst);
        match stepper.step(play)? {
            Step::Done => return None,
            Step::Watch | Step::Unwatch => {}
            Step::Sleep | Step::Yield => quiet = count_quiet(play, before, quiet),
        }
    }
    Some(Claim::Poll(stepper))
}

fn epoll_host(play: &Play, mut watching: Watching) -> Option<Claim> {
    let mut quiet = 0;
    for _ in 0..ROUNDS {
        if watching.sleeps {
            if poll(watching.epoll.as_raw_fd()) == 0 {
                asleep(play, "epoll tells of no edge");
                break;
            }
            take_edge(&watching.epoll);
        }
        let before = play.called.load(SeqCst);
        let step = watching.stepper.step(play)?;
        let fd = watching.stepper.host.as_raw_fd();
        match step {
            Step::Watch => watch(&watching.epoll, fd),
            Step::Unwatch => unwatch(&watching.epoll, fd),
            Step::Sleep | Step::Yield => quiet = count_quiet(play, before, quiet),
            Step::Done => return None,
        }
        watching.sleeps = step == Step::Sleep;
    }
    Some(Claim::Epoll(watching))
}

/// The host sleeps: nothing must be left to do.
fn asleep(play: &Play, because: &str) {
    let mut model = play.model();
    model.may_sleep();
    if let Some(what) = model.to_do() {
        model.violated(format!("the host sleeps since {because}, and has {what}"));
    }
}

/// How many rounds came to nothing, one after the other. `before`: how many callbacks had been called
/// before this one.
fn count_quiet(play: &Play, before: u64, quiet: usize) -> usize {
    let called = play.called.load(SeqCst) - before;
    let mut model = play.model();
    let hooked = model.hooks.iter().any(|hook| hook.alive);
    if called > 0 || hooked || model.needs_rebuild() || model.to_do().is_some() {
        return 0;
    }
    if quiet == QUIET {
        model.violated("the host is woken again and again for nothing");
    }
    quiet + 1
}

fn new_epoll() -> OwnedFd {
    // SAFETY: makes a descriptor, which is checked.
    unsafe {
        let epoll = libc::epoll_create1(libc::EPOLL_CLOEXEC);
        assert!(epoll >= 0, "{}", io::Error::last_os_error());
        OwnedFd::from_raw_fd(epoll)
    }
}

/// For edges.
fn watch(epoll: &OwnedFd, fd: RawFd) {
    let mut event = libc::epoll_event {
        events: (libc::EPOLLIN | libc::EPOLLET) as u32,
        u64: 0,
    };
    // SAFETY: both are open, and the event is there.
    let added = unsafe { libc::epoll_ctl(epoll.as_raw_fd(), libc::EPOLL_CTL_ADD, fd, &mut event) };
    assert_eq!(added, 0, "{}", io::Error::last_os_error());
}

fn unwatch(epoll: &OwnedFd, fd: RawFd) {
    // SAFETY: both are open, and no event is needed.
    let deleted = unsafe {
        libc::epoll_ctl(
            epoll.as_raw_fd(),
            libc::EPOLL_CTL_DEL,
            fd,
            std::ptr::null_mut(),
        )
    };
    assert_eq!(deleted, 0, "{}", io::Error::last_os_error());
}

fn take_edge(epoll: &OwnedFd) {
    let mut event = libc::epoll_event { events: 0, u64: 0 };
    // SAFETY: room for one event.
    unsafe { libc::epoll_wait(epoll.as_raw_fd(), &mut event, 1, 0) };
}

thread_local! {
    static TOKIO: RefCell<Option<tokio::runtime::Runtime>> = const { RefCell::new(None) };
}

/// After how many callbacks an adapter lets its runtime go on.
const BUDGET: u64 = 128;

fn future_host(
    kind: HostKind,
    reactor: &Reactor,
    play: &Play,
    mut driving: Driver,
) -> Option<Claim> {
    let (mut rounds, mut sleeps, mut cut) = (0, false, false);
    let settle = poll_fn(|cx: &mut Context<'_>| {
        let mut outer = driving
            .woken
            .outer
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        *outer = Some(cx.waker().clone());
        drop(outer);
        rounds += 1;
        let mut over = None;
        // An adapter that wants to go on, with nothing to do: a ghost keeps it awake.
        let needs_rebuild = rounds > QUIET && play.model().to_do().is_none();
        // In the last round it is not polled: what it puts off, tokio would forget.
        let last = rounds == ROUNDS || needs_rebuild;
        let polls = !last && driving.woken.is.swap(false, SeqCst);
        if polls {
            let waker = Waker::from(driving.woken.clone());
            let before = calls(reactor);
            let polled = driving
                .future
                .as_mut()
                .poll(&mut Context::from_waker(&waker));
            // So many calls are the budget of an adapter, which may break a turn off.
            let called = calls(reactor) - before;
            cut = polled.is_pending() && called >= BUDGET;
            let mut model = play.model();
            if cut {
                model.broken_off(reactor.stats().turns)
            } else {
                model.driven(reactor.stats().turns, false)
            }
            over = match polled {
                Poll::Pending => None,
                Poll::Ready(result) => Some(result),
            };
        }
        if over.is_some() || last {
            sleeps = needs_rebuild && !driving.woken.is.load(SeqCst);
            return Poll::Ready(over);
        }
        // If something is to do, it is for the runtime to come back; if not, it is given the chance.
        if polls || rounds < 2 {
            cx.waker().wake_by_ref();
        } else if play.model().to_do().is_none() {
            sleeps = true;
            return Poll::Ready(None);
        }
        Poll::Pending
    });
    let over = attempt(play, || match kind {
        HostKind::Tokio => TOKIO.with_borrow_mut(|runtime| {
            let runtime = runtime.get_or_insert_with(|| {
                let mut builder = tokio::runtime::Builder::new_current_thread();
                builder.enable_io().build().expect("a runtime")
            });
            runtime.block_on(settle)
        }),
        _ => async_io::block_on(settle),
    });
    let mut model = play.model();
    if cut && over.is_some() {
        model.broken_off(reactor.stats().turns)
    } else {
        model.driven(reactor.stats().turns, over.is_none())
    }
    match over? {
        None => {
            drop(model);
            if sleeps {
                asleep(play, "the runtime does");
            }
            Some(Claim::Future(driving))
        }
        Some(Ok(())) => {
            if !model.stop || model.closed {
                model.violated("the adapter ended, and was not stopped");
            }
            model.stop = false;
            None
        }
        Some(Err(error)) => {
            if !model.closed {
                model.violated(format!("the adapter gave {error}"));
            }
            None
        }
    }
}

/// A reactor that hosts ours, as one of its handlers.
fn outer(play: &Arc<Play>, stepper: Stepper) -> Option<Reactor> {
    let outer = Reactor::new().expect("a reactor");
    let (play, weak) = (play.clone(), outer.downgrade());
    let fd = stepper.host.as_raw_fd();
    let mut stepper = stepper;
    let step = move |event: Event| loop {
        match stepper.step(&play) {
            Some(Step::Watch) => {
                let rearmed = weak
                    .upgrade()
                    .map(|outer| outer.rearm_handler(event.handler()));
                if !matches!(rearmed, Some(Ok(()))) {
                    play.model()
                        .violated("the outer loop cannot watch the inner again");
                }
            }
            Some(Step::Unwatch) => {}
            Some(Step::Sleep) => return Action::Continue,
            Some(Step::Yield) => return Action::Again,
            Some(Step::Done) | None => return Action::Remove,
        }
    };
    // SAFETY: the handler owns the host, and so keeps the descriptor open.
    let added = unsafe { outer.add_raw_handler(fd, Interest::READABLE, Mode::Edge, step) };
    added.ok().map(|_| outer)
}

fn outer_reactor(play: &Play, outer: Reactor) -> Option<Claim> {
    let mut quiet = 0;
    for _ in 0..ROUNDS {
        if outer.stats().handlers == 0 {
            // A stop, a panic or an error has taken it away.
            return None;
        }
        let model = play.model();
        let (before, had) = (model.drives, model.to_do());
        drop(model);
        let called = play.called.load(SeqCst);
        let turn = outer.turn(Some(Duration::ZERO));
        let mut model = play.model();
        match turn {
            Ok(_) if had.is_some() && model.drives == before => {
                model.violated("the outer loop was not told that there is something to do");
            }
            Ok(turn) if turn.idle && turn.called == 0 => {
                drop(model);
                asleep(play, "the outer loop does");
                break;
            }
            Ok(_) => {}
            Err(error) => model.violated(format!("the outer loop gave {error}")),
        }
        drop(model);
        quiet = match had {
            Some(_) => 0,
            None => count_quiet(play, called, quiet),
        };
    }
    Some(Claim::Nested(outer))
}
