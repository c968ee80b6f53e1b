use std::panic::resume_unwind;
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use oneloop::Action;

use super::{Me, Play};
use crate::model::Phase;
use crate::step::{Delay, Do, End, Few, Urgency, Want, Who};

/// After so many calls in one step callbacks do nothing but see to it that they are not called
/// again, so that the step ends.
const CALM: usize = 20;
/// The script of a post that stops the loop.
pub(super) const STOPPER: u8 = u8::MAX;

/// The payload of a callback's panic, so that others are not taken for one.
pub(crate) struct OnPurpose;

/// A callback: whose it is, what it is to do, and how often it was called. It tells the model when
/// it is dropped.
pub(crate) struct Part {
    play: Arc<Play>,
    what: What,
    label: usize,
    script: u8,
    calls: usize,
}

pub(super) enum What {
    Handler,
    Timer,
    Post(Urgency),
    Hook,
}

impl Drop for Part {
    fn drop(&mut self) {
        let mut model = self.play.model();
        match self.what {
            What::Handler => model.handlers[self.label].dropped = true,
            What::Timer => model.timers[self.label].dropped = true,
            What::Post(_) => model.posts[self.label].dropped = true,
            What::Hook => model.hooks[self.label].dropped += 1,
        }
    }
}

impl Play {
    pub(super) fn part(&self, what: What, label: usize, script: Few) -> Part {
        Part {
            play: self.this.upgrade().expect("it is in use"),
            what,
            label,
            script: script.0,
            calls: 0,
        }
    }

    fn turn_number(&self) -> u64 {
        let reactor = self.reactor.upgrade();
        reactor.map_or(0, |reactor| reactor.stats().turns)
    }

    /// The step has gone on for long enough.
    fn calm(&self, me: Me) -> End {
        let (who, want) = (Who(0), Want::None);
        match me {
            Me::Handler(_) => self.act(me, &Do::Update { who, want }),
            Me::Timer(_) => self.act(me, &Do::Cancel { who }),
            _ => {}
        }
        End::Continue
    }

    /// A callback is over.
    fn leave(&self) {
        let mut model = self.model();
        model.leave();
        let goes_on = self.runs.load(SeqCst) && !model.stop && model.keeps_going(false);
        drop(model);
        if goes_on {
            self.post_stopper();
        }
    }

    fn end(&self, end: End) {
        if end == End::Panic {
            self.model().note(|| "it panics".into());
            resume_unwind(Box::new(OnPurpose));
        }
    }
}

impl Part {
    /// Does what is to be done in this call, and says how to end it.
    fn perform(&mut self, me: Me) -> End {
        let play = &self.play;
        let calls = self.calls;
        self.calls += 1;
        play.called.fetch_add(1, SeqCst);
        if play.busy.fetch_add(1, SeqCst) >= CALM {
            return play.calm(me);
        }
        let at = usize::from(self.script).wrapping_add(calls);
        let Some(script) = play.scripts.get(at % play.scripts.len().max(1)) else {
            return End::Continue;
        };
        for step in &script.steps {
            play.act(me, step);
        }
        match script.end {
            // Callbacks in C cannot panic.
            End::Panic if !play.setting.panics() => End::Continue,
            end => end,
        }
    }

    pub(crate) fn event(&mut self, id: u64, event: u8) -> Action {
        let (play, label) = (self.play.clone(), self.label);
        let turn = play.turn_number();
        let mut model = play.model();
        model.enter(turn, Phase::Handlers);
        model.handler_called(label, event);
        if model.handlers[label].id != id {
            model.violated(format!("handler {label} was told that it is another"));
        }
        drop(model);
        let end = self.perform(Me::Handler(label));
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

    pub(crate) fn timer(&mut self) {
        let (play, me) = (self.play.clone(), Me::Timer(self.label));
        let turn = play.turn_number();
        let mut model = play.model();
        model.enter(turn, Phase::Timers);
        model.timer_called(self.label);
        drop(model);
        let end = self.perform(me);
        let (who, delay) = (Who(0), Delay(0));
        match end {
            End::Again => play.act(me, &Do::Reset { who, delay }),
            End::Remove => play.act(me, &Do::Cancel { who }),
            _ => {}
        }
        let mut model = play.model();
        match end {
            End::Panic => model.timers[self.label].alive = false,
            _ => model.timer_returned(self.label),
        }
        drop(model);
        play.leave();
        play.end(end);
    }

    pub(crate) fn post(mut self) {
        let end = self.called();
        let play = self.play.clone();
        drop(self);
        play.end(end);
    }

    /// A post is called.
    pub(crate) fn called(&mut self) -> End {
        let (play, label) = (self.play.clone(), self.label);
        let phase = match self.what {
            What::Post(Urgency::High) => Phase::Urgent,
            What::Post(Urgency::Idle) => Phase::Idle,
            _ => Phase::Posts,
        };
        let turn = play.turn_number();
        let mut model = play.model();
        model.note(|| format!("post {label} is called"));
        model.enter(turn, phase);
        model.post_called(label);
        drop(model);
        let mut end = End::Continue;
        if self.script == STOPPER {
            play.stopping.store(false, SeqCst);
            play.act(Me::Post, &Do::Stop);
        } else {
            end = self.perform(Me::Post);
        }
        play.leave();
        end
    }

    pub(crate) fn prepare(&mut self) -> Option<Duration> {
        let (play, label) = (self.play.clone(), self.label);
        let turn = play.turn_number();
        let mut model = play.model();
        model.enter(turn, Phase::Prepare);
        model.note(|| format!("hook {label} is asked"));
        model.hook_called(label);
        drop(model);
        let end = self.perform(Me::Hook(label));
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

    pub(crate) fn check(&mut self) {
        let (play, label) = (self.play.clone(), self.label);
        let turn = play.turn_number();
        let mut model = play.model();
        model.enter(turn, Phase::Check);
        model.note(|| format!("hook {label} checks"));
        model.hook_called(label);
        drop(model);
        let end = self.perform(Me::Hook(label));
        if end == End::Panic {
            play.model().hooks[label].alive = false;
        }
        play.leave();
        play.end(end);
    }

    /// C's destroy function is called.
    pub(crate) fn destroyed(&self) {
        let turn = self.play.turn_number();
        self.play.model().destroyed(turn);
    }
}
