use std::fmt;
use std::io;
use std::mem;
use std::ops::ControlFlow;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use crate::os::{AsRawFd, RawFd, without_signals};
use crate::{Error, Host, Result, Step, Threading};

/// A host for a loop that watches no descriptor and can only be woken, such as that of a GUI.
///
/// A thread waits for the reactor in the loop's place, and wakes it. Callbacks run on the thread that
/// [steps](Self::step). Made by [`Host::wake_by`]; in the repository, `examples/host_wake.rs` is a whole
/// program.
pub struct WakeHost<M: Threading> {
    host: Host<M>,
    lookout: Arc<Lookout>,
    thread: Option<JoinHandle<()>>,
}

impl<M: Threading> Host<M> {
    /// Has a thread call `wake` when the reactor has something to do. Then the loop is to call
    /// [`WakeHost::step`]. It steps once at the beginning, too.
    ///
    /// `wake` is called once for each step at the most. It must not wait for the loop's thread. It is the
    /// place for `EventLoopProxy::send_event` of winit, `slint::invoke_from_event_loop`, or a send to the
    /// channel that the loop reads.
    ///
    /// ```
    /// use oneloop::Reactor;
    /// use std::{sync::mpsc::channel, time::Duration};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let reactor = Reactor::new()?;
    /// let stopper = reactor.remote();
    /// reactor.call_later(Duration::from_millis(1), move || stopper.stop())?;
    ///
    /// let (proxy, events) = channel();
    /// let mut host = reactor.host("a GUI")?.wake_by(move || drop(proxy.send("step")))?;
    /// while host.step(100)?.is_continue() {
    ///     assert_eq!(events.recv()?, "step");
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// If the system has no thread left.
    pub fn wake_by(self, wake: impl Fn() + Send + 'static) -> Result<WakeHost<M>> {
        let lookout = Arc::new(Lookout::default());
        let (looks, fd) = (lookout.clone(), self.as_raw_fd());
        let thread = thread::Builder::new().name("oneloop-wake".into());
        let thread = without_signals(|| thread.spawn(move || looks.run(fd, wake)));
        Ok(WakeHost {
            host: self,
            lookout,
            thread: Some(thread.map_err(|error| Error::os("wake_by", error))?),
        })
    }
}

impl<M: Threading> WakeHost<M> {
    /// Takes turns without waiting, as [`Host::step`]. `Break` is the end: [`stop`](crate::Reactor::stop) was
    /// called, or nothing is left ([`Host::exit_when_empty`]). After `Continue` the thread wakes the loop for the
    /// next step. A step that comes earlier does no harm.
    ///
    /// # Errors
    ///
    /// As [`Host::step`]. And if `wake` has panicked: nothing would wake the loop any more.
    ///
    /// # Panics
    ///
    /// As [`Host::step`].
    pub fn step(&mut self, budget: usize) -> Result<ControlFlow<()>> {
        loop {
            match self.host.step(budget)? {
                // The thread looks only while the loop waits.
                Step::Watch => {}
                Step::Unwatch => self.lookout.recall(|| self.host.reactor().wake()),
                // If there is more to do, the descriptor is readable.
                Step::Sleep | Step::Yield => {
                    return match self.lookout.send() {
                        true => Ok(ControlFlow::Continue(())),
                        false => Err(Error::os("step", io::Error::other(PANICKED))),
                    };
                }
                Step::Done => return Ok(ControlFlow::Break(())),
            }
        }
    }

    /// The host.
    pub fn host(&self) -> &Host<M> {
        &self.host
    }
}

const PANICKED: &str = "the closure that wakes the host has panicked";

impl<M: Threading> Drop for WakeHost<M> {
    fn drop(&mut self) {
        let thread = self.thread.take();
        // A child process has no such thread.
        if self.host.reactor().is_forked() {
            return mem::forget(thread);
        }
        self.lookout.recall(|| self.host.reactor().wake());
        self.lookout.set(Task::Leave);
        // It has panicked in the closure of the host's, which was told then.
        let _ = thread.map(JoinHandle::join);
    }
}

impl<M: Threading> fmt::Debug for WakeHost<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("WakeHost").field(&self.host).finish()
    }
}

/// The thread that waits for the reactor.
#[derive(Default)]
struct Lookout {
    task: Mutex<Task>,
    changed: Condvar,
}

/// What the thread does.
#[derive(Default, Clone, Copy, PartialEq, Eq)]
enum Task {
    #[default]
    Rest,
    /// It waits until the descriptor is readable.
    Look,
    Leave,
}

impl Lookout {
    fn run(&self, fd: RawFd, wake: impl Fn()) {
        // Also if `wake` panics.
        let _left = OnDrop(|| self.set(Task::Leave));
        loop {
            let mut task = self.task();
            while *task == Task::Rest {
                task = wait(&self.changed, task);
            }
            if *task == Task::Leave {
                return;
            }
            drop(task);
            if is_readable(fd) {
                self.set(Task::Rest);
                wake();
            }
        }
    }

    /// Has the thread look. False if it is gone.
    fn send(&self) -> bool {
        let mut task = self.task();
        if *task == Task::Leave {
            return false;
        }
        *task = Task::Look;
        self.changed.notify_all();
        true
    }

    /// Has the thread rest, if it looks, by `show`, which makes the descriptor readable.
    fn recall(&self, show: impl FnOnce()) {
        let mut task = self.task();
        if *task == Task::Look {
            show();
            while *task == Task::Look {
                task = wait(&self.changed, task);
            }
        }
    }

    fn set(&self, to: Task) {
        let mut task = self.task();
        // It does not come back.
        if *task != Task::Leave {
            *task = to;
        }
        self.changed.notify_all();
    }

    fn task(&self) -> MutexGuard<'_, Task> {
        self.task.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn wait<'a>(changed: &Condvar, task: MutexGuard<'a, Task>) -> MutexGuard<'a, Task> {
    changed.wait(task).unwrap_or_else(PoisonError::into_inner)
}

/// Waits until the descriptor is readable. False if it was interrupted.
fn is_readable(fd: RawFd) -> bool {
    let mut watched = libc::pollfd {
        fd,
        events: libc::POLLIN,
        revents: 0,
    };
    // SAFETY: one pollfd, alive during the call. The host, which keeps the descriptor open, waits for the
    // thread's end.
    unsafe { libc::poll(&mut watched, 1, -1) == 1 }
}

struct OnDrop<F: Fn()>(F);

impl<F: Fn()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}
