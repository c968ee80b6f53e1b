use std::any::Any;
use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, Location, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::{mem, thread};

use crate::engine::{Core, Inbox};
use crate::error::Cause;
use crate::id::Key;
use crate::sync::{Mutex, MutexGuard, lock};
use crate::{Error, MaybeSend, Priority, Reactor, Result, Threading};

/// # State between worlds
impl<M: Threading> Reactor<M> {
    /// Moves a value to the loop. Any thread, and any `Send` task on any executor, can then use it through
    /// [`LoopCell::with`].
    ///
    /// The value of a [`LocalReactor`](crate::LocalReactor) need not be `Send`. It can be an `Rc` of which
    /// callbacks have a clone:
    ///
    /// ```
    /// use std::{cell::Cell, rc::Rc, thread, time::Duration};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let reactor = oneloop::Reactor::new_local()?;
    /// let ticks = Rc::new(Cell::new(0));
    /// let cell = reactor.share(ticks.clone())?;
    /// reactor.call_every(Duration::from_millis(1), move || ticks.set(ticks.get() + 1))?;
    ///
    /// // This stands for a task on a runtime with threads of its own, such as a handler of a web server.
    /// let remote = reactor.remote();
    /// let asks = thread::spawn(move || {
    ///     let seen = futures_lite::future::block_on(cell.with(|ticks| ticks.get()));
    ///     remote.stop();
    ///     seen
    /// });
    /// reactor.run()?;
    /// println!("{} ticks so far", asks.join().unwrap()?);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// The loop drops the value in a turn after the last [`LoopCell`] was dropped, or when the loop is closed
    /// or ends. A shared value does not keep [`run`](Self::run) going.
    ///
    /// # Errors
    ///
    /// Returns [`Closed`](crate::ErrorKind::Closed) after [`close`](Self::close), and
    /// [`Forked`](crate::ErrorKind::Forked) in a child process. The value is dropped then.
    pub fn share<T: MaybeSend<M> + 'static>(&self, value: T) -> Result<LoopCell<T>> {
        let key = self.core.keep("share", Arc::new(value))?;
        let inbox = self.core.inbox.clone();
        Ok(LoopCell {
            hold: Arc::new(Hold { inbox, key }),
            value: PhantomData,
        })
    }
}

/// A handle of a value that lives with a loop. [`Reactor::share`] makes it.
///
/// Clones are handles of the same value. They may go to any thread, even if the value is not `Send`.
pub struct LoopCell<T: 'static> {
    hold: Arc<Hold>,
    /// The handle has no value of its own.
    value: PhantomData<fn(&T)>,
}

struct Hold {
    inbox: Arc<Inbox>,
    key: Key,
}

impl Drop for Hold {
    fn drop(&mut self) {
        let key = self.key;
        let let_go = move || drop(Core::current().and_then(|core| core.let_go(key)));
        // A closed loop has dropped the value already.
        let here = Location::caller();
        let _ = self.inbox.post("share", here, Priority::Normal, let_go);
    }
}

impl<T: 'static> LoopCell<T> {
    /// Returns a future that makes the loop call `ask` with the value. Its output is the result of `ask`.
    ///
    /// The future asks the loop when it is first polled. In a callback of the loop, it calls `ask` at once.
    /// If the future is dropped before the loop has called `ask`, the loop does not call it.
    ///
    /// `ask` gets a shared reference. A value that changes needs a `Cell` or `RefCell`, as in any callback. A
    /// reactor that is not [`Local`](crate::Local) accepts those, too.
    ///
    /// # Errors
    ///
    /// The future returns [`Closed`](crate::ErrorKind::Closed) if the loop is closed or gone before it has
    /// called `ask`, and [`Forked`](crate::ErrorKind::Forked) in a child process.
    ///
    /// # Panics
    ///
    /// A panic in `ask` continues where the future is awaited, and not in the loop. A future that has
    /// returned its result panics if it is polled again.
    #[track_caller]
    pub fn with<F, R>(&self, ask: F) -> With<T, F, R>
    where
        F: FnOnce(&T) -> R + Send + 'static,
        R: Send + 'static,
    {
        With {
            cell: self.clone(),
            location: Location::caller(),
            stage: Stage::New(ask),
        }
    }
}

impl<T> Clone for LoopCell<T> {
    fn clone(&self) -> Self {
        LoopCell {
            hold: self.hold.clone(),
            value: PhantomData,
        }
    }
}

impl<T> fmt::Debug for LoopCell<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LoopCell")
    }
}

/// The future of [`LoopCell::with`].
#[must_use = "the loop is asked when this is polled"]
pub struct With<T: 'static, F, R> {
    cell: LoopCell<T>,
    /// The location that the posted question has in reports.
    location: &'static Location<'static>,
    stage: Stage<F, R>,
}

enum Stage<F, R> {
    New(F),
    Asked(Arc<Answer<R>>),
    Over,
}

// Nothing in it is pinned: the closure is moved out and never polled.
impl<T, F, R> Unpin for With<T, F, R> {}

impl<T, F, R> Future for With<T, F, R>
where
    T: 'static,
    F: FnOnce(&T) -> R + Send + 'static,
    R: Send + 'static,
{
    type Output = Result<R>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<R>> {
        const CALL: &str = "with";
        let answer = match mem::replace(&mut self.stage, Stage::Over) {
            Stage::New(ask) => {
                let Hold { inbox, key } = &*self.cell.hold;
                if let Some(core) = Core::current().filter(|core| Arc::ptr_eq(&core.inbox, inbox)) {
                    return Poll::Ready(match core.kept(*key) {
                        Some(value) => Ok(call(ask, &*value)),
                        None => Err(Error::new(CALL, Cause::Closed)),
                    });
                }
                let answer = Arc::new(Answer(Mutex::new(Progress::Waiting(cx.waker().clone()))));
                let (key, owed) = (*key, Owed(answer.clone()));
                let post = move || {
                    if owed.0.is_unwanted() {
                        return;
                    }
                    if let Some(value) = Core::current().and_then(|core| core.kept(key)) {
                        let result = catch_unwind(AssertUnwindSafe(|| call(ask, &*value)));
                        // Dropped before the answer is given, because the asker may then go on and drop the
                        // last handle.
                        drop(value);
                        owed.0.end(Progress::Done(result));
                    }
                };
                if let Err(error) = inbox.post(CALL, self.location, Priority::Normal, post) {
                    return Poll::Ready(Err(error.into()));
                }
                answer
            }
            Stage::Asked(answer) => answer,
            Stage::Over => panic!("`With` was polled after it was ready"),
        };
        match answer.poll(cx) {
            Poll::Pending => {
                self.stage = Stage::Asked(answer);
                Poll::Pending
            }
            Poll::Ready(Some(Ok(result))) => Poll::Ready(Ok(result)),
            Poll::Ready(Some(Err(panic))) => resume_unwind(panic),
            Poll::Ready(None) => Poll::Ready(Err(Error::new(CALL, Cause::Closed))),
        }
    }
}

impl<T, F, R> Drop for With<T, F, R> {
    fn drop(&mut self) {
        if let Stage::Asked(answer) = &self.stage {
            // The waker or result is dropped with no lock held.
            let before = mem::replace(&mut *answer.progress(), Progress::Over);
            drop(before);
        }
    }
}

impl<T, F, R> fmt::Debug for With<T, F, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("With")
    }
}

/// Calls `ask` with a value that was kept as a `T`.
fn call<T: 'static, R>(ask: impl FnOnce(&T) -> R, value: &dyn Any) -> R {
    match value.downcast_ref() {
        Some(value) => ask(value),
        None => unreachable!("the key of a `LoopCell<T>` is that of a `T`"),
    }
}

/// Carries a result from the loop to the task.
struct Answer<R>(Mutex<Progress<R>>);

enum Progress<R> {
    Waiting(Waker),
    Done(thread::Result<R>),
    /// The result was taken, will not be taken, or will not come.
    Over,
}

impl<R> Answer<R> {
    fn is_unwanted(&self) -> bool {
        matches!(*self.progress(), Progress::Over)
    }

    /// Ends the waiting, if the asker still waits.
    fn end(&self, progress: Progress<R>) {
        let mut current = self.progress();
        let before = match *current {
            Progress::Waiting(_) => mem::replace(&mut *current, progress),
            _ => progress,
        };
        // Results are dropped and wakers are called with no lock held.
        drop(current);
        if let Progress::Waiting(waker) = before {
            waker.wake();
        }
    }

    /// Returns the result, or `None` if none will come.
    fn poll(&self, cx: &mut Context<'_>) -> Poll<Option<thread::Result<R>>> {
        let mut progress = self.progress();
        let next = match &*progress {
            Progress::Waiting(waker) if waker.will_wake(cx.waker()) => return Poll::Pending,
            Progress::Waiting(_) => Progress::Waiting(cx.waker().clone()),
            Progress::Done(_) | Progress::Over => Progress::Over,
        };
        let before = mem::replace(&mut *progress, next);
        drop(progress);
        match before {
            Progress::Waiting(_) => Poll::Pending,
            Progress::Done(result) => Poll::Ready(Some(result)),
            Progress::Over => Poll::Ready(None),
        }
    }

    fn progress(&self) -> MutexGuard<'_, Progress<R>> {
        lock(&self.0)
    }
}

/// The loop's duty to answer. If it is dropped without an answer, the task learns that none will come.
struct Owed<R>(Arc<Answer<R>>);

impl<R> Drop for Owed<R> {
    fn drop(&mut self) {
        self.0.end(Progress::Over);
    }
}
