use std::any::Any;
use std::cell::RefCell;
use std::ffi::{CStr, CString, c_char, c_int};
use std::panic::{AssertUnwindSafe, catch_unwind};

use oneloop::{Error, ErrorKind};

thread_local! {
    /// The text of the last error on this thread.
    static LAST: RefCell<CString> = RefCell::default();
}

/// Returns the text of the last call that failed on this thread, with the call and the descriptor. The text
/// is valid until the next call that fails on this thread. If no call has failed, or if the thread is ending
/// (in a destructor of pthread_key_create), it is empty.
///
/// Threads: any. Each thread has its own text.
#[unsafe(no_mangle)]
pub extern "C" fn oneloop_strerror() -> *const c_char {
    // The text is gone already if the thread is ending.
    let last = LAST.try_with(|last| last.borrow().as_ptr());
    last.unwrap_or(c"".as_ptr())
}

/// The reason why a call fails.
pub(crate) enum Failure {
    Reactor(Error),
    /// An invalid argument, by its name.
    Argument(&'static str),
    /// The loop was made by another copy of oneloop, and cannot be used from here.
    OtherCopy,
    /// The library was built without a feature.
    #[cfg(not(feature = "inspect"))]
    NotBuilt(&'static str),
    #[cfg(feature = "inspect")]
    Io(std::io::Error),
    Panic(String),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        Failure::Reactor(error)
    }
}

impl Failure {
    fn errno(&self) -> c_int {
        #[cfg(feature = "inspect")]
        use std::io::ErrorKind::{InvalidInput, PermissionDenied};
        let error = match self {
            Failure::Reactor(error) => error,
            Failure::Argument(_) => return libc::EINVAL,
            Failure::OtherCopy => return libc::EXDEV,
            #[cfg(not(feature = "inspect"))]
            Failure::NotBuilt(_) => return libc::ENOTSUP,
            #[cfg(feature = "inspect")]
            Failure::Io(error) => match (Error::of(error), error.kind()) {
                (Some(error), _) => error,
                (None, InvalidInput) => return libc::EINVAL,
                (None, PermissionDenied) => return libc::EACCES,
                (None, _) => return code(error.raw_os_error()),
            },
            Failure::Panic(_) => return libc::ENOTRECOVERABLE,
        };
        match error.kind() {
            ErrorKind::Os => code(error.raw_os_error()),
            ErrorKind::UnknownId => libc::ENOENT,
            ErrorKind::AlreadyDriven => libc::EBUSY,
            ErrorKind::Unsupported => libc::ENOTSUP,
            ErrorKind::Forked => libc::ECHILD,
            ErrorKind::Closed => ESHUTDOWN,
            ErrorKind::Stopped => libc::ECANCELED,
            ErrorKind::NotCurrent => libc::ESRCH,
            _ => libc::EIO,
        }
    }

    fn text(&self, call: &str) -> String {
        match self {
            Failure::Reactor(error) => error.to_string(),
            Failure::Argument(name) => format!("{call}: {name} is not valid"),
            Failure::OtherCopy => format!(
                "{call}: the loop was made by another copy of oneloop in this process, which cannot \
                 be reached from this one"
            ),
            #[cfg(not(feature = "inspect"))]
            Failure::NotBuilt(feature) => {
                format!("{call}: the library was built without the feature {feature:?}")
            }
            #[cfg(feature = "inspect")]
            Failure::Io(error) => format!("{call}: {error}"),
            Failure::Panic(message) => format!("{call}: a callback panicked: {message}"),
        }
    }
}

#[cfg(not(windows))]
use libc::ESHUTDOWN;
#[cfg(windows)]
const ESHUTDOWN: c_int = 10058; // WSAESHUTDOWN

/// Returns what C is told of an error of the system. Windows counts its errors otherwise than errno does. Those of
/// sockets begin at 10000, and cannot be mistaken.
pub(crate) fn code(error: Option<i32>) -> c_int {
    let is_known = |code: &i32| cfg!(not(windows)) || *code >= 10000;
    error.filter(is_known).unwrap_or(libc::EIO)
}

/// Runs the body of a function that C calls. Returns 0 or more if it succeeds, and a negative errno if it
/// fails. No panic gets out.
pub(crate) fn call(name: &str, body: impl FnOnce() -> Result<c_int, Failure>) -> c_int {
    let result = match catch_unwind(AssertUnwindSafe(body)) {
        Ok(result) => result,
        Err(panic) => Err(Failure::Panic(message(panic))),
    };
    result.unwrap_or_else(|failure| {
        let text = failure.text(name).replace('\0', "");
        say(CString::new(text).unwrap_or_default());
        -failure.errno()
    })
}

/// Stores the text of another copy of the library.
///
/// # Safety
///
/// `text` must be a string that lives during the call.
pub(crate) unsafe fn repeat(text: *const c_char) {
    // SAFETY: the caller's promise.
    say(unsafe { CStr::from_ptr(text) }.to_owned());
}

fn say(text: CString) {
    // A thread that is ending does not ask for the text.
    let _ = LAST.try_with(|last| last.replace(text));
}

fn message(panic: Box<dyn Any + Send>) -> String {
    match (panic.downcast_ref::<&str>(), panic.downcast_ref::<String>()) {
        (Some(text), _) => (*text).to_owned(),
        (_, Some(text)) => text.clone(),
        _ => "without a message".to_owned(),
    }
}
