//! The loop's sleep: its phase, and the deadlines at which it wakes.

use std::time::Duration;
use std::{io, mem};

use super::deadline::NEVER;
use super::inbox::Inbox;
use crate::clock::Clock;
use crate::poller::Poller;

/// The kernel ends a wait of `epoll_pwait2` late by the thread's timer slack, which is 50 microseconds unless the
/// thread has set it. The alarm has no slack. It therefore ends waits that are shorter than this.
const SHORT: Duration = Duration::from_millis(10);

/// After so many waits with the same end, the alarm ends the next.
const REPEATS: u8 = 8;

pub(super) struct Sleep {
    pub(super) phase: Phase,
    /// True if a host may watch the descriptor, so that timers must show on it.
    pub(super) is_watched: bool,
    /// The deadline that the poller's alarm is set to.
    alarm: u64,
    /// The end of the last wait of the loop's own that had a timeout.
    waited: u64,
    /// The number of such waits before it with the same end.
    repeats: u8,
    /// The time until which the prepare hooks let a host sleep, if they were called after the last turn.
    pub(super) prepared: Option<u64>,
}

/// The loop's present activity, which decides how a change reaches it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// Between turns. A host may sleep and watch the descriptor.
    Resting,
    /// In the kernel, until this deadline at the latest.
    Waiting(u64),
    /// Calling callbacks. The loop looks at everything before it waits again.
    Calling,
}

impl Default for Sleep {
    fn default() -> Sleep {
        Sleep {
            phase: Phase::Resting,
            is_watched: false,
            alarm: NEVER,
            waited: NEVER,
            repeats: 0,
            prepared: None,
        }
    }
}

impl Sleep {
    /// Notes that the alarm went off and is no longer set.
    pub(super) fn alarm_rang(&mut self) {
        self.alarm = NEVER;
    }

    /// Returns true if `deadline` has not come, because the alarm goes off by then, and has not yet.
    #[inline]
    pub(super) fn is_before(&self, deadline: u64) -> bool {
        self.alarm <= deadline
    }

    /// Returns the timeout for a wait of the loop's own until `until`. `None`: the alarm ends the wait, or nothing does.
    ///
    /// A timeout costs a timer of the kernel's in each wait, and a look at the clock. An alarm costs one system call, and
    /// then nothing for as long as the end stays the same.
    #[inline]
    pub(super) fn timeout(
        &mut self,
        poller: &Poller,
        clock: &Clock,
        until: u64,
    ) -> Option<Duration> {
        if until == self.alarm {
            return None;
        }
        self.new_timeout(poller, clock, until)
    }

    #[inline(never)]
    fn new_timeout(&mut self, poller: &Poller, clock: &Clock, until: u64) -> Option<Duration> {
        let timeout = (until != NEVER).then(|| clock.until(until));
        if timeout == Some(Duration::ZERO) {
            return timeout;
        }
        let is_new = mem::replace(&mut self.waited, until) != until;
        self.repeats = if is_new { 0 } else { self.repeats + 1 };
        let is_short = timeout.is_some_and(|timeout| timeout < SHORT);
        if is_short || self.repeats == REPEATS {
            self.repeats = 0;
            // If this fails, the wait ends by its timeout, and late.
            if poller.set_alarm(timeout).is_ok() {
                self.alarm = until;
                return None;
            }
        } else if self.alarm < until && poller.set_alarm(None).is_ok() {
            // This wait must not end then.
            self.alarm = NEVER;
        }
        timeout
    }

    /// Makes a deadline show on the descriptor, if a host may watch that.
    pub(super) fn set_alarm(
        &mut self,
        poller: &Poller,
        inbox: &Inbox,
        clock: &Clock,
        deadline: u64,
    ) -> io::Result<()> {
        let next = deadline.min(self.prepared.unwrap_or(NEVER));
        if clock.is_test() {
            // A test clock wakes the loop when it is moved. Only a deadline in the past needs a wake here.
            if next <= clock.now() {
                inbox.wake();
            }
        } else if next != self.alarm {
            let delay = (next != NEVER).then(|| clock.until(next));
            poller.set_alarm(delay)?;
            self.alarm = next;
        }
        Ok(())
    }
}

#[cfg(all(test, epoll, pollable))]
mod tests {
    use std::io::Write;
    use std::os::unix::net::UnixStream;
    use std::time::Instant;

    use super::*;
    use crate::{Interest, Mode, Reactor, TimerId};

    const DELAY: Duration = Duration::from_millis(300);

    /// A reactor that has waited for a timer so often that the alarm is set to it.
    fn with_an_alarm() -> (Reactor, TimerId, Instant) {
        let reactor = Reactor::new().unwrap();
        let (a, mut b) = UnixStream::pair().unwrap();
        b.write_all(b"x").unwrap();
        let added = reactor.add_handler(a, Interest::READABLE, Mode::Level, |_, _| {});
        let start = Instant::now();
        let timer = reactor.call_later(DELAY, || {}).unwrap();
        let is_set = || reactor.core.state().sleep.alarm != NEVER;
        for _ in 0..REPEATS {
            reactor.turn(None).unwrap();
            assert!(!is_set() || start.elapsed() > DELAY - SHORT);
        }
        reactor.turn(None).unwrap();
        assert!(is_set() || start.elapsed() > DELAY - SHORT);
        reactor.remove_handler(added.unwrap()).unwrap();
        (reactor, timer, start)
    }

    #[test]
    fn an_alarm_ends_waits_whose_end_stays_the_same() {
        let (reactor, _, start) = with_an_alarm();
        reactor.run().unwrap();
        assert!(start.elapsed() >= DELAY);
    }

    #[test]
    fn an_alarm_for_a_timer_that_is_gone_ends_no_wait() {
        let (reactor, timer, _) = with_an_alarm();
        reactor.cancel_timer(timer).unwrap();
        let start = Instant::now();
        assert_eq!(reactor.turn(Some(2 * DELAY)).unwrap().called, 0);
        assert!(start.elapsed() >= 2 * DELAY);
    }
}
