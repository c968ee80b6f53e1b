//! Programs by the C ABI.

#![no_main]

use libfuzzer_sys::fuzz_target;
use oneloop_model::{Input, must_hold};

fuzz_target!(|input: Input| must_hold(&input, |setting| setting.c()));
