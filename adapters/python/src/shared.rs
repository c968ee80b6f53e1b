//! Data that the classes share: a reactor, and the Python objects that its callbacks use.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use oneloop::Reactor;
use pyo3::exceptions::PyException;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::PyTuple;

/// The reactor's callbacks hold a number and no Python object. So Python's garbage collector sees all references
/// that lead from a loop back to itself.
pub(crate) struct Shared {
    pub(crate) reactor: Reactor,
    objects: Mutex<Objects>,
    /// The exception that ended the driver, such as `KeyboardInterrupt`.
    raised: Mutex<Option<PyErr>>,
}

#[derive(Default)]
struct Objects {
    last: u64,
    by_number: HashMap<u64, Py<PyAny>>,
    on_exception: Option<Py<PyAny>>,
}

/// The number of a Python object. Numbers are never used again.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Number(u64);

impl Shared {
    pub(crate) fn new(reactor: Reactor) -> Arc<Shared> {
        Arc::new(Shared {
            reactor,
            objects: Mutex::default(),
            raised: Mutex::default(),
        })
    }

    fn objects(&self) -> MutexGuard<'_, Objects> {
        self.objects.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn keep(&self, object: Py<PyAny>) -> Number {
        let mut objects = self.objects();
        objects.last += 1;
        let number = objects.last;
        objects.by_number.insert(number, object);
        Number(number)
    }

    pub(crate) fn take(&self, number: Number) -> Option<Py<PyAny>> {
        self.objects().by_number.remove(&number.0)
    }

    pub(crate) fn get(&self, py: Python<'_>, number: Number) -> Option<Py<PyAny>> {
        let objects = self.objects();
        objects
            .by_number
            .get(&number.0)
            .map(|object| object.clone_ref(py))
    }

    /// Sets what is called with the exceptions of callbacks.
    pub(crate) fn on_exception(&self, report: Option<Py<PyAny>>) {
        let before = std::mem::replace(&mut self.objects().on_exception, report);
        drop(before); // after the lock is released, since it may run Python code
    }

    /// Calls `(callback, arguments, context)`, a tuple as `pack` makes it.
    pub(crate) fn call(&self, py: Python<'_>, call: &Bound<'_, PyAny>) {
        if let Err(error) = run(call) {
            self.report(py, error);
        }
    }

    /// Reports the exception of a callback. An interrupt or an exit ends the driver, which raises it.
    pub(crate) fn report(&self, py: Python<'_>, error: PyErr) {
        if !error.is_instance_of::<PyException>(py) {
            *self.raised.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
            self.reactor.stop();
            return;
        }
        let report = &self.objects().on_exception;
        let report = report.as_ref().map(|report| report.clone_ref(py));
        let Some(report) = report else {
            return error.write_unraisable(py, None);
        };
        if let Err(error) = report.call1(py, (error,)) {
            error.write_unraisable(py, None);
        }
    }

    /// Returns the exception that has ended the driver.
    pub(crate) fn raised(&self) -> PyResult<()> {
        let mut raised = self.raised.lock().unwrap_or_else(PoisonError::into_inner);
        raised.take().map_or(Ok(()), Err)
    }

    pub(crate) fn traverse(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        // The collector must not wait. While a thread holds the lock, the objects are in use.
        let Ok(objects) = self.objects.try_lock() else {
            return Ok(());
        };
        objects
            .by_number
            .values()
            .try_for_each(|it| visit.call(it))?;
        objects
            .on_exception
            .iter()
            .try_for_each(|it| visit.call(it))
    }

    pub(crate) fn clear(&self) {
        let mut objects = self.objects();
        let taken = (
            std::mem::take(&mut objects.by_number),
            objects.on_exception.take(),
        );
        drop(objects);
        drop(taken); // after the lock is released, since it may run Python code
    }
}

/// Packs a call for [`Shared::call`].
pub(crate) fn pack<'py>(
    callback: Bound<'py, PyAny>,
    arguments: Bound<'py, PyTuple>,
    context: Option<Bound<'py, PyAny>>,
) -> PyResult<Py<PyAny>> {
    let py = callback.py();
    let call = (callback, arguments, context).into_pyobject(py)?;
    Ok(call.into_any().unbind())
}

fn run(call: &Bound<'_, PyAny>) -> PyResult<()> {
    let (callback, arguments, context) = call.extract::<(
        Bound<'_, PyAny>,
        Bound<'_, PyTuple>,
        Option<Bound<'_, PyAny>>,
    )>()?;
    match context {
        None => callback.call1(arguments)?,
        Some(context) => {
            let with = PyTuple::new(call.py(), [callback])?
                .as_sequence()
                .concat(arguments.as_sequence())?;
            context.call_method1("run", with.to_tuple()?)?
        }
    };
    Ok(())
}

/// A callback of the reactor: takes the object out, if it is still there, and does something with it.
pub(crate) fn with_taken(
    shared: &Weak<Shared>,
    number: Number,
    action: impl FnOnce(Python<'_>, &Shared, Bound<'_, PyAny>),
) {
    let Some(shared) = shared.upgrade() else {
        return;
    };
    Python::attach(|py| {
        if let Some(object) = shared.take(number) {
            action(py, &shared, object.into_bound(py));
        }
    });
}
