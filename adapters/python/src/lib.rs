//! [oneloop](https://docs.rs/oneloop) for Python. This crate is the Rust side of the Python package `oneloop`, and
//! lets Rust programs and extension modules share a loop with Python.
//!
//! - An extension module makes Rust futures awaitable: [`future_into_py`] and [`local_future_into_py`]. They run in the
//!   thread of whichever loop runs, asyncio's or uvloop's, without a runtime of their own. [`into_future`] is the
//!   other way.
//! - A Rust program makes asyncio a guest of its own loop: [`attach`] and [`block_on`].
//!
//! ```
//! use oneloop::Reactor;
//! use oneloop_python::{attach, block_on};
//! use pyo3::prelude::*;
//!
//! # fn main() -> PyResult<()> {
//! Python::initialize();
//! Python::attach(|py| {
//!     let reactor = Reactor::new().unwrap();
//!     let guest = attach(py, &reactor)?;
//!     let code = c"async def answer():\n    import asyncio\n    await asyncio.sleep(0.001)\n    return 42";
//!     let module = PyModule::from_code(py, code, c"answer.py", c"answer")?;
//!     let answer = guest.into_future(module.call_method0("answer")?)?;
//!     let answer = block_on(py, &reactor, answer)??;
//!     assert_eq!(answer.extract::<u32>(py)?, 42);
//!     Ok(())
//! })
//! # }
//! ```

mod embed;
mod error;
mod future;
mod package;
mod reactor;
mod selector;
mod shared;
#[cfg(feature = "tokio")]
mod tokio;

use pyo3::prelude::*;

pub use embed::{Guest, attach, block_on, register};
pub use future::{future_into_py, into_future, local_future_into_py, reactor_of};
pub use reactor::{Handle, Handler, Reactor};
pub use selector::Watcher;

/// Puts the classes into the module `oneloop._native`.
fn fill(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<Reactor>()?;
    module.add_class::<Handle>()?;
    module.add_class::<Handler>()?;
    module.add_class::<Watcher>()?;
    #[cfg(feature = "tokio")]
    module.add_function(wrap_pyfunction!(tokio::run_tokio, module)?)?;
    Ok(())
}

/// The wheel's module.
#[pymodule(name = "_native")]
fn native(module: &Bound<'_, PyModule>) -> PyResult<()> {
    fill(module)
}

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
