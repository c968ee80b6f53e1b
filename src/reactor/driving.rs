//! Driving: the built-in loop, single turns, hosts, and how they end.
use std::future::Future;
use std::time::Duration;

use super::Reactor;
use crate::{Host, Id, Result, Threading, Turn};

/// # Driving
///
/// One driver at a time can drive a loop. If a callback, another thread or a host is driving it already, all
/// of these return [`AlreadyDriven`](crate::ErrorKind::AlreadyDriven). If the kernel fails, they return the
/// operating system's error. Nothing is lost then, and the caller can try again.
impl<M: Threading> Reactor<M> {
    /// Runs the built-in loop until nothing is left that could call back, or until [`stop`](Self::stop)
    /// is called.
    ///
    /// Handlers with an interest, timers and posts can call back, unless
    /// [`set_referenced`](Self::set_referenced) has excluded them. A [`Remote`](crate::Remote) or another handle
    /// does not keep the loop going. Hooks and paused handlers do not either. A [`Guest`](crate::Guest) does while it
    /// [is alive](crate::Guest::is_alive). To run until `stop` in any
    /// case, use [`run_forever`](Self::run_forever).
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let reactor = oneloop::Reactor::new()?;
    /// reactor.run()?; // returns at once: nothing is registered
    ///
    /// reactor.call_later(Duration::from_millis(1), || println!("done"))?;
    /// reactor.run()?; // returns then
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Returns [`Closed`](crate::ErrorKind::Closed) if [`close`](Self::close) is called, or was called before.
    ///
    /// # Panics
    ///
    /// Panics if a callback does. The loop removes a handler, timer or hook that panics. Everything else
    /// stays due, and driving can go on.
    pub fn run(&self) -> Result<()> {
        self.core.run("run", true)
    }

    /// Runs the built-in loop until [`stop`](Self::stop) is called.
    ///
    /// It also waits when nothing is left that could call back, because another thread may still post.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let reactor = oneloop::Reactor::new()?;
    /// let (remote, stopper) = (reactor.remote(), reactor.remote());
    /// std::thread::spawn(move || remote.call_soon(move || stopper.stop()));
    /// reactor.run_forever()?;
    /// assert_eq!(reactor.stats().post_calls, 1);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Returns an error in the same cases as [`run`](Self::run).
    ///
    /// # Panics
    ///
    /// Panics if a callback does, like [`run`](Self::run).
    pub fn run_forever(&self) -> Result<()> {
        self.core.run("run_forever", false)
    }

    /// Takes one turn: waits, then calls the handlers that are ready, the due timers, and the posts.
    ///
    /// The turn waits for up to `timeout`, or without a limit for `None`. It also waits if nothing is left that
    /// could call back, because another thread may post. After a [`stop`](Self::stop) it returns at once, and
    /// its result says so.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let reactor = oneloop::Reactor::new()?;
    /// reactor.call_soon(|| println!("called in the turn"))?;
    /// let turn = reactor.turn(Some(Duration::ZERO))?;
    /// assert_eq!(turn.called, 1);
    /// assert!(!turn.stopped);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Returns an error in the same cases as [`run`](Self::run).
    ///
    /// # Panics
    ///
    /// Panics if a callback does, like [`run`](Self::run).
    #[doc(alias = "poll_once")]
    pub fn turn(&self, timeout: Option<Duration>) -> Result<Turn> {
        self.core.turn(timeout)
    }

    /// Takes one turn like [`turn`](Self::turn), unless the loop has another driver. Then it returns `None` at once.
    ///
    /// The turn gives way: a driver that begins meanwhile waits until the turn ends, which is at once if it waits
    /// itself. All other drivers return an error then. A thread that needs the loop's progress can thus drive while
    /// no other does, without being in their way.
    ///
    /// ```
    /// use oneloop::{Action, Reactor};
    /// use std::time::Duration;
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let reactor = Reactor::new()?;
    /// let helper = std::thread::spawn({
    ///     let reactor = reactor.clone();
    ///     move || reactor.turn_if_free(None).map(|turn| turn.is_some())
    /// });
    /// reactor.call_later(Duration::from_millis(1), || println!("called by either"))?;
    /// reactor.run()?; // is no error, although the helper may wait in its turn
    /// # reactor.wake();
    /// # helper.join().unwrap()?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Returns the errors of [`turn`](Self::turn), but not that the loop has a driver.
    ///
    /// # Panics
    ///
    /// Panics if a callback does, like [`run`](Self::run).
    pub fn turn_if_free(&self, timeout: Option<Duration>) -> Result<Option<Turn>> {
        self.core.turn_if_free(timeout)
    }

    /// Runs the built-in loop and polls `future`, until the future is ready.
    ///
    /// It also waits when nothing is left that could call back.
    ///
    /// ```
    /// # #[cfg(feature = "futures")]
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use oneloop::{Reactor, futures::Timer};
    /// use std::time::Duration;
    ///
    /// let reactor = Reactor::new()?;
    /// reactor.call_soon(|| println!("called beside the future"))?;
    /// let answer = reactor.block_on(async {
    ///     Timer::after(&reactor, Duration::from_millis(1)).await;
    ///     42
    /// })?;
    /// assert_eq!(answer, 42);
    /// # Ok(())
    /// # }
    /// # #[cfg(not(feature = "futures"))]
    /// # fn main() {}
    /// ```
    ///
    /// # Errors
    ///
    /// Returns [`Stopped`](crate::ErrorKind::Stopped) if [`stop`](Self::stop) is called, or if it was called
    /// before and the future is not ready at once. To continue with the future later, pass `&mut future`.
    /// Returns [`Closed`](crate::ErrorKind::Closed) if [`close`](Self::close) is called.
    ///
    /// # Panics
    ///
    /// Panics if the future or a callback does. The loop removes a handler, timer or hook that panics.
    /// Everything else stays due, and driving can go on.
    pub fn block_on<F: Future>(&self, future: F) -> Result<F::Output> {
        self.core.block_on(future)
    }

    /// Claims the loop for a host. `name` appears in error messages. [`Host`] describes what a host does.
    ///
    /// # Errors
    ///
    /// Returns [`AlreadyDriven`](crate::ErrorKind::AlreadyDriven) if another host has claimed the loop.
    pub fn host(&self, name: &'static str) -> Result<Host<M>> {
        Host::new(self.clone(), name)
    }

    /// Returns the descriptor that is readable while the loop has something to do: I/O, a due timer or a post.
    ///
    /// It is for programs that only look, and take turns by [`turn`](Self::turn). A host watches the descriptor of
    /// its [`Host`], which also tells it when to stop watching. Without a host, the loop may put another file
    /// under the number. It does so when a descriptor was closed that it still watches and a duplicate keeps open.
    /// A program that passes the number to poll(2) with each call does not notice that.
    ///
    /// ```
    /// use rustix::event::{PollFd, PollFlags, poll};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let reactor = oneloop::Reactor::new()?;
    /// reactor.call_soon(|| println!("called"))?;
    /// let fd = reactor.watched_fd();
    /// assert_eq!(poll(&mut [PollFd::new(&fd, PollFlags::IN)], None)?, 1);
    /// reactor.turn(Some(std::time::Duration::ZERO))?;
    /// # Ok(())
    /// # }
    /// ```
    #[cfg(pollable)]
    pub fn watched_fd(&self) -> crate::os::BorrowedFd<'_> {
        self.core.as_fd()
    }

    /// Ends [`run`](Self::run) or any other driver, after the callback that is running.
    ///
    /// Callbacks that were not called stay due. If `stop` is called while the loop is not being driven, the
    /// next driving call returns at once.
    pub fn stop(&self) {
        self.core.inbox.stop();
    }

    /// Ends every driver and removes all that is registered.
    ///
    /// The driver ends after the callback that is running, with an error of the kind
    /// [`Closed`](crate::ErrorKind::Closed). Later calls return the same error.
    pub fn close(&self) {
        self.core.close();
    }

    /// Makes the loop take a turn, in which it also asks the [hooks](Self::add_hook). Other threads use
    /// [`Remote::wake`](crate::Remote::wake).
    #[doc(alias = "notify")]
    pub fn wake(&self) {
        self.core.inbox.wake();
    }

    /// Decides whether a handler, a timer or a pair of hooks keeps [`run`](Self::run) going. At first each
    /// handler and timer does, and no pair of hooks.
    ///
    /// The loop still calls those that do not, as long as something else keeps the loop going.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let reactor = oneloop::Reactor::new()?;
    /// let tick = reactor.call_every(Duration::from_millis(1), || println!("still at it"))?;
    /// reactor.set_referenced(tick, false)?;
    /// reactor.call_later(Duration::from_millis(5), || println!("done"))?;
    /// reactor.run()?; // returns then
    /// assert_eq!(reactor.stats().pending_timers, 1);
    ///
    /// reactor.set_referenced(tick, true)?;
    /// assert!(reactor.is_alive());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Returns an error if the id is unknown. Returns [`Unsupported`](crate::ErrorKind::Unsupported) for
    /// posts.
    #[doc(alias = "ref")]
    #[doc(alias = "unref")]
    pub fn set_referenced(&self, id: impl Into<Id>, is_referenced: bool) -> Result<()> {
        self.core.set_referenced(id.into(), is_referenced)
    }

    /// Returns true if anything is left that could call back. Otherwise [`run`](Self::run) returns.
    ///
    /// Handlers with an interest, timers and posts count, unless [`set_referenced`](Self::set_referenced) has
    /// excluded them. Inside a callback, the callback itself counts as long as it is registered. A post that
    /// is running does not count.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let reactor = oneloop::Reactor::new()?;
    /// assert!(!reactor.is_alive());
    /// reactor.call_soon(|| {})?;
    /// assert!(reactor.is_alive());
    /// reactor.run()?;
    /// assert!(!reactor.is_alive());
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "uv_loop_alive")]
    pub fn is_alive(&self) -> bool {
        self.core.is_alive()
    }
}
