//! The programs of `docs/c-libraries.md`: the Rust side, as it is there, with the C side of the one
//! that the variable PROGRAM names.

use oneloop_c_libraries as _; // What they are linked with.

include!(concat!(env!("OUT_DIR"), "/main.rs"));
