//! The limit on open descriptors.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Descriptors that a workload may open at most.
const MOST: u64 = 1_000_000;
/// Those of the loops, the standard streams, and what else there is.
const OTHERS: u64 = 100;

/// Raises it as far as it goes: the usual 1024 is not enough for large workloads.
pub(crate) fn raise_descriptors() {
    raise_to(getrlimit(Resource::Nofile).maximum);
}

/// How many descriptors a workload may open, of a million. To root the limit is none.
pub fn descriptors() -> usize {
    raise_descriptors();
    let limit = || getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    if limit() < MOST + OTHERS {
        raise_to(Some(MOST + OTHERS));
    }
    limit().saturating_sub(OTHERS).min(MOST) as usize
}

fn raise_to(limit: Option<u64>) {
    let raised = Rlimit {
        current: limit,
        maximum: limit,
    };
    // If it is refused, a workload that is too large says so itself.
    let _ = setrlimit(Resource::Nofile, raised);
}
