use std::fmt;
use std::future::Future;
use std::io::Result;
use std::mem::{forget, replace};
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use oneloop::{ExpectedHost, Host, Reactor, Threading, Turn};
use pin_project::pin_project;
use tokio::io::Interest;
use tokio::io::unix::{AsyncFd, AsyncFdReadyMutGuard};
use tokio::task;

use crate::park::Sleep;

/// After about how many callbacks tokio's own tasks and I/O get their turn: as many as tokio lets
/// a task of its own do. One would be fairest, and would cost half of the speed of a busy loop.
const BUDGET: usize = 128;

/// Drives `reactor` inside tokio until somebody calls [`Reactor::stop`].
///
/// It ends on that or on an error, and never because nothing is left that could call back, as
/// [`Reactor::run`] does. A `stop` that came before ends it at once, as it does `run`.
///
/// Spawn it, or await it beside other futures; for a [`LocalReactor`](oneloop::LocalReactor), which
/// is not `Send`, on a `LocalSet`. Dropping the future loses nothing: the reactor can be driven
/// on, here or elsewhere. Callbacks run inside the runtime's context, so that they may spawn, and
/// outside its cooperative budget, so that tokio's channels work in them without limit.
///
/// # Hooks
///
/// Hooks of the reactor ([`Reactor::add_hook`]) are asked after its turns, and tokio's tasks run after that.
/// Build the runtime with [`before_park`](crate::before_park) if tasks use the library of a hook.
/// Otherwise they have to call [`Reactor::wake`] after each use.
///
/// # Paused time
///
/// `tokio::time::pause` has no influence on the timers of a reactor, which run on a clock of their own.
/// While the reactor sleeps, paused time leaps to the next timer of tokio's, over those of the
/// reactor. In a test, give the reactor a [`TestClock`](oneloop::TestClock) as well, and advance both
/// by the same time:
///
/// ```
/// use std::time::Duration;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let mut builder = tokio::runtime::Builder::new_current_thread();
/// # let runtime = builder.enable_all().start_paused(true).build()?;
/// # runtime.block_on(async {
/// let clock = oneloop::TestClock::new();
/// let reactor = oneloop::Reactor::builder().clock(clock.clone()).build()?;
/// let driving = tokio::spawn(oneloop_tokio::drive(&reactor));
/// let (sender, mut fired) = tokio::sync::mpsc::unbounded_channel();
/// for seconds in [10, 20] {
///     let sender = sender.clone();
///     let fire = move || sender.send(seconds).unwrap();
///     reactor.call_later(Duration::from_secs(seconds), fire)?;
/// }
/// clock.advance(Duration::from_secs(15));
/// tokio::time::advance(Duration::from_secs(15)).await;
/// assert_eq!(fired.recv().await, Some(10));
/// assert!(fired.try_recv().is_err());
/// # reactor.stop();
/// # driving.await??;
/// # Ok(()) })
/// # }
/// ```
///
/// # Errors
///
/// If something else drives the reactor already, or the kernel fails. The error has a [`oneloop::Error`]
/// inside, and hence no code of its own. [`oneloop::Error::of`] finds it, with the call that failed and the
/// system's code; there is an example.
///
/// # Panics
///
/// If a callback does; drive anew to go on. And outside a tokio runtime, or in one without an I/O
/// driver (`enable_io`).
pub fn drive<M: Threading>(reactor: &Reactor<M>) -> Drive<M> {
    Drive {
        sleep: Sleep::new(reactor),
        state: State::New(reactor.expect_host()),
        called: 0,
    }
}

/// The future that [`drive`] makes.
#[must_use = "a reactor is driven only while this is polled"]
#[pin_project]
pub struct Drive<M: Threading> {
    sleep: Sleep<M>,
    state: State<M>,
    /// How many callbacks were called since tokio has looked for I/O of its own.
    called: usize,
}

type Ready<'a, M> = AsyncFdReadyMutGuard<'a, Host<M>>;

enum State<M: Threading> {
    New(ExpectedHost<M>),
    /// More to do than one poll allows. tokio comes back without being woken, and is not bothered
    /// with what happens on the descriptor meanwhile.
    Busy(Host<M>),
    /// Nothing to do until the descriptor says so.
    Idle(Watched<M>),
    Done,
}

impl<M: Threading> Future for Drive<M> {
    type Output = Result<()>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        let this = self.project();
        let (sleep, state) = (this.sleep, this.state);
        sleep.end()?;
        loop {
            // An error on the way leaves it done, and the reactor to others.
            match replace(state, State::Done) {
                State::New(expected) => *state = State::Busy(expected.claim("tokio")?),
                State::Busy(mut host) => {
                    let turn = turns(&mut host, cx)?;
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
                    // SAFETY: the host owns the reactor, whose descriptor stays open as long as
                    // that lives, and means the same file but for `rebuild`, which is only called
                    // when it is not registered.
                    let watched =
                        unsafe { AsyncFd::register_with_interest(host, Interest::READABLE) };
                    // What has come since the last turn is reported at registration.
                    *state = State::Idle(Watched(Some(watched?)));
                }
                State::Idle(mut watched) => {
                    // The readiness is taken before the turns and cleared after they have found
                    // nothing: an event that comes between the two is newer, and tokio keeps it.
                    let Poll::Ready(ready) = watched.poll_ready(cx) else {
                        *state = State::Idle(watched);
                        sleep.begin();
                        return Poll::Pending;
                    };
                    let mut ready = ready?;
                    let turn = turns(ready.get_inner_mut(), cx)?;
                    if turn.stopped {
                        return Poll::Ready(Ok(()));
                    }
                    if turn.idle && !turn.needs_rebuild {
                        ready.clear_ready();
                        *state = State::Idle(watched);
                        continue;
                    }
                    ready.retain_ready();
                    if turn.woke && !turn.needs_rebuild {
                        *state = State::Idle(watched);
                        *this.called += turn.called;
                        if *this.called < BUDGET {
                            // The task is before us in tokio's queue.
                            cx.waker().wake_by_ref();
                            return Poll::Pending;
                        }
                        *this.called = 0;
                        return yield_now(cx);
                    }
                    let Some(mut host) = watched.into_host() else {
                        return Poll::Ready(Ok(()));
                    };
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

/// The host while tokio watches its descriptor, which ends when this is dropped.
struct Watched<M: Threading>(Option<AsyncFd<Host<M>>>);

impl<M: Threading> Watched<M> {
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<Ready<'_, M>>> {
        match &mut self.0 {
            Some(watched) => watched.poll_read_ready_mut(cx),
            None => Poll::Pending,
        }
    }

    fn into_host(mut self) -> Option<Host<M>> {
        self.0.take().map(AsyncFd::into_inner)
    }
}

impl<M: Threading> Drop for Watched<M> {
    fn drop(&mut self) {
        match self.0.take() {
            // What tokio has told the kernel is the parent's, who must not lose it.
            Some(watched) if watched.get_ref().reactor().is_forked() => forget(watched),
            watched => drop(watched),
        }
    }
}

impl<M: Threading> fmt::Debug for Drive<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Drive")
    }
}

/// Some turns, outside the cooperative budget of the task.
fn turns<M: Threading>(host: &mut Host<M>, cx: &mut Context<'_>) -> Result<Turn> {
    let mut result = Ok(Turn::default());
    let once = std::future::poll_fn(|_| {
        result = host.turn(BUDGET);
        Poll::Ready(())
    });
    let done = pin!(task::coop::unconstrained(once)).poll(cx);
    debug_assert!(done.is_ready());
    Ok(result?)
}

/// Comes back after the runtime's other tasks, and after it has looked for I/O of theirs.
fn yield_now<T>(cx: &mut Context<'_>) -> Poll<T> {
    if pin!(task::yield_now()).poll(cx).is_ready() {
        cx.waker().wake_by_ref();
    }
    Poll::Pending
}
