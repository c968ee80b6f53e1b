//! A loop with nothing to do does nothing.

use std::io;
use std::thread;
use std::time::{Duration, Instant};

use crate::Soak;
use crate::footprint::sleeps;
use crate::sabotage::Harm;

/// Events while there should have been none.
pub struct Idle {
    pub time: Duration,
    pub turns: u64,
    pub sleeps: u64,
}

/// Looks on for a while, once all have gone to sleep.
pub fn watch(soak: &Soak, time: Duration) -> io::Result<Idle> {
    let Some(reactor) = soak.reactor() else {
        return Err(io::Error::other("the reactor is gone"));
    };
    let state = || Ok::<_, io::Error>((reactor.stats().turns, sleeps()?));
    let begun = Instant::now();
    let mut before = state()?;
    // A thread of async-io's takes a moment before it leaves the waiting to another.
    loop {
        thread::sleep(Duration::from_millis(500));
        let now = state()?;
        if now == before || begun.elapsed() > soak.patience {
            break;
        }
        before = now;
    }
    thread::sleep(time / 2);
    if soak.sabotage.strikes(Harm::Wake) {
        reactor.remote().wake();
    }
    thread::sleep(time / 2);
    let after = state()?;
    let idle = Idle {
        time,
        turns: after.0 - before.0,
        sleeps: after.1 - before.1,
    };
    if (idle.turns, idle.sleeps) != (0, 0) {
        soak.books.fault(format!(
            "{} turns and {} wake-ups in {time:?} of idleness",
            idle.turns, idle.sleeps
        ));
    }
    Ok(idle)
}
