//! The messages: while it runs, when it takes too long, and at the end.

use std::cell::RefCell;
use std::fmt::Display;
use std::io::{IsTerminal, Write};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use oneloop::{LocalReactor, Result, Stats};

use crate::args::{Args, Host, ROOM};
use crate::figures::{Figures, grouped, milliseconds};
use crate::load::Outcome;
use crate::threads::Threading;

/// How long the load may take.
pub const LIMIT: Duration = Duration::from_secs(60);
/// The period of the timer whose lateness is measured.
const TICK: Duration = Duration::from_millis(5);

/// How far the load is, for both threads.
pub struct Progress {
    args: Args,
    pub joined: AtomicU64,
    pub delivered: AtomicU64,
    pub threads: Threading,
}

impl Progress {
    pub fn new(args: Args) -> Progress {
        Progress {
            args,
            joined: AtomicU64::new(0),
            delivered: AtomicU64::new(0),
            threads: Threading::default(),
        }
    }

    pub fn sentence(&self) -> String {
        let count = |done: &AtomicU64| grouped(done.load(Relaxed));
        format!(
            "{} of {} joined, {} of {} lines delivered",
            count(&self.joined),
            grouped(self.args.connections as u64),
            count(&self.delivered),
            grouped(self.args.deliveries())
        )
    }
}

/// Ends the process if it takes too long. On both loops, in case one of them hangs.
pub fn watchdog(
    reactor: &LocalReactor,
    limit: Duration,
    missing: impl Fn() -> String + 'static,
) -> Result<()> {
    let bark = move || fail(format!("not done after {limit:?}: {}", missing()));
    let timer = reactor.call_later(limit, bark)?;
    reactor.set_referenced(timer, false)
}

/// Shows how far it is: in one line on a terminal, else in a line a second.
pub fn show_progress(reactor: &LocalReactor, progress: Arc<Progress>) -> Result<()> {
    let terminal = std::io::stderr().is_terminal();
    let mut ticks = 0;
    progress.threads.look();
    let timer = reactor.call_every(Duration::from_millis(50), move || {
        ticks += 1;
        progress.threads.look();
        let _ = match (terminal, ticks % 20) {
            (true, _) => write!(std::io::stderr(), "\r{}\x1b[K", progress.sentence()),
            (false, 0) => writeln!(std::io::stderr(), "{}", progress.sentence()),
            _ => Ok(()),
        };
    })?;
    reactor.set_referenced(timer, false)
}

/// Measures how late a periodic timer is while lines are under way, in nanoseconds.
pub fn measure_lateness(
    reactor: &LocalReactor,
    progress: Arc<Progress>,
) -> Result<Rc<RefCell<Vec<u64>>>> {
    let lateness = Rc::new(RefCell::new(Vec::new()));
    let measured = lateness.clone();
    let deliveries = progress.args.deliveries();
    let mut due = Instant::now() + TICK;
    reactor.call_every(TICK, move || {
        let late = due.elapsed().as_nanos() as u64;
        // Ticks that were missed are skipped.
        due += TICK * (1 + late / TICK.as_nanos() as u64) as u32;
        let mut lateness = measured.borrow_mut();
        if (1..deliveries).contains(&progress.delivered.load(Relaxed)) {
            lateness.push(late);
            if lateness.len() % 10 == 1 {
                progress.threads.look();
            }
        }
    })?;
    Ok(lateness)
}

pub fn welcome(host: Host, chat: SocketAddr, page: SocketAddr) -> String {
    format!(
        "All on one loop, driven by {}. Ctrl-C ends it.\n\n\
         chat   try `nc {} {}`, and there `JOIN clock you`\n\
         page   http://{page}/ and http://{page}/json\n",
        host.name(),
        chat.ip(),
        chat.port()
    )
}

pub fn outcome(
    args: &Args,
    outcome: &Outcome,
    lateness: &[u64],
    threads: &Threading,
    figures: &Figures,
    stats: Stats,
) -> String {
    let seconds = outcome.took.as_secs_f64();
    format!(
        "A chat in callbacks, a page of hyper's and an async client on one thread: all is well.\n\n\
         host          {}\n\
         connections   {} at once, in rooms of {ROOM}\n\
         messages      {} sent, {} delivered, each exactly once and in order\n\
         throughput    {} deliveries/s for {seconds:.2} s\n\
         latency       {}\n\
         5 ms timer    {} late\n\
         page          {}\n\
         async client  {} lines, each came back\n\
         threads       {}\n\
         loop          {} turns, {} events, {} timers, {} posts\n",
        args.host.name(),
        grouped(args.connections as u64),
        grouped(args.lines()),
        grouped(args.deliveries()),
        grouped((args.deliveries() as f64 / seconds) as u64),
        percentiles(&outcome.latencies),
        percentiles(lateness),
        outcome.page,
        grouped(figures.returned.get()),
        threads.sentence(),
        grouped(stats.turns),
        grouped(stats.handler_calls),
        grouped(stats.timer_calls),
        grouped(stats.post_calls),
    )
}

fn percentiles(nanoseconds: &[u64]) -> String {
    let mut sorted = nanoseconds.to_vec();
    sorted.sort_unstable();
    let at = |percent| match sorted.get(sorted.len() * percent / 100) {
        Some(nanoseconds) => milliseconds(*nanoseconds),
        None => "-".into(),
    };
    format!("p50 {}, p99 {}", at(50), at(99))
}

/// Writes over the line of progress that is there.
pub fn print(text: &str) {
    clear_line();
    let _ = std::io::stdout().write_all(text.as_bytes());
}

/// Ends the process, from any thread: something did not come as it should.
pub fn fail(why: impl Display) -> ! {
    end(1, why)
}

/// Ends the process: it cannot do what it was asked for.
pub fn refuse(why: impl Display) -> ! {
    end(2, why)
}

fn end(code: i32, why: impl Display) -> ! {
    clear_line();
    let _ = writeln!(std::io::stderr(), "one_loop: {why}");
    std::process::exit(code)
}

fn clear_line() {
    if std::io::stderr().is_terminal() {
        let _ = write!(std::io::stderr(), "\r\x1b[K");
    }
}
