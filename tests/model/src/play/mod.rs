//! Does the steps, to the reactor and to the model alike, and compares what comes of them.

mod callbacks;
mod files;
mod handlers;
mod timers;

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

pub(crate) use callbacks::{OnPurpose, Part};
use callbacks::{STOPPER, What};
use files::{Descriptor, Speaker};
use oneloop::{Reactor, Remote, Shared, TestClock, WeakReactor};

use crate::Setting;
use crate::face::Calls;
use crate::fault::{Expected, Fault};
use crate::model::{Hook, Model, Post};
use crate::step::{Do, Few, Script, Urgency, Who};
use crate::world::number;

/// No program registers more than that of a kind, so that none goes on for ever: what each hook adds, for one,
/// grows with every turn.
const MOST: usize = 300;
const MOST_HOOKS: usize = 30;

/// Data that all callbacks of a program share.
pub(crate) struct Play {
    this: Weak<Play>,
    reactor: WeakReactor<Shared>,
    remote: Remote,
    pub(crate) calls: &'static dyn Calls,
    clock: TestClock,
    start: Instant,
    setting: Setting,
    scripts: Vec<Script>,
    model: Mutex<Model>,
    ends: Mutex<[Option<Arc<Descriptor>>; 6]>,
    sources: Mutex<Vec<Speaker>>,
    /// How many callbacks were called in this step of the program.
    pub(crate) busy: AtomicUsize,
    /// How many steps were done, and how many callbacks were called, in all.
    pub(crate) steps: AtomicU64,
    pub(crate) called: AtomicU64,
    /// The built-in loop runs, and has to be stopped when there is nothing to do...
    pub(crate) runs: AtomicBool,
    /// ...which a step is about to do.
    stopping: AtomicBool,
    /// The watchdog has stopped it.
    pub(crate) hung: AtomicBool,
}

/// The callback that does a step, if any.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Me {
    Program,
    Handler(usize),
    Timer(usize),
    Hook(usize),
    Post,
}

impl Play {
    pub(crate) fn new(
        reactor: &Reactor,
        clock: TestClock,
        scripts: Vec<Script>,
        setting: Setting,
    ) -> Arc<Play> {
        let play = Arc::new_cyclic(|this: &Weak<Play>| Play {
            this: this.clone(),
            reactor: reactor.downgrade(),
            remote: reactor.remote(),
            calls: setting.face.calls(),
            start: clock.now(),
            clock,
            setting,
            scripts,
            model: Mutex::new(Model::new(setting)),
            ends: Mutex::default(),
            sources: Mutex::default(),
            busy: AtomicUsize::new(0),
            steps: AtomicU64::new(0),
            called: AtomicU64::new(0),
            runs: AtomicBool::new(false),
            stopping: AtomicBool::new(false),
            hung: AtomicBool::new(false),
        });
        play.open_sources();
        play
    }

    pub(crate) fn model(&self) -> MutexGuard<'_, Model> {
        lock(&self.model)
    }

    /// Nothing more of this kind is registered.
    fn is_full(&self, step: &Do) -> bool {
        let model = self.model();
        match step {
            Do::Add { .. } => model.handlers.len() >= MOST,
            Do::After { .. } | Do::At { .. } | Do::AtSystem { .. } => model.timers.len() >= MOST,
            Do::Every { .. } | Do::EveryAt { .. } => model.timers.len() >= MOST,
            Do::AddHook { .. } => model.hooks.len() >= MOST_HOOKS,
            _ => false,
        }
    }

    /// Does a step.
    pub(crate) fn act(&self, me: Me, step: &Do) {
        self.steps.fetch_add(1, SeqCst);
        if self.is_full(step) {
            return;
        }
        self.model().note(|| format!("{step:?}"));
        match *step {
            Do::Nothing => {}

            Do::Open { kind, at } => self.open(kind, at),
            Do::Close { at } => self.close(at),
            Do::Dup { from, to } => self.dup(from, to),
            Do::Write { at, much } => self.on_file(at, |world, fd| world.write(fd, much)),
            Do::Read { at, much } => self.on_file(at, |world, fd| world.read(fd, much)),
            Do::Shutdown { at, way } => self.on_file(at, |world, fd| world.shutdown(fd, way)),

            Do::Set { source, bits } => self.set_source(source, bits.bits()),
            Do::Clear { source, bits } => self.clear_source(source, bits.bits()),
            Do::Hang { source } => self.hang_source(source),
            Do::Fresh { source } => self.replace_source(source),

            Do::Add {
                on,
                want,
                mode,
                script,
            } => self.add(on, want.bits(), mode, script),
            Do::Update { who, want } => self.update(me, who, want.bits()),
            Do::Rearm { who } => self.rearm(me, who),
            Do::Remove { who } => self.remove(me, who),
            Do::UnrefHandler { who } => self.unref_handler(me, who),
            Do::HandlerFd { who } => self.handler_fd(me, who),

            Do::After { delay, script } => self.after(delay, script),
            Do::At { offset, script } => self.at(offset, script),
            Do::Every { period, script } => self.every(period, script),
            Do::EveryAt {
                offset,
                period,
                script,
            } => self.every_at(offset, period, script),
            Do::AtSystem { offset, script } => self.at_system(offset, script),
            Do::Reset { who, delay } => self.reset(me, who, delay),
            Do::ResetSystem { who, offset } => self.reset_system(me, who, offset),
            Do::Cancel { who } => self.cancel(me, who),
            Do::UnrefTimer { who } => self.unref_timer(me, who),
            Do::Advance { time } => self.advance(time),
            Do::SetSystem { offset } => self.set_system(offset),

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
                    self.calls.stop(&reactor);
                }
            }
            Do::Wake => self.remote.wake(),
            Do::Reenter => self.reenter(),
            Do::Look => self.look(),
            Do::Garbage { call, bits } => self.garbage(call, bits),
            Do::CloseLoop => {
                self.model().close();
                if let Some(reactor) = self.reactor.upgrade() {
                    self.calls.close(&reactor);
                }
            }
        }
    }

    fn with<T>(
        &self,
        call: impl FnOnce(&dyn Calls, &Reactor) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        match self.reactor.upgrade() {
            Some(reactor) => call(self.calls, &reactor),
            None => Err(Fault::Closed),
        }
    }

    /// Whether a call gave what it must.
    fn expect<T>(&self, call: &str, result: Result<T, Fault>, expected: Expected) -> Option<T> {
        let mut model = self.model();
        let fits = match (&result, expected) {
            (Err(Fault::Closed), _) => model.closed,
            (Err(_), Expected::Refusal) => true,
            (_, Expected::Anything) => !model.closed,
            (Ok(_), Expected::Success) => !model.closed,
            (Err(fault), Expected::Failure(expected)) => *fault == expected && !model.closed,
            _ => false,
        };
        if let Err(fault) = result {
            model.note(|| format!("{call} gives {fault:?}"));
        }
        if !fits {
            let gave = result.as_ref().map(drop);
            model.violated(format!(
                "{call} gave {gave:?}, and should give {expected:?}"
            ));
        }
        result.ok()
    }

    // Posts and hooks.

    /// Has the loop stopped when there is nothing else to do.
    pub(crate) fn post_stopper(&self) {
        if !self.stopping.swap(true, SeqCst) {
            self.post(Urgency::Idle, false, Few(STOPPER));
        }
    }

    fn post(&self, urgency: Urgency, remote: bool, script: Few) {
        let label = {
            let mut model = self.model();
            model.posts.push(Post::new(urgency));
            model.posts.len() - 1
        };
        let part = self.part(What::Post(urgency), label, script);
        let posted = match self.reactor.upgrade() {
            Some(reactor) if !remote => self.calls.post(&reactor, urgency, part),
            _ => {
                let priority = urgency.priority();
                let posted = self.remote.call_soon_with(priority, move || part.post());
                let posted = posted.map(drop);
                posted.map_err(|error| oneloop::Error::from(error).into())
            }
        };
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
        let before = self.part(What::Hook, label, script);
        let after = self.part(What::Hook, label, Few(script.0.wrapping_add(1)));
        let result = self.with(|calls, reactor| calls.add_hook(reactor, before, after));
        if let Some(id) = self.expect("add_hook", result, Expected::Success) {
            let mut model = self.model();
            model.hook_added(label, id);
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
        let result = self.with(|calls, reactor| calls.remove_hook(reactor, id));
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
            self.with(|calls, reactor| calls.turn(reactor, zero).map(drop)),
            self.with(|calls, reactor| calls.run(reactor)),
            self.with(|_, reactor| Ok(reactor.block_on(async {})?)),
            self.with(|_, reactor| Ok(reactor.host("another").map(drop)?)),
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
        let _ = reactor.dump();
        let deadline = reactor.next_deadline();
        let mut model = self.model();
        if let (Some(expected), false) = (model.next_deadline(), model.is_inside()) {
            let expected = expected.map(|deadline| self.instant(deadline));
            if deadline != expected && !model.closed {
                model.violated(format!("the next timer: {deadline:?}, not {expected:?}"));
            }
        }
    }

    /// Calls what must fail.
    fn garbage(&self, call: u8, bits: u64) {
        let known = self.model().knows(bits);
        let negative = number(0) - 1000;
        if !known {
            let result = self.with(|calls, reactor| calls.garbage(reactor, call, bits, negative));
            self.expect("a senseless call", result, Expected::Refusal);
        }
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
