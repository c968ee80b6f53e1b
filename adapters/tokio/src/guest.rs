use std::cell::Cell;
use std::future::{Future, pending};
use std::io;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::thread;

use oneloop::{HandlerId, Interest, Local, LocalReactor, Mode, VirtualSource, WeakReactor};
use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, LocalSet};

/// tokio inside a reactor: tasks run on the reactor's thread, whichever loop drives it.
///
/// The tasks of [`spawn_local`](Self::spawn_local) are polled by the reactor and need not be `Send`. They share data
/// with its callbacks, and use any crate for tokio: sockets, timers, child processes. So this fits a program whose
/// main loop is oneloop's own, GLib's, libuv's or a GUI's. If tokio is the main loop, use [`drive`](crate::drive).
///
/// # Cost
///
/// tokio's own I/O and timers need a thread that waits for them. The guest starts that thread, and each wake of a task
/// crosses from it to the reactor's. `docs/performance.md` has the figures (`async_echo`). Sockets of
/// [`oneloop::futures::Async`] in the same tasks do not pay for that.
///
/// # The end
///
/// The guest keeps [`run`](oneloop::Reactor::run) going while it has tasks. Dropping it drops the tasks, also if it is
/// dropped in one of them, and ends the thread.
///
/// ```
/// use oneloop::Reactor;
/// use oneloop_tokio::TokioGuest;
/// use std::{cell::Cell, rc::Rc, time::Duration};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let reactor = Reactor::new_local()?;
/// let tokio = TokioGuest::new(&reactor)?;
/// let count = Rc::new(Cell::new(0)); // not Send
/// let counted = count.clone();
/// tokio.spawn_local(async move {
///     tokio::time::sleep(Duration::from_millis(1)).await;
///     counted.set(counted.get() + 1);
/// });
/// reactor.run()?; // until the task has ended
/// assert_eq!(count.get(), 1);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct TokioGuest {
    tasks: Rc<LocalSet>,
    count: Rc<Count>,
    handle: Handle,
    /// Its drop ends the thread.
    _running: oneshot::Sender<()>,
}

impl TokioGuest {
    /// Starts tokio's thread, and adds a handler that polls the tasks.
    ///
    /// # Errors
    ///
    /// Returns an error if the system has no thread or no descriptors left, or if the reactor is closed.
    pub fn new(reactor: &LocalReactor) -> io::Result<TokioGuest> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let (running, ended) = oneshot::channel::<()>();
        let wait = move || {
            let _ = runtime.block_on(ended);
            // Jobs that block end on their own.
            runtime.shutdown_background();
        };
        thread::Builder::new().name("tokio".into()).spawn(wait)?;

        let (source, readiness) = VirtualSource::pair();
        let tasks = Rc::new(LocalSet::new());
        let waker = Waker::from(readiness);
        // The first poll tells the tasks the waker.
        waker.wake_by_ref();
        let (context, polled) = (handle.clone(), tasks.clone());
        let mut all = Box::pin(async move { polled.run_until(pending::<()>()).await });
        let poll = move |_: &mut VirtualSource, _| {
            let _entered = context.enter();
            let _: Poll<()> = all.as_mut().poll(&mut Context::from_waker(&waker));
        };
        let handler = reactor
            .add_handler(source, Interest::READABLE, Mode::Edge, poll)
            .map_err(oneloop::Error::from)?;
        reactor.set_name(handler, "tokio")?;
        reactor.set_referenced(handler, false)?;
        let count = Rc::new(Count {
            reactor: reactor.downgrade(),
            handler,
            tasks: Cell::new(0),
        });
        Ok(TokioGuest {
            tasks,
            count,
            handle,
            _running: running,
        })
    }

    /// Spawns a task on the reactor's thread.
    ///
    /// Inside it, `tokio::task::spawn_local` spawns more such tasks, which do not keep [`run`](oneloop::Reactor::run)
    /// going. `tokio::spawn` spawns a task on tokio's thread.
    pub fn spawn_local<F>(&self, future: F) -> JoinHandle<F::Output>
    where
        F: Future + 'static,
        F::Output: 'static,
    {
        self.count.add(1);
        let counted = Counted(self.count.clone());
        let _entered = self.handle.enter();
        self.tasks.spawn_local(async move {
            let _counted = counted;
            future.await
        })
    }

    /// Returns the handle of the runtime, for what has to be made inside it.
    pub fn handle(&self) -> &Handle {
        &self.handle
    }
}

impl Drop for TokioGuest {
    fn drop(&mut self) {
        if let Some(reactor) = self.count.reactor.upgrade() {
            // A reactor that is closed has dropped the tasks.
            let _ = reactor.remove_handler(self.count.handler);
        }
    }
}

/// The number of tasks, while which is not zero the handler keeps the reactor going.
#[derive(Debug)]
struct Count {
    reactor: WeakReactor<Local>,
    handler: HandlerId,
    tasks: Cell<usize>,
}

impl Count {
    fn add(&self, more: isize) {
        let tasks = self.tasks.get().saturating_add_signed(more);
        let changes = (self.tasks.replace(tasks) == 0) != (tasks == 0);
        if let Some(reactor) = self.reactor.upgrade().filter(|_| changes) {
            // The handler may be gone, with the tasks.
            let _ = reactor.set_referenced(self.handler, tasks > 0);
        }
    }
}

/// One task.
struct Counted(Rc<Count>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.add(-1);
    }
}
