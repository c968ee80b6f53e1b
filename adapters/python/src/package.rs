//! The Python package, made from its sources in this library.

use std::ffi::CString;

use pyo3::exceptions::PyImportError;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyDict;

use crate::reactor::Reactor;

/// The files, each after those that it imports.
const FILES: [(&str, &str); 3] = [
    ("loop", include_str!("../python/oneloop/loop.py")),
    ("host", include_str!("../python/oneloop/host.py")),
    ("", include_str!("../python/oneloop/__init__.py")),
];

/// See [`crate::register`].
pub(crate) fn register(py: Python<'_>) -> PyResult<()> {
    /// The first thread makes the package, and others wait.
    static MADE: PyOnceLock<()> = PyOnceLock::new();
    let modules = modules(py)?;
    MADE.get_or_try_init(py, || {
        if modules.contains("oneloop._native")? {
            return Ok(());
        }
        make(py, &modules, "oneloop")
    })?;
    if is_ours(py, &modules)? {
        return Ok(());
    }
    Err(PyImportError::new_err(
        "another oneloop, such as an installed wheel, was imported before this program's own; \
         call oneloop_python::register first",
    ))
}

/// Returns the package whose classes are this library's. It is `oneloop`, unless that is an installed wheel's: an
/// extension module that is linked with this library has a package of its own then, and reactors of its own.
pub(crate) fn package(py: Python<'_>) -> PyResult<Bound<'_, PyModule>> {
    static OWN: PyOnceLock<String> = PyOnceLock::new();
    let modules = modules(py)?;
    if is_ours(py, &modules)? {
        return py.import("oneloop");
    }
    let own = OWN.get_or_try_init(py, || {
        // No other library in the process has this address.
        let name = format!("_oneloop_{:x}", std::ptr::from_ref(&OWN).addr());
        make(py, &modules, &name)?;
        PyResult::Ok(name)
    })?;
    py.import(own.as_str())
}

fn modules(py: Python<'_>) -> PyResult<Bound<'_, PyDict>> {
    Ok(py.import("sys")?.getattr("modules")?.cast_into()?)
}

/// Returns true if the imported package `oneloop` is this library's.
fn is_ours(py: Python<'_>, modules: &Bound<'_, PyDict>) -> PyResult<bool> {
    let Some(native) = modules.get_item("oneloop._native")? else {
        return Ok(false);
    };
    // Another module under the name may lack the class.
    let class = native.getattr("Reactor");
    Ok(class.is_ok_and(|class| class.is(py.get_type::<Reactor>())))
}

fn make(py: Python<'_>, modules: &Bound<'_, PyDict>, name: &str) -> PyResult<()> {
    let native_name = format!("{name}._native");
    let native = PyModule::new(py, &native_name)?;
    crate::fill(&native)?;
    modules.set_item(native_name, &native)?;
    let package = PyModule::new(py, name)?;
    package.setattr("__path__", Vec::<String>::new())?;
    package.setattr("__package__", name)?;
    package.setattr("_native", &native)?;
    modules.set_item(name, &package)?;
    for (file, code) in FILES {
        let code = CString::new(code)?;
        if file.is_empty() {
            py.run(&code, Some(&package.dict()), None)?;
        } else {
            let full = format!("{name}.{file}");
            let shown = CString::new(format!("oneloop/{file}.py"))?;
            let module = PyModule::from_code(py, &code, &shown, &CString::new(full.as_str())?)?;
            modules.set_item(full, &module)?;
            package.setattr(file, module)?;
        }
    }
    Ok(())
}
