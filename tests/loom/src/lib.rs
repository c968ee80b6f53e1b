//! The real code of the engine, its inbox, virtual sources and futures, run by loom: every order in
//! which threads can come to its locks and flags, and every value that the memory model lets them
//! read there. In the kernel's place is `kernel.rs`.
//!
//! ```text
//! RUSTFLAGS="--cfg loom" CARGO_TARGET_DIR=target/loom \
//!     cargo test --release -p oneloop-loom -- --nocapture
//! ```
//!
//! says how many orders each test has tried. `LOOM_MAX_PREEMPTIONS` is how often in each a thread may
//! be interrupted where it need not wait; a larger number takes longer.
#![cfg(loom)]

mod kernel;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

pub use kernel::{local_reactor, reactor, reactor_with, sleep};
use loom::model::Builder;
use loom::thread::JoinHandle;
use oneloop::{Reactor, Step};

/// Runs `body` in every order. A deadlock there, which is what a lost wake is, fails the test.
pub fn explore(name: &str, body: impl Fn() + Send + Sync + 'static) {
    let mut builder = Builder::new();
    builder.preemption_bound.get_or_insert(2);
    let tried = Count::default();
    let count = tried.clone();
    builder.check(move || {
        count.up();
        body();
    });
    println!("{name}: {} orders", tried.get());
}

/// Drives a loop until something was counted so often.
pub type Until = fn(&Reactor, &Count, usize);

/// Explores the body with the built-in loop and with a host.
pub fn explore_both(name: &str, body: fn(Until)) {
    explore(&format!("{name}, built-in"), move || body(turn_until));
    explore(&format!("{name}, hosted"), move || body(host_until));
}

fn turn_until(reactor: &Reactor, count: &Count, target: usize) {
    while count.get() < target {
        reactor.turn(None).unwrap();
    }
}

/// Sleeps whenever it may.
fn host_until(reactor: &Reactor, count: &Count, target: usize) {
    let mut host = reactor.host("loom").unwrap();
    loop {
        let step = host.step(1).unwrap();
        if count.get() >= target {
            break;
        }
        if step == Step::Sleep {
            sleep(&host);
        }
    }
}

/// Waits for both.
pub fn join<T>(threads: [JoinHandle<T>; 2]) -> [T; 2] {
    threads.map(|thread| thread.join().unwrap())
}

/// How often something has happened. Loom does not see it, so that it makes no orders of its own.
#[derive(Debug, Clone, Default)]
pub struct Count(Arc<AtomicUsize>);

impl Count {
    /// It has happened once more.
    pub fn up(&self) {
        self.0.fetch_add(1, Relaxed);
    }

    /// How often it has.
    pub fn get(&self) -> usize {
        self.0.load(Relaxed)
    }

    /// Counts when it is dropped.
    pub fn on_drop(&self) -> OnDrop {
        OnDrop(self.clone())
    }
}

/// See [`Count::on_drop`].
#[derive(Debug)]
pub struct OnDrop(Count);

impl Drop for OnDrop {
    fn drop(&mut self) {
        self.0.up();
    }
}
