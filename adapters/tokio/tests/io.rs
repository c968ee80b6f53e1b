//! The parts that tokio's traits over a oneloop reactor's sockets add to those of futures-io.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::io::IoSlice;
use std::os::unix::net::UnixStream;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use futures_lite::io::{BufWriter, repeat, sink};
use oneloop::{Reactor, futures::Async};
use oneloop_tokio::{Io, drive};
use tokio::io::{AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

/// How often `work` gets done before it lets other tasks run; no more than `most` times.
async fn in_one_poll(most: usize, mut work: impl AsyncFnMut()) -> usize {
    let done = Cell::new(0);
    let mut busy = pin!(async {
        while done.get() < most {
            work().await;
            done.set(done.get() + 1);
        }
    });
    poll_fn(|cx| {
        let _ = busy.as_mut().poll(cx);
        Poll::Ready(())
    })
    .await;
    done.get()
}

const MANY: usize = 10_000;

#[tokio::test]
async fn a_task_that_never_waits_leaves_other_tasks_their_turn() {
    let (mut source, mut drain) = (Io::new(repeat(7)), Io::new(sink()));
    let reads = in_one_poll(MANY, async || _ = source.read(&mut [0; 8]).await.unwrap()).await;
    assert!(reads < 1000, "{reads} reads");
    tokio::task::yield_now().await;
    let writes = in_one_poll(MANY, async || _ = drain.write(&[0; 8]).await.unwrap()).await;
    assert!(writes < 1000, "{writes} writes");
    tokio::task::yield_now().await;
    let writes = in_one_poll(MANY, async || {
        let buffers = [IoSlice::new(&[0; 8]); 2];
        assert!(drain.write_vectored(&buffers).await.unwrap() >= 8);
    });
    let writes = writes.await;
    assert!(writes < 1000, "{writes} vectored writes");
}

#[tokio::test]
async fn a_flush_and_a_shutdown_reach_what_is_inside() {
    let reactor = Reactor::new().unwrap();
    let (near, far) = Async::<UnixStream>::pair(&reactor).unwrap();
    let driver = tokio::spawn(drive(&reactor));
    let mut near = Io::new(BufWriter::new(near));
    assert!(near.is_write_vectored());
    let mut far = Io::new(far);
    let talk = async {
        near.write_all(b"x").await.unwrap();
        near.flush().await.unwrap();
        let mut byte = [0];
        far.read_exact(&mut byte).await.unwrap();
        near.shutdown().await.unwrap();
        let mut rest = Vec::new();
        far.read_to_end(&mut rest).await.unwrap();
        (byte, rest)
    };
    let heard = timeout(Duration::from_secs(20), talk).await;
    assert_eq!(heard.expect("it did not get through"), (*b"x", vec![]));
    reactor.stop();
    driver.await.unwrap().unwrap();
}

#[test]
fn outside_of_tokio_there_is_no_limit() {
    let mut source = Io::new(repeat(7));
    let reads = in_one_poll(MANY, async || _ = source.read(&mut [0; 8]).await.unwrap());
    let reads = pin!(reads).poll(&mut Context::from_waker(Waker::noop()));
    assert_eq!(reads, Poll::Ready(MANY));
}

/// tokio's budget and that of an `Async` both end a poll, and neither keeps the other from going on.
#[tokio::test]
async fn two_budgets_end_neither() {
    let reactor = Reactor::new().unwrap();
    let zero = std::fs::File::open("/dev/zero").unwrap();
    let mut zero = Io::new(Async::new(&reactor, zero).unwrap());
    let driver = tokio::spawn(drive(&reactor));
    let mut bytes = vec![1; MANY];
    for byte in &mut bytes {
        let mut one = [1];
        zero.read_exact(&mut one).await.unwrap();
        *byte = one[0];
    }
    assert_eq!(bytes, [0; MANY]);
    reactor.stop();
    driver.await.unwrap().unwrap();
}
