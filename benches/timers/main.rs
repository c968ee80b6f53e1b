//! Timers, of which many are pending: what it costs to set one and cancel it, to put one off, and to
//! have them fire.

mod async_io;
mod calloop;
mod oneloop;
mod tokio;

use std::fmt;
use std::io;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use oneloop_benches::{Bench, Peer};

/// A workload.
struct Timers {
    what: What,
    pending: usize,
}

#[derive(Clone, Copy)]
enum What {
    SetAndCancel,
    PutOff,
    Fire,
}

impl fmt::Display for Timers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.what {
            What::SetAndCancel => write!(f, "set and cancel, {} pending", self.pending),
            What::PutOff => write!(f, "put off, {} pending", self.pending),
            What::Fire => write!(f, "set and fire, {} at once", self.pending),
        }
    }
}

/// A loop with timers of which none is due; nothing they call.
trait Loop: Sized {
    type Timer;
    /// How many it can do in a time that anybody would wait.
    const MOST: usize = usize::MAX;

    fn new() -> io::Result<Self>;
    fn set(&mut self, deadline: Instant) -> io::Result<Self::Timer>;
    fn cancel(&mut self, timer: Self::Timer) -> io::Result<()>;
    fn put_off(&mut self, timer: &mut Self::Timer, deadline: Instant) -> io::Result<()>;
    /// Sets `count` timers that are due and calls them all; how long that took.
    fn fire(_count: usize) -> io::Result<Duration> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

fn main() -> ExitCode {
    let timers = |what, pending| Timers { what, pending };
    let mut workloads = Vec::new();
    for what in [What::SetAndCancel, What::PutOff] {
        workloads.extend([1_000, 10_000, 100_000, 1_000_000].map(|pending| timers(what, pending)));
    }
    workloads.extend([1_000, 100_000].map(|pending| timers(What::Fire, pending)));
    let bench = Bench {
        name: "timers",
        about: "\
Timers are set and cancelled, or put off, while many others are pending; or many fire at once, which
calls a closure of each. The yardstick is oneloop, since none is bare. tokio and async-io fire timers by
waking tasks, which is something else, so they have no row there. calloop looks through all timers to
cancel one: with a million that would take hours.",
        workloads,
        yardstick: peer::<oneloop::Oneloop>("oneloop"),
        peers: vec![
            peer::<calloop::Calloop>("calloop"),
            peer::<async_io::AsyncIo>("async-io Timer"),
            peer::<tokio::Tokio>("tokio Sleep"),
        ],
    };
    bench.main()
}

fn peer<L: Loop>(name: &'static str) -> Peer<Timers> {
    Peer::new(name, |timers: &Timers, events| {
        measure::<L>(timers, events as usize)
    })
}

fn measure<L: Loop>(timers: &Timers, events: usize) -> io::Result<Duration> {
    let Timers { what, pending } = *timers;
    if let What::Fire = what {
        return fire::<L>(pending, events);
    }
    if pending > L::MOST {
        return Err(io::ErrorKind::Unsupported.into());
    }
    let mut own = L::new()?;
    let start = Instant::now() + Duration::from_secs(1000);
    // Spread over a minute, in no order: 7919 and a power of ten have no common divisor.
    let deadline = |n: usize| start + Duration::from_nanos((n * 7919 % pending) as u64 * 60_000);
    let all: io::Result<Vec<_>> = (0..pending).map(|n| own.set(deadline(n))).collect();
    let mut all = all?;
    let begin = Instant::now();
    for event in 0..events {
        match what {
            What::SetAndCancel => {
                let timer = own.set(deadline(event))?;
                own.cancel(timer)?;
            }
            _ => {
                let later = start + Duration::from_secs(60) + Duration::from_micros(event as u64);
                own.put_off(&mut all[event * 7919 % pending], later)?;
            }
        }
    }
    Ok(begin.elapsed())
}

fn fire<L: Loop>(count: usize, events: usize) -> io::Result<Duration> {
    let mut took = Duration::ZERO;
    let times = events.div_ceil(count);
    for _ in 0..times {
        took += L::fire(count)?;
    }
    Ok(took.mul_f64(events as f64 / (times * count) as f64))
}
