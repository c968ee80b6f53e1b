//! Filters for system calls that end the process instead of answering ENOSYS: sandboxes that trap a call
//! which they do not know. What such a filter does with a call shows only by making it.

use std::mem::{self, MaybeUninit};
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicPtr, Ordering};
use std::sync::{Mutex, PoisonError};

use libc::{c_int, c_long, c_void, sigaction, siginfo_t, sigset_t};

/// The call that is tried, and whether it was trapped.
static TRIED: AtomicI32 = AtomicI32::new(-1);
static TRAPPED: AtomicBool = AtomicBool::new(false);
/// What was done on SIGSYS before.
static BEFORE: AtomicPtr<sigaction> = AtomicPtr::new(ptr::null_mut());

/// Whether a filter traps the system call `number`. `try_it` makes it, so that it comes to nothing.
pub(crate) fn traps(number: c_long, try_it: impl FnOnce()) -> bool {
    // SAFETY: reads whether there is a filter, which costs no more than a call that fails.
    let mode = unsafe { libc::prctl(libc::PR_GET_SECCOMP) };
    mode == libc::SECCOMP_MODE_FILTER as c_int && traps_by_filter(number, try_it)
}

#[cold]
fn traps_by_filter(number: c_long, try_it: impl FnOnce()) -> bool {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _one = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    TRAPPED.store(false, Ordering::SeqCst);
    TRIED.store(number as c_int, Ordering::SeqCst);
    // SAFETY: all of it is zeroes or addresses, of which none is a valid value.
    let mut ours: sigaction = unsafe { mem::zeroed() };
    ours.sa_sigaction = on_trap as *const () as usize;
    ours.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
    let mut before = MaybeUninit::<sigaction>::zeroed();
    let mut mask = MaybeUninit::<sigset_t>::zeroed();
    BEFORE.store(before.as_mut_ptr(), Ordering::SeqCst);
    // SAFETY: the structures are this function's own, and alive until both are as they were. The
    // handler does what a handler may. A thread that blocks SIGSYS would die of a trap.
    unsafe {
        let mut sigsys = MaybeUninit::<sigset_t>::zeroed();
        libc::sigemptyset(sigsys.as_mut_ptr());
        libc::sigaddset(sigsys.as_mut_ptr(), libc::SIGSYS);
        libc::pthread_sigmask(libc::SIG_UNBLOCK, sigsys.as_ptr(), mask.as_mut_ptr());
        if libc::sigaction(libc::SIGSYS, &ours, before.as_mut_ptr()) == 0 {
            try_it();
            libc::sigaction(libc::SIGSYS, before.as_ptr(), ptr::null_mut());
        }
        libc::pthread_sigmask(libc::SIG_SETMASK, mask.as_ptr(), ptr::null_mut());
    }
    TRAPPED.load(Ordering::SeqCst)
}

/// What a `siginfo_t` has for SIGSYS.
#[repr(C)]
struct Trap {
    signal: c_int,
    errno: c_int,
    code: c_int,
    address: *const c_void,
    call: c_int,
}

extern "C" fn on_trap(signal: c_int, info: *mut siginfo_t, context: *mut c_void) {
    // SAFETY: the kernel gives a `siginfo_t` of SIGSYS, which begins like this.
    let call = unsafe { (*info.cast::<Trap>()).call };
    if call == TRIED.load(Ordering::SeqCst) {
        TRAPPED.store(true, Ordering::SeqCst);
        return;
    }
    // Another thread's, by chance just now: what would have become of it.
    // SAFETY: the pointer is good while this handler is installed, and what it points to was written
    // before. The handlers are of the kinds that their flags say.
    unsafe {
        let before = ptr::read(BEFORE.load(Ordering::SeqCst));
        match before.sa_sigaction {
            libc::SIG_DFL | libc::SIG_IGN => {
                libc::signal(signal, libc::SIG_DFL);
                libc::raise(signal);
            }
            handler if before.sa_flags & libc::SA_SIGINFO != 0 => {
                let handler: extern "C" fn(c_int, *mut siginfo_t, *mut c_void) =
                    mem::transmute(handler);
                handler(signal, info, context);
            }
            handler => {
                let handler: extern "C" fn(c_int) = mem::transmute(handler);
                handler(signal);
            }
        }
    }
}
