//! Does the steps, to the reactor and to the model alike, and compares what comes of them.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use oneloop::{
    Action, Event, HandlerId, HookId, Reactor, Readiness, Remote, Shared, TestClock, TimerId,
    VirtualSource, WeakLoop,
};

use crate::bits::{HANGUP, of_event, of_interest, to_ready};
use crate::fault::{Expected, Fault};
use crate::model::{Bound, Handler, Hook, Model, Phase, Place, Post, Time, Timer};
use crate::step::{
    Bits, Delay, Do, End, Few, HandlerMode, Offset, On, Script, Spot, Urgency, Want, Who,
};
use crate::world::{NUMBERS, Source, number};

/// After so many calls in one step callbacks do nothing but see to it that they are not called
/// again, so that the step ends.
const CALM: usize = 20;
/// The script of a post that stops the loop.
const STOPPER: u8 = u8::MAX;
const MILLISECOND: i64 = 1_000_000;

/// What all callbacks of a program share.
pub(crate) struct Play {
    this: Weak<Play>,
    reactor: WeakLoop<Shared>,
    remote: Remote,
    pub(crate) clock: TestClock,
    start: Instant,
    scripts: Vec<Script>,
    model: Mutex<Model>,
    ends: Mutex<[Option<Arc<Descriptor>>; 6]>,
    sources: Mutex<Vec<Speaker>>,
    /// Programs may close numbers that handlers are on.
    raw: bool,
    /// How many callbacks were called in this step of the program.
    pub(crate) calls: AtomicUsize,
    /// How many steps were done, and how many callbacks were called, in all.
    pub(crate) steps: AtomicU64,
    pub(crate) called: AtomicU64,
    /// The built-in loop runs, and has to be stopped when there is nothing to do...
    pub(crate) runs: AtomicBool,
    /// ...which somebody is about to do.
    stopping: AtomicBool,
    /// Somebody has asked for the descriptor.
    pub(crate) watched: AtomicBool,
    /// The watchdog has stopped it.
    pub(crate) hung: AtomicBool,
}

/// Who does a step.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Me {
    Nobody,
    Handler(usize),
    Timer(usize),
    Hook(usize),
    Post,
}

/// What a panic of a callback carries, so that others are not taken for one.
pub(crate) struct OnPurpose;

/// A descriptor that closes its number when it is dropped, and lets the model know.
struct Descriptor {
    fd: RawFd,
    play: Weak<Play>,
}

impl AsFd for Descriptor {
    fn as_fd(&self) -> BorrowedFd<'_> {
        // SAFETY: open until it is dropped.
        unsafe { BorrowedFd::borrow_raw(self.fd) }
    }
}

impl Drop for Descriptor {
    fn drop(&mut self) {
        if let Some(play) = self.play.upgrade() {
            play.close_number(self.fd);
        }
    }
}

struct Speaker {
    source: VirtualSource,
    readiness: Option<Readiness>,
    id: usize,
}

/// In every callback, to tell the model when that is dropped.
struct Guard {
    play: Arc<Play>,
    what: What,
    label: usize,
}

enum What {
    Handler,
    Timer,
    Post,
    Hook,
}

impl Drop for Guard {
    fn drop(&mut self) {
        let mut model = self.play.model();
        match self.what {
            What::Handler => model.handlers[self.label].dropped = true,
            What::Timer => model.timers[self.label].dropped = true,
            What::Post => model.posts[self.label].dropped = true,
            What::Hook => model.hooks[self.label].dropped += 1,
        }
    }
}

/// A callback: what it is to do, and how often it was called.
struct Part {
    guard: Guard,
    script: u8,
    calls: usize,
}

impl Part {
    fn play(&self) -> &Arc<Play> {
        &self.guard.play
    }

    /// Does what is to be done in this call, and says how to end it.
    fn perform(&mut self, me: Me) -> End {
        let play = &self.guard.play;
        let calls = self.calls;
        self.calls += 1;
        play.called.fetch_add(1, SeqCst);
        if play.calls.fetch_add(1, SeqCst) >= CALM {
            return play.calm(me);
        }
        let at = usize::from(self.script).wrapping_add(calls);
        let Some(script) = play.scripts.get(at % play.scripts.len().max(1)) else {
            return End::Continue;
        };
        for step in &script.steps {
            play.act(me, step);
        }
        script.end
    }
}

impl Play {
    pub(crate) fn new(
        reactor: &Reactor,
        clock: TestClock,
        scripts: Vec<Script>,
        model: Model,
        raw: bool,
    ) -> Arc<Play> {
        let play = Arc::new_cyclic(|this: &Weak<Play>| Play {
            this: this.clone(),
            reactor: reactor.downgrade(),
            remote: reactor.remote(),
            start: clock.now(),
            clock,
            scripts,
            model: Mutex::new(model),
            ends: Mutex::default(),
            sources: Mutex::default(),
            raw,
            calls: AtomicUsize::new(0),
            steps: AtomicU64::new(0),
            called: AtomicU64::new(0),
            runs: AtomicBool::new(false),
            stopping: AtomicBool::new(false),
            watched: AtomicBool::new(false),
            hung: AtomicBool::new(false),
        });
        for _ in 0..6 {
            let speaker = play.new_source();
            lock(&play.sources).push(speaker);
        }
        play
    }

    pub(crate) fn model(&self) -> MutexGuard<'_, Model> {
        lock(&self.model)
    }

    fn turn_number(&self) -> u64 {
        self.reactor
            .upgrade()
            .map_or(0, |reactor| reactor.stats().turns)
    }

    // Callbacks.

    fn part(&self, what: What, label: usize, script: Few) -> Part {
        let play = self.this.upgrade();
        Part {
            guard: Guard {
                play: play.expect("it is in use"),
                what,
                label,
            },
            script: script.0,
            calls: 0,
        }
    }

    /// The step has gone on for long enough.
    fn calm(&self, me: Me) -> End {
        match me {
            Me::Handler(_) => self.act(
                me,
                &Do::Update {
                    who: Who(0),
                    want: Want::None,
                },
            ),
            Me::Timer(_) => self.act(me, &Do::Cancel { who: Who(0) }),
            _ => {}
        }
        End::Continue
    }

    /// A callback is over.
    fn leave(&self) {
        let mut model = self.model();
        model.leave();
        let goes_on = self.runs.load(SeqCst) && model.keeps_going(false);
        drop(model);
        if goes_on {
            self.post_stopper();
        }
    }

    /// Has the loop stopped when there is nothing else to do.
    pub(crate) fn post_stopper(&self) {
        if !self.stopping.swap(true, SeqCst) {
            self.post(Urgency::Idle, false, Few(STOPPER));
        }
    }

    fn end(&self, end: End) {
        if end == End::Panic {
            self.model().note(|| "it panics".into());
            resume_unwind(Box::new(OnPurpose));
        }
    }

    fn on_event(part: &mut Part, event: Event) -> Action {
        let play = part.play().clone();
        let label = part.guard.label;
        let turn = play.turn_number();
        let mut model = play.model();
        model.enter(turn, Phase::Handlers);
        model.handler_called(label, of_event(event));
        if model.handlers[label].id != event.handler().to_bits() {
            model.violated(format!("handler {label} was told that it is another"));
        }
        drop(model);
        let end = part.perform(Me::Handler(label));
        let action = match end {
            End::Continue => Action::Continue,
            End::Again => Action::Again,
            End::Remove | End::Panic => Action::Remove,
        };
        play.model().handler_returned(label, action);
        play.leave();
        play.end(end);
        action
    }

    fn on_timer(part: &mut Part) {
        let play = part.play().clone();
        let label = part.guard.label;
        let turn = play.turn_number();
        let mut model = play.model();
        model.enter(turn, Phase::Timers);
        model.timer_called(label);
        drop(model);
        let end = part.perform(Me::Timer(label));
        match end {
            End::Again => play.act(
                Me::Timer(label),
                &Do::Reset {
                    who: Who(0),
                    delay: Delay(0),
                },
            ),
            End::Remove => play.act(Me::Timer(label), &Do::Cancel { who: Who(0) }),
            _ => {}
        }
        let mut model = play.model();
        match end {
            End::Panic => model.timers[label].alive = false,
            _ => model.timer_returned(label),
        }
        drop(model);
        play.leave();
        play.end(end);
    }

    fn on_post(mut part: Part, urgency: Urgency) {
        let play = part.play().clone();
        let label = part.guard.label;
        let turn = play.turn_number();
        let phase = match urgency {
            Urgency::High => Phase::Urgent,
            Urgency::Normal => Phase::Posts,
            Urgency::Idle => Phase::Idle,
        };
        let mut model = play.model();
        model.note(|| format!("post {label} is called"));
        model.enter(turn, phase);
        model.post_called(label);
        drop(model);
        let mut end = End::Continue;
        if part.script == STOPPER {
            play.stopping.store(false, SeqCst);
            play.act(Me::Post, &Do::Stop);
        } else {
            end = part.perform(Me::Post);
        }
        // Before anybody looks whether something is left.
        drop(part);
        play.leave();
        play.end(end);
    }

    fn on_prepare(part: &mut Part) -> Option<Duration> {
        let play = part.play().clone();
        let label = part.guard.label;
        let turn = play.turn_number();
        let mut model = play.model();
        model.enter(turn, Phase::Prepare);
        model.note(|| format!("hook {label} is asked"));
        model.hook_called(label);
        drop(model);
        let end = part.perform(Me::Hook(label));
        let limit = match end {
            End::Continue | End::Panic => None,
            End::Again => Some(Duration::ZERO),
            End::Remove => Some(Duration::from_millis(3)),
        };
        let mut model = play.model();
        let until = limit.map(|limit| match limit {
            Duration::ZERO => i64::MIN,
            limit => model.now + limit.as_nanos() as i64,
        });
        model.prepared(label, until);
        if end == End::Panic {
            model.hooks[label].alive = false;
        }
        drop(model);
        play.leave();
        play.end(end);
        limit
    }

    fn on_check(part: &mut Part) {
        let play = part.play().clone();
        let label = part.guard.label;
        let turn = play.turn_number();
        let mut model = play.model();
        model.enter(turn, Phase::Check);
        model.note(|| format!("hook {label} checks"));
        model.hook_called(label);
        drop(model);
        let end = part.perform(Me::Hook(label));
        if end == End::Panic {
            play.model().hooks[label].alive = false;
        }
        play.leave();
        play.end(end);
    }

    // Steps.

    /// Does a step.
    pub(crate) fn act(&self, me: Me, step: &Do) {
        self.steps.fetch_add(1, SeqCst);
        self.model().note(|| format!("{step:?}"));
        match *step {
            Do::Nothing => {}
            Do::Open { kind, at } => {
                let (one, other) = self.model().world.open(kind);
                self.put(at, one);
                if let Some(other) = other {
                    let next = |few: Few| Few((few.0 + 1) % 6);
                    let at = match at {
                        Spot::Raw(few) => Spot::Raw(next(few)),
                        Spot::Shared(few) => Spot::Shared(next(few)),
                    };
                    self.put(at, other);
                }
            }
            Do::Close { at } => self.close(at),
            Do::Dup { from, to } => {
                let from = self.number(from);
                let dup = from.map(|from| self.model().world.dup(from, None));
                if let Some(dup) = dup {
                    self.put(to, dup);
                }
            }
            Do::Write { at, much } => {
                if let Some(fd) = self.number(at) {
                    let mut model = self.model();
                    let news = model.world.write(fd, much);
                    model.news(&news);
                }
            }
            Do::Read { at, much } => {
                if let Some(fd) = self.number(at) {
                    let mut model = self.model();
                    let news = model.world.read(fd, much);
                    model.news(&news);
                }
            }
            Do::Shutdown { at, way } => {
                if let Some(fd) = self.number(at) {
                    let mut model = self.model();
                    let news = model.world.shutdown(fd, way);
                    model.news(&news);
                }
            }
            Do::Set { source, bits } => {
                let (readiness, id) = self.speaker(source);
                if let Some(readiness) = readiness {
                    let bits = virtual_bits(bits);
                    self.model().source_set(id, bits);
                    let _ = readiness.set(to_ready(bits));
                }
            }
            Do::Clear { source, bits } => {
                let (readiness, id) = self.speaker(source);
                if let Some(readiness) = readiness {
                    let bits = virtual_bits(bits);
                    self.model().world.sources[id].ready &= !bits;
                    readiness.clear(to_ready(bits));
                }
            }
            Do::Hang { source } => {
                let (readiness, id) = {
                    let speaker = &mut lock(&self.sources)[usize::from(source.0 % 6)];
                    (speaker.readiness.take(), speaker.id)
                };
                if readiness.is_some() {
                    self.model().source_set(id, HANGUP);
                }
                drop(readiness);
            }
            Do::Fresh { source } => {
                let fresh = self.new_source();
                let at = usize::from(source.0 % 6);
                let old = std::mem::replace(&mut lock(&self.sources)[at], fresh);
                if old.readiness.is_some() {
                    self.model().source_set(old.id, HANGUP);
                }
                drop(old);
            }

            Do::Add {
                on,
                want,
                mode,
                script,
            } => self.add(on, want, mode, script),
            Do::Update { who, want } => self.update(me, who, want),
            Do::Rearm { who } => self.rearm(me, who),
            Do::Remove { who } => self.remove(me, who),
            Do::UnrefHandler { who } => {
                let Some((label, id, alive)) = self.which_handler(me, who) else {
                    return;
                };
                let result = self.with(|reactor| reactor.unref(HandlerId::from_bits(id)));
                self.expect("unref", result, Expected::known(alive));
                self.model().handlers[label].unreferenced = true;
            }
            Do::HandlerFd { who } => self.handler_fd(me, who),
            Do::Forged { bits } => self.forged(bits),

            Do::After { delay, script } => {
                let deadline = self.deadline(delay);
                self.timer(Time::At(deadline), None, script, |reactor, fire| {
                    reactor.call_later(duration(delay), fire)
                });
            }
            Do::At { offset, script } => {
                let deadline = self.model().now + nanoseconds(offset);
                self.timer(Time::At(Some(deadline)), None, script, |reactor, fire| {
                    reactor.call_at(self.instant(deadline), fire)
                });
            }
            Do::Every { period, script } => {
                let start = self.deadline(period);
                let every = start.map(|_| duration(period).as_nanos() as i64);
                self.timer(Time::At(start), every, script, |reactor, fire| {
                    reactor.call_every(duration(period), fire)
                });
            }
            Do::EveryAt {
                offset,
                period,
                script,
            } => {
                let start = self.model().now + nanoseconds(offset);
                let every = i64::try_from(duration(period).as_nanos()).unwrap_or(i64::MAX);
                self.timer(
                    Time::At(Some(start)),
                    Some(every),
                    script,
                    |reactor, fire| {
                        reactor.call_every_at(self.instant(start), duration(period), fire)
                    },
                );
            }
            Do::AtSystem { offset, script } => {
                let (time, shown) = self.system(offset);
                self.timer(Time::System(time), None, script, |reactor, fire| {
                    reactor.call_at_system(shown, fire)
                });
            }
            Do::Reset { who, delay } => {
                let time = Time::At(self.deadline(delay));
                self.reset(me, who, time, |reactor, id| {
                    let now = reactor.now();
                    let far = Duration::from_secs(700 * 365 * 24 * 3600);
                    let deadline = now.checked_add(duration(delay).min(far));
                    reactor.reset_timer(id, deadline.unwrap_or(now))
                });
            }
            Do::ResetSystem { who, offset } => {
                let (time, shown) = self.system(offset);
                self.reset(me, who, Time::System(time), |reactor, id| {
                    reactor.reset_timer_to_system(id, shown)
                });
            }
            Do::Cancel { who } => {
                let Some((label, id, alive)) = self.which_timer(me, who) else {
                    return;
                };
                self.model().timers[label].alive = false;
                let result = self.with(|reactor| reactor.cancel_timer(TimerId::from_bits(id)));
                self.expect("cancel_timer", result, Expected::known(alive));
            }
            Do::UnrefTimer { who } => {
                let Some((label, id, alive)) = self.which_timer(me, who) else {
                    return;
                };
                let result = self.with(|reactor| reactor.unref(TimerId::from_bits(id)));
                self.expect("unref", result, Expected::known(alive));
                self.model().timers[label].unreferenced = true;
            }
            Do::Advance { time } => {
                let time = duration(Delay(time.0 % FOREVER));
                let mut model = self.model();
                model.now += time.as_nanos() as i64;
                model.system += time.as_nanos() as i64;
                drop(model);
                self.clock.advance(time);
            }
            Do::SetSystem { offset } => {
                let (time, shown) = self.system(offset);
                self.model().set_system_clock(time);
                self.clock.set_system(shown);
            }

            Do::Post {
                urgency,
                remote,
                script,
            } => self.post(urgency, remote, script),
            Do::AddHook { script } => self.add_hook(script),
            Do::RemoveHook { who } => self.remove_hook(me, who),
            Do::Stop => {
                self.model().stop();
                if let Some(reactor) = self.reactor.upgrade() {
                    reactor.stop();
                }
            }
            Do::Wake => self.remote.wake(),
            Do::Reenter => self.reenter(),
            Do::Look => self.look(),
            Do::CloseLoop => {
                self.model().close();
                if let Some(reactor) = self.reactor.upgrade() {
                    reactor.close();
                }
            }
        }
    }

    fn with<T>(&self, call: impl FnOnce(&Reactor) -> oneloop::Result<T>) -> Result<T, Fault> {
        match self.reactor.upgrade() {
            Some(reactor) => call(&reactor).map_err(Fault::from),
            None => Err(Fault::Closed),
        }
    }

    /// Whether a call gave what it must.
    fn expect<T>(&self, call: &str, result: Result<T, Fault>, expected: Expected) -> Option<T> {
        let mut model = self.model();
        let fits = match (&result, expected) {
            (Err(Fault::Closed), _) => model.closed,
            (_, Expected::Anything) => !model.closed,
            (Ok(_), Expected::Success) => !model.closed,
            (Err(fault), Expected::Failure(expected)) => *fault == expected && !model.closed,
            _ => false,
        };
        let result = result.map_err(|fault| {
            model.note(|| format!("{call} gives {fault:?}"));
            fault
        });
        if !fits {
            let gave = result.as_ref().map(|_| ()).map_err(|fault| *fault);
            model.violated(format!(
                "{call} gave {gave:?}, and should give {expected:?}"
            ));
        }
        result.ok()
    }

    // Descriptors.

    /// Where programs may not close numbers, all descriptors are shared.
    fn spot(&self, spot: Spot) -> Spot {
        match spot {
            Spot::Raw(few) if !self.raw => Spot::Shared(few),
            _ => spot,
        }
    }

    fn number(&self, spot: Spot) -> Option<RawFd> {
        match self.spot(spot) {
            Spot::Raw(few) => {
                let fd = number(few.0);
                self.model().world.file(fd).map(|_| fd)
            }
            Spot::Shared(few) => {
                let ends = lock(&self.ends);
                ends[usize::from(few.0 % 6)].as_ref().map(|end| end.fd)
            }
        }
    }

    /// Puts a descriptor in a place.
    fn put(&self, spot: Spot, fd: RawFd) {
        self.close(spot);
        match self.spot(spot) {
            Spot::Raw(few) => {
                let mut model = self.model();
                model.world.dup(fd, Some(number(few.0)));
                // Another number means it now.
                model.world.close(fd);
            }
            Spot::Shared(few) => {
                let play = self.this.clone();
                let end = Arc::new(Descriptor { fd, play });
                lock(&self.ends)[usize::from(few.0 % 6)] = Some(end);
            }
        }
    }

    fn close(&self, spot: Spot) {
        match self.spot(spot) {
            Spot::Raw(few) => self.close_number(number(few.0)),
            Spot::Shared(few) => {
                let end = lock(&self.ends)[usize::from(few.0 % 6)].take();
                drop(end);
            }
        }
    }

    fn close_number(&self, fd: RawFd) {
        let mut model = self.model();
        if let Some(file) = model.world.file(fd) {
            let news = model.world.close(fd);
            model.news(&news);
            model.lost(fd, file);
        }
    }

    // Virtual sources.

    fn new_source(&self) -> Speaker {
        let (source, readiness) = VirtualSource::pair();
        let sources = &mut self.model().world.sources;
        sources.push(Source { ready: 0 });
        Speaker {
            source,
            readiness: Some(readiness),
            id: sources.len() - 1,
        }
    }

    fn speaker(&self, source: Few) -> (Option<Readiness>, usize) {
        let speaker = &lock(&self.sources)[usize::from(source.0 % 6)];
        (speaker.readiness.clone(), speaker.id)
    }

    // Handlers.

    fn add(&self, on: On, want: Want, mode: HandlerMode, script: Few) {
        let (interest, mode) = (want.interest(), mode.mode());
        let bits = of_interest(interest);
        let model = || self.model();
        let register = |place, bound| {
            let mut model = model();
            model.handlers.push(Handler::new(place, bound, bits, mode));
            model.handlers.len() - 1
        };
        let part = |label| self.part(What::Handler, label, script);
        let on = match on {
            On::Spot(spot) => On::Spot(self.spot(spot)),
            On::Dup(spot) => On::Dup(self.spot(spot)),
            on => on,
        };
        let mut expected = Expected::Success;
        let (label, result) = match on {
            On::Spot(Spot::Raw(_)) | On::Nothing => {
                let fd = match on {
                    On::Spot(Spot::Raw(few)) => number(few.0),
                    _ => number(0) - 1000,
                };
                let file = model().world.file(fd);
                if file.is_none() {
                    expected = Expected::Failure(Fault::Os(libc::EBADF));
                }
                let bound = Bound::File(file.unwrap_or(0));
                let label = register(Place::Number(fd), bound);
                let mut part = part(label);
                // SAFETY: the numbers are the program's own, and nobody else's: see `number`.
                let added = self.with(|reactor| unsafe {
                    let callback = move |event| Play::on_event(&mut part, event);
                    reactor.add_raw_handler(fd, interest, mode, callback)
                });
                (label, added)
            }
            On::Spot(spot @ Spot::Shared(few)) => {
                let end = lock(&self.ends)[usize::from(few.0 % 6)].clone();
                let (Some(end), Some(fd)) = (end, self.number(spot)) else {
                    return;
                };
                let Some(file) = model().world.file(fd) else {
                    return;
                };
                let label = register(Place::Number(fd), Bound::File(file));
                let mut part = part(label);
                let callback =
                    move |_: &mut Arc<Descriptor>, event: Event| Play::on_event(&mut part, event);
                let added = self.with(|reactor| {
                    let added = reactor.add_handler(end, interest, mode, callback);
                    added.map_err(oneloop::Error::from)
                });
                (label, added)
            }
            On::Dup(spot) => {
                let Some(fd) = self.number(spot) else {
                    return;
                };
                let fd = model().world.dup(fd, None);
                let Some(file) = model().world.file(fd) else {
                    return;
                };
                let play = self.this.clone();
                let end = Descriptor { fd, play };
                let label = register(Place::Number(fd), Bound::File(file));
                let mut part = part(label);
                let callback =
                    move |_: &mut Descriptor, event: Event| Play::on_event(&mut part, event);
                let added = self.with(|reactor| {
                    let added = reactor.add_handler(end, interest, mode, callback);
                    added.map_err(oneloop::Error::from)
                });
                (label, added)
            }
            On::Virtual(few) => {
                let (source, id) = {
                    let speaker = &lock(&self.sources)[usize::from(few.0 % 6)];
                    (speaker.source.clone(), speaker.id)
                };
                let label = register(Place::Source(id), Bound::Source(id));
                let mut part = part(label);
                let callback =
                    move |_: &mut VirtualSource, event: Event| Play::on_event(&mut part, event);
                let added = self.with(|reactor| {
                    let added = reactor.add_handler(source, interest, mode, callback);
                    added.map_err(oneloop::Error::from)
                });
                (label, added)
            }
        };
        if let Some(id) = self.expect("add_handler", result, expected) {
            let mut model = model();
            model.handler_added(label, id.to_bits());
            model.note(|| format!("handler {label}"));
        }
    }

    fn update(&self, me: Me, who: Who, want: Want) {
        let Some((label, id, alive)) = self.which_handler(me, who) else {
            return;
        };
        let loose = self.loosen(label);
        let id = HandlerId::from_bits(id);
        let result = self.with(|reactor| reactor.update_handler(id, want.interest()));
        let updated = self.expect("update_handler", result, Expected::known_or(alive, loose));
        if updated.is_some() {
            let bits = of_interest(want.interest());
            self.model().handler_updated(label, bits);
        }
    }

    fn rearm(&self, me: Me, who: Who) {
        let Some((label, id, alive)) = self.which_handler(me, who) else {
            return;
        };
        let loose = self.loosen(label);
        let result = self.with(|reactor| reactor.rearm_handler(HandlerId::from_bits(id)));
        let rearmed = self.expect("rearm_handler", result, Expected::known_or(alive, loose));
        if rearmed.is_some() {
            self.model().handler_rearmed(label);
        }
    }

    fn remove(&self, me: Me, who: Who) {
        let Some((label, id, alive)) = self.which_handler(me, who) else {
            return;
        };
        self.loosen(label);
        self.model().handlers[label].alive = false;
        let result = self.with(|reactor| reactor.remove_handler(HandlerId::from_bits(id)));
        self.expect("remove_handler", result, Expected::known(alive));
    }

    fn handler_fd(&self, me: Me, who: Who) {
        let Some((label, id, alive)) = self.which_handler(me, who) else {
            return;
        };
        let place = self.model().handlers[label].place;
        let result = self.with(|reactor| reactor.handler_fd(HandlerId::from_bits(id)));
        let expected = match place {
            Place::Source(_) if alive => Expected::Failure(Fault::Unsupported),
            _ => Expected::known(alive),
        };
        let fd = self.expect("handler_fd", result, expected);
        if fd.is_some_and(|fd| place != Place::Number(fd)) {
            self.model().violated("handler_fd gave another number");
        }
    }

    /// Of a handler whose number was closed behind its back all on that number may change with it.
    fn loosen(&self, label: usize) -> bool {
        let mut model = self.model();
        let handler = &model.handlers[label];
        let (loose, place) = (handler.is_loose(), handler.place);
        if handler.alive {
            // Also if it is a neighbour that is loose.
            model.touch(place);
        }
        loose
    }

    /// Calls with an id that is most likely nobody's.
    fn forged(&self, bits: u64) {
        let model = self.model();
        let handler = model.handlers.iter().any(|one| one.id == bits && one.alive);
        let timer = model.timers.iter().any(|one| one.id == bits && one.alive);
        let hook = model.hooks.iter().any(|one| one.id == bits && one.alive);
        drop(model);
        if handler || timer || hook {
            return;
        }
        let (id, timer) = (HandlerId::from_bits(bits), TimerId::from_bits(bits));
        let unknown = Expected::known(false);
        let want = Want::Both.interest();
        let results = [
            self.with(|reactor| reactor.update_handler(id, want)),
            self.with(|reactor| reactor.rearm_handler(id)),
            self.with(|reactor| reactor.remove_handler(id)),
            self.with(|reactor| reactor.handler_fd(id).map(drop)),
            self.with(|reactor| reactor.unref(id)),
            self.with(|reactor| reactor.cancel_timer(timer)),
            self.with(|reactor| reactor.reset_timer(timer, reactor.now())),
            self.with(|reactor| reactor.unref(timer)),
            self.with(|reactor| reactor.remove_hook(HookId::from_bits(bits))),
        ];
        for result in results {
            self.expect("a call with a forged id", result, unknown);
        }
    }

    fn which_handler(&self, me: Me, who: Who) -> Option<(usize, u64, bool)> {
        let me = match me {
            Me::Handler(label) => Some(label),
            _ => None,
        };
        let model = self.model();
        let label = which(me, who, model.handlers.len())?;
        let handler = &model.handlers[label];
        Some((label, handler.id, handler.alive))
    }

    // Timers.

    fn timer(
        &self,
        time: Time,
        period: Option<i64>,
        script: Few,
        set: impl FnOnce(&Reactor, Box<dyn FnMut() + Send>) -> oneloop::Result<TimerId>,
    ) {
        let label = {
            let mut model = self.model();
            model.timers.push(Timer::new(time, period));
            model.timers.len() - 1
        };
        let mut part = self.part(What::Timer, label, script);
        let fire = Box::new(move || Play::on_timer(&mut part));
        let result = self.with(|reactor| set(reactor, fire));
        if let Some(id) = self.expect("setting a timer", result, Expected::Success) {
            let mut model = self.model();
            model.timers[label].id = id.to_bits();
            model.timers[label].alive = true;
            model.note(|| format!("timer {label}"));
        }
    }

    fn reset(
        &self,
        me: Me,
        who: Who,
        time: Time,
        reset: impl FnOnce(&Reactor, TimerId) -> oneloop::Result<()>,
    ) {
        let Some((label, id, alive)) = self.which_timer(me, who) else {
            return;
        };
        let result = self.with(|reactor| reset(reactor, TimerId::from_bits(id)));
        let reset = self.expect("reset_timer", result, Expected::known(alive));
        if reset.is_some() {
            self.model().timer_reset(label, time);
        }
    }

    fn which_timer(&self, me: Me, who: Who) -> Option<(usize, u64, bool)> {
        let me = match me {
            Me::Timer(label) => Some(label),
            _ => None,
        };
        let model = self.model();
        let label = which(me, who, model.timers.len())?;
        let timer = &model.timers[label];
        Some((label, timer.id, timer.alive))
    }

    fn deadline(&self, delay: Delay) -> Option<i64> {
        let ahead = i64::from(delay.0) * MILLISECOND;
        (delay.0 < FOREVER).then(|| self.model().now + ahead)
    }

    fn instant(&self, time: i64) -> Instant {
        let ahead = Duration::from_nanos(time.unsigned_abs());
        let instant = match time < 0 {
            true => self.start.checked_sub(ahead),
            false => self.start.checked_add(ahead),
        };
        instant.unwrap_or(self.start)
    }

    /// A time of the system clock, for the model and for the reactor.
    fn system(&self, offset: Offset) -> (i64, std::time::SystemTime) {
        let now = self.clock.system_now();
        let ahead = nanoseconds(offset);
        let far = Duration::from_nanos(ahead.unsigned_abs());
        let shown = if ahead < 0 { now - far } else { now + far };
        (self.model().system + ahead, shown)
    }

    // Posts and hooks.

    fn post(&self, urgency: Urgency, remote: bool, script: Few) {
        let label = {
            let mut model = self.model();
            model.posts.push(Post {
                urgency,
                dropped: false,
                queued: false,
            });
            model.posts.len() - 1
        };
        let part = self.part(What::Post, label, script);
        let post = move || Play::on_post(part, urgency);
        let priority = urgency.priority();
        let posted = match remote {
            true => self.remote.call_soon_with(priority, post),
            false => match self.reactor.upgrade() {
                Some(reactor) => reactor.call_soon_with(priority, post),
                None => self.remote.call_soon_with(priority, post),
            },
        };
        let posted = posted.map_err(|error| Fault::from(oneloop::Error::from(error)));
        if self
            .expect("call_soon", posted, Expected::Success)
            .is_some()
        {
            let mut model = self.model();
            model.posted(label);
            model.note(|| format!("post {label}"));
        }
    }

    fn add_hook(&self, script: Few) {
        let label = {
            let mut model = self.model();
            model.hooks.push(Hook::new());
            model.hooks.len() - 1
        };
        let mut before = self.part(What::Hook, label, script);
        let mut after = self.part(What::Hook, label, Few(script.0 + 1));
        let result = self.with(|reactor| {
            let prepare = move || Play::on_prepare(&mut before);
            reactor.add_hook(prepare, move || Play::on_check(&mut after))
        });
        if let Some(id) = self.expect("add_hook", result, Expected::Success) {
            let mut model = self.model();
            model.hook_added(label, id.to_bits());
            model.note(|| format!("hook {label}"));
        }
    }

    fn remove_hook(&self, me: Me, who: Who) {
        let me = match me {
            Me::Hook(label) => Some(label),
            _ => None,
        };
        let (id, alive) = {
            let mut model = self.model();
            let Some(label) = which(me, who, model.hooks.len()) else {
                return;
            };
            let hook = &mut model.hooks[label];
            (hook.id, std::mem::replace(&mut hook.alive, false))
        };
        let result = self.with(|reactor| reactor.remove_hook(HookId::from_bits(id)));
        self.expect("remove_hook", result, Expected::known(alive));
    }

    // The rest.

    /// Driving from inside a callback is an error.
    fn reenter(&self) {
        if !self.model().is_inside() {
            return;
        }
        let driven = Expected::Failure(Fault::Driven);
        let zero = Some(Duration::ZERO);
        let results = [
            self.with(|reactor| reactor.turn(zero).map(drop)),
            self.with(|reactor| reactor.run()),
            self.with(|reactor| reactor.block_on(async {})),
            self.with(|reactor| reactor.host("another").map(drop)),
            self.with(|reactor| reactor.renew()),
        ];
        for result in results {
            self.expect("driving inside a callback", result, driven);
        }
    }

    /// Looks at all that can be looked at.
    fn look(&self) {
        let Some(reactor) = self.reactor.upgrade() else {
            return;
        };
        self.watched.store(true, SeqCst);
        let _ = (reactor.as_raw_fd(), reactor.dump(), reactor.is_driven());
        let deadline = reactor.next_deadline();
        let mut model = self.model();
        if let (Some(expected), false) = (model.next_deadline(), model.is_inside()) {
            let expected = expected.map(|deadline| self.instant(deadline));
            if deadline != expected && !model.closed {
                model.violated(format!("the next timer: {deadline:?}, not {expected:?}"));
            }
        }
    }
}

/// The largest delay.
const FOREVER: u8 = 16;

fn duration(delay: Delay) -> Duration {
    match delay.0 {
        ..FOREVER => Duration::from_millis(delay.0.into()),
        _ => Duration::MAX,
    }
}

fn nanoseconds(offset: Offset) -> i64 {
    i64::from(offset.0) * MILLISECOND
}

fn virtual_bits(bits: Bits) -> u8 {
    use crate::bits::{ERROR, PRIORITY, READABLE, WRITABLE};
    match bits {
        Bits::Readable => READABLE,
        Bits::Writable => WRITABLE,
        Bits::Both => READABLE | WRITABLE,
        Bits::Priority => PRIORITY,
        Bits::Error => ERROR,
        Bits::None => 0,
    }
}

/// Which one of so many.
fn which(me: Option<usize>, who: Who, of: usize) -> Option<usize> {
    let newest = of.checked_sub(1)?;
    match (who.0, me) {
        (0, Some(me)) => Some(me),
        (back, _) => Some(newest - usize::from(back) % of),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

const _: () = assert!(NUMBERS == 6);
