//! Random programs on every host × poller. `ONELOOP_MODEL_STEPS` says how many steps they are to do
//! in all; what fails is shrunk, and kept in `regressions.txt`, which is run first.

use std::cell::Cell;

use oneloop_model::{End, Face, HostKind, Program, Report, Setting, Violation, run};
use proptest::prelude::any;
use proptest::test_runner::{Config, FileFailurePersistence, TestCaseError, TestError, TestRunner};

/// The part of a test in all steps.
const TESTS: u64 = 16;
const STEPS: u64 = 1_000_000;
/// So many programs, and then it is seen whether that is enough.
const PROGRAMS: u32 = 100;

fn steps() -> u64 {
    let given = std::env::var("ONELOOP_MODEL_STEPS");
    given.map_or(STEPS, |given| given.parse().expect("a number of steps"))
}

fn explore(setting: Setting) {
    let kept = FileFailurePersistence::Direct("tests/regressions.txt");
    let config = Config {
        cases: PROGRAMS,
        failure_persistence: Some(Box::new(kept)),
        max_shrink_iters: 20_000,
        // A hang takes its time.
        max_shrink_time: 120_000,
        ..Config::default()
    };
    let programs = any::<Program>();
    let done = Cell::new(Report::default());
    let share = steps().div_ceil(TESTS);
    while done.get().steps < share {
        let mut runner = TestRunner::new(config.clone());
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
                let (program, violation) = shorten(program, setting);
                let Some(Violation { what, trace }) = violation else {
                    panic!("after {after:?}, and not when tried again: {reason}\n{program:?}");
                };
                let trace = trace.join("\n");
                panic!("after {after:?}: {what}\n{program:?}\n{trace}");
            }
            Err(error) => panic!("{error}"),
        }
    }
    println!("{setting:?}: {:?}", done.get());
}

/// Takes out what is not needed for a failure. proptest does so only before it makes steps simpler.
fn shorten(mut program: Program, setting: Setting) -> (Program, Option<Violation>) {
    let traced = Setting {
        traced: true,
        ..setting
    };
    let mut last = run(&program, traced).err();
    let mut again = true;
    while std::mem::take(&mut again) {
        for shorter in shorter(&program) {
            if let Err(violation) = run(&shorter, traced) {
                (program, last) = (shorter, Some(violation));
                again = true;
                break;
            }
        }
    }
    (program, last)
}

/// A program without one of its steps, in every possible way.
fn shorter(program: &Program) -> Vec<Program> {
    let mut all = Vec::new();
    for at in (0..program.steps.len()).rev() {
        let mut one = program.clone();
        one.steps.remove(at);
        all.push(one);
    }
    for script in 0..program.scripts.len() {
        let mut one = program.clone();
        one.scripts.remove(script);
        all.push(one);
        for at in (0..program.scripts[script].steps.len()).rev() {
            let mut one = program.clone();
            one.scripts[script].steps.remove(at);
            all.push(one);
        }
        if program.scripts[script].end != End::Continue {
            let mut one = program.clone();
            one.scripts[script].end = End::Continue;
            all.push(one);
        }
    }
    all
}

macro_rules! programs {
    ($($poller:ident $kind:ident: $($host:ident $name:ident)*;)*) => {$(
        mod $poller {
            use super::*;
            $(
                #[test]
                fn $name() {
                    explore(Setting {
                        poller: oneloop::PollerKind::$kind,
                        host: HostKind::$host,
                        raw: true,
                        face: Face::Rust,
                        traced: false,
                    });
                }
            )*
            /// The C ABI.
            #[test]
            fn c() {
                explore(Setting {
                    poller: oneloop::PollerKind::$kind,
                    host: HostKind::Turn,
                    raw: true,
                    face: Face::C,
                    traced: false,
                });
            }
            /// What safe Rust can do. With no number closed behind its back nothing is excused.
            #[test]
            fn safe() {
                explore(Setting {
                    poller: oneloop::PollerKind::$kind,
                    host: HostKind::Poll,
                    raw: false,
                    face: Face::Rust,
                    traced: false,
                });
            }
        }
    )*};
}

programs! {
    epoll Epoll: Turn turn Poll poll Epoll edges Tokio tokio AsyncIo async_io Nested nested;
    polling Polling: Turn turn Poll poll Epoll edges Tokio tokio AsyncIo async_io Nested nested;
}
