//! The contract on the `polling` crate on poll(2), which it takes where there is nothing better. Built
//! with `RUSTFLAGS="--cfg polling_test_poll_backend"`; without that there is nothing in here.
//!
//! There is no descriptor that a host could watch, so that the loop's own wait is the only host.
#![cfg(polling_test_poll_backend)]

#[path = "../../hosts/own_wait.rs"]
mod own_wait;

use oneloop_conformance::PollerKind;
use own_wait::BuiltIn;

oneloop_conformance::__cases!(BuiltIn, PollerKind::Polling);
mod virtual_sources {
    use super::*;
    oneloop_conformance::__virtual_cases!(BuiltIn, PollerKind::Polling);
}
