//! Drives a [`oneloop`] reactor inside calloop: see [`attach`].
#![cfg(unix)]

mod host;

pub use host::{Attached, attach};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
