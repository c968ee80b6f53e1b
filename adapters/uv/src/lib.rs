//! libuv and [`oneloop`] on one thread: either loop inside the other.
//!
//! - [`attach`] and [`run`]: a libuv loop drives a reactor. This fits an add-on of Node or a plug-in of Neovim.
//! - [`LoopGuest`]: a reactor drives a libuv loop. This fits a C library on libuv in a program on tokio.
//!
//! Both take a plain `uv_loop_t` pointer. `libuv` is linked, unless the feature `link` is off: programs such as Node
//! have a libuv of their own.
#![cfg(unix)]

mod guest;
mod handle;
mod host;
#[doc(hidden)]
pub mod sys;

pub use guest::LoopGuest;
pub use host::{attach, run};
pub use oneloop::adapter::Attached;
pub use sys::uv_loop_t;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
