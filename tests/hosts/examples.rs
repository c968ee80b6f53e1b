//! The examples of hosts are whole programs. They have to end.

// Each of them has `help.rs`.
#![allow(clippy::duplicate_mod)]

#[path = "../../examples/host_epoll.rs"]
mod host_epoll;
#[path = "../../examples/host_wake.rs"]
mod host_wake;

#[test]
fn the_host_on_epoll() {
    host_epoll::main().unwrap();
}

#[test]
fn the_host_that_is_woken() {
    host_wake::main().unwrap();
}
