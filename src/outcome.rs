//! The results that callbacks may return, and the treatment of errors.

use std::any::Any;
use std::fmt;
use std::panic::Location;
use std::sync::Arc;

use crate::os::RawFd;
use crate::{Action, CallbackKind, Id};

/// A result of a handler or of a periodic timer.
///
/// - `()` means to go on, like [`Action::Continue`]. An [`Action`] decides.
/// - A [`Result`] contains either of them. An `Err` removes the callback and goes to the loop's reporter: see
///   [`Builder::on_error`](crate::Builder::on_error). The error can be any type that implements `Display`.
/// - A closure that diverges, such as `|_, _| panic!()`, has no result at all.
///
/// ```
/// use oneloop::{Interest, Mode, Reactor};
/// use std::{io, io::Write, os::unix::net::UnixStream};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let reactor = Reactor::new()?;
/// let (ours, theirs) = UnixStream::pair()?;
/// let greet = |stream: &mut UnixStream, _| -> io::Result<()> {
///     stream.write_all(b"hello ")?; // in each turn, until it fails
///     Ok(())
/// };
/// reactor.add_handler(ours, Interest::WRITABLE, Mode::Level, greet)?;
/// drop(theirs);
/// reactor.run()?; // says "the handler added at src/main.rs:11:9 failed: Broken pipe (os error 32)"
/// # Ok(())
/// # }
/// ```
#[diagnostic::on_unimplemented(
    message = "a callback cannot return `{Self}`",
    note = "it can return `()`, an `Action`, or a `Result` of either, with an error that implements `Display`"
)]
pub trait IntoAction: sealed::IntoAction {}

/// A result of a callback that is called once: a post or a one-shot timer.
///
/// The results are those of [`IntoAction`] without [`Action`], since there is no next call to decide about.
#[diagnostic::on_unimplemented(
    message = "a callback that is called once cannot return `{Self}`",
    note = "it can return `()` or a `Result<(), E>`, with an error that implements `Display`"
)]
pub trait IntoResult: sealed::IntoResult {}

impl<A: sealed::IntoAction> IntoAction for A {}
impl<R: sealed::IntoResult> IntoResult for R {}

pub(crate) mod sealed {
    use super::*;

    pub trait IntoAction {
        fn into_action(self) -> Result<Action, Failure>;
    }

    pub trait IntoResult {
        fn into_result(self) -> Result<(), Failure>;
    }

    impl IntoAction for () {
        #[inline]
        fn into_action(self) -> Result<Action, Failure> {
            Ok(Action::Continue)
        }
    }

    impl IntoAction for Action {
        #[inline]
        fn into_action(self) -> Result<Action, Failure> {
            Ok(self)
        }
    }

    impl<A: IntoAction, E: fmt::Display + 'static> IntoAction for Result<A, E> {
        #[inline]
        fn into_action(self) -> Result<Action, Failure> {
            match self {
                Ok(action) => action.into_action(),
                Err(error) => Err(Failure::new(error)),
            }
        }
    }

    /// The loop's own callbacks use this when they call a user's callback.
    impl IntoAction for Result<Action, Failure> {
        #[inline]
        fn into_action(self) -> Result<Action, Failure> {
            self
        }
    }

    impl IntoAction for Never {
        fn into_action(self) -> Result<Action, Failure> {
            self
        }
    }

    impl IntoResult for () {
        #[inline]
        fn into_result(self) -> Result<(), Failure> {
            Ok(())
        }
    }

    impl<E: fmt::Display + 'static> IntoResult for Result<(), E> {
        #[inline]
        fn into_result(self) -> Result<(), Failure> {
            self.map_err(Failure::new)
        }
    }

    impl IntoResult for Never {
        fn into_result(self) -> Result<(), Failure> {
            self
        }
    }

    /// `!`, the type of expressions that diverge. Stable Rust can name it only as the result of a function. A
    /// closure that only diverges has this type in edition 2024, and `()` before.
    type Never = <fn() -> ! as Returns>::Output;

    pub trait Returns {
        type Output;
    }

    impl<T> Returns for fn() -> T {
        type Output = T;
    }
}

/// The error of a callback. Two boxes make it fit into a register beside an action, because every call pays
/// for the size of its result.
pub struct Failure(Box<Box<dyn Reason>>);

trait Reason {
    fn as_display(&self) -> &(dyn fmt::Display + 'static);
    fn as_any(&self) -> &dyn Any;
}

impl<E: fmt::Display + 'static> Reason for E {
    fn as_display(&self) -> &(dyn fmt::Display + 'static) {
        self
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

impl Failure {
    #[cold]
    pub(crate) fn new(error: impl fmt::Display + 'static) -> Failure {
        Failure(Box::new(Box::new(error)))
    }
}

/// A callback that returned an error. [`Builder::on_error`](crate::Builder::on_error) reports it.
///
/// Its text is a sentence with the place of registration, the descriptor if there is one, and the error.
#[non_exhaustive]
pub struct FailedCallback {
    /// The kind of callback.
    pub kind: CallbackKind,
    /// The id that the callback had.
    pub id: Id,
    /// The name that [`Reactor::set_name`](crate::Reactor::set_name) gave.
    pub name: Option<Arc<str>>,
    /// The descriptor that a handler was on.
    pub fd: Option<RawFd>,
    /// The place where it was registered, set or posted.
    pub location: &'static Location<'static>,
    pub(crate) error: Failure,
}

impl FailedCallback {
    /// Returns the error, for messages.
    pub fn error(&self) -> &(dyn fmt::Display + 'static) {
        self.error.0.as_display()
    }

    /// Returns the error if it has this type.
    ///
    /// ```
    /// use std::{io, sync::mpsc::channel};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let (sender, kinds) = channel();
    /// let reactor = oneloop::Reactor::builder()
    ///     .on_error(move |failed| {
    ///         let error: Option<&io::Error> = failed.downcast_ref();
    ///         let _ = sender.send(error.map(io::Error::kind));
    ///     })
    ///     .build()?;
    /// reactor.call_soon(|| Err::<(), _>(io::Error::from(io::ErrorKind::NotFound)))?;
    /// reactor.run()?;
    /// assert_eq!(kinds.recv()?, Some(io::ErrorKind::NotFound));
    /// # Ok(())
    /// # }
    /// ```
    pub fn downcast_ref<E: fmt::Display + 'static>(&self) -> Option<&E> {
        self.error.0.as_any().downcast_ref()
    }
}

impl fmt::Display for FailedCallback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.kind.write(f, self.name.as_deref(), self.location)?;
        if let Some(fd) = self.fd {
            write!(f, ", on descriptor {fd},")?;
        }
        // The alternate form of an error includes its causes, if the type supports that.
        write!(f, " failed: {:#}", self.error())
    }
}

impl fmt::Debug for FailedCallback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FailedCallback({self})")
    }
}

/// Reports errors if the builder has set no report.
pub(crate) fn report(failed: &FailedCallback) {
    #[cfg(feature = "tracing")]
    tracing::error!(target: "oneloop", "{failed}");
    #[cfg(not(feature = "tracing"))]
    {
        use std::io::Write;
        // `eprintln` would panic if standard error is closed.
        let _ = writeln!(std::io::stderr(), "oneloop: {failed}");
    }
}
