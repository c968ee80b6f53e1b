//! Recording: which callbacks ran, how long they took, and what the loop did in between.
//!
//! The loop times callbacks only while a page is open, and then within a budget: if the loop is so busy that timing
//! each call would cost more, only the beginning of each tick is timed.

use std::collections::VecDeque;
use std::panic::Location;
use std::sync::Arc;
use std::thread::{self, ThreadId};
use std::time::Duration;

use oneloop::{CallbackKind, CallbackRun, HookId, Id, ObserverId, Reactor};

use crate::inspectable::Inspectable;
use crate::server::{State, adopt, nanoseconds};
use crate::text::{bits, is_own};

/// Records that are kept.
const CAPACITY: usize = 16 * 1024;
/// Time after the last request for a recording, after which the page counts as closed.
const ABSENCE: Duration = Duration::from_secs(3);
/// Sources whose longest call is kept.
const LONGEST: usize = 12;
/// The time that recording may take in each tick, in nanoseconds: 2.5 %. What is left is for later.
const BUDGET: i64 = 2_500_000;
const SAVINGS: i64 = 5 * BUDGET;
/// The time that one call costs, and that one turn costs beside its calls, two of which are the hooks of this server.
/// A call in a turn of its own is some 4000 instructions and a system call more, and its text 1000.
const CALL: i64 = 300;
const TURN: i64 = 1_500;

#[derive(Default)]
pub(crate) struct Recorder {
    /// `None` while no page is open.
    recording: Option<Recording>,
    pub(crate) totals: Totals,
    /// The longest call of each source, longest first.
    longest: Vec<Record>,
}

struct Recording {
    records: VecDeque<Record>,
    /// Number of records so far.
    count: u64,
    /// By the loop's clock.
    last_asked: u64,
    /// The time up to which the totals count.
    counted: u64,
    burst: Option<Burst>,
}

/// A time in which all is timed.
struct Burst {
    observer: Option<ObserverId>,
    hook: Option<HookId>,
    /// The time that recording may still take, in nanoseconds.
    budget: i64,
    turn_began: Option<u64>,
    /// The end of the last turn, and how long that took.
    left: Option<(u64, u64)>,
    /// The processor time of the thread when the last turn began.
    processor: Option<(u64, ThreadId)>,
    waited: u64,
    hosted: u64,
}

/// Sums, in nanoseconds. They only grow.
#[derive(Default, Clone, Copy)]
pub(crate) struct Totals {
    /// Time in which a page was open.
    pub(crate) watched: u64,
    /// The part of it in which all was timed. The others are parts of this.
    pub(crate) timed: u64,
    pub(crate) in_callbacks: u64,
    /// In callbacks of this server.
    pub(crate) in_inspector: u64,
    /// Between turns, without using the processor.
    pub(crate) waiting: u64,
    /// Between turns, using the processor: in the host, or in the kernel.
    pub(crate) in_host: u64,
}

#[derive(Clone)]
pub(crate) struct Record {
    /// In nanoseconds since the start, as all times here.
    pub(crate) began: u64,
    pub(crate) took: u64,
    pub(crate) what: What,
}

#[derive(Clone)]
pub(crate) enum What {
    Callback {
        kind: CallbackKind,
        id: Id,
        name: Option<Arc<str>>,
        location: &'static Location<'static>,
    },
    /// A turn, and the time before it.
    Turn { waited: u64, hosted: u64 },
}

impl Record {
    /// Returns a number for what is called: the id, or for a post, which has an id of its own each time, its place.
    /// A turn has none.
    pub(crate) fn source(&self) -> Option<(CallbackKind, u64)> {
        match self.what {
            What::Callback {
                kind: kind @ CallbackKind::Post,
                location,
                ..
            } => Some((kind, std::ptr::from_ref(location) as u64)),
            What::Callback { kind, id, .. } => Some((kind, bits(id))),
            What::Turn { .. } => None,
        }
    }
}

impl Recorder {
    pub(crate) fn is_on(&self) -> bool {
        self.recording.is_some()
    }

    pub(crate) fn longest(&self) -> &[Record] {
        &self.longest
    }

    /// Returns the cursor of the next record.
    pub(crate) fn cursor(&self) -> u64 {
        self.recording
            .as_ref()
            .map_or(0, |recording| recording.count)
    }

    /// Returns up to `most` of the records since `cursor`, the new cursor, and how many before them were not kept.
    pub(crate) fn since(&self, cursor: u64, most: usize) -> (Vec<Record>, u64, u64) {
        let Some(recording) = &self.recording else {
            return (Vec::new(), cursor, 0);
        };
        let (records, count) = (&recording.records, recording.count);
        let oldest = count - records.len() as u64;
        // A cursor of an earlier recording may be beyond.
        let cursor = if cursor > count { 0 } else { cursor };
        let from = cursor.max(oldest);
        let some = records.iter().skip((from - oldest) as usize).take(most);
        let some: Vec<_> = some.cloned().collect();
        let next = from + some.len() as u64;
        (some, next, from - cursor)
    }

    /// Notes a call. Returns true if the budget is spent.
    fn called(&mut self, began: u64, run: &CallbackRun) -> bool {
        let Some(recording) = &mut self.recording else {
            return false;
        };
        let Some(burst) = &mut recording.burst else {
            return false;
        };
        burst.budget -= CALL;
        let is_own = is_own(run.name.as_deref());
        // The hooks of this server only measure.
        if is_own && run.kind == CallbackKind::Hook {
            return burst.budget <= 0;
        }
        let took = nanoseconds(run.took);
        self.totals.in_callbacks += took;
        if is_own {
            self.totals.in_inspector += took;
        }
        let record = Record {
            began,
            took,
            what: What::Callback {
                kind: run.kind,
                id: run.id,
                name: run.name.clone(),
                location: run.location,
            },
        };
        let is_spent = burst.budget <= 0;
        let has_room = self.longest.len() < LONGEST;
        if !is_own && (has_room || self.longest.last().is_some_and(|least| least.took < took)) {
            note_longest(&mut self.longest, &record);
        }
        recording.push(record);
        is_spent
    }

    /// Notes the beginning of a turn.
    fn turn_begins(&mut self, now: u64) {
        let Some(burst) = self.burst() else { return };
        burst.budget -= TURN;
        burst.turn_began = Some(now);
        // Reading it takes much of what a turn costs, so the time in turns is taken for processor time.
        let (processor, thread) = (processor_time(), thread::current().id());
        let before = burst.processor.replace((processor, thread));
        let Some((left, took)) = burst.left.take() else {
            return;
        };
        let away = now.saturating_sub(left);
        // The processor time of another thread says nothing.
        let hosted = match before {
            Some((before, same)) if same == thread => {
                let used = processor.saturating_sub(before);
                used.saturating_sub(took).min(away)
            }
            _ => 0,
        };
        (burst.waited, burst.hosted) = (away - hosted, hosted);
        self.totals.waiting += away - hosted;
        self.totals.in_host += hosted;
    }

    /// Notes the end of a turn. Returns true if the budget is spent.
    fn turn_ends(&mut self, now: u64) -> bool {
        let Some(burst) = self.burst() else {
            return false;
        };
        // The hook may be called twice in a row.
        let Some(began) = burst.turn_began.take() else {
            return false;
        };
        let took = now.saturating_sub(began);
        burst.left = Some((now, took));
        let what = What::Turn {
            waited: std::mem::take(&mut burst.waited),
            hosted: std::mem::take(&mut burst.hosted),
        };
        let is_spent = burst.budget <= 0;
        let record = Record { began, took, what };
        if let Some(recording) = &mut self.recording {
            recording.push(record);
        }
        is_spent
    }

    fn burst(&mut self) -> Option<&mut Burst> {
        self.recording.as_mut()?.burst.as_mut()
    }

    /// Brings the totals up to date.
    pub(crate) fn count(&mut self, now: u64) {
        let Some(recording) = &mut self.recording else {
            return;
        };
        let passed = now.saturating_sub(recording.counted);
        recording.counted = now;
        self.totals.watched += passed;
        if recording.burst.is_some() {
            self.totals.timed += passed;
        }
    }

    fn end_burst(&mut self, now: u64) -> Option<Burst> {
        self.count(now);
        self.recording.as_mut()?.burst.take()
    }
}

impl Recording {
    fn push(&mut self, record: Record) {
        if self.records.len() == CAPACITY {
            self.records.pop_front();
        }
        self.records.push_back(record);
        self.count += 1;
    }
}

/// Keeps the longest call of each source.
#[cold]
fn note_longest(longest: &mut Vec<Record>, record: &Record) {
    let same = longest
        .iter()
        .position(|other| other.source() == record.source());
    match same {
        Some(at) if longest[at].took >= record.took => return,
        Some(at) => drop(longest.remove(at)),
        None => {}
    }
    let at = longest.partition_point(|other| other.took >= record.took);
    longest.insert(at, record.clone());
    longest.truncate(LONGEST);
}

impl State {
    /// Begins to record, or goes on, since a page is open.
    pub(crate) fn record<M: Inspectable>(self: &Arc<Self>, reactor: &Reactor<M>) {
        let (now, last_asked) = (self.now(), self.loop_now(reactor));
        let mut recorder = self.recorder();
        if let Some(recording) = &mut recorder.recording {
            recording.last_asked = last_asked;
            return;
        }
        recorder.recording = Some(Recording {
            records: VecDeque::new(),
            count: 0,
            last_asked,
            counted: now,
            burst: None,
        });
        recorder.longest.clear();
        drop(recorder);
        self.begin_burst(reactor, now);
        if !self.start_ticking(reactor) {
            self.stop_recording(reactor);
        }
    }

    /// Goes on with a new budget, at a tick. Returns false if no page is open any more.
    pub(crate) fn go_on_recording<M: Inspectable>(self: &Arc<Self>, reactor: &Reactor<M>) -> bool {
        let now = self.now();
        let mut recorder = self.recorder();
        let Some(recording) = &mut recorder.recording else {
            return false;
        };
        if self.loop_now(reactor).saturating_sub(recording.last_asked) > nanoseconds(ABSENCE) {
            drop(recorder);
            self.stop_recording(reactor);
            return false;
        }
        match &mut recording.burst {
            Some(burst) => {
                burst.budget = (burst.budget + BUDGET).min(SAVINGS);
                recorder.count(now);
            }
            None => {
                drop(recorder);
                self.begin_burst(reactor, now);
            }
        }
        true
    }

    pub(crate) fn stop_recording<M: Inspectable>(self: &Arc<Self>, reactor: &Reactor<M>) {
        let now = self.now();
        self.end_burst(reactor, now);
        self.recorder().recording = None;
    }

    /// Begins to time, in a callback of the loop.
    fn begin_burst<M: Inspectable>(self: &Arc<Self>, reactor: &Reactor<M>, now: u64) {
        let mut recorder = self.recorder();
        recorder.count(now);
        if let Some(recording) = &mut recorder.recording {
            recording.burst = Some(Burst {
                observer: None,
                hook: None,
                budget: BUDGET,
                turn_began: Some(now),
                left: None,
                processor: None,
                waited: 0,
                hosted: 0,
            });
        }
        drop(recorder);
        let state = self.clone();
        let observer = M::observe(reactor, move |run| {
            let began = state.since_start(run.started);
            if state.recorder().called(began, run) {
                state.pause::<M>();
            }
        });
        let [begins, ends] = [self.clone(), self.clone()];
        let prepare = move || {
            let now = ends.now();
            if ends.recorder().turn_ends(now) {
                ends.pause::<M>();
            }
            None
        };
        let check = move || {
            let now = begins.now();
            begins.recorder().turn_begins(now);
        };
        let hook = M::add_hook(reactor, prepare, check);
        if let Ok(id) = hook {
            adopt(reactor, id, "hook");
        }
        if let Some(burst) = self.recorder().burst() {
            (burst.observer, burst.hook) = (observer.ok(), hook.ok());
        }
    }

    /// Stops timing until the next tick, because the budget is spent.
    #[cold]
    fn pause<M: Inspectable>(self: &Arc<Self>) {
        if let Ok(reactor) = M::current() {
            let now = self.now();
            self.end_burst(&reactor, now);
        }
    }

    fn end_burst<M: Inspectable>(self: &Arc<Self>, reactor: &Reactor<M>, now: u64) {
        // Unlocked first, because the loop drops the closures.
        let burst = self.recorder().end_burst(now);
        let Some(burst) = burst else { return };
        if let Some(observer) = burst.observer {
            let _ = reactor.remove_observer(observer);
        }
        if let Some(hook) = burst.hook {
            let _ = reactor.remove_hook(hook);
        }
    }
}

/// Returns the processor time of this thread in nanoseconds.
fn processor_time() -> u64 {
    // Not by rustix, which reads the vdso and finds none under valgrind.
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the call writes into a `timespec` on the stack.
    if unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) } != 0 {
        return 0;
    }
    // Neither is negative.
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}
