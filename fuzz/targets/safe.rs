//! Programs in safe Rust.

#![no_main]

use libfuzzer_sys::fuzz_target;
use oneloop_model::{Input, must_hold};

fuzz_target!(|input: Input| must_hold(&input, |setting| setting.safe()));
