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
        reason: "the polling crate has no way to rebuild its set",
    },
    Exception {
        case: "edge_and_level_handlers_closed_with_a_living_dup_cost_few_kernel_changes",
        poller: PollerKind::Polling,
        reason: "the polling crate has no way to rebuild its set",
    },
    Exception {
        case: "a_paused_handler_closed_with_a_living_dup_lets_the_loop_sleep",
        poller: PollerKind::Polling,
        reason: "the polling crate has no way to rebuild its set",
    },
    Exception {
        case: "a_registration_that_the_kernel_failed_to_remove_is_removed_later",
        poller: PollerKind::Polling,
        reason: "the polling crate has no way to rebuild its set",
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

/// Cases that cannot be served, by the reason.
pub type Unserved = [(&'static str, &'static [&'static str])];

/// Cases that neither poll(2) nor Windows can serve, for handlers on descriptors.
pub const WITHOUT_DESCRIPTOR: &Unserved = &[
    (
        "the poller has no edges, and with one mode there is no second set",
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

/// Cases that poll(2) cannot serve, which the polling crate takes where there is nothing better, for handlers on
/// descriptors. They are in force in a build with `--cfg polling_test_poll_backend`, like [`WITHOUT_DESCRIPTOR`].
pub const ON_POLL: &Unserved = &[
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
];

/// Cases that Windows cannot serve for handlers on sockets, beside [`WITHOUT_DESCRIPTOR`].
pub const ON_WINDOWS_SOCKETS: &Unserved = &[
    (
        "Windows gives a socket a number of its own choice",
        &[
            "a_closed_descriptor_is_refused_and_leaves_no_trace",
            "a_closed_handler_stays_quiet_when_its_number_is_registered_again",
            "a_guests_descriptor_that_is_refused_is_reported_once",
            "a_handler_can_be_moved_from_a_number_with_a_new_owner",
            "a_handler_removed_in_the_batch_misses_the_new_file_under_its_number",
            "a_handler_whose_number_has_a_new_owner_is_quiet_at_once",
            "a_handler_whose_number_is_taken_in_the_batch_is_not_called",
            "a_move_to_the_own_number_takes_the_new_file",
            "a_number_reused_after_a_oneshot_has_fired_is_watched",
            "a_rebuilt_set_watches_no_stranger",
            "a_reused_number_is_really_armed",
            "a_source_replaced_in_its_callback_is_watched",
            "a_held_handler_comes_to_watch_no_stranger",
            "a_held_handler_that_is_updated_watches_its_new_file",
            "a_stale_handler_cannot_take_the_number_back",
            "a_stranger_under_the_number_is_not_watched",
            "an_update_finds_the_new_file_under_the_number",
            "an_update_that_changes_nothing_finds_the_new_file",
            "an_update_that_finds_a_new_file_leaves_the_old_one",
            "rearm_forgets_what_the_old_file_was_ready_for",
            "rearm_takes_the_new_file_under_the_number",
            "remove_and_add_of_one_number_in_one_callback_works",
            "the_new_file_is_added_before_the_old_handler_is_removed",
            "a_guests_descriptor_may_be_closed_and_its_number_used_again",
            "a_socket_replaced_under_its_number_inside_a_callback_is_watched",
        ],
    ),
    (
        "Windows watches nothing but sockets",
        &[
            "a_closed_regular_file_goes_quiet",
            "a_number_reused_across_kinds_of_files_is_watched",
            "a_oneshot_on_a_regular_file_is_called_once",
            "a_refused_rearm_leaves_all_as_it_was",
            "a_regular_file_added_while_the_loop_sleeps_is_reported",
            "a_regular_file_can_be_paused",
            "a_regular_file_is_always_ready",
            "a_regular_file_is_one_edge",
            "a_regular_file_takes_the_number_inside_a_callback",
            "a_regular_file_whose_number_is_taken_goes_quiet",
            "an_unreferenced_handler_that_is_always_ready_does_not_keep_run_going",
            "an_update_finds_a_regular_file_under_the_number",
            "an_update_finds_the_new_file_after_a_regular_one",
            "a_directory_is_always_ready",
            "the_end_of_a_pipe_is_seen",
        ],
    ),
    (
        "Windows does not tell whether a socket is non-blocking",
        &["the_descriptors_flags_stay_as_they_are"],
    ),
    (
        "over TCP, and so without socket pairs, the end of a peer is told as readable, and no hang-up",
        &[
            "a_hangup_reaches_a_reader",
            "a_hangup_reaches_every_handler",
            "a_paused_handler_hears_no_hangup",
            "bytes_before_a_hangup_are_read_first",
            "a_connection_that_failed_before_it_was_added_is_reported",
            "a_panicking_guest_is_removed",
            "removal_drops_closure_and_source_once",
        ],
    ),
    (
        "over TCP, a byte that was sent is there a moment later",
        &["a_change_refused_after_the_callback_reaches_the_driver"],
    ),
];

/// Cases that Windows cannot serve at all.
pub const ON_WINDOWS: &Unserved = &[
    (
        "Windows does not fork",
        &["a_callback_may_fork", "after_a_fork_the_child_is_told"],
    ),
    (
        "Windows interrupts no call by a signal",
        &["a_storm_of_signals_loses_nothing"],
    ),
    (
        "Windows waits for whole milliseconds",
        &["short_timers_are_good_to_well_under_a_millisecond"],
    ),
    (
        "Windows' clock begins when the system starts, so that earlier times are one",
        &[
            "deadlines_of_long_ago_are_in_order_too",
            "a_system_time_in_the_past_fires_at_once",
        ],
    ),
];

/// Why this cannot be served.
pub(crate) fn reason(case: &str, poller: PollerKind, sources: Sources) -> Option<&'static str> {
    let mut of_poller = EXCEPTIONS.iter();
    let of_poller = of_poller.find(|one| one.case == case && one.poller == poller);
    let on_descriptors = match sources {
        Sources::Virtual => &[][..],
        Sources::Descriptors if cfg!(windows) => &[WITHOUT_DESCRIPTOR, ON_WINDOWS_SOCKETS],
        Sources::Descriptors if cfg!(polling_test_poll_backend) => &[WITHOUT_DESCRIPTOR, ON_POLL],
        Sources::Descriptors => &[],
    };
    let at_all: &[&Unserved] = if cfg!(windows) { &[ON_WINDOWS] } else { &[] };
    let mut of_system = on_descriptors
        .iter()
        .chain(at_all)
        .flat_map(|unserved| unserved.iter());
    let of_system = of_system.find(|(_, cases)| cases.contains(&case));
    let reason = of_system.map(|(reason, _)| *reason);
    of_poller.map(|one| one.reason).or(reason)
}
