//! The least that an executor on one thread can be: a queue of what is to be polled. As tokio's own
//! scheduler, it knows nothing of other threads' queues and stolen tasks.

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::mem;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use async_task::{Runnable, Task};

#[derive(Default)]
pub struct Queue {
    shared: Arc<Mutex<Shared>>,
    tasks: Vec<Task<()>>,
}

#[derive(Default)]
struct Shared {
    ready: VecDeque<Runnable>,
    /// The waker of the task that polls `run`.
    waker: Option<Waker>,
}

impl Queue {
    pub fn spawn(&mut self, future: impl Future<Output = ()> + 'static) {
        let shared = self.shared.clone();
        let schedule = move |runnable| {
            let mut shared = lock(&shared);
            shared.ready.push_back(runnable);
            let waker = shared.waker.take();
            drop(shared);
            if let Some(waker) = waker {
                waker.wake();
            }
        };
        let (runnable, task) = async_task::spawn_local(future, schedule);
        runnable.schedule();
        self.tasks.push(task);
    }

    /// Polls tasks until the future is over.
    pub async fn run(&self, over: impl Future<Output = ()>) {
        let mut over = pin!(over);
        let mut batch = VecDeque::new();
        let each_time = poll_fn(|cx| {
            mem::swap(&mut batch, &mut lock(&self.shared).ready);
            for runnable in batch.drain(..) {
                runnable.run();
            }
            let mut shared = lock(&self.shared);
            if shared.ready.is_empty() {
                shared.waker = Some(cx.waker().clone())
            } else {
                cx.waker().wake_by_ref()
            }
            drop(shared);
            over.as_mut().poll(cx)
        });
        each_time.await
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        // Each is cancelled, for which it is scheduled once more, and has its future dropped.
        self.tasks.clear();
        let ready = mem::take(&mut lock(&self.shared).ready);
        drop(ready);
    }
}

fn lock(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}
