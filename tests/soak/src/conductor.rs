//! Begins, interrupts and ends it all, and looks at what is left.

use std::error::Error;
use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};
use std::{fs, io, mem, process, thread};

use oneloop::{Interest, Mode, Reactor};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::books::{Books, Count};
use crate::crowd::{self, Crowd};
use crate::footprint::{Footprint, descriptors, lingering};
use crate::gate::Gate;
use crate::hosts::{self, Driver};
use crate::options::{Host, Options};
use crate::periods::Periods;
use crate::report::Report;
use crate::sabotage::{Harm, Sabotage};
use crate::sleepers::Sleepers;
use crate::stream::{listen_tcp, listen_unix};
use crate::timers::Timers;
use crate::{Soak, children, idle, outside, posts, server, signals, virtual_sources};

const TICK: Duration = Duration::from_millis(100);
/// In ticks: how often the loop is stopped and driven again, the process is looked at, and a line is
/// printed.
const INTERRUPT: u32 = 20;
const LOOK: u32 = 20;
const SAY: u32 = 100;

/// The crowd is small for the last ticks of so many, so that the loop has time to sleep.
const EBB: (u32, u32) = (20, 60);

/// Beyond so many TCP connections that the kernel still keeps, no more of that kind are made.
const LINGERING: usize = 5000;

struct Stage {
    soak: Arc<Soak>,
    driver: Driver,
    timers: Arc<Timers>,
    periods: Periods,
    sleepers: Arc<Sleepers>,
    report: Report,
    connections: usize,
    moves: bool,
}

pub fn run(options: &Options) -> Result<(), Box<dyn Error>> {
    raise_descriptors();
    hosts::warm_up()?;
    let before = Footprint::now()?;
    let mut stage = Stage::set(options)?;
    let at_rest = stage.settled(None)?;

    let warm_up = (options.time / 4).min(Duration::from_secs(10));
    let rest = options.time - warm_up;
    let waves = (rest.as_secs() / 30).max(1) as u32;
    for wave in 0..=waves {
        stage.wave(wave, if wave == 0 { warm_up } else { rest / waves })?;
        if let Err(error) = stage.drain() {
            // A part that is stuck would be waited for for ever.
            stage.report.print(&stage.soak.books);
            eprintln!("{error}");
            if stage.driver.has_ended() {
                eprintln!("the loop is no longer driven: {:?}", stage.driver.end());
            }
            process::exit(1);
        }
        if wave == waves {
            stage.leave_things_behind()?;
        }
        let now = stage.settled(Some(at_rest))?;
        stage.compare("after a wave", at_rest, now);
        stage.report.footprints.push(now);
        stage.soak.sabotage.arm();
    }
    stage.compare_memory();
    stage.report.idle = Some(idle::watch(&stage.soak, options.idle)?);
    stage.end(before)
}

impl Stage {
    fn set(options: &Options) -> Result<Stage, Box<dyn Error>> {
        let reactor = Reactor::new()?;
        let (tcp, first) = listen_tcp()?;
        let name = |mode: &str| format!("oneloop-soak-{}-{mode}", process::id());
        let (edge, second) = listen_unix(&name("edge"))?;
        let (oneshot, third) = listen_unix(&name("oneshot"))?;
        let soak = Arc::new(Soak {
            reactor: reactor.downgrade(),
            books: Books::new()?,
            gate: Gate::default(),
            crowd: Crowd::new(vec![first, second, third]),
            sabotage: Sabotage::new(options.harm),
            patience: options.patience,
        });
        server::listen(&soak, &reactor, tcp, [edge, oneshot])?;
        let sleepers = Sleepers::new(&soak, &reactor, 300)?;
        let timers = Timers::new(2000);
        // The kernel's second set, for descriptors with handlers of both kinds, is made when it is needed
        // first, and kept.
        let quiet = Arc::new(listen_unix(&name("quiet"))?.0);
        for mode in [Mode::Level, Mode::Edge] {
            reactor.add_handler(quiet.clone(), Interest::READABLE, mode, |_, _| {})?;
        }
        // It never comes, and must not disturb anybody.
        reactor.call_later(Duration::from_secs(1 << 30), || {})?;
        let driver = Driver::start(options.host, &reactor)?;
        crowd::gather(&soak)?;
        outside::start(&soak, 3)?;
        timers.start(&soak)?;
        posts::start(&soak, 3)?;
        virtual_sources::start(&soak, &reactor, 2)?;
        children::start(&soak)?;
        signals::start(&soak, &reactor)?;
        sleepers.start(&soak)?;
        Ok(Stage {
            soak,
            driver,
            timers,
            periods: Periods::new(),
            sleepers,
            report: Report::new(options),
            connections: options.connections,
            moves: options.host == Host::Moving,
        })
    }

    fn wave(&mut self, number: u32, time: Duration) -> io::Result<()> {
        let soak = &self.soak;
        soak.crowd.resize(self.connections);
        self.timers.fill(soak);
        self.periods.fill(soak);
        soak.gate.open();
        let begun = Instant::now();
        for tick in 1.. {
            thread::sleep(TICK);
            if begun.elapsed() >= time || self.driver.has_ended() {
                break;
            }
            let ebbs = tick % EBB.1 > EBB.1 - EBB.0;
            let size = if ebbs {
                self.connections / 50
            } else {
                self.connections
            };
            soak.crowd.resize(size);
            if tick % INTERRUPT == 0 {
                self.driver.interrupt();
                soak.books.count(Count::Stopped);
            }
            if tick % LOOK == 0 {
                let kept = lingering()?;
                soak.crowd.let_linger(kept < LINGERING);
                self.report.seen(Footprint::now()?, kept);
            }
            if tick % SAY == 0 {
                self.report.say(number, &soak.books);
            }
        }
        Ok(())
    }

    /// Waits until all is there that was under way.
    fn drain(&self) -> Result<(), String> {
        let soak = &self.soak;
        soak.gate.close();
        self.wait_for("some threads are stuck", || soak.gate.is_quiet())?;
        self.timers.drain(soak);
        self.periods.drain(soak);
        let called = self.sleepers.call_the_roll(soak);
        called.map_err(|error| format!("a sleeper: {error}"))?;
        self.wait_for("something is lost", || soak.books.is_balanced())
    }

    /// For as long as anything comes at all.
    fn wait_for(&self, failure: &str, is_so: impl Fn() -> bool) -> Result<(), String> {
        let books = &self.soak.books;
        let (mut progress, mut since) = (0, Instant::now());
        while !is_so() {
            thread::sleep(Duration::from_millis(10));
            let now = books.progress();
            if now != progress {
                (progress, since) = (now, Instant::now());
            }
            if since.elapsed() > 3 * self.soak.patience || self.driver.has_ended() {
                let left: Vec<_> = books.outstanding().collect();
                return Err(format!("{failure}; given and not come back: {left:?}"));
            }
        }
        Ok(())
    }

    /// The footprint, when it is as before, or patience has an end.
    fn settled(&self, before: Option<Footprint>) -> io::Result<Footprint> {
        let begun = Instant::now();
        loop {
            let now = Footprint::now()?;
            let same = before.is_none_or(|before| now.has_same(&before));
            if same || begun.elapsed() > self.soak.patience {
                return Ok(now);
            }
            if self.moves {
                // Each host has registrations of its own: on, until the first drives again.
                self.driver.interrupt();
            }
            thread::sleep(Duration::from_millis(10));
        }
    }

    fn compare(&self, when: &str, before: Footprint, after: Footprint) {
        if !after.has_same(&before) {
            self.soak.books.fault(format!(
                "{when}: {} descriptors and {} registrations, where there were {} and {}",
                after.descriptors, after.registrations, before.descriptors, before.registrations
            ));
        }
    }

    /// Beside that of the first half. Tables, and the allocator's own reserves, grow with the longest
    /// queue there ever was: on a busy machine it takes some waves until all have been long.
    fn compare_memory(&self) {
        let all = &self.report.footprints;
        let (half, Some(last)) = (all.len().div_ceil(2), all.last()) else {
            return;
        };
        let fault = |what: &str, before: Option<usize>, after: Option<usize>, play: usize| {
            if let (Some(before), Some(after)) = (before, after) {
                if after > before + before / 4 + play {
                    let what = format!("memory has grown: {after} bytes {what}, from {before}");
                    self.soak.books.fault(what);
                }
            }
        };
        let live = all[..half].iter().filter_map(|it| it.live).max();
        fault("in use", live, last.live, 2 << 20);
        if all.len() >= 4 {
            let resident = all[..half].iter().map(|it| it.resident).max();
            fault("resident", resident, Some(last.resident), 16 << 20);
        }
    }

    /// If that is what is to be found.
    fn leave_things_behind(&self) -> io::Result<()> {
        let sabotage = &self.soak.sabotage;
        if sabotage.strikes(Harm::Descriptor) {
            mem::forget(fs::File::open("/dev/null")?);
        }
        if sabotage.strikes(Harm::Memory) {
            mem::forget(black_box(vec![1u8; 16 << 20]));
        }
        if let (true, Some(reactor)) = (sabotage.strikes(Harm::Registration), self.soak.reactor()) {
            let listener = listen_unix(&format!("oneloop-soak-{}", process::id()))?.0;
            reactor.add_handler(listener, Interest::READABLE, Mode::Level, |_, _| {})?;
        }
        Ok(())
    }

    fn end(self, before: Footprint) -> Result<(), Box<dyn Error>> {
        let Stage {
            soak,
            driver,
            timers,
            periods,
            sleepers,
            report,
            ..
        } = self;
        soak.gate.end();
        if let Err(error) = driver.end() {
            soak.books.fault(format!("driving: {error}"));
        }
        drop((timers, periods, sleepers));
        if soak.reactor().is_some() {
            soak.books.fault("the reactor is still there");
        }
        let holders = Arc::strong_count(&soak) - 1;
        if holders > 0 {
            soak.books
                .fault(format!("{holders} callbacks were not dropped"));
        }
        // Threads that have just ended may still be closing theirs.
        let mut after = Footprint::now()?;
        let begun = Instant::now();
        while !after.has_same(&before) && begun.elapsed() < soak.patience {
            thread::yield_now();
            after = Footprint::now()?;
        }
        if !after.has_same(&before) {
            soak.books.fault(format!(
                "when all was gone: {} descriptors and {} registrations, and {} and {} before: {:?}",
                after.descriptors,
                after.registrations,
                before.descriptors,
                before.registrations,
                descriptors()?
            ));
        }
        report.print(&soak.books);
        match soak.books.faults().count {
            0 if soak.books.is_balanced() => Ok(()),
            _ => Err("there were faults".into()),
        }
    }
}

/// The usual limit, 1024, is not enough for so many connections.
fn raise_descriptors() {
    let maximum = getrlimit(Resource::Nofile).maximum;
    let raised = Rlimit {
        current: maximum,
        maximum,
    };
    // If it is refused, the connections fail, and say so.
    let _ = setrlimit(Resource::Nofile, raised);
}
