use std::sync::{Mutex, PoisonError};
use std::{error, fmt};

/// A transfer that failed, with its easy handle if that still exists.
pub struct Error<E> {
    cause: Cause,
    // The mutex makes it `Sync`, so that `?` works in functions that return any error.
    easy: Mutex<Option<E>>,
}

/// The reason why a transfer failed.
#[derive(Debug)]
#[non_exhaustive]
pub enum Cause {
    /// libcurl's result of the transfer: no connection, a time-out, or a callback that refused.
    Transfer(curl::Error),
    /// libcurl could not start it, or could not continue any transfer.
    Multi(curl::MultiError),
    /// One of its sockets could not be watched.
    Watch(oneloop::Error),
    /// [`Control::cancel`](crate::Control::cancel) ended it.
    Cancelled,
    /// The loop is closed or gone.
    Closed,
}

impl<E> Error<E> {
    pub(crate) fn new(cause: Cause, easy: Option<E>) -> Error<E> {
        let easy = Mutex::new(easy);
        Error { cause, easy }
    }

    /// Returns the reason.
    pub fn cause(&self) -> &Cause {
        &self.cause
    }

    /// Returns the easy handle, with its options and the data that arrived before the failure. Returns `None`
    /// if the loop ended during the transfer, or if libcurl had no memory to begin it.
    pub fn into_easy(self) -> Option<E> {
        self.easy
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl<E> fmt::Display for Error<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.cause.fmt(f)
    }
}

impl<E> fmt::Debug for Error<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Error").field(&self.cause).finish()
    }
}

impl<E> error::Error for Error<E> {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        Some(match &self.cause {
            Cause::Transfer(error) => error,
            Cause::Multi(error) => error,
            Cause::Watch(error) => error,
            Cause::Cancelled | Cause::Closed => return None,
        })
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Cause::Transfer(error) => write!(f, "transfer: {error}"),
            Cause::Multi(error) => write!(f, "libcurl: {error}"),
            Cause::Watch(error) => write!(f, "a socket of libcurl: {error}"),
            Cause::Cancelled => f.write_str("transfer: cancelled"),
            Cause::Closed => f.write_str("transfer: the loop is closed"),
        }
    }
}
