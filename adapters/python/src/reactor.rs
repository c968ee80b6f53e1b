//! The class `Reactor`.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use oneloop::{Action, Event, HandlerId, Id, Interest, Mode, PostId, Step, TimerId};
use pyo3::exceptions::{PyRuntimeError, PyTypeError, PyValueError};
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::PyTuple;
use std::os::fd::{AsRawFd, RawFd};

use crate::error::exception;
use crate::shared::{Number, Shared, pack, with_taken};

/// As in `selectors`: `EVENT_READ` and `EVENT_WRITE`.
pub(crate) const READ: u8 = 1;
pub(crate) const WRITE: u8 = 2;

/// The number of callbacks after which a host's own work gets its turn.
const BUDGET: usize = 128;

/// An event loop: callbacks for descriptors, timers, and calls from any thread.
///
/// `turn` and `run` drive it. `oneloop.host()` gives a reactor which the running loop drives.
#[pyclass(frozen, weakref, subclass, module = "oneloop")]
pub struct Reactor {
    pub(crate) shared: Arc<Shared>,
    host: Mutex<Option<oneloop::Host<oneloop::Shared>>>,
}

impl Reactor {
    /// Returns an object of the class for a reactor that exists.
    pub(crate) fn of(reactor: oneloop::Reactor) -> Reactor {
        Reactor {
            shared: Shared::new(reactor),
            host: Mutex::default(),
        }
    }

    fn turn_detached(&self, py: Python<'_>, timeout: Option<Duration>) -> PyResult<oneloop::Turn> {
        let reactor = &self.shared.reactor;
        let turn = py.detach(|| reactor.turn(timeout)).map_err(exception)?;
        self.shared.raised()?;
        // A signal may have ended the wait.
        py.check_signals()?;
        Ok(turn)
    }
}

#[pymethods]
impl Reactor {
    #[new]
    fn new() -> PyResult<Reactor> {
        let reactor = oneloop::Reactor::builder().interruptible().build();
        reactor.map(Reactor::of).map_err(exception)
    }

    /// Takes one turn: waits for up to `timeout` seconds (without a limit for None) until something is due, and
    /// calls it. Returns the number of calls.
    #[pyo3(signature = (timeout = None))]
    fn turn(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<usize> {
        let turn = self.turn_detached(py, timeout.map(delay).transpose()?)?;
        Ok(turn.called)
    }

    /// Drives the reactor until `stop` is called.
    fn run(&self, py: Python<'_>) -> PyResult<()> {
        while !self.turn_detached(py, None)?.stopped {}
        Ok(())
    }

    /// Ends `run`, `turn` or the host. Any thread may call it.
    fn stop(&self) {
        self.shared.reactor.stop();
    }

    /// Drops all that is registered. Later calls raise RuntimeError.
    fn close(&self, py: Python<'_>) {
        // Callbacks may hold Python objects, which are released once this thread is attached again.
        py.detach(|| self.shared.reactor.close());
        self.shared.clear();
    }

    /// The descriptor that a host watches.
    fn fileno(&self) -> RawFd {
        self.shared.reactor.watched_fd().as_raw_fd()
    }

    /// Calls `callback(*args)` soon, in the thread that drives. Any thread may call it.
    #[pyo3(signature = (callback, *args, context = None))]
    fn call_soon<'py>(
        &self,
        callback: Bound<'py, PyAny>,
        args: Bound<'py, PyTuple>,
        context: Option<Bound<'py, PyAny>>,
    ) -> PyResult<Handle> {
        let number = self.shared.keep(pack(callback, args, context)?);
        let shared = Arc::downgrade(&self.shared);
        let posted = self.shared.reactor.call_soon(move || {
            with_taken(&shared, number, |py, shared, call| shared.call(py, &call));
        });
        match posted {
            Ok(id) => Ok(self.handle(number, Called::Soon(id))),
            Err(error) => {
                self.shared.take(number);
                Err(PyRuntimeError::new_err(error.error().to_string()))
            }
        }
    }

    /// Calls `callback(*args)` after `delay` seconds. Any thread may call it.
    #[pyo3(signature = (delay, callback, *args, context = None))]
    fn call_later<'py>(
        &self,
        delay: f64,
        callback: Bound<'py, PyAny>,
        args: Bound<'py, PyTuple>,
        context: Option<Bound<'py, PyAny>>,
    ) -> PyResult<Handle> {
        let delay = self::delay(delay)?;
        let number = self.shared.keep(pack(callback, args, context)?);
        let shared = Arc::downgrade(&self.shared);
        let added = self.shared.reactor.call_later(delay, move || {
            with_taken(&shared, number, |py, shared, call| shared.call(py, &call));
        });
        match added {
            Ok(id) => Ok(self.handle(number, Called::Later(id))),
            Err(error) => {
                self.shared.take(number);
                Err(exception(error))
            }
        }
    }

    /// Calls `callback(events)` whenever `fd` is ready for one of `events` (`EVENT_READ`, `EVENT_WRITE`). With
    /// `edge`, only when it has become ready. Remove the handler before you close the descriptor.
    #[pyo3(signature = (fd, events, callback, *, edge = false))]
    fn add_handler(
        &self,
        fd: Bound<'_, PyAny>,
        events: u8,
        callback: Py<PyAny>,
        edge: bool,
    ) -> PyResult<Handler> {
        let (fd, interest) = (descriptor(&fd)?, interest(events)?);
        let number = self.shared.keep(callback);
        let shared = Arc::downgrade(&self.shared);
        let called = move |event: Event| {
            let Some(shared) = shared.upgrade() else {
                return Action::Remove;
            };
            Python::attach(|py| {
                let Some(callback) = shared.get(py, number) else {
                    return Action::Remove;
                };
                if let Err(error) = callback.call1(py, (events_of(event),)) {
                    shared.report(py, error);
                }
                Action::Continue
            })
        };
        let mode = if edge { Mode::Edge } else { Mode::Level };
        // SAFETY: Python's descriptors are numbers without an owner, for `select` and `asyncio` as well. The
        // documentation above passes the duty on: the handler is removed before the descriptor is closed.
        let added = unsafe {
            self.shared
                .reactor
                .add_raw_handler(fd, interest, mode, called)
        };
        match added {
            Ok(id) => Ok(Handler {
                shared: self.shared.clone(),
                number,
                id,
            }),
            Err(error) => {
                self.shared.take(number);
                Err(exception(error))
            }
        }
    }

    /// The function that is called with each exception of a callback. Without it, exceptions go to `sys.unraisablehook`.
    #[pyo3(signature = (report))]
    fn set_exception_handler(&self, report: Option<Py<PyAny>>) {
        self.shared.on_exception(report);
    }

    /// The text that describes all that is registered.
    fn dump(&self) -> String {
        self.shared.reactor.dump()
    }

    /// A step of the host that drives the reactor: see `oneloop.host`.
    fn _step(&self, py: Python<'_>) -> PyResult<&'static str> {
        let mut host = self
            .host
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        let step = py.detach(|| {
            if host.is_none() {
                host = Some(self.shared.reactor.host("Python")?);
            }
            match &mut host {
                Some(host) => host.step(BUDGET),
                None => Ok(Step::Done),
            }
        });
        if !matches!(step, Ok(Step::Done)) {
            *self.host.lock().unwrap_or_else(PoisonError::into_inner) = host;
        }
        self.shared.raised()?;
        Ok(match step.map_err(exception)? {
            Step::Watch => "watch",
            Step::Unwatch => "unwatch",
            Step::Sleep => "sleep",
            Step::Yield => "yield",
            Step::Done => "done",
        })
    }

    /// Ends the host's claim, so that another driver can continue.
    fn _unhost(&self) {
        let host = self
            .host
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        drop(host);
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.shared.traverse(visit)
    }

    fn __clear__(&self) {
        self.shared.clear();
    }
}

impl Reactor {
    fn handle(&self, number: Number, called: Called) -> Handle {
        Handle {
            shared: self.shared.clone(),
            number,
            called,
        }
    }
}

enum Called {
    Soon(PostId),
    Later(TimerId),
}

/// A call that is due, or was.
#[pyclass(frozen, module = "oneloop")]
pub struct Handle {
    shared: Arc<Shared>,
    number: Number,
    called: Called,
}

#[pymethods]
impl Handle {
    /// Cancels the call. Returns False if it was made or cancelled before.
    fn cancel(&self) -> bool {
        let is_due = self.shared.take(self.number).is_some();
        let reactor = &self.shared.reactor;
        // It may be on its way in another thread, which finds no callback then.
        let _ = match self.called {
            Called::Soon(id) => reactor.cancel_post(id),
            Called::Later(id) => reactor.cancel_timer(id),
        };
        is_due
    }
}

/// A handler of `Reactor.add_handler`.
#[pyclass(frozen, module = "oneloop")]
pub struct Handler {
    shared: Arc<Shared>,
    number: Number,
    id: HandlerId,
}

#[pymethods]
impl Handler {
    /// Changes the events. 0 pauses the handler.
    fn update(&self, events: u8) -> PyResult<()> {
        let interest = if events == 0 {
            Interest::NONE
        } else {
            interest(events)?
        };
        self.shared
            .reactor
            .update_handler(self.id, interest)
            .map_err(exception)
    }

    /// Removes the handler.
    fn remove(&self) -> PyResult<()> {
        drop(self.shared.take(self.number));
        self.shared
            .reactor
            .remove_handler(self.id)
            .map_err(exception)
    }

    /// Sets the name which `dump` shows.
    fn set_name(&self, name: &str) -> PyResult<()> {
        let id = Id::from(self.id);
        self.shared.reactor.set_name(id, name).map_err(exception)
    }
}

/// Seconds, as a duration that a clock can take.
pub(crate) fn delay(seconds: f64) -> PyResult<Duration> {
    if seconds.is_nan() {
        return Err(PyValueError::new_err(
            "a delay is a number of seconds, not nan",
        ));
    }
    // Nothing waits longer than the clock goes.
    let most = Duration::from_secs(1 << 32);
    Ok(Duration::try_from_secs_f64(seconds.max(0.0)).map_or(most, |delay| delay.min(most)))
}

/// The deadline in `delay` seconds.
pub(crate) fn deadline(seconds: f64) -> PyResult<Instant> {
    Ok(Instant::now() + delay(seconds)?)
}

/// A number, or an object with `fileno`.
pub(crate) fn descriptor(fd: &Bound<'_, PyAny>) -> PyResult<RawFd> {
    match fd.extract::<RawFd>() {
        Ok(fd) => Ok(fd),
        Err(_) => {
            let number = fd.getattr("fileno").map_err(|_| {
                let text = format!("a descriptor is a number or has fileno(), not {fd}");
                PyTypeError::new_err(text)
            })?;
            number.call0()?.extract()
        }
    }
}

pub(crate) fn interest(events: u8) -> PyResult<Interest> {
    match events {
        READ => Ok(Interest::READABLE),
        WRITE => Ok(Interest::WRITABLE),
        3 => Ok(Interest::READABLE | Interest::WRITABLE),
        _ => Err(PyValueError::new_err(format!(
            "events are EVENT_READ, EVENT_WRITE or both, not {events}"
        ))),
    }
}

/// As `selectors` has it: an error or a hangup wakes readers and writers.
pub(crate) fn events_of(event: Event) -> u8 {
    let both = event.is_error() || event.is_hangup();
    let read = if event.is_readable() || both { READ } else { 0 };
    let write = if event.is_writable() || both {
        WRITE
    } else {
        0
    };
    read | write
}
