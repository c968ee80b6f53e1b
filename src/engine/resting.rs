//! Preparing a sleep: hooks, changes for the kernel, and the alarm.

use super::deadline::{NEVER, NO_WAIT};
use super::driver::Driver;
use super::sleep::Phase;
use super::state::State;
use super::state_lock::StateGuard;
use crate::{Error, Result};

impl<'c> Driver<'c> {
    /// Prepares the loop's own wait: calls hooks, then tells the kernel of changes. Returns the time until which the
    /// loop may sleep.
    #[inline(never)]
    pub(super) fn prepare(
        &self,
        mut state: StateGuard<'c>,
        until: u64,
    ) -> Result<(StateGuard<'c>, u64)> {
        let mut limit = NEVER;
        if !state.hooks.is_empty() {
            // A turn that does not sleep can use the hooks' answer from the end of the last turn.
            let sleeps = until != NO_WAIT && !self.has_work(&state);
            match state.sleep.prepared.take() {
                Some(answer) if !sleeps => limit = answer,
                _ => (state, limit) = self.call_prepare(state)?,
            }
        }
        self.flush(&mut state)?;
        self.core.follow_system_clock(&mut state, false);
        limit = limit.min(state.handlers.next_release());
        if self.exits_when_empty && !self.is_alive(&state) {
            // The hooks have removed what was left.
            limit = NO_WAIT;
        }
        Ok((state, limit))
    }

    fn flush(&self, state: &mut State) -> Result<()> {
        let flushed = state.handlers.flush(&self.core.poller);
        flushed.map_err(|(fd, error)| Error::os(self.call, error).with_fd(fd))
    }

    /// Calls the prepare hooks. Returns the time until which they allow a sleep.
    #[inline(never)]
    pub(super) fn call_prepare(&self, mut state: StateGuard<'c>) -> Result<(StateGuard<'c>, u64)> {
        let mut limit = NEVER;
        state = self.call_hooks(
            state,
            |hook| &mut hook.prepare,
            |prepare| limit = limit.min(prepare(&self.core.clock)),
        )?;
        Ok((state, limit))
    }

    /// Prepares a host's sleep: calls hooks, tells the kernel of changes, and sets the alarm. Returns false if the
    /// host must not sleep.
    pub(super) fn rest(&mut self) -> Result<bool> {
        let core = self.core;
        let (mut state, limit) = self.call_prepare(self.state()?)?;
        state.sleep.prepared = (!state.hooks.is_empty()).then_some(limit);
        self.flush(&mut state)?;
        if limit == NO_WAIT || self.has_work(&state) {
            return Ok(false);
        }
        state.begin(Phase::Resting);
        let set = core.set_alarm(&mut state);
        drop(state);
        set.map_err(|error| Error::os(self.call, error))?;
        self.resting = core.inbox.fall_asleep();
        Ok(self.resting)
    }

    /// Moves an eager test clock to the next deadline. There is nothing else to do.
    #[cold]
    pub(super) fn advance_clock(&self, next: u64) {
        let clock = &self.core.clock;
        if let Some(test) = clock.test().filter(|test| test.is_eager() && next != NEVER) {
            test.advance(clock.until(next));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::rc::Rc;
    use std::time::Duration;

    use crate::{Guest, Reactor, Step, TestClock, Watched};

    const MS: Duration = Duration::from_millis(1);

    /// A guest that counts in milliseconds rounds its time up, which differs whenever it is asked.
    struct Rounds;

    impl Guest for Rounds {
        fn prepare(&mut self, _: &mut Watched) -> Option<Duration> {
            Some(100 * MS)
        }
        fn turn(&mut self, _: &Watched) {}
    }

    #[test]
    fn the_end_of_a_sleep_stays_though_a_guest_rounds() {
        let clock = TestClock::new();
        let reactor = Reactor::builder().clock(clock.clone()).build().unwrap();
        reactor.add_guest("rounds", Rounds).unwrap();
        let limit_after = |time| {
            clock.advance(time);
            reactor.turn(Some(Duration::ZERO)).unwrap();
            Duration::from_nanos(reactor.core.state().sleep.prepared.unwrap())
        };
        let limit = limit_after(Duration::ZERO);
        for _ in 0..2 {
            assert_eq!(limit_after(MS / 2), limit);
        }
        // An answer that is later by more is not rounded.
        let second = limit + MS * 3 / 2;
        assert_eq!(limit_after(MS / 2), second);
        assert_eq!(limit_after(MS / 2), second);
        // At the end the guest is asked once more, and takes no turn, because its last answer was a later time.
        clock.advance(100 * MS - MS / 2);
        assert_eq!(reactor.turn(Some(Duration::ZERO)).unwrap().called, 0);
        assert_eq!(limit_after(Duration::ZERO), second + 100 * MS);
    }

    #[test]
    fn hooks_are_asked_once_for_each_sleep_of_a_host() {
        let reactor = Reactor::new_local().unwrap();
        let asked = Rc::new(Cell::new(0));
        let counted = asked.clone();
        let prepare = move || {
            counted.set(counted.get() + 1);
            None::<Duration>
        };
        reactor.add_hook(prepare, || {}).unwrap();
        let mut host = reactor.host("a test").unwrap();
        while host.step(10).unwrap() != Step::Sleep {}
        asked.set(0);
        for times in 1..4 {
            reactor.call_soon(|| {}).unwrap();
            assert_eq!(host.step(10).unwrap(), Step::Sleep);
            assert_eq!(asked.get(), times);
        }
    }
}
