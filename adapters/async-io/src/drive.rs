use std::fmt;
use std::future::Future;
use std::io;
use std::mem::{forget, replace};
use std::pin::Pin;
use std::task::{Context, Poll};

use async_io::Async;
use oneloop::{ExpectedHost, Host, Reactor, Threading};
use pin_project::pin_project;

/// After about how many callbacks async-io's own tasks and I/O get their turn. One would be
/// fairest, and would cost half of the speed of a busy loop.
const BUDGET: usize = 128;

/// Drives `reactor` inside async-io until somebody calls [`Reactor::stop`].
///
/// It ends on that or on an error, and never because nothing is left that could call back, as
/// [`Reactor::run`] does. A `stop` that came before ends it at once, as it does `run`.
///
/// Spawn it on any executor, or await it beside other futures; for a
/// [`LocalReactor`](oneloop::LocalReactor), which is not `Send`, on a local one. Dropping the future
/// loses nothing: the reactor can be driven on, here or elsewhere.
///
/// Hooks of the reactor ([`Reactor::add_hook`]) are asked after its turns, and other tasks run after that.
/// Nothing tells before async-io sleeps: a task that uses the library of a hook has to call
/// [`Reactor::wake`] after that.
///
/// # Errors
///
/// If something else drives the reactor already, or the kernel fails. The error has a [`oneloop::Error`]
/// inside, and hence no code of its own. [`oneloop::Error::of`] finds it, with the call that failed and the
/// system's code; there is an example.
///
/// # Panics
///
/// If a callback does. Drive anew to go on.
pub fn drive<M: Threading>(reactor: &Reactor<M>) -> Drive<M> {
    Drive {
        state: State::New(reactor.expect_host()),
    }
}

/// The future that [`drive`] makes.
#[must_use = "a reactor is driven only while this is polled"]
#[pin_project]
pub struct Drive<M: Threading> {
    state: State<M>,
}

enum State<M: Threading> {
    New(ExpectedHost<M>),
    /// More to do than one poll allows. The executor comes back by itself, and async-io is not
    /// bothered with what happens on the descriptor meanwhile.
    Busy(Host<M>),
    /// Nothing to do until the descriptor says so. In this order, in which they are dropped: it is
    /// not watched any more when the next host may come.
    Idle(Watched<M>, Host<M>),
    /// A task was woken, which the executor is to run before the next turn.
    Woke(Watched<M>, Host<M>),
    Done,
}

impl<M: Threading> Future for Drive<M> {
    type Output = io::Result<()>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let state = self.project().state;
        loop {
            // An error on the way leaves it done, and the reactor to others.
            match replace(state, State::Done) {
                State::New(expected) => *state = State::Busy(expected.claim("async-io")?),
                State::Busy(mut host) => {
                    let turn = host.turn(BUDGET)?;
                    if turn.stopped {
                        return Poll::Ready(Ok(()));
                    }
                    if turn.needs_rebuild {
                        host.rebuild()?;
                    }
                    if !turn.idle {
                        *state = State::Busy(host);
                        return yield_now(cx);
                    }
                    // It is only ever polled, so that its O_NONBLOCK does not matter.
                    let watched = Async::new_nonblocking(host.reactor().clone())?;
                    *state = State::Idle(Watched(Some(watched)), host);
                }
                State::Idle(watched, host) => {
                    // Looks at the level, so that what has come since the last turn counts.
                    if watched.poll_readable(cx)?.is_pending() {
                        *state = State::Idle(watched, host);
                        return Poll::Pending;
                    }
                    *state = State::Woke(watched, host);
                }
                State::Woke(watched, mut host) => {
                    let turn = host.turn(BUDGET)?;
                    if turn.stopped {
                        return Poll::Ready(Ok(()));
                    }
                    if turn.idle && !turn.needs_rebuild {
                        *state = State::Idle(watched, host);
                        continue;
                    }
                    if turn.woke && !turn.needs_rebuild {
                        *state = State::Woke(watched, host);
                        return yield_now(cx);
                    }
                    drop(watched);
                    if turn.needs_rebuild {
                        host.rebuild()?;
                    }
                    *state = State::Busy(host);
                    return yield_now(cx);
                }
                State::Done => return Poll::Ready(Ok(())),
            }
        }
    }
}

/// Comes back after the executor's other tasks.
fn yield_now<T>(cx: &mut Context<'_>) -> Poll<T> {
    cx.waker().wake_by_ref();
    Poll::Pending
}

/// The loop while async-io watches its descriptor, which ends when this is dropped.
struct Watched<M: Threading>(Option<Async<Reactor<M>>>);

impl<M: Threading> Watched<M> {
    fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &self.0 {
            Some(watched) => watched.poll_readable(cx),
            None => Poll::Pending,
        }
    }
}

impl<M: Threading> Drop for Watched<M> {
    fn drop(&mut self) {
        match self.0.take() {
            // What async-io has told the kernel is the parent's, who must not lose it.
            Some(watched) if watched.get_ref().is_forked() => forget(watched),
            watched => drop(watched),
        }
    }
}

impl<M: Threading> fmt::Debug for Drive<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Drive")
    }
}
