//! Hosts: their claim, their turns, and the steps that they are told to take.

use std::sync::Arc;
use std::{io, mem};

use super::claim::{Claim, Stage};
use super::core::Core;
use super::deadline::NO_WAIT;
use super::driver::Driver;
use super::state::State;
use crate::error::{Cause, failed};
use crate::poller::PollSet;
use crate::{Error, Result, Step, Turn};

/// The result of a host's turns.
#[derive(Debug)]
pub(crate) struct Turns {
    pub(crate) called: usize,
    pub(crate) next: Next,
}

/// The next action of a host after its turns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    /// End: `stop` was called, or nothing is left.
    End,
    /// Stop watching, and turn again.
    Unwatch,
    /// Sleep.
    Sleep,
    /// Let the task run that a callback has woken, and turn again. Another turn before that would find the same
    /// events, because the task has not read yet.
    LetTaskRun,
    /// Let others run, and turn again.
    Yield,
}

impl Core {
    /// Claims the loop for a host. Returns an error if it has a driver or another host.
    pub(crate) fn claim_host(self: &Arc<Self>, name: &'static str) -> Result<()> {
        let _driver = self.drive("host", None)?;
        self.state().host = Some(Claim::new(name));
        Ok(())
    }

    /// Ends the claim.
    pub(crate) fn release_host(&self) {
        if let Some(mut state) = self.try_state() {
            state.sleep.is_watched = false;
            state.host = None;
        }
    }

    /// Makes the host's turns end when nothing is left that could call back.
    pub(crate) fn exit_when_empty(&self) {
        self.with_claim(|claim| claim.exits_when_empty = true);
    }

    /// Notes that the host has begun to watch the descriptor, or has stopped.
    pub(crate) fn host_watches(&self, watches: bool) {
        let stage = if watches {
            Stage::Watching
        } else {
            Stage::Unwatched
        };
        self.with_claim(|claim| claim.stage = stage);
    }

    fn with_claim(&self, change: impl FnOnce(&mut Claim)) {
        if let Some(mut state) = self.try_state() {
            state.host.as_mut().map(change);
        }
    }

    /// Takes the turns of one step, and returns the host's next action.
    pub(crate) fn step(self: &Arc<Self>, budget: usize) -> Result<Step> {
        const CALL: &str = "step";
        let mut state = self.enter(CALL)?;
        let Some(claim) = &mut state.host else {
            let error = io::Error::from_raw_os_error(libc::EINVAL);
            return Err(Error::os(
                CALL,
                failed("no host has claimed the reactor", error),
            ));
        };
        let (host, stage) = (claim.name, claim.stage);
        if let Stage::ToldToUnwatch { ends } = stage {
            claim.stage = Stage::Unwatched;
            if ends {
                return Ok(Step::Done);
            }
        }
        drop(state);
        let is_watching = stage == Stage::Watching;
        let (stage, step) = match self.host_turns(host, budget)?.next {
            Next::End if is_watching => {
                // A host on poll(2) has nothing to do at `Unwatch`, and may poll the descriptor before its next
                // step.
                self.inbox.wake();
                (Stage::ToldToUnwatch { ends: true }, Step::Unwatch)
            }
            Next::End => (Stage::Unwatched, Step::Done),
            Next::Unwatch => (Stage::ToldToUnwatch { ends: false }, Step::Unwatch),
            // The host steps again after that, and so finds what became ready before it watched.
            Next::Sleep if !is_watching => (Stage::Watching, Step::Watch),
            Next::Sleep => return Ok(Step::Sleep),
            Next::LetTaskRun | Next::Yield => return Ok(Step::Yield),
        };
        self.with_claim(|claim| claim.stage = stage);
        Ok(step)
    }

    /// Takes turns without waiting, until the host has something to do or about `budget` callbacks were called.
    pub(crate) fn host_turns(self: &Arc<Self>, host: &'static str, budget: usize) -> Result<Turns> {
        let mut driver = self.drive(host, Some(host))?;
        let budget = budget.max(1);
        driver.most = budget;
        let mut state = self.state();
        driver.rebuild_if_unwatched(&mut state);
        let mut turn = Turn::default();
        let mut turns = Turns {
            called: 0,
            next: Next::Yield,
        };
        let mut spent = 0;
        while turns.next == Next::Yield && spent < budget {
            let mut is_over = false;
            if driver.seems_over(&state) {
                (state, is_over) = driver.is_over(state)?;
            }
            if is_over {
                turns.next = Next::End;
                break;
            }
            state = driver.turn(state, NO_WAIT, &mut turn)?;
            turns.called += turn.called;
            // A turn costs something even if it calls nothing.
            spent += turn.called.max(1);
            // The hooks are asked after all callbacks of a turn, and so not if the turn was broken off.
            let ended = !turn.stopped && !driver.is_cut();
            let mut idle = false;
            if ended && (turn.idle || spent >= budget) {
                drop(state);
                idle = driver.rest()? && turn.idle;
                state = self.state();
            }
            let woke = self.inbox.take_woken();
            if driver.seems_over(&state) {
                (state, is_over) = driver.is_over(state)?;
            }
            turns.next = if turn.stopped || is_over {
                Next::End
            } else if state.host.as_ref().is_some_and(|host| host.needs_rebuild) {
                Next::Unwatch
            } else if idle {
                Next::Sleep
            } else if woke {
                Next::LetTaskRun
            } else {
                Next::Yield
            };
        }
        let closed = state.closed;
        // Unlocked first, because the drop of `driver` takes the lock.
        drop(state);
        if closed {
            Err(Error::new(host, Cause::Closed))
        } else {
            Ok(turns)
        }
    }
}

impl Driver<'_> {
    /// Returns true if the host would end because nothing is left. The hooks may still know better.
    fn seems_over(&self, state: &State) -> bool {
        let host = state.host.as_ref();
        host.is_some_and(|host| host.exits_when_empty) && !self.is_alive(state)
    }

    /// Rebuilds a stale set as soon as the host does not watch it. If no descriptors are left for that, the next
    /// unclaimed events ask for it again.
    fn rebuild_if_unwatched(&self, state: &mut State) {
        let host = state.host.as_mut().filter(|host| !host.watches());
        if host.is_some_and(|host| mem::take(&mut host.needs_rebuild)) {
            let poller = &self.core.poller;
            let _ = state.handlers.rebuild_set(poller, PollSet::Primary);
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::{Reactor, Step};

    #[test]
    fn only_a_host_that_watches_is_told_to_stop_watching_before_the_end() {
        let reactor = Reactor::new_local().unwrap();
        let mut host = reactor.host("a test").unwrap();
        reactor.stop();
        assert_eq!(host.step(10).unwrap(), Step::Done);
        assert_eq!(host.step(10).unwrap(), Step::Watch);
        reactor.stop();
        assert_eq!(host.step(10).unwrap(), Step::Unwatch);
        assert_eq!(host.step(10).unwrap(), Step::Done);
    }
}
