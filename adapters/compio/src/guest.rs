use std::cell::Cell;
use std::fmt;
use std::os::fd::AsRawFd;
use std::rc::Rc;
use std::time::Duration;

use compio_runtime::{JoinHandle, Runtime};
use oneloop::{Guest, Interest, Watched};

/// A runtime of compio's as a guest of a reactor. Clones are the same guest.
///
/// [`LocalReactor::add_guest`](oneloop::Reactor::add_guest) takes a clone. The reactor's thread then polls the
/// runtime's tasks, which share data with the reactor's callbacks. Nothing else may run the runtime.
///
/// The guest keeps [`run`](oneloop::Reactor::run) going while it has tasks of [`spawn`](Self::spawn). A turn of it polls as
/// many tasks as the runtime's [`event_interval`](compio_runtime::RuntimeBuilder::event_interval) says, 61 at most by default.
/// compio catches a panic of a task, and gives it to whichever code awaits the task.
///
/// ```
/// use compio_runtime::{Runtime, time::sleep};
/// use oneloop::Reactor;
/// use oneloop_compio::RuntimeGuest;
/// use std::time::Duration;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let reactor = Reactor::new_local()?;
/// let compio = RuntimeGuest::new(Runtime::new()?);
/// reactor.add_guest("compio", compio.clone())?;
/// let slept = compio.spawn(sleep(Duration::from_millis(1)));
/// reactor.run()?; // until the task has ended
/// assert!(slept.is_finished());
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct RuntimeGuest {
    runtime: Runtime,
    tasks: Rc<Cell<usize>>,
    /// The last turn has left something to do. So does the beginning: the first turn has the ring watch for wakes.
    is_ready: bool,
}

impl RuntimeGuest {
    /// Makes a guest of a runtime.
    pub fn new(runtime: Runtime) -> RuntimeGuest {
        RuntimeGuest {
            runtime,
            tasks: Rc::default(),
            is_ready: true,
        }
    }

    /// Spawns a task. Dropping the result cancels it, and [`detach`](JoinHandle::detach) does not.
    ///
    /// Inside the task, `compio_runtime::spawn` spawns more of them, which do not keep
    /// [`run`](oneloop::Reactor::run) going. Code outside of tasks that spawns by the [runtime](Self::runtime) wakes
    /// [its waker](Runtime::waker) afterwards.
    pub fn spawn<F>(&self, future: F) -> JoinHandle<F::Output>
    where
        F: Future + 'static,
    {
        let counted = Counted::new(self.tasks.clone());
        let task = self.runtime.spawn(async move {
            let _counted = counted;
            future.await
        });
        self.runtime.waker().wake();
        task
    }

    /// Returns the runtime.
    pub fn runtime(&self) -> &Runtime {
        &self.runtime
    }
}

impl Guest for RuntimeGuest {
    fn prepare(&mut self, watched: &mut Watched) -> Option<Duration> {
        // SAFETY: the driver's own descriptor, which is open as long as the runtime.
        unsafe { watched.add(self.runtime.as_raw_fd(), Interest::READABLE) };
        // Wakes show on the descriptor only after a flush, which submits what tasks have asked for, too.
        if self.is_ready || self.runtime.flush() {
            Some(Duration::ZERO)
        } else {
            self.runtime.current_timeout()
        }
    }

    fn turn(&mut self, _: &Watched) {
        self.runtime.poll_with(Some(Duration::ZERO));
        self.is_ready = self.runtime.enter(|| self.runtime.run());
    }

    fn is_alive(&self) -> bool {
        self.tasks.get() > 0
    }
}

impl fmt::Debug for RuntimeGuest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut guest = f.debug_struct("RuntimeGuest");
        guest.field("tasks", &self.tasks.get()).finish()
    }
}

/// One task.
struct Counted(Rc<Cell<usize>>);

impl Counted {
    fn new(tasks: Rc<Cell<usize>>) -> Counted {
        tasks.set(tasks.get() + 1);
        Counted(tasks)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}
