//! GLib and [`oneloop`] on one thread: either loop inside the other.
//!
//! - [`attach`] and [`run`]: a GLib context drives a reactor. This fits a program whose main loop is GTK's.
//! - [`ContextGuest`]: a reactor drives a GLib context. This fits a program whose main loop is tokio or
//!   oneloop's own, and that has a window, GStreamer or GDBus inside.
//!
//! Both take a plain `GMainContext` pointer, so they fit every version of glib-rs (`MainContext::as_ptr`) and GTK,
//! and programs that use GLib without Rust bindings. `libglib-2.0` is linked.
#![cfg(unix)]

mod guest;
mod host;
#[doc(hidden)]
pub mod sys;

pub use guest::ContextGuest;
pub use host::{attach, run};
pub use oneloop::adapter::Attached;
pub use sys::GMainContext;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
