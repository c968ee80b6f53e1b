//! Few busy descriptors among many that are idle: what one event costs must not depend on the others.

// The loops are those of the ring, for which an idle station is one like any other.
#[path = "../ring/async_io.rs"]
mod async_io;
#[cfg(feature = "c-peers")]
#[path = "../ring/c_loops.rs"]
mod c_loops;
#[path = "../ring/calloop.rs"]
mod calloop;
#[path = "../ring/epoll.rs"]
mod epoll;
#[path = "../ring/mio.rs"]
mod mio;
#[path = "../ring/oneloop.rs"]
mod oneloop;
#[path = "../ring/polling.rs"]
mod polling;
#[path = "../ring/station.rs"]
mod station;
#[path = "../ring/tokio.rs"]
mod tokio;

use std::fmt;
use std::io;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use oneloop_benches::{Bench, Measured, Peer, Stopwatch};
use station::{Station, Witness};

const ACTIVE: usize = 10;
/// As in the ring of 100 pairs: half of them are ready.
const TOKENS: usize = 5;

/// A workload: how many idle descriptors there are.
struct Idle(usize);

impl fmt::Display for Idle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{ACTIVE} active, {} idle", self.0)
    }
}

fn main() -> ExitCode {
    let bench = Bench {
        name: "idle",
        about: "\
Tokens go round in a small ring of Unix socket pairs, while others are watched, thousands at last, on
which nothing happens. An event is one read and one write. Beside each time there is how it compares
with the same without the idle ones, measured next to it. The yardstick is an epoll loop with nothing
around it.",
        workloads: [10, 100, 1_000, 9_000].map(Idle).into(),
        yardstick: peer("bare epoll", epoll::run),
        peers: vec![
            peer("oneloop built-in", oneloop::built_in),
            peer("oneloop on tokio", oneloop::on_tokio),
            peer("oneloop on async-io", oneloop::on_async_io),
            peer("tokio AsyncFd", tokio::run),
            peer("async-io Async", async_io::run),
            peer("calloop", calloop::run),
            peer("mio", mio::run),
            peer("polling", polling::run),
            #[cfg(feature = "c-peers")]
            peer("libev", c_loops::libev),
            #[cfg(feature = "c-peers")]
            peer("libevent", c_loops::libevent),
            #[cfg(feature = "c-peers")]
            peer("libuv", c_loops::libuv),
        ],
    };
    bench.main()
}

/// As in the ring.
type Run = fn(Vec<Station>, &Arc<Stopwatch>) -> io::Result<()>;

fn peer(name: &'static str, run: Run) -> Peer<Idle> {
    let turn = AtomicBool::new(false);
    Peer::new(name, move |&Idle(idle), events| {
        let with = || measure(run, idle, Others::Watched, events);
        let without = || measure(run, idle, Others::Open, events);
        // Now the one first and now the other, as machines get faster and slower.
        let (with, without) = if turn.fetch_xor(true, Relaxed) {
            let with = with()?;
            (with, without()?)
        } else {
            let without = without()?;
            (with()?, without)
        };
        let growth = with.as_secs_f64() / without.as_secs_f64();
        Ok(Measured::from(with).with("times_without_idle", growth))
    })
}

/// The kind of the idle ones.
enum Others {
    Watched,
    /// Not watched, but there: making and closing thousands of sockets keeps the kernel busy for a
    /// while, which is to be the same for both.
    Open,
}

fn measure(run: Run, idle: usize, others: Others, events: u64) -> io::Result<Duration> {
    let stopwatch = Stopwatch::new(events);
    let mut idle = station::ring(idle, 0)?;
    let active = station::ring(ACTIVE, TOKENS)?;
    let witness = Witness::new(&active, TOKENS)?;
    let (stations, _unwatched) = match others {
        Others::Watched => {
            // Among the idle ones, so that nothing is at an end of a table.
            let middle = idle.len() / 2;
            idle.splice(middle..middle, active);
            (idle, Vec::new())
        }
        Others::Open => (active, idle),
    };
    run(stations, &stopwatch)?;
    witness.check()?;
    let ended_early = || io::Error::other("it ended before all events were handled");
    stopwatch.elapsed().ok_or_else(ended_early)
}
