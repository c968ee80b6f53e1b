//! calloop: a loop of its own, which drives only.

use std::any::Any;
use std::cell::RefCell;
use std::time::Duration;

use calloop::EventLoop;
use oneloop::adapter::End;
use oneloop::{Host, Threading};

use crate::OuterLoop;

/// A loop of calloop.
pub struct Calloop(RefCell<EventLoop<'static, ()>>);

impl OuterLoop for Calloop {
    const NAME: &'static str = "calloop";

    fn new() -> Calloop {
        Calloop(RefCell::new(EventLoop::try_new().expect("descriptors")))
    }

    fn attach<M: Threading>(
        &self,
        host: Host<M>,
        on_end: impl FnOnce(End) + 'static,
    ) -> Box<dyn Any> {
        let handle = self.0.borrow().handle();
        Box::new(oneloop_calloop::attach(host, &handle, on_end).expect("descriptors"))
    }

    fn iterate(&self, may_block: bool) {
        let timeout = (!may_block).then_some(Duration::ZERO);
        self.0
            .borrow_mut()
            .dispatch(timeout, &mut ())
            .expect("dispatching");
    }
}
