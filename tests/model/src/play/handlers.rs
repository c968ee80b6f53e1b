use std::os::fd::RawFd;
use std::sync::Arc;

use oneloop::{Event, HandlerId, Reactor, Source};

use super::callbacks::What;
use super::{Me, Play, which};
use crate::bits::{of_event, to_interest};
use crate::fault::{Expected, Fault};
use crate::model::{Bound, Handler, Place};
use crate::step::{Few, HandlerMode, On, Spot, Who};
use crate::world::number;

impl Play {
    pub(super) fn add(&self, on: On, interest: u8, mode: HandlerMode, script: Few) {
        let on = match on {
            On::Spot(spot) => On::Spot(self.spot(spot)),
            on => on,
        };
        match on {
            On::Spot(Spot::Raw(few)) => self.add_raw(number(few.0), interest, mode, script),
            On::Nothing => self.add_raw(number(0) - 1000, interest, mode, script),
            On::Spot(Spot::Shared(few)) => {
                if let Some(end) = self.shared(few) {
                    let fd = end.fd;
                    self.add_owned::<Arc<_>>(end, Place::Number(fd), interest, mode, script);
                }
            }
            On::Dup(spot) => {
                if let Some(fd) = self.number(spot) {
                    let fd = self.model().world.dup(fd, None);
                    let end = self.own(fd);
                    self.add_owned(end, Place::Number(fd), interest, mode, script);
                }
            }
            On::Virtual(few) => {
                let (source, id) = self.source(few);
                self.add_owned(source, Place::Source(id), interest, mode, script);
            }
        }
    }

    fn add_raw(&self, fd: RawFd, interest: u8, mode: HandlerMode, script: Few) {
        let open = self.model().world.file(fd).is_some();
        let label = self.register(Place::Number(fd), interest, mode);
        let part = self.part(What::Handler, label, script);
        let added =
            self.with(|calls, reactor| calls.add_raw_handler(reactor, (fd, interest, mode), part));
        let expected = if open {
            Expected::Success
        } else {
            Expected::Failure(Fault::Os(libc::EBADF))
        };
        self.added(label, added, expected);
    }

    fn add_owned<S: Source + Send + 'static>(
        &self,
        source: S,
        place: Place,
        interest: u8,
        mode: HandlerMode,
        script: Few,
    ) {
        let label = self.register(place, interest, mode);
        let mut part = self.part(What::Handler, label, script);
        let callback =
            move |_: &mut S, event: Event| part.event(event.handler().to_bits(), of_event(event));
        let add = |reactor: &Reactor| {
            let added = reactor.add_handler(source, to_interest(interest), mode.mode(), callback);
            added.map_err(oneloop::Error::from)
        };
        let added = self.with(|_, reactor| Ok(add(reactor).map(HandlerId::to_bits)?));
        self.added(label, added, Expected::Success);
    }

    fn register(&self, place: Place, interest: u8, mode: HandlerMode) -> usize {
        let mut model = self.model();
        let bound = match place {
            Place::Number(fd) => Bound::File(model.world.file(fd).unwrap_or(0)),
            Place::Source(id) => Bound::Source(id),
        };
        let handler = Handler::new(place, bound, interest, mode.mode());
        model.handlers.push(handler);
        model.handlers.len() - 1
    }

    fn added(&self, label: usize, added: Result<u64, Fault>, expected: Expected) {
        if let Some(id) = self.expect("add_handler", added, expected) {
            let mut model = self.model();
            model.handler_added(label, id);
            model.note(|| format!("handler {label}"));
        }
    }

    pub(super) fn update(&self, me: Me, who: Who, interest: u8) {
        let Some((label, id, alive)) = self.which_handler(me, who) else {
            return;
        };
        let loose = self.loosen(label);
        let result = self.with(|calls, reactor| calls.update_handler(reactor, id, interest));
        let updated = self.expect("update_handler", result, Expected::known_or(alive, loose));
        if updated.is_some() {
            self.model().handler_updated(label, interest);
        }
    }

    pub(super) fn rearm(&self, me: Me, who: Who) {
        let Some((label, id, alive)) = self.which_handler(me, who) else {
            return;
        };
        let loose = self.loosen(label);
        let result = self.with(|calls, reactor| calls.rearm_handler(reactor, id));
        let rearmed = self.expect("rearm_handler", result, Expected::known_or(alive, loose));
        if rearmed.is_some() {
            self.model().handler_rearmed(label);
        }
    }

    pub(super) fn remove(&self, me: Me, who: Who) {
        let Some((label, id, alive)) = self.which_handler(me, who) else {
            return;
        };
        self.loosen(label);
        // Before: what is dropped looks whether it may be.
        self.model().handlers[label].alive = false;
        let result = self.with(|calls, reactor| calls.remove_handler(reactor, id));
        self.expect("remove_handler", result, Expected::known(alive));
    }

    pub(super) fn unref_handler(&self, me: Me, who: Who) {
        let Some((label, id, alive)) = self.which_handler(me, who) else {
            return;
        };
        let result = self.with(|calls, reactor| calls.unref_handler(reactor, id));
        self.expect("unref", result, Expected::known(alive));
        self.model().handlers[label].unreferenced = true;
    }

    pub(super) fn handler_fd(&self, me: Me, who: Who) {
        let Some((label, id, alive)) = self.which_handler(me, who) else {
            return;
        };
        let place = self.model().handlers[label].place;
        let result = self.with(|calls, reactor| calls.handler_fd(reactor, id));
        let expected = match place {
            Place::Source(_) if alive => Expected::Failure(Fault::Unsupported),
            _ => Expected::known(alive),
        };
        let fd = self.expect("handler_fd", result, expected);
        if fd.is_some_and(|fd| place != Place::Number(fd)) {
            self.model().violated("handler_fd gave another number");
        }
    }

    /// True for a handler whose number was closed behind its back.
    fn loosen(&self, label: usize) -> bool {
        let mut model = self.model();
        let handler = &model.handlers[label];
        let (loose, alive, place) = (handler.is_loose(), handler.alive, handler.place);
        if alive {
            // All on that number may change with it.
            model.touch(place);
        }
        loose
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
}
