//! Asks hooks once more before one of tokio's threads parks, because tasks have run since the last turn.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use oneloop::{Error, Reactor, Threading, WeakReactor};

/// Asks the hooks of the reactors that are driven on this thread once more. Pass it to
/// [`Builder::on_thread_park`](tokio::runtime::Builder::on_thread_park).
///
/// The loop asks a hook ([`Reactor::add_hook`]) after each turn. A task that runs later may leave work that
/// no descriptor shows. Examples are a send on a ZeroMQ socket, an xcb request, and an sd-bus call. With this
/// function, the hook is asked again before the thread sleeps, and sees the work.
///
/// It works for tasks on the thread on which [`drive`](crate::drive) was last polled. Tasks elsewhere must
/// call [`Reactor::wake`]. Examples are another worker of a multi-threaded runtime, and a thread that is no
/// worker, such as the one in its `block_on`.
///
/// ```
/// use oneloop::Reactor;
/// use std::sync::{Arc, atomic::{AtomicUsize, Ordering}};
/// use std::time::Duration;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let runtime = tokio::runtime::Builder::new_current_thread()
///     .enable_io()
///     .on_thread_park(oneloop_tokio::before_park)
///     .build()?;
/// let reactor = Reactor::new()?;
/// // What a library has to do, and no descriptor shows.
/// let queue = Arc::new(AtomicUsize::new(0));
/// let (asked, emptied) = (queue.clone(), queue.clone());
/// let prepare = move || (asked.load(Ordering::SeqCst) > 0).then_some(Duration::ZERO);
/// let check = move || {
///     if emptied.swap(0, Ordering::SeqCst) > 0 {
///         Reactor::current().unwrap().stop();
///     }
/// };
/// reactor.add_hook(prepare, check)?;
/// runtime.block_on(async {
///     let driving = tokio::spawn(oneloop_tokio::drive(&reactor));
///     tokio::task::yield_now().await; // the reactor sleeps by now
///     queue.store(1, Ordering::SeqCst);
///     driving.await
/// })??;
/// # Ok(())
/// # }
/// ```
pub fn before_park() {
    // A thread that is ending asks no hooks.
    let _ = HERE.try_with(Here::ask);
}

/// Returns true if [`before_park`] was called on this thread, as it is each time before a worker sleeps. If
/// it was not, although the worker has slept already, the runtime was built without it, or this thread is no
/// worker.
pub fn is_asked_before_park() -> bool {
    HERE.try_with(|here| here.parks.get()).unwrap_or(false)
}

/// A reactor whose drive sleeps, as the parking thread knows it.
struct Sleeper<M: Threading> {
    reactor: WeakReactor<M>,
    /// The thread on which the drive was last polled. `GONE` if there is none.
    thread: AtomicU64,
    has_failed: AtomicBool,
    failure: Mutex<Option<Failure>>,
}

/// A drive's handle of its sleeper.
pub(crate) struct Sleep<M: Threading>(Arc<Sleeper<M>>);

/// The reason why the hooks could not be asked. The drive returns it when it is polled.
enum Failure {
    Error(Error),
    Panic(Box<dyn Any + Send>),
}

/// Stands for no thread.
const GONE: u64 = 0;

impl<M: Threading> Sleep<M> {
    pub(crate) fn new(reactor: &Reactor<M>) -> Sleep<M> {
        Sleep(Arc::new(Sleeper {
            reactor: reactor.downgrade(),
            thread: AtomicU64::new(GONE),
            has_failed: AtomicBool::new(false),
            failure: Mutex::new(None),
        }))
    }

    /// Notes that the drive goes to sleep on this thread.
    pub(crate) fn begin(&self) {
        let sleeper = &self.0;
        let _ = HERE.try_with(|here| {
            if !sleeper.is_on(here.thread) {
                sleeper.thread.store(here.thread, Ordering::Relaxed);
                here.add(sleeper.clone());
            }
        });
    }

    /// Notes that the drive is polled again. Returns an error, or panics, if a hook failed that was asked
    /// meanwhile.
    pub(crate) fn end(&self) -> Result<(), Error> {
        if !self.0.has_failed.swap(false, Ordering::Acquire) {
            return Ok(());
        }
        match self.0.failure().take() {
            None => Ok(()),
            Some(Failure::Error(error)) => Err(error),
            Some(Failure::Panic(panic)) => resume_unwind(panic),
        }
    }
}

impl<M: Threading> Drop for Sleep<M> {
    fn drop(&mut self) {
        self.0.thread.store(GONE, Ordering::Relaxed);
    }
}

impl<M: Threading> Sleeper<M> {
    fn failure(&self) -> MutexGuard<'_, Option<Failure>> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A sleeper of either kind of reactor.
trait Ask {
    fn is_on(&self, thread: u64) -> bool;
    fn ask(&self);
}

impl<M: Threading> Ask for Sleeper<M> {
    fn is_on(&self, thread: u64) -> bool {
        self.thread.load(Ordering::Relaxed) == thread
    }

    fn ask(&self) {
        let Some(reactor) = self.reactor.upgrade() else {
            return;
        };
        // A panic that passed through here would take down one of tokio's workers.
        let failure = match catch_unwind(AssertUnwindSafe(|| reactor.ask_hooks())) {
            Ok(Ok(())) => return,
            Ok(Err(error)) => Failure::Error(error),
            Err(panic) => Failure::Panic(panic),
        };
        *self.failure() = Some(failure);
        self.has_failed.store(true, Ordering::Release);
        reactor.wake();
    }
}

/// The state of a thread.
struct Here {
    thread: u64,
    /// True if the thread calls `before_park`.
    parks: Cell<bool>,
    sleepers: RefCell<Vec<Arc<dyn Ask>>>,
}

thread_local! {
    static HERE: Here = {
        static NEXT: AtomicU64 = AtomicU64::new(GONE + 1);
        Here {
            thread: NEXT.fetch_add(1, Ordering::Relaxed),
            parks: Cell::new(false),
            sleepers: RefCell::default(),
        }
    };
}

impl Here {
    fn add(&self, sleeper: Arc<dyn Ask>) {
        let mut sleepers = self.sleepers.borrow_mut();
        if sleepers.len() == sleepers.capacity() {
            sleepers.retain(|sleeper| sleeper.is_on(self.thread));
            // Some of the sleepers may be in the list already.
            sleepers.sort_by_key(|sleeper| Arc::as_ptr(sleeper).cast::<()>());
            sleepers.dedup_by(|one, other| Arc::ptr_eq(one, other));
        }
        sleepers.push(sleeper);
    }

    fn ask(&self) {
        self.parks.set(true);
        // A hook may spawn and drop drives.
        let mut sleepers = self.sleepers.take();
        sleepers.retain(|sleeper| sleeper.is_on(self.thread));
        sleepers.iter().for_each(|sleeper| sleeper.ask());
        sleepers.append(&mut self.sleepers.borrow_mut());
        self.sleepers.replace(sleepers);
    }
}
