use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Weak;
use std::task::{Context, Poll};

use futures_channel::oneshot::{Receiver, channel};

use crate::Curl;
use crate::driver::Driver;
use crate::easy::Request;
use crate::error::{Cause, Error};

/// A transfer as a future. [`Curl::transfer`] makes it, and it begins when it is first polled.
///
/// Any executor and thread may await it. Dropping it ends the transfer.
///
/// # Panics
///
/// Panics if it is polled after it has returned its result.
#[must_use = "a transfer does not begin before it is polled"]
pub struct Transfer<E: Request> {
    state: State<E>,
    control: Control,
}

enum State<E: Request> {
    New(Curl, E),
    Running(Receiver<Result<E, Error<E>>>),
    Over,
}

impl<E: Request> Transfer<E> {
    pub(crate) fn new(curl: Curl, easy: E) -> Transfer<E> {
        let control = curl.control();
        let state = State::New(curl, easy);
        Transfer { state, control }
    }

    /// Returns a handle that can continue the transfer when it is paused, and that can end it.
    pub fn control(&self) -> Control {
        self.control.clone()
    }
}

// Nothing in it is ever pinned.
impl<E: Request> Unpin for Transfer<E> {}

impl<E: Request> Future for Transfer<E> {
    type Output = Result<E, Error<E>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut receiver = match std::mem::replace(&mut self.state, State::Over) {
            State::New(curl, easy) => {
                let (sender, receiver) = channel();
                let done = |result| drop(sender.send(result));
                if let Err(error) = curl.start_as(self.control.key, easy, done) {
                    return Poll::Ready(Err(error));
                }
                receiver
            }
            State::Running(receiver) => receiver,
            State::Over => panic!("a transfer was polled after its end"),
        };
        match Pin::new(&mut receiver).poll(cx) {
            Poll::Ready(Ok(result)) => Poll::Ready(result),
            // The loop has dropped it.
            Poll::Ready(Err(_)) => Poll::Ready(Err(Error::new(Cause::Closed, None))),
            Poll::Pending => {
                self.state = State::Running(receiver);
                Poll::Pending
            }
        }
    }
}

impl<E: Request> Drop for Transfer<E> {
    fn drop(&mut self) {
        if let State::Running(_) = self.state {
            self.control.cancel();
        }
    }
}

impl<E: Request> fmt::Debug for Transfer<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match self.state {
            State::New(..) => "new",
            State::Running(_) => "running",
            State::Over => "over",
        };
        f.debug_tuple("Transfer").field(&state).finish()
    }
}

/// A handle that continues a paused transfer, or ends a transfer, from any thread. It does nothing if the
/// transfer is over.
#[derive(Clone)]
pub struct Control {
    pub(crate) driver: Weak<Driver>,
    pub(crate) key: usize,
}

impl Control {
    /// Continues a transfer that a callback paused, with [`WriteError::Pause`](curl::easy::WriteError::Pause)
    /// or [`ReadError::Pause`](curl::easy::ReadError::Pause). The callback is called again soon.
    pub fn unpause(&self) {
        self.post(Driver::unpause);
    }

    /// Ends a transfer, with [`Cause::Cancelled`].
    pub fn cancel(&self) {
        self.post(Driver::cancel);
    }

    fn post(&self, call: fn(&Driver, usize)) {
        if let Some(driver) = self.driver.upgrade() {
            let (key, called) = (self.key, driver.clone());
            driver.post(move || call(&called, key));
        }
    }
}

impl fmt::Debug for Control {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Control").field(&self.key).finish()
    }
}
