//! What the `tracing` feature shows.
#![cfg(feature = "tracing")]

use std::future::Future;
use std::io;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Waker};
use std::time::Duration;

use oneloop::Reactor;
use oneloop::futures::Timer;
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

/// What `work` logs.
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
fn every_callback_is_in_a_span_with_its_place() {
    let reactor = Reactor::new().unwrap();
    let line = line!() + 1;
    reactor.call_soon(|| tracing::info!("inside")).unwrap();
    let log = logged(|| reactor.run().unwrap());
    let inside = log.lines().find(|line| line.contains("inside")).unwrap();
    let place = format!("callback{{kind=Post place=tests/tracing.rs:{line}:");
    assert!(inside.contains(&place), "{log}");
}

#[test]
fn a_future_on_a_loop_that_nobody_drives_is_warned_of_once() {
    let reactor = Reactor::new().unwrap();
    let mut cx = Context::from_waker(Waker::noop());
    let log = logged(|| {
        for _ in 0..3 {
            let timer = pin!(Timer::after(&reactor, Duration::from_secs(1)));
            assert!(timer.poll(&mut cx).is_pending());
        }
    });
    assert_eq!(log.matches("WARN").count(), 1, "{log}");
    assert!(log.contains("nobody drives"), "{log}");
    let log = logged(|| {
        let timer = Timer::after(&reactor, Duration::from_micros(10));
        reactor.block_on(timer).unwrap();
    });
    assert!(!log.contains("WARN"), "{log}");
}
