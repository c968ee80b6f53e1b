//! A host's claim on the loop, and the steps it is told to take.
//!
//! A rebuild puts another set under the number of the loop's descriptor. Whatever watches the old set
//! would be deaf after that. So a claim knows whether its host watches: while it does, no one rebuilds,
//! and the host is told to stop watching first.

use std::sync::Arc;
use std::{io, mem};

use super::turn::Driver;
use super::{Core, NO_WAIT, State};
use crate::error::{Cause, failed};
use crate::poller::PollSet;
use crate::sync::atomic::Ordering;
use crate::{Error, Result, Step, Turn};

/// A host that drives, from turn to turn.
pub(super) struct Claim {
    /// For error messages.
    pub(super) name: &'static str,
    /// It ends when nothing is left that could call back.
    pub(super) exits_when_empty: bool,
    stage: Stage,
    /// The primary set is stale, and is rebuilt once the host watches no more.
    needs_rebuild: bool,
}

/// How far the host has come with what it was told.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// It does not watch the descriptor.
    Unwatched,
    /// It watches, or was told to.
    Watching,
    /// It was told to stop watching, and has done so by the time it comes back. If `ends`, it is told that
    /// it is done.
    ToldToUnwatch { ends: bool },
}

impl Claim {
    pub(super) fn new(name: &'static str) -> Claim {
        Claim {
            name,
            exits_when_empty: false,
            stage: Stage::Unwatched,
            needs_rebuild: false,
        }
    }

    /// Whether the descriptor must keep its meaning now.
    pub(super) fn watches(&self) -> bool {
        self.stage != Stage::Unwatched
    }

    pub(super) fn ask_for_rebuild(&mut self) {
        self.needs_rebuild = true;
    }
}

/// What a host's turns came to.
#[derive(Debug)]
pub(crate) struct Turns {
    pub(crate) called: usize,
    pub(crate) next: Next,
}

/// What a host is to do after its turns.
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
        // Fails if somebody is in the middle of driving, or is a host already.
        let driving = self.drive("host", None)?;
        self.state().host = Some(Claim::new(name));
        drop(driving);
        Ok(())
    }

    pub(crate) fn release_host(&self) {
        self.watched.store(false, Ordering::SeqCst);
        if let Some(mut state) = self.try_state() {
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
        self.set_stage(match watches {
            true => Stage::Watching,
            false => Stage::Unwatched,
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
            if driving.is_over(&state) {
                turns.next = Next::End;
                break;
            }
            state = driving.turn(state, NO_WAIT, &mut turn)?;
            turns.called += turn.called;
            // A turn that calls nobody is not for nothing.
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
            turns.next = if turn.stopped || driving.is_over(&state) {
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
        match closed {
            true => Err(Error::new(host, Cause::Closed)),
            false => Ok(turns),
        }
    }
}

impl Driver<'_> {
    /// Nothing is left that could call back, and the host ends then.
    fn is_over(&self, state: &State) -> bool {
        let exits = state
            .host
            .as_ref()
            .is_some_and(|host| host.exits_when_empty);
        exits && !self.is_alive(state)
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

    /// An error if the loop was closed meanwhile, which ends all drivers alike.
    pub(super) fn check_open(&self) -> Result<()> {
        let closed = !self.core.inbox.is_forked() && self.core.state().closed;
        match closed {
            true => Err(Error::new(self.call, Cause::Closed)),
            false => Ok(()),
        }
    }
}
