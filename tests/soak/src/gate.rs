//! Threads that work while the gate is open, and rest while it is not.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::{io, mem};

use crate::{Soak, lock};

#[derive(Default)]
pub struct Gate {
    open: AtomicBool,
    state: Mutex<State>,
    changed: Condvar,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

#[derive(Default)]
struct State {
    ended: bool,
    workers: usize,
    resting: usize,
}

impl Gate {
    /// Whether there is to be more work.
    pub fn is_open(&self) -> bool {
        self.open.load(Ordering::Relaxed)
    }

    pub fn open(&self) {
        let _state = lock(&self.state);
        self.open.store(true, Ordering::Relaxed);
        self.changed.notify_all();
    }

    pub fn close(&self) {
        self.open.store(false, Ordering::Relaxed);
    }

    /// Whether all workers rest.
    pub fn is_quiet(&self) -> bool {
        let state = lock(&self.state);
        state.resting == state.workers
    }

    /// Returns when all workers are gone.
    pub fn end(&self) {
        lock(&self.state).ended = true;
        self.changed.notify_all();
        for thread in mem::take(&mut *lock(&self.threads)) {
            // One that has panicked has said so.
            let _ = thread.join();
        }
    }

    /// Rests until the gate is open. False when it is over.
    fn pass(&self) -> bool {
        if self.is_open() {
            return true;
        }
        let mut state = lock(&self.state);
        state.resting += 1;
        while !self.is_open() && !state.ended {
            state = self
                .changed
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
        state.resting -= 1;
        !state.ended
    }
}

/// A thread that does `step` over and over while the gate is open.
pub fn work(
    soak: &Arc<Soak>,
    name: &str,
    mut step: impl FnMut(&Arc<Soak>) + Send + 'static,
) -> io::Result<()> {
    let worker = soak.clone();
    lock(&soak.gate.state).workers += 1;
    let thread = thread::Builder::new().name(name.into()).spawn(move || {
        while worker.gate.pass() {
            step(&worker);
        }
    })?;
    lock(&soak.gate.threads).push(thread);
    Ok(())
}
