//! The few functions of GLib that are needed. A crate with all of them would tie the users to its version.

#![allow(non_camel_case_types)]

use libc::{c_char, c_int, c_uint, c_ushort, c_void};

/// GLib's `GMainContext`.
#[repr(C)]
pub struct GMainContext {
    _opaque: [u8; 0],
}

/// All fields are private to GLib, which asks for the size.
#[repr(C)]
pub struct GSource {
    callback_data: *mut c_void,
    callback_funcs: *mut c_void,
    source_funcs: *const GSourceFuncs,
    ref_count: c_uint,
    context: *mut GMainContext,
    priority: c_int,
    flags: c_uint,
    source_id: c_uint,
    poll_fds: *mut c_void,
    prev: *mut GSource,
    next: *mut GSource,
    name: *mut c_char,
    private: *mut c_void,
}

pub type GSourceFunc = unsafe extern "C" fn(*mut c_void) -> c_int;

#[repr(C)]
pub struct GSourceFuncs {
    pub prepare: Option<unsafe extern "C" fn(*mut GSource, *mut c_int) -> c_int>,
    pub check: Option<unsafe extern "C" fn(*mut GSource) -> c_int>,
    pub dispatch: unsafe extern "C" fn(*mut GSource, Option<GSourceFunc>, *mut c_void) -> c_int,
    pub finalize: Option<unsafe extern "C" fn(*mut GSource)>,
    closure_callback: *const c_void,
    closure_marshal: *const c_void,
}

// SAFETY: GLib only reads the table, and its pointers are to functions or null.
unsafe impl Sync for GSourceFuncs {}

impl GSourceFuncs {
    /// Makes a table for a source that only dispatches.
    pub const fn new(
        dispatch: unsafe extern "C" fn(*mut GSource, Option<GSourceFunc>, *mut c_void) -> c_int,
    ) -> GSourceFuncs {
        GSourceFuncs {
            prepare: None,
            check: None,
            dispatch,
            finalize: None,
            closure_callback: std::ptr::null(),
            closure_marshal: std::ptr::null(),
        }
    }
}

#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub struct GPollFD {
    pub fd: c_int,
    pub events: c_ushort,
    pub revents: c_ushort,
}

pub const G_IO_IN: c_ushort = libc::POLLIN as c_ushort;
pub const G_IO_PRI: c_ushort = libc::POLLPRI as c_ushort;
pub const G_IO_OUT: c_ushort = libc::POLLOUT as c_ushort;

#[link(name = "glib-2.0")]
unsafe extern "C" {
    pub fn g_main_context_ref(context: *mut GMainContext) -> *mut GMainContext;
    pub fn g_main_context_unref(context: *mut GMainContext);
    pub fn g_main_context_default() -> *mut GMainContext;
    pub fn g_main_context_acquire(context: *mut GMainContext) -> c_int;
    pub fn g_main_context_release(context: *mut GMainContext);
    pub fn g_main_context_prepare(context: *mut GMainContext, priority: *mut c_int) -> c_int;
    pub fn g_main_context_query(
        context: *mut GMainContext,
        max_priority: c_int,
        timeout: *mut c_int,
        fds: *mut GPollFD,
        n_fds: c_int,
    ) -> c_int;
    pub fn g_main_context_iteration(context: *mut GMainContext, may_block: c_int) -> c_int;

    pub fn g_source_new(funcs: *const GSourceFuncs, struct_size: c_uint) -> *mut GSource;
    pub fn g_source_set_callback(
        source: *mut GSource,
        call: GSourceFunc,
        data: *mut c_void,
        notify: Option<unsafe extern "C" fn(*mut c_void)>,
    );
    pub fn g_source_set_static_name(source: *mut GSource, name: *const c_char);
    pub fn g_source_add_unix_fd(source: *mut GSource, fd: c_int, events: c_uint) -> *mut c_void;
    pub fn g_source_attach(source: *mut GSource, context: *mut GMainContext) -> c_uint;
    pub fn g_source_destroy(source: *mut GSource);
    pub fn g_source_unref(source: *mut GSource);
}
