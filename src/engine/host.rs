//! The steps that a host is told to take.

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

/// Result of a host's turns.
#[derive(Debug)]
pub(crate) struct Turns {
    pub(crate) called: usize,
    pub(crate) next: Next,
}

/// Next action of a host after its turns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    /// End: `stop` was called, or nothing is left.
    End,
    /// Stop watching, and turn again.
    Unwatch,
    /// Sleep.
    Sleep,
    /// Let the task run that a callback has woken, and turn again. Before it has read what is there, another
    /// turn would find the same.
    LetTaskRun,
    /// Let others run, and turn again.
    Yield,
}

impl Core {
    pub(crate) fn claim_host(self: &Arc<Self>, name: &'static str) -> Result<()> {
        // Fails if a driver is at work, or there is a host already.
        let driving = self.drive("host", None)?;
        self.state().host = Some(Claim::new(name));
        drop(driving);
        Ok(())
    }

    pub(crate) fn release_host(&self) {
        if let Some(mut state) = self.try_state() {
            state.sleep.is_watched = false;
            state.host = None;
        }
    }

    /// From now on the host's turns end when nothing is left that could call back.
    pub(crate) fn exit_when_empty(&self) {
        if let Some(mut state) = self.try_state() {
            if let Some(claim) = &mut state.host {
                claim.exits_when_empty = true;
            }
        }
    }

    /// The host has begun to watch the descriptor, or has stopped.
    #[cfg(pollable)]
    pub(crate) fn host_watches(&self, watches: bool) {
        self.set_stage(if watches {
            Stage::Watching
        } else {
            Stage::Unwatched
        });
    }

    fn set_stage(&self, stage: Stage) {
        if let Some(mut state) = self.try_state() {
            if let Some(claim) = &mut state.host {
                claim.stage = stage;
            }
        }
    }

    /// One step of a host: see [`Step`].
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
                // A host on poll(2), which has nothing to do for that, may look at the descriptor first.
                self.inbox.wake();
                (Stage::ToldToUnwatch { ends: true }, Step::Unwatch)
            }
            Next::End => (Stage::Unwatched, Step::Done),
            Next::Unwatch => (Stage::ToldToUnwatch { ends: false }, Step::Unwatch),
            // The step after that finds what came meanwhile, whether the host saw an edge of it or not.
            Next::Sleep if !is_watching => (Stage::Watching, Step::Watch),
            Next::Sleep => return Ok(Step::Sleep),
            Next::LetTaskRun | Next::Yield => return Ok(Step::Yield),
        };
        self.set_stage(stage);
        Ok(step)
    }

    /// Turns without waiting, until the host has to do something or about `budget` callbacks were called.
    pub(crate) fn host_turns(self: &Arc<Self>, host: &'static str, budget: usize) -> Result<Turns> {
        let mut driving = self.drive(host, Some(host))?;
        let budget = budget.max(1);
        driving.most = budget;
        let mut state = self.state();
        driving.rebuild_if_unwatched(&mut state);
        let mut turn = Turn::default();
        let mut turns = Turns {
            called: 0,
            next: Next::Yield,
        };
        let mut spent = 0;
        while turns.next == Next::Yield && spent < budget {
            let mut is_over = false;
            if driving.seems_over(&state) {
                (state, is_over) = driving.is_over(state)?;
            }
            if is_over {
                turns.next = Next::End;
                break;
            }
            state = driving.turn(state, NO_WAIT, &mut turn)?;
            turns.called += turn.called;
            // A turn that calls nothing has its cost, too.
            spent += turn.called.max(1);
            // After all callbacks, so not when a turn is broken off.
            let ended = !turn.stopped && !driving.is_cut();
            let mut idle = false;
            if ended && (turn.idle || spent >= budget) {
                drop(state);
                idle = driving.rest()? && turn.idle;
                state = self.state();
            }
            let woke = self.inbox.take_woken();
            if driving.seems_over(&state) {
                (state, is_over) = driving.is_over(state)?;
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
        // Before `driving`, whose drop takes the lock.
        drop(state);
        if closed {
            Err(Error::new(host, Cause::Closed))
        } else {
            Ok(turns)
        }
    }
}

impl Driver<'_> {
    /// Returns true if nothing is left that could call back, unless a hook knows better, and the host ends then.
    fn seems_over(&self, state: &State) -> bool {
        let host = state.host.as_ref();
        host.is_some_and(|host| host.exits_when_empty) && !self.is_alive(state)
    }

    /// Puts a fresh set in the place of a stale one, which the host does not watch any more. If the kernel
    /// refuses, for want of descriptors, later events ask for it again.
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
