//! compio inside a [`oneloop`] reactor: see [`RuntimeGuest`].
#![cfg(unix)]

mod guest;

pub use guest::RuntimeGuest;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
