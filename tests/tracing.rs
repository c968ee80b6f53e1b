//! The output of the `tracing` feature.
#![cfg(feature = "tracing")]

use std::future::{Future, poll_fn};
use std::io;
use std::os::unix::net::UnixStream;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Waker};
use std::time::Duration;

use futures_lite::AsyncReadExt;
use futures_lite::future::zip;
use oneloop::Reactor;
use oneloop::futures::{Async, Timer};
use tracing_subscriber::fmt::format::FmtSpan;

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Returns the log of `work`.
fn logged(work: impl FnOnce()) -> String {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_span_events(FmtSpan::NEW)
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    tracing::subscriber::with_default(subscriber, work);
    let bytes = std::mem::take(&mut *log.0.lock().unwrap());
    String::from_utf8(bytes).unwrap()
}

#[test]
fn every_callback_is_in_a_span_with_its_location() {
    let reactor = Reactor::new().unwrap();
    let line = line!() + 1;
    reactor.call_soon(|| tracing::info!("inside")).unwrap();
    let log = logged(|| reactor.run().unwrap());
    let inside = log.lines().find(|line| line.contains("inside")).unwrap();
    let span = format!("callback{{kind=Post location=tests/tracing.rs:{line}:");
    assert!(inside.contains(&span), "{log}");
}

fn warnings(log: &str) -> usize {
    log.matches("WARN").count()
}

fn poll(future: impl Future) {
    let mut cx = Context::from_waker(Waker::noop());
    assert!(pin!(future).poll(&mut cx).is_pending());
}

#[test]
fn a_future_on_a_loop_without_a_driver_is_warned_of_once() {
    let second = Duration::from_secs(1);
    let reactor = Reactor::new().unwrap();
    let log = logged(|| (0..3).for_each(|_| poll(Timer::after(&reactor, second))));
    assert_eq!(warnings(&log), 1, "{log}");
    assert!(log.contains("a loop that is not driven"), "{log}");

    let ways: [fn(&mut Async<UnixStream>); 3] = [
        |stream| poll(stream.readable()),
        |stream| poll(poll_fn(|cx| stream.poll_readable(cx))),
        |stream| poll(stream.read(&mut [0])),
    ];
    for way in ways {
        let reactor = Reactor::new().unwrap();
        let (mut stream, _peer) = Async::<UnixStream>::pair(&reactor).unwrap();
        let log = logged(|| (0..3).for_each(|_| way(&mut stream)));
        assert_eq!(warnings(&log), 1, "{log}");
    }
}

#[test]
fn no_warning_for_a_loop_that_is_driven() {
    let moment = Duration::from_micros(10);
    let log = logged(|| {
        let reactor = Reactor::new().unwrap();
        let timer = Timer::after(&reactor, moment);
        reactor.block_on(timer).unwrap();
        // A host need not be awake.
        let _host = reactor.host("a host").unwrap();
        poll(Timer::after(&reactor, Duration::from_secs(1)));
    });
    assert_eq!(warnings(&log), 0, "{log}");
}

/// A spawned `drive` may be polled for the first time after the tasks that wait for the loop.
#[test]
fn no_warning_for_a_loop_that_is_about_to_be_driven() {
    let moment = Duration::from_micros(10);
    let log = logged(|| {
        let runtime = tokio::runtime::Builder::new_current_thread();
        { runtime }.enable_io().build().unwrap().block_on(async {
            let reactor = Reactor::new().unwrap();
            let driver = tokio::spawn(oneloop_tokio::drive(&reactor));
            Timer::after(&reactor, moment).await;
            reactor.stop();
            driver.await.unwrap().unwrap();
        });
        let reactor = Reactor::new().unwrap();
        let driver = oneloop_async_io::drive(&reactor);
        let wait = async {
            Timer::after(&reactor, moment).await;
            reactor.stop();
        };
        async_io::block_on(zip(wait, driver)).1.unwrap();
    });
    assert_eq!(warnings(&log), 0, "{log}");
}

#[test]
fn a_warning_for_a_loop_whose_drive_is_over_or_dropped() {
    let (one, two) = (Reactor::new().unwrap(), Reactor::new().unwrap());
    one.stop();
    let log = logged(|| {
        async_io::block_on(oneloop_async_io::drive(&one)).unwrap();
        drop(oneloop_tokio::drive(&two));
        for reactor in [&one, &two] {
            poll(Timer::after(reactor, Duration::from_secs(1)));
        }
    });
    assert_eq!(warnings(&log), 2, "{log}");
}
