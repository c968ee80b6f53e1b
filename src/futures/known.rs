//! Directions in which tasks wait, and the readiness of one, as far as it is known.

use std::task::{Context, Poll};

use crate::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use crate::{Event, Interest};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Direction {
    Read,
    Write,
    /// Exceptional data.
    Priority,
    /// The peer sends nothing more.
    End,
}

impl Direction {
    pub(super) const ALL: [Direction; 4] = [
        Direction::Read,
        Direction::Write,
        Direction::Priority,
        Direction::End,
    ];

    pub(super) fn interest(self) -> Interest {
        match self {
            Direction::Read => Interest::READABLE,
            Direction::Write => Interest::WRITABLE,
            Direction::Priority => Interest::PRIORITY,
            Direction::End => Interest::READ_CLOSED,
        }
    }

    /// Returns whether an event is for the tasks that wait for this direction.
    pub(super) fn is_in(self, event: Event) -> bool {
        match self {
            Direction::Read => event.is_readable(),
            Direction::Write => event.is_writable(),
            Direction::Priority => event.is_priority() || is_fault(event),
            Direction::End => event.is_read_closed() || is_fault(event),
        }
    }
}

pub(super) fn is_fault(event: Event) -> bool {
    event.is_hangup() || event.is_error()
}

/// Counts the operations of a task that did not have to wait, so that the task leaves the loop and other
/// tasks their turn.
#[derive(Default)]
pub(crate) struct Budget(AtomicUsize);

impl Budget {
    /// The limit, which is that of a task of tokio.
    const MOST: usize = 128;

    /// Spends one. Pending if there is none left: the task is woken at once, and has all of them again.
    #[inline]
    pub(super) fn poll_spend(&self, cx: &mut Context<'_>) -> Poll<()> {
        // Two threads that meet may count one instead of two, which does not matter.
        let spent = self.spent();
        self.set_spent(spent + 1);
        if spent < Budget::MOST {
            return Poll::Ready(());
        }
        self.give_way(cx)
    }

    #[cold]
    fn give_way(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.set_spent(0);
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    pub(super) fn spent(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    pub(super) fn set_spent(&self, spent: usize) {
        self.0.store(spent, Ordering::Relaxed);
    }
}

/// The known readiness of one direction. Tasks that need not wait read it without the lock. The handler
/// changes it under the lock, so that a task that is about to wait does not miss a change.
pub(super) struct Known {
    /// The number of the last report, or [`REFUTED`] if an attempt has refuted it.
    pub(super) report: AtomicUsize,
    /// It was reported ready, and no poll has said so yet.
    pub(super) unread: AtomicBool,
    /// No operation has succeeded since the last report.
    pub(super) untried: AtomicBool,
    /// Number of reports in a row that the first attempt refuted.
    pub(super) vain: AtomicUsize,
    /// Of the attempts since a task that had to wait was last woken.
    pub(super) budget: Budget,
}

/// An attempt has shown that it is not ready.
pub(super) const REFUTED: usize = 0;

impl Known {
    pub(super) fn new() -> Known {
        Known {
            // No attempt has shown yet that it is not ready.
            report: AtomicUsize::new(REFUTED + 1),
            unread: AtomicBool::new(false),
            untried: AtomicBool::new(false),
            vain: AtomicUsize::new(0),
            budget: Budget::default(),
        }
    }

    /// The last report, for the attempt that is made now.
    pub(super) fn seen(&self) -> usize {
        self.report.load(Ordering::Acquire)
    }

    pub(super) fn may_be_ready(&self) -> bool {
        self.seen() != REFUTED
    }

    pub(super) fn report(&self, number: usize) {
        self.untried.store(true, Ordering::Relaxed);
        self.unread.store(true, Ordering::Release);
        // A swap, since `refute` exchanges it, too: of the two, the later sees the earlier.
        self.report.swap(number, Ordering::Release);
    }

    /// Nothing more is ready, unless there was another report than `seen`. True if that refutes one.
    pub(super) fn refute(&self, seen: usize) -> bool {
        if seen == REFUTED {
            return false;
        }
        let (relaxed, report) = (Ordering::Relaxed, &self.report);
        let refuted = report.compare_exchange(seen, REFUTED, relaxed, relaxed);
        if refuted.is_ok() {
            self.unread.store(false, relaxed);
        }
        refuted.is_ok()
    }

    /// An operation has done something.
    pub(super) fn succeed(&self) {
        if self.untried.load(Ordering::Relaxed) {
            self.untried.store(false, Ordering::Relaxed);
            self.vain.store(0, Ordering::Relaxed);
        }
    }
}
