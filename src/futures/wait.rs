//! How tasks wait: one level-triggered handler for each [`Async`](super::Async), which wakes them.
//!
//! Level-triggered, so that no readiness can be lost: what a task has left unread is reported
//! again. The interest stays in the kernel's set from wait to wait; only when something is
//! reported that nobody waits for is it taken out, until somebody does. A conversation that goes
//! to and fro thus costs no call to the kernel but its own reads and writes.

use std::future::Future;
use std::io::{self, ErrorKind};
use std::panic::{AssertUnwindSafe, Location, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::sync::{Arc, PoisonError, Weak};
use std::task::{Context, Poll, Waker};

use slab::Slab;

use crate::engine::{Core, On, Outcome};
use crate::id::Key;
use crate::sync::atomic::{AtomicBool, Ordering};
use crate::sync::{Mutex, MutexGuard};
use crate::{Action, Error, Event, Interest, Loop, Mode, Source, Threads};

/// What fails in a child process, where a thread that is not there may have the tasks' lock, for ever.
const CALL: &str = "Async";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Direction {
    Read,
    Write,
}

impl Direction {
    fn interest(self) -> Interest {
        match self {
            Direction::Read => Interest::READABLE,
            Direction::Write => Interest::WRITABLE,
        }
    }
}

/// The handler, until it is dropped.
pub(super) struct Registration<K: Threads> {
    reactor: Loop<K>,
    key: Key,
    tasks: Arc<Tasks>,
    /// See [`Source::is_direct`].
    pub(super) is_direct: bool,
}

/// What is known, and who waits.
struct Tasks {
    known: [Known; 2],
    state: Mutex<State>,
}

/// What is known of one direction. Read without the lock by those who do not wait; the handler
/// changes it under the lock, so that those who are about to wait do not miss it.
struct Known {
    /// It may be ready: nobody has found out yet that it is not.
    hopeful: AtomicBool,
    /// It was reported ready, and no poll has said so yet.
    reported: AtomicBool,
}

struct State {
    /// What the handler is registered for.
    interest: Interest,
    ways: [Way; 2],
    /// The handler is gone: the loop was closed, or somebody's waker panicked.
    gone: bool,
}

/// Who waits for one direction.
#[derive(Default)]
struct Way {
    /// The last task that polled.
    poller: Option<Waker>,
    /// Futures; `None` for one whose wait is over.
    waiters: Slab<Option<Waker>>,
}

impl<K: Threads> Registration<K> {
    pub(super) fn new(
        reactor: &Loop<K>,
        source: &impl Source,
        place: &'static Location<'static>,
    ) -> Result<Registration<K>, Error> {
        let known = || Known {
            hopeful: AtomicBool::new(true),
            reported: AtomicBool::new(false),
        };
        let tasks = Arc::new(Tasks {
            known: [known(), known()],
            state: Mutex::new(State {
                interest: Interest::NONE,
                ways: Default::default(),
                gone: false,
            }),
        });
        let handler = Handler {
            core: Arc::downgrade(&reactor.core),
            tasks: tasks.clone(),
        };
        let make = |()| -> Box<dyn FnMut(Event) -> Outcome> {
            Box::new(move |event| {
                handler.call(event);
                Action::Continue.into()
            })
        };
        let on = On::from(source.origin());
        let what = (Interest::NONE, Mode::Level);
        match reactor
            .core
            .add_handler("Async::new", on, what, place, (), make)
        {
            Ok(key) => Ok(Registration {
                reactor: reactor.clone(),
                key,
                tasks,
                is_direct: source.is_direct(),
            }),
            Err((error, ())) => Err(error),
        }
    }

    pub(super) fn reactor(&self) -> &Loop<K> {
        &self.reactor
    }

    /// A future that waits for the next report.
    pub(super) fn wait(&self, direction: Direction) -> Wait<'_> {
        Wait {
            core: &self.reactor.core,
            key: self.key,
            tasks: &self.tasks,
            direction,
            waiter: None,
        }
    }

    /// Ready if it was reported since this said so last.
    pub(super) fn poll(&self, direction: Direction, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_if(direction, cx, |known| {
            known.reported.load(Ordering::Acquire) && known.reported.swap(false, Ordering::Acquire)
        })
    }

    /// An attempt has shown that it is not ready.
    pub(super) fn give_up_hope(&self, direction: Direction) {
        // If it has become ready just now, the handler is called again: it is level-triggered.
        let known = &self.tasks.known[direction as usize];
        known.hopeful.store(false, Ordering::Relaxed);
        known.reported.store(false, Ordering::Relaxed);
    }

    /// Attempts whatever may be ready until it would not block.
    pub(super) fn poll_with<R>(
        &self,
        direction: Direction,
        cx: &mut Context<'_>,
        mut attempt: impl FnMut() -> io::Result<R>,
    ) -> Poll<io::Result<R>> {
        loop {
            match self.poll_if(direction, cx, |known| known.hopeful.load(Ordering::Acquire))? {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(()) => {}
            }
            match attempt() {
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.give_up_hope(direction),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                result => return Poll::Ready(result),
            }
        }
    }

    fn poll_if(
        &self,
        direction: Direction,
        cx: &mut Context<'_>,
        is_ready: impl Fn(&Known) -> bool,
    ) -> Poll<io::Result<()>> {
        self.reactor.core.check_process(CALL)?;
        let known = &self.tasks.known[direction as usize];
        if is_ready(known) {
            return Poll::Ready(Ok(()));
        }
        let mut state = self.tasks.lock();
        if is_ready(known) {
            return Poll::Ready(Ok(()));
        }
        let old = renew(&mut state.ways[direction as usize].poller, cx);
        let watched = state.watch(direction, &self.reactor.core, self.key);
        drop(state);
        drop(old);
        match watched {
            Ok(()) => Poll::Pending,
            Err(error) => Poll::Ready(Err(error.into())),
        }
    }
}

/// Gives the old waker back, to be dropped without a lock: it may have the last hold on a task, and
/// that on this very source.
#[must_use]
fn renew(place: &mut Option<Waker>, cx: &Context<'_>) -> Option<Waker> {
    match place {
        Some(waker) if waker.will_wake(cx.waker()) => None,
        place => place.replace(cx.waker().clone()),
    }
}

impl<K: Threads> Drop for Registration<K> {
    fn drop(&mut self) {
        // It may be gone already, with the loop.
        let _ = self.reactor.core.remove_handler(self.key);
    }
}

impl Tasks {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Somebody waits: has the handler registered for it. If that is gone, the loop says why.
    fn watch(&mut self, direction: Direction, core: &Core, key: Key) -> Result<(), Error> {
        #[cfg(feature = "tracing")]
        core.warn_if_not_driven();
        let wanted = self.interest | direction.interest();
        if wanted != self.interest || self.gone {
            core.update_handler(key, wanted)?;
            self.interest = wanted;
        }
        Ok(())
    }
}

/// What is registered with the loop.
struct Handler {
    core: Weak<Core>,
    tasks: Arc<Tasks>,
}

impl Handler {
    fn call(&self, event: Event) {
        let mut state = self.tasks.lock();
        let mut interest = Interest::NONE;
        let mut wakers = Wakers::default();
        let ready = [
            (Direction::Read, event.is_readable()),
            (Direction::Write, event.is_writable()),
        ];
        for (direction, ready) in ready {
            let watched = state.interest.contains(direction.interest());
            let way = &mut state.ways[direction as usize];
            // Nobody waits for it: the next who does will see that it is asked for again.
            let wasted = ready && !way.is_awaited();
            if watched && !wasted {
                interest |= direction.interest();
            }
            if ready {
                let known = &self.tasks.known[direction as usize];
                known.hopeful.store(true, Ordering::Release);
                known.reported.store(true, Ordering::Release);
                wakers.take(way);
            }
        }
        if interest != state.interest {
            if let Some(core) = self.core.upgrade() {
                if core.update_handler(event.handler().0, interest).is_ok() {
                    state.interest = interest;
                }
            }
        }
        drop(state);
        wakers.wake();
    }
}

impl Drop for Handler {
    /// The loop was closed, or the handler removed: nobody will wake those who wait but this.
    fn drop(&mut self) {
        let mut state = self.tasks.lock();
        state.gone = true;
        let mut wakers = Wakers::default();
        state.ways.iter_mut().for_each(|way| wakers.take(way));
        drop(state);
        wakers.wake();
    }
}

impl Way {
    fn is_awaited(&self) -> bool {
        self.poller.is_some() || self.waiters.iter().any(|(_, waiter)| waiter.is_some())
    }
}

/// Tasks to be woken, once no lock is held. Most often there is one.
#[derive(Default)]
struct Wakers {
    one: Option<Waker>,
    more: Vec<Waker>,
}

impl Wakers {
    fn take(&mut self, way: &mut Way) {
        let waiters = way
            .waiters
            .iter_mut()
            .filter_map(|(_, waiter)| waiter.take());
        for waker in way.poller.take().into_iter().chain(waiters) {
            match self.one {
                None => self.one = Some(waker),
                Some(_) => self.more.push(waker),
            }
        }
    }

    /// One that panics keeps none of the others asleep.
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

/// Waits until the next report.
pub(super) struct Wait<'a> {
    core: &'a Core,
    key: Key,
    tasks: &'a Tasks,
    direction: Direction,
    /// Its place among the waiters.
    waiter: Option<usize>,
}

impl Future for Wait<'_> {
    type Output = io::Result<()>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.core.check_process(CALL)?;
        let mut state = self.tasks.lock();
        let waiters = &mut state.ways[self.direction as usize].waiters;
        let mut old = None;
        let at = match self.waiter {
            None => waiters.insert(Some(cx.waker().clone())),
            Some(at) if waiters[at].is_some() => {
                old = renew(&mut waiters[at], cx);
                at
            }
            Some(at) => {
                waiters.remove(at);
                let gone = state.gone;
                drop(state);
                self.waiter = None;
                if !gone {
                    return Poll::Ready(Ok(()));
                }
                // Says why.
                let interest = self.direction.interest();
                let updated = self.core.update_handler(self.key, interest);
                return Poll::Ready(updated.map_err(Into::into));
            }
        };
        let watched = state.watch(self.direction, self.core, self.key);
        drop(state);
        drop(old);
        self.waiter = Some(at);
        match watched {
            Ok(()) => Poll::Pending,
            Err(error) => Poll::Ready(Err(error.into())),
        }
    }
}

impl Drop for Wait<'_> {
    fn drop(&mut self) {
        let Some(at) = self.waiter else {
            return;
        };
        if self.core.check_process(CALL).is_err() {
            return;
        }
        let mut state = self.tasks.lock();
        let way = &mut state.ways[self.direction as usize];
        let waker = way.waiters.remove(at);
        // What nobody waits for does not keep the loop going.
        let interest = self.direction.interest();
        if waker.is_some() && !way.is_awaited() && state.interest.contains(interest) {
            let rest = state.interest - interest;
            if self.core.update_handler(self.key, rest).is_ok() {
                state.interest = rest;
            }
        }
        drop(state);
        drop(waker);
    }
}
