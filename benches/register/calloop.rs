//! calloop, whose handle adds and removes in callbacks, too.

use std::cell::RefCell;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::time::Duration;

use calloop::generic::Generic;
use calloop::{EventLoop, Interest, LoopHandle, Mode, PostAction};

use crate::batches::Batches;
use crate::{Place, Work, timed};

pub fn run(work: Work) -> io::Result<Duration> {
    let mut events = EventLoop::<Client>::try_new()?;
    let handle = events.handle();
    for socket in work.others {
        let source = Generic::new(socket, Interest::READ, Mode::Level);
        let added = handle.insert_source(source, |_, _, _| Ok(PostAction::Continue));
        added.map_err(|refused| refused.error)?;
    }
    if let Place::Outside = work.place {
        return timed(|| once(&handle, &work.one));
    }
    let batches = Rc::new(RefCell::new(Batches::default()));
    let (own, one, signal) = (batches.clone(), work.one, events.get_signal());
    let source = Generic::new(work.ready, Interest::READ, Mode::Level);
    let added = handle.insert_source(source, move |_, _, client| {
        if !own.borrow_mut().call(|| once(&client.handle, &one))? {
            signal.stop();
        }
        Ok(PostAction::Continue)
    });
    added.map_err(|refused| refused.error)?;
    events.run(None, &mut Client { handle }, |_| {})?;
    batches.borrow().took()
}

/// The data that callbacks are given: with a handle of their own they would keep the loop for ever.
struct Client {
    handle: LoopHandle<'static, Client>,
}

fn once(handle: &LoopHandle<'static, Client>, one: &UnixStream) -> io::Result<()> {
    // SAFETY: it is open for as long as this runs, and removed at once.
    let fd = unsafe { BorrowedFd::borrow_raw(one.as_raw_fd()) };
    let source = Generic::new(fd, Interest::READ, Mode::Level);
    let added = handle.insert_source(source, |_, _, _| Ok(PostAction::Continue));
    handle.remove(added.map_err(|refused| refused.error)?);
    Ok(())
}
