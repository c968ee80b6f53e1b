//! A thread that waits for a reactor in the place of its host.

use std::io;
use std::mem;
#[cfg(pollable)]
use std::os::fd::AsRawFd;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

#[cfg(not(pollable))]
use crate::engine::Core;
use crate::os::without_signals;
#[cfg(pollable)]
use crate::os::{BorrowedFd, RawFd};
use crate::{Reactor, Threading};

/// The thread, which rests until it is sent to look. It ends with this.
pub(crate) struct Lookout<M: Threading> {
    orders: Arc<Orders>,
    /// Kept, because the thread uses the loop until it ends.
    reactor: Reactor<M>,
    thread: Option<JoinHandle<()>>,
}

impl<M: Threading> Lookout<M> {
    /// Starts the thread. It calls `wake` after each look, as soon as the reactor has something to do.
    pub(crate) fn new(
        reactor: &Reactor<M>,
        wake: impl Fn() + Send + 'static,
    ) -> io::Result<Lookout<M>> {
        let orders = Arc::new(Orders::default());
        let (followed, view) = (orders.clone(), View::of(reactor));
        let thread = thread::Builder::new().name("oneloop-wake".into());
        let thread = without_signals(|| thread.spawn(move || followed.follow(view, wake)))?;
        Ok(Lookout {
            orders,
            reactor: reactor.clone(),
            thread: Some(thread),
        })
    }

    /// Tells the thread to look. Returns an error if it is gone.
    pub(crate) fn send(&self) -> io::Result<()> {
        let mut task = self.orders.task();
        if *task == Task::Leave {
            return Err(io::Error::other(
                "the closure that wakes the host has panicked",
            ));
        }
        *task = Task::Look;
        self.orders.changed.notify_all();
        Ok(())
    }

    /// Returns true while the thread looks.
    #[cfg(not(pollable))]
    pub(crate) fn is_looking(&self) -> bool {
        *self.orders.task() == Task::Look
    }

    /// Ends the look, if the thread looks.
    pub(crate) fn recall(&self) {
        let mut task = self.orders.task();
        if *task == Task::Look {
            self.reactor.wake();
            while *task == Task::Look {
                task = wait(&self.orders.changed, task);
            }
        }
    }
}

impl<M: Threading> Drop for Lookout<M> {
    fn drop(&mut self) {
        let thread = self.thread.take();
        // A child process has no such thread.
        if self.reactor.is_forked() {
            return mem::forget(thread);
        }
        self.recall();
        self.orders.set(Task::Leave);
        // If the thread has panicked in the host's closure, `send` has reported that.
        let _ = thread.map(JoinHandle::join);
    }
}

#[derive(Default)]
struct Orders {
    task: Mutex<Task>,
    changed: Condvar,
}

/// A task of the thread.
#[derive(Default, Clone, Copy, PartialEq, Eq)]
enum Task {
    #[default]
    Rest,
    /// Wait until the reactor has something to do.
    Look,
    Leave,
}

impl Orders {
    fn follow(&self, view: View, wake: impl Fn()) {
        #[cfg(not(pollable))]
        let mut events = crate::poller::Events::new();
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
            #[cfg(pollable)]
            let has_work = view.look();
            #[cfg(not(pollable))]
            let has_work = view.look(&mut events);
            if has_work {
                self.set(Task::Rest);
                wake();
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

/// The object of a look: the loop's descriptor.
#[cfg(pollable)]
struct View(RawFd);

#[cfg(pollable)]
impl View {
    fn of<M: Threading>(reactor: &Reactor<M>) -> View {
        View(reactor.core.as_fd().as_raw_fd())
    }

    /// Waits until the loop has something to do. Returns false if the wait was interrupted.
    fn look(&self) -> bool {
        use rustix::event::{PollFd, PollFlags, poll};
        // SAFETY: the lookout's handle keeps the descriptor open, and the lookout waits for the thread's end.
        let fd = unsafe { BorrowedFd::borrow_raw(self.0) };
        poll(&mut [PollFd::new(&fd, PollFlags::IN)], None) == Ok(1)
    }
}

/// The object of a look: the poller itself, which is no descriptor.
///
/// It is not the last owner of the loop, which would drop callbacks on this thread: the lookout has a handle, and
/// waits for the thread's end.
#[cfg(not(pollable))]
struct View(Arc<Core>);

#[cfg(not(pollable))]
impl View {
    fn of<M: Threading>(reactor: &Reactor<M>) -> View {
        reactor.core.watch();
        View(reactor.core.clone())
    }

    fn look(&self, events: &mut crate::poller::Events) -> bool {
        self.0.look(events);
        true
    }
}

struct OnDrop<F: Fn()>(F);

impl<F: Fn()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}
