//! Errors and panics, as Python's exceptions.

use std::any::Any;

use oneloop::ErrorKind;
use pyo3::PyErr;
use pyo3::exceptions::{PyOSError, PyRuntimeError, PyValueError};
use pyo3::panic::PanicException;

/// An `OSError` with a number if the kernel refused something.
pub(crate) fn exception(error: oneloop::Error) -> PyErr {
    let text = error.to_string();
    match error.raw_os_error() {
        Some(number) => PyOSError::new_err((number, text)),
        None if error.kind() == ErrorKind::UnknownId => PyValueError::new_err(text),
        None => PyRuntimeError::new_err(text),
    }
}

/// The exception that a panic of a Rust future becomes for the code that awaits it.
pub(crate) fn panic(payload: Box<dyn Any + Send>) -> PyErr {
    let text = if let Some(text) = payload.downcast_ref::<&str>() {
        (*text).to_owned()
    } else if let Some(text) = payload.downcast_ref::<String>() {
        text.clone()
    } else {
        "a Rust future panicked".to_owned()
    };
    PanicException::new_err(text)
}
