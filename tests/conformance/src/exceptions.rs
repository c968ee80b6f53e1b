use crate::{PollerKind, Sources};

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
        case: "a_closed_descriptor_with_a_living_dup_lets_the_loop_sleep",
        poller: PollerKind::Polling,
        reason: "the polling crate gives no way to make its set anew",
    },
    Exception {
        case: "edge_and_level_handlers_closed_with_a_living_dup_cost_few_kernel_changes",
        poller: PollerKind::Polling,
        reason: "the polling crate gives no way to make its set anew",
    },
    Exception {
        case: "a_paused_handler_closed_with_a_living_dup_lets_the_loop_sleep",
        poller: PollerKind::Polling,
        reason: "the polling crate gives no way to make its set anew",
    },
    Exception {
        case: "a_registration_that_the_kernel_failed_to_remove_is_removed_later",
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
    Exception {
        case: "the_peers_closing_is_told_without_reading",
        poller: PollerKind::Polling,
        reason: "the polling crate does not ask epoll for EPOLLRDHUP",
    },
    Exception {
        case: "data_and_the_end_of_the_stream_are_one_call",
        poller: PollerKind::Polling,
        reason: "the polling crate does not ask epoll for EPOLLRDHUP",
    },
];

/// What poll(2) cannot serve, which the polling crate takes where there is nothing better, for handlers on
/// descriptors. They are in force in a build with `--cfg polling_test_poll_backend`.
pub const ON_POLL: &[(&str, &[&str])] = &[
    (
        "poll(2) has no edges, and with one mode there is no second set",
        &[
            "an_edge_handler_that_drains_misses_nothing",
            "edge_counts_what_is_ready_at_registration",
            "edge_is_not_repeated",
            "edge_reports_each_new_readiness",
            "level_and_edge_on_one_descriptor_are_both_exact",
            "three_modes_on_one_descriptor_work_side_by_side",
            "update_rearms_an_edge_handler",
            "an_update_that_finds_a_new_file_leaves_the_old_one",
            "a_removal_finds_the_new_file_under_the_number",
            "a_failing_wait_for_the_second_set_loses_nothing",
            "a_second_set_that_cannot_be_made_refuses_the_handler",
            "a_set_that_cannot_be_rebuilt_is_tried_again",
            "a_set_that_cannot_be_rebuilt_ends_no_driver",
        ],
    ),
    (
        "poll(2) knows numbers, and does not notice that one has come to mean another file",
        &[
            "a_number_reused_across_kinds_of_files_is_watched",
            "a_number_reused_after_a_oneshot_has_fired_is_watched",
            "a_rebuilt_set_watches_no_stranger",
            "a_reused_number_is_really_armed",
            "a_stranger_under_the_number_is_not_watched",
            "a_stale_handler_cannot_take_the_number_back",
            "rearm_takes_the_new_file_under_the_number",
            "rearm_forgets_what_the_old_file_was_ready_for",
            "a_handler_whose_number_has_a_new_owner_is_quiet_at_once",
            "a_handler_whose_number_is_taken_in_the_batch_is_not_called",
        ],
    ),
    (
        "to poll(2) a regular file is like any other, so that nothing can be refused about it",
        &[
            "a_refused_rearm_leaves_all_as_it_was",
            "a_regular_file_whose_number_is_taken_goes_quiet",
        ],
    ),
    (
        "there is no descriptor that a host could watch",
        &[
            "a_refused_source_is_given_back",
            "all_that_is_to_do_shows_on_the_descriptor",
            "a_cancelled_timer_does_not_show",
            "a_turn_that_failed_shows_on_the_descriptor",
            "a_reactor_hosts_a_reactor",
            "a_stale_id_does_nothing_to_the_loops_own_descriptors",
            "a_set_that_is_rebuilt_under_a_host_is_watched_again",
        ],
    ),
];

/// Why this cannot be served.
pub(crate) fn reason(case: &str, poller: PollerKind, sources: Sources) -> Option<&'static str> {
    let all = EXCEPTIONS.iter();
    let mut all = all.filter(|one| one.case == case && one.poller == poller);
    let on_poll = cfg!(polling_test_poll_backend) && sources == Sources::Descriptors;
    let mut on_poll = ON_POLL
        .iter()
        .filter(|(_, cases)| on_poll && cases.contains(&case));
    let first = all.next().map(|one| one.reason);
    first.or_else(|| on_poll.next().map(|(reason, _)| *reason))
}
