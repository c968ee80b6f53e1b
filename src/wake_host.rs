use std::fmt;
use std::io;
use std::mem;
use std::ops::ControlFlow;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use rustix::event::{PollFd, PollFlags, poll};

use crate::os::{AsRawFd, BorrowedFd, RawFd, without_signals};
use crate::{Error, Host, Result, Step, Threading};

/// A host for a loop that watches no descriptor and can only be woken, such as the loop of a GUI.
///
/// A thread waits for the reactor in the loop's place and wakes the loop. Callbacks run on the thread that
/// [steps](Self::step). [`Host::wake_by`] makes this host. The repository has a whole program in
/// `examples/host_wake.rs`.
pub struct WakeHost<M: Threading> {
    host: Host<M>,
    lookout: Arc<Lookout>,
    thread: Option<JoinHandle<()>>,
}

impl<M: Threading> Host<M> {
    /// Starts a thread that calls `wake` when the reactor has something to do. The loop must then call
    /// [`WakeHost::step`]. It must also step once at the beginning.
    ///
    /// The thread calls `wake` at most once per step. `wake` must not wait for the loop's thread. Typical
    /// uses are `EventLoopProxy::send_event` of winit, `slint::invoke_from_event_loop`, or a send to the
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
    /// Returns an error if the system cannot start a thread.
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
    /// Takes turns without waiting, like [`Host::step`].
    ///
    /// `Break` means the end: [`stop`](crate::Reactor::stop) was called, or nothing is left
    /// ([`Host::exit_when_empty`]). After `Continue`, the thread wakes the loop for the next step. An earlier
    /// step does no harm.
    ///
    /// # Errors
    ///
    /// Returns an error in the same cases as [`Host::step`]. It also returns one if `wake` has panicked,
    /// because nothing would wake the loop any more.
    ///
    /// # Panics
    ///
    /// Panics if a callback does, like [`Host::step`].
    pub fn step(&mut self, budget: usize) -> Result<ControlFlow<()>> {
        loop {
            match self.host.step(budget)? {
                // The thread looks only while the loop waits.
                Step::Watch => {}
                Step::Unwatch => self.lookout.recall(|| self.host.reactor().wake()),
                // If there is more to do, the descriptor is readable.
                Step::Sleep | Step::Yield => {
                    return if self.lookout.send() {
                        Ok(ControlFlow::Continue(()))
                    } else {
                        Err(Error::os("step", io::Error::other(PANICKED)))
                    };
                }
                Step::Done => return Ok(ControlFlow::Break(())),
            }
        }
    }

    /// Returns the host.
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
        // The thread has panicked in the host's closure, and `step` has reported that.
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

/// A task of the thread.
#[derive(Default, Clone, Copy, PartialEq, Eq)]
enum Task {
    #[default]
    Rest,
    /// Wait until the descriptor is readable.
    Look,
    Leave,
}

impl Lookout {
    fn run(&self, fd: RawFd, wake: impl Fn()) {
        // The guard also works if `wake` panics.
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

    /// Tells the thread to look. Returns false if the thread is gone.
    fn send(&self) -> bool {
        let mut task = self.task();
        if *task == Task::Leave {
            return false;
        }
        *task = Task::Look;
        self.changed.notify_all();
        true
    }

    /// Tells a looking thread to rest. `show` makes the descriptor readable, which ends its look.
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
        // The thread does not come back.
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

/// Waits until the descriptor is readable. Returns false if the wait was interrupted.
fn is_readable(fd: RawFd) -> bool {
    // SAFETY: the host keeps the descriptor open and waits for the thread's end.
    let fd = unsafe { BorrowedFd::borrow_raw(fd) };
    poll(&mut [PollFd::new(&fd, PollFlags::IN)], None) == Ok(1)
}

struct OnDrop<F: Fn()>(F);

impl<F: Fn()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

#[cfg(test)]
mod tests {
    use std::thread;
    use std::time::Duration;

    use crate::Reactor;

    #[test]
    fn a_host_that_is_dropped_while_its_thread_looks_ends_the_look() {
        let reactor = Reactor::new().unwrap();
        // The thread may not have come to look yet.
        for _ in 0..100 {
            let mut host = reactor.host("a test").unwrap().wake_by(|| {}).unwrap();
            assert!(host.step(8).unwrap().is_continue());
            thread::yield_now();
            drop(host);
        }
        reactor.turn(Some(Duration::ZERO)).unwrap();
    }
}
