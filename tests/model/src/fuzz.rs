//! Byte strings as programs, for `fuzz/`.

use arbitrary::Arbitrary;
use oneloop::PollerKind;

use crate::{HostKind, Program, Setting, run, shorten};

/// A program, and on what it runs first.
#[derive(Debug, Clone, Arbitrary)]
pub struct Input {
    /// On the `polling` crate.
    pub polling: bool,
    /// The first host.
    pub host: HostKind,
    /// The program that is run.
    pub program: Program,
}

/// Runs it.
///
/// # Panics
///
/// If it does what the contract does not allow: with a shorter program that does so, too, as a line for
/// `regressions.ron`.
pub fn must_hold(input: &Input, change: fn(Setting) -> Setting) {
    let poller = if input.polling {
        PollerKind::Polling
    } else {
        PollerKind::Epoll
    };
    let setting = change(Setting::new(poller, input.host));
    let Err(violation) = run(&input.program, setting) else {
        return;
    };
    match shorten(input.program.clone(), setting) {
        Some((program, violation)) => {
            let trace = violation.trace.join("\n");
            panic!("{setting:?}: {}\n{program}\n{trace}", violation.what)
        }
        None => panic!(
            "{setting:?}, and not when tried again: {}\n{}",
            violation.what, input.program
        ),
    }
}
