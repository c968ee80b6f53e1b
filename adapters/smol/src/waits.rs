//! Futures that wait for readiness.

use std::fmt;
use std::future::Future;
use std::io::Result;
use std::marker::PhantomData;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use oneloop::futures::{OwnedWait, Wait};

use crate::{Async, driver};

/// Defines the futures of both directions. A panic in between leaves the loop's state whole, so they are as safe to
/// unwind through as their handle.
macro_rules! waits {
    ($borrowing:ident, $owning:ident, $method:literal, $owned_method:literal) => {
        #[doc = concat!("Future of [`Async::", $method, "`].")]
        #[must_use = "a future does nothing unless it is awaited"]
        pub struct $borrowing<'a, T> {
            wait: AssertUnwindSafe<Wait<'a>>,
            handle: PhantomData<&'a Async<T>>,
        }

        impl<'a, T> $borrowing<'a, T> {
            pub(crate) fn new(wait: Wait<'a>) -> Self {
                let handle = PhantomData;
                let wait = AssertUnwindSafe(wait);
                Self { wait, handle }
            }
        }

        impl<T> Future for $borrowing<'_, T> {
            type Output = Result<()>;

            fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
                driver::awaited(Pin::new(&mut self.wait).poll(cx))
            }
        }

        impl<T> fmt::Debug for $borrowing<'_, T> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(stringify!($borrowing))
            }
        }

        #[doc = concat!("Future of [`Async::", $owned_method, "`].")]
        #[must_use = "a future does nothing unless it is awaited"]
        pub struct $owning<T> {
            // Dropped before the handle, whose registration it waits on.
            wait: AssertUnwindSafe<OwnedWait>,
            _handle: Arc<Async<T>>,
        }

        impl<T> $owning<T> {
            pub(crate) fn new(wait: OwnedWait, _handle: Arc<Async<T>>) -> Self {
                let wait = AssertUnwindSafe(wait);
                Self { wait, _handle }
            }
        }

        impl<T> Future for $owning<T> {
            type Output = Result<()>;

            fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
                driver::awaited(Pin::new(&mut self.wait).poll(cx))
            }
        }

        impl<T> fmt::Debug for $owning<T> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(stringify!($owning))
            }
        }
    };
}

waits!(Readable, ReadableOwned, "readable", "readable_owned");
waits!(Writable, WritableOwned, "writable", "writable_owned");
