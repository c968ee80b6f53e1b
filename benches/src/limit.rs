//! The limit on open descriptors.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Raises it as far as it goes: the usual 1024 is not enough for large workloads.
pub fn raise_descriptors() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        ..limit
    };
    // If that is refused, a workload that is too large says so itself.
    let _ = setrlimit(Resource::Nofile, raised);
}
