//! How many faults were injected, by kind: said when the process ends.

use std::collections::BTreeMap;
use std::io::{Write, stderr};
use std::sync::{Mutex, MutexGuard, Once, PoisonError};

use crate::faulty::Fault;
use crate::os;

static TALLY: Mutex<BTreeMap<String, u64>> = Mutex::new(BTreeMap::new());

pub(crate) fn add_all(injected: BTreeMap<Fault, u64>) {
    for (fault, times) in injected {
        add(name(fault), times);
    }
}

pub(crate) fn add(kind: String, times: u64) {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| os::at_exit(say));
    *tally().entry(kind).or_default() += times;
}

fn tally() -> MutexGuard<'static, BTreeMap<String, u64>> {
    TALLY.lock().unwrap_or_else(PoisonError::into_inner)
}

extern "C" fn say() {
    let tally = tally();
    let total: u64 = tally.values().sum();
    let mut text = format!("faults injected: {total}\n");
    for (kind, times) in &*tally {
        text += &format!("{times:>9} {kind}\n");
    }
    let _ = stderr().write_all(text.as_bytes());
}

fn name(fault: Fault) -> String {
    match fault {
        Fault::Fails(call, code) => format!("{call:?}: {}", code_name(code)),
        // Whatever the number.
        Fault::Short(_) => "Short".into(),
        Fault::Late(_) => "Late".into(),
        other => format!("{other:?}"),
    }
}

fn code_name(code: i32) -> String {
    let names = [
        (os::EBADF, "EBADF"),
        (os::EEXIST, "EEXIST"),
        (os::EINTR, "EINTR"),
        (os::EINVAL, "EINVAL"),
        (os::EMFILE, "EMFILE"),
        (os::ENFILE, "ENFILE"),
        (os::ENOENT, "ENOENT"),
        (os::ENOMEM, "ENOMEM"),
        (os::ENOSPC, "ENOSPC"),
        (os::EPERM, "EPERM"),
    ];
    let known = names.iter().find(|(known, _)| *known == code);
    known.map_or_else(|| code.to_string(), |(_, name)| name.to_string())
}
