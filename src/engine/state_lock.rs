//! The lock of a loop's state.

use std::cell::{RefCell, RefMut};
use std::ops::{Deref, DerefMut};

use super::state::State;
use crate::sync::{Mutex, MutexGuard, lock, try_lock};

/// The state, behind a lock. A loop that stays on its thread needs none that is atomic. A timer that is set and cancelled
/// costs a quarter less without.
pub(super) enum StateLock {
    Local(RefCell<State>),
    Shared(Mutex<State>),
}

impl StateLock {
    pub(super) fn new(state: State, is_local: bool) -> StateLock {
        if is_local {
            StateLock::Local(RefCell::new(state))
        } else {
            StateLock::Shared(Mutex::new(state))
        }
    }

    #[inline(always)]
    pub(super) fn lock(&self) -> StateGuard<'_> {
        match self {
            StateLock::Local(state) => StateGuard::Local(state.borrow_mut()),
            StateLock::Shared(state) => StateGuard::Shared(lock(state)),
        }
    }

    /// Takes the lock if no thread has it.
    pub(super) fn try_lock(&self) -> Option<StateGuard<'_>> {
        match self {
            StateLock::Local(state) => state.try_borrow_mut().ok().map(StateGuard::Local),
            StateLock::Shared(state) => try_lock(state).map(StateGuard::Shared),
        }
    }
}

pub(super) enum StateGuard<'a> {
    Local(RefMut<'a, State>),
    Shared(MutexGuard<'a, State>),
}

impl Deref for StateGuard<'_> {
    type Target = State;

    #[inline(always)]
    fn deref(&self) -> &State {
        match self {
            StateGuard::Local(state) => state,
            StateGuard::Shared(state) => state,
        }
    }
}

impl DerefMut for StateGuard<'_> {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut State {
        match self {
            StateGuard::Local(state) => state,
            StateGuard::Shared(state) => state,
        }
    }
}
