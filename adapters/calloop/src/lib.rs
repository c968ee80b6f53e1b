//! Drives a [`oneloop`] reactor inside calloop: see [`attach`].
#![cfg(unix)]

mod host;

pub use host::attach;
pub use oneloop::adapter::Attached;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
