//! Timers: callbacks that the loop calls at a time.
use std::panic::Location;
use std::time::{Duration, Instant, SystemTime};

use super::Reactor;
use crate::engine::{Fired, When, once, repeated};
use crate::{IntoAction, IntoResult, MaybeSend, Result, Threading, TimerId};

/// # Timers
///
/// Timers run on the monotonic clock, so setting the system clock does not affect them. They never fire
/// early, and they fire in the order of their deadlines.
impl<M: Threading> Reactor<M> {
    /// Calls `callback` once, at `deadline`.
    ///
    /// If the deadline has passed, the timer fires in the next turn. A timer that a handler sets fires in the
    /// current turn, because timers follow handlers.
    ///
    /// Until it fires, the timer can be [reset](Self::reset_timer) and cancelled. It no longer exists
    /// in its own callback. [`add_timer`](Self::add_timer) makes a timer that can fire again.
    ///
    /// # Errors
    ///
    /// Returns an error if the loop is closed, or belongs to a parent process.
    #[track_caller]
    pub fn call_at<F, R>(&self, deadline: Instant, callback: F) -> Result<TimerId>
    where
        F: FnOnce() -> R + MaybeSend<M> + 'static,
        R: IntoResult,
    {
        self.call_once("call_at", When::At(deadline), callback)
    }

    /// Calls `callback` once, after `delay`.
    ///
    /// A delay of zero means the next turn, or the current turn if a handler sets the timer. A delay of more
    /// than 480 years means never, and does not keep [`run`](Self::run) going.
    ///
    /// Until it fires, the timer can be [reset](Self::reset_timer) and cancelled. It no longer exists
    /// in its own callback. [`add_timer`](Self::add_timer) makes a timer that can fire again.
    ///
    /// ```
    /// use std::{sync::mpsc::channel, time::Duration};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let reactor = oneloop::Reactor::new()?;
    /// let (sender, receiver) = channel();
    /// let text = String::from("given away");
    /// reactor.call_later(Duration::from_millis(1), move || sender.send(text))?;
    /// reactor.run()?;
    /// assert_eq!(receiver.recv()?, "given away");
    /// # Ok(())
    /// # }
    /// ```
    /// # Errors
    ///
    /// Returns an error in the same cases as [`call_at`](Self::call_at).
    #[doc(alias = "timeout")]
    #[track_caller]
    pub fn call_later<F, R>(&self, delay: Duration, callback: F) -> Result<TimerId>
    where
        F: FnOnce() -> R + MaybeSend<M> + 'static,
        R: IntoResult,
    {
        self.call_once("call_later", When::After(delay), callback)
    }

    /// Adds a timer that sleeps until [`reset_timer`](Self::reset_timer) gives it a deadline.
    ///
    /// When the timer has fired, it sleeps until it is reset again. Its own callback may reset it. The timer
    /// exists until it is cancelled, or until its callback returns [`Action::Remove`](crate::Action::Remove). While it sleeps, it does
    /// not keep [`run`](Self::run) going. A reset to more than 480 years from now puts it to sleep.
    ///
    /// A reset costs much less than cancelling one timer and adding another. One use is a limit to
    /// the silence of a connection:
    ///
    /// ```
    /// use oneloop::{Action, Interest, Mode, Reactor};
    /// use std::{io::Read, os::unix::net::UnixStream, time::Duration};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use std::io::Write;
    /// const LIMIT: Duration = Duration::from_millis(5);
    ///
    /// let reactor = Reactor::new()?;
    /// let (ours, mut theirs) = UnixStream::pair()?;
    /// let silence = reactor.add_timer(|| Reactor::current().unwrap().stop())?;
    /// reactor.reset_timer_after(silence, LIMIT)?;
    /// let read = move |stream: &mut UnixStream, _| -> Result<(), Box<dyn std::error::Error>> {
    ///     stream.read(&mut [0; 100])?;
    ///     Ok(Reactor::current()?.reset_timer_after(silence, LIMIT)?)
    /// };
    /// reactor.add_handler(ours, Interest::READABLE, Mode::Level, read)?;
    /// # theirs.write_all(b"a message")?;
    /// reactor.run()?; // until nothing has come for so long
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Returns an error in the same cases as [`call_at`](Self::call_at).
    #[track_caller]
    pub fn add_timer<F, A>(&self, callback: F) -> Result<TimerId>
    where
        F: FnMut() -> A + MaybeSend<M> + 'static,
        A: IntoAction,
    {
        self.call_repeatedly("add_timer", When::After(Duration::MAX), callback)
    }

    /// Calls `callback` every `period`, for the first time after one period.
    ///
    /// The timer keeps its phase and skips the calls that it missed because the loop was busy. A period of
    /// zero means every turn. The timer ends when its callback returns [`Action::Remove`](crate::Action::Remove) or an error. It goes
    /// on for `()` and every other result.
    ///
    /// ```
    /// use oneloop::{Action, Reactor};
    /// use std::time::Duration;
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let reactor = Reactor::new()?;
    /// let mut calls = 0;
    /// reactor.call_every(Duration::from_millis(1), move || {
    ///     calls += 1;
    ///     if calls == 3 { Action::Remove } else { Action::Continue }
    /// })?;
    /// reactor.run()?; // returns when the timer is gone
    /// assert_eq!(reactor.stats().timer_calls, 3);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Returns an error in the same cases as [`call_at`](Self::call_at).
    #[track_caller]
    pub fn call_every<F, A>(&self, period: Duration, callback: F) -> Result<TimerId>
    where
        F: FnMut() -> A + MaybeSend<M> + 'static,
        A: IntoAction,
    {
        let now = self.now();
        let when = match now.checked_add(period) {
            Some(start) => When::Every(start, period),
            // `Instant` cannot hold the first deadline, so the timer never fires.
            None => When::After(period),
        };
        self.call_repeatedly("call_every", when, callback)
    }

    /// Calls `callback` once, when the system clock shows `time`.
    ///
    /// If the time has passed, the timer fires as soon as one of [`call_at`](Self::call_at) would. The timer
    /// follows a clock that is set, and never fires while the clock shows less.
    ///
    /// On Linux the kernel reports when the clock was set, or when the machine has slept. Elsewhere the loop
    /// reads the clock only when the timer is due by its earlier setting. A clock that was set forward is
    /// noticed only then.
    ///
    /// If [`reset_timer`](Self::reset_timer) resets the timer before it fires, it becomes a timer on the
    /// monotonic clock.
    ///
    /// # Errors
    ///
    /// Returns an error in the same cases as [`call_at`](Self::call_at). The first such timer of a loop needs a
    /// descriptor, and returns the operating system's error if none is left.
    #[track_caller]
    pub fn call_at_system_time<F, R>(&self, time: SystemTime, callback: F) -> Result<TimerId>
    where
        F: FnOnce() -> R + MaybeSend<M> + 'static,
        R: IntoResult,
    {
        self.call_once("call_at_system_time", When::System(time), callback)
    }

    /// Moves a timer to `deadline`, forward or back.
    ///
    /// A periodic timer continues from there. In the timer's own callback, the reset takes precedence over the
    /// period. If another thread is driving, a call may be running there. The timer then fires once more.
    ///
    /// Compute the deadline from [`now`](Self::now), which is also right with a
    /// [`TestClock`](crate::TestClock).
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let reactor = oneloop::Reactor::new()?;
    /// let limit = Duration::from_millis(5);
    /// let idle = reactor.call_later(limit, || oneloop::Reactor::current().unwrap().stop())?;
    ///
    /// let later = reactor.now() + 2 * limit;
    /// reactor.reset_timer(idle, later)?; // something has happened
    /// reactor.run()?;
    /// assert!(reactor.now() >= later);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Returns an error if the timer was cancelled or has fired.
    pub fn reset_timer(&self, id: TimerId, deadline: Instant) -> Result<()> {
        self.core.reset_timer(id.0, When::At(deadline))
    }

    /// Moves a timer to `delay` from now, like [`reset_timer`](Self::reset_timer).
    ///
    /// # Errors
    ///
    /// Returns an error if the timer was cancelled or has fired.
    pub fn reset_timer_after(&self, id: TimerId, delay: Duration) -> Result<()> {
        self.core.reset_timer(id.0, When::After(delay))
    }

    /// Moves a timer to a time of the system clock, which it follows like a timer of
    /// [`call_at_system_time`](Self::call_at_system_time).
    ///
    /// A periodic timer continues from there, by the monotonic clock.
    ///
    /// # Errors
    ///
    /// Returns an error if the timer was cancelled or has fired. The first such timer of a loop needs a
    /// descriptor, and returns the operating system's error if none is left.
    pub fn reset_timer_to_system_time(&self, id: TimerId, time: SystemTime) -> Result<()> {
        self.core.reset_timer(id.0, When::System(time))
    }

    /// Cancels a timer and drops its callback. If another thread is driving, a call may be running there.
    ///
    /// # Errors
    ///
    /// Returns an error if the timer was cancelled or has fired.
    pub fn cancel_timer(&self, id: TimerId) -> Result<()> {
        self.core.cancel_timer(id.0)
    }

    /// Returns the deadline of the next timer. Hosts do not need it, because timers show on the descriptor.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.core.next_deadline()
    }

    /// Returns the time of the loop's clock: [`Instant::now`], or the time of its
    /// [`TestClock`](crate::TestClock).
    pub fn now(&self) -> Instant {
        self.core.clock.instant()
    }

    #[track_caller]
    fn call_once<F, R>(&self, call: &'static str, when: When, callback: F) -> Result<TimerId>
    where
        F: FnOnce() -> R + 'static,
        R: IntoResult,
    {
        let callback = once(move || callback().into_result());
        let location = Location::caller();
        let added = (self.core).add_timer(call, when, Fired::Gone, location, callback);
        added.map(TimerId)
    }

    #[track_caller]
    fn call_repeatedly<F, A>(
        &self,
        call: &'static str,
        when: When,
        mut callback: F,
    ) -> Result<TimerId>
    where
        F: FnMut() -> A + 'static,
        A: IntoAction,
    {
        let callback = repeated(move || callback().into_action());
        let location = Location::caller();
        let added = (self.core).add_timer(call, when, Fired::Kept, location, callback);
        added.map(TimerId)
    }
}
