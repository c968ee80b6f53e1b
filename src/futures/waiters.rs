//! Tasks that wait for one direction.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::task::{Context, Waker};

use slab::Slab;

use crate::Ready;

/// The tasks that wait for one direction.
#[derive(Default)]
pub(super) struct Waiters {
    /// The last task that polled.
    pub(super) poller: Option<Waker>,
    /// Futures. Each report takes all of them out.
    pub(super) waiters: Slab<Waker>,
    /// Number of reports, by which futures find out that they were taken out.
    pub(super) reports: u32,
    /// Readiness of the last report.
    pub(super) told: Ready,
}

impl Waiters {
    pub(super) fn is_awaited(&self) -> bool {
        self.poller.is_some() || !self.waiters.is_empty()
    }
}

/// Tasks to be woken, once no lock is held. Most often there is one.
#[derive(Default)]
pub(super) struct Wakers {
    pub(super) one: Option<Waker>,
    pub(super) more: Vec<Waker>,
}

impl Wakers {
    /// Takes all tasks that wait for one direction, and counts the report.
    pub(super) fn take(&mut self, way: &mut Waiters) {
        way.reports = way.reports.wrapping_add(1);
        for waker in way.poller.take().into_iter().chain(way.waiters.drain()) {
            match self.one {
                None => self.one = Some(waker),
                Some(_) => self.more.push(waker),
            }
        }
    }

    /// Wakes them. A waker that panics keeps none of the others asleep.
    pub(super) fn wake(self) {
        let mut panicked = None;
        for waker in self.one.into_iter().chain(self.more) {
            if let Err(panic) = catch_unwind(AssertUnwindSafe(|| waker.wake())) {
                panicked = Some(panic);
            }
        }
        if let Some(panic) = panicked {
            resume_unwind(panic);
        }
    }
}

/// Gives the old waker back, to be dropped without a lock: it may have the last hold on a task, and
/// that on this very source.
#[must_use]
pub(super) fn replace_waker(slot: &mut Option<Waker>, cx: &Context<'_>) -> Option<Waker> {
    match slot {
        Some(waker) if waker.will_wake(cx.waker()) => None,
        slot => slot.replace(cx.waker().clone()),
    }
}
