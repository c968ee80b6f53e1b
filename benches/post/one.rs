//! One post at a time, to a loop that sleeps.

use std::hint;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use oneloop_benches::{Cores, Measured};

use crate::Post;

/// After which any loop sleeps that has a core of its own.
const UNTIL_ASLEEP: Duration = Duration::from_micros(20);

pub struct One {
    cores: Cores,
    warm_up: u64,
    timed: u64,
    poster: OnceLock<Thread>,
    posted_at: Mutex<Option<Instant>>,
    /// How long each took.
    took: Mutex<Vec<Duration>>,
    called: AtomicU64,
}

impl One {
    pub fn new(cores: Cores, events: u64) -> Arc<One> {
        Arc::new(One {
            cores,
            warm_up: events / 8 + 1,
            timed: events,
            poster: OnceLock::new(),
            posted_at: Mutex::new(None),
            took: Mutex::new(Vec::with_capacity((events + events / 8 + 1) as usize)),
            called: AtomicU64::new(0),
        })
    }

    pub fn post_all(self: Arc<One>, post: &impl Post) {
        self.cores.keep_other().expect("it was possible to look");
        self.poster.get_or_init(thread::current);
        for number in 0..self.warm_up + self.timed {
            if let Cores::Two = self.cores {
                let awake = Instant::now();
                while awake.elapsed() < UNTIL_ASLEEP {
                    hint::spin_loop();
                }
            }
            let one = self.clone();
            let mut posted_at = self.posted_at.lock().expect("no thread panics");
            *posted_at = Some(Instant::now());
            drop(posted_at);
            post.post(move || one.called());
            // Does not spin: on one core that would keep the loop from running.
            while self.called.load(Ordering::Acquire) <= number {
                thread::park();
            }
        }
        post.end();
    }

    /// Each post calls this.
    pub fn called(&self) {
        let now = Instant::now();
        let posted_at = self.posted_at.lock().expect("no thread panics").take();
        let took = now - posted_at.expect("it is called once for each post");
        self.took.lock().expect("no thread panics").push(took);
        self.called.fetch_add(1, Ordering::Release);
        self.poster.get().expect("it has posted").unpark();
    }

    pub fn result(&self) -> io::Result<Measured> {
        let took = self.took.lock().expect("no thread panics");
        if took.len() as u64 != self.warm_up + self.timed {
            return Err(io::Error::other("it ended before all posts were called"));
        }
        let took = took[self.warm_up as usize..].to_vec();
        let measured = Measured::from(took.iter().sum::<Duration>());
        Ok(measured.with_percentiles(["latency_p50_ns", "latency_p99_ns"], took))
    }
}
