//! A ring of Unix socket pairs around which bytes are passed: the cost of one event where handling
//! it takes next to nothing.

mod async_io;
#[cfg(feature = "c-peers")]
mod c_loops;
mod calloop;
mod epoll;
mod mio;
mod oneloop;
mod polling;
mod station;
mod tokio;

use std::fmt;
use std::io;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use oneloop_benches::{Bench, Peer, Stopwatch};
use station::{Station, Witness};

/// A workload.
struct Ring {
    pairs: usize,
    /// Bytes that are under way at the same time.
    tokens: usize,
}

impl fmt::Display for Ring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plural = if self.tokens == 1 { "" } else { "s" };
        write!(f, "{} pairs, {} token{plural}", self.pairs, self.tokens)
    }
}

fn main() -> ExitCode {
    let ring = |pairs, tokens| Ring { pairs, tokens };
    let bench = Bench {
        name: "ring",
        about: "\
Tokens go round in a ring of Unix socket pairs: whenever one becomes readable, a byte is read and
written into the next. An event is one read and one write. The yardstick is an epoll loop with
nothing around it. With the feature c-peers, libev, libevent and libuv are measured, too.",
        workloads: vec![ring(100, 1), ring(100, 50), ring(1000, 100)],
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

/// Lets the stations pass tokens on until the stopwatch says that it is over.
type Run = fn(Vec<Station>, &Arc<Stopwatch>) -> io::Result<()>;

/// Each measurement has a loop and a ring of its own, so that none lives on another's leavings.
fn peer(name: &'static str, run: Run) -> Peer<Ring> {
    Peer::new(name, move |ring: &Ring, events| measure(run, ring, events))
}

fn measure(run: Run, ring: &Ring, events: u64) -> io::Result<Duration> {
    let stopwatch = Stopwatch::new(events);
    let stations = station::ring(ring.pairs, ring.tokens)?;
    let witness = Witness::new(&stations, ring.tokens)?;
    run(stations, &stopwatch)?;
    witness.check()?;
    let ended_early = || io::Error::other("it ended before all events were handled");
    stopwatch.elapsed().ok_or_else(ended_early)
}
