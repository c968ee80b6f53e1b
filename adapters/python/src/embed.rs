//! asyncio as a guest of a reactor that a Rust program drives.

use std::future::Future;

use pyo3::prelude::*;

use crate::error::exception;
use crate::future::into_future_on;
use crate::package;
use crate::reactor::Reactor;

/// Makes this program's engine the package `oneloop`, for all Python code in the process.
///
/// [`attach`] does so itself. Call it earlier if Python code imports `oneloop` before.
///
/// # Errors
///
/// Raises `ImportError` if another engine was imported before, such as an installed wheel's.
pub fn register(py: Python<'_>) -> PyResult<()> {
    package::register(py)
}

/// An asyncio loop that is a guest of a reactor. Dropping it detaches the loop.
pub struct Guest {
    event_loop: Py<PyAny>,
}

impl Guest {
    /// Returns the loop, an `asyncio.AbstractEventLoop`.
    pub fn event_loop<'py>(&self, py: Python<'py>) -> &Bound<'py, PyAny> {
        self.event_loop.bind(py)
    }

    /// Returns a Rust future for a coroutine or another awaitable, which runs as a task of this loop.
    ///
    /// Dropping the future cancels the task.
    ///
    /// # Errors
    ///
    /// Raises `TypeError` if the object cannot be awaited. The future's own error is the coroutine's exception.
    pub fn into_future(
        &self,
        awaitable: Bound<'_, PyAny>,
    ) -> PyResult<impl Future<Output = PyResult<Py<PyAny>>> + Send + use<>> {
        into_future_on(self.event_loop.bind(awaitable.py()), awaitable)
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        Python::attach(|py| {
            if let Err(error) = self.event_loop.call_method0(py, "detach") {
                error.write_unraisable(py, None);
            }
        });
    }
}

/// Makes a new asyncio loop a guest of a reactor: whichever code drives the reactor drives Python's tasks as well.
///
/// The loop takes its steps in the thread that drives, and each step attaches to Python by itself.
///
/// # Errors
///
/// Raises the errors of [`register`], and `RuntimeError` if the reactor was closed.
pub fn attach(py: Python<'_>, reactor: &oneloop::Reactor) -> PyResult<Guest> {
    register(py)?;
    let reactor = Bound::new(py, Reactor::of(reactor.clone()))?;
    let event_loop = py
        .import("oneloop")?
        .call_method1("EventLoop", (reactor,))?;
    event_loop.call_method0("attach")?;
    Ok(Guest {
        event_loop: event_loop.unbind(),
    })
}

/// Drives a reactor, and the asyncio loops that are its guests, until `future` is ready.
///
/// This thread is not attached to Python while the reactor waits and calls Rust code.
///
/// # Errors
///
/// Raises the errors of [`oneloop::Reactor::block_on`].
pub fn block_on<F>(py: Python<'_>, reactor: &oneloop::Reactor, future: F) -> PyResult<F::Output>
where
    F: Future + Send,
    F::Output: Send,
{
    py.detach(|| reactor.block_on(future)).map_err(exception)
}
