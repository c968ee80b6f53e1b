//! A kernel without pidfds: Linux before 5.3, or a sandbox. A binary of its own, in which they are
//! forbidden.
#![cfg(target_os = "linux")]

#[path = "../../old_kernel/forbid.rs"]
#[allow(dead_code)] // Others forbid by other ways.
mod forbid;

use std::ffi::{c_int, c_void};
use std::process::Command;
use std::ptr::{from_mut, null_mut};

use forbid::By;
use oneloop_c::*;

unsafe extern "C" fn ended(
    _: *mut oneloop_t,
    _: c_int,
    status: c_int,
    error: c_int,
    seen: *mut c_void,
) {
    // SAFETY: it is the place below, which is there until the loop has ended.
    unsafe { *seen.cast::<Option<(c_int, c_int)>>() = Some((status, error)) };
}

#[test]
fn without_pidfds_the_features_say_so_and_children_still_end() {
    let ways = [By::Refusal, By::Code(libc::EPERM), By::Trap];
    let test = "without_pidfds_the_features_say_so_and_children_still_end";
    for output in forbid::each_alone(test, &ways, |by| without_pidfds(*by)) {
        assert!(output.status.success(), "{output:?}");
    }
    assert_ne!(oneloop_features() & ONELOOP_HAS_PIDFD, 0);
}

#[allow(clippy::zombie_processes)] // The loop waits for it.
fn without_pidfds(by: By) {
    forbid::system_calls(&[libc::SYS_pidfd_open], by);
    assert_eq!(oneloop_features() & ONELOOP_HAS_PIDFD, 0);

    let child = Command::new("true").spawn().unwrap();
    let pid = c_int::try_from(child.id()).unwrap();
    let mut seen: Option<(c_int, c_int)> = None;
    let user = from_mut(&mut seen).cast();
    // SAFETY: the loop is alive until it is freed, and the place until after that.
    unsafe {
        let r#loop = oneloop_new();
        let added = oneloop_add_child(r#loop, pid, Some(ended), user, None, null_mut());
        assert_eq!((added, oneloop_run(r#loop)), (0, 0));
        oneloop_free(r#loop);
    }
    assert_eq!(seen, Some((0, 0)));
}
