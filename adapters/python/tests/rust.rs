//! Rust futures that Python awaits, coroutines that Rust awaits, and asyncio as a guest of Rust's loops.

use std::cell::Cell;
use std::future::{Future, pending, poll_fn};
use std::process::Command;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::task::Poll;
use std::thread;
use std::time::Duration;

use oneloop::Reactor;
use oneloop::futures::Timer;
use oneloop_python::{
    attach, block_on, future_into_py, into_future, local_future_into_py, reactor_of, register,
};
use pyo3::exceptions::{PyRuntimeError, PyValueError};
use pyo3::prelude::*;

/// Counts the futures that were dropped before their end.
static DROPPED: AtomicUsize = AtomicUsize::new(0);

struct CountDrop;

impl Drop for CountDrop {
    fn drop(&mut self) {
        DROPPED.fetch_add(1, SeqCst);
    }
}

/// Rust functions that Python calls.
#[pymodule]
mod under_test {
    use super::*;

    #[pyfunction]
    fn sleep(py: Python<'_>, seconds: f64) -> PyResult<Bound<'_, PyAny>> {
        let reactor = reactor_of(py)?;
        future_into_py(py, async move {
            Timer::after(&reactor, Duration::from_secs_f64(seconds)).await;
            Ok("slept")
        })
    }

    #[pyfunction]
    fn never(py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
        let counted = CountDrop;
        future_into_py(py, async move {
            let _counted = counted;
            pending::<PyResult<()>>().await
        })
    }

    #[pyfunction]
    fn fail(py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
        future_into_py(py, async { Err::<(), _>(PyValueError::new_err("no luck")) })
    }

    #[pyfunction]
    fn panics(py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
        future_into_py(py, async {
            if true {
                panic!("a bug");
            }
            Ok(())
        })
    }

    /// Is not `Send`, and stays in the thread of its loop.
    #[pyfunction]
    fn stays(py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
        let (here, turns) = (thread::current().id(), Rc::new(Cell::new(0)));
        local_future_into_py(py, async move {
            poll_fn(|context| {
                assert_eq!(thread::current().id(), here);
                turns.set(turns.get() + 1);
                context.waker().wake_by_ref();
                if turns.get() < 3 {
                    Poll::Pending
                } else {
                    Poll::Ready(())
                }
            })
            .await;
            Ok(turns.get())
        })
    }

    /// Is woken by another thread.
    #[pyfunction]
    fn elsewhere(py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
        let mut thread = None;
        future_into_py(py, async move {
            poll_fn(|context| match thread.take() {
                None => {
                    let waker = context.waker().clone();
                    thread = Some(thread::spawn(move || waker.wake()));
                    Poll::Pending
                }
                Some(thread) => {
                    thread.join().unwrap();
                    Poll::Ready(Ok(1))
                }
            })
            .await
        })
    }

    /// A Rust future that awaits a coroutine.
    #[pyfunction]
    fn twice(coroutine: Bound<'_, PyAny>) -> PyResult<Bound<'_, PyAny>> {
        let py = coroutine.py();
        let number = into_future(coroutine)?;
        future_into_py(py, async move {
            let number = number.await?;
            Python::attach(|py| Ok(number.extract::<u32>(py)? * 2))
        })
    }
}

/// Runs Python code in which `run(coroutine)` runs it on each kind of loop.
fn python(code: &str) {
    Python::initialize();
    Python::attach(|py| {
        register(py).unwrap();
        let module = pyo3::wrap_pymodule!(under_test)(py);
        let globals = pyo3::types::PyDict::new(py);
        globals.set_item("rust", module).unwrap();
        let all = format!(
            "import asyncio, contextvars, oneloop\n\
            def run(main):\n\
            \x20   for factory in (asyncio.SelectorEventLoop, oneloop.new_event_loop):\n\
            \x20       oneloop.run(main(), loop_factory=factory)\n\
            {code}"
        );
        let code = std::ffi::CString::new(all).unwrap();
        if let Err(error) = py.run(&code, Some(&globals), None) {
            error.print(py);
            panic!("the Python code failed");
        }
    });
}

#[test]
fn a_rust_future_is_awaited_on_any_loop() {
    python(
        "async def main():
    assert await rust.sleep(0.001) == 'slept'
    assert await asyncio.gather(*(rust.sleep(0) for _ in range(100))) == ['slept'] * 100
    assert await rust.stays() == 3
    assert await rust.elsewhere() == 1
run(main)",
    );
}

#[test]
fn an_error_is_an_exception_and_so_is_a_panic() {
    python(
        "async def main():
    try: await rust.fail()
    except ValueError as error: assert str(error) == 'no luck'
    else: assert False
    try: await rust.panics()
    except BaseException as error: assert type(error).__name__ == 'PanicException' and 'a bug' in str(error)
    else: assert False
run(main)",
    );
}

#[test]
fn a_cancelled_future_is_dropped() {
    python(
        "async def main():
    try: await asyncio.wait_for(rust.never(), 0.01)
    except asyncio.TimeoutError: pass
    else: assert False
run(main)",
    );
    assert_eq!(DROPPED.load(SeqCst), 2);
}

/// `ONELOOP_PYTHON_AWAITS` has the number of futures.
#[test]
fn awaits_leave_no_memory_behind() {
    // In a process of its own: the other tests need memory too, and a backtrace needs megabytes of it.
    if std::env::var_os("ONELOOP_ALONE").is_none() {
        let status = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "awaits_leave_no_memory_behind", "--nocapture"])
            .env("ONELOOP_ALONE", "yes")
            .status()
            .unwrap();
        assert!(status.success(), "{status}");
        return;
    }
    python(
        "import gc, os
pages = lambda: int(open('/proc/self/statm').read().split()[1])
async def awaits(count):
    for _ in range(count // 100):
        await asyncio.gather(*(rust.sleep(0) for _ in range(97)), rust.stays(), rust.elsewhere())
        cancelled = asyncio.ensure_future(rust.sleep(60))
        await asyncio.sleep(0)
        cancelled.cancel()
async def main():
    count = int(os.environ.get('ONELOOP_PYTHON_AWAITS', 5000))
    await awaits(count // 5)
    gc.collect()
    before, tasks = pages(), len(asyncio.all_tasks())
    await awaits(count)
    gc.collect()
    assert len(asyncio.all_tasks()) == tasks
    assert pages() - before < 512, (before, pages())
run(main)",
    );
}

#[test]
fn a_coroutine_is_awaited_with_its_exception_and_its_context() {
    python(
        "variable = contextvars.ContextVar('variable')
async def number():
    await asyncio.sleep(0)
    return variable.get()
async def fails():
    raise KeyError(5)
async def main():
    variable.set(21)
    assert await rust.twice(number()) == 42
    try: await rust.twice(fails())
    except KeyError: pass
    else: assert False
run(main)",
    );
}

#[test]
fn outside_a_loop_nothing_is_awaited() {
    Python::initialize();
    Python::attach(|py| {
        register(py).unwrap();
        let error = future_into_py(py, async { Ok(1) }).unwrap_err();
        assert!(error.is_instance_of::<PyRuntimeError>(py), "{error}");
    });
}

/// A coroutine of this code.
fn coroutine<'py>(py: Python<'py>, code: &std::ffi::CStr) -> Bound<'py, PyAny> {
    let module = PyModule::from_code(py, code, c"main.py", c"main").unwrap();
    module.getattr("main").unwrap().call0().unwrap()
}

const SLEEPS: &std::ffi::CStr = c"import asyncio
async def main():
    for _ in range(3):
        await asyncio.sleep(0.001)
    return 42
";

#[test]
fn a_rust_program_drives_asyncio_in_a_thread_that_python_has_not_started() {
    Python::initialize();
    let thread = thread::spawn(|| {
        Python::attach(|py| {
            let reactor = Reactor::new().unwrap();
            let guest = attach(py, &reactor).unwrap();
            let answer = guest.into_future(coroutine(py, SLEEPS)).unwrap();
            let answer = block_on(py, &reactor, answer).unwrap().unwrap();
            assert_eq!(answer.extract::<u32>(py).unwrap(), 42);
        });
    });
    thread.join().unwrap();
}

#[test]
fn a_loop_outlives_the_attachment_of_the_thread() {
    // Each step attaches by itself, and finds its loop again.
    Python::initialize();
    let thread = thread::spawn(|| {
        let reactor = Reactor::new().unwrap();
        let (guest, answer) = Python::attach(|py| {
            let guest = attach(py, &reactor).unwrap();
            let answer = guest.into_future(coroutine(py, SLEEPS)).unwrap();
            (guest, answer)
        });
        let answer = reactor.block_on(answer).unwrap().unwrap();
        Python::attach(|py| assert_eq!(answer.extract::<u32>(py).unwrap(), 42));
        drop(guest);
    });
    thread.join().unwrap();
}

#[test]
fn a_dropped_future_cancels_its_task() {
    Python::initialize();
    Python::attach(|py| {
        let reactor = Reactor::new().unwrap();
        let guest = attach(py, &reactor).unwrap();
        let code = c"import asyncio
seen = []
async def main():
    try:
        await asyncio.sleep(1000)
    except asyncio.CancelledError:
        seen.append('cancelled')
        raise
";
        let module = PyModule::from_code(py, code, c"main.py", c"main").unwrap();
        let task = guest
            .into_future(module.getattr("main").unwrap().call0().unwrap())
            .unwrap();
        // It has to begin before it can be cancelled.
        let begun = module
            .getattr("asyncio")
            .unwrap()
            .call_method1("sleep", (0.001,))
            .unwrap();
        let begun = guest.into_future(begun).unwrap();
        block_on(py, &reactor, begun).unwrap().unwrap();
        drop(task);
        while module.getattr("seen").unwrap().len().unwrap() == 0 {
            py.detach(|| reactor.turn(None)).unwrap();
        }
    });
}

#[test]
fn another_engine_in_the_process_is_an_error() {
    Python::initialize();
    Python::attach(|py| {
        register(py).unwrap();
        let modules = py.import("sys").unwrap().getattr("modules").unwrap();
        let ours = modules.get_item("oneloop._native").unwrap();
        let other = PyModule::new(py, "oneloop._native").unwrap();
        modules.set_item("oneloop._native", other).unwrap();
        let error = register(py).unwrap_err();
        modules.set_item("oneloop._native", ours).unwrap();
        assert!(error.to_string().contains("another oneloop"), "{error}");
    });
}

/// The trait bounds that an embedding program relies on.
#[test]
fn a_coroutine_may_be_awaited_in_any_thread() {
    fn is_send(_: &(impl Future + Send)) {}
    Python::initialize();
    Python::attach(|py| {
        let reactor = Reactor::new().unwrap();
        let guest = attach(py, &reactor).unwrap();
        let answer = guest.into_future(coroutine(py, SLEEPS)).unwrap();
        is_send(&answer);
        let answer = Arc::new(std::sync::Mutex::new(Some(answer)));
        let waiting = thread::spawn(move || {
            let answer = answer.lock().unwrap().take().unwrap();
            let number = futures_lite::future::block_on(answer).unwrap();
            Python::attach(|py| number.extract::<u32>(py).unwrap())
        });
        while !waiting.is_finished() {
            py.detach(|| reactor.turn(Some(Duration::from_millis(1))))
                .unwrap();
        }
        assert_eq!(py.detach(|| waiting.join()).unwrap(), 42);
    });
}
