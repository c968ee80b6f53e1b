//! The registration of an `Async`: its handler, and what attempts and reports say of its readiness.

use std::io::{self, ErrorKind};
use std::panic::Location;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use super::known::{Direction, Known, REFUTED};
use super::set_nonblocking;
use super::tasks::{Handler, Tasks, Why};
use super::waiters::replace_waker;
use crate::engine::{Fired, Outcome, Target, When, once};
use crate::id::Key;
use crate::os::{AsRawFd, RawFd};
use crate::sync::atomic::Ordering;
use crate::{Action, Error, Event, Interest, Mode, Reactor, Source, SourceKind, Threading};

/// The call that fails in a child process, where a thread that does not exist may have the tasks' lock for ever.
pub(super) const CALL: &str = "Async";

/// A quarter of the first pause before an operation is tried again that would block although it was reported ready.
/// Each further pause is four times as long.
const PAUSE: Duration = Duration::from_micros(12);
/// The number of pauses after which they grow no longer: 50 milliseconds.
const LONGEST: u32 = 6;

/// The registration of an `Async`'s handler, which ends when this is dropped.
pub(super) struct Registration<M: Threading> {
    pub(super) reactor: Reactor<M>,
    pub(super) key: Key,
    pub(super) tasks: Arc<Tasks>,
    /// See [`Source::is_direct`].
    is_direct: bool,
    /// The descriptor that it is on.
    pub(super) fd: Option<RawFd>,
    location: &'static Location<'static>,
}

impl<M: Threading> Registration<M> {
    pub(super) fn new(
        reactor: &Reactor<M>,
        source: &impl Source,
        location: &'static Location<'static>,
    ) -> Result<Registration<M>, Error> {
        let tasks = Arc::new(Tasks::new());
        let handler = Handler {
            core: Arc::downgrade(&reactor.core),
            inbox: reactor.core.inbox.clone(),
            tasks: tasks.clone(),
        };
        let make = |(), _| -> Box<dyn FnMut(Event) -> Outcome> {
            Box::new(move |event| {
                handler.call(event);
                Outcome::Done(Action::Continue)
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

    /// Moves to the descriptor that the source has now. Tasks that wait on the old one are woken.
    #[inline]
    pub(super) fn follow(&mut self, source: &impl Source) -> io::Result<()> {
        if number(source) == self.fd {
            Ok(())
        } else {
            self.move_to(source)
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
        if let Some(old) = old {
            // It may belong to another task, which would hear of nothing more.
            old.wake();
        }
        match watched {
            Ok(()) => Poll::Pending,
            Err(error) => Poll::Ready(Err(error.into_io())),
        }
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
