//! The loop as text, for people.

use std::fmt::{self, Write};
use std::time::Duration;

use super::Core;
use super::descriptors::{Descriptor, Told};
use super::handlers::Handler;
use super::timers::{Plan, Timer};

impl Core {
    pub(crate) fn dump(&self) -> String {
        let mut text = String::new();
        // Writing to a string does not fail.
        let _ = self.write(&mut text);
        text
    }

    fn write(&self, out: &mut String) -> fmt::Result {
        let stats = self.stats();
        let now = self.clock.now();
        let Some(state) = self.try_state() else {
            return writeln!(out, "the reactor belongs to the parent process");
        };
        let by = match (state.host, state.driver) {
            (Some(host), Some(_)) => format!("the host {host} is driving"),
            (Some(host), None) => format!("the host {host} is waiting"),
            (None, Some((call, _))) => format!("{call} is driving"),
            (None, None) => "nobody is driving".into(),
        };
        writeln!(out, "{by}; {} turns so far", stats.turns)?;
        writeln!(out, "{} handlers", stats.handlers)?;
        for (handler, descriptor) in state.handlers.iter() {
            write_handler(out, handler, descriptor)?;
        }
        writeln!(out, "{} timers", stats.pending_timers)?;
        for (timer, plan, place) in state.timers.iter() {
            write_timer(out, timer, plan, now)?;
            writeln!(out, ", set at {place}")?;
        }
        if !state.hooks.is_empty() {
            writeln!(out, "hooks")?;
        }
        for hook in state.hooks.iter() {
            writeln!(out, "  added at {}", hook.place)?;
        }
        writeln!(out, "{} posts waiting", self.inbox.len())
    }
}

fn write_handler(out: &mut String, handler: &Handler, descriptor: &Descriptor) -> fmt::Result {
    match &descriptor.told {
        Told::ByKernel => write!(out, "  descriptor {}", descriptor.fd)?,
        Told::Always(_) => write!(out, "  descriptor {} (always ready)", descriptor.fd)?,
        Told::Aside(_) => write!(out, "  descriptor {} (polled by a thread)", descriptor.fd)?,
        Told::By(_) => write!(out, "  virtual source")?,
    }
    if let Some(ready) = descriptor.ready() {
        write!(out, " {ready:?}")?;
    }
    let (mode, interest) = (handler.mode, handler.interest);
    write!(out, ", {mode:?} {interest:?}")?;
    let remarks = [
        (
            descriptor.orphaned || descriptor.closed,
            "closed by its owner",
        ),
        (interest.is_none(), "paused"),
        (!handler.armed, "not armed"),
        (handler.again, "again"),
        (handler.unreferenced, "unref"),
    ];
    for (_, remark) in remarks.iter().filter(|(holds, _)| *holds) {
        write!(out, ", {remark}")?;
    }
    writeln!(out, ", {} calls, added at {}", handler.calls, handler.place)
}

fn write_timer(out: &mut String, timer: &Timer, plan: Plan, now: u64) -> fmt::Result {
    let left = Duration::from_nanos(timer.deadline.saturating_sub(now));
    write!(out, "  in {left:?}")?;
    if plan.at.is_some() {
        write!(out, " by the system clock")?;
    }
    if let Some(period) = plan.every {
        write!(out, ", every {:?}", Duration::from_nanos(period))?;
    }
    if timer.unreferenced {
        write!(out, ", unref")?;
    }
    Ok(())
}
