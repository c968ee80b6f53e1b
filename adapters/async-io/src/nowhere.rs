use std::future::Future;
use std::io;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll};

use oneloop::{Reactor, Threading};

/// Returns a future that ends with an error of the kind [`Unsupported`](io::ErrorKind::Unsupported). On this
/// system, the poller is no descriptor that async-io could watch. Use [`Reactor::run`] on a thread of its
/// own.
pub fn drive<M: Threading>(_: &Reactor<M>) -> Drive<M> {
    Drive(PhantomData)
}

/// Returns a future that ends with an error, like [`drive`].
pub fn run<M: Threading>(_: &Reactor<M>) -> Drive<M> {
    Drive(PhantomData)
}

/// The future that [`drive`] and [`run`] return.
#[must_use = "a reactor is driven only while this is polled"]
#[derive(Debug)]
pub struct Drive<M: Threading>(PhantomData<M>);

impl<M: Threading> Future for Drive<M> {
    type Output = io::Result<()>;

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        let what = "the poller is no descriptor that async-io could watch";
        Poll::Ready(Err(io::Error::new(io::ErrorKind::Unsupported, what)))
    }
}
