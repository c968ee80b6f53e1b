//! Futures that wait for the readiness of an `Async`.

use std::fmt;
use std::future::Future;
use std::io::{self, ErrorKind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use super::known::{Direction, Known};
use super::registration::{CALL, Registration};
use super::tasks::{Tasks, Why};
use crate::engine::Core;
use crate::id::Key;
use crate::{Error, Interest, Reactor, Ready, Shared, Threading};

impl<M: Threading> Registration<M> {
    /// A future that waits until the direction is ready, whatever is known of that.
    pub(super) fn wait(&self, direction: Direction) -> Wait<'_, M> {
        self.wait_because(direction, Why::Asked)
    }

    /// As `wait`, after an attempt that would block.
    pub(super) fn wait_after_attempt(&self, direction: Direction) -> Wait<'_, M> {
        self.wait_because(direction, Why::Blocked)
    }

    fn wait_because(&self, direction: Direction, why: Why) -> Wait<'_, M> {
        Wait {
            reactor: &self.reactor,
            key: self.key,
            tasks: &self.tasks,
            place: Place::new(direction, why),
        }
    }

    /// As `wait`, and borrows nothing.
    pub(super) fn wait_owned(&self, direction: Direction) -> OwnedWait<M> {
        OwnedWait {
            reactor: self.reactor.clone(),
            key: self.key,
            tasks: self.tasks.clone(),
            place: Place::new(direction, Why::Asked),
        }
    }

    /// A future that waits until any of this is ready.
    pub(super) fn wait_for(&self, interest: Interest) -> WaitForAny<'_, M> {
        let asked = |direction: Direction| interest.contains(direction.interest());
        WaitForAny {
            interest,
            waits: Direction::ALL.map(|direction| asked(direction).then(|| self.wait(direction))),
        }
    }
}

/// Future of [`Async::readable`](super::Async::readable) and [`Async::writable`](super::Async::writable).
#[must_use = "a future does nothing unless it is awaited"]
pub struct Wait<'a, M: Threading = Shared> {
    reactor: &'a Reactor<M>,
    key: Key,
    tasks: &'a Tasks,
    place: Place,
}

impl<M: Threading> Wait<'_, M> {
    /// Polls, and gives the readiness that was reported.
    pub(super) fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Ready>> {
        self.place
            .poll(&self.reactor.core, self.key, self.tasks, cx)
    }
}

impl<M: Threading> Future for Wait<'_, M> {
    type Output = io::Result<()>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_ready(cx).map_ok(|_| ())
    }
}

impl<M: Threading> Drop for Wait<'_, M> {
    fn drop(&mut self) {
        self.place.leave(&self.reactor.core, self.key, self.tasks);
    }
}

impl<M: Threading> fmt::Debug for Wait<'_, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.place.fmt_as("Wait", f)
    }
}

/// Future of [`Async::readable_owned`](super::Async::readable_owned) and
/// [`Async::writable_owned`](super::Async::writable_owned), which borrows nothing.
///
/// It keeps the loop alive, but not the source. If the [`Async`](super::Async) is dropped meanwhile, the future
/// ends with an error.
#[must_use = "a future does nothing unless it is awaited"]
pub struct OwnedWait<M: Threading = Shared> {
    reactor: Reactor<M>,
    key: Key,
    tasks: Arc<Tasks>,
    place: Place,
}

impl<M: Threading> Unpin for OwnedWait<M> {}

impl<M: Threading> Future for OwnedWait<M> {
    type Output = io::Result<()>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let OwnedWait {
            reactor,
            key,
            tasks,
            place,
        } = &mut *self;
        place.poll(&reactor.core, *key, tasks, cx).map_ok(|_| ())
    }
}

impl<M: Threading> Drop for OwnedWait<M> {
    fn drop(&mut self) {
        self.place.leave(&self.reactor.core, self.key, &self.tasks);
    }
}

impl<M: Threading> fmt::Debug for OwnedWait<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.place.fmt_as("OwnedWait", f)
    }
}

/// A future's place among the tasks that wait for a direction.
struct Place {
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

impl Place {
    fn new(direction: Direction, why: Why) -> Place {
        Place {
            direction,
            why,
            waiter: None,
        }
    }

    fn poll(
        &mut self,
        core: &Core,
        key: Key,
        tasks: &Tasks,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<Ready>> {
        core.check_process(CALL)?;
        let mut state = tasks.lock();
        let way = &mut state.ways[self.direction as usize];
        let mut old = None;
        match self.waiter {
            None => {
                let known = tasks.known.get(self.direction as usize);
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
                let updated = core.update_handler(key, self.direction.interest());
                return Poll::Ready(updated.map(|()| told).map_err(Error::into_io));
            }
        }
        // It is asked once.
        let why = std::mem::replace(&mut self.why, Why::Blocked);
        let watched = tasks.watch(&mut state, self.direction, why, core, key);
        drop(state);
        drop(old);
        match watched {
            Ok(()) => Poll::Pending,
            Err(error) => Poll::Ready(Err(error.into_io())),
        }
    }

    fn leave(&mut self, core: &Core, key: Key, tasks: &Tasks) {
        let Some(Waiter { slot, reports }) = self.waiter.take() else {
            return;
        };
        if core.check_process(CALL).is_err() {
            return;
        }
        let mut state = tasks.lock();
        let way = &mut state.ways[self.direction as usize];
        if reports != way.reports {
            return;
        }
        let waker = way.waiters.remove(slot);
        // A direction for which no task waits does not keep the loop going.
        let interest = self.direction.interest();
        if !way.is_awaited() && state.interest.contains(interest) {
            let rest = state.interest - interest;
            if core.update_handler(key, rest).is_ok() {
                state.interest = rest;
            }
        }
        drop(state);
        drop(waker);
    }

    fn fmt_as(&self, name: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct(name)
            .field("direction", &self.direction)
            .finish_non_exhaustive()
    }
}

/// Future that waits for several directions at once.
pub(super) struct WaitForAny<'a, M: Threading> {
    interest: Interest,
    waits: [Option<Wait<'a, M>>; 4],
}

impl<M: Threading> Future for WaitForAny<'_, M> {
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
        if ready.is_empty() {
            Poll::Pending
        } else {
            Poll::Ready(Ok(ready))
        }
    }
}
