use std::os::fd::RawFd;
use std::time::{Duration, SystemTime};

use oneloop::{Event, HandlerId, HookId, Reactor, TimerId, Turn};

use super::{Calls, Set};
use crate::bits::{of_event, to_interest};
use crate::fault::Fault;
use crate::play::Part;
use crate::step::{HandlerMode, Urgency};

pub(super) struct Rust;

impl Calls for Rust {
    fn add_raw_handler(
        &self,
        reactor: &Reactor,
        (fd, interest, mode): (RawFd, u8, HandlerMode),
        mut part: Part,
    ) -> Result<u64, Fault> {
        let callback = move |event: Event| part.event(event.handler().to_bits(), of_event(event));
        // SAFETY: only the program has these numbers: see `number`.
        let added =
            unsafe { reactor.add_raw_handler(fd, to_interest(interest), mode.mode(), callback) };
        Ok(added?.to_bits())
    }

    fn update_handler(&self, reactor: &Reactor, id: u64, interest: u8) -> Result<(), Fault> {
        let interest = to_interest(interest);
        Ok(reactor.update_handler(HandlerId::from_bits(id), interest)?)
    }

    fn rearm_handler(&self, reactor: &Reactor, id: u64) -> Result<(), Fault> {
        Ok(reactor.rearm_handler(HandlerId::from_bits(id))?)
    }

    fn remove_handler(&self, reactor: &Reactor, id: u64) -> Result<(), Fault> {
        Ok(reactor.remove_handler(HandlerId::from_bits(id))?)
    }

    fn handler_fd(&self, reactor: &Reactor, id: u64) -> Result<RawFd, Fault> {
        Ok(reactor.handler_fd(HandlerId::from_bits(id))?)
    }

    fn unref_handler(&self, reactor: &Reactor, id: u64) -> Result<(), Fault> {
        Ok(reactor.set_referenced(HandlerId::from_bits(id), false)?)
    }

    fn set_timer(&self, reactor: &Reactor, set: Set, mut part: Part) -> Result<u64, Fault> {
        let fire = move || part.timer();
        let id = match set {
            Set::After(delay) => reactor.call_later(delay, fire),
            Set::At(time) => {
                let id = reactor.add_timer(fire)?;
                reactor.reset_timer(id, time).map(|()| id)
            }
            Set::Every(period) => reactor.call_every(period, fire),
            Set::EveryAt(start, period) => {
                let id = reactor.call_every(period, fire)?;
                reactor.reset_timer(id, start).map(|()| id)
            }
            Set::System(time) => reactor.call_at_system_time(time, fire),
        };
        Ok(id?.to_bits())
    }

    fn reset_timer(&self, reactor: &Reactor, id: u64, delay: Duration) -> Result<(), Fault> {
        // Later than the loop can count is never.
        let far = Duration::from_secs(700 * 365 * 24 * 3600);
        let now = reactor.now();
        let time = now.checked_add(delay.min(far)).unwrap_or(now);
        Ok(reactor.reset_timer(TimerId::from_bits(id), time)?)
    }

    fn reset_timer_to_system_time(
        &self,
        reactor: &Reactor,
        id: u64,
        time: SystemTime,
    ) -> Result<(), Fault> {
        Ok(reactor.reset_timer_to_system_time(TimerId::from_bits(id), time)?)
    }

    fn cancel_timer(&self, reactor: &Reactor, id: u64) -> Result<(), Fault> {
        Ok(reactor.cancel_timer(TimerId::from_bits(id))?)
    }

    fn unref_timer(&self, reactor: &Reactor, id: u64) -> Result<(), Fault> {
        Ok(reactor.set_referenced(TimerId::from_bits(id), false)?)
    }

    fn post(&self, reactor: &Reactor, urgency: Urgency, part: Part) -> Result<(), Fault> {
        let posted = reactor.call_soon_with(urgency.priority(), move || part.post());
        Ok(posted.map(drop).map_err(oneloop::Error::from)?)
    }

    fn add_hook(&self, reactor: &Reactor, mut before: Part, mut after: Part) -> Result<u64, Fault> {
        let hook = reactor.add_hook(move || before.prepare(), move || after.check());
        Ok(hook?.to_bits())
    }

    fn remove_hook(&self, reactor: &Reactor, id: u64) -> Result<(), Fault> {
        Ok(reactor.remove_hook(HookId::from_bits(id))?)
    }

    fn turn(&self, reactor: &Reactor, timeout: Option<Duration>) -> Result<Turn, Fault> {
        Ok(reactor.turn(timeout)?)
    }

    fn run(&self, reactor: &Reactor) -> Result<(), Fault> {
        Ok(reactor.run()?)
    }

    fn stop(&self, reactor: &Reactor) {
        reactor.stop();
    }

    fn close(&self, reactor: &Reactor) {
        reactor.close();
    }

    fn garbage(&self, reactor: &Reactor, call: u8, id: u64, number: RawFd) -> Result<(), Fault> {
        match call % 10 {
            0 => self.update_handler(reactor, id, 1),
            1 => self.rearm_handler(reactor, id),
            2 => self.remove_handler(reactor, id),
            3 => self.handler_fd(reactor, id).map(drop),
            4 => self.unref_handler(reactor, id),
            5 => self.cancel_timer(reactor, id),
            6 => self.reset_timer(reactor, id, Duration::ZERO),
            7 => self.unref_timer(reactor, id),
            8 => self.remove_hook(reactor, id),
            _ => {
                // SAFETY: the number is not open, so no file is watched.
                let added = unsafe {
                    let nothing = |_: Event| {};
                    reactor.add_raw_handler(number, to_interest(1), oneloop::Mode::Level, nothing)
                };
                Ok(added.map(drop)?)
            }
        }
    }
}
