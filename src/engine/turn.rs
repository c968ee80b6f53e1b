//! One turn.

use super::deadline::NEVER;
use super::driver::Driver;
use super::sleep::Phase;
use super::state_lock::StateGuard;
use crate::{Priority, Result, Turn};

impl<'c> Driver<'c> {
    /// Takes one turn and reports on it in `turn`. The wait ends at `until`, at the next timer, or when the hooks
    /// say, whichever comes first.
    pub(super) fn turn(
        &mut self,
        mut state: StateGuard<'c>,
        until: u64,
        turn: &mut Turn,
    ) -> Result<StateGuard<'c>> {
        let core = self.core;
        *turn = Turn::default();
        if core.inbox.take_stop() {
            // A turn that was broken off ends here, like one that is stopped half way.
            self.turn_state.cut = None;
            turn.stopped = true;
            return Ok(state);
        }
        self.resting = false;
        state.begin(Phase::Calling);
        // A turn that was broken off continues where it was. It does not wait again.
        let cut = self.turn_state.cut.take();
        let quiet;
        let mut limit = NEVER;
        match cut {
            None => (state, quiet, limit) = self.gather(state, until)?,
            Some(_) => quiet = false,
        }
        if cut.is_some() | !state.hooks.is_empty() | core.inbox.is_signalled() {
            state = self.call_first(state, turn, cut, limit)?;
        }
        if !self.is_cut() {
            state = self.call_handlers(state, turn)?;
        }
        let posts = core.inbox.is_signalled() | core.inbox.posts.is_waiting(Priority::Idle);
        if cut.is_some() | posts | core.clock.is_test() || self.is_overdue(&mut state) {
            state = self.call_last(state, turn, cut, quiet, limit)?;
        }
        turn.stopped = core.inbox.take_stop();
        if turn.stopped {
            self.turn_state.cut = None;
        }
        turn.idle = quiet && !turn.stopped && !self.has_work(&state);
        // Another turn costs a host less than a sleep.
        if turn.idle && turn.called > 0 {
            turn.idle = !self.is_overdue(&mut state);
        }
        Ok(state)
    }
}
