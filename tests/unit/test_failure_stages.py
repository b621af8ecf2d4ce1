"""Each line of the README's "Failure at each stage" is shown by tests that there are."""

import re
from functools import cache
from pathlib import Path

import pytest

from tests.unit.test_readme import README, rows, section

TESTS = Path(__file__).parents[1]
FAULTS = "faults/test_faults.py::test_nothing_is_lost_and_work_goes_on_after"

SHOWN_BY = {
    "SWF cannot be reached, throttles, fails; credentials are missing": """
        acceptance/test_polling.py::test_failing_polls_back_off_and_recover_and_are_logged_where_it_begins_and_ends
        acceptance/test_polling.py::test_credentials_that_come_later_are_found
        swf_internal swf_unavailable swf_throttled swf_expired_token swf_html
        swf_garbage swf_cut_before
    """,
    "domain unknown, polling not permitted": """
        acceptance/test_polling.py::test_refused_polls_name_domain_list_action_and_cause_and_other_lists_go_on
        swf_not_permitted swf_access_denied
    """,
    "an operator pauses a list": """
        acceptance/test_pausing.py::test_a_pause_holds_over_a_kill_and_not_one_poll_of_the_list_reaches_swf
        unit/test_pauses.py::test_a_pause_ends_by_itself_and_nobody_is_named_for_it
    """,
    "a poll is cut after SWF gave a task away": "swf_cut_after swf_half_body",
    "the disk is full or read-only": """
        acceptance/test_journal_faults.py::test_a_journal_that_cannot_be_written_stops_polls_alone
        integration/test_journal_deaths.py::test_a_real_disk_that_is_full_loses_nothing
        journal_disk_full
    """,
    "its file or folder is removed, moved or replaced": """
        acceptance/test_removed_journal.py::test_it_is_told_and_written_anew_and_a_kill_loses_nothing
        acceptance/test_removed_journal.py::test_while_it_cannot_be_written_anew_nothing_is_polled_and_replies_go_on
    """,
    "it is read-only at the start": "journal_read_only",
    "the journal is corrupt at start": """
        acceptance/test_journal_faults.py::test_a_corrupt_journal_is_renamed_aside_loudly_and_the_start_goes_on
        journal_truncated journal_overwritten
    """,
    "another process holds the journal": """
        acceptance/test_journal_faults.py::test_a_journal_that_another_holds_is_waited_for
        journal_held_by_another
    """,
    "the journal is from a newer version, or no journal": """
        acceptance/test_journal_faults.py::test_a_journal_of_a_newer_version_ends_the_start_with_78
        unit/test_journal.py::test_a_database_of_another_program_is_a_wrong_setting_and_stays_as_it_is
        journal_from_a_newer_version
    """,
    "RabbitMQ is away, restarts, drops the connection": """
        acceptance/test_broker_away.py::test_no_poll_begins_while_rabbitmq_is_away_and_what_was_polled_is_published_after_a_restart
        acceptance/test_log_lines.py::test_a_broker_that_is_away_is_one_line_for_each_connection_and_one_when_it_is_back
        broker_killed application_stopped connections_closed
    """,
    "the first of several brokers has no address": """
        integration/test_publishing.py::test_the_next_address_is_tried_where_a_host_has_none
        first_broker_without_address
    """,
    "RabbitMQ blocks publishers (memory, disk)": """
        acceptance/test_broker_away.py::test_no_poll_begins_while_rabbitmq_blocks_publishers_and_nothing_comes_twice
        integration/test_consuming.py::test_acknowledgements_go_on_while_publishers_are_blocked
        memory_alarm disk_alarm
    """,
    "no queue is bound for a type": """
        acceptance/test_unroutable.py::test_a_task_without_a_queue_waits_for_one_and_delays_no_other
        acceptance/test_unroutable.py::test_a_task_that_finds_no_queue_in_time_is_failed_with_its_key
        acceptance/test_unroutable.py::test_the_time_to_wait_for_a_queue_counts_over_a_restart
        worker_queue_unbound
    """,
    "RabbitMQ refuses one routing key": """
        acceptance/test_unroutable.py::test_a_key_that_may_not_be_published_counts_as_unroutable_and_others_go_on
        permission_denied_for_one_key
    """,
    "the exchange is deleted": """
        integration/test_publishing.py::test_an_exchange_deleted_under_traffic_stands_again_and_every_message_has_a_fate
        exchange_deleted
    """,
    "the queue is full and rejects": """
        integration/test_publishing.py::test_a_full_queue_refuses_its_own_messages_alone
        worker_queue_full
    """,
    "a confirm does not come in 20 s": """
        integration/test_publishing.py::test_a_broker_that_hangs_is_given_up_and_everything_sent_again
        broker_paused
    """,
    "an exchange or queue of the bridge is missing and may not be declared": """
        integration/test_topology.py::test_what_is_missing_and_may_not_be_declared_is_named
        integration/test_topology.py::test_what_was_missing_is_found_once_it_stands
        acceptance/test_minimal_user.py::test_where_nothing_is_declared_the_notice_queue_is_named_and_the_rest_works
        permission_taken permission_to_write_taken
    """,
    "RabbitMQ's limit on connections lets in fewer than the bridge has": """
        integration/test_connection_limit.py::test_what_is_needed_gets_the_place_of_what_is_not
        integration/test_connection_limit.py::test_what_is_not_needed_stays_away_while_others_take_every_place
    """,
    "a worker dies with a task": """
        acceptance/test_slots.py::test_the_task_of_a_worker_that_dies_goes_to_another_and_the_bridge_need_not_know
    """,
    "a worker's queue is deleted or purged": """
        acceptance/test_commands.py::test_what_a_purged_queue_lost_is_published_again_under_the_same_message_id
        acceptance/test_slots.py::test_the_slot_of_a_task_that_timed_out_in_swf_comes_free
        faults/test_promises.py::test_a_hundred_tasks_that_time_out_unanswered_do_not_stop_their_list
        worker_queue_deleted
    """,
    "a worker rejects a task, it expires, or its delivery limit is hit": """
        acceptance/test_undeliverable.py::test_what_a_worker_cannot_do_is_failed_with_reason_queue_and_count
    """,
    "a list's `queue` has no consumer, or enough messages": """
        acceptance/test_polled_on_demand.py::test_no_poll_begins_two_seconds_after_the_last_consumer_left
        acceptance/test_polled_on_demand.py::test_a_list_whose_queue_holds_enough_is_not_polled_until_it_holds_less
        acceptance/test_polled_on_demand.py::test_status_and_metrics_say_why_a_list_is_not_polled_and_other_lists_go_on
    """,
    "the reply queue is deleted": """
        integration/test_consuming.py::test_a_queue_that_is_deleted_is_declared_and_consumed_again
        reply_queue_deleted
    """,
    "the connection is lost": """
        integration/test_consuming.py::test_the_outcome_of_an_earlier_life_acknowledges_nothing
        acceptance/test_replies.py::test_an_answer_that_got_lost_on_its_way_is_a_duplicate_when_asked_again
        connections_closed
    """,
    "a reply is not valid": """
        acceptance/test_replies.py::test_a_bad_reply_is_parked_with_its_reason
        acceptance/test_replies.py::test_bad_replies_of_every_kind_delay_no_good_one
        replies_that_are_none
    """,
    "the dead-letter queue cannot be written": """
        integration/test_consuming.py::test_a_dead_letter_that_was_not_stored_leaves_the_reply_where_it_is
        integration/test_consuming.py::test_a_dead_letter_queue_that_was_deleted_is_declared_again_for_the_next_letter
        acceptance/test_dead_letters_rejected.py::test_2000_bad_replies_that_a_full_queue_rejects_delay_no_good_one
        dead_letter_queue_deleted
    """,
    "SWF cannot be reached, throttles, fails, does not permit": """
        acceptance/test_replies.py::test_a_reply_that_swf_cannot_take_now_is_tried_again
        acceptance/test_replies.py::test_a_reply_that_is_not_permitted_is_kept_while_others_go_on
        acceptance/test_replies.py::test_more_held_replies_than_threads_and_half_the_prefetch_delay_no_other
        integration/test_consuming.py::test_a_reply_held_for_too_long_goes_to_the_tail_unchanged
        swf_limit_exceeded swf_slow
    """,
    "the task is closed already": """
        acceptance/test_replies.py::test_a_second_reply_is_a_duplicate
        acceptance/test_replies.py::test_a_reply_to_a_task_that_timed_out_is_late_and_its_age_is_told
        replies_twice ten_thousand_replies_at_once
    """,
    "SWF refuses the reply for good": """
        acceptance/test_replies.py::test_any_other_refusal_that_no_retry_heals_fails_the_task_and_is_parked
        acceptance/test_replies.py::test_a_result_over_the_limit_fails_the_task_and_is_parked
    """,
    "the daemon is killed or crashes": """
        systemd/test_service.py::test_killed_it_comes_back_and_has_lost_nothing
        faults/test_promises.py::test_a_poll_brings_tasks_while_rabbitmq_is_down_and_the_daemon_is_killed
        killed killed_as_it_starts
    """,
    "the daemon is asked to stop, once or twice": """
        acceptance/test_leaving.py::test_a_signal_lets_open_polls_end_and_what_they_bring_is_published
        acceptance/test_leaving.py::test_a_second_signal_leaves_at_once
        acceptance/test_leaving.py::test_what_is_left_is_published_at_the_next_start
        terminated terminated_twice
    """,
    "the daemon stands still for a while, or the clock is set": "paused clock_stepped",
    "a thread ends": """
        acceptance/test_leaving.py::test_a_part_that_dies_drains_the_others_and_ends_the_process_with_70
    """,
    "a thread hangs": """
        systemd/test_service.py::test_a_stuck_thread_is_found_its_stack_told_and_the_service_started_again
    """,
    "the HTTP port is taken": """
        acceptance/test_starting.py::test_a_port_that_is_taken_costs_a_warning
    """,
}
"""By what breaks: the tests, and the faults of `tests/faults` that strike under load."""


@cache
def functions(folder: str) -> set[str]:
    """Every function of a folder's modules, as `file::name`."""
    return {
        f"{file.relative_to(TESTS)}::{name}"
        for file in (TESTS / folder).glob("*.py")
        for name in re.findall(r"^ *def (\w+)", file.read_text(), re.MULTILINE)
    }


def faults() -> set[str]:
    """The faults that the bench knows; those of SWF are named after their kinds."""
    from tests.faults import broker_faults, daemon_faults, reply_faults, swf_faults  # noqa: F401
    from tests.faults.registry import every

    return set(every())


def test_every_line_is_shown_by_tests_and_every_fault_stands_in_a_line() -> None:
    table = rows(section(README, "## Failure at each stage"))[1:]
    assert [row[1] for row in table] == list(SHOWN_BY)
    assert faults() <= {name for names in SHOWN_BY.values() for name in names.split()}


@pytest.mark.parametrize("what", SHOWN_BY)
def test_what_shows_a_line_is_there(what: str) -> None:
    folders = "unit", "acceptance", "integration", "systemd", "faults"
    there = faults().union(*map(functions, folders))
    assert set(SHOWN_BY[what].split()) <= there
