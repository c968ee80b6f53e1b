//! Random programs on every host × poller, and those that have failed before.
//!
//! Two variables say what is explored: `ONELOOP_MODEL_STEPS`, how many steps in all; `ONELOOP_MODEL_SEED`,
//! from which number the programs are made, or `random`. What fails is shortened and added to
//! `regressions.ron`.

use std::cell::Cell;
use std::fs;
use std::hash::{BuildHasher, RandomState};
use std::io::Write;
use std::sync::Mutex;

use oneloop::PollerKind::{Epoll, Polling};
use oneloop_model::HostKind::{self, Turn};
use oneloop_model::{Program, Report, Setting, run, shorten};
use proptest::prelude::any;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};

const REGRESSIONS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/regressions.ron");

/// All steps, which the tests share out among them.
const STEPS: u64 = 200_000;
const TESTS: u64 = 16;
/// So many programs, and then it is seen whether that is enough.
const PROGRAMS: u32 = 50;

fn steps() -> u64 {
    let given = std::env::var("ONELOOP_MODEL_STEPS");
    given.map_or(STEPS, |given| given.parse().expect("a number of steps"))
}

/// Returns one seed every time, unless another is asked for.
fn seed() -> u64 {
    match std::env::var("ONELOOP_MODEL_SEED").as_deref() {
        Err(_) => 0,
        Ok("random") => RandomState::new().hash_one(0),
        Ok(given) => given.parse().expect("a number, or `random`"),
    }
}

/// The `round`th generator of a test's programs.
fn generator(seed: u64, name: &str, round: u64) -> TestRng {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    bytes[8..16].copy_from_slice(&round.to_le_bytes());
    for (at, byte) in name.bytes().enumerate() {
        bytes[16 + at % 16] ^= byte;
    }
    TestRng::from_seed(RngAlgorithm::ChaCha, &bytes)
}

fn explore(name: &str, setting: Setting) {
    let seed = seed();
    let config = Config {
        cases: PROGRAMS,
        failure_persistence: None,
        max_shrink_iters: 20_000,
        // A hang takes its time.
        max_shrink_time: 120_000,
        ..Config::default()
    };
    let programs = any::<Program>();
    let done = Cell::new(Report::default());
    let share = steps().div_ceil(TESTS);
    let mut round = 0;
    while done.get().steps < share {
        let mut runner = TestRunner::new_with_rng(config.clone(), generator(seed, name, round));
        let result = runner.run(&programs, |program| match run(&program, setting) {
            Ok(report) => {
                done.set(done.get() + report);
                Ok(())
            }
            Err(violation) => Err(TestCaseError::fail(violation.what)),
        });
        match result {
            Ok(()) => {}
            Err(TestError::Fail(reason, program)) => {
                let after = done.get();
                let text = program.to_string();
                let Some((program, violation)) = shorten(program, setting) else {
                    panic!("seed {seed}, {after:?}, and not when tried again: {reason}\n{text}");
                };
                let (what, trace) = (violation.what, violation.trace.join("\n"));
                let text = program.to_string();
                keep(&format!("// {name}: {what}\n{text}\n"));
                panic!("seed {seed}, {after:?}: {what}\n{text}\n{trace}");
            }
            Err(error) => panic!("{error}"),
        }
        round += 1;
    }
    report(name, seed, done.get());
}

/// Adds a program to those that have failed.
fn keep(text: &str) {
    let file = fs::OpenOptions::new().append(true).open(REGRESSIONS);
    let kept = file.and_then(|mut file| file.write_all(text.as_bytes()));
    kept.expect("the regressions can be written");
}

/// Says what was run, also where tests say nothing.
fn report(name: &str, seed: u64, done: Report) {
    static ALL: Mutex<u64> = Mutex::new(0);
    let mut all = ALL.lock().expect("no panic");
    *all += done.steps;
    let Report {
        steps,
        calls,
        turns,
        ..
    } = done;
    let line = format!(
        "{name}: {steps} steps, {calls} callbacks, {turns} turns (seed {seed}); {all} steps in all\n"
    );
    // `print!` is for failures only.
    let _ = std::io::stderr().write_all(line.as_bytes());
}

macro_rules! programs {
    ($($poller:ident $kind:ident: $($host:ident $name:ident)*;)*) => {
        $(mod $poller {
            use super::*;
            $(
                #[test]
                fn $name() {
                    let name = concat!(stringify!($poller), "::", stringify!($name));
                    explore(name, Setting::new($kind, HostKind::$host));
                }
            )*
            #[test]
            fn c() {
                explore(concat!(stringify!($poller), "::c"), Setting::new($kind, Turn).c());
            }
            #[test]
            fn safe() {
                let setting = Setting::new($kind, HostKind::Poll).safe();
                explore(concat!(stringify!($poller), "::safe"), setting);
            }
        })*

        fn settings() -> Vec<Setting> {
            vec![$(
                Setting::new($kind, Turn).c(),
                Setting::new($kind, HostKind::Poll).safe(),
                $(Setting::new($kind, HostKind::$host),)*
            )*]
        }
    };
}

programs! {
    epoll Epoll: Turn turn Poll poll Epoll edges Tokio tokio AsyncIo async_io Nested nested;
    polling Polling: Turn turn Poll poll Epoll edges Tokio tokio AsyncIo async_io Nested nested;
}

/// A program that has failed on one host × poller must not fail on any.
#[test]
fn regressions() {
    let text = fs::read_to_string(REGRESSIONS).expect("they are there");
    let lines = text.lines().filter(|line| !line.starts_with("//"));
    for line in lines {
        let program: Program = line.parse().expect("a program in each line");
        for setting in settings() {
            if let Err(violation) = run(&program, setting) {
                panic!("{setting:?}: {}\n{line}", violation.what);
            }
        }
    }
}
