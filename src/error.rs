use std::{error, fmt, io};

use crate::os::RawFd;
#[cfg(feature = "signal")]
use crate::signal::SignalName;

/// The result of most calls.
pub type Result<T> = std::result::Result<T, Error>;

/// The reason why a call failed. It names the call and the descriptor, signal or process, if there is one.
///
/// It converts into an [`io::Error`] of the same kind and stays inside. That error has no `raw_os_error` of its
/// own, since an [`io::Error`] holds either a code or an inner error. [`Error::of`] finds the inner error, and
/// [`raw_os_error`](Error::raw_os_error) has the code. Errors of the adapters' `drive` are of this kind. The
/// [`futures`](crate::futures) give the system's own error instead, as any other socket does.
// A box makes the results of calls that succeed small.
pub struct Error(Box<Inner>);

struct Inner {
    call: &'static str,
    about: Option<About>,
    cause: Cause,
}

/// The object of a call.
#[derive(Clone, Copy)]
enum About {
    Descriptor(RawFd),
    #[cfg(feature = "signal")]
    Signal(i32),
    #[cfg(feature = "signal")]
    Process(u32),
}

pub(crate) enum Cause {
    Os(io::Error),
    UnknownId,
    AlreadyDriven(String),
    Unsupported(io::Error),
    Forked,
    Closed,
    Stopped,
    NotCurrent(&'static str),
}

/// The kinds of [`Error`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The operating system refused. [`Error::raw_os_error`] has its code.
    Os,
    /// The id was removed, has fired, or never came from this reactor.
    UnknownId,
    /// The reactor has a driver already: this is a callback, or another thread or host drives.
    AlreadyDriven,
    /// The poller or the system cannot do this, or it cannot be done at all.
    Unsupported,
    /// The reactor belongs to the parent of this forked process.
    Forked,
    /// The reactor is gone or was closed.
    Closed,
    /// `stop` ended a call before its result was ready.
    Stopped,
    /// No loop is calling on this thread, or a loop of the other kind is.
    NotCurrent,
}

impl Error {
    #[cold]
    pub(crate) fn new(call: &'static str, cause: Cause) -> Error {
        let about = None;
        Error(Box::new(Inner { call, about, cause }))
    }

    #[cold]
    pub(crate) fn os(call: &'static str, error: io::Error) -> Error {
        // oneloop's own errors have a text, and those of the system have a code.
        match (error.kind(), code_of(&error)) {
            (io::ErrorKind::Unsupported, None) => Error::new(call, Cause::Unsupported(error)),
            _ => Error::new(call, Cause::Os(error)),
        }
    }

    pub(crate) fn with_fd(mut self, fd: RawFd) -> Error {
        self.0.about = Some(About::Descriptor(fd));
        self
    }

    #[cfg(feature = "signal")]
    pub(crate) fn with_signal(mut self, signal: i32) -> Error {
        self.0.about = Some(About::Signal(signal));
        self
    }

    #[cfg(feature = "signal")]
    pub(crate) fn with_process(mut self, pid: u32) -> Error {
        self.0.about = Some(About::Process(pid));
        self
    }

    /// Returns the error inside an [`io::Error`], if there is one.
    ///
    /// An `io::Error` has either a code of the system or an inner error. If it was converted from this type,
    /// its own `raw_os_error` is `None`, and the inner error has the code:
    ///
    /// ```
    /// fn code(error: &std::io::Error) -> Option<i32> {
    ///     let inner = oneloop::Error::of(error).and_then(|error| error.raw_os_error());
    ///     inner.or(error.raw_os_error())
    /// }
    ///
    /// # #[cfg(unix)]
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use oneloop::{Interest, Mode, Reactor};
    ///
    /// let reactor = Reactor::new()?;
    /// // SAFETY: a number that is never open, which is refused.
    /// let refused = unsafe { reactor.add_raw_handler(-1, Interest::READABLE, Mode::Level, |_| {}) };
    /// let error = std::io::Error::from(refused.unwrap_err());
    /// assert_eq!(error.raw_os_error(), None);
    /// assert!(code(&error).is_some());
    /// # Ok(())
    /// # }
    /// # #[cfg(not(unix))]
    /// # fn main() {}
    /// ```
    ///
    /// The inner error also has the name of the call that failed:
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let reactor = oneloop::Reactor::new()?;
    /// reactor.close();
    /// let error = std::io::Error::from(reactor.run().unwrap_err());
    /// let error = oneloop::Error::of(&error).unwrap();
    /// assert_eq!((error.call(), error.raw_os_error()), ("run", None));
    /// # Ok(())
    /// # }
    /// ```
    pub fn of(error: &io::Error) -> Option<&Error> {
        error.get_ref()?.downcast_ref()
    }

    /// Converts into the system's own error with its code, if the system refused. Code that does not know
    /// oneloop looks for that code.
    #[cfg(feature = "futures")]
    pub(crate) fn into_io(self) -> io::Error {
        match self.0.cause {
            Cause::Os(error) if error.raw_os_error().is_some() => error,
            _ => self.into(),
        }
    }

    /// Returns the kind of failure.
    pub fn kind(&self) -> ErrorKind {
        match self.0.cause {
            Cause::Os(_) => ErrorKind::Os,
            Cause::UnknownId => ErrorKind::UnknownId,
            Cause::AlreadyDriven(_) => ErrorKind::AlreadyDriven,
            Cause::Unsupported(_) => ErrorKind::Unsupported,
            Cause::Forked => ErrorKind::Forked,
            Cause::Closed => ErrorKind::Closed,
            Cause::Stopped => ErrorKind::Stopped,
            Cause::NotCurrent(_) => ErrorKind::NotCurrent,
        }
    }

    /// Returns the name of the method that failed.
    pub fn call(&self) -> &'static str {
        self.0.call
    }

    /// Returns the descriptor that the call was about.
    pub fn fd(&self) -> Option<RawFd> {
        match self.0.about {
            Some(About::Descriptor(fd)) => Some(fd),
            _ => None,
        }
    }

    /// Returns the operating system's error code, if the system refused.
    pub fn raw_os_error(&self) -> Option<i32> {
        match &self.0.cause {
            Cause::Os(error) => code_of(error),
            _ => None,
        }
    }
}

/// The failure of one system call inside a call of oneloop.
#[derive(Debug)]
struct SystemCall {
    name: &'static str,
    error: io::Error,
}

/// Makes an error that names the system call.
#[cold]
pub(crate) fn failed(name: &'static str, error: impl Into<io::Error>) -> io::Error {
    let error = error.into();
    io::Error::new(error.kind(), SystemCall { name, error })
}

fn code_of(error: &io::Error) -> Option<i32> {
    error.raw_os_error().or_else(|| {
        let inner = error.get_ref()?.downcast_ref::<SystemCall>()?;
        inner.error.raw_os_error()
    })
}

impl fmt::Display for SystemCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.name, self.error)
    }
}

impl error::Error for SystemCall {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        Some(&self.error)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.0.call)?;
        match self.0.about {
            Some(About::Descriptor(fd)) => write!(f, "descriptor {fd}: ")?,
            #[cfg(feature = "signal")]
            Some(About::Signal(signal)) => write!(f, "{}: ", SignalName(signal))?,
            #[cfg(feature = "signal")]
            Some(About::Process(pid)) => write!(f, "process {pid}: ")?,
            None => {}
        }
        match &self.0.cause {
            // The system's text speaks of symbolic links.
            #[cfg(epoll)]
            Cause::Os(error) if code_of(error) == Some(libc::ELOOP) => f.write_str(
                "too many sets inside each other: the kernel nests an epoll four deep at most (ELOOP)",
            ),
            Cause::Os(error) => error.fmt(f),
            Cause::UnknownId => f.write_str("unknown id (removed, fired, or of another reactor)"),
            Cause::AlreadyDriven(by) => write!(f, "the reactor is already being driven by {by}"),
            Cause::Unsupported(error) => error.fmt(f),
            Cause::Forked => f.write_str("the reactor belongs to the parent process"),
            Cause::Closed => f.write_str("the reactor is gone, or was closed"),
            Cause::Stopped => f.write_str("stopped, perhaps beforehand, and there is no result"),
            Cause::NotCurrent(reason) => f.write_str(reason),
        }
    }
}

/// Prints the text of the error, because `unwrap` and a returning `main` show this form.
impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Error({self})")
    }
}

impl error::Error for Error {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        match &self.0.cause {
            Cause::Os(error) => Some(error),
            _ => None,
        }
    }
}

impl From<Error> for io::Error {
    fn from(error: Error) -> io::Error {
        let kind = match &error.0.cause {
            Cause::Os(os) => os.kind(),
            Cause::UnknownId | Cause::NotCurrent(_) => io::ErrorKind::NotFound,
            Cause::AlreadyDriven(_) => io::ErrorKind::ResourceBusy,
            Cause::Unsupported(_) => io::ErrorKind::Unsupported,
            Cause::Forked | Cause::Closed => io::ErrorKind::BrokenPipe,
            Cause::Stopped => io::ErrorKind::Interrupted,
        };
        io::Error::new(kind, error)
    }
}

/// A source that could not be registered, and the reason.
pub struct AddError<S> {
    error: Error,
    source: S,
}

impl<S> AddError<S> {
    pub(crate) fn new(error: Error, source: S) -> AddError<S> {
        AddError { error, source }
    }

    /// Returns the reason.
    pub fn error(&self) -> &Error {
        &self.error
    }

    /// Returns the source, untouched.
    pub fn into_source(self) -> S {
        self.source
    }
}

/// A callback that could not be posted, and the reason.
pub struct PostError<F> {
    error: Error,
    callback: F,
}

impl<F> PostError<F> {
    pub(crate) fn new(error: Error, callback: F) -> PostError<F> {
        PostError { error, callback }
    }

    /// Returns the reason.
    pub fn error(&self) -> &Error {
        &self.error
    }

    pub(crate) fn into_parts(self) -> (Error, F) {
        (self.error, self.callback)
    }

    /// Returns the callback, which was not called.
    pub fn into_callback(self) -> F {
        self.callback
    }
}

macro_rules! wrapping_error {
    ($name:ident) => {
        impl<T> fmt::Debug for $name<T> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.error, f)
            }
        }

        impl<T> fmt::Display for $name<T> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.error, f)
            }
        }

        impl<T> error::Error for $name<T> {}

        impl<T> From<$name<T>> for Error {
            fn from(error: $name<T>) -> Error {
                error.error
            }
        }

        impl<T> From<$name<T>> for io::Error {
            fn from(error: $name<T>) -> io::Error {
                Error::from(error).into()
            }
        }
    };
}

wrapping_error!(AddError);
wrapping_error!(PostError);
