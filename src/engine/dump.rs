//! The loop as text, for people. What is there is copied under the lock, some at a time, and written as
//! text without it: the loop goes on meanwhile.

use std::fmt::{self, Write};
use std::ops::Range;
use std::panic::Location;
use std::time::Duration;

use super::descriptors::{Descriptor, ReadySource};
use super::handlers::Handler;
use super::limits::Limit;
use super::timers::{Schedule, Timer};
use super::{Core, State};
use crate::os::RawFd;
use crate::{Interest, Mode, Priority, Ready};

/// For so many the lock is held at a time.
const SOME: usize = 256;

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
        let hooks: Vec<_> = state.hooks.iter().map(|hook| hook.location).collect();
        drop(state);
        writeln!(out, "{by}; {} turns so far", stats.turns)?;
        writeln!(out, "{} handlers", stats.handlers)?;
        self.for_all(
            |state, places, lines| match state.handlers.some(places) {
                Some(some) => {
                    lines.extend(
                        some.map(|(handler, on, limit)| HandlerLine::new(handler, on, limit)),
                    );
                    true
                }
                None => false,
            },
            |line| line.write(out, now),
        )?;
        writeln!(out, "{} timers", stats.pending_timers)?;
        self.for_all(
            |state, places, lines| match state.timers.some(places) {
                Some(some) => {
                    lines.extend(
                        some.map(|(timer, plan, location)| TimerLine::new(timer, plan, location)),
                    );
                    true
                }
                None => false,
            },
            |line| line.write(out, now),
        )?;
        if !hooks.is_empty() {
            writeln!(out, "hooks")?;
        }
        for location in hooks {
            writeln!(out, "  added at {location}")?;
        }
        writeln!(out, "{} posts waiting", self.inbox.len())
    }

    /// Copies what is in some places after the others, with the lock, until `copy` says that there are no
    /// more; and writes each without.
    fn for_all<L>(
        &self,
        copy: impl Fn(&State, Range<usize>, &mut Vec<L>) -> bool,
        mut write: impl FnMut(&L) -> fmt::Result,
    ) -> fmt::Result {
        let mut lines = Vec::with_capacity(SOME);
        for begin in (0..).step_by(SOME) {
            let places = begin..begin + SOME;
            let Some(state) = self.try_state() else {
                break;
            };
            if !copy(&state, places, &mut lines) {
                break;
            }
            drop(state);
            lines.drain(..).try_for_each(|line| write(&line))?;
        }
        Ok(())
    }
}

struct HandlerLine {
    source: SourceKind,
    ready: Option<Ready>,
    mode: Mode,
    interest: Interest,
    is_closed: bool,
    is_armed: bool,
    again: bool,
    unreferenced: bool,
    priority: Priority,
    /// So many calls in so many nanoseconds, and until when it is held.
    limit: Option<(u32, u64, Option<u64>)>,
    calls: u64,
    location: &'static Location<'static>,
}

enum SourceKind {
    Descriptor(RawFd),
    AlwaysReady(RawFd),
    Aside(RawFd),
    Virtual,
}

impl HandlerLine {
    fn new(handler: &Handler, on: &Descriptor, limit: Option<&Limit>) -> HandlerLine {
        HandlerLine {
            source: match &on.told {
                ReadySource::ByKernel | ReadySource::Refused => SourceKind::Descriptor(on.fd),
                ReadySource::Always(_) => SourceKind::AlwaysReady(on.fd),
                ReadySource::Aside(_) => SourceKind::Aside(on.fd),
                ReadySource::By(_) => SourceKind::Virtual,
            },
            ready: on.ready(),
            mode: handler.mode,
            interest: handler.interest,
            is_closed: on.orphaned || on.closed,
            is_armed: handler.armed,
            again: handler.again,
            unreferenced: handler.unreferenced,
            priority: handler.priority,
            limit: limit.map(|limit| (limit.calls, limit.per, limit.held_until())),
            calls: handler.calls,
            location: handler.location,
        }
    }

    fn write(&self, out: &mut String, now: u64) -> fmt::Result {
        match self.source {
            SourceKind::Descriptor(fd) => write!(out, "  descriptor {fd}")?,
            SourceKind::AlwaysReady(fd) => write!(out, "  descriptor {fd} (always ready)")?,
            SourceKind::Aside(fd) => write!(out, "  descriptor {fd} (polled by a thread)")?,
            SourceKind::Virtual => write!(out, "  virtual source")?,
        }
        if let Some(ready) = self.ready {
            write!(out, " {ready:?}")?;
        }
        write!(out, ", {:?} {:?}", self.mode, self.interest)?;
        let remarks = [
            (self.is_closed, "closed by its owner"),
            (self.interest.is_empty(), "paused"),
            (!self.is_armed, "not armed"),
            (self.again, "again"),
            (self.unreferenced, "unref"),
        ];
        for (_, remark) in remarks.iter().filter(|(holds, _)| *holds) {
            write!(out, ", {remark}")?;
        }
        if self.priority != Priority::Normal {
            write!(out, ", priority {:?}", self.priority)?;
        }
        if let Some((calls, per, held_until)) = self.limit {
            let per = Duration::from_nanos(per);
            write!(out, ", at most {calls} calls in {per:?}")?;
            if let Some(until) = held_until {
                let left = Duration::from_nanos(until.saturating_sub(now));
                write!(out, ", held for {left:?}")?;
            }
        }
        writeln!(out, ", {} calls, added at {}", self.calls, self.location)
    }
}

struct TimerLine {
    deadline: u64,
    plan: Schedule,
    unreferenced: bool,
    location: &'static Location<'static>,
}

impl TimerLine {
    fn new(timer: &Timer, plan: Schedule, location: &'static Location<'static>) -> TimerLine {
        TimerLine {
            deadline: timer.deadline,
            plan,
            unreferenced: timer.unreferenced,
            location,
        }
    }

    fn write(&self, out: &mut String, now: u64) -> fmt::Result {
        let left = Duration::from_nanos(self.deadline.saturating_sub(now));
        write!(out, "  in {left:?}")?;
        if self.plan.at.is_some() {
            write!(out, " by the system clock")?;
        }
        if let Some(period) = self.plan.every {
            write!(out, ", every {:?}", Duration::from_nanos(period))?;
        }
        if self.unreferenced {
            write!(out, ", unref")?;
        }
        writeln!(out, ", set at {}", self.location)
    }
}
