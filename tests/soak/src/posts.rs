//! Posts, from threads and from posts.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use oneloop::{Priority, Remote};

use crate::books::Kind;
use crate::sabotage::Harm;
use crate::{Soak, gate};

const PRIORITIES: [Priority; 3] = [Priority::High, Priority::Normal, Priority::Idle];

/// So many may be on their way from one thread, for each priority. (An idle one has to wait until there
/// is nothing else to do.)
const MOST: [u64; 3] = [500, 500, 50];

pub fn start(soak: &Arc<Soak>, threads: usize) -> io::Result<()> {
    for _ in 0..threads {
        let Some(remote) = soak.reactor().map(|reactor| reactor.remote()) else {
            return Ok(());
        };
        let (mut sent, called) = ([0; 3], Arc::new(<[AtomicU64; 3]>::default()));
        gate::work(soak, "posts", move |soak| {
            for _ in 0..fastrand::u8(1..=64) {
                let at = match fastrand::u8(0..10) {
                    0 => 2,
                    1..4 => 0,
                    _ => 1,
                };
                if sent[at] - called[at].load(Ordering::Relaxed) < MOST[at] {
                    post(soak, &remote, at, sent[at], &called);
                    sent[at] += 1;
                }
            }
            thread::sleep(Duration::from_micros(fastrand::u64(0..1000)));
        })?;
    }
    Ok(())
}

/// One after the other, for each thread and priority.
fn post(soak: &Arc<Soak>, remote: &Remote, at: usize, number: u64, called: &Arc<[AtomicU64; 3]>) {
    soak.books.open(Kind::Post);
    if soak.sabotage.strikes(Harm::Post) {
        return;
    }
    let (around, called) = (soak.clone(), called.clone());
    let post = move || {
        around.books.close(Kind::Post);
        let due = called[at].swap(number + 1, Ordering::Relaxed);
        if due != number {
            let priority = PRIORITIES[at];
            let what = format!("the post {number} ({priority:?}) came where {due} was due");
            around.books.fault(what);
        }
        if fastrand::u8(0..16) == 0 {
            another(&around);
        }
    };
    if remote.call_soon_with(PRIORITIES[at], post).is_err() {
        soak.books.fault("a post was refused");
    }
}

/// From a post.
fn another(soak: &Arc<Soak>) {
    let Some(reactor) = soak.reactor() else {
        return;
    };
    let around = soak.clone();
    soak.books.open(Kind::Post);
    if reactor
        .call_soon(move || around.books.close(Kind::Post))
        .is_err()
    {
        soak.books.fault("a post was refused");
    }
}
