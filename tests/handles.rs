//! The end of a loop, which comes with its last handle.

use std::mem::ManuallyDrop;
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use oneloop::{ErrorKind, Interest, Mode, Reactor, VirtualSource};

/// Calls back when it is dropped.
struct OnDrop<F: FnMut()>(F);

impl<F: FnMut()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

fn timer_that_is_dropped(reactor: &Reactor, dropped: impl FnMut() + Send + 'static) {
    let dropped = OnDrop(dropped);
    let callback = move || {
        let _ = &dropped;
    };
    reactor.call_later(Duration::MAX, callback).unwrap();
}

#[test]
fn callbacks_dropped_at_the_end_find_the_loop_whole_and_closed() {
    let reactor = Reactor::new().unwrap();
    let (weak, remote) = (reactor.downgrade(), reactor.remote());
    let pointer = reactor.as_raw() as usize;
    let (sender, results) = channel();
    timer_that_is_dropped(&reactor, move || {
        let gone = weak.upgrade().is_none() && remote.call_soon(|| {}).is_err();
        // SAFETY: the loop is alive until its last handle is dropped, and this is never dropped.
        let reactor = unsafe { Reactor::from_raw(pointer as *const ()) };
        let reactor = ManuallyDrop::new(reactor);
        let longer = Reactor::clone(&reactor);
        let error = longer.call_later(Duration::ZERO, || {}).unwrap_err();
        sender.send((gone, error.kind(), longer)).unwrap();
    });
    drop(reactor);
    let (gone, kind, longer) = results.recv().unwrap();
    assert!(gone);
    assert_eq!(kind, ErrorKind::Closed);
    assert_eq!(longer.turn(None).unwrap_err().kind(), ErrorKind::Closed);
    assert_eq!(longer.stats().pending_timers, 0);
}

#[test]
fn a_weak_handle_may_become_one_while_the_last_goes() {
    for _ in 0..2000 {
        let reactor = Reactor::new().unwrap();
        let (sender, dropped) = channel();
        let source = VirtualSource::pair().0;
        timer_that_is_dropped(&reactor, move || sender.send(()).unwrap());
        let weak = reactor.downgrade();
        let other = thread::spawn(move || {
            let reactor = weak.upgrade()?;
            let add = reactor.add_handler(source, Interest::NONE, Mode::Level, |_, _| {});
            add.ok()
        });
        drop(reactor);
        other.join().unwrap();
        assert_eq!(dropped.try_iter().count(), 1);
    }
}
