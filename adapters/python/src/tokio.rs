//! tokio as the driver of a Python loop.

use pyo3::exceptions::{PyOSError, PyRuntimeError};
use pyo3::prelude::*;
use tokio::runtime::{Builder, Handle};
use tokio::task::LocalSet;

use crate::reactor::Reactor;

/// Has a tokio runtime in this thread drive the reactor until it is stopped. Rust futures that Python awaits meanwhile
/// may use tokio.
#[pyfunction]
pub(crate) fn run_tokio(py: Python<'_>, reactor: &Bound<'_, Reactor>) -> PyResult<()> {
    if Handle::try_current().is_ok() {
        let text = "tokio drives this thread already, or drove it when the process forked";
        return Err(PyRuntimeError::new_err(text));
    }
    let shared = reactor.get().shared.clone();
    let driven = py.detach(|| {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let driving = oneloop_tokio::drive(&shared.reactor);
        runtime.block_on(LocalSet::new().run_until(driving))
    });
    shared.raised()?;
    driven.map_err(|error: std::io::Error| PyOSError::new_err(error.to_string()))?;
    py.check_signals()
}
