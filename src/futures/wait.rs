//! Waiting tasks. Each [`Async`](super::Async) has one handler, which wakes them.
//!
//! The handler is level-triggered at first, so that no readiness can be lost: the kernel reports again what
//! a task has left unread. The interest stays in the kernel's set from wait to wait. A conversation
//! therefore costs no calls of the kernel but its own reads and writes.
//!
//! The handler becomes edge-triggered, for good, when reports turn out to be in vain. A read may say that it
//! would block although the kernel reported it ready just before. Or often no task waits for a report, as
//! when tasks run on other threads. A level-triggered handler would be called without end, or would be
//! switched off and on. From then on:
//!
//! - A short read does not count as the last one, since the kernel would not report the rest again.
//! - Reports have numbers. An attempt that would block refutes the report that it knew of, and no
//!   later one.
//! - If a task waits without such an attempt, the handler is armed again, which reports what is ready now.
//!
//! A write that would block although it was reported ready is tried again after a while. No edge can
//! be relied on: a full Unix socket that others have filled gives none, and each attempt makes an edge of
//! its own. Reads are treated alike where the poller has no edges.

use std::future::Future;
use std::io::{self, ErrorKind};
use std::panic::{AssertUnwindSafe, Location, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::sync::{Arc, PoisonError, Weak};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use slab::Slab;

use super::set_nonblocking;
use crate::engine::{Core, Fired, Inbox, Outcome, Target, When, once};
use crate::id::Key;
use crate::os::{AsRawFd, RawFd};
use crate::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use crate::sync::{Mutex, MutexGuard};
use crate::{Action, Error, Event, Interest, Mode, Reactor, Ready, Source, SourceKind, Threading};

/// What fails in a child process, where a thread that is not there may have the tasks' lock, for ever.
const CALL: &str = "Async";

/// A quarter of the time after which an operation is tried again that would block although it is
/// called ready. The next time it is four times as long...
const PAUSE: Duration = Duration::from_micros(12);
/// ...and no more after so many: 50 milliseconds.
const LONGEST: u32 = 6;

/// The weight of a report for which no task waits. A report for which one does takes off one.
const VAIN: u32 = 4;
/// The weight from which on reports in vain are the rule, and not an exception.
const UNHEARD: u32 = 24;

/// Counts the operations of a task that did not have to wait, so that the task leaves the loop and other
/// tasks their turn.
#[derive(Default)]
pub(crate) struct Budget(AtomicUsize);

impl Budget {
    /// The limit, which is that of a task of tokio.
    const MOST: usize = 128;

    /// Spends one. Pending if there is none left: the task is woken at once, and has all of them again.
    #[inline]
    pub(super) fn poll_spend(&self, cx: &mut Context<'_>) -> Poll<()> {
        // That one is lost where two threads meet does not matter.
        let spent = self.spent();
        self.set_spent(spent + 1);
        if spent < Budget::MOST {
            return Poll::Ready(());
        }
        self.give_way(cx)
    }

    #[cold]
    fn give_way(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.set_spent(0);
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn spent(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    fn set_spent(&self, spent: usize) {
        self.0.store(spent, Ordering::Relaxed);
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Direction {
    Read,
    Write,
    /// Exceptional data.
    Priority,
    /// The peer sends nothing more.
    End,
}

impl Direction {
    pub(super) const ALL: [Direction; 4] = [
        Direction::Read,
        Direction::Write,
        Direction::Priority,
        Direction::End,
    ];

    pub(super) fn interest(self) -> Interest {
        match self {
            Direction::Read => Interest::READABLE,
            Direction::Write => Interest::WRITABLE,
            Direction::Priority => Interest::PRIORITY,
            Direction::End => Interest::READ_CLOSED,
        }
    }

    /// Returns whether an event is for the tasks that wait for this direction.
    fn is_in(self, event: Event) -> bool {
        match self {
            Direction::Read => event.is_readable(),
            Direction::Write => event.is_writable(),
            Direction::Priority => event.is_priority() || is_fault(event),
            Direction::End => event.is_read_closed() || is_fault(event),
        }
    }
}

fn is_fault(event: Event) -> bool {
    event.is_hangup() || event.is_error()
}

/// The registration of an `Async`'s handler, which ends when this is dropped.
pub(super) struct Registration<M: Threading> {
    reactor: Reactor<M>,
    key: Key,
    tasks: Arc<Tasks>,
    /// See [`Source::is_direct`].
    is_direct: bool,
    /// The descriptor that it is on.
    pub(super) fd: Option<RawFd>,
    location: &'static Location<'static>,
}

/// The readiness that is known, and the tasks that wait.
struct Tasks {
    known: [Known; 2],
    /// The peer has closed, or there was an error: a short read may have an end behind it.
    ended: AtomicBool,
    /// The handler is edge-triggered.
    edges: AtomicBool,
    state: Mutex<State>,
}

/// The known readiness of one direction. Tasks that need not wait read it without the lock. The handler
/// changes it under the lock, so that a task that is about to wait does not miss a change.
struct Known {
    /// The number of the last report, or [`REFUTED`] if an attempt has refuted it.
    report: AtomicUsize,
    /// It was reported ready, and no poll has said so yet.
    unread: AtomicBool,
    /// No operation has succeeded since the last report.
    untried: AtomicBool,
    /// The report after which the loop was asked to look again.
    asked: AtomicUsize,
    /// Number of reports in a row that the first attempt refuted.
    vain: AtomicUsize,
    /// Of the attempts since a task that had to wait was last woken.
    budget: Budget,
}

/// An attempt has shown that it is not ready.
const REFUTED: usize = 0;

impl Known {
    fn new() -> Known {
        Known {
            // No attempt has shown yet that it is not ready.
            report: AtomicUsize::new(REFUTED + 1),
            unread: AtomicBool::new(false),
            untried: AtomicBool::new(false),
            asked: AtomicUsize::new(REFUTED),
            vain: AtomicUsize::new(0),
            budget: Budget::default(),
        }
    }

    /// The last report, for the attempt that is made now.
    fn seen(&self) -> usize {
        self.report.load(Ordering::Acquire)
    }

    fn may_be_ready(&self) -> bool {
        self.seen() != REFUTED
    }

    /// True once after each report that no attempt has refuted.
    fn is_unasked(&self) -> bool {
        let seen = self.seen();
        seen != self.asked.swap(seen, Ordering::Relaxed) && seen != REFUTED
    }

    fn report(&self, number: usize) {
        self.untried.store(true, Ordering::Relaxed);
        self.unread.store(true, Ordering::Release);
        // A swap, since `refute` exchanges it, too: of the two, the later sees the earlier.
        self.report.swap(number, Ordering::Release);
    }

    /// Nothing more is ready, unless there was another report than `seen`. True if that refutes one.
    fn refute(&self, seen: usize) -> bool {
        if seen == REFUTED {
            return false;
        }
        let (relaxed, report) = (Ordering::Relaxed, &self.report);
        let refuted = report.compare_exchange(seen, REFUTED, relaxed, relaxed);
        if refuted.is_ok() {
            self.unread.store(false, relaxed);
        }
        refuted.is_ok()
    }

    /// An operation has done something.
    fn succeed(&self) {
        if self.untried.load(Ordering::Relaxed) {
            self.untried.store(false, Ordering::Relaxed);
            self.vain.store(0, Ordering::Relaxed);
        }
    }
}

struct State {
    /// What the handler is registered for.
    interest: Interest,
    ways: [Waiters; 4],
    /// Number of reports.
    reports: usize,
    /// The weight of the reports for which no task waited; see [`VAIN`].
    unheard: u32,
    /// The timer after which operations are tried again.
    retry: Option<Key>,
    /// The interest that is not watched until then.
    muted: Interest,
    /// There was an error at the last report, which may be all there was.
    faulty: bool,
    /// The handler is gone: the loop was closed, or a waker panicked.
    gone: bool,
}

/// The tasks that wait for one direction.
#[derive(Default)]
struct Waiters {
    /// The last task that polled.
    poller: Option<Waker>,
    /// Futures. Each report takes all of them out.
    waiters: Slab<Waker>,
    /// Number of reports, by which futures find out that they were taken out.
    reports: u32,
    /// Readiness of the last report.
    told: Ready,
}

impl<M: Threading> Registration<M> {
    pub(super) fn new(
        reactor: &Reactor<M>,
        source: &impl Source,
        location: &'static Location<'static>,
    ) -> Result<Registration<M>, Error> {
        let tasks = Arc::new(Tasks {
            known: [Known::new(), Known::new()],
            ended: AtomicBool::new(false),
            edges: AtomicBool::new(false),
            state: Mutex::new(State {
                interest: Interest::NONE,
                ways: Default::default(),
                reports: REFUTED + 1,
                unheard: 0,
                retry: None,
                muted: Interest::NONE,
                faulty: false,
                gone: false,
            }),
        });
        let handler = Handler {
            core: Arc::downgrade(&reactor.core),
            inbox: reactor.core.inbox.clone(),
            tasks: tasks.clone(),
        };
        let make = |(), _| -> Box<dyn FnMut(Event) -> Outcome> {
            Box::new(move |event| match handler.call(event) {
                true => Outcome::Settled,
                false => Outcome::Done(Action::Continue),
            })
        };
        let on = Target::from(source.kind());
        let what = (Interest::NONE, Mode::Level);
        match reactor
            .core
            .add_handler("Async::new", on, what, location, (), make)
        {
            Ok(key) => Ok(Registration {
                reactor: reactor.clone(),
                key,
                tasks,
                is_direct: source.is_direct(),
                fd: number(source),
                location,
            }),
            Err((error, ())) => Err(error),
        }
    }

    pub(super) fn reactor(&self) -> &Reactor<M> {
        &self.reactor
    }

    /// Moves to the descriptor that the source has now. Those who wait on the old one are woken.
    #[inline]
    pub(super) fn follow(&mut self, source: &impl Source) -> io::Result<()> {
        match number(source) == self.fd {
            true => Ok(()),
            false => self.move_to(source),
        }
    }

    #[cold]
    fn move_to(&mut self, source: &impl Source) -> io::Result<()> {
        let moved = Registration::new(&self.reactor, source, self.location);
        let moved = moved.map_err(Error::into_io)?;
        for (new, old) in moved.tasks.known.iter().zip(&self.tasks.known) {
            new.budget.set_spent(old.budget.spent());
        }
        *self = moved;
        set_nonblocking(source).map_err(Error::into_io)
    }

    /// A future that waits until the direction is ready, whatever is known of that.
    pub(super) fn wait(&self, direction: Direction) -> Wait<'_> {
        Wait {
            core: &self.reactor.core,
            key: self.key,
            tasks: &self.tasks,
            direction,
            why: Why::Asked,
            waiter: None,
        }
    }

    /// As `wait`, after an attempt that would block.
    pub(super) fn wait_after_attempt(&self, direction: Direction) -> Wait<'_> {
        Wait {
            why: Why::Blocked,
            ..self.wait(direction)
        }
    }

    /// A future that waits until any of this is ready.
    pub(super) fn wait_for(&self, interest: Interest) -> WaitForAny<'_> {
        let asked = |direction: Direction| interest.contains(direction.interest());
        WaitForAny {
            interest,
            waits: Direction::ALL.map(|direction| asked(direction).then(|| self.wait(direction))),
        }
    }

    /// Ready if it was reported since this said so last.
    pub(super) fn poll(&self, direction: Direction, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_if(direction, Why::Asked, cx, |known| {
            known.unread.load(Ordering::Acquire) && known.unread.swap(false, Ordering::Acquire)
        })
    }

    /// Pending, once in a while, if a task never has to wait. Before each attempt.
    #[inline]
    pub(super) fn poll_budget(&self, direction: Direction, cx: &mut Context<'_>) -> Poll<()> {
        let known = &self.tasks.known[direction as usize];
        known.budget.poll_spend(cx)
    }

    /// Attempts an operation that may be ready, until it does not block.
    pub(super) fn poll_with<R>(
        &self,
        direction: Direction,
        cx: &mut Context<'_>,
        mut attempt: impl FnMut() -> io::Result<R>,
    ) -> Poll<io::Result<R>> {
        loop {
            ready!(self.poll_budget(direction, cx));
            match self.poll_if(direction, Why::Blocked, cx, Known::may_be_ready)? {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(()) => {}
            }
            match self.attempt(direction, &mut attempt) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                result => return Poll::Ready(result),
            }
        }
    }

    /// Like `poll_with`, for an operation that says how much it has done of `wanted`. If it has done less, there is
    /// no more for now, and the attempt that would say so is saved; see [`Source::is_direct`].
    pub(super) fn poll_some(
        &self,
        direction: Direction,
        cx: &mut Context<'_>,
        wanted: usize,
        mut attempt: impl FnMut() -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        let tasks = &*self.tasks;
        let known = &tasks.known[direction as usize];
        let mut seen = REFUTED;
        let done = self.poll_with(direction, cx, || {
            seen = known.seen();
            attempt()
        });
        if let Poll::Ready(Ok(n)) = done {
            // This may be wrong, as of a terminal, which gives line by line. The kernel says so, but
            // not by an edge.
            let is_last = n < wanted && self.is_direct;
            if is_last
                && !tasks.ended.load(Ordering::Relaxed)
                && !tasks.edges.load(Ordering::Relaxed)
            {
                known.refute(seen);
            }
        }
        done
    }

    /// Makes one attempt, and learns from it.
    pub(super) fn attempt<R>(
        &self,
        direction: Direction,
        attempt: impl FnOnce() -> io::Result<R>,
    ) -> io::Result<R> {
        let seen = self.tasks.known[direction as usize].seen();
        let result = attempt();
        self.learn(direction, seen, &result);
        result
    }

    /// Like `attempt`, for an operation that reads, writes, or does both.
    pub(super) fn try_io<R>(
        &self,
        interest: Interest,
        attempt: impl FnOnce() -> io::Result<R>,
    ) -> io::Result<R> {
        let both = [Direction::Read, Direction::Write];
        let seen = both.map(|direction| self.tasks.known[direction as usize].seen());
        let result = attempt();
        for (direction, seen) in both.into_iter().zip(seen) {
            if interest.contains(direction.interest()) {
                self.learn(direction, seen, &result);
            }
        }
        result
    }

    /// Learns from the result of an attempt. `seen` was the last report when it was made.
    fn learn<R>(&self, direction: Direction, seen: usize, result: &io::Result<R>) {
        let known = &self.tasks.known[direction as usize];
        match result {
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                let untried = known.untried.load(Ordering::Relaxed);
                if known.refute(seen) && untried {
                    known.untried.store(false, Ordering::Relaxed);
                    let vain = known.vain.load(Ordering::Relaxed).saturating_add(1);
                    known.vain.store(vain, Ordering::Relaxed);
                    self.disagree(direction, vain);
                }
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            _ => known.succeed(),
        }
    }

    /// The loop has reported a direction ready, and the operation says that it is not.
    #[cold]
    fn disagree(&self, direction: Direction, vain: usize) {
        let core = &self.reactor.core;
        let mut state = self.tasks.lock();
        // A write that fails may make room, and with it an edge, by giving back what it had prepared.
        if direction == Direction::Read
            && (self.tasks.has_edges() || self.tasks.use_edges(&mut state, core, self.key))
        {
            return;
        }
        let rest = state.interest - direction.interest();
        if core.update_handler(self.key, rest).is_err() {
            return;
        }
        state.interest = rest;
        state.muted |= direction.interest();
        if state.retry.is_none() {
            let (core, tasks) = (Arc::downgrade(core), Arc::downgrade(&self.tasks));
            let key = self.key;
            let retry = once(move || {
                if let (Some(core), Some(tasks)) = (core.upgrade(), tasks.upgrade()) {
                    tasks.retry(&core, key);
                }
                Ok(())
            });
            let longer = u32::try_from(vain).map_or(LONGEST, |vain| vain.min(LONGEST));
            let when = When::After(PAUSE * 4_u32.pow(longer));
            let added = self
                .reactor
                .core
                .add_timer(CALL, when, Fired::Gone, self.location, retry);
            state.retry = added.ok();
        }
    }

    fn poll_if(
        &self,
        direction: Direction,
        why: Why,
        cx: &mut Context<'_>,
        is_ready: impl Fn(&Known) -> bool,
    ) -> Poll<io::Result<()>> {
        let core = &*self.reactor.core;
        core.check_process(CALL)?;
        let known = &self.tasks.known[direction as usize];
        if is_ready(known) {
            return Poll::Ready(Ok(()));
        }
        let mut state = self.tasks.lock();
        if is_ready(known) {
            return Poll::Ready(Ok(()));
        }
        let old = replace_waker(&mut state.ways[direction as usize].poller, cx);
        let watched = self.tasks.watch(&mut state, direction, why, core, self.key);
        drop(state);
        drop(old);
        match watched {
            Ok(()) => Poll::Pending,
            Err(error) => Poll::Ready(Err(error.into_io())),
        }
    }
}

/// Gives the old waker back, to be dropped without a lock: it may have the last hold on a task, and
/// that on this very source.
#[must_use]
fn replace_waker(slot: &mut Option<Waker>, cx: &Context<'_>) -> Option<Waker> {
    match slot {
        Some(waker) if waker.will_wake(cx.waker()) => None,
        slot => slot.replace(cx.waker().clone()),
    }
}

/// The descriptor that a source has now.
#[inline]
pub(super) fn number(source: &impl Source) -> Option<RawFd> {
    match source.kind() {
        SourceKind::Descriptor(fd) => Some(fd.as_raw_fd()),
        SourceKind::Virtual(_) => None,
    }
}

impl<M: Threading> Drop for Registration<M> {
    fn drop(&mut self) {
        let core = &self.reactor.core;
        if core.check_process(CALL).is_err() {
            return;
        }
        // Both may be gone already, with the loop.
        let retry = self.tasks.lock().retry.take();
        if let Some(retry) = retry {
            let _ = core.cancel_timer(retry);
        }
        let _ = core.remove_handler(self.key);
    }
}

/// The reason for which a task waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Why {
    /// It was asked whether it is ready now.
    Asked,
    /// An attempt has shown that it is not.
    Blocked,
}

impl Tasks {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn has_edges(&self) -> bool {
        self.edges.load(Ordering::Relaxed)
    }

    /// Has the handler registered for a direction for which a task waits. If the handler is gone, the loop's
    /// error says why.
    fn watch(
        &self,
        state: &mut State,
        direction: Direction,
        why: Why,
        core: &Core,
        key: Key,
    ) -> Result<(), Error> {
        #[cfg(feature = "tracing")]
        core.warn_if_not_driven();
        let asked = (state.interest | direction.interest()) - state.muted;
        let known = self.known.get(direction as usize);
        let is_asked = why == Why::Asked;
        // There was an error, which is all that will be reported for as long as it stays.
        let in_vain = is_asked
            && state.faulty
            && known.is_some()
            && !is_ready_beside_errors(core, key, direction);
        let arm = is_asked && self.has_edges() && !in_vain && known.is_none_or(Known::may_be_ready);
        if arm || asked != state.interest || state.gone {
            core.update_handler(key, asked)?;
            state.interest = asked;
        } else if in_vain && !self.has_edges() {
            self.use_edges(state, core, key);
        }
        if let (true, Some(known)) = (arm, known) {
            // The kernel reports now what is ready, and no other task has to ask.
            known.report.store(REFUTED, Ordering::Relaxed);
        } else if is_asked && core.has_host() && known.is_some_and(Known::is_unasked) {
            // The host may sleep since a task was woken for this. If the task has not read all of it, the next turn
            // reports it again.
            core.inbox.wake();
        }
        Ok(())
    }

    /// False if the poller has none.
    fn use_edges(&self, state: &mut State, core: &Core, key: Key) -> bool {
        let used = core.set_mode(key, state.interest, Mode::Edge).is_ok();
        // Before what the kernel reports now.
        self.edges.store(used, Ordering::Relaxed);
        used
    }

    /// Asks the kernel again for the directions that were muted, if tasks wait for them.
    fn retry(&self, core: &Core, key: Key) {
        let mut state = self.lock();
        state.retry = None;
        let muted = std::mem::take(&mut state.muted);
        let mut asked = state.interest;
        for direction in [Direction::Read, Direction::Write] {
            let interest = direction.interest();
            if muted.contains(interest) && state.ways[direction as usize].is_awaited() {
                asked |= interest;
            }
        }
        if asked != state.interest && core.update_handler(key, asked).is_ok() {
            state.interest = asked;
        }
    }

    fn report(&self, state: &mut State, direction: Direction, told: Ready, wakers: &mut Wakers) {
        state.reports = state.reports.wrapping_add(1).max(REFUTED + 1);
        if let Some(known) = self.known.get(direction as usize) {
            known.report(state.reports);
        }
        let way = &mut state.ways[direction as usize];
        way.told = told;
        wakers.take(way);
    }
}

/// Returns whether a read or a write would do more than say that there is an error elsewhere. A socket's error
/// queue is such an error, which stays until the queue is read.
#[cfg(epoll)]
fn is_ready_beside_errors(core: &Core, key: Key, direction: Direction) -> bool {
    let Ok(fd) = core.handler_fd(key) else {
        return true;
    };
    crate::poller::is_ready(fd, direction.interest())
}

/// Only Linux has such a queue.
#[cfg(not(epoll))]
fn is_ready_beside_errors(_: &Core, _: Key, _: Direction) -> bool {
    true
}

/// The callback that is registered with the loop.
struct Handler {
    core: Weak<Core>,
    inbox: Arc<Inbox>,
    tasks: Arc<Tasks>,
}

impl Handler {
    /// Wakes the tasks that wait. True if each direction that is ready had one, and is such that a task can find out
    /// that it is no longer ready: see [`Tasks::watch`].
    fn call(&self, event: Event) -> bool {
        let mut state = self.tasks.lock();
        let mut wakers = Wakers::default();
        let mut vain = Interest::NONE;
        let mut is_settled = true;
        for direction in Direction::ALL {
            if !direction.is_in(event) {
                continue;
            }
            let interest = direction.interest();
            let is_awaited = state.ways[direction as usize].is_awaited();
            is_settled &= is_awaited && self.tasks.known.get(direction as usize).is_some();
            if !is_awaited && state.interest.contains(interest) {
                // An edge may come while a task is busy. If the task has not looked at the edge before
                // either, it does not care.
                let known = self.tasks.known.get(direction as usize);
                let is_idle = known.is_none_or(|known| known.untried.load(Ordering::Relaxed));
                if is_idle || !self.tasks.has_edges() {
                    vain |= interest;
                }
            }
            self.tasks
                .report(&mut state, direction, event.ready(), &mut wakers);
        }
        if is_fault(event) || event.is_read_closed() {
            self.tasks.ended.store(true, Ordering::Relaxed);
        }
        state.faulty = event.is_error() && !event.is_hangup();
        if vain.is_empty() {
            state.unheard = state.unheard.saturating_sub(1);
        } else {
            state.unheard += VAIN;
            self.hush(&mut state, event.handler().0, vain);
        }
        drop(state);
        if wakers.one.is_some() {
            // A task that waits for one direction has given way for the other, too.
            for known in &self.tasks.known {
                known.budget.set_spent(0);
            }
            self.inbox.set_woken();
        } else {
            is_settled = false;
        }
        wakers.wake();
        is_settled
    }

    /// Keeps the kernel from reporting without end a direction for which no task waits.
    #[cold]
    fn hush(&self, state: &mut State, key: Key, vain: Interest) {
        let Some(core) = self.core.upgrade() else {
            return;
        };
        let has_edges = self.tasks.has_edges();
        let is_rule = state.unheard >= UNHEARD;
        if is_rule {
            state.unheard = 0;
            if !has_edges && self.tasks.use_edges(state, &core, key) {
                return;
            }
        }
        // Edges end by themselves, most often.
        if !has_edges || is_rule {
            // The next task that waits for it asks again.
            let rest = state.interest - vain;
            if core.update_handler(key, rest).is_ok() {
                state.interest = rest;
            }
        }
    }
}

impl Drop for Handler {
    /// The loop was closed, or the handler removed. Nothing else would wake the tasks that wait.
    fn drop(&mut self) {
        // In a child process another thread may have had the lock, for ever.
        if self.inbox.is_forked() {
            return;
        }
        let mut state = self.tasks.lock();
        state.gone = true;
        let mut wakers = Wakers::default();
        for way in &mut state.ways {
            wakers.take(way);
        }
        drop(state);
        wakers.wake();
    }
}

impl Waiters {
    fn is_awaited(&self) -> bool {
        self.poller.is_some() || !self.waiters.is_empty()
    }
}

/// Tasks to be woken, once no lock is held. Most often there is one.
#[derive(Default)]
struct Wakers {
    one: Option<Waker>,
    more: Vec<Waker>,
}

impl Wakers {
    /// Takes all tasks that wait for one direction, and counts the report.
    fn take(&mut self, way: &mut Waiters) {
        way.reports = way.reports.wrapping_add(1);
        for waker in way.poller.take().into_iter().chain(way.waiters.drain()) {
            match self.one {
                None => self.one = Some(waker),
                Some(_) => self.more.push(waker),
            }
        }
    }

    /// Wakes them. A waker that panics keeps none of the others asleep.
    fn wake(self) {
        let mut panicked = None;
        for waker in self.one.into_iter().chain(self.more) {
            if let Err(panic) = catch_unwind(AssertUnwindSafe(|| waker.wake())) {
                panicked = Some(panic);
            }
        }
        if let Some(panic) = panicked {
            resume_unwind(panic);
        }
    }
}

/// Future that waits until the next report.
pub(super) struct Wait<'a> {
    core: &'a Core,
    key: Key,
    tasks: &'a Tasks,
    direction: Direction,
    why: Why,
    waiter: Option<Waiter>,
}

/// A place among the waiters, until there is another report.
#[derive(Clone, Copy)]
struct Waiter {
    slot: usize,
    reports: u32,
}

impl Wait<'_> {
    /// Polls, and gives the readiness that was reported.
    pub(super) fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Ready>> {
        self.core.check_process(CALL)?;
        let mut state = self.tasks.lock();
        let way = &mut state.ways[self.direction as usize];
        let mut old = None;
        match self.waiter {
            None => {
                let known = self.tasks.known.get(self.direction as usize);
                // There was a report after the attempt.
                if self.why == Why::Blocked && known.is_some_and(Known::may_be_ready) {
                    return Poll::Ready(Ok(way.told));
                }
                self.waiter = Some(Waiter {
                    slot: way.waiters.insert(cx.waker().clone()),
                    reports: way.reports,
                });
            }
            Some(Waiter { slot, reports }) if reports == way.reports => {
                let waker = &mut way.waiters[slot];
                if !waker.will_wake(cx.waker()) {
                    old = Some(std::mem::replace(waker, cx.waker().clone()));
                }
            }
            Some(_) => {
                let (told, gone) = (way.told, state.gone);
                drop(state);
                self.waiter = None;
                if !gone {
                    return Poll::Ready(Ok(told));
                }
                // Says why.
                let interest = self.direction.interest();
                let updated = self.core.update_handler(self.key, interest);
                return Poll::Ready(updated.map(|()| told).map_err(Error::into_io));
            }
        }
        // It is asked once.
        let why = std::mem::replace(&mut self.why, Why::Blocked);
        let watched = self
            .tasks
            .watch(&mut state, self.direction, why, self.core, self.key);
        drop(state);
        drop(old);
        match watched {
            Ok(()) => Poll::Pending,
            Err(error) => Poll::Ready(Err(error.into_io())),
        }
    }
}

impl Future for Wait<'_> {
    type Output = io::Result<()>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_ready(cx).map_ok(|_| ())
    }
}

impl Drop for Wait<'_> {
    fn drop(&mut self) {
        let Some(Waiter { slot, reports }) = self.waiter else {
            return;
        };
        if self.core.check_process(CALL).is_err() {
            return;
        }
        let mut state = self.tasks.lock();
        let way = &mut state.ways[self.direction as usize];
        if reports != way.reports {
            return;
        }
        let waker = way.waiters.remove(slot);
        // A direction for which no task waits does not keep the loop going.
        let interest = self.direction.interest();
        if !way.is_awaited() && state.interest.contains(interest) {
            let rest = state.interest - interest;
            if self.core.update_handler(self.key, rest).is_ok() {
                state.interest = rest;
            }
        }
        drop(state);
        drop(waker);
    }
}

/// Future that waits for several directions at once.
pub(super) struct WaitForAny<'a> {
    interest: Interest,
    waits: [Option<Wait<'a>>; 4],
}

impl Future for WaitForAny<'_> {
    type Output = io::Result<Ready>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<Ready>> {
        if self.interest.is_empty() {
            let what = "Async::ready: there is nothing to wait for";
            return Poll::Ready(Err(io::Error::new(ErrorKind::InvalidInput, what)));
        }
        let interest = self.interest;
        let mut ready = Ready::NONE;
        for wait in self.waits.iter_mut().flatten() {
            if let Poll::Ready(told) = wait.poll_ready(cx) {
                ready |= told?.seen_by(interest);
            }
        }
        match ready.is_empty() {
            true => Poll::Pending,
            false => Poll::Ready(Ok(ready)),
        }
    }
}
