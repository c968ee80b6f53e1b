//! Values that live on a loop's thread: `Reactor::share`.
#![cfg(unix)]

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::mpsc::{Sender, channel};
use std::task::{Context, Waker};
use std::thread::{self, ThreadId};
use std::time::Duration;

use futures_lite::future::block_on;
use oneloop::{ErrorKind, LoopCell, Reactor};

/// Tells in its drop on which thread that is. It is not `Send`.
struct Told(Sender<ThreadId>, #[expect(dead_code)] Rc<()>);

impl Drop for Told {
    fn drop(&mut self) {
        let _ = self.0.send(thread::current().id());
    }
}

#[test]
fn a_thread_reads_and_changes_what_callbacks_keep_in_an_rc() {
    let reactor = Reactor::new_local().unwrap();
    let lines = Rc::new(RefCell::new(vec![String::from("one")]));
    let cell = reactor.share(lines.clone()).unwrap();
    let remote = reactor.remote();
    let thread = thread::spawn(move || {
        let here = thread::current().id();
        let (count, there) = block_on(cell.with(|lines| {
            lines.borrow_mut().push("two".into());
            (lines.borrow().len(), thread::current().id())
        }))
        .unwrap();
        remote.stop();
        (count, there != here)
    });
    reactor.run_forever().unwrap();
    assert_eq!(thread.join().unwrap(), (2, true));
    assert_eq!(*lines.borrow(), ["one", "two"]);
}

/// Tasks of a runtime with threads of its own, such as the handlers of a web server.
#[test]
fn tasks_of_tokio_ask() {
    let reactor = Reactor::new_local().unwrap();
    let count = Rc::new(Cell::new(0));
    let cell = reactor.share(count.clone()).unwrap();
    let remote = reactor.remote();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .build()
        .unwrap();
    runtime.spawn(async move {
        let tasks: Vec<_> = (0..50)
            .map(|_| {
                let cell = cell.clone();
                tokio::spawn(async move {
                    for _ in 0..10 {
                        cell.with(|count| count.set(count.get() + 1)).await.unwrap();
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
        remote.stop();
    });
    reactor.run_forever().unwrap();
    assert_eq!(count.get(), 500);
}

/// The loop and the tasks are on one thread, which is tokio's, or async-io's.
#[test]
fn tasks_on_the_thread_of_the_loop_ask() {
    async fn ask(cell: LoopCell<Rc<Cell<u32>>>) -> u32 {
        cell.with(|count| count.replace(7)).await.unwrap()
    }

    let reactor = Reactor::new_local().unwrap();
    let cell = reactor.share(Rc::new(Cell::new(6))).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()
        .unwrap();
    let asked = async {
        // It is `Send` although the value is not.
        let seen = tokio::spawn(ask(cell.clone())).await.unwrap();
        reactor.stop();
        seen
    };
    let driven = oneloop_tokio::drive(&reactor);
    let (driven, seen) = runtime.block_on(futures_lite::future::zip(driven, asked));
    driven.unwrap();
    assert_eq!(seen, 6);

    let asked = async {
        let seen = ask(cell.clone()).await;
        reactor.stop();
        seen
    };
    let driven = oneloop_async_io::drive(&reactor);
    let (driven, seen) = async_io::block_on(futures_lite::future::zip(driven, asked));
    driven.unwrap();
    assert_eq!(seen, 7);
}

#[test]
fn a_panic_reaches_the_asker_and_not_the_loop() {
    let reactor = Reactor::new().unwrap();
    let cell = reactor.share(5).unwrap();
    let thread = thread::spawn(move || {
        let asked = || block_on(cell.with(|_| panic!("on purpose")));
        let payload = catch_unwind(AssertUnwindSafe(asked)).unwrap_err();
        assert_eq!(payload.downcast_ref(), Some(&"on purpose"));
        let again = block_on(cell.with(|value| *value)).unwrap();
        block_on(cell.with(|_| Reactor::current().unwrap().stop())).unwrap();
        again
    });
    reactor.run_forever().unwrap();
    assert_eq!(thread.join().unwrap(), 5);
}

#[test]
fn an_ask_whose_future_is_dropped_is_not_called() {
    let reactor = Reactor::new_local().unwrap();
    let cell = reactor.share(()).unwrap();
    let called = Arc::new(AtomicBool::new(false));
    let mut context = Context::from_waker(Waker::noop());
    for polled in [true, false] {
        let seen = called.clone();
        let mut asked = Box::pin(cell.with(move |()| seen.store(true, SeqCst)));
        if polled {
            assert!(asked.as_mut().poll(&mut context).is_pending());
        }
        drop(asked);
        reactor.turn(Some(Duration::ZERO)).unwrap();
        assert!(!called.load(SeqCst));
    }
    let seen = called.clone();
    let mut asked = pin!(cell.with(move |()| seen.store(true, SeqCst)));
    assert!(asked.as_mut().poll(&mut context).is_pending());
    reactor.turn(Some(Duration::ZERO)).unwrap();
    assert!(called.load(SeqCst) && asked.poll(&mut context).is_ready());
}

#[test]
fn the_last_handle_that_goes_has_the_value_dropped_on_the_loops_thread() {
    let reactor = Reactor::new_local().unwrap();
    let (sender, dropped) = channel();
    let cell = reactor.share(Told(sender, Rc::default())).unwrap();
    let other = cell.clone();
    thread::spawn(move || drop(cell)).join().unwrap();
    reactor.turn(Some(Duration::ZERO)).unwrap();
    assert!(dropped.try_recv().is_err(), "there is another handle");
    thread::spawn(move || drop(other)).join().unwrap();
    assert!(dropped.try_recv().is_err());
    reactor.run().unwrap();
    assert_eq!(dropped.try_recv(), Ok(thread::current().id()));
}

#[test]
fn the_end_of_the_loop_drops_the_value_and_asking_is_an_error_then() {
    for closed in [true, false] {
        let reactor = Reactor::new_local().unwrap();
        let (sender, dropped) = channel();
        let cell = reactor.share(Told(sender, Rc::default())).unwrap();
        let mut context = Context::from_waker(Waker::noop());
        let mut asked = pin!(cell.with(|_| ()));
        assert!(asked.as_mut().poll(&mut context).is_pending());
        if closed {
            reactor.close()
        } else {
            drop(reactor)
        }
        assert_eq!(dropped.try_recv(), Ok(thread::current().id()));
        let error = block_on(asked).unwrap_err();
        assert_eq!((error.kind(), error.call()), (ErrorKind::Closed, "with"));
        let asks = thread::spawn(move || {
            let error = block_on(cell.with(|_| ())).unwrap_err();
            error.kind()
        });
        assert_eq!(asks.join().unwrap(), ErrorKind::Closed);
    }
}

#[test]
fn a_loop_that_is_closed_while_the_value_is_in_use_leaves_it_whole() {
    let reactor = Reactor::new().unwrap();
    let (sender, dropped) = channel();
    struct Tells(Sender<&'static str>);
    impl Drop for Tells {
        fn drop(&mut self) {
            self.0.send("dropped").unwrap();
        }
    }
    let cell = reactor.share(Tells(sender)).unwrap();
    let thread = thread::spawn(move || {
        block_on(cell.with(|value| {
            let closer = Reactor::current().unwrap();
            thread::spawn(move || closer.close()).join().unwrap();
            value.0.send("in use").unwrap();
        }))
    });
    assert_eq!(reactor.run_forever().unwrap_err().kind(), ErrorKind::Closed);
    thread.join().unwrap().unwrap();
    let order: Vec<_> = dropped.try_iter().collect();
    assert_eq!(order, ["in use", "dropped"]);
}

#[test]
fn a_callback_of_the_loop_that_waits_is_answered_at_once() {
    let reactor = Reactor::new().unwrap();
    // `Send`, and not `Sync`.
    let cell = reactor.share(Cell::new(1)).unwrap();
    let (sender, seen) = channel();
    let callback = move || {
        let increased = block_on(cell.with(|value| {
            value.set(value.get() + 1);
            value.get()
        }));
        sender.send(increased.unwrap()).unwrap();
        // A callback of another loop does not get at it: this loop has to be asked, and is not in a turn.
        let inner = Reactor::new().unwrap();
        let post = move || {
            let mut asked = pin!(cell.with(Cell::get));
            let polled = asked.as_mut().poll(&mut Context::from_waker(Waker::noop()));
            sender.send(i32::from(polled.is_pending())).unwrap();
        };
        inner.call_soon(post).unwrap();
        inner.run().unwrap();
    };
    reactor.call_soon(callback).unwrap();
    reactor.run().unwrap();
    assert_eq!(seen.try_iter().collect::<Vec<_>>(), [2, 1]);
}

#[test]
fn a_shared_value_does_not_keep_the_loop_going() {
    let reactor = Reactor::new().unwrap();
    let cell = reactor.share(()).unwrap();
    reactor.run().unwrap();
    drop(cell);
    reactor.close();
    assert_eq!(reactor.share(()).unwrap_err().kind(), ErrorKind::Closed);
}
