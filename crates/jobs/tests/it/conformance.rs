//! What every store must do, as many small cases. `suite!(name, store)` runs them all on fresh
//! stores.

pub(crate) mod allotments;
pub(crate) mod cancel;
pub(crate) mod claims;
pub(crate) mod deliveries;
pub(crate) mod endings;
pub(crate) mod fairness;
pub(crate) mod histories;
pub(crate) mod keys;
pub(crate) mod leases;
pub(crate) mod listing;
pub(crate) mod owners;
pub(crate) mod parking;
pub(crate) mod removal;
pub(crate) mod repeats;
pub(crate) mod replicas;
pub(crate) mod spend;
pub(crate) mod submission;

/// Runs every case against the store an expression makes, with what has to live as long as the
/// store.
macro_rules! suite {
    ($store_name:ident, $store:expr) => {
        mod $store_name {
            crate::conformance::cases! { $store;
                submission::a_submitted_job_waits,
                submission::a_job_can_be_claimed_in_the_same_commit,
                submission::a_full_queue_refuses_and_stores_nothing,
                submission::a_full_queue_takes_a_job_that_is_claimed_at_once,
                submission::same_key_and_fingerprint_finds_the_first_job,
                submission::same_key_with_another_fingerprint_is_told,
                submission::keys_of_other_scopes_are_other_keys,
                submission::a_key_is_forgotten_after_a_day,
                submission::a_key_outlives_its_deleted_job,
                submission::a_key_outlives_its_expired_job,
                submission::a_key_whose_job_is_forgotten_is_free_after_a_day,
                submission::keys_of_forgotten_jobs_are_forgotten_in_their_turn,
                submission::a_known_key_is_found_though_the_queue_is_full,
                submission::a_hundred_submissions_with_one_key_make_one_job,
                submission::a_definition_is_kept_while_a_job_has_it,
                owners::unfinished_jobs_are_counted_by_owner,
                owners::an_owner_has_so_many_unfinished_jobs_and_no_more,
                owners::an_owner_has_so_many_queued_jobs_and_no_more,
                owners::whatever_becomes_of_a_job_its_place_is_free_after_it,
                owners::a_submission_repeated_is_not_kept_out_by_the_place_it_has_taken,
                owners::a_known_key_is_found_though_its_owner_may_have_no_more,
                owners::many_submissions_at_once_stay_within_the_limit,
                claims::the_oldest_is_claimed_first_up_to_the_limit,
                claims::a_claimed_job_is_not_claimed_while_its_lease_holds,
                claims::a_lapsed_lease_lets_another_worker_claim,
                claims::the_first_start_is_remembered_and_claims_are_counted,
                claims::a_claim_carries_what_was_saved,
                claims::only_waiting_jobs_become_overdue,
                claims::two_claims_at_once_share_no_job,
                fairness::a_long_queue_leaves_the_others_their_turn,
                fairness::a_lapsed_lease_goes_before_every_queue,
                fairness::what_left_a_queue_is_not_dealt,
                fairness::released_leases_can_be_claimed_at_once,
                leases::a_worker_that_lost_its_lease_cannot_write,
                leases::a_handed_back_job_waits_in_its_old_place_with_its_attempts,
                leases::a_claim_says_whether_the_worker_before_was_lost,
                leases::a_worker_that_handed_its_job_back_cannot_write,
                leases::a_cancelling_job_handed_back_is_claimed_to_be_ended,
                leases::starts_are_counted_since_the_run_last_got_on,
                leases::progress_stays_when_only_events_are_saved,
                replicas::a_beat_extends_the_lease_of_all_jobs,
                replicas::a_lapsed_lease_that_nobody_took_is_still_held,
                replicas::a_replica_that_was_declared_dead_is_fenced,
                replicas::a_paused_replica_cannot_write_after_a_takeover,
                replicas::a_claim_that_finds_no_job_declares_replicas_dead_as_well,
                replicas::until_its_job_is_taken_a_dead_replica_may_still_write,
                replicas::a_beat_names_the_leases_that_are_lost,
                replicas::a_job_that_was_claimed_again_is_lost_under_its_old_lease_only,
                replicas::a_beat_tells_of_a_cancel,
                replicas::a_beat_finds_the_jobs_of_a_claim_whose_answer_was_lost,
                replicas::jobs_of_others_are_not_told,
                replicas::jobs_that_were_asked_to_stop_are_told_between_beats,
                replicas::a_replica_that_is_not_registered_claims_nothing,
                replicas::a_job_submitted_by_a_replica_that_is_not_alive_has_lapsed,
                replicas::the_jobs_of_a_replica_that_leaves_have_lapsed,
                replicas::a_fenced_replica_goes_on_under_a_fresh_id,
                replicas::registering_again_under_the_same_id_extends_the_lease,
                replicas::a_lease_is_that_of_one_replica,
                replicas::replicas_are_told_with_what_they_hold,
                replicas::the_jobs_of_a_dead_replica_are_shared_out_once,
                replicas::no_job_is_left_behind_with_a_replica_that_leaves,
                replicas::the_oldest_of_all_lapsed_jobs_are_claimed_first,
                repeats::a_submission_repeated_makes_one_job,
                repeats::a_submission_repeated_finds_its_job_in_a_queue_it_has_filled,
                repeats::a_submission_with_a_claim_repeated_gives_the_same_lease,
                repeats::a_submission_with_a_key_repeated_is_new_again,
                repeats::a_definition_counts_a_repeated_submission_once,
                repeats::a_job_that_has_ended_already_is_stored_once,
                repeats::a_checkpoint_repeated_saves_once,
                repeats::an_ending_repeated_returns_the_job_as_the_first_one_left_it,
                repeats::an_ending_repeated_is_known_after_a_restart_of_the_job,
                repeats::the_end_of_a_cancelled_job_can_be_told_twice,
                repeats::a_job_that_ended_without_its_lease_is_not_told_to_its_last_holder,
                repeats::what_gives_a_lease_back_is_refused_when_repeated,
                endings::a_completed_job_carries_its_ending,
                endings::a_failed_job_carries_its_ending,
                endings::a_job_ends_once,
                endings::a_job_that_has_ended_already_is_stored_as_if_it_had_been_submitted_before,
                endings::a_job_that_has_ended_already_cannot_have_been_cancelled,
                deliveries::the_webhook_of_a_job_that_has_ended_already_is_due,
                endings::a_job_ends_as_cancelled_only_when_asked_to,
                endings::a_cancelling_job_may_still_complete,
                endings::the_last_events_are_stored_with_the_end,
                endings::an_event_saved_again_is_stored_once,
                endings::events_are_read_from_any_position,
                endings::many_positions_are_read_at_once,
                endings::the_oldest_events_of_a_very_long_job_go,
                endings::work_outlives_the_end,
                cancel::a_waiting_job_is_cancelled_and_never_claimed,
                cancel::a_running_job_is_told,
                cancel::an_ended_job_says_how_it_ended,
                cancel::a_missing_job_is_not_found,
                cancel::cancel_and_completion_race_to_one_end,
                deliveries::a_webhook_is_due_from_the_end_of_its_job,
                deliveries::a_job_cancelled_before_it_began_owes_its_webhook,
                deliveries::a_running_job_that_is_to_stop_owes_nothing_yet,
                deliveries::a_delivery_is_given_out_once_until_its_lease_lapses,
                deliveries::a_failed_try_is_repeated_when_its_time_has_come,
                deliveries::a_settled_delivery_is_never_due_again,
                deliveries::a_try_that_was_handed_back_does_not_count,
                deliveries::released_deliveries_can_be_claimed_at_once,
                deliveries::the_longest_due_go_first_as_far_as_there_is_room,
                deliveries::a_host_without_room_leaves_the_others_theirs,
                deliveries::two_claims_at_once_share_no_delivery,
                deliveries::a_job_does_not_expire_while_its_webhook_is_owed,
                deliveries::jobs_that_owe_a_webhook_go_last_where_there_is_no_room,
                deliveries::a_deleted_jobs_webhook_is_gone,
                deliveries::a_webhook_is_read_back_as_it_was_given,
                removal::an_active_job_cannot_be_deleted,
                removal::a_deleted_job_is_gone_with_all_it_had,
                removal::the_oldest_ends_expire_first_up_to_the_limit,
                removal::the_oldest_ends_go_while_the_store_takes_too_much,
                removal::active_jobs_never_expire,
                listing::rows_are_newest_first_without_outputs,
                listing::every_filter_holds,
                listing::pages_neither_skip_nor_repeat,
                listing::pages_hold_while_jobs_come_and_go,
                listing::a_page_of_large_labels_is_bounded_in_bytes,
                listing::counts_follow_the_jobs,
                parking::a_parked_job_is_saved_and_gives_its_lease_back,
                parking::a_worker_that_lost_its_lease_cannot_park,
                parking::a_woken_job_is_queued_in_its_old_place_with_what_it_had,
                parking::parking_spends_no_attempt_and_no_start,
                parking::progress_before_a_park_still_counts_after_it,
                parking::a_wake_up_outlives_the_worker_that_was_given_it,
                parking::a_wake_up_that_comes_before_the_park_is_not_lost,
                parking::a_wake_up_that_the_worker_was_given_does_not_end_its_next_wait,
                parking::a_job_is_woken_once_by_each_key,
                parking::a_wake_up_says_what_it_found,
                parking::many_wakers_at_once_wake_a_job_once,
                parking::a_park_and_a_wake_up_at_once_leave_no_job_behind,
                parking::a_job_wakes_by_itself_when_its_time_has_come,
                parking::a_woken_job_does_not_wake_again_at_its_time,
                parking::a_full_queue_takes_a_woken_job,
                parking::a_waiting_job_takes_no_place_in_the_queue,
                parking::a_waiting_job_that_is_cancelled_ends_at_once,
                parking::a_run_that_was_asked_to_stop_cannot_park,
                parking::a_waiting_job_whose_deadline_passes_is_claimed_to_be_ended,
                parking::a_waiting_job_is_listed_as_such,
                parking::a_waiting_job_is_neither_deleted_nor_expired,
                parking::a_job_that_was_parked_is_forgotten_with_its_wake_ups,
                parking::the_key_of_a_waiting_job_finds_it,
                parking::a_job_takes_so_many_wake_ups_and_no_more,
                parking::nothing_is_known_of_the_wait_of_a_job_that_is_not_there,
                histories::random_histories_follow_the_rules,
            }
            crate::conformance::key_cases! { $store;
                keys::hashes_are_keyed_with_the_same_for_ever,
                keys::a_key_is_read_back_as_it_was_given,
                keys::an_id_is_given_once,
                keys::a_rotated_key_keeps_its_old_secret_as_long_as_it_is_told,
                keys::a_key_added_again_is_the_same_key,
                keys::a_rotation_repeated_keeps_the_secret_before,
                keys::a_revoked_key_stays_revoked,
                keys::a_key_that_is_not_there_is_not_found,
                keys::the_last_use_never_goes_back,
                spend::what_is_spent_adds_up_by_key_and_day,
                spend::sums_are_read_from_a_day_on_of_one_key_or_all,
                spend::old_days_are_forgotten,
                spend::a_batch_repeated_is_added_once,
                allotments::what_replicas_set_aside_is_within_the_limit_together,
                allotments::what_is_spent_moves_from_what_was_set_aside_to_the_sum,
                allotments::what_is_kept_stays_whatever_was_spent,
                allotments::an_allotment_repeated_is_made_once,
                allotments::what_a_dead_replica_has_set_aside_is_free,
                allotments::a_replica_that_is_not_registered_is_granted_nothing,
                allotments::over_midnight_what_is_set_aside_stays_and_the_sum_begins_anew,
                allotments::requests_are_granted_once_for_all_replicas,
            }
            #[tokio::test]
            async fn many_replicas_at_once_stay_within_the_limit() {
                let (store, _kept) = $store;
                let store = vec![std::sync::Arc::new(store)];
                crate::conformance::allotments::many_replicas_at_once_stay_within_the_limit(store)
                    .await;
            }
            #[tokio::test]
            async fn many_who_spend_at_once_lose_nothing() {
                let (store, _kept) = $store;
                let store = std::sync::Arc::new(store);
                crate::conformance::spend::many_who_spend_at_once_lose_nothing(store).await;
            }
        }
    };
}

/// One test per case.
macro_rules! cases {
    ($store:expr; $($file:ident::$case:ident,)*) => {
        $(
            #[tokio::test]
            async fn $case() {
                let (store, _kept) = $store;
                let store: std::sync::Arc<dyn jobs::store::JobStore> = std::sync::Arc::new(store);
                crate::conformance::$file::$case(store).await;
            }
        )*
    };
}

/// One test per case about API keys and what they have spent.
macro_rules! key_cases {
    ($store:expr; $($file:ident::$case:ident,)*) => {
        $(
            #[tokio::test]
            async fn $case() {
                let (store, _kept) = $store;
                crate::conformance::$file::$case(&store).await;
            }
        )*
    };
}

pub(crate) use {cases, key_cases, suite};

/// The store under test.
pub(crate) type Store = std::sync::Arc<dyn jobs::store::JobStore>;
