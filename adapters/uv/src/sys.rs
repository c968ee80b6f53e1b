//! The few functions of libuv that are needed. Node and others bring a libuv of their own, so there is no crate for it.

#![allow(non_camel_case_types)]

use libc::{c_int, c_uint, c_void, size_t};

/// libuv's `uv_loop_t`.
#[repr(C)]
pub struct uv_loop_t {
    _opaque: [u8; 0],
}

/// Any kind of handle. libuv says how large each is.
#[repr(C)]
pub struct uv_handle_t {
    _opaque: [u8; 0],
}

pub const UV_ASYNC: c_int = 1;
pub const UV_POLL: c_int = 8;

pub const UV_READABLE: c_int = 1;

pub const UV_RUN_ONCE: c_int = 1;
pub const UV_RUN_NOWAIT: c_int = 2;

#[cfg_attr(feature = "link", link(name = "uv"))]
unsafe extern "C" {
    pub fn uv_handle_size(kind: c_int) -> size_t;
    pub fn uv_handle_get_data(handle: *const uv_handle_t) -> *mut c_void;
    pub fn uv_handle_set_data(handle: *mut uv_handle_t, data: *mut c_void);
    pub fn uv_close(handle: *mut uv_handle_t, closed: unsafe extern "C" fn(*mut uv_handle_t));
    pub fn uv_ref(handle: *mut uv_handle_t);
    pub fn uv_unref(handle: *mut uv_handle_t);

    pub fn uv_async_init(
        outer: *mut uv_loop_t,
        handle: *mut uv_handle_t,
        call: Option<unsafe extern "C" fn(*mut uv_handle_t)>,
    ) -> c_int;
    pub fn uv_async_send(handle: *mut uv_handle_t) -> c_int;

    pub fn uv_poll_init(outer: *mut uv_loop_t, handle: *mut uv_handle_t, fd: c_int) -> c_int;
    pub fn uv_poll_start(
        handle: *mut uv_handle_t,
        events: c_int,
        call: unsafe extern "C" fn(*mut uv_handle_t, c_int, c_int),
    ) -> c_int;
    pub fn uv_poll_stop(handle: *mut uv_handle_t) -> c_int;

    pub fn uv_run(outer: *mut uv_loop_t, mode: c_uint) -> c_int;
    pub fn uv_loop_alive(outer: *const uv_loop_t) -> c_int;
    pub fn uv_update_time(outer: *mut uv_loop_t);
    pub fn uv_backend_fd(outer: *const uv_loop_t) -> c_int;
    pub fn uv_backend_timeout(outer: *const uv_loop_t) -> c_int;
}
