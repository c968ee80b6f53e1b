//! Rust futures that Python awaits, and coroutines that Rust awaits.

use std::cell::RefCell;
use std::collections::HashMap;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, Wake, Waker};

use oneloop::Remote;
use pyo3::IntoPyObjectExt;
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::error::panic;
use crate::package::package;
use crate::reactor::Reactor;
use crate::shared::{Number, Shared};

/// Returns the reactor of the running loop: `oneloop.host()`. The loop drives it.
///
/// # Errors
///
/// Raises `RuntimeError` if no loop runs in this thread.
pub fn reactor_of(py: Python<'_>) -> PyResult<oneloop::Reactor> {
    Ok(hosted(py)?.get().shared.reactor.clone())
}

fn hosted(py: Python<'_>) -> PyResult<Bound<'_, Reactor>> {
    let reactor = package(py)?.call_method0("host")?;
    Ok(reactor.cast_into::<Reactor>()?)
}

/// Returns an `asyncio` future for a Rust future, which the running loop's own thread polls.
///
/// The future ends with the Rust future's result or exception. A panic becomes a `PanicException`. If Python cancels the
/// future, as `asyncio.wait_for` does, the Rust future is dropped.
///
/// The result is made into a Python object while attached. Between polls, and in them, this thread is not attached.
///
/// # Errors
///
/// Raises `RuntimeError` if no loop runs in this thread, or its reactor was closed.
pub fn future_into_py<'py, F, T>(py: Python<'py>, future: F) -> PyResult<Bound<'py, PyAny>>
where
    F: Future<Output = PyResult<T>> + Send + 'static,
    T: for<'a> IntoPyObject<'a> + Send + 'static,
{
    let future = Mutex::new(Some(Box::pin(run(future)) as Sendable));
    spawn(py, Store::Shared(future))
}

/// Like [`future_into_py`], for a future that is not `Send`. It stays in the thread of the running loop.
///
/// # Errors
///
/// As for [`future_into_py`].
pub fn local_future_into_py<'py, F, T>(py: Python<'py>, future: F) -> PyResult<Bound<'py, PyAny>>
where
    F: Future<Output = PyResult<T>> + 'static,
    T: for<'a> IntoPyObject<'a> + 'static,
{
    static LAST: AtomicU64 = AtomicU64::new(0);
    let key = LAST.fetch_add(1, Ordering::Relaxed);
    HERE.with_borrow_mut(|here| here.insert(key, Box::pin(run(future)) as Local));
    spawn(py, Store::Local(key))
}

/// Makes the result of a future a Python object.
async fn run<T>(future: impl Future<Output = PyResult<T>>) -> PyResult<Py<PyAny>>
where
    T: for<'a> IntoPyObject<'a>,
{
    let value = future.await?;
    Python::attach(|py| value.into_py_any(py))
}

type Output = PyResult<Py<PyAny>>;
type Sendable = Pin<Box<dyn Future<Output = Output> + Send>>;
type Local = Pin<Box<dyn Future<Output = Output>>>;

thread_local! {
    /// The futures that stay in this thread.
    static HERE: RefCell<HashMap<u64, Local>> = RefCell::default();
}

enum Store {
    Shared(Mutex<Option<Sendable>>),
    /// A key of [`HERE`].
    Local(u64),
}

impl Store {
    /// Polls the future, and drops it when it is ready. Returns `None` if it is pending, cancelled, or elsewhere.
    fn poll(&self, context: &mut Context<'_>) -> Option<Output> {
        match self {
            Store::Shared(store) => {
                let mut future = lock(store).take()?;
                match poll(future.as_mut(), context) {
                    Poll::Ready(output) => Some(output),
                    Poll::Pending => {
                        *lock(store) = Some(future);
                        None
                    }
                }
            }
            Store::Local(key) => {
                // Taken out, since the future may make others.
                let mut future = HERE.with_borrow_mut(|here| here.remove(key))?;
                match poll(future.as_mut(), context) {
                    Poll::Ready(output) => Some(output),
                    Poll::Pending => {
                        HERE.with_borrow_mut(|here| here.insert(*key, future));
                        None
                    }
                }
            }
        }
    }

    fn cancel(&self) {
        match self {
            Store::Shared(store) => {
                let future = lock(store).take();
                drop(future);
            }
            Store::Local(key) => {
                let future = HERE.with_borrow_mut(|here| here.remove(key));
                drop(future);
            }
        }
    }
}

fn poll<F>(future: Pin<&mut F>, context: &mut Context<'_>) -> Poll<Output>
where
    F: Future<Output = Output> + ?Sized,
{
    let polled = catch_unwind(AssertUnwindSafe(|| future.poll(context)));
    polled.unwrap_or_else(|payload| Poll::Ready(Err(panic(payload))))
}

/// A Rust future that a Python future stands for. It wakes itself by a post.
struct Task {
    store: Store,
    shared: Weak<Shared>,
    remote: Remote,
    /// The Python future.
    number: Number,
    is_posted: AtomicBool,
    is_cancelled: AtomicBool,
}

fn spawn(py: Python<'_>, store: Store) -> PyResult<Bound<'_, PyAny>> {
    let asyncio = py.import("asyncio")?;
    let hosted = hosted(py)?;
    let shared = &hosted.get().shared;
    let running = asyncio.call_method0("get_running_loop")?;
    let future = running.call_method0("create_future")?;
    let number = shared.keep(future.clone().unbind());
    let task = Arc::new(Task {
        store,
        shared: Arc::downgrade(shared),
        remote: shared.reactor.remote(),
        number,
        is_posted: AtomicBool::new(false),
        is_cancelled: AtomicBool::new(false),
    });
    future.call_method1("add_done_callback", (Done(Arc::downgrade(&task)),))?;
    task.post().map_err(|()| {
        shared.take(number);
        PyRuntimeError::new_err("the loop's reactor is closed")
    })?;
    Ok(future)
}

impl Task {
    fn post(self: &Arc<Self>) -> Result<(), ()> {
        if self.is_posted.swap(true, Ordering::AcqRel) {
            return Ok(());
        }
        let task = self.clone();
        let posted = self.remote.call_soon(move || task.poll());
        posted.map(drop).map_err(drop)
    }

    fn poll(self: &Arc<Self>) {
        self.is_posted.store(false, Ordering::Release);
        let waker = Waker::from(self.clone());
        let Some(output) = self.store.poll(&mut Context::from_waker(&waker)) else {
            if self.is_cancelled.load(Ordering::Acquire) {
                // It was cancelled while it was polled.
                self.store.cancel();
            }
            return;
        };
        let Some(shared) = self.shared.upgrade() else {
            return;
        };
        Python::attach(|py| {
            let Some(future) = shared.take(self.number) else {
                return;
            };
            if let Err(error) = settle(future.bind(py), output) {
                shared.report(py, error);
            }
        });
    }
}

impl Wake for Task {
    fn wake(self: Arc<Self>) {
        // After the reactor's end no task waits.
        let _ = self.post();
    }
}

fn settle(future: &Bound<'_, PyAny>, output: Output) -> PyResult<()> {
    if future.call_method0("done")?.is_truthy()? {
        return Ok(());
    }
    match output {
        Ok(value) => future.call_method1("set_result", (value,))?,
        Err(error) => future.call_method1("set_exception", (error,))?,
    };
    Ok(())
}

/// Is called when the Python future is done, possibly because it was cancelled.
#[pyclass(frozen)]
struct Done(Weak<Task>);

#[pymethods]
impl Done {
    fn __call__(&self, py: Python<'_>, _future: &Bound<'_, PyAny>) {
        let Some(task) = self.0.upgrade() else {
            return;
        };
        task.is_cancelled.store(true, Ordering::Release);
        if let Some(shared) = task.shared.upgrade() {
            drop(shared.take(task.number));
        }
        // The future's own drop code is Rust's, and may take its time.
        match &task.store {
            Store::Shared(_) => py.detach(|| task.store.cancel()),
            Store::Local(_) => task.store.cancel(),
        }
    }
}

/// Returns a Rust future for a coroutine or another awaitable, which runs as a task of the running loop.
///
/// Dropping the future cancels the task. Any thread may await it.
///
/// # Errors
///
/// Raises `RuntimeError` if no loop runs in this thread. The future's own error is the coroutine's exception.
pub fn into_future(
    awaitable: Bound<'_, PyAny>,
) -> PyResult<impl Future<Output = PyResult<Py<PyAny>>> + Send + use<>> {
    let asyncio = awaitable.py().import("asyncio")?;
    let running = asyncio.call_method0("get_running_loop")?;
    into_future_on(&running, awaitable)
}

/// Like [`into_future`], on a loop that need not run yet.
pub(crate) fn into_future_on(
    running: &Bound<'_, PyAny>,
    awaitable: Bound<'_, PyAny>,
) -> PyResult<impl Future<Output = PyResult<Py<PyAny>>> + Send + use<>> {
    let py = awaitable.py();
    let options = PyDict::new(py);
    options.set_item("loop", running)?;
    let task = py
        .import("asyncio")?
        .call_method("ensure_future", (awaitable,), Some(&options))?;
    let ended = Arc::new(Mutex::new(Ended::default()));
    task.call_method1("add_done_callback", (Settled(ended.clone()),))?;
    Ok(Coroutine {
        ended,
        task: task.unbind(),
        running: running.clone().unbind(),
        is_done: false,
    })
}

#[derive(Default)]
struct Ended {
    output: Option<Output>,
    waker: Option<Waker>,
}

#[pyclass(frozen)]
struct Settled(Arc<Mutex<Ended>>);

#[pymethods]
impl Settled {
    fn __call__(&self, task: &Bound<'_, PyAny>) {
        let output = task.call_method0("result").map(Bound::unbind);
        let mut ended = lock(&self.0);
        ended.output = Some(output);
        let waker = ended.waker.take();
        drop(ended);
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

struct Coroutine {
    ended: Arc<Mutex<Ended>>,
    task: Py<PyAny>,
    running: Py<PyAny>,
    is_done: bool,
}

impl Future for Coroutine {
    type Output = Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Output> {
        let mut ended = lock(&self.ended);
        if let Some(output) = ended.output.take() {
            drop(ended);
            self.is_done = true;
            return Poll::Ready(output);
        }
        ended.waker = Some(context.waker().clone());
        Poll::Pending
    }
}

impl Drop for Coroutine {
    fn drop(&mut self) {
        if self.is_done {
            return;
        }
        Python::attach(|py| {
            let cancelled = self.task.getattr(py, "cancel").and_then(|cancel| {
                // From whichever thread this is.
                self.running
                    .call_method1(py, "call_soon_threadsafe", (cancel,))
            });
            // A closed loop has no task left to cancel.
            drop(cancelled);
        });
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
