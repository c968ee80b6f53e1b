//! Changes of interest as C clients make them: they turn write interest on before each message and off after it.
//!
//! The peers count their calls of the kernel themselves. They show from outside by
//!
//! ```sh
//! strace -f -c -e trace=epoll_ctl target/release/deps/toggle-… --rounds 1 --only LOOP
//! ```
//!
//! which also shows what a host does for itself: async-io arms the descriptor of a oneloop reactor
//! again after each sleep. tokio and async-io have no rows of their own, as they have no interest to
//! be turned on and off: a task awaits what it wants.

mod calloop;
mod epoll;
mod mio;
mod oneloop;
mod player;
mod polling;

use std::fmt;
use std::io;
use std::process::ExitCode;
use std::sync::Arc;

use oneloop_benches::{Bench, Measured, Peer, Stopwatch};
use player::{Court, Habit, Player};

/// A workload.
struct Toggle {
    pairs: usize,
    habit: Habit,
}

impl fmt::Display for Toggle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plural = if self.pairs == 1 { "" } else { "s" };
        write!(f, "{} pair{plural}, {}", self.pairs, self.habit)
    }
}

fn main() -> ExitCode {
    let toggle = |pairs, habit| Toggle { pairs, habit };
    let bench = Bench {
        name: "toggle",
        about: "\
Pairs of clients send a message to and fro, each pair over a Unix socket pair. Who has one turns write
interest on, sends it on, and turns write interest off: either sends it when told that there is room, or
at once, so that the two changes cancel out. An event is one message. Beside the time there is how often
the kernel was told of a change. The yardstick is an epoll loop that tells it only before it waits, and
only what is different then. calloop is told by its handle, mio and polling by the call that they have
for it.",
        workloads: vec![
            toggle(1, Habit::WhenTold),
            toggle(50, Habit::WhenTold),
            toggle(1, Habit::AtOnce),
            toggle(50, Habit::AtOnce),
        ],
        yardstick: peer("batching epoll", epoll::run),
        peers: vec![
            peer("oneloop built-in", oneloop::built_in),
            peer("oneloop on tokio", oneloop::on_tokio),
            peer("oneloop on async-io", oneloop::on_async_io),
            peer("calloop", calloop::run),
            peer("mio", mio::run),
            peer("polling", polling::run),
        ],
    };
    bench.main()
}

/// Lets the players play until the stopwatch says that it is over. Says how many changes the kernel
/// was told of, without those that it takes to begin and to end.
type Run = fn(Vec<Player>, &Arc<Stopwatch>) -> io::Result<u64>;

/// Each measurement has a loop and players of its own.
fn peer(name: &'static str, run: Run) -> Peer<Toggle> {
    Peer::new(name, move |toggle: &Toggle, events| {
        measure(run, toggle, events)
    })
}

fn measure(run: Run, toggle: &Toggle, events: u64) -> io::Result<Measured> {
    let stopwatch = Stopwatch::new(events);
    let (court, players) = Court::new(toggle.pairs, toggle.habit)?;
    let changes = run(players, &stopwatch)?;
    let messages = court.check()?;
    let ended_early = || io::Error::other("it ended before all events were handled");
    let time = stopwatch.elapsed().ok_or_else(ended_early)?;
    let changes = changes as f64 / messages as f64;
    Ok(Measured::from(time).with("kernel_changes_per_message", changes))
}
