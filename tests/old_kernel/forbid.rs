use std::env;
use std::process::{Command, Output};

/// The fate of a call that is forbidden.
#[derive(Clone, Copy)]
pub enum By {
    /// It is one that the kernel has not.
    Refusal,
    /// It answers with this code.
    Code(i32),
    /// The process gets SIGSYS, as apps on Android do.
    Trap,
}

impl By {
    fn action(self) -> u32 {
        match self {
            By::Refusal => By::Code(libc::ENOSYS).action(),
            By::Code(code) => libc::SECCOMP_RET_ERRNO | code as u32,
            By::Trap => libc::SECCOMP_RET_TRAP,
        }
    }
}

const LOAD: u32 = libc::BPF_LD | libc::BPF_W | libc::BPF_ABS;
const EQUAL: u32 = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
const RETURN: u32 = libc::BPF_RET;

fn statement(code: u32, jump_if_not: u8, k: u32) -> libc::sock_filter {
    libc::sock_filter {
        code: code as u16,
        jt: 0,
        jf: jump_if_not,
        k,
    }
}

/// From now on, in this thread and those that it starts, the calls are forbidden.
pub fn system_calls(numbers: &[libc::c_long], by: By) {
    let mut program = vec![statement(LOAD, 0, 0)]; // the number of the call
    for number in numbers {
        program.push(statement(EQUAL, 1, *number as u32));
        program.push(statement(RETURN, 0, by.action()));
    }
    install(program);
}

/// From now on, in this thread and those that it starts, no epoll takes the descriptor.
#[cfg(target_endian = "little")]
pub fn watching(fd: i32, by: By) {
    const THIRD_ARGUMENT: u32 = 16 + 2 * 8;
    install(vec![
        statement(LOAD, 0, 0),
        statement(EQUAL, 3, libc::SYS_epoll_ctl as u32),
        statement(LOAD, 0, THIRD_ARGUMENT),
        statement(EQUAL, 1, fd as u32),
        statement(RETURN, 0, by.action()),
    ]);
}

fn install(mut program: Vec<libc::sock_filter>) {
    program.push(statement(RETURN, 0, libc::SECCOMP_RET_ALLOW));
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

/// Has each case of the test in a process of its own, which is this program once more.
pub fn each_alone<T>(test: &str, cases: &[T], body: impl Fn(&T)) -> Vec<Output> {
    const CASE: &str = "ONELOOP_TEST_CASE";
    if let Ok(case) = env::var(CASE) {
        body(&cases[case.parse::<usize>().unwrap()]);
        std::process::exit(0);
    }
    let run = |case: usize| {
        let mut program = Command::new(env::current_exe().unwrap());
        program.args(["--exact", test, "--nocapture"]);
        program.env(CASE, case.to_string()).output().unwrap()
    };
    (0..cases.len()).map(run).collect()
}
