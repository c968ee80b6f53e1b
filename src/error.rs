use std::{error, fmt, io};

use crate::os::RawFd;
#[cfg(all(unix, feature = "signal"))]
use crate::signal::SignalName;

/// Shorthand for what most calls return.
pub type Result<T> = std::result::Result<T, Error>;

/// Why a call failed: names the call and, where there is one, the descriptor, signal or process.
///
/// Converts into [`io::Error`] of the same kind, which has it inside, and hence no code of the system's of
/// its own: [`Error::of`] finds it there, and [`raw_os_error`](Error::raw_os_error) has the code. So it is
/// with the errors of the adapters' `drive`. What `futures` gives as [`io::Error`] is different: if
/// the system has refused something, that is the system's own error, as of any other socket.
// In a box, so that what can fail costs next to nothing when it does not.
pub struct Error(Box<Inner>);

struct Inner {
    call: &'static str,
    about: Option<About>,
    cause: Cause,
}

/// What a call was about.
#[derive(Clone, Copy)]
enum About {
    Descriptor(RawFd),
    #[cfg(all(unix, feature = "signal"))]
    Signal(i32),
    #[cfg(all(unix, feature = "signal"))]
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

/// The kinds of [`Error`], for programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The operating system refused; [`Error::raw_os_error`] has its code.
    Os,
    /// The id was removed, has fired, or never came from this reactor.
    UnknownId,
    /// Somebody drives the reactor already: a callback, another thread or another host.
    AlreadyDriven,
    /// This cannot be done: not by the poller in use, not on this system, or not at all.
    Unsupported,
    /// The reactor belongs to the parent of this forked process.
    Forked,
    /// The reactor is gone or was closed.
    Closed,
    /// `stop` ended a call that had a result to wait for.
    Stopped,
    /// No loop is being driven on this thread, or one of the other kind.
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
        // An error of our own has words, one of the system has a code.
        match (error.kind(), code_of(&error)) {
            (io::ErrorKind::Unsupported, None) => Error::new(call, Cause::Unsupported(error)),
            _ => Error::new(call, Cause::Os(error)),
        }
    }

    pub(crate) fn with_fd(mut self, fd: RawFd) -> Error {
        self.0.about = Some(About::Descriptor(fd));
        self
    }

    #[cfg(all(unix, feature = "signal"))]
    pub(crate) fn with_signal(mut self, signal: i32) -> Error {
        self.0.about = Some(About::Signal(signal));
        self
    }

    #[cfg(all(unix, feature = "signal"))]
    pub(crate) fn with_process(mut self, pid: u32) -> Error {
        self.0.about = Some(About::Process(pid));
        self
    }

    /// The error that was converted into `error`, if one was.
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

    /// The system's error, with its code, if it was the system that refused: what code that knows
    /// nothing of oneloop looks for. Else as the conversion.
    #[cfg(feature = "futures")]
    pub(crate) fn into_io(self) -> io::Error {
        match self.0.cause {
            Cause::Os(error) if error.raw_os_error().is_some() => error,
            _ => self.into(),
        }
    }

    /// What kind of failure it was.
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

    /// The name of the method that failed.
    pub fn call(&self) -> &'static str {
        self.0.call
    }

    /// The descriptor that the call was about.
    pub fn fd(&self) -> Option<RawFd> {
        match self.0.about {
            Some(About::Descriptor(fd)) => Some(fd),
            _ => None,
        }
    }

    /// The operating system's error code, if it was the one who refused.
    pub fn raw_os_error(&self) -> Option<i32> {
        match &self.0.cause {
            Cause::Os(error) => code_of(error),
            _ => None,
        }
    }
}

/// The failure of a system call that is not the caller's own, but one of those that make up his.
#[derive(Debug)]
struct SystemCall {
    name: &'static str,
    error: io::Error,
}

/// An error that names the system call.
#[cold]
#[cfg_attr(not(epoll), allow(dead_code))]
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
            #[cfg(all(unix, feature = "signal"))]
            Some(About::Signal(signal)) => write!(f, "{}: ", SignalName(signal))?,
            #[cfg(all(unix, feature = "signal"))]
            Some(About::Process(pid)) => write!(f, "process {pid}: ")?,
            None => {}
        }
        match &self.0.cause {
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

/// In words, too: it is what `unwrap` shows, and a `main` that returns it.
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

/// A source that could not be registered, and why. Gives the source back.
pub struct AddError<S> {
    error: Error,
    source: S,
}

impl<S> AddError<S> {
    pub(crate) fn new(error: Error, source: S) -> AddError<S> {
        AddError { error, source }
    }

    /// The reason.
    pub fn error(&self) -> &Error {
        &self.error
    }

    /// The source, untouched.
    pub fn into_source(self) -> S {
        self.source
    }
}

/// A callback that could not be posted because the reactor is gone, and why. Gives the callback
/// back.
pub struct PostError<F> {
    error: Error,
    callback: F,
}

impl<F> PostError<F> {
    pub(crate) fn new(error: Error, callback: F) -> PostError<F> {
        PostError { error, callback }
    }

    /// The reason.
    pub fn error(&self) -> &Error {
        &self.error
    }

    /// The callback, not called.
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
