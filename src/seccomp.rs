//! Detection of filters that end the process at an unknown system call. Some sandboxes trap calls which they
//! do not know, instead of answering ENOSYS. Only making a call shows what such a filter does with it.

use std::mem::{self, MaybeUninit};
use std::ptr;
use std::sync::atomic::{
    AtomicBool, AtomicI32, AtomicPtr, AtomicU32, AtomicUsize, Ordering::SeqCst,
};
use std::thread;

use libc::{c_int, c_long, c_void, sigaction, siginfo_t, sigset_t};

use crate::fork;

/// The process that is trying a call, as numbered by `fork::generation`, or 0.
static TRYING: AtomicU32 = AtomicU32::new(0);
/// The call that is being tried, the thread that makes it, and whether it was trapped.
static TRIED: AtomicI32 = AtomicI32::new(-1);
static THREAD: AtomicUsize = AtomicUsize::new(0);
static TRAPPED: AtomicBool = AtomicBool::new(false);
/// The previous action on SIGSYS.
static BEFORE: AtomicPtr<Before> = AtomicPtr::new(ptr::null_mut());

/// An action on SIGSYS. It is never freed, because a thread that is trapped at the same time may still read it after
/// it was restored.
struct Before {
    action: sigaction,
    /// The action before this one, so that a tool that looks for leaks finds it.
    _earlier: *const Before,
}

/// Returns true if a filter traps the system call `number`. `try_it` makes the call in a way that has no
/// effect.
pub(crate) fn traps(number: c_long, try_it: impl FnOnce()) -> bool {
    // SAFETY: reads whether there is a filter. It costs no more than a call that fails.
    let mode = unsafe { libc::prctl(libc::PR_GET_SECCOMP) };
    mode == libc::SECCOMP_MODE_FILTER as c_int && traps_by_filter(number, try_it)
}

#[cold]
fn traps_by_filter(number: c_long, try_it: impl FnOnce()) -> bool {
    let _one_at_a_time = Trying::begin();
    TRAPPED.store(false, SeqCst);
    THREAD.store(this_thread(), SeqCst);
    TRIED.store(number as c_int, SeqCst);
    // SAFETY: every field is a number or an address, for which zero is valid.
    let mut ours: sigaction = unsafe { mem::zeroed() };
    ours.sa_sigaction = on_trap as *const () as usize;
    ours.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
    let mut mask = MaybeUninit::<sigset_t>::zeroed();
    // SAFETY: the structures belong to this function or are never freed. The handler does only what a signal
    // handler may. SIGSYS is unblocked, because a thread that blocks it would die of a trap.
    unsafe {
        let before = remember(ours.sa_sigaction);
        let mut sigsys = MaybeUninit::<sigset_t>::zeroed();
        libc::sigemptyset(sigsys.as_mut_ptr());
        libc::sigaddset(sigsys.as_mut_ptr(), libc::SIGSYS);
        libc::pthread_sigmask(libc::SIG_UNBLOCK, sigsys.as_ptr(), mask.as_mut_ptr());
        if libc::sigaction(libc::SIGSYS, &ours, ptr::null_mut()) == 0 {
            try_it();
            libc::sigaction(libc::SIGSYS, before, ptr::null_mut());
        }
        libc::pthread_sigmask(libc::SIG_SETMASK, mask.as_ptr(), ptr::null_mut());
    }
    TRIED.store(-1, SeqCst);
    TRAPPED.load(SeqCst)
}

/// Stores the current action on SIGSYS in `BEFORE`, for `on_trap`. In a child that was forked while a call
/// was tried, the current action is `ours`, and `BEFORE` has the previous one already.
fn remember(ours: usize) -> *const sigaction {
    let mut now = MaybeUninit::<sigaction>::zeroed();
    // SAFETY: writes the action into a place with enough room. If the call fails, zeroes remain, which stand
    // for the default action. The stored value is never freed or changed.
    unsafe {
        libc::sigaction(libc::SIGSYS, ptr::null(), now.as_mut_ptr());
        let now = now.assume_init();
        let kept = BEFORE.load(SeqCst);
        if let Some(Before { action, .. }) = kept.as_ref() {
            let is_same =
                (action.sa_sigaction, action.sa_flags) == (now.sa_sigaction, now.sa_flags);
            if now.sa_sigaction == ours || is_same {
                return action;
            }
        }
        let before = Box::leak(Box::new(Before {
            action: now,
            _earlier: kept,
        }));
        BEFORE.store(before, SeqCst);
        &before.action
    }
}

/// The right to try a call, which one thread of a process has at a time. A child does not wait for a thread
/// that exists only in its parent.
struct Trying(u32);

impl Trying {
    fn begin() -> Trying {
        let this = fork::generation();
        let mut holder = 0;
        loop {
            match TRYING.compare_exchange(holder, this, SeqCst, SeqCst) {
                Ok(_) => return Trying(this),
                Err(other) if other == this => {
                    holder = 0;
                    thread::yield_now();
                }
                Err(other) => holder = other,
            }
        }
    }
}

impl Drop for Trying {
    fn drop(&mut self) {
        // If `try_it` forked a child, the child does not own this right and must not release it.
        let _ = TRYING.compare_exchange(self.0, 0, SeqCst, SeqCst);
    }
}

/// Returns a number for the thread. A signal handler may call this.
fn this_thread() -> usize {
    // SAFETY: reads a register.
    unsafe { libc::pthread_self() as usize }
}

/// The code of a SIGSYS that a filter sends.
const SYS_SECCOMP: c_int = 1;

/// The part of a `siginfo_t` that SIGSYS fills.
#[repr(C)]
struct Trap {
    signal: c_int,
    errno: c_int,
    code: c_int,
    address: *const c_void,
    call: c_int,
}

extern "C" fn on_trap(signal: c_int, info: *mut siginfo_t, context: *mut c_void) {
    // SAFETY: the kernel passes a `siginfo_t` of SIGSYS, which begins with these fields.
    let Trap { code, call, .. } = unsafe { ptr::read(info.cast::<Trap>()) };
    let is_tried = code == SYS_SECCOMP && call == TRIED.load(SeqCst);
    if is_tried && this_thread() == THREAD.load(SeqCst) {
        TRAPPED.store(true, SeqCst);
        return;
    }
    // Another thread was trapped at the same time. The previous action handles its trap. SAFETY: the pointer
    // was set before this handler was installed, and its target is never freed. The flags of each handler say
    // which kind of function it is.
    unsafe {
        let before = (*BEFORE.load(SeqCst)).action;
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

#[cfg(test)]
#[allow(dead_code)]
#[path = "../tests/old_kernel/forbid.rs"]
pub(crate) mod forbid;

#[cfg(test)]
mod tests {
    use std::process::abort;
    use std::sync::Mutex;
    use std::sync::atomic::AtomicUsize;
    use std::sync::mpsc::channel;

    use super::*;

    /// The action on SIGSYS belongs to the process, so only one test may change it at a time.
    static ONE_TEST: Mutex<()> = Mutex::new(());

    /// Runs `work` in a child process. A child that does not end within a minute is killed.
    fn in_child(work: impl FnOnce() -> bool) -> bool {
        // SAFETY: the child runs `work`, which takes no lock that another thread could hold. It leaves
        // without running anything of the parent. The parent waits for it.
        unsafe {
            let pid = libc::fork();
            assert!(pid >= 0, "fork");
            if pid == 0 {
                libc::alarm(60);
                let code = if work() { 0 } else { 1 };
                libc::_exit(code);
            }
            let mut status = 0;
            libc::waitpid(pid, &mut status, 0);
            status == 0
        }
    }

    /// Runs `work` while a thread is trying a call.
    fn while_one_tries(number: c_long, work: impl FnOnce()) -> bool {
        let (tries, is_trying) = channel();
        let (end, ended) = channel();
        thread::scope(|scope| {
            let one = scope.spawn(move || {
                traps_by_filter(number, || {
                    tries.send(()).unwrap();
                    ended.recv().unwrap();
                })
            });
            is_trying.recv().unwrap();
            work();
            end.send(()).unwrap();
            one.join().unwrap()
        })
    }

    #[test]
    fn a_child_that_is_forked_while_a_call_is_tried_can_try_one_too() {
        let _one = ONE_TEST.lock().unwrap_or_else(|error| error.into_inner());
        let action = || {
            let mut now = MaybeUninit::<sigaction>::zeroed();
            // SAFETY: writes the action on SIGSYS into a place with enough room.
            unsafe {
                libc::sigaction(libc::SIGSYS, ptr::null(), now.as_mut_ptr());
                now.assume_init().sa_sigaction
            }
        };
        let before = action();
        fork::generation();
        while_one_tries(libc::SYS_getppid, || {
            let is_well = in_child(|| {
                let trapped = traps_by_filter(libc::SYS_getppid, || {});
                !trapped && action() == before
            });
            assert!(is_well);
        });
        assert_eq!(action(), before);
    }

    static OTHERS: AtomicUsize = AtomicUsize::new(0);

    extern "C" fn on_others(_: c_int) {
        OTHERS.fetch_add(1, SeqCst);
    }

    #[test]
    fn a_trapped_call_of_another_thread_reaches_the_previous_handler() {
        let _one = ONE_TEST.lock().unwrap_or_else(|error| error.into_inner());
        // SAFETY: the handler adds to an atomic, and nothing else here handles this signal.
        let before = unsafe { libc::signal(libc::SIGSYS, on_others as *const () as usize) };
        let trapped = while_one_tries(libc::SYS_getppid, || {
            let other = || {
                forbid::system_calls(&[libc::SYS_getppid], forbid::By::Trap);
                // SAFETY: the call has no arguments and is trapped.
                unsafe { libc::syscall(libc::SYS_getppid) };
            };
            thread::spawn(other).join().unwrap_or_else(|_| abort());
        });
        assert_eq!((OTHERS.load(SeqCst), trapped), (1, false));
        // SAFETY: restores the previous handler.
        unsafe { libc::signal(libc::SIGSYS, before) };
    }
}
