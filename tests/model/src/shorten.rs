//! Shortens a program that fails: takes out all that is not needed for the failure.

use std::time::{Duration, Instant};

use crate::{End, Program, Setting, Violation, run};

/// A program that hangs takes its time.
const PATIENCE: Duration = Duration::from_secs(60);

/// Takes out of a program what it fails without, and says how it fails then. `None` if it does not fail.
pub fn shorten(mut program: Program, setting: Setting) -> Option<(Program, Violation)> {
    let traced = Setting {
        traced: true,
        ..setting
    };
    let mut last = run(&program, traced).err()?;
    let until = Instant::now() + PATIENCE;
    let mut again = true;
    while std::mem::take(&mut again) {
        for shorter in shorter(&program) {
            if Instant::now() > until {
                break;
            }
            if let Err(violation) = run(&shorter, traced) {
                (program, last) = (shorter, violation);
                again = true;
                break;
            }
        }
    }
    Some((program, last))
}

/// A program without one of its steps, in every possible way.
fn shorter(program: &Program) -> Vec<Program> {
    let mut all = Vec::new();
    let mut without = |change: &dyn Fn(&mut Program)| {
        let mut one = program.clone();
        change(&mut one);
        all.push(one);
    };
    for at in (0..program.steps.len()).rev() {
        without(&|one| {
            one.steps.remove(at);
        });
    }
    for (script, what) in program.scripts.iter().enumerate() {
        without(&|one| {
            one.scripts.remove(script);
        });
        for at in (0..what.steps.len()).rev() {
            without(&|one| {
                one.scripts[script].steps.remove(at);
            });
        }
        if what.end != End::Continue {
            without(&|one| one.scripts[script].end = End::Continue);
        }
    }
    all
}
