//! Many posts, from some threads.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Barrier, OnceLock};
use std::thread;
use std::time::Instant;

use oneloop_benches::{Cores, Measured};

use crate::Post;

pub struct Many {
    threads: u64,
    /// The numbers of posts of each thread before the time, and in it.
    warm_up: u64,
    timed: u64,
    called: AtomicU64,
    /// Where the threads and the loop meet when all is warm.
    warm: Barrier,
    start: OnceLock<Instant>,
    end: OnceLock<Instant>,
}

impl Many {
    /// Never freed, as a post that had to count its owners would cost twice as much.
    pub fn new(threads: usize, events: u64) -> &'static Many {
        let each = (events / threads as u64).max(1);
        Box::leak(Box::new(Many {
            threads: threads as u64,
            warm_up: each / 8 + 1,
            timed: each,
            called: AtomicU64::new(0),
            warm: Barrier::new(threads + 1),
            start: OnceLock::new(),
            end: OnceLock::new(),
        }))
    }

    pub fn post_all(&'static self, post: &impl Post) {
        thread::scope(|scope| {
            for _ in 0..self.threads {
                let post = post.clone();
                scope.spawn(move || {
                    Cores::keep_off_loop().expect("it was possible to look");
                    for _ in 0..self.warm_up {
                        post.post(|| self.called());
                    }
                    self.warm.wait();
                    for _ in 0..self.timed {
                        post.post(|| self.called());
                    }
                });
            }
        });
        post.end();
    }

    /// Each post calls this.
    #[inline]
    fn called(&self) {
        // Not a read-modify-write: there is one thread that calls.
        let called = self.called.load(Relaxed) + 1;
        self.called.store(called, Relaxed);
        if called == self.threads * self.warm_up {
            // Does not take long: all threads have posted what comes before this.
            self.warm.wait();
            self.start.get_or_init(Instant::now);
        } else if called == self.threads * (self.warm_up + self.timed) {
            self.end.get_or_init(Instant::now);
        }
    }

    pub fn result(&self) -> io::Result<Measured> {
        match (self.start.get(), self.end.get()) {
            (Some(&start), Some(&end)) => Ok(Measured::of(self.threads * self.timed, end - start)),
            _ => Err(io::Error::other("it ended before all posts were called")),
        }
    }
}
