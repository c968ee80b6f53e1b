//! Rounds: a thread begins each, and the loop ends it.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::{self, Thread};
use std::time::Duration;

use oneloop::{Reactor, Shared, WeakReactor};
use oneloop_benches::Stopwatch;

use crate::Set;

pub struct Rounds {
    stopwatch: Arc<Stopwatch>,
    reactor: WeakReactor<Shared>,
    setter: OnceLock<Thread>,
    /// How many have ended; `ALL` after the last.
    ended: AtomicU64,
}

const ALL: u64 = u64::MAX;

impl Rounds {
    pub fn new(reactor: &Reactor, events: u64) -> Arc<Rounds> {
        Arc::new(Rounds {
            stopwatch: Stopwatch::new(events),
            reactor: reactor.downgrade(),
            setter: OnceLock::new(),
            ended: AtomicU64::new(0),
        })
    }

    /// The thread's part.
    pub fn begin_all(&self, mut set: Set) {
        self.setter.get_or_init(thread::current);
        for round in 1.. {
            set();
            // Does not spin: on one core that would keep the loop from running, and on two it would
            // see the end, and begin another round, before the loop is asleep again.
            while self.ended.load(Ordering::Acquire) < round {
                thread::park();
            }
            if self.ended.load(Ordering::Acquire) == ALL {
                break;
            }
        }
    }

    /// The loop's part.
    pub fn end_one(&self) {
        let ended = if self.stopwatch.count() {
            // There is one thread that writes it.
            self.ended.load(Ordering::Relaxed) + 1
        } else {
            ALL
        };
        self.ended.store(ended, Ordering::Release);
        if ended == ALL {
            self.reactor.upgrade().expect("it runs").stop();
        }
        self.setter.get().expect("it began the round").unpark();
    }

    pub fn elapsed(&self) -> io::Result<Duration> {
        let ended_early = || io::Error::other("it ended before all events were handled");
        self.stopwatch.elapsed().ok_or_else(ended_early)
    }
}
