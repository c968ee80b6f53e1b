//! The results of calls, in words that do for Rust and for C.

use std::ffi::c_int;

use oneloop::{Error, ErrorKind};

/// Why a call failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    Os(i32),
    Unknown,
    Driven,
    Unsupported,
    Closed,
    Stopped,
    /// An argument makes no sense. Only C can say such things.
    Argument,
    /// A callback panicked, and C was told so.
    Panic,
    Other,
}

impl From<Error> for Fault {
    fn from(error: Error) -> Fault {
        match error.kind() {
            ErrorKind::Os => Fault::Os(error.raw_os_error().unwrap_or(0)),
            ErrorKind::UnknownId => Fault::Unknown,
            ErrorKind::AlreadyDriven => Fault::Driven,
            ErrorKind::Unsupported => Fault::Unsupported,
            ErrorKind::Closed => Fault::Closed,
            ErrorKind::Stopped => Fault::Stopped,
            _ => Fault::Other,
        }
    }
}

impl Fault {
    /// Converts the result of a function of the C ABI.
    pub(crate) fn check(result: c_int) -> Result<c_int, Fault> {
        match -result {
            ..=0 => Ok(result),
            libc::ENOENT => Err(Fault::Unknown),
            libc::EBUSY => Err(Fault::Driven),
            libc::ENOTSUP => Err(Fault::Unsupported),
            libc::ESHUTDOWN => Err(Fault::Closed),
            libc::ECANCELED => Err(Fault::Stopped),
            libc::EINVAL => Err(Fault::Argument),
            libc::ENOTRECOVERABLE => Err(Fault::Panic),
            errno => Err(Fault::Os(errno)),
        }
    }
}

/// The result that a call must have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Expected {
    Success,
    Failure(Fault),
    /// Any failure.
    Refusal,
    Anything,
}

impl Expected {
    /// By whether the id that was given is in use.
    pub(crate) fn known(is: bool) -> Expected {
        if is {
            Expected::Success
        } else {
            Expected::Failure(Fault::Unknown)
        }
    }

    /// Like `known`, but handlers that lost their number may have any state.
    pub(crate) fn known_or(is: bool, loose: bool) -> Expected {
        if loose {
            Expected::Anything
        } else {
            Expected::known(is)
        }
    }
}
