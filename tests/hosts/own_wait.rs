use std::future::{pending, poll_fn};
use std::io;
use std::task::Poll;

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
