//! calloop: a loop of its own, which drives only.

use std::any::Any;
use std::cell::RefCell;
use std::io;
use std::time::Duration;

use calloop::EventLoop;
use oneloop::adapter::End;
use oneloop::{Host, Reactor, Threading};

use crate::{AdaptedLoop, Kind, OuterLoop, attach_adapted};

/// A loop of calloop.
pub struct Calloop(RefCell<EventLoop<'static, ()>>);

impl Kind for Calloop {
    const NAME: &'static str = "calloop";

    fn new() -> Calloop {
        Calloop(RefCell::new(EventLoop::try_new().expect("descriptors")))
    }
}

impl OuterLoop for Calloop {
    fn attach(
        &self,
        reactor: &Reactor,
        exits_when_empty: bool,
        on_end: impl FnOnce(End) + 'static,
    ) -> io::Result<Box<dyn Any>> {
        attach_adapted(self, reactor, exits_when_empty, on_end)
    }

    fn iterate(&self, may_block: bool) {
        let timeout = (!may_block).then_some(Duration::ZERO);
        self.0
            .borrow_mut()
            .dispatch(timeout, &mut ())
            .expect("dispatching");
    }
}

impl AdaptedLoop for Calloop {
    fn attach_host<M: Threading>(
        &self,
        host: Host<M>,
        on_end: impl FnOnce(End) + 'static,
    ) -> io::Result<Box<dyn Any>> {
        let handle = self.0.borrow().handle();
        Ok(Box::new(oneloop_calloop::attach(host, &handle, on_end)?))
    }
}
