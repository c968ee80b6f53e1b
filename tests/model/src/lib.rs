//! A plain reference loop, and random programs that drive it and a reactor side by side: after each
//! step they must agree on who was called, with what, how often, in what order as far as the
//! [contract](oneloop) fixes it, and on what is left.
//!
//! [`Program`] is the language, and [`run`] runs one. The model itself is on poll(2) and tables.
//! Where the contract leaves a reactor free, as in the order of two handlers that are both ready,
//! or in what becomes of a handler whose number was closed behind its back, it says what may be; all
//! else must be, or must not.

mod bits;
mod face;
mod fault;
#[cfg(feature = "arbitrary")]
mod fuzz;
mod hosts;
mod model;
mod play;
mod shorten;
mod step;
mod watchdog;
mod world;

use std::ops::Add;
use std::sync::atomic::Ordering::SeqCst;

pub use face::Face;
#[cfg(feature = "arbitrary")]
pub use fuzz::{Input, must_hold};
use hosts::Hosted;
use oneloop::{PollerKind, Reactor, TestClock};
use play::{Me, Play};
pub use shorten::shorten;
pub use step::*;

/// On what a program runs.
#[derive(Debug, Clone, Copy)]
pub struct Setting {
    /// The poller.
    pub poller: PollerKind,
    /// The first host.
    pub host: HostKind,
    /// Whether the program may close numbers behind the reactor's back. Otherwise all that it does
    /// is what safe Rust can do.
    pub raw: bool,
    /// By which functions it is called.
    pub face: Face,
    /// Whether to keep what happens.
    pub traced: bool,
}

impl Setting {
    /// Lets a program do anything in Rust, on this poller, driven by this host first.
    pub fn new(poller: PollerKind, host: HostKind) -> Setting {
        Setting {
            poller,
            host,
            raw: true,
            face: Face::Rust,
            traced: false,
        }
    }

    /// Only what safe Rust can do. With no number closed behind the loop's back nothing is excused.
    pub fn safe(self) -> Setting {
        Setting { raw: false, ..self }
    }

    /// Makes the program use the C ABI.
    pub fn c(self) -> Setting {
        Setting {
            face: Face::C,
            ..self
        }
    }

    fn in_c(self) -> bool {
        self.face == Face::C
    }

    /// Whether callbacks may panic.
    fn panics(self) -> bool {
        !self.in_c()
    }
}

/// The outcome of a program.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Report {
    /// Steps that were done, in callbacks and outside.
    pub steps: u64,
    /// Callbacks that were called.
    pub calls: u64,
    /// Turns of the reactor.
    pub turns: u64,
}

impl Add for Report {
    type Output = Report;

    fn add(self, other: Report) -> Report {
        Report {
            steps: self.steps + other.steps,
            calls: self.calls + other.calls,
            turns: self.turns + other.turns,
        }
    }
}

/// Something that the contract does not allow.
#[derive(Debug, Clone)]
pub struct Violation {
    /// Its description.
    pub what: String,
    /// The steps before it, if they were kept.
    pub trace: Vec<String>,
}

/// Runs a program.
///
/// # Errors
///
/// The first thing that the contract does not allow.
pub fn run(program: &Program, setting: Setting) -> Result<Report, Violation> {
    // SAFETY: from now on a write to a pipe without a reader is an error, as everywhere in Rust.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_IGN) };
    let clock = TestClock::new();
    let builder = Reactor::builder().poller(setting.poller);
    let reactor = builder.clock(clock.clone()).build().expect("a reactor");
    let play = Play::new(&reactor, clock, program.scripts.clone(), setting);
    let _watched = watchdog::watch(&play, &reactor, program, setting);
    for at in [Spot::Shared(Few(0)), Spot::Raw(Few(0))] {
        let kind = Kind::Sockets;
        play.act(Me::Program, &Do::Open { kind, at });
    }
    let mut hosted = Hosted::new(reactor, play.clone(), setting.host);
    let mut result = Ok(());
    for step in &program.steps {
        play.busy.store(0, SeqCst);
        match step {
            Step::Do(step) => play.act(Me::Program, step),
            Step::Drive(turns) => hosted.drive(turns % 6),
            Step::Wait => hosted.wait(),
            Step::Run => hosted.run(),
            Step::BlockOn => hosted.block_on(),
            Step::Host(kind) => hosted.change(*kind),
        }
        if !matches!(step, Step::Do(_)) {
            play.steps.fetch_add(1, SeqCst);
        }
        result = check(&hosted);
        if result.is_err() {
            break;
        }
    }
    let report = Report {
        steps: play.steps.load(SeqCst),
        calls: play.called.load(SeqCst),
        turns: hosted.reactor.stats().turns,
    };
    hosted.change(HostKind::Turn);
    if result.is_ok() {
        play.act(Me::Program, &Do::CloseLoop);
        play.model().ended();
        result = check(&hosted);
    }
    hosted.reactor.close();
    result.map(|()| report)
}

/// Checks the rules that hold between the steps.
fn check(hosted: &Hosted) -> Result<(), Violation> {
    let Hosted { reactor, play, .. } = hosted;
    let shows = hosted.descriptor().map(|fd| world::poll(fd) != 0);
    let mut model = play.model();
    if play.hung.load(SeqCst) {
        model.violated("the loop hangs");
    }
    model.audit(&reactor.stats());
    if shows == Some(false) {
        if let Some(what) = model.to_do() {
            model.violated(format!(
                "the descriptor is not readable, and the loop has {what}"
            ));
        }
    }
    match model.violation.take() {
        None => Ok(()),
        Some(what) => {
            let trace = model.trace.take().unwrap_or_default();
            Err(Violation { what, trace })
        }
    }
}
