//! What callbacks may return, and what becomes of an error.

use std::any::Any;
use std::fmt;
use std::panic::Location;
use std::sync::Arc;

use crate::os::RawFd;
use crate::{Action, CallbackKind, Id};

/// The results that a handler or a periodic timer may have.
///
/// - `()` goes on, as does an [`Action`] that says so.
/// - A [`Result`] with either of them in it. An `Err` removes the callback, and goes to the reporter of the
///   loop: see [`Builder::on_error`](crate::Builder::on_error). The error is anything with a text.
/// - Nothing at all: a closure that diverges, such as `|_, _| panic!()`.
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
    note = "it returns nothing, an `Action`, or a `Result` with either whose error can be displayed"
)]
pub trait IntoAction: sealed::IntoAction {}

/// The results that a callback may have which is called once: a post, a one-shot timer.
///
/// They are those of [`IntoAction`], but for an [`Action`]: there is nothing to go on with.
#[diagnostic::on_unimplemented(
    message = "a callback that is called once cannot return `{Self}`",
    note = "it returns nothing, or a `Result` with nothing in it whose error can be displayed"
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

    /// For callbacks of the loop's own that call a user's.
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

    /// `!`, the type of what diverges. It has no name in stable Rust but as what a function returns. A
    /// closure that only diverges has this type in edition 2024, and `()` before.
    type Never = <fn() -> ! as Returns>::Output;

    pub trait Returns {
        type Output;
    }

    impl<T> Returns for fn() -> T {
        type Output = T;
    }
}

/// The error of a callback. In two boxes, so that it fits into a register beside an action: what a callback
/// gives back is part of the cost of each call.
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
    fn new(error: impl fmt::Display + 'static) -> Failure {
        Failure(Box::new(Box::new(error)))
    }
}

/// A callback that returned an error; see [`Builder::on_error`](crate::Builder::on_error).
///
/// As text it is a whole sentence, with the place of registration, the descriptor if there is one, and the
/// error.
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
    /// The error, for people.
    pub fn error(&self) -> &(dyn fmt::Display + 'static) {
        self.error.0.as_display()
    }

    /// The error, if the callback returned one of this type.
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
        // The long form of errors that have one, with their causes.
        write!(f, " failed: {:#}", self.error())
    }
}

impl fmt::Debug for FailedCallback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FailedCallback({self})")
    }
}

/// What is done about errors if the builder was told nothing.
pub(crate) fn report(failed: &FailedCallback) {
    #[cfg(feature = "tracing")]
    tracing::error!(target: "oneloop", "{failed}");
    #[cfg(not(feature = "tracing"))]
    {
        use std::io::Write;
        // `eprintln` would panic if nobody hears.
        let _ = writeln!(std::io::stderr(), "oneloop: {failed}");
    }
}
