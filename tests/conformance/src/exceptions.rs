use crate::PollerKind;

/// A case that a poller cannot serve.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Exception {
    /// The name of the case.
    pub case: &'static str,
    /// The poller that cannot serve it.
    pub poller: PollerKind,
    /// Why.
    pub reason: &'static str,
}

/// All exceptions that there are.
pub const EXCEPTIONS: &[Exception] = &[
    Exception {
        case: "a_closed_descriptor_with_a_living_dup_does_not_haunt_the_loop",
        poller: PollerKind::Polling,
        reason: "the polling crate gives no way to make its set anew",
    },
    Exception {
        case: "nor_does_one_with_an_edge_handler",
        poller: PollerKind::Polling,
        reason: "the polling crate gives no way to make its set anew",
    },
    Exception {
        case: "nor_does_one_whose_handler_is_paused",
        poller: PollerKind::Polling,
        reason: "the polling crate gives no way to make its set anew",
    },
    Exception {
        case: "what_the_kernel_did_not_let_go_of_is_got_rid_of",
        poller: PollerKind::Polling,
        reason: "the polling crate gives no way to make its set anew",
    },
    Exception {
        case: "priority_data_is_not_reported_unless_asked_for",
        poller: PollerKind::Polling,
        reason: "the polling crate asks epoll for EPOLLPRI with every readable interest",
    },
    Exception {
        case: "priority_data_comes_as_priority",
        poller: PollerKind::Polling,
        reason: "the polling crate reports EPOLLPRI as readable, too",
    },
];

pub(crate) fn find(case: &str, poller: PollerKind) -> Option<&'static Exception> {
    EXCEPTIONS
        .iter()
        .find(|one| one.case == case && one.poller == poller)
}
