//! How late timers are on a loop that has nothing else to do. None may be early.

use std::fmt;
use std::io;
use std::mem::MaybeUninit;
use std::process::ExitCode;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use oneloop::Reactor;
use oneloop_benches::{Bench, Measured, Peer};
use rustix::event::Timespec;
use rustix::event::epoll;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, timerfd_create, timerfd_settime,
};

/// One after another, all of these.
struct Delays(&'static [u64]);

const DELAYS: Delays = Delays(&[200, 500, 1_000, 2_000, 5_000, 10_000, 20_000]);

impl fmt::Display for Delays {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "timers of 0.2 to 20 ms")
    }
}

/// So often in a round.
const TIMES: usize = 2;

fn main() -> ExitCode {
    let bench = Bench {
        name: "lateness",
        about: "\
How late a timer of 0.2 to 20 ms fires on a loop that has nothing else to do; one that is early is an
error. Half of them are as late as p50 at most, 99 of 100 as p99, of all rounds together. The yardstick is
epoll_pwait2, whose timeout is in nanoseconds, to which Linux adds the slack of the thread, 50 µs by
default; to a timerfd, of which most others make use, it adds nothing.",
        workloads: vec![DELAYS],
        yardstick: peer("bare epoll_pwait2", bare),
        peers: vec![
            peer("bare timerfd", timerfd),
            peer("oneloop built-in", |delays| oneloop(delays, |it| Ok(it.run()?))),
            peer("oneloop on tokio", |delays| oneloop(delays, on_tokio)),
            peer("oneloop on async-io", |delays| oneloop(delays, on_async_io)),
            peer("calloop", calloop),
            peer("tokio sleep", tokio),
            peer("async-io Timer", async_io),
        ],
    };
    bench.main()
}

/// Waits for each of the delays in turn, and gives how late each was.
type Run = fn(Vec<Duration>) -> io::Result<Vec<Duration>>;

fn peer(name: &'static str, run: Run) -> Peer<Delays> {
    Peer::new(name, move |delays: &Delays, _| {
        let all = delays.0.iter().copied().map(Duration::from_micros);
        let count = TIMES * delays.0.len();
        let late = run(all.cycle().take(count).collect())?;
        if late.len() != count {
            return Err(io::Error::other("a timer was lost"));
        }
        Ok(Measured::untimed().with_samples(["late_p50_ns", "late_p99_ns"], late))
    })
}

/// How late it is after a delay from `start`.
fn late(start: Instant, delay: Duration) -> io::Result<Duration> {
    let early = || io::Error::other("a timer was early");
    start.elapsed().checked_sub(delay).ok_or_else(early)
}

fn bare(delays: Vec<Duration>) -> io::Result<Vec<Duration>> {
    let set = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    let mut room = [MaybeUninit::uninit(); 1];
    let wait = |delay: Duration| {
        let start = Instant::now();
        epoll::wait(&set, &mut room[..], Some(&timespec(delay)))?;
        late(start, delay)
    };
    delays.into_iter().map(wait).collect()
}

/// Measures a timer in the set.
fn timerfd(delays: Vec<Duration>) -> io::Result<Vec<Duration>> {
    let set = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    let timer = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::CLOEXEC)?;
    // Edge-triggered, so that it need not be read.
    let flags = epoll::EventFlags::IN | epoll::EventFlags::ET;
    epoll::add(&set, &timer, epoll::EventData::new_u64(0), flags)?;
    let mut room = [MaybeUninit::uninit(); 1];
    let wait = |delay: Duration| {
        let once = Itimerspec {
            it_interval: timespec(Duration::ZERO),
            it_value: timespec(delay),
        };
        let start = Instant::now();
        timerfd_settime(&timer, TimerfdTimerFlags::empty(), &once)?;
        epoll::wait(&set, &mut room[..], None)?;
        late(start, delay)
    };
    delays.into_iter().map(wait).collect()
}

fn timespec(time: Duration) -> Timespec {
    Timespec {
        tv_sec: time.as_secs() as _,
        tv_nsec: time.subsec_nanos() as _,
    }
}

fn oneloop(
    delays: Vec<Duration>,
    drive: fn(&Reactor) -> io::Result<()>,
) -> io::Result<Vec<Duration>> {
    /// Sets the next timer, or stops.
    fn next(reactor: &Reactor, left: Arc<Mutex<Left>>) {
        let Some(delay) = left.lock().expect("one thread").delays.pop() else {
            return reactor.stop();
        };
        let (start, weak) = (Instant::now(), reactor.downgrade());
        let set = reactor.call_later(delay, move || {
            left.lock()
                .expect("one thread")
                .late
                .push(late(start, delay));
            next(&weak.upgrade().expect("it runs"), left.clone());
        });
        set.expect("it is open");
    }
    struct Left {
        delays: Vec<Duration>,
        late: Vec<io::Result<Duration>>,
    }

    let reactor = Reactor::new()?;
    let late = Vec::new();
    let left = Arc::new(Mutex::new(Left { delays, late }));
    next(&reactor, left.clone());
    drive(&reactor)?;
    let late = std::mem::take(&mut left.lock().expect("one thread").late);
    late.into_iter().collect()
}

fn on_tokio(reactor: &Reactor) -> io::Result<()> {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_io().build()?;
    runtime.block_on(oneloop_tokio::drive(reactor))
}

fn on_async_io(reactor: &Reactor) -> io::Result<()> {
    async_io::block_on(oneloop_async_io::drive(reactor))
}

fn calloop(delays: Vec<Duration>) -> io::Result<Vec<Duration>> {
    use calloop::EventLoop;
    use calloop::timer::{TimeoutAction, Timer};

    let mut events = EventLoop::<Option<io::Result<Duration>>>::try_new()?;
    let mut wait = |delay: Duration| {
        let start = Instant::now();
        let fired = move |_, (): &mut (), to: &mut Option<_>| {
            *to = Some(late(start, delay));
            TimeoutAction::Drop
        };
        let inserted = events
            .handle()
            .insert_source(Timer::from_duration(delay), fired);
        inserted.map_err(|refused| refused.error)?;
        let mut fired = None;
        while fired.is_none() {
            events.dispatch(None, &mut fired)?;
        }
        fired.expect("it has fired")
    };
    delays.into_iter().map(&mut wait).collect()
}

fn tokio(delays: Vec<Duration>) -> io::Result<Vec<Duration>> {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_time().build()?;
    runtime.block_on(async {
        let mut all = Vec::new();
        for delay in delays {
            let start = Instant::now();
            tokio::time::sleep(delay).await;
            all.push(late(start, delay)?);
        }
        Ok(all)
    })
}

fn async_io(delays: Vec<Duration>) -> io::Result<Vec<Duration>> {
    async_io::block_on(async {
        let mut all = Vec::new();
        for delay in delays {
            let start = Instant::now();
            async_io::Timer::after(delay).await;
            all.push(late(start, delay)?);
        }
        Ok(all)
    })
}
