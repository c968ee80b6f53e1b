use std::future::Future;
use std::io;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll};

use oneloop::{Loop, Threads};

/// Not on this system: its poller is no descriptor that tokio could watch. The future ends with an
/// error of the kind [`Unsupported`](io::ErrorKind::Unsupported). [`Loop::run`] drives, on a thread
/// of its own.
pub fn drive<K: Threads>(_: &Loop<K>) -> Drive<K> {
    Drive(PhantomData)
}

/// The future that [`drive`] makes.
#[must_use = "a reactor is driven only while this is polled"]
#[derive(Debug)]
pub struct Drive<K: Threads>(PhantomData<K>);

impl<K: Threads> Future for Drive<K> {
    type Output = io::Result<()>;

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        let what = "the poller is no descriptor that tokio could watch";
        Poll::Ready(Err(io::Error::new(io::ErrorKind::Unsupported, what)))
    }
}
