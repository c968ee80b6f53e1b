//! Waiting tasks. Each [`Async`](super::Async) has one handler, which wakes them.
//!
//! The handler is level-triggered at first, so that no readiness can be lost: the kernel reports again what
//! a task has left unread. The interest stays in the kernel's set from wait to wait. A conversation
//! therefore costs no calls of the kernel but its own reads and writes.
//!
//! The handler becomes edge-triggered, for good, when reports turn out to be in vain. A read may say that it
//! would block although the kernel reported it ready just before. Or often no task waits for a report, as
//! when tasks run on other threads. A level-triggered handler would be called without end, or would be
//! switched off and on. From then on:
//!
//! - A short read does not count as the last one, since the kernel would not report the rest again.
//! - Reports have numbers. An attempt that would block refutes the report that it knew of, and no
//!   later one.
//! - If a task waits without such an attempt, the handler is armed again, which reports what is ready now.
//!
//! A write that would block although it was reported ready is tried again after a while. No edge can
//! be relied on: a full Unix socket that others have filled gives none, and each attempt makes an edge of
//! its own. Reads are treated alike where the poller has no edges.

use std::sync::{Arc, Weak};

use super::known::{Direction, Known, REFUTED, is_fault};
use super::waiters::{Waiters, Wakers};
use crate::engine::{Core, Inbox};
use crate::id::Key;
use crate::sync::atomic::{AtomicBool, Ordering};
use crate::sync::{Mutex, MutexGuard, lock};
use crate::{Error, Event, Interest, Mode, Ready};

/// The weight of a report for which no task waits. A report for which one does takes off one.
const VAIN: u32 = 4;
/// The weight from which on reports in vain are the rule, and not an exception.
const UNHEARD: u32 = 24;

/// The readiness that is known, and the tasks that wait.
pub(super) struct Tasks {
    pub(super) known: [Known; 2],
    /// The peer has closed, or there was an error: a short read may have an end behind it.
    pub(super) ended: AtomicBool,
    /// The handler is edge-triggered.
    pub(super) edges: AtomicBool,
    pub(super) state: Mutex<State>,
}

pub(super) struct State {
    /// The interest with which the handler is registered.
    pub(super) interest: Interest,
    pub(super) ways: [Waiters; 4],
    /// Number of reports.
    pub(super) reports: usize,
    /// The weight of the reports for which no task waited; see [`VAIN`].
    pub(super) unheard: u32,
    /// The timer after which operations are tried again.
    pub(super) retry: Option<Key>,
    /// The interest that is not watched until then.
    pub(super) muted: Interest,
    /// There was an error at the last report, which may be all there was.
    pub(super) faulty: bool,
    /// The handler is gone: the loop was closed, or a waker panicked.
    pub(super) gone: bool,
}

/// The reason for which a task waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Why {
    /// It was asked whether it is ready now.
    Asked,
    /// An attempt has shown that it is not.
    Blocked,
}

impl Tasks {
    pub(super) fn new() -> Tasks {
        Tasks {
            known: [Known::new(), Known::new()],
            ended: AtomicBool::new(false),
            edges: AtomicBool::new(false),
            state: Mutex::new(State {
                interest: Interest::NONE,
                ways: Default::default(),
                reports: REFUTED + 1,
                unheard: 0,
                retry: None,
                muted: Interest::NONE,
                faulty: false,
                gone: false,
            }),
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    pub(super) fn has_edges(&self) -> bool {
        self.edges.load(Ordering::Relaxed)
    }

    /// Has the handler registered for a direction for which a task waits. If the handler is gone, the loop's
    /// error says why.
    pub(super) fn watch(
        &self,
        state: &mut State,
        direction: Direction,
        why: Why,
        core: &Core,
        key: Key,
    ) -> Result<(), Error> {
        #[cfg(feature = "tracing")]
        core.warn_if_not_driven();
        let asked = (state.interest | direction.interest()) - state.muted;
        let known = self.known.get(direction as usize);
        let is_asked = why == Why::Asked;
        // There was an error, which is all that will be reported for as long as it stays.
        let in_vain = is_asked
            && state.faulty
            && known.is_some()
            && !is_ready_beside_errors(core, key, direction);
        let arm = is_asked && self.has_edges() && !in_vain && known.is_none_or(Known::may_be_ready);
        if arm || asked != state.interest || state.gone {
            core.update_handler(key, asked)?;
            state.interest = asked;
        } else if in_vain && !self.has_edges() {
            self.use_edges(state, core, key);
        }
        if let (true, Some(known)) = (arm, known) {
            // The kernel reports now what is ready, and no other task has to ask.
            known.report.store(REFUTED, Ordering::Relaxed);
        }
        Ok(())
    }

    /// False if the poller has none.
    pub(super) fn use_edges(&self, state: &mut State, core: &Core, key: Key) -> bool {
        let used = core.set_mode(key, state.interest, Mode::Edge).is_ok();
        // Before what the kernel reports now.
        self.edges.store(used, Ordering::Relaxed);
        used
    }

    /// Asks the kernel again for the directions that were muted, if tasks wait for them.
    pub(super) fn retry(&self, core: &Core, key: Key) {
        let mut state = self.lock();
        state.retry = None;
        state.muted = Interest::NONE;
        let mut asked = state.interest;
        for direction in [Direction::Read, Direction::Write] {
            // It is asked for already, unless it was muted.
            if state.ways[direction as usize].is_awaited() {
                asked |= direction.interest();
            }
        }
        if asked != state.interest && core.update_handler(key, asked).is_ok() {
            state.interest = asked;
        }
    }

    pub(super) fn report(
        &self,
        state: &mut State,
        direction: Direction,
        told: Ready,
        wakers: &mut Wakers,
    ) {
        state.reports = state.reports.wrapping_add(1).max(REFUTED + 1);
        if let Some(known) = self.known.get(direction as usize) {
            known.report(state.reports);
        }
        let way = &mut state.ways[direction as usize];
        way.told = told;
        wakers.take(way);
    }
}

/// Returns whether a read or a write would do more than say that there is an error elsewhere. A socket's error
/// queue is such an error, which stays until the queue is read.
#[cfg(epoll)]
pub(super) fn is_ready_beside_errors(core: &Core, key: Key, direction: Direction) -> bool {
    let Ok(fd) = core.handler_fd(key) else {
        return true;
    };
    crate::poller::is_ready(fd, direction.interest())
}

/// Only Linux has such a queue.
#[cfg(not(epoll))]
pub(super) fn is_ready_beside_errors(_: &Core, _: Key, _: Direction) -> bool {
    true
}

/// The callback that is registered with the loop.
pub(super) struct Handler {
    pub(super) core: Weak<Core>,
    pub(super) inbox: Arc<Inbox>,
    pub(super) tasks: Arc<Tasks>,
}

impl Handler {
    pub(super) fn call(&self, event: Event) {
        let mut state = self.tasks.lock();
        let mut wakers = Wakers::default();
        let mut vain = Interest::NONE;
        for direction in Direction::ALL {
            if !direction.is_in(event) {
                continue;
            }
            let interest = direction.interest();
            let is_awaited = state.ways[direction as usize].is_awaited();
            if !is_awaited && state.interest.contains(interest) {
                // An edge may come while a task is busy. If the task has not looked at the edge before
                // either, it does not care.
                let known = self.tasks.known.get(direction as usize);
                let is_idle = known.is_none_or(|known| known.untried.load(Ordering::Relaxed));
                if is_idle || !self.tasks.has_edges() {
                    vain |= interest;
                }
            }
            self.tasks
                .report(&mut state, direction, event.ready(), &mut wakers);
        }
        if is_fault(event) || event.is_read_closed() {
            self.tasks.ended.store(true, Ordering::Relaxed);
        }
        state.faulty = event.is_error() && !event.is_hangup();
        if vain.is_empty() {
            state.unheard = state.unheard.saturating_sub(1);
        } else {
            state.unheard += VAIN;
            self.hush(&mut state, event.handler().0, vain);
        }
        drop(state);
        if wakers.one.is_some() {
            // A task that waits for one direction has given way for the other, too.
            for known in &self.tasks.known {
                known.budget.set_spent(0);
            }
            self.inbox.set_woken();
        }
        wakers.wake();
    }

    /// Keeps the kernel from reporting without end a direction for which no task waits.
    #[cold]
    pub(super) fn hush(&self, state: &mut State, key: Key, vain: Interest) {
        let Some(core) = self.core.upgrade() else {
            return;
        };
        let has_edges = self.tasks.has_edges();
        let is_rule = state.unheard >= UNHEARD;
        if is_rule {
            state.unheard = 0;
            if !has_edges && self.tasks.use_edges(state, &core, key) {
                return;
            }
        }
        // Edges end by themselves, most often.
        if !has_edges || is_rule {
            // The next task that waits for it asks again.
            let rest = state.interest - vain;
            if core.update_handler(key, rest).is_ok() {
                state.interest = rest;
            }
        }
    }
}

impl Drop for Handler {
    /// The loop was closed, or the handler removed. Nothing else would wake the tasks that wait.
    fn drop(&mut self) {
        // In a child process another thread may have had the lock, for ever.
        if self.inbox.is_forked() {
            return;
        }
        let mut state = self.tasks.lock();
        state.gone = true;
        let mut wakers = Wakers::default();
        for way in &mut state.ways {
            wakers.take(way);
        }
        drop(state);
        wakers.wake();
    }
}
