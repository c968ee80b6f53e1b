//! The JSON of snapshots, and of Chrome's trace event format, which Perfetto reads, too.

use std::panic::Location;
use std::time::{Duration, Instant, SystemTime};

use oneloop::{
    CallbackKind, HandlerInfo, HookInfo, Id, Interest, PostInfo, ReadinessBy, Ready, TimerInfo,
};
use serde::{Serialize, Serializer};

use crate::recorder::{Record, Totals, What};
use crate::server::{State, nanoseconds};

/// The beginning of the names of the server's own handlers, timers and hooks.
pub(crate) const OWN: &str = "oneloop-inspect";

pub(crate) fn is_own(name: Option<&str>) -> bool {
    name.is_some_and(|name| name.starts_with(OWN))
}

/// Writes a value. None of those here can fail.
pub(crate) fn json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).unwrap_or_default()
}

/// A time in microseconds, as in traces.
pub(crate) struct Micros(pub(crate) u64);

impl Serialize for Micros {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(self.0 as f64 / 1000.0)
    }
}

impl std::fmt::Display for Micros {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{:03}", self.0 / 1000, self.0 % 1000)
    }
}

/// Text by way of `Display`.
pub(crate) struct Text<T>(pub(crate) T);

impl<T: std::fmt::Display> Serialize for Text<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

type Place = Text<&'static Location<'static>>;

#[derive(Serialize)]
pub(crate) struct Driver {
    pub(crate) name: &'static str,
    pub(crate) is_host: bool,
}

#[derive(Serialize)]
pub(crate) struct Stats {
    pub(crate) turns: u64,
    pub(crate) handler_calls: u64,
    pub(crate) timer_calls: u64,
    pub(crate) post_calls: u64,
    pub(crate) kernel_changes: u64,
    pub(crate) kernel_changes_saved: u64,
}

/// Sums in microseconds.
#[derive(Serialize)]
pub(crate) struct Times {
    watched: Micros,
    timed: Micros,
    in_callbacks: Micros,
    in_inspector: Micros,
    waiting: Micros,
    in_host: Micros,
}

impl From<Totals> for Times {
    fn from(totals: Totals) -> Times {
        Times {
            watched: Micros(totals.watched),
            timed: Micros(totals.timed),
            in_callbacks: Micros(totals.in_callbacks),
            in_inspector: Micros(totals.in_inspector),
            waiting: Micros(totals.waiting),
            in_host: Micros(totals.in_host),
        }
    }
}

#[derive(Serialize)]
pub(crate) struct Handler<'a> {
    id: String,
    name: Option<&'a str>,
    is_own: bool,
    fd: Option<i32>,
    /// The file behind the descriptor, or the event that the handler stands for.
    file: Option<String>,
    /// `signal` or `child`, for an event of the loop's own.
    event: Option<&'static str>,
    interest: String,
    mode: String,
    priority: String,
    ready: Option<String>,
    readiness: &'static str,
    is_paused: bool,
    is_armed: bool,
    is_called_again: bool,
    is_closed: bool,
    is_referenced: bool,
    keeps_alive: bool,
    /// Microseconds until it is watched again, if a limit holds it.
    held: Option<Micros>,
    location: Place,
    calls: u64,
    time_spent: Micros,
    /// The time of the last call that was timed.
    last_called: Option<Micros>,
}

impl<'a> Handler<'a> {
    /// Asks the kernel for the file.
    pub(crate) fn new(handler: &'a HandlerInfo, now: Instant, state: &State) -> Self {
        use oneloop::LoopEvent;
        let file = || handler.file().map(|file| file.to_string());
        let held = handler.limit.and_then(|limit| limit.held_until);
        Handler {
            id: handler.id.to_bits().to_string(),
            name: handler.name.as_deref(),
            is_own: is_own(handler.name.as_deref()),
            fd: handler.fd,
            file: handler.event.map(|event| event.to_string()).or_else(file),
            event: handler.event.map(|event| match event {
                LoopEvent::Signal(_) => "signal",
                LoopEvent::ChildExit(_) => "child",
                _ => "event",
            }),
            interest: interest(handler.interest),
            mode: format!("{:?}", handler.mode).to_lowercase(),
            priority: format!("{:?}", handler.priority).to_lowercase(),
            ready: handler.ready.map(ready),
            readiness: match handler.readiness {
                ReadinessBy::Kernel => "kernel",
                ReadinessBy::Thread => "thread",
                ReadinessBy::SetReadiness => "set",
                ReadinessBy::AlwaysReady => "always",
                _ => "other",
            },
            is_paused: handler.interest.is_empty(),
            is_armed: handler.is_armed,
            is_called_again: handler.is_called_again,
            is_closed: handler.is_closed,
            is_referenced: handler.is_referenced,
            keeps_alive: handler.keeps_alive,
            held: held.map(|until| micros(until.saturating_duration_since(now))),
            location: Text(handler.location),
            calls: handler.calls,
            time_spent: micros(handler.time_spent),
            last_called: handler.last_called.map(|at| Micros(state.since_start(at))),
        }
    }
}

#[derive(Serialize)]
pub(crate) struct Timer<'a> {
    id: String,
    name: Option<&'a str>,
    is_own: bool,
    /// Microseconds until it is due. `null` if it never is.
    due_in: Option<Micros>,
    period: Option<Micros>,
    /// Seconds since 1970, if it follows the system clock.
    system_time: Option<f64>,
    is_referenced: bool,
    keeps_alive: bool,
    location: Place,
    calls: u64,
    time_spent: Micros,
    last_called: Option<Micros>,
}

impl<'a> Timer<'a> {
    pub(crate) fn new(timer: &'a TimerInfo, now: Instant, state: &State) -> Self {
        let seconds = |time: SystemTime| {
            let since = time.duration_since(SystemTime::UNIX_EPOCH);
            since.map_or(0.0, |since| since.as_secs_f64())
        };
        let due_in = |deadline: Instant| deadline.saturating_duration_since(now);
        Timer {
            id: timer.id.to_bits().to_string(),
            name: timer.name.as_deref(),
            is_own: is_own(timer.name.as_deref()),
            due_in: timer.deadline.map(|deadline| micros(due_in(deadline))),
            period: timer.period.map(micros),
            system_time: timer.system_time.map(seconds),
            is_referenced: timer.is_referenced,
            keeps_alive: timer.keeps_alive,
            location: Text(timer.location),
            calls: timer.calls,
            time_spent: micros(timer.time_spent),
            last_called: timer.last_called.map(|at| Micros(state.since_start(at))),
        }
    }
}

#[derive(Serialize)]
pub(crate) struct Hook<'a> {
    id: String,
    name: Option<&'a str>,
    is_own: bool,
    guest: Option<Guest>,
    keeps_alive: bool,
    location: Place,
    calls: u64,
    time_spent: Micros,
    last_called: Option<Micros>,
}

impl<'a> Hook<'a> {
    pub(crate) fn new(hook: &'a HookInfo, now: Instant, state: &State) -> Self {
        let due_in = |deadline: Instant| micros(deadline.saturating_duration_since(now));
        let guest = hook.guest.map(|guest| Guest {
            turns: guest.turns,
            due_in: guest.deadline.map(due_in),
        });
        Hook {
            guest,
            id: hook.id.to_bits().to_string(),
            name: hook.name.as_deref(),
            is_own: is_own(hook.name.as_deref()),
            keeps_alive: hook.keeps_alive,
            location: Text(hook.location),
            calls: hook.calls,
            time_spent: micros(hook.time_spent),
            last_called: hook.last_called.map(|at| Micros(state.since_start(at))),
        }
    }
}

#[derive(Serialize)]
struct Guest {
    turns: u64,
    /// Microseconds until its next turn. `null` if it has set no time.
    due_in: Option<Micros>,
}

#[derive(Serialize)]
pub(crate) struct Post {
    id: String,
    priority: String,
    keeps_alive: bool,
    location: Place,
}

impl From<&PostInfo> for Post {
    fn from(post: &PostInfo) -> Post {
        Post {
            id: post.id.to_bits().to_string(),
            priority: format!("{:?}", post.priority).to_lowercase(),
            keeps_alive: true,
            location: Text(post.location),
        }
    }
}

/// An event of Chrome's trace event format.
#[derive(Serialize)]
pub(crate) struct TraceEvent<'a> {
    name: Text<Name<'a>>,
    cat: &'static str,
    ph: &'static str,
    pid: u32,
    tid: u32,
    args: TraceArgs,
    #[serde(skip_serializing_if = "Option::is_none")]
    ts: Option<Micros>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dur: Option<Micros>,
}

impl<'a> TraceEvent<'a> {
    /// Returns an event without its times, which are the last fields.
    pub(crate) fn without_times(record: &'a Record) -> TraceEvent<'a> {
        TraceEvent {
            ts: None,
            dur: None,
            ..TraceEvent::from(record)
        }
    }
}

#[derive(Serialize)]
#[serde(untagged)]
enum TraceArgs {
    Callback {
        id: String,
        location: Place,
        is_own: bool,
    },
    Turn {
        waited: Micros,
        in_host: Micros,
    },
}

/// The name of a callback, or else its place.
pub(crate) struct Name<'a>(&'a What);

impl std::fmt::Display for Name<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            What::Callback {
                name: Some(name), ..
            } => f.write_str(name),
            What::Callback { location, .. } => write!(f, "{location}"),
            What::Turn { .. } => f.write_str("turn"),
        }
    }
}

impl<'a> From<&'a Record> for TraceEvent<'a> {
    fn from(record: &'a Record) -> TraceEvent<'a> {
        let (cat, args) = match &record.what {
            What::Callback {
                kind,
                id,
                name,
                location,
            } => {
                let args = TraceArgs::Callback {
                    id: bits(*id).to_string(),
                    location: Text(location),
                    is_own: is_own(name.as_deref()),
                };
                (kind_name(*kind), args)
            }
            What::Turn { waited, hosted } => {
                let args = TraceArgs::Turn {
                    waited: Micros(*waited),
                    in_host: Micros(*hosted),
                };
                ("turn", args)
            }
        };
        TraceEvent {
            name: Text(Name(&record.what)),
            cat,
            ph: "X",
            pid: std::process::id(),
            tid: 1,
            args,
            ts: Some(Micros(record.began)),
            dur: Some(Micros(record.took)),
        }
    }
}

/// The name of the process, or of its only track, in a trace.
#[derive(Serialize)]
pub(crate) struct TraceName<'a> {
    name: &'static str,
    ph: &'static str,
    pid: u32,
    tid: u32,
    args: Named<'a>,
}

#[derive(Serialize)]
struct Named<'a> {
    name: &'a str,
}

impl<'a> TraceName<'a> {
    pub(crate) fn new(of: &'static str, name: &'a str) -> TraceName<'a> {
        TraceName {
            name: of,
            ph: "M",
            pid: std::process::id(),
            tid: 1,
            args: Named { name },
        }
    }
}

fn kind_name(kind: CallbackKind) -> &'static str {
    match kind {
        CallbackKind::Handler => "handler",
        CallbackKind::Timer => "timer",
        CallbackKind::Post => "post",
        CallbackKind::Hook => "hook",
        _ => "callback",
    }
}

pub(crate) fn bits(id: Id) -> u64 {
    match id {
        Id::Handler(id) => id.to_bits(),
        Id::Timer(id) => id.to_bits(),
        Id::Hook(id) => id.to_bits(),
        Id::Post(id) => id.to_bits(),
        _ => 0,
    }
}

fn interest(interest: Interest) -> String {
    let names = [
        (Interest::READABLE, "read"),
        (Interest::WRITABLE, "write"),
        (Interest::PRIORITY, "priority"),
        (Interest::READ_CLOSED, "read closed"),
    ];
    listed(names.map(|(bit, name)| (interest.contains(bit), name)))
}

fn ready(ready: Ready) -> String {
    let names = [
        (Ready::READABLE, "readable"),
        (Ready::WRITABLE, "writable"),
        (Ready::PRIORITY, "priority"),
        (Ready::READ_CLOSED, "read closed"),
        (Ready::HANGUP, "hang-up"),
        (Ready::ERROR, "error"),
    ];
    listed(names.map(|(bit, name)| (ready.contains(bit), name)))
}

/// Returns the names of the bits that are set.
fn listed<const N: usize>(names: [(bool, &str); N]) -> String {
    let set = names.iter().filter(|(is_set, _)| *is_set);
    set.map(|(_, name)| *name).collect::<Vec<_>>().join(", ")
}

fn micros(time: Duration) -> Micros {
    Micros(nanoseconds(time))
}

/// The name of the program.
pub(crate) fn program() -> String {
    let path = std::env::current_exe().unwrap_or_default();
    let name = path.file_name().unwrap_or_default();
    name.to_string_lossy().into_owned()
}
