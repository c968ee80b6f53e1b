//! A Rust future that is pending once, as an awaitable of Python's.

use std::future::poll_fn;
use std::task::Poll;

use pyo3::prelude::*;

async fn pending_once() -> PyResult<()> {
    let mut polled = false;
    poll_fn(move |context| {
        if polled {
            return Poll::Ready(());
        }
        polled = true;
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
    Ok(())
}

/// By oneloop-python.
#[pyfunction]
fn oneloop(py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
    oneloop_python::future_into_py(py, pending_once())
}

/// By pyo3-async-runtimes, with its defaults.
#[pyfunction]
fn async_runtimes(py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
    pyo3_async_runtimes::tokio::future_into_py(py, pending_once())
}

#[pymodule]
fn awaits(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(oneloop, module)?)?;
    module.add_function(wrap_pyfunction!(async_runtimes, module)?)
}
