use std::ffi::{c_char, c_int};

use crate::copies::forward;
use crate::error::{Failure, call};
use crate::oneloop_t;
use crate::user::reactor;

/// Serves a live page of the loop, on the loop itself, until the loop is closed or ends. `address` is an IP address
/// and a port, such as "127.0.0.1:6669", or "unix:" and a path. Port 0 means any free port. Returns the port, or 0
/// for a path.
///
/// The server does not keep `oneloop_run` going. While no page is open, nothing is timed.
///
/// Fails with -EINVAL if the address is neither, with -EACCES if other machines could connect to it, and with
/// -ENOTSUP if the library was built without the feature "inspect": see ONELOOP_HAS_INSPECT.
///
/// Threads: any.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn oneloop_inspect(r#loop: *mut oneloop_t, address: *const c_char) -> c_int {
    forward!(oneloop_inspect => inspect(r#loop, address));
    call("oneloop_inspect", || {
        // SAFETY: the caller's promise.
        let reactor = unsafe { reactor(r#loop) }?;
        if address.is_null() {
            return Err(Failure::Argument("the address"));
        }
        // SAFETY: the caller promises a string.
        serve(&reactor, unsafe { std::ffi::CStr::from_ptr(address) })
    })
}

#[cfg(feature = "inspect")]
fn serve(reactor: &oneloop::Reactor, address: &std::ffi::CStr) -> Result<c_int, Failure> {
    use oneloop_inspect::Address;
    let address: Address = address.to_string_lossy().parse().map_err(Failure::Io)?;
    let server = oneloop_inspect::serve(reactor, address).map_err(Failure::Io)?;
    Ok(match server.address() {
        Address::Tcp(address) => address.port().into(),
        Address::Unix(_) => 0,
    })
}

#[cfg(not(feature = "inspect"))]
fn serve(_: &oneloop::Reactor, _: &std::ffi::CStr) -> Result<c_int, Failure> {
    Err(Failure::NotBuilt("inspect"))
}
