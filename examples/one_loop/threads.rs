//! Which threads wait in the kernel for I/O, from /proc.

use std::collections::BTreeMap;
use std::fs;
use std::sync::Mutex;

/// The system calls that wait for I/O, and their numbers.
const WAITS: &str = if cfg!(target_arch = "x86_64") {
    "232 epoll_wait,281 epoll_pwait,441 epoll_pwait2,7 poll,271 ppoll,23 select,270 pselect6"
} else if cfg!(target_arch = "aarch64") {
    "22 epoll_pwait,441 epoll_pwait2,73 ppoll,72 pselect6"
} else {
    ""
};

/// The threads that were there: number, name, and the call in which it was seen waiting.
#[derive(Default)]
pub struct Threading(Mutex<BTreeMap<String, (String, Option<&'static str>)>>);

impl Threading {
    /// Looks once. Who looks does not wait, and who is busy seldom does: it takes many looks, and
    /// from more than one thread.
    pub fn look(&self) {
        let mut seen = self.0.lock().unwrap();
        for task in fs::read_dir("/proc/self/task")
            .into_iter()
            .flatten()
            .flatten()
        {
            let read = |file| fs::read_to_string(task.path().join(file)).unwrap_or_default();
            let number = task.file_name().to_string_lossy().into_owned();
            let call = read("syscall");
            let mut waits = WAITS.split(',').filter_map(|wait| wait.split_once(' '));
            let wait = waits.find(|(number, _)| call.split(' ').next() == Some(number));
            let (name, seen) = seen.entry(number).or_default();
            *name = read("comm").trim_end().into();
            *seen = wait.map(|(_, call)| call).or(*seen);
        }
    }

    /// `2 of 3 seen waiting for I/O: one_loop (epoll_wait), load (poll); not: async-io`.
    pub fn sentence(&self) -> String {
        let seen = self.0.lock().unwrap();
        let (mut waiting, mut others) = (Vec::new(), Vec::new());
        for (name, call) in seen.values() {
            match call {
                Some(call) => waiting.push(format!("{name} ({call})")),
                None => others.push(name.as_str()),
            }
        }
        let (count, all) = (waiting.len(), seen.len());
        let mut sentence = format!("{count} of {all} seen waiting for I/O");
        if !waiting.is_empty() {
            sentence += &format!(": {}", waiting.join(", "));
        }
        if !others.is_empty() {
            sentence += &format!("; not: {}", others.join(", "));
        }
        sentence
    }
}
