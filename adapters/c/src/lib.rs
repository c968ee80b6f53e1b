//! The C ABI of [`oneloop`]. C programs include `oneloop.h`, which describes every function. A Rust program
//! that runs a C library on its own reactor passes the pointer of [`as_ptr`].
//!
//! ```
//! use oneloop::Reactor;
//! use oneloop_c::{as_ptr, oneloop_add_timer, oneloop_id, oneloop_t};
//! use std::ffi::c_void;
//! use std::ptr::null_mut;
//!
//! // What would be in a C library.
//! unsafe extern "C" fn fired(_: *mut oneloop_t, _: oneloop_id, user: *mut c_void) {
//!     unsafe { *user.cast::<bool>() = true };
//! }
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let reactor = Reactor::new()?;
//! let mut done = false;
//! let user = (&raw mut done).cast();
//! let added = unsafe {
//!     oneloop_add_timer(as_ptr(&reactor), 1_000, 0, Some(fired), user, None, null_mut())
//! };
//! assert_eq!(added, 0);
//! reactor.run()?; // or drive it by any host
//! assert!(done);
//! # Ok(())
//! # }
//! ```

#![allow(non_camel_case_types)]
#![allow(clippy::missing_safety_doc)] // The header states the conditions of each function.

mod api;
#[cfg(not(windows))]
mod clock;
mod copies;
mod error;
mod handlers;
mod inspect;
mod pollsets;
mod posts;
mod reactor;
mod timers;
mod user;

pub use api::*;
pub use error::*;
pub use handlers::*;
pub use inspect::*;
pub use pollsets::*;
pub use posts::*;
pub use reactor::*;
pub use timers::*;

/// The id of a handler, timer, hook or post. It stays unique after that is gone, and calls with it then fail
/// with -ENOENT. It is never 0.
pub type oneloop_id = u64;

/// A descriptor. On Windows, it is a socket, which Winsock calls a SOCKET.
#[cfg(not(windows))]
pub type oneloop_fd = std::ffi::c_int;
/// A descriptor. On Windows, it is a socket, which Winsock calls a SOCKET.
#[cfg(windows)]
pub type oneloop_fd = std::os::windows::raw::SOCKET;

/// A loop, which C knows only by pointers.
#[repr(C)]
pub struct oneloop_t {
    opaque: [u8; 0],
}

/// Returns the pointer by which C knows a reactor. It is valid while any handle of the reactor exists.
pub fn as_ptr(reactor: &oneloop::Reactor) -> *mut oneloop_t {
    reactor.head().publish(&API);
    reactor.as_raw().cast_mut().cast()
}
