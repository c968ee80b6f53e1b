//! The parts of Python's selector class, and the guest's steps.

use std::collections::HashMap;
use std::os::fd::RawFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use oneloop::{Event, HandlerId, Mode, TimerId};
use pyo3::exceptions::PyRuntimeError;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;

use crate::error::exception;
use crate::reactor::{Reactor, deadline, delay, events_of, interest};
use crate::shared::{Number, Shared};

/// A turn reports at most so many descriptors, so a full one is followed by another.
const TURN: usize = 1024;

/// The descriptors of one selector, and what they are ready for. In guest mode, readiness asks for a step.
#[pyclass(frozen, module = "oneloop._native")]
pub struct Watcher {
    shared: Arc<Shared>,
    handlers: Mutex<HashMap<RawFd, HandlerId>>,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    ready: Mutex<HashMap<RawFd, u8>>,
    /// The guest's step, while the loop is a guest.
    guest: Mutex<Option<Guest>>,
    /// True if a step is posted or runs.
    is_stepping: AtomicBool,
}

#[derive(Clone, Copy)]
struct Guest {
    step: Number,
    timer: TimerId,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[pymethods]
impl Watcher {
    #[new]
    fn new(reactor: &Reactor) -> Watcher {
        Watcher {
            shared: reactor.shared.clone(),
            handlers: Mutex::default(),
            state: Arc::default(),
        }
    }

    /// Watches a descriptor. What was registered under the number before is forgotten.
    fn watch(&self, fd: RawFd, events: u8) -> PyResult<()> {
        let interest = interest(events)?;
        let (state, shared) = (Arc::downgrade(&self.state), Arc::downgrade(&self.shared));
        let called = move |event: Event| {
            if let Some(state) = state.upgrade() {
                *lock(&state.ready).entry(fd).or_default() |= events_of(event);
                State::ask(&state, &shared);
            }
        };
        self.forget(fd);
        // SAFETY: `selectors` asks its users to unregister a descriptor before they close it. If they do not,
        // `rewatch` looks at the number again, and only reports readiness.
        let added = unsafe {
            let reactor = &self.shared.reactor;
            reactor.add_raw_handler(fd, interest, Mode::Level, called)
        };
        lock(&self.handlers).insert(fd, added.map_err(exception)?);
        Ok(())
    }

    /// Changes the events. If the number means another file by now, watches that.
    fn rewatch(&self, fd: RawFd, events: u8) -> PyResult<()> {
        let handler = lock(&self.handlers).get(&fd).copied();
        let reactor = &self.shared.reactor;
        let updated = handler.is_some_and(|handler| {
            let update = reactor.update_handler(handler, interest(events).unwrap_or_default());
            // `rearm` fails if the number was closed and given to another file meanwhile.
            update.and_then(|()| reactor.rearm_handler(handler)).is_ok()
        });
        if updated {
            Ok(())
        } else {
            self.watch(fd, events)
        }
    }

    /// Stops watching. The descriptor may be closed already.
    fn unwatch(&self, fd: RawFd) {
        self.forget(fd);
    }

    fn close(&self) {
        let all: Vec<_> = lock(&self.handlers).keys().copied().collect();
        for fd in all {
            self.forget(fd);
        }
    }

    /// Waits, unless the loop is a guest, and returns pairs of descriptor and events.
    fn select(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<Vec<(RawFd, u8)>> {
        if lock(&self.state.guest).is_none() {
            let reactor = &self.shared.reactor;
            let mut timeout = timeout.map(delay).transpose()?;
            loop {
                let before = lock(&self.state.ready).len();
                let turn = py.detach(|| reactor.turn(timeout)).map_err(exception)?;
                self.shared.raised()?;
                py.check_signals()?;
                if turn.called < TURN || lock(&self.state.ready).len() == before {
                    break;
                }
                timeout = Some(Duration::ZERO);
            }
        }
        Ok(lock(&self.state.ready).drain().collect())
    }

    /// Makes the loop a guest. `step()` is called whenever asked for, and returns the seconds after which it is to be
    /// called again, or None.
    fn attach(&self, step: Py<PyAny>) -> PyResult<()> {
        if lock(&self.state.guest).is_some() {
            return Err(PyRuntimeError::new_err("the loop is attached already"));
        }
        let (state, shared) = (Arc::downgrade(&self.state), Arc::downgrade(&self.shared));
        let timer = self.shared.reactor.add_timer(move || {
            if let Some(state) = state.upgrade() {
                State::ask(&state, &shared);
            }
        });
        let timer = timer.map_err(exception)?;
        let step = self.shared.keep(step);
        *lock(&self.state.guest) = Some(Guest { step, timer });
        self.state.is_stepping.store(false, Ordering::Relaxed);
        self.kick();
        Ok(())
    }

    /// Ends the guest.
    fn detach(&self) {
        let guest = lock(&self.state.guest).take();
        if let Some(guest) = guest {
            // The reactor may be closed.
            let _ = self.shared.reactor.cancel_timer(guest.timer);
            drop(self.shared.take(guest.step));
        }
    }

    /// Asks for a step. Inside a step this does nothing, since its result says when the next one is due.
    fn kick(&self) {
        State::ask(&self.state, &Arc::downgrade(&self.shared));
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.shared.traverse(visit)
    }

    fn __clear__(&self) {
        self.shared.clear();
    }
}

impl Watcher {
    fn forget(&self, fd: RawFd) {
        let handler = lock(&self.handlers).remove(&fd);
        if let Some(handler) = handler {
            // The handler may have gone with its descriptor.
            let _ = self.shared.reactor.remove_handler(handler);
        }
        lock(&self.state.ready).remove(&fd);
    }
}

impl State {
    /// Posts a step, if the loop is a guest and no step is due.
    fn ask(state: &Arc<State>, shared: &Weak<Shared>) {
        if lock(&state.guest).is_none() || state.is_stepping.swap(true, Ordering::AcqRel) {
            return;
        }
        let Some(held) = shared.upgrade() else {
            return;
        };
        let (state, shared) = (Arc::downgrade(state), shared.clone());
        // A closed reactor steps nothing.
        let _ = held.reactor.call_soon(move || {
            if let (Some(state), Some(shared)) = (state.upgrade(), shared.upgrade()) {
                State::step(&state, &shared);
            }
        });
    }

    fn step(state: &Arc<State>, shared: &Arc<Shared>) {
        let Some(guest) = *lock(&state.guest) else {
            return;
        };
        let next = Python::attach(|py| {
            let step = shared.get(py, guest.step)?;
            let next = step
                .call0(py)
                .and_then(|next| next.extract::<Option<f64>>(py));
            next.unwrap_or_else(|error| {
                shared.report(py, error);
                Some(0.0)
            })
        });
        state.is_stepping.store(false, Ordering::Release);
        let is_ready = !lock(&state.ready).is_empty();
        match next {
            Some(seconds) if seconds > 0.0 && !is_ready => {
                let at = deadline(seconds).unwrap_or_else(|_| Instant::now());
                // Not if the step has detached the loop.
                let _ = shared.reactor.reset_timer(guest.timer, at);
            }
            None if !is_ready => {}
            _ => State::ask(state, &Arc::downgrade(shared)),
        }
    }
}
