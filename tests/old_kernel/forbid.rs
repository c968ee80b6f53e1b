/// What becomes of a call that is forbidden.
#[derive(Clone, Copy)]
pub enum By {
    /// It is one that the kernel has not.
    Refusal,
    /// The process gets SIGSYS, as apps on Android do.
    Trap,
}

/// From now on, in this thread and those that it starts, the calls are forbidden.
pub fn system_calls(numbers: &[libc::c_long], by: By) {
    let statement = |code, jump_if_not, k| libc::sock_filter {
        code,
        jt: 0,
        jf: jump_if_not,
        k,
    };
    let (load, ret) = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, libc::BPF_RET);
    let equal = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
    let action = match by {
        By::Refusal => libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32,
        By::Trap => libc::SECCOMP_RET_TRAP,
    };
    let mut program = vec![statement(load as u16, 0, 0)]; // the number of the call
    for number in numbers {
        program.push(statement(equal as u16, 1, *number as u32));
        program.push(statement(ret as u16, 0, action));
    }
    program.push(statement(ret as u16, 0, libc::SECCOMP_RET_ALLOW));
    let program = libc::sock_fprog {
        len: program.len() as u16,
        filter: program.as_mut_ptr(),
    };
    // SAFETY: two system calls; the program is there during the second.
    unsafe {
        assert_eq!(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
        let filter = libc::SECCOMP_MODE_FILTER;
        assert_eq!(libc::prctl(libc::PR_SET_SECCOMP, filter, &program), 0);
    }
}
