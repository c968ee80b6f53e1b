//! `LocalReactor`: what is not `Send` stays on its thread.

use std::cell::{Cell, RefCell};
use std::io::Read;
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::time::Duration;

use oneloop::{Action, Interest, Mode, Reactor};

/// Tells on which thread it was dropped.
struct Tell(std::sync::mpsc::Sender<std::thread::ThreadId>);

impl Drop for Tell {
    fn drop(&mut self) {
        let _ = self.0.send(std::thread::current().id());
    }
}

#[test]
fn handlers_timers_posts_and_hooks_may_hold_an_rc() {
    let reactor = Reactor::new_local().unwrap();
    let log = Rc::new(RefCell::new(Vec::new()));
    let note = |name| {
        let log = log.clone();
        move || log.borrow_mut().push(name)
    };
    let (a, b) = UnixStream::pair().unwrap();
    let handler = note("handler");
    let source = Rc::new(a);
    drop(b);
    let handle = move |source: &mut Rc<UnixStream>, _| {
        assert_eq!((&**source).read(&mut [0]).unwrap(), 0);
        handler();
        Action::Remove
    };
    reactor
        .add_handler(source, Interest::READABLE, Mode::Level, handle)
        .unwrap();
    reactor.call_later(Duration::ZERO, note("timer")).unwrap();
    reactor.call_soon(note("post")).unwrap();
    let prepared = Rc::new(Cell::new(0));
    let count = prepared.clone();
    let prepare = move || {
        count.set(count.get() + 1);
        None
    };
    reactor.add_hook(prepare, || {}).unwrap();
    reactor.run().unwrap();
    assert_eq!(*log.borrow(), ["handler", "timer", "post"]);
    assert!(prepared.get() > 0);
}

#[test]
fn a_remote_never_drops_what_belongs_to_the_loops_thread() {
    let (tell, told) = std::sync::mpsc::channel();
    let reactor = Reactor::new_local().unwrap();
    let remote = reactor.remote();
    let (one, two) = (Tell(tell.clone()), Tell(tell));
    reactor.call_soon(move || drop(one)).unwrap();
    let timer = move || {
        let _ = &two;
    };
    reactor.call_later(Duration::from_secs(9), timer).unwrap();
    // The remote lives on another thread, and outlives the loop there.
    let (gone, wait) = std::sync::mpsc::channel::<()>();
    let thread = std::thread::spawn(move || {
        let _ = wait.recv();
        assert!(remote.call_soon(|| {}).is_err());
        drop(remote);
    });
    drop(reactor);
    drop(gone);
    thread.join().unwrap();
    let here = std::thread::current().id();
    assert_eq!(told.iter().collect::<Vec<_>>(), [here, here]);
}

#[test]
fn posts_of_a_remote_run_on_the_loops_thread_in_order() {
    let reactor = Reactor::new_local().unwrap();
    let remote = reactor.remote();
    let stopper = reactor.downgrade();
    let (sender, receiver) = std::sync::mpsc::channel();
    let thread = std::thread::spawn(move || {
        for n in 0..1000 {
            let sender = sender.clone();
            let post = move || sender.send((n, std::thread::current().id())).unwrap();
            remote.call_soon(post).unwrap();
        }
    });
    let seen = Rc::new(RefCell::new(Vec::new()));
    let log = seen.clone();
    let look = move || {
        log.borrow_mut().extend(receiver.try_iter());
        if log.borrow().len() == 1000 {
            stopper.upgrade().unwrap().stop();
        }
    };
    reactor.call_every(Duration::from_millis(1), look).unwrap();
    reactor.run().unwrap();
    thread.join().unwrap();
    let here = std::thread::current().id();
    let expected: Vec<_> = (0..1000).map(|n| (n, here)).collect();
    assert_eq!(*seen.borrow(), expected);
}

#[test]
fn a_remote_stops_the_loop_from_another_thread() {
    let reactor = Reactor::new_local().unwrap();
    let (a, _b) = UnixStream::pair().unwrap();
    let handle = |_: &mut UnixStream, _| {};
    reactor
        .add_handler(a, Interest::READABLE, Mode::Level, handle)
        .unwrap();
    let remote = reactor.remote();
    let thread = std::thread::spawn(move || remote.stop());
    reactor.run().unwrap();
    thread.join().unwrap();
}

#[test]
fn block_on_takes_futures_that_are_not_send() {
    let reactor = Reactor::new_local().unwrap();
    let value = Rc::new(Cell::new(0));
    let (set, waker) = (
        value.clone(),
        Rc::new(RefCell::new(None::<std::task::Waker>)),
    );
    let wake = waker.clone();
    let timer = move || {
        set.set(7);
        wake.borrow_mut().take().unwrap().wake();
    };
    reactor.call_later(Duration::from_millis(1), timer).unwrap();
    let future = std::future::poll_fn(|cx| match value.get() {
        0 => {
            *waker.borrow_mut() = Some(cx.waker().clone());
            std::task::Poll::Pending
        }
        value => std::task::Poll::Ready(value),
    });
    assert_eq!(reactor.block_on(future).unwrap(), 7);
}
