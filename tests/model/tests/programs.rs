//! Random programs on every host × poller. `ONELOOP_MODEL_STEPS` says how many steps they are to do
//! in all; what fails is shrunk, and kept in `regressions.txt`, which is run first.

use std::cell::Cell;

use oneloop_model::{HostKind, Program, Report, Setting, run};
use proptest::prelude::any;
use proptest::test_runner::{Config, FileFailurePersistence, TestCaseError, TestError, TestRunner};

/// The part of a test in all steps.
const TESTS: u64 = 14;
const STEPS: u64 = 1_000_000;
/// So many programs, and then it is seen whether that is enough.
const PROGRAMS: u32 = 100;

fn steps() -> u64 {
    let given = std::env::var("ONELOOP_MODEL_STEPS");
    given.map_or(STEPS, |given| given.parse().expect("a number of steps"))
}

fn explore(setting: Setting) {
    let mut runner = TestRunner::new(Config {
        cases: PROGRAMS,
        failure_persistence: Some(Box::new(FileFailurePersistence::Direct(
            "tests/regressions.txt",
        ))),
        max_shrink_iters: 20_000,
        // A hang takes its time.
        max_shrink_time: 120_000,
        ..Config::default()
    });
    let done = Cell::new(Report::default());
    let share = steps().div_ceil(TESTS);
    while done.get().steps < share {
        let result = runner.run(&any::<Program>(), |program| match run(&program, setting) {
            Ok(report) => {
                let sum = done.get();
                done.set(Report {
                    steps: sum.steps + report.steps,
                    calls: sum.calls + report.calls,
                    turns: sum.turns + report.turns,
                });
                Ok(())
            }
            Err(violation) => Err(TestCaseError::fail(violation.what)),
        });
        if let Err(TestError::Fail(reason, program)) = result {
            let traced = Setting {
                traced: true,
                ..setting
            };
            let program = without_idle_steps(program, setting);
            let trace = run(&program, traced).map_or_else(|again| again.trace, |_| Vec::new());
            let trace = trace.join("\n");
            panic!("after {:?}: {reason}\n{program:?}\n{trace}", done.get());
        } else if let Err(error) = result {
            panic!("{error}");
        }
    }
    println!("{setting:?}: {:?}", done.get());
}

/// Takes out what is not needed for a failure: proptest does so only before it makes steps simpler.
fn without_idle_steps(mut program: Program, setting: Setting) -> Program {
    let fails = |program: &Program| run(program, setting).is_err();
    for at in (0..program.steps.len()).rev() {
        let mut shorter = program.clone();
        shorter.steps.remove(at);
        if fails(&shorter) {
            program = shorter;
        }
    }
    for script in 0..program.scripts.len() {
        for at in (0..program.scripts[script].steps.len()).rev() {
            let mut shorter = program.clone();
            shorter.scripts[script].steps.remove(at);
            if fails(&shorter) {
                program = shorter;
            }
        }
    }
    program
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
                        traced: false,
                    });
                }
            )*
            /// What safe Rust can do. With no number closed behind its back nothing is excused.
            #[test]
            fn safe() {
                explore(Setting {
                    poller: oneloop::PollerKind::$kind,
                    host: HostKind::Poll,
                    raw: false,
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
