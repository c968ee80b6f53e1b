/// Makes the tests of a host, one for each case and poller: `conformance!(name, MyHost);`. See the
/// [crate].
#[macro_export]
macro_rules! conformance {
    ($name:ident, $host:ty) => {
        mod $name {
            #[cfg(all(
                any(target_os = "linux", target_os = "android"),
                not(polling_test_poll_backend)
            ))]
            mod epoll {
                #[allow(unused_imports)]
                use super::super::*;
                $crate::__cases!($host, $crate::PollerKind::Epoll);
                mod virtual_sources {
                    #[allow(unused_imports)]
                    use super::*;
                    $crate::__virtual_cases!($host, $crate::PollerKind::Epoll);
                }
            }
            mod polling {
                #[allow(unused_imports)]
                use super::super::*;
                $crate::__cases!($host, $crate::PollerKind::Polling);
                mod virtual_sources {
                    #[allow(unused_imports)]
                    use super::*;
                    $crate::__virtual_cases!($host, $crate::PollerKind::Polling);
                }
            }
        }
    };
}

/// The list of all cases.
#[doc(hidden)]
#[macro_export]
macro_rules! __cases {
    ($host:ty, $poller:expr) => {
        $crate::__tests! { $host, $poller, $crate::Sources::Descriptors,
            adding:
                a_ready_descriptor_is_reported
                a_handler_added_by_another_thread_while_the_loop_sleeps_is_called
                a_handler_added_by_host_code_while_the_loop_sleeps_is_called
                a_closed_descriptor_is_refused_and_leaves_no_trace
                a_negative_descriptor_is_refused
                the_descriptors_flags_stay_as_they_are
                numbers_above_1024_work
                a_regular_file_is_always_ready
                a_directory_is_always_ready
                a_regular_file_is_one_edge
                a_oneshot_on_a_regular_file_is_called_once
                a_regular_file_can_be_paused
                a_regular_file_added_while_the_loop_sleeps_is_reported
                accepted_connections_can_be_added_in_the_callback
                a_second_paused_handler_on_a_closed_number_is_refused;
            neighbours:
                two_handlers_on_one_descriptor_are_both_called
                read_and_write_handlers_are_separate
                removing_one_of_two_leaves_the_other
                an_edge_handler_stays_one_when_its_neighbours_go
                level_and_edge_on_one_descriptor_are_both_exact
                three_modes_on_one_descriptor_work_side_by_side
                a_hundred_handlers_on_one_descriptor_are_all_called
                removing_the_last_of_three_leaves_the_others;
            updating:
                update_replaces_the_interest
                update_rearms_an_edge_handler
                update_rearms_a_oneshot
                an_update_by_another_thread_while_the_loop_sleeps_takes_effect
                update_inside_a_callback_takes_effect
                a_change_and_its_undoing_cost_no_kernel_call
                many_changes_in_a_turn_cost_one_kernel_call
                a_paused_handler_hears_no_hangup
                a_handler_can_be_added_paused
                a_handler_paused_by_a_neighbour_is_not_called_in_that_turn
                a_handler_paused_and_resumed_in_one_turn_is_still_called
                an_update_that_changes_nothing_silences_no_handler
                rearm_arms_edges_and_oneshots;
            removing:
                removal_drops_closure_and_source_once
                a_handler_can_remove_itself_by_call
                a_handler_can_remove_itself_by_action
                a_handler_removed_by_a_neighbour_in_the_batch_is_not_called
                a_handler_removed_in_the_batch_misses_the_new_file_under_its_number
                the_kernel_lets_go_although_a_dup_is_open
                the_drop_of_a_source_may_use_the_reactor
                a_handler_removed_while_it_runs_is_dropped_by_the_driver
                a_stale_id_never_means_another_handler
                an_id_of_another_reactor_is_unknown;
            numbers:
                a_reused_number_is_really_armed
                a_closed_handler_stays_quiet_when_its_number_is_registered_again
                a_handler_whose_number_is_taken_in_the_batch_is_not_called
                a_number_reused_after_a_oneshot_has_fired_is_watched
                a_stale_handler_cannot_take_the_number_back
                an_update_that_finds_a_new_file_leaves_the_old_one
                a_number_reused_across_kinds_of_files_is_watched
                a_regular_file_takes_the_number_inside_a_callback
                remove_and_add_of_one_number_in_one_callback_works
                the_new_file_is_added_before_the_old_handler_is_removed
                an_update_finds_the_new_file_under_the_number
                a_removal_finds_the_new_file_under_the_number
                an_update_finds_a_regular_file_under_the_number
                rearm_forgets_what_the_old_file_was_ready_for
                rearm_takes_the_new_file_under_the_number;
            stale:
                a_handler_whose_descriptor_was_closed_goes_quiet
                a_closed_descriptor_with_a_living_dup_lets_the_loop_sleep
                edge_and_level_handlers_closed_with_a_living_dup_cost_few_kernel_changes
                a_paused_handler_closed_with_a_living_dup_lets_the_loop_sleep
                a_closed_regular_file_goes_quiet
                a_handler_whose_number_has_a_new_owner_is_quiet_at_once
                an_edge_handler_beside_a_paused_one_soon_goes_quiet
                handlers_that_are_called_now_and_then_cost_no_look
                a_source_that_becomes_virtual_goes_quiet
                a_handler_closed_with_a_living_dup_soon_goes_quiet
                the_first_calls_after_a_close_are_few
                a_stranger_under_the_number_is_not_watched
                a_rebuilt_set_watches_no_stranger
                an_update_that_changes_nothing_finds_the_new_file
                an_update_finds_the_new_file_after_a_regular_one
                a_regular_file_whose_number_is_taken_goes_quiet
                a_source_replaced_in_its_callback_is_watched
                a_handler_moved_to_another_descriptor_watches_that
                a_handler_can_be_moved_from_a_number_with_a_new_owner
                a_move_to_the_own_number_takes_the_new_file
                a_handler_moved_in_the_batch_misses_the_old_file
                a_refused_move_changes_nothing
                a_source_replaced_by_the_loops_own_is_refused
                the_loops_own_descriptors_are_refused
                a_stale_id_does_nothing_to_the_loops_own_descriptors;
            events:
                again_calls_in_each_turn_beside_posts
                the_loop_goes_on_for_again_and_for_no_paused_handler
                an_edge_that_is_updated_before_its_call_is_told_once
                level_repeats_until_drained
                level_is_once_a_turn
                level_data_left_unread_is_reported_again
                edge_is_not_repeated
                edge_reports_each_new_readiness
                edge_counts_what_is_ready_at_registration
                an_edge_handler_that_drains_misses_nothing
                oneshot_is_at_most_once_an_arming
                a_oneshot_can_rearm_itself
                oneshots_for_different_things_stay_armed_apart
                a_neighbour_that_rearms_calls_no_oneshot_twice
                a_hangup_reaches_a_reader
                a_hangup_reaches_a_writer
                a_hangup_reaches_every_handler
                an_error_reaches_reader_and_writer
                bytes_before_a_hangup_are_read_first
                a_half_close_is_readable_and_no_hangup
                the_peers_closing_is_told_without_reading
                data_and_the_end_of_the_stream_are_one_call
                nothing_is_delivered_that_was_not_asked_for
                one_call_carries_all_that_is_ready
                priority_data_comes_as_priority
                priority_data_is_not_reported_unless_asked_for
                the_end_of_a_pipe_is_seen
                a_handler_added_in_a_callback_is_called_in_a_later_turn
                a_handler_rearmed_in_a_callback_is_called_in_a_later_turn
                again_calls_in_the_next_turn_though_nothing_is_ready
                again_does_not_starve_the_others
                again_is_kept_when_the_interest_changes
                again_is_kept_when_a_neighbour_changes_the_interest
                again_is_kept_when_the_handler_is_rearmed
                again_and_an_event_are_one_call
                again_waits_while_the_handler_is_paused;
            turns:
                a_turn_is_handlers_then_timers_then_posts
                a_turn_with_much_to_call_keeps_its_order
                a_post_made_by_a_post_runs_in_the_next_turn
                a_callback_that_keeps_posting_starves_no_other
                a_descriptor_that_stays_ready_starves_no_other
                no_handler_is_called_twice_before_every_ready_one_was_called
                more_ready_descriptors_than_one_wait_fetches_are_all_called
                driving_from_inside_a_callback_is_an_error
                driving_from_a_second_thread_is_an_error
                every_method_can_be_called_in_every_callback
                a_panicking_handler_is_removed_and_the_rest_goes_on
                a_panicking_timer_is_removed_and_the_rest_goes_on
                posts_after_a_panicking_one_are_kept
                after_a_panic_the_next_run_needs_no_new_event
                a_panicking_hook_is_removed
                a_panic_in_a_drop_takes_nothing_with_it
                a_callback_that_returns_an_error_is_removed_alone;
            limits:
                a_oneshot_without_its_limit_is_called_once
                an_edge_is_told_when_the_interval_ends_beside_another
                a_held_handler_that_is_updated_watches_its_new_file
                handlers_of_higher_priority_are_called_first
                a_priority_set_in_a_callback_is_in_force_in_the_next_turn
                a_stale_id_gets_neither_priority_nor_limit
                a_handler_is_called_no_more_often_than_its_limit
                a_limited_handler_is_called_again_when_its_interval_ends
                an_edge_that_comes_while_it_is_held_is_not_lost
                the_end_of_an_interval_is_no_edge
                a_oneshot_armed_while_it_is_held_fires_once
                again_waits_for_the_interval_to_end
                a_handler_paused_while_it_is_held_stays_paused
                an_update_does_not_get_around_a_limit
                a_limit_is_lifted_while_the_loop_sleeps
                a_new_limit_takes_the_place_of_the_old
                a_limit_does_not_concern_the_neighbours
                a_held_handler_can_be_removed
                a_handler_stays_held_across_a_change_of_drivers
                the_end_of_an_interval_wakes_a_loop_that_sleeps
                a_limited_handler_may_panic
                a_held_handler_comes_to_watch_no_stranger;
            time:
                timers_never_fire_early
                timers_fire_by_deadline_then_by_creation
                deadlines_of_long_ago_are_in_order_too
                a_thousand_timers_due_at_once_fire_in_order
                timers_that_a_stop_left_over_fire_by_deadline
                short_timers_are_good_to_well_under_a_millisecond
                a_timer_set_by_another_thread_while_the_loop_sleeps_fires
                a_timer_set_by_host_code_while_the_loop_sleeps_fires
                a_timer_moved_forward_while_the_loop_sleeps_fires_at_its_new_deadline
                a_timer_in_the_past_fires_at_once
                the_longest_delay_is_accepted
                a_timer_put_off_for_ever_does_not_keep_run_going
                a_zero_delay_timer_set_in_a_timer_fires_in_the_next_turn
                a_zero_delay_timer_that_returns_starves_no_other
                a_cancelled_timer_does_not_fire
                a_due_timer_can_be_cancelled_by_another
                a_periodic_timer_can_cancel_itself
                a_periodic_timer_ends_by_action
                a_timer_can_reset_itself
                a_timer_that_fires_once_is_gone_in_its_callback
                a_periodic_timer_can_reset_itself
                a_timer_pushed_back_fires_once_after_the_last_push
                a_periodic_timer_skips_what_it_missed
                timers_of_four_threads_all_fire
                a_timer_by_the_system_clock_never_fires_early
                a_system_time_in_the_past_fires_at_once
                timers_for_one_system_time_fire_by_creation
                a_timer_by_the_system_clock_can_be_cancelled_and_reset
                a_due_timer_put_off_by_a_neighbour_goes_alone;
            posting:
                posts_run_in_order
                a_cancelled_post_is_not_called
                a_post_can_be_cancelled_by_another
                a_post_is_cancelled_on_its_own_loop_only
                a_post_by_another_thread_wakes_the_loop
                a_post_by_host_code_wakes_the_loop
                a_stop_by_another_thread_wakes_the_loop
                no_post_is_lost_and_each_threads_are_in_order
                no_wake_is_lost_between_looking_and_sleeping
                many_posts_cost_one_wake
                urgent_posts_run_before_the_handlers
                idle_posts_run_when_there_is_nothing_else
                idle_posts_have_turns_of_their_own
                idle_posts_let_nothing_sleep
                idle_posts_run_beside_events_without_a_handler
                after_the_reactor_is_gone_a_post_comes_back
                after_close_every_call_says_so
                after_close_in_a_callback_no_other_callback_is_called
                close_drops_the_posts_that_were_not_called;
            hosting:
                an_interest_changed_in_a_callback_counts_beside_a_hook
                a_handler_resumed_by_host_code_while_the_loop_sleeps_is_called
                bytes_that_arrive_while_the_loop_sleeps_are_reported
                a_long_conversation_with_sleeps_in_between_loses_nothing
                a_loop_driven_again_after_each_stop_loses_nothing
                a_close_ends_every_driver_with_an_error
                a_host_may_end_when_nothing_is_left
                a_host_ends_when_another_thread_takes_the_last_thing_away
                a_loop_driven_on_another_thread_and_back_loses_nothing
                callbacks_left_due_by_a_stop_are_called_by_the_next_host
                run_returns_when_nothing_is_left
                run_returns_when_the_last_thing_is_taken_away
                an_unreferenced_handler_or_timer_does_not_keep_run_going
                a_handler_or_timer_that_is_referenced_again_keeps_run_going
                an_unreferenced_handler_that_is_always_ready_does_not_keep_run_going
                a_stop_before_counts_once
                a_stop_during_block_on_ends_no_other_driver
                a_stop_starts_no_other_callback
                block_on_polls_a_future_beside_the_callbacks
                an_idle_loop_stays_asleep
                hooks_run_around_the_sleep
                a_check_hook_sees_the_readiness_of_the_turn
                a_prepare_hook_limits_the_sleep
                a_prepare_hook_of_zero_lets_nothing_wait
                a_hook_that_is_gone_lets_the_loop_sleep
                prepare_is_asked_before_every_sleep
                events_that_a_handler_leaves_in_a_queue_are_not_slept_over
                a_prepare_hook_may_post_and_register
                a_change_by_another_thread_during_a_prepare_hook_is_not_slept_over
                a_hook_added_by_a_hook_is_asked_before_the_sleep
                events_that_host_code_leaves_in_a_queue_are_seen_after_a_wake
                events_that_host_code_leaves_in_a_queue_are_seen_by_asking_the_hooks;
            descriptor:
                a_refused_source_is_given_back
                all_that_is_to_do_shows_on_the_descriptor
                a_cancelled_timer_does_not_show
                a_turn_that_failed_shows_on_the_descriptor
                a_set_that_is_rebuilt_under_a_host_is_watched_again
                a_reactor_hosts_a_reactor;
            guests:
                a_guest_takes_a_turn_when_a_descriptor_is_ready
                a_guest_takes_a_turn_when_its_time_is_over
                what_a_guest_leaves_to_do_is_not_slept_over
                a_guest_that_is_prepared_again_and_again_costs_no_kernel_change
                another_thread_wakes_a_guest_by_its_descriptor
                a_busy_guest_starves_nobody
                a_guests_callbacks_may_use_the_loop_and_cannot_drive_it
                a_guests_descriptor_may_be_closed_and_its_number_used_again
                work_that_a_callback_gives_a_guest_is_not_slept_over
                work_that_host_code_gives_a_guest_is_seen_after_a_wake
                run_goes_on_while_a_guest_is_alive
                a_removed_guest_is_dropped_with_its_handlers
                a_panicking_guest_is_removed
                a_guest_that_announces_is_prepared_after_its_own_turns_only
                a_guests_descriptor_that_is_refused_is_reported_once;
            faults:
                any_calls_from_any_threads_do_no_harm
                the_last_handle_may_go_while_callbacks_are_pending
                after_a_fork_the_child_is_told
                a_callback_may_fork;
            refusals:
                a_refused_handler_beside_a_paused_one_is_told
                a_refused_edge_beside_a_level_handler_is_told_at_once
                a_replaced_source_that_is_refused_is_watched_later
                a_refused_add_leaves_no_trace
                a_socket_that_a_sandbox_refuses_is_not_always_ready
                a_refused_raw_add_leaves_no_trace
                a_kernel_that_contradicts_itself_is_not_argued_with
                a_refused_second_handler_leaves_the_first
                a_second_set_that_cannot_be_made_refuses_the_handler
                a_refused_update_leaves_all_as_it_was
                a_refused_resumption_leaves_the_handler_paused
                a_change_refused_after_the_callback_reaches_the_driver
                a_refused_pause_is_told
                a_removal_that_the_kernel_refuses_is_one_all_the_same
                a_refused_removal_leaves_the_neighbour_and_lets_the_loop_sleep
                a_registration_that_the_kernel_failed_to_remove_is_removed_later
                a_refused_rearm_can_be_repeated
                a_refused_rearm_leaves_all_as_it_was
                a_refused_change_leaves_due_what_is
                a_failing_wait_loses_nothing
                a_failing_wait_for_the_second_set_loses_nothing
                a_failing_wake_loses_no_post
                a_failing_alarm_loses_no_timer
                a_clock_that_cannot_be_watched_is_an_error
                a_set_that_cannot_be_rebuilt_is_tried_again
                a_set_that_cannot_be_rebuilt_ends_no_driver;
            oddities:
                events_come_one_at_a_time
                an_event_for_a_descriptor_that_is_not_ready_does_no_harm
                events_outside_the_interest_are_not_reported
                events_for_removed_keys_are_dropped
                events_of_handlers_just_removed_do_not_rebuild_the_set
                a_wait_that_returns_early_fires_no_timer_early
                a_wait_that_returns_late_keeps_the_order
                a_clock_that_stands_still_loses_no_timer
                a_storm_of_signals_loses_nothing;
            virtual_sources:
                a_source_set_by_another_thread_while_the_loop_sleeps_is_reported
                readiness_set_before_the_handler_was_added_is_reported
                readiness_cleared_before_the_loop_looked_calls_no_handler
                sets_from_many_threads_are_not_lost
                many_sets_cost_one_wake
                a_source_set_in_its_own_callback_is_called_in_a_later_turn
                one_source_on_two_loops_is_reported_on_both
                an_error_of_a_virtual_source_reaches_every_handler
                the_last_readiness_that_goes_is_a_hangup
                a_readiness_may_outlive_the_reactor;
            libraries:
                two_watches_on_one_descriptor_are_toggled_apart
                the_read_half_of_an_event_may_free_the_write_half
                no_callback_is_called_from_inside_add_update_and_remove
                a_connection_that_failed_before_it_was_added_is_reported
                a_socket_replaced_under_its_number_inside_a_callback_is_watched
                a_direction_that_a_neighbour_switched_off_is_not_delivered
                a_watch_can_be_toggled_by_another_thread
                interest_can_be_dropped_and_taken_up_around_a_partial_read
                a_watch_made_again_in_each_of_its_callbacks_misses_nothing;
        }
    };
}

/// Those of them that are for handlers on any source: they run on virtual ones, too.
#[doc(hidden)]
#[macro_export]
macro_rules! __virtual_cases {
    ($host:ty, $poller:expr) => {
        $crate::__tests! { $host, $poller, $crate::Sources::Virtual,
            adding:
                a_ready_descriptor_is_reported
                a_handler_added_by_another_thread_while_the_loop_sleeps_is_called
                a_handler_added_by_host_code_while_the_loop_sleeps_is_called;
            neighbours:
                two_handlers_on_one_descriptor_are_both_called
                read_and_write_handlers_are_separate
                removing_one_of_two_leaves_the_other
                an_edge_handler_stays_one_when_its_neighbours_go
                level_and_edge_on_one_descriptor_are_both_exact
                three_modes_on_one_descriptor_work_side_by_side
                a_hundred_handlers_on_one_descriptor_are_all_called
                removing_the_last_of_three_leaves_the_others;
            updating:
                update_replaces_the_interest
                update_rearms_an_edge_handler
                update_rearms_a_oneshot
                an_update_by_another_thread_while_the_loop_sleeps_takes_effect
                update_inside_a_callback_takes_effect
                a_change_and_its_undoing_cost_no_kernel_call
                a_paused_handler_hears_no_hangup
                a_handler_can_be_added_paused
                a_handler_paused_by_a_neighbour_is_not_called_in_that_turn
                a_handler_paused_and_resumed_in_one_turn_is_still_called
                an_update_that_changes_nothing_silences_no_handler
                rearm_arms_edges_and_oneshots;
            removing:
                removal_drops_closure_and_source_once
                a_handler_can_remove_itself_by_call
                a_handler_can_remove_itself_by_action
                a_handler_removed_by_a_neighbour_in_the_batch_is_not_called
                the_drop_of_a_source_may_use_the_reactor
                a_handler_removed_while_it_runs_is_dropped_by_the_driver
                a_stale_id_never_means_another_handler
                an_id_of_another_reactor_is_unknown;
            events:
                again_calls_in_each_turn_beside_posts
                the_loop_goes_on_for_again_and_for_no_paused_handler
                an_edge_that_is_updated_before_its_call_is_told_once
                level_repeats_until_drained
                level_is_once_a_turn
                level_data_left_unread_is_reported_again
                edge_is_not_repeated
                edge_reports_each_new_readiness
                edge_counts_what_is_ready_at_registration
                an_edge_handler_that_drains_misses_nothing
                oneshot_is_at_most_once_an_arming
                a_oneshot_can_rearm_itself
                oneshots_for_different_things_stay_armed_apart
                a_neighbour_that_rearms_calls_no_oneshot_twice
                a_hangup_reaches_a_reader
                a_hangup_reaches_a_writer
                a_hangup_reaches_every_handler
                bytes_before_a_hangup_are_read_first
                nothing_is_delivered_that_was_not_asked_for
                one_call_carries_all_that_is_ready
                a_handler_added_in_a_callback_is_called_in_a_later_turn
                a_handler_rearmed_in_a_callback_is_called_in_a_later_turn
                again_calls_in_the_next_turn_though_nothing_is_ready
                again_does_not_starve_the_others
                again_is_kept_when_the_interest_changes
                again_is_kept_when_a_neighbour_changes_the_interest
                again_is_kept_when_the_handler_is_rearmed
                again_and_an_event_are_one_call
                again_waits_while_the_handler_is_paused;
            turns:
                a_turn_is_handlers_then_timers_then_posts
                a_post_made_by_a_post_runs_in_the_next_turn
                a_descriptor_that_stays_ready_starves_no_other
                no_handler_is_called_twice_before_every_ready_one_was_called
                more_ready_descriptors_than_one_wait_fetches_are_all_called
                every_method_can_be_called_in_every_callback
                a_panicking_handler_is_removed_and_the_rest_goes_on
                after_a_panic_the_next_run_needs_no_new_event
                a_panic_in_a_drop_takes_nothing_with_it
                a_callback_that_returns_an_error_is_removed_alone;
            limits:
                a_oneshot_without_its_limit_is_called_once
                an_edge_is_told_when_the_interval_ends_beside_another
                handlers_of_higher_priority_are_called_first
                a_priority_set_in_a_callback_is_in_force_in_the_next_turn
                a_stale_id_gets_neither_priority_nor_limit
                a_handler_is_called_no_more_often_than_its_limit
                a_limited_handler_is_called_again_when_its_interval_ends
                an_edge_that_comes_while_it_is_held_is_not_lost
                the_end_of_an_interval_is_no_edge
                a_oneshot_armed_while_it_is_held_fires_once
                again_waits_for_the_interval_to_end
                a_handler_paused_while_it_is_held_stays_paused
                an_update_does_not_get_around_a_limit
                a_limit_is_lifted_while_the_loop_sleeps
                a_new_limit_takes_the_place_of_the_old
                a_limit_does_not_concern_the_neighbours
                a_held_handler_can_be_removed
                a_handler_stays_held_across_a_change_of_drivers
                the_end_of_an_interval_wakes_a_loop_that_sleeps
                a_limited_handler_may_panic;
            posting:
                urgent_posts_run_before_the_handlers
                idle_posts_have_turns_of_their_own;
            hosting:
                a_handler_resumed_by_host_code_while_the_loop_sleeps_is_called
                bytes_that_arrive_while_the_loop_sleeps_are_reported
                a_long_conversation_with_sleeps_in_between_loses_nothing
                a_loop_driven_again_after_each_stop_loses_nothing
                a_host_may_end_when_nothing_is_left
                a_host_ends_when_another_thread_takes_the_last_thing_away
                a_loop_driven_on_another_thread_and_back_loses_nothing
                run_returns_when_nothing_is_left
                run_returns_when_the_last_thing_is_taken_away
                an_unreferenced_handler_or_timer_does_not_keep_run_going
                a_stop_starts_no_other_callback
                an_idle_loop_stays_asleep
                events_that_a_handler_leaves_in_a_queue_are_not_slept_over;
            descriptor:
                all_that_is_to_do_shows_on_the_descriptor
                a_reactor_hosts_a_reactor;
            faults:
                any_calls_from_any_threads_do_no_harm
                after_a_fork_the_child_is_told;
            libraries:
                two_watches_on_one_descriptor_are_toggled_apart
                the_read_half_of_an_event_may_free_the_write_half
                no_callback_is_called_from_inside_add_update_and_remove
                a_connection_that_failed_before_it_was_added_is_reported
                a_direction_that_a_neighbour_switched_off_is_not_delivered
                a_watch_can_be_toggled_by_another_thread
                interest_can_be_dropped_and_taken_up_around_a_partial_read
                a_watch_made_again_in_each_of_its_callbacks_misses_nothing;
        }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __tests {
    ($host:ty, $poller:expr, $sources:expr, $($topic:ident: $($case:ident)*;)*) => {$(
        $crate::__topic! { $topic: $host, $poller, $sources, $($case)* }
    )*};
}

#[doc(hidden)]
#[macro_export]
macro_rules! __topic {
    (descriptor: $($tests:tt)*) => {
        // See the exceptions.
        $crate::__if_pollable! { { $crate::__topic! { (descriptor) $($tests)* } } else {} }
    };
    ($topic:ident: $($tests:tt)*) => {
        $crate::__topic! { ($topic) $($tests)* }
    };
    (($topic:ident) $host:ty, $poller:expr, $sources:expr, $($case:ident)*) => {$(
        #[test]
        fn $case() {
            $crate::run::<$host>(stringify!($case), $poller, $sources, $crate::$topic::$case);
        }
    )*};
}

#[cfg(test)]
mod tests {
    /// A case that is not in the list would never run.
    #[test]
    fn every_case_is_in_the_list() {
        let list = include_str!("cases.rs");
        let topics = [
            include_str!("adding.rs"),
            include_str!("neighbours.rs"),
            include_str!("updating.rs"),
            include_str!("removing.rs"),
            include_str!("numbers.rs"),
            include_str!("stale.rs"),
            include_str!("events.rs"),
            include_str!("limits.rs"),
            include_str!("turns.rs"),
            include_str!("time.rs"),
            include_str!("posting.rs"),
            include_str!("hosting.rs"),
            include_str!("descriptor.rs"),
            include_str!("guests.rs"),
            include_str!("faults.rs"),
            include_str!("refusals.rs"),
            include_str!("oddities.rs"),
            include_str!("virtual_sources.rs"),
            include_str!("libraries.rs"),
        ];
        let mut cases = 0;
        for line in topics.iter().flat_map(|topic| topic.lines()) {
            if let Some((case, _)) = line
                .strip_prefix("pub fn ")
                .and_then(|rest| rest.split_once("(stage: &mut Stage)"))
            {
                let listed = |entry: &str| entry.trim().trim_end_matches(';') == case;
                assert!(list.lines().any(listed), "{case} is not in the list");
                cases += 1;
            }
        }
        assert!(cases >= 100, "{cases} cases");
    }

    #[test]
    fn every_exception_names_a_case() {
        let list = include_str!("cases.rs");
        let systems = [
            crate::WITHOUT_DESCRIPTOR,
            crate::ON_POLL,
            crate::ON_WINDOWS_SOCKETS,
            crate::ON_WINDOWS,
        ];
        let of_systems = systems.into_iter().flatten();
        let of_systems = of_systems.flat_map(|(_, cases)| *cases).copied();
        let all = crate::EXCEPTIONS.iter().map(|exception| exception.case);
        for case in all.chain(of_systems) {
            let named = |entry: &str| entry.trim().trim_end_matches(';') == case;
            assert!(list.lines().any(named), "{case}");
        }
    }

    #[test]
    fn cases_that_need_a_descriptor_are_exceptions_on_virtual_sources() {
        let cases = include_str!("descriptor.rs").lines();
        let cases = cases.filter_map(|line| line.strip_prefix("pub fn ")?.split_once('('));
        for (case, _) in cases {
            let named = |(_, cases): &(_, &[&str])| cases.contains(&case);
            assert!(crate::WITHOUT_DESCRIPTOR.iter().any(named), "{case}");
        }
    }
}
