//! How many connections there are to be at once, and where to.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;
use std::{io, thread};

use crate::stream::Address;
use crate::{Soak, client, gate};

pub struct Crowd {
    addresses: Vec<Address>,
    /// The number of the next connection.
    next: AtomicU64,
    size: AtomicUsize,
    present: AtomicUsize,
    may_linger: AtomicBool,
}

impl Crowd {
    pub fn new(addresses: Vec<Address>) -> Crowd {
        Crowd {
            addresses,
            next: AtomicU64::new(0),
            size: AtomicUsize::new(0),
            present: AtomicUsize::new(0),
            may_linger: AtomicBool::new(true),
        }
    }

    pub fn next(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    pub fn address(&self) -> &Address {
        &self.addresses[fastrand::usize(0..self.addresses.len())]
    }

    pub fn resize(&self, size: usize) {
        self.size.store(size, Ordering::Relaxed);
    }

    /// Whether TCP connections may stay with the kernel when they have ended.
    pub fn may_linger(&self) -> bool {
        self.may_linger.load(Ordering::Relaxed)
    }

    pub fn let_linger(&self, may: bool) {
        self.may_linger.store(may, Ordering::Relaxed);
    }

    pub fn left(&self) {
        self.present.fetch_sub(1, Ordering::Relaxed);
    }

    /// A client has left: every second time another comes at once, from the callback in which it was
    /// noticed; else the thread of [`gather`] sees to it.
    pub fn replace(&self, soak: &Arc<Soak>) {
        if soak.gate.is_open() && fastrand::bool() && self.enters() {
            client::open(soak);
        }
    }

    fn enters(&self) -> bool {
        let size = self.size.load(Ordering::Relaxed);
        let enter = |present| (present < size).then_some(present + 1);
        let entered = self
            .present
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, enter);
        entered.is_ok()
    }
}

/// A thread that looks now and then whether all are there.
pub fn gather(soak: &Arc<Soak>) -> io::Result<()> {
    gate::work(soak, "crowd", |soak| {
        while soak.gate.is_open() && soak.crowd.enters() {
            client::open(soak);
        }
        thread::sleep(Duration::from_millis(1));
    })
}
