//! Timers: set, reset and cancelled, by the loop's callbacks and by other threads.

use std::io;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use oneloop::{Reactor, TimerId};

use crate::books::{Count, Kind};
use crate::sabotage::Harm;
use crate::{Soak, gate, lock};

pub struct Timers {
    slots: Vec<Mutex<Slot>>,
    /// The turn in which one fired last, and its deadline.
    last: Mutex<(u64, Instant)>,
}

struct Slot {
    /// Of the timer that is, or was, in it.
    serial: u64,
    deadline: Instant,
    timer: Option<TimerId>,
    /// Of one that another thread cancelled or reset when it was due: it may have been about to be called,
    /// and no call can be taken back.
    doubt: Option<u64>,
}

impl Timers {
    pub fn new(count: usize) -> Arc<Timers> {
        let now = Instant::now();
        let slot = || {
            Mutex::new(Slot {
                serial: 0,
                deadline: now,
                timer: None,
                doubt: None,
            })
        };
        Arc::new(Timers {
            slots: (0..count).map(|_| slot()).collect(),
            last: Mutex::new((0, now)),
        })
    }

    /// A thread that resets and cancels.
    pub fn start(self: &Arc<Timers>, soak: &Arc<Soak>) -> io::Result<()> {
        let timers = self.clone();
        gate::work(soak, "timers", move |soak| {
            (0..20).for_each(|_| timers.meddle(soak, false));
            thread::sleep(Duration::from_millis(1));
        })
    }

    pub fn fill(self: &Arc<Timers>, soak: &Arc<Soak>) {
        let Some(reactor) = soak.reactor() else {
            return;
        };
        for at in 0..self.slots.len() {
            let mut slot = lock(&self.slots[at]);
            if slot.timer.is_none() {
                self.set(soak, &reactor, at, &mut slot);
            }
        }
    }

    /// Cancels what is not due yet.
    pub fn drain(&self, soak: &Soak) {
        let Some(reactor) = soak.reactor() else {
            return;
        };
        for slot in &self.slots {
            let mut slot = lock(slot);
            match slot.timer {
                Some(timer) if slot.deadline > reactor.now() => {
                    cancel(soak, &reactor, &mut slot, timer, false);
                }
                _ => {}
            }
        }
    }

    fn set(self: &Arc<Timers>, soak: &Arc<Soak>, reactor: &Reactor, at: usize, slot: &mut Slot) {
        slot.serial += 1;
        slot.deadline = reactor.now() + delay();
        let (timers, around, serial) = (self.clone(), soak.clone(), slot.serial);
        let call = move || timers.fired(&around, at, serial);
        match reactor.call_at(slot.deadline, call) {
            Ok(timer) => slot.timer = Some(timer),
            Err(error) => return soak.books.fault(error.to_string()),
        }
        soak.books.open(Kind::Timer);
        if let (true, Some(timer)) = (soak.sabotage.strikes(Harm::Timer), slot.timer) {
            let _ = reactor.cancel_timer(timer);
        }
    }

    fn fired(self: &Arc<Timers>, soak: &Arc<Soak>, at: usize, serial: u64) {
        let Some(reactor) = soak.reactor() else {
            return;
        };
        let now = reactor.now();
        let mut slot = lock(&self.slots[at]);
        // There is one call at a time: what was in doubt is this one, or over.
        let doubt = slot.doubt.take() == Some(serial);
        match (slot.timer.take(), slot.serial == serial) {
            (Some(timer), true) if doubt => {
                // The call for the deadline that it had before, or for that of now: be it the last.
                let _ = reactor.cancel_timer(timer);
            }
            (Some(_), true) => self.check(soak, &reactor, now, &mut slot),
            (other, _) => {
                slot.timer = other;
                if !doubt {
                    soak.books
                        .fault("a timer fired after it had fired or was cancelled");
                }
                return;
            }
        }
        soak.books.close(Kind::Timer);
        if soak.gate.is_open() {
            self.set(soak, &reactor, at, &mut slot);
        }
        drop(slot);
        if fastrand::u8(0..4) == 0 {
            self.meddle(soak, true);
        }
    }

    fn check(&self, soak: &Soak, reactor: &Reactor, now: Instant, slot: &mut Slot) {
        if soak.sabotage.strikes(Harm::Early) {
            slot.deadline = now + Duration::from_millis(10);
        }
        match now.checked_duration_since(slot.deadline) {
            Some(late) => soak.books.late(late),
            None => {
                let early = slot.deadline - now;
                soak.books
                    .fault(format!("a timer fired early by {early:?}"));
            }
        }
        self.check_order(soak, reactor.stats().turns, slot.deadline);
    }

    /// In one turn, timers fire by their deadlines.
    fn check_order(&self, soak: &Soak, turn: u64, deadline: Instant) {
        let mut last = lock(&self.last);
        if last.0 == turn && last.1 > deadline {
            let by = last.1 - deadline;
            soak.books
                .fault(format!("a timer fired after one that was due {by:?} later"));
        }
        *last = (turn, deadline);
    }

    /// Resets or cancels one. On the loop's thread it is known whether that is still possible; on
    /// another the timer may be about to be called.
    fn meddle(self: &Arc<Timers>, soak: &Arc<Soak>, on_loop: bool) {
        let Some(reactor) = soak.reactor() else {
            return;
        };
        let at = fastrand::usize(0..self.slots.len());
        let mut slot = lock(&self.slots[at]);
        if on_loop {
            slot.doubt = None;
        }
        let (Some(timer), None) = (slot.timer, slot.doubt) else {
            return;
        };
        if fastrand::bool() {
            let least = Duration::from_millis(if on_loop { 0 } else { 1 });
            let deadline = reactor.now() + least.max(delay());
            match reactor.reset_timer(timer, deadline) {
                Ok(()) => {
                    slot.doubt(&reactor, on_loop);
                    slot.deadline = deadline;
                }
                Err(error) if on_loop => soak.books.fault(error.to_string()),
                Err(_) => {}
            }
            soak.books.count(Count::Reset);
        } else {
            cancel(soak, &reactor, &mut slot, timer, on_loop);
            if slot.timer.is_none() && soak.gate.is_open() {
                self.set(soak, &reactor, at, &mut slot);
            }
        }
    }
}

impl Slot {
    fn doubt(&mut self, reactor: &Reactor, on_loop: bool) {
        if !on_loop && self.deadline <= reactor.now() {
            self.doubt = Some(self.serial);
        }
    }
}

fn cancel(soak: &Soak, reactor: &Reactor, slot: &mut Slot, timer: TimerId, on_loop: bool) {
    match reactor.cancel_timer(timer) {
        Ok(()) => {
            slot.doubt(reactor, on_loop);
            slot.timer = None;
            soak.books.close(Kind::Timer);
            soak.books.count(Count::Cancelled);
        }
        Err(error) if on_loop => soak.books.fault(error.to_string()),
        Err(_) => {}
    }
}

/// Most are short; some will hardly ever fire.
fn delay() -> Duration {
    let most = match fastrand::u8(0..16) {
        0 => 0,
        1..4 => 100,
        4..10 => 10_000,
        10..15 => 300_000,
        _ => 60_000_000,
    };
    Duration::from_micros(fastrand::u64(0..=most))
}
