use std::future::{pending, poll_fn};
use std::io;
use std::task::Poll;
use std::time::{Duration, Instant};

use oneloop::{ErrorKind, Reactor};
use oneloop_conformance::{HostUnderTest, Outside};

/// The loop's own wait.
pub struct BuiltIn;

impl HostUnderTest for BuiltIn {
    fn new() -> BuiltIn {
        BuiltIn
    }

    fn drive(&mut self, reactor: &Reactor, outside: Outside) -> io::Result<()> {
        // As `run_forever`, beside a future.
        let driven = reactor.block_on(async {
            once_pending().await;
            outside();
            pending::<()>().await
        });
        match driven {
            Err(error) if error.kind() == ErrorKind::Stopped => Ok(()),
            other => Ok(other?),
        }
    }
}

/// Lets everything else have a turn.
async fn once_pending() {
    let mut first = true;
    poll_fn(|cx| {
        if std::mem::take(&mut first) {
            cx.waker().wake_by_ref();
            Poll::Pending
        } else {
            Poll::Ready(())
        }
    })
    .await
}

/// The kernel lets the waits of a thread end late by its timer slack.
#[cfg(target_os = "linux")]
#[test]
fn a_short_timer_does_not_wait_for_the_threads_slack() {
    let slack = Duration::from_secs(2);
    // SAFETY: the call changes nothing but the slack of this thread, which ends with this test.
    let set = unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, slack.as_nanos() as libc::c_ulong) };
    assert_eq!(set, 0);
    let reactor = Reactor::new().unwrap();
    for delay in [Duration::from_micros(20), Duration::from_millis(5)] {
        let start = Instant::now();
        reactor.call_later(delay, || {}).unwrap();
        reactor.run().unwrap();
        assert!(start.elapsed() >= delay);
        assert!(start.elapsed() < slack / 2, "{:?}", start.elapsed());
    }
}
