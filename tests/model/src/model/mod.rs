//! The reference: a loop over poll(2) and tables, so plain that it is obviously right. It cannot
//! know in which order a reactor calls two handlers that are both ready, so it does not call them
//! itself: it is told of each call, and says whether that must be, may be, or must not be.
//!
//! A turn is cut into phases. What must be called in a phase is found when the phase begins, and
//! whether it was, when the next one does.

mod handlers;
mod timers;

use std::collections::VecDeque;

pub(crate) use handlers::{Bound, Handler, Place};
use oneloop::{Mode, PollerKind, Stats};
pub(crate) use timers::{Time, Timer};

use crate::Setting;
use crate::step::Urgency;
use crate::world::World;

/// Where in a turn the loop is. Each phase comes after those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    /// Between turns.
    Rest,
    Prepare,
    /// Handlers that are ready now are called in this turn.
    Check,
    Urgent,
    Handlers,
    Timers,
    Posts,
    Idle,
    Over,
}

impl Phase {
    fn next(self) -> Phase {
        match self {
            Phase::Rest => Phase::Prepare,
            Phase::Prepare => Phase::Check,
            Phase::Check => Phase::Urgent,
            Phase::Urgent => Phase::Handlers,
            Phase::Handlers => Phase::Timers,
            Phase::Timers => Phase::Posts,
            Phase::Posts => Phase::Idle,
            Phase::Idle | Phase::Over => Phase::Over,
        }
    }
}

/// More turns than a step takes without a call.
const MANY_TURNS: u64 = 20_000;

pub(crate) struct Model {
    pub(crate) world: World,
    pub(crate) handlers: Vec<Handler>,
    pub(crate) timers: Vec<Timer>,
    pub(crate) posts: Vec<Post>,
    pub(crate) hooks: Vec<Hook>,
    /// The clocks, in nanoseconds since the loop was made.
    pub(crate) now: i64,
    pub(crate) system: i64,
    /// How many turns there were, the one that is going on included.
    turn: u64,
    phase: Phase,
    /// A callback is running.
    inside: bool,
    /// How often the reactor was driven.
    pub(crate) drives: u64,
    /// How many callbacks were called in this turn, hooks not counted, and how many handlers and
    /// timers in all.
    pub(crate) called: usize,
    events: u64,
    fired: u64,
    /// In this turn something was ready, whether or not it was called in the end.
    stirred: bool,
    /// The posts that are still to be called in this turn, and those that come later.
    urgent: [VecDeque<usize>; 2],
    normal: [VecDeque<usize>; 2],
    idle: VecDeque<usize>,
    due: VecDeque<usize>,
    /// `stop` was called, and no driver has stopped yet.
    pub(crate) stop: bool,
    /// The stop came from a hook that was asked after the turn, so that it is for the next.
    late_stop: bool,
    /// A file was closed while a dup keeps it open, and the kernel goes on reporting it.
    ghosts: bool,
    pub(crate) closed: bool,
    /// The poller takes priority data for something to read.
    reads_priority: bool,
    /// Removed callbacks are dropped in the next turn, by C's destroy functions.
    drops_later: bool,
    /// The first thing that the contract does not allow.
    pub(crate) violation: Option<String>,
    /// The steps so far, for people.
    pub(crate) trace: Option<Vec<String>>,
}

pub(crate) struct Post {
    urgency: Urgency,
    pub(crate) dropped: bool,
    queued: bool,
}

impl Post {
    pub(crate) fn new(urgency: Urgency) -> Post {
        Post {
            urgency,
            dropped: false,
            queued: false,
        }
    }
}

pub(crate) struct Hook {
    pub(crate) id: u64,
    pub(crate) alive: bool,
    /// How many of its two callbacks were dropped.
    pub(crate) dropped: u8,
    /// It was asked how long the loop may sleep, and nothing was called since.
    asked: bool,
    /// It came while the loop slept, and was not asked yet.
    new: bool,
    /// Until when it lets the loop sleep.
    limit: Option<i64>,
}

impl Hook {
    pub(crate) fn new() -> Hook {
        Hook {
            id: 0,
            alive: false,
            dropped: 0,
            asked: false,
            new: false,
            limit: None,
        }
    }
}

impl Model {
    pub(crate) fn new(setting: Setting) -> Model {
        Model {
            world: World::default(),
            handlers: Vec::new(),
            timers: Vec::new(),
            posts: Vec::new(),
            hooks: Vec::new(),
            now: 0,
            system: 0,
            turn: 0,
            phase: Phase::Rest,
            inside: false,
            drives: 0,
            called: 0,
            events: 0,
            fired: 0,
            stirred: false,
            urgent: Default::default(),
            normal: Default::default(),
            idle: VecDeque::new(),
            due: VecDeque::new(),
            stop: false,
            late_stop: false,
            ghosts: false,
            closed: false,
            reads_priority: setting.poller != PollerKind::Epoll,
            drops_later: setting.in_c(),
            violation: None,
            trace: setting.traced.then(Vec::new),
        }
    }

    /// This must not be.
    pub(crate) fn violated(&mut self, what: impl Into<String>) {
        let what = what.into();
        self.note(|| format!("!! {what}"));
        self.violation.get_or_insert(what);
    }

    pub(crate) fn note(&mut self, what: impl FnOnce() -> String) {
        if let Some(trace) = &mut self.trace {
            let indent = if self.inside { "    " } else { "" };
            trace.push(format!("{indent}{}", what()));
        }
    }

    pub(crate) fn is_inside(&self) -> bool {
        self.inside
    }

    // Turns.

    /// A callback begins, in this turn and phase.
    pub(crate) fn enter(&mut self, turn: u64, phase: Phase) {
        if self.inside {
            self.violated("a callback was called inside another");
        }
        self.catch_up(turn);
        match phase {
            Phase::Prepare if self.phase > Phase::Prepare => self.finish(false),
            Phase::Prepare => {}
            _ => self.reach(phase),
        }
        // A check hook's calls are for the next turn, and do not wait for idle posts.
        self.stirred |= phase == Phase::Check;
        if phase != Phase::Prepare {
            self.hooks.iter_mut().for_each(|hook| hook.asked = false);
        }
        if phase > Phase::Check {
            if self.stop {
                self.violated("a callback was called after a stop");
            }
            if phase == Phase::Idle && self.called > 0 {
                self.violated("an idle post was called in a turn that had something else to do");
            }
            self.called += 1;
        }
        self.inside = true;
    }

    pub(crate) fn leave(&mut self) {
        self.inside = false;
    }

    pub(crate) fn stop(&mut self) {
        self.stop = true;
        self.late_stop = self.inside && self.phase == Phase::Rest;
    }

    /// The driver says whether it was stopped.
    pub(crate) fn stopped(&mut self, is: bool) {
        let late = std::mem::take(&mut self.late_stop) && !is;
        if is != self.stop && !late && !self.closed {
            let text = format!("stopped: {is}, after a call of stop: {}", self.stop);
            self.violated(text);
        }
        self.stop &= !is;
    }

    /// The driver has returned. `aborted`: by a panic.
    pub(crate) fn driven(&mut self, turn: u64, aborted: bool) {
        self.inside = false;
        self.drives += 1;
        self.catch_up(turn);
        self.finish(aborted);
    }

    /// A driver has come back, perhaps in the middle of a turn, with which the next goes on. That is in a
    /// phase in which something is left to call.
    pub(crate) fn broken_off(&mut self, turn: u64) {
        self.inside = false;
        self.drives += 1;
        self.catch_up(turn);
        let is_left = match self.phase {
            // In C, posts of high priority that destroy what was cancelled may be left.
            Phase::Prepare | Phase::Check | Phase::Urgent if self.drops_later => true,
            Phase::Urgent => !self.urgent[0].is_empty(),
            Phase::Timers => self.has_timers_left(),
            Phase::Posts => !self.normal[0].is_empty(),
            _ => false,
        };
        if !is_left {
            self.finish(false);
        }
    }

    fn catch_up(&mut self, turn: u64) {
        // To go through all of these would take longer than they took.
        let spins = turn - self.turn > MANY_TURNS;
        if spins {
            self.violated("turn after turn, and no callback was called");
        }
        if self.closed || spins {
            self.turn = turn;
        }
        while self.turn < turn {
            self.finish(false);
            self.turn += 1;
            self.phase = Phase::Prepare;
            self.called = 0;
            self.stirred = false;
        }
    }

    fn finish(&mut self, aborted: bool) {
        if self.phase == Phase::Rest {
            return;
        }
        if self.closed {
            self.phase = Phase::Rest;
        } else if aborted || self.stop {
            // After a stop the turn goes on, without calls.
            if !aborted && self.phase == Phase::Prepare {
                self.gather();
            }
            if self.phase > Phase::Prepare {
                self.keep_left_overs();
            }
        } else {
            self.reach(Phase::Over);
        }
        self.phase = Phase::Rest;
    }

    fn reach(&mut self, phase: Phase) {
        if self.phase == Phase::Rest || phase < self.phase {
            let text = format!("{phase:?} came after {:?}", self.phase);
            return self.violated(text);
        }
        while self.phase < phase {
            self.end_phase();
            self.phase = self.phase.next();
            self.begin_phase();
        }
    }

    fn begin_phase(&mut self) {
        let take = |[now, later]: &mut [VecDeque<usize>; 2]| now.append(later);
        match self.phase {
            Phase::Check => self.gather(),
            Phase::Urgent => take(&mut self.urgent),
            Phase::Timers => self.take_due(),
            Phase::Posts => take(&mut self.normal),
            _ => {}
        }
    }

    fn end_phase(&mut self) {
        match self.phase {
            Phase::Urgent if !self.urgent[0].is_empty() => {
                self.violated("a post of high priority was not called in its turn");
            }
            Phase::Handlers => self.all_handlers_were_called(),
            Phase::Timers => self.all_timers_were_called(),
            Phase::Posts if !self.normal[0].is_empty() => {
                self.violated("a post was not called in its turn");
            }
            Phase::Idle if self.called == 0 && !self.stirred => {
                if let Some(label) = self.idle.front() {
                    let text =
                        format!("the idle post {label} was not called, and nothing else was");
                    self.violated(text);
                }
            }
            _ => {}
        }
    }

    fn keep_left_overs(&mut self) {
        self.keep_handlers();
        self.keep_timers();
        for [now, later] in [&mut self.urgent, &mut self.normal] {
            now.append(later);
            std::mem::swap(now, later);
        }
    }

    // Posts.

    pub(crate) fn posted(&mut self, label: usize) {
        let post = &mut self.posts[label];
        post.queued = true;
        match post.urgency {
            Urgency::High => self.urgent[1].push_back(label),
            Urgency::Normal => self.normal[1].push_back(label),
            Urgency::Idle => self.idle.push_back(label),
        }
    }

    pub(crate) fn post_called(&mut self, label: usize) {
        let post = &mut self.posts[label];
        post.queued = false;
        let line = match post.urgency {
            Urgency::High => &mut self.urgent[0],
            Urgency::Normal => &mut self.normal[0],
            Urgency::Idle => &mut self.idle,
        };
        if line.front() == Some(&label) {
            line.pop_front();
        } else {
            self.violated(format!("the post {label} was called out of its turn"));
        }
    }

    // Hooks.

    pub(crate) fn prepared(&mut self, label: usize, limit: Option<i64>) {
        let hook = &mut self.hooks[label];
        (hook.asked, hook.new) = (true, false);
        hook.limit = limit;
    }

    pub(crate) fn hook_added(&mut self, label: usize, id: u64) {
        let hook = &mut self.hooks[label];
        hook.id = id;
        hook.alive = true;
        hook.new = !self.inside;
    }

    pub(crate) fn hook_called(&mut self, label: usize) {
        if !self.hooks[label].alive {
            self.violated(format!("the hook {label} was called after it was removed"));
        }
    }

    // The next turn.

    /// Something that the next turn must do.
    pub(crate) fn to_do(&self) -> Option<String> {
        if self.closed {
            return None;
        }
        if self.stop {
            return Some("to stop".into());
        }
        let lines = [&self.urgent[1], &self.normal[1], &self.idle];
        if let Some(post) = lines.iter().find_map(|line| line.front()) {
            return Some(format!("to call post {post}"));
        }
        for (label, hook) in self.hooks.iter().enumerate() {
            if hook.alive && hook.new {
                return Some(format!("to ask hook {label}"));
            }
            let late = hook.limit.is_some_and(|limit| limit <= self.now);
            if hook.alive && hook.asked && late {
                return Some(format!("to wake up for hook {label}"));
            }
        }
        if let (true, Some((what, false))) = (self.drops_later, self.wrongly_dropped().first()) {
            return Some(format!("to drop {what}"));
        }
        self.due_timer().or_else(|| self.due_handler())
    }

    /// All hooks were asked after the last callback.
    pub(crate) fn may_sleep(&mut self) {
        if let Some(label) = self.hooks.iter().position(|hook| hook.alive && !hook.asked) {
            self.violated(format!("the loop sleeps, and hook {label} was not asked"));
        }
    }

    /// Something is left that keeps `run` going; what is sure to, or what may.
    pub(crate) fn keeps_going(&self, sure: bool) -> bool {
        let posts = [&self.urgent[0], &self.urgent[1], &self.normal[0]];
        let posts = posts.into_iter().chain([&self.normal[1], &self.idle]);
        !self.closed
            && (self.handlers.iter().any(|one| one.keeps_going(sure))
                || self.timers.iter().any(Timer::keeps_going)
                || posts.into_iter().any(|line| !line.is_empty()))
    }

    /// There are files closed behind the loop's back, of which the kernel may go on telling.
    pub(crate) fn needs_rebuild(&self) -> bool {
        self.ghosts || self.handlers.iter().any(Handler::is_loose)
    }

    /// No callback is left, and nothing is to be dropped any more.
    pub(crate) fn close(&mut self) {
        self.closed = true;
        self.stop = true;
        for one in &mut self.handlers {
            one.alive = false;
        }
        for one in &mut self.timers {
            one.alive = false;
        }
        for one in &mut self.hooks {
            one.alive = false;
        }
        for one in &mut self.posts {
            one.queued = false;
        }
        for line in self.urgent.iter_mut().chain(&mut self.normal) {
            line.clear();
        }
        self.idle.clear();
        self.due.clear();
    }

    /// Compares with what the loop says of itself, and with what was dropped.
    pub(crate) fn audit(&mut self, stats: &Stats) {
        let count = |mode| {
            let all = self.handlers.iter();
            all.filter(|one| one.alive && one.mode == mode).count()
        };
        let timers = self.timers.iter().filter(|timer| timer.alive).count();
        let mut expected = stats.clone();
        expected.handler_calls = self.events;
        expected.timer_calls = self.fired;
        expected.level_handlers = count(Mode::Level);
        expected.edge_handlers = count(Mode::Edge);
        expected.oneshot_handlers = count(Mode::Oneshot);
        expected.pending_timers = timers;
        if *stats != expected {
            self.violated(format!("{stats:?} should be {expected:?}"));
        }
        let left = self.wrongly_dropped();
        if let Some((what, alive)) = left.iter().find(|(_, alive)| *alive || !self.drops_later) {
            let when = if *alive { "too early" } else { "too late" };
            self.violated(format!("{what} was dropped {when}, or not at all"));
        }
    }

    /// Callbacks that were dropped and are alive, or the other way round.
    fn wrongly_dropped(&self) -> Vec<(String, bool)> {
        let handlers = self.handlers.iter().map(|one| (one.alive, one.dropped));
        let timers = self.timers.iter().map(|one| (one.alive, one.dropped));
        let posts = self.posts.iter().map(|one| (one.queued, one.dropped));
        // Both of its callbacks.
        let hooks = self.hooks.iter().map(|one| {
            if one.alive {
                (true, one.dropped > 0)
            } else {
                (false, one.dropped == 2)
            }
        });
        let mut wrong = Vec::new();
        fn find(
            wrong: &mut Vec<(String, bool)>,
            name: &str,
            all: impl Iterator<Item = (bool, bool)>,
        ) {
            for (label, (alive, dropped)) in all.enumerate() {
                if alive == dropped {
                    wrong.push((format!("{name} {label}"), alive));
                }
            }
        }
        find(&mut wrong, "handler", handlers);
        find(&mut wrong, "timer", timers);
        find(&mut wrong, "post", posts);
        find(&mut wrong, "hook", hooks);
        wrong
    }

    /// Nothing is left, and no callback is to be dropped later.
    pub(crate) fn ended(&mut self) {
        self.drops_later = false;
    }

    /// C's user data is given back.
    pub(crate) fn destroyed(&mut self, turn: u64) {
        self.catch_up(turn);
        self.stirred = true;
        if self.inside && !self.closed {
            self.violated("a destroy function was called inside a callback");
        }
    }

    /// The id is that of something that is registered.
    pub(crate) fn knows(&self, id: u64) -> bool {
        self.handlers.iter().any(|one| one.alive && one.id == id)
            || self.timers.iter().any(|one| one.alive && one.id == id)
            || self.hooks.iter().any(|one| one.alive && one.id == id)
    }
}
