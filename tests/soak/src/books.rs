//! Counts of what was given to the loop, and of what came back.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hdrhistogram::Histogram;

use crate::lock;

#[derive(Debug, Clone, Copy)]
pub enum Kind {
    /// A connection, as its client sees it.
    Connection,
    /// A connection, as its server sees it.
    Served,
    /// A message, until its echo is there.
    Message,
    /// A timer, until it has fired or was cancelled.
    Timer,
    /// A periodic timer, until it was cancelled.
    Period,
    Post,
    /// An item that a virtual source has brought.
    Item,
    /// A byte to a handler that sleeps most of the time.
    Poke,
    /// A child process, until its status is there.
    Child,
    /// Bytes that it writes.
    Output,
    Signal,
}

impl Kind {
    pub const ALL: [(Kind, &str); 11] = [
        (Kind::Connection, "connections"),
        (Kind::Served, "connections accepted"),
        (Kind::Message, "messages"),
        (Kind::Timer, "timers"),
        (Kind::Period, "periodic timers"),
        (Kind::Post, "posts"),
        (Kind::Item, "items of virtual sources"),
        (Kind::Poke, "bytes to sleepers"),
        (Kind::Child, "children"),
        (Kind::Output, "outputs of children"),
        (Kind::Signal, "signals"),
    ];
}

/// Things that are only counted.
#[derive(Debug, Clone, Copy)]
pub enum Count {
    Cancelled,
    Reset,
    Periodic,
    Toggled,
    Rearmed,
    Stopped,
}

impl Count {
    pub const ALL: [(Count, &str); 6] = [
        (Count::Cancelled, "timers cancelled"),
        (Count::Reset, "timers reset"),
        (Count::Periodic, "calls of periodic timers"),
        (Count::Toggled, "changes of interest"),
        (
            Count::Rearmed,
            "handlers removed and added, or re-armed, by other threads",
        ),
        (
            Count::Stopped,
            "times the loop was stopped and driven again",
        ),
    ];
}

/// How many are written out.
const FIRST: usize = 20;

pub struct Books {
    opened: [AtomicU64; Kind::ALL.len()],
    closed: [AtomicU64; Kind::ALL.len()],
    counts: [AtomicU64; Count::ALL.len()],
    /// In nanoseconds.
    lateness: Mutex<Histogram<u64>>,
    faults: Mutex<Faults>,
}

#[derive(Default, Clone)]
pub struct Faults {
    pub count: u64,
    pub first: Vec<String>,
}

impl Books {
    pub fn new() -> Result<Books, hdrhistogram::CreationError> {
        Ok(Books {
            opened: Default::default(),
            closed: Default::default(),
            counts: Default::default(),
            lateness: Mutex::new(Histogram::new_with_bounds(1, 1 << 40, 2)?),
            faults: Mutex::default(),
        })
    }

    /// Something is on its way.
    pub fn open(&self, kind: Kind) {
        self.opened[kind as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// It has arrived.
    pub fn close(&self, kind: Kind) {
        self.closed[kind as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub fn opened(&self, kind: Kind) -> u64 {
        self.opened[kind as usize].load(Ordering::Relaxed)
    }

    pub fn closed(&self, kind: Kind) -> u64 {
        self.closed[kind as usize].load(Ordering::Relaxed)
    }

    /// Returns the number on its way of each kind, which is negative if something came twice.
    pub fn outstanding(&self) -> impl Iterator<Item = (&'static str, i64)> {
        let all = Kind::ALL.into_iter();
        let left = all.map(|(kind, name)| {
            let closed = self.closed(kind);
            (name, self.opened(kind) as i64 - closed as i64)
        });
        left.filter(|(_, left)| *left != 0)
    }

    pub fn is_balanced(&self) -> bool {
        self.outstanding().next().is_none()
    }

    /// All that has arrived, which shows whether anything still does.
    pub fn progress(&self) -> u64 {
        Kind::ALL.iter().map(|(kind, _)| self.closed(*kind)).sum()
    }

    pub fn count(&self, what: Count) {
        self.counts[what as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub fn counted(&self, what: Count) -> u64 {
        self.counts[what as usize].load(Ordering::Relaxed)
    }

    pub fn late(&self, by: Duration) {
        lock(&self.lateness).saturating_record(by.as_nanos() as u64);
    }

    /// By how much timers were late: so many percent of them by less.
    pub fn lateness(&self, percent: f64) -> Duration {
        Duration::from_nanos(lock(&self.lateness).value_at_percentile(percent))
    }

    /// Something is wrong, which is said at once, too: the end may be far away.
    pub fn fault(&self, what: impl Into<String>) {
        let mut faults = lock(&self.faults);
        faults.count += 1;
        if faults.first.len() < FIRST {
            let what = what.into();
            eprintln!("fault: {what}");
            faults.first.push(what);
        }
    }

    pub fn faults(&self) -> Faults {
        lock(&self.faults).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_and_repeated_deliveries_are_outstanding() {
        let books = Books::new().unwrap();
        books.open(Kind::Message);
        books.close(Kind::Post);
        let left: Vec<_> = books.outstanding().collect();
        assert_eq!(left, [("messages", 1), ("posts", -1)]);
        books.close(Kind::Message);
        books.open(Kind::Post);
        assert!(books.is_balanced());
    }

    #[test]
    fn all_faults_are_counted_and_the_first_kept() {
        let books = Books::new().unwrap();
        (0..50).for_each(|n| books.fault(format!("{n}")));
        let faults = books.faults();
        assert_eq!((faults.count, faults.first.len()), (50, FIRST));
    }
}
