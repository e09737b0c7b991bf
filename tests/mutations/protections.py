"""The protections of the engine, each with an edit that takes it away and the tests that must notice."""

from typing import Final

import msgspec


class Edit(msgspec.Struct, frozen=True):
    """A text of one file that is replaced; it has to be there exactly once."""

    file: str
    old: str
    new: str


class Mutation(msgspec.Struct, frozen=True):
    """An engine without a protection.

    Attributes:
        name: of the protection.
        edits: what takes it away.
        tests: of which at least one has to fail.
        model: what the model of the protocol calls it, if it knows it.
    """

    name: str
    edits: tuple[Edit, ...]
    tests: tuple[str, ...]
    model: tuple[str, ...] = ()


def _edit(file: str, old: str, new: str) -> Edit:
    return Edit(f"include/microbatch/{file}", old, new)


_CONSTRAINT: Final = _edit(
    "sql/migrations/0001_ledger.sql",
    """    constraint offset_counts_once exclude using gist (
        pipeline_id with =,
        topic_id with =,
        partition with =,
        offsets with &&
    )""",
    "    check (true)",
)
_SHARD_LOCK: Final = _edit(
    "sql/ledger.sql", "select pg_advisory_xact_lock(%(pipeline_id)s, 2 + %(shard)s::int);", "select 1;"
)
_ROW_OF_BATCH: Final = _edit(
    "sql/ledger.sql",
    """from microbatch.batch
where batch_id = %(batch_id)s
for update;""",
    """from microbatch.batch
where batch_id = %(batch_id)s;""",
)
_STOPPED: Final = (
    "tests/faults/test_overlaps.py::test_a_batch_whose_process_is_stopped_is_rolled_back_and_the_next_in_line_goes_on"
)
_VANISHES: Final = (
    "tests/integration/test_formats.py::test_a_result_that_vanishes_is_a_tombstone_with_a_revision_and_may_come_back"
)
_REBUILD: Final = "tests/integration/test_rebuild.py"
_FLUSH: Final = "        for item in self._claim.ranges:\n            self._letters[item].flush()\n"
_COMMIT: Final = '        self._connection.execute("commit")\n        self._connection.execute("begin")\n'

MUTATIONS: Final = (
    # -- claim, read, store --------------------------------------------------------------------------------------
    Mutation(
        "exclusion constraint and shard lock",
        (_CONSTRAINT, _SHARD_LOCK),
        ("tests/faults/test_overlaps.py",),
        ("exclusion", "shard_lock"),
    ),
    Mutation(
        "exclusion constraint",
        (_CONSTRAINT,),
        ("tests/faults/test_overlaps.py::test_ranges_of_two_shard_layouts_that_overlap_are_refused_by_the_database",),
        ("exclusion",),
    ),
    Mutation(
        "shard lock",
        (_SHARD_LOCK,),
        ("tests/faults/test_unprotected.py::test_the_lock_alone_keeps_a_message_from_counting_twice",),
        ("shard_lock",),
    ),
    Mutation(
        "idle_in_transaction_session_timeout",
        (
            _edit(
                "sql/ledger.sql",
                "set_config('idle_in_transaction_session_timeout', %(idle_in_transaction)s, false),",
                "",
            ),
        ),
        (_STOPPED,),
        ("idle_timeout",),
    ),
    Mutation(
        "whoever waits ends a holder that is stopped inside COPY",
        (_edit("postgres.py", 'connection.execute(_LEDGER["terminate_stuck_holders"], stuck)', "pass"),),
        (_STOPPED,),
    ),
    Mutation(
        "catching up reads all that is uncovered, not only what is above the highest covered offset",
        (
            _edit(
                "sql/ledger.sql",
                "    select coalesce(wanted.start_offset, g.covered_until) as start_offset\n",
                """    select coalesce(
        wanted.start_offset,
        (
            select max(upper(above.offsets))
            from microbatch.offset_range as above
            where
                above.pipeline_id = g.pipeline_id
                and above.topic_id = g.topic_id
                and above.partition = g.partition
        ),
        g.covered_until
    ) as start_offset
""",
            ),
        ),
        ("tests/integration/test_intervals.py",),
        ("complement",),
    ),
    Mutation(
        "reading is read_committed",
        (_edit("reading.py", '"isolation.level": "read_committed"', '"isolation.level": "read_uncommitted"'),),
        ("tests/faults/test_source.py",),
        ("read_committed",),
    ),
    Mutation(
        "reading ends at the last stable offset",
        (
            _edit(
                "claiming.py",
                "wanted, {p: at.last_stable for p, at in ends.items()})",
                "wanted, {p: at.high_watermark for p, at in ends.items()})",
            ),
        ),
        ("tests/faults/test_source.py",),
        ("read_committed",),
    ),
    Mutation(
        "what is stored and what is sent of a batch are in its transaction",
        (
            _edit(
                "storing.py",
                _FLUSH,
                _COMMIT + _FLUSH,
            ),
        ),
        ("tests/faults/test_crashes.py",),
        ("segments_tx",),
    ),
    Mutation(
        "the definition's lock and hash",
        (_edit("claiming.py", "    if found != (pipeline.name, registration.definition_hash):\n", "    if False:\n"),),
        ("tests/integration/test_path.py::test_a_task_with_an_old_definition_may_not_write",),
        ("definition_lock",),
    ),
    Mutation(
        "unread messages that retention has deleted are an error",
        (_edit("claiming.py", "        if item.start < low:\n", "        if False:\n"),),
        ("tests/faults/test_source.py",),
    ),
    Mutation(
        "after reading, the source is looked at again",
        (
            _edit(
                "batching.py",
                "        _fill(task, claim, store, refuse_lost)\n    _look_again(task, claim, refuse_lost)\n",
                "        _fill(task, claim, store, refuse_lost)\n",
            ),
        ),
        ("tests/faults/test_source.py",),
    ),
    Mutation(
        "a log that ends before what is covered is refused",
        (_edit("claiming.py", "    if ends.high_watermark < covered:\n", "    if False:\n"),),
        ("tests/integration/test_path.py::test_a_log_that_ends_before_what_is_counted_is_refused",),
    ),
    # -- what is final ---------------------------------------------------------------------------------------------
    Mutation(
        "caught_up_to is written when nothing below the looked-at end is uncovered",
        (_edit("sql/ledger.sql", "        when ahead.covered_until >= ahead.looked_at_end\n", "        when true\n"),),
        ("tests/faults/test_source.py", "tests/integration/test_path.py"),
        ("caught_up",),
    ),
    Mutation(
        "the looked-at end is the high watermark",
        (
            _edit(
                "consume.py",
                "    ends = {partition: found[partition].high_watermark for partition in task.partitions}\n",
                "    ends = {partition: found[partition].last_stable for partition in task.partitions}\n",
            ),
        ),
        ("tests/faults/test_source.py",),
        ("high_watermark",),
    ),
    Mutation(
        "windows close when all partitions are caught up",
        (_edit("sql/outbox.sql", "min(g.caught_up_to)", "max(g.caught_up_to)"),),
        ("tests/integration/test_path.py",),
        ("all_partitions",),
    ),
    Mutation(
        "nothing before complete_from is final",
        (
            _edit(
                "sql/windows.sql",
                " and t.window_start >= %(complete_from)s::timestamptz, false\n",
                ", false\n",
            ),
        ),
        ("tests/integration/test_start.py",),
        ("complete_from", "closed_partial"),
    ),
    Mutation(
        "complete_from is later by max_future",
        (
            _edit(
                "registration.py",
                "    return pipeline.max_future if pipeline.source.event_time is not None else timedelta(0)\n",
                "    return timedelta(0)\n",
            ),
        ),
        ("tests/integration/test_start.py", "tests/integration/test_intervals.py"),
        ("ahead",),
    ),
    Mutation(
        "history is complete when nothing from its start to first_offset is uncovered",
        (
            _edit(
                "sql/ledger.sql",
                "                <@ coalesce(range_agg(r.offsets), '{}')\n",
                "                is not null and count(*) >= 0\n",
            ),
        ),
        ("tests/integration/test_intervals.py",),
        ("joined",),
    ),
    Mutation(
        "intervals of history leave notes until they are joined",
        (_edit("sql/ledger.sql", "    and s.complete_from >= g.complete_from;\n", "    and true;\n"),),
        ("tests/integration/test_intervals.py",),
        ("notes",),
    ),
    Mutation(
        "what retention may have shortened makes no history complete",
        (
            _edit(
                "consume.py",
                "        _reach_back(task, whole, interval[0])\n",
                "        _reach_back(task, wanted, interval[0])\n",
            ),
        ),
        ("tests/integration/test_odd_intervals.py",),
    ),
    Mutation(
        "a pipeline is complete from where its last partition is",
        (
            _edit(
                "sql/ledger.sql", "        max(g.complete_from) as latest\n", "        min(g.complete_from) as latest\n"
            ),
        ),
        ("tests/integration/test_intervals.py",),
        ("all_joined",),
    ),
    # -- redo ----------------------------------------------------------------------------------------------------------
    Mutation(
        "a redo locks the batch's row, and the shard's lock",
        (_ROW_OF_BATCH, _SHARD_LOCK),
        ("tests/integration/test_reprocess.py",),
        ("redo_row", "shard_lock"),
    ),
    Mutation(
        "a redo locks the batch's row",
        (_ROW_OF_BATCH,),
        ("tests/integration/test_reprocess.py",),
        ("redo_row",),
    ),
    Mutation(
        "a redo replaces contributions",
        (
            _edit(
                "storing.py",
                '            self._connection.execute(tables.compose("erase_contributions"), batch)\n',
                "",
            ),
        ),
        ("tests/integration/test_reprocess.py::test_reprocessing_twice_changes_nothing_and_sends_nothing",),
        ("replace",),
    ),
    Mutation(
        "a redo touches the old windows too",
        (
            _edit(
                "storing.py",
                '            self._connection.execute(tables.compose("touch_windows_of_batch"), touched)\n',
                "            del touched\n",
            ),
        ),
        (_VANISHES, "tests/integration/test_reprocess.py"),
        ("touch_old",),
    ),
    Mutation(
        "a redo sends dead letters only of messages that were not rejected before",
        (
            _edit(
                "storing.py",
                "{(partition, offset): row_sent for partition, offset, row_sent in rows}",
                "{}",
            ),
        ),
        ("tests/integration/test_reprocess.py",),
        ("new_rejects",),
    ),
    Mutation(
        "a redo of which fewer messages are left is refused",
        (_edit("redoing.py", "        if found < recorded:\n", "        if False:\n"),),
        ("tests/integration/test_reprocess.py",),
    ),
    # -- merge ---------------------------------------------------------------------------------------------------------
    Mutation(
        "merge closes what it has read before it sums, and nothing that could be closed since",
        (
            _edit(
                "merging.py",
                '            crash_point("publish.after_totals")\n',
                '            crash_point("publish.after_totals")\n            self._close()\n',
            ),
        ),
        ("tests/faults/test_merges.py",),
        ("close_first",),
    ),
    Mutation(
        "merge takes what was touched before it sums",
        (
            _edit(
                "sql/outbox.sql",
                """delete from microbatch.touched
where pipeline_id = %(pipeline_id)s
returning
    output,
    batch_id,
    window_start;""",
                """select
    output,
    batch_id,
    window_start
from microbatch.touched
where pipeline_id = %(pipeline_id)s;""",
            ),
            _edit(
                "merging.py",
                '            crash_point("publish.after_totals")\n',
                '            crash_point("publish.after_totals")\n'
                '            self._connection.execute("delete from microbatch.touched")\n',
            ),
        ),
        ("tests/faults/test_merges.py",),
        ("touched_first",),
    ),
    Mutation(
        "merge is one transaction",
        (
            _edit(
                "merging.py",
                "            touched = self._take_touched()\n",
                "            touched = self._take_touched()\n" + _COMMIT.replace("        self", "            self"),
            ),
        ),
        ("tests/faults/test_crashes.py",),
        ("merge_tx",),
    ),
    Mutation(
        "the keys of a window are those of its contributions and of its results",
        (
            _edit(
                "sql/windows.sql",
                """    select {r_key}
    from {result} as r
    where r.window_start = any(%(whole_windows)s::timestamptz[])
    union
""",
                "",
            ),
        ),
        (_VANISHES, "tests/integration/test_reprocess.py"),
        ("all_keys",),
    ),
    Mutation(
        "a run that ends behind shows what it has",
        (
            _edit(
                "merging.py",
                '"open_windows": ended_behind or output.emit == "early"',
                '"open_windows": output.emit == "early"',
            ),
        ),
        ("tests/integration/test_path.py::test_a_run_out_of_budget_shows_what_it_has_and_the_next_one_goes_on",),
        ("behind",),
    ),
    Mutation(
        "only what has changed is published",
        (
            _edit(
                "sql/windows.sql",
                "            else (f.is_final, {t_measures}) is distinct from (r.is_final, {r_measures})\n",
                "            else true\n",
            ),
        ),
        ("tests/integration/test_reprocess.py", "tests/integration/test_path.py"),
        ("only_changes",),
    ),
    Mutation(
        "revisions go on after a retraction",
        (
            _edit(
                "sql/windows.sql",
                """            select coalesce(max(h.revision), 0) + 1
            from {history} as h
            where ({h_key}) = ({t_key})
""",
                "            select coalesce(r.revision, 0) + 1\n",
            ),
        ),
        (_VANISHES,),
        ("revisions_go_on",),
    ),
    Mutation(
        "segments above a gap wait for it",
        (_edit("sql/outbox.sql", "s.start_offset < g.covered_until", "true"),),
        ("tests/integration/test_intervals.py::test_dead_letters_above_a_gap_wait_until_it_is_filled",),
        ("hold_back", "one_statement", "numbered_by_merge"),
    ),
    # -- send ----------------------------------------------------------------------------------------------------------
    Mutation(
        "publish lock",
        (_edit("sql/ledger.sql", "select pg_advisory_lock(%(pipeline_id)s, 0);", "select 1;"),),
        ("tests/faults/test_zombies.py", "tests/faults/test_overlaps.py"),
        ("publish_lock",),
    ),
    Mutation(
        "a session of one's own",
        (_edit("registration.py", "refuse_shared_sessions(connection, connections.postgres)", "pass"),),
        ("tests/integration/test_pgbouncer.py::test_a_mode_without_sessions_is_refused_before_anything_is_done",),
    ),
    Mutation(
        "idle_session_timeout",
        (_edit("sql/ledger.sql", "set_config('idle_session_timeout', %(idle_session)s, false),", ""),),
        ("tests/faults/test_zombies.py",),
        ("session_timeout",),
    ),
    Mutation(
        "fencing by one transactional.id",
        (_edit("sending.py", '"transactional.id": self._name,', '"transactional.id": f"{self._name}.{monotonic()}",'),),
        ("tests/faults/test_zombies.py", "tests/faults/test_crashes.py"),
        ("fencing",),
    ),
    Mutation(
        "settling by the cursor",
        (_edit("sending.py", "            self._settle(group)\n", ""),),
        ("tests/faults/test_crashes.py",),
        ("cursor",),
    ),
    Mutation(
        "the intent is recorded before a lot is sent",
        (
            _edit(
                "sending.py",
                '            self._connection.execute(_OUTBOX["intend"], {**self._facts, "number": last})\n',
                "",
            ),
        ),
        ("tests/faults/test_crashes.py",),
        ("intent",),
    ),
    Mutation(
        "the cursor names the ledger",
        (
            _edit(
                "sending.py",
                "        if intent is not None and found == Cursor(ledger, intent):\n",
                """        if isinstance(found, Cursor):
            found = Cursor(ledger, found.publication)
        if intent is not None and found == Cursor(ledger, intent):
""",
            ),
        ),
        ("tests/faults/test_sending.py",),
        ("ledger_uuid",),
    ),
    Mutation(
        "cursor and messages are in one Kafka transaction",
        (
            _edit(
                "sending.py",
                "        positions, metadata = self._positions(number), group.metadata()\n",
                """        producer.commit_transaction(FENCE_TIMEOUT_S)
        crash_point("publish.before_kafka_commit")
        producer.begin_transaction()
        positions, metadata = self._positions(number), group.metadata()
""",
            ),
        ),
        ("tests/faults/test_crashes.py",),
        ("atomic_offsets",),
    ),
    Mutation(
        "the consumer that asks for the cursor waits for pending offsets",
        (_edit("settling.py", '"isolation.level": "read_committed"', '"isolation.level": "read_uncommitted"'),),
        ("tests/faults/test_unprotected.py",),
        ("stable",),
    ),
    Mutation(
        "a missing cursor is explained by the newest message",
        (_edit("sending.py", "found = group.newest(", "found = None and group.newest("),),
        ("tests/faults/test_sending.py",),
        ("tail_check",),
    ),
    Mutation(
        "sending asks for the cluster's id",
        (_edit("sending.py", "        if row != (found,):\n", "        if False:\n"),),
        ("tests/faults/test_sending.py",),
        ("cluster_check",),
    ),
    # -- rebuild -------------------------------------------------------------------------------------------------
    Mutation(
        "a rebuild raises the generation",
        (_edit("sql/rebuilding.sql", "    generation = %(generation)s\n", "    generation = generation\n"),),
        (f"{_REBUILD}::test_a_changed_rule_counts_everything_again_after_the_command_that_the_error_names",),
    ),
    Mutation(
        "a rebuild leaves what another one has redone",
        (_edit("rebuild_work.py", "lambda done: done.is_current", "lambda _: False"),),
        ("tests/faults/test_rebuild.py::test_two_that_rebuild_at_once_redo_each_batch_once",),
    ),
    Mutation(
        "a rebuild refuses what it cannot redo",
        (_edit("cli_rebuild.py", "    refuse_hindered(name, found.left)\n", ""),),
        (f"{_REBUILD}::test_batches_whose_messages_are_deleted_are_an_error_that_names_the_beginning_that_works",),
    ),
    Mutation(
        "a file from before a rebuild is told so",
        (
            _edit(
                "sql/ledger.sql",
                "        and details ->> 'replaced' = %(definition_hash)s",
                "        and details ->> 'replaced' = ''",
            ),
        ),
        (f"{_REBUILD}::test_runs_with_the_new_file_go_on_and_those_with_the_old_one_may_not_write",),
    ),
    Mutation(
        "a row that a redo accepts goes to the topic",
        (_edit("resending.py", "            return not self._rejected[place]\n", "            return False\n"),),
        (f"{_REBUILD}::test_a_message_that_is_accepted_after_it_was_rejected_is_sent_once_however_often_that_changes",),
    ),
    Mutation(
        "a row that a redo has sent is not sent again",
        (_edit("resending.py", "        if resolved:\n", "        if False:\n"),),
        (f"{_REBUILD}::test_a_message_that_is_accepted_after_it_was_rejected_is_sent_once_however_often_that_changes",),
    ),
    Mutation(
        "the row of a message that a redo rejects is known to be sent",
        (
            _edit(
                "resending.py",
                '            self._connection.execute(_RESENDING["mark_passed_rejects"], self._facts)\n',
                "",
            ),
            _edit("storing.py", "not self._sent.is_known\n", "False\n"),
        ),
        (f"{_REBUILD}::test_a_message_that_is_accepted_again_was_sent_before_it_was_rejected",),
    ),
    Mutation(
        "the row of a message that a redo leaves out is known to be sent",
        (
            _edit(
                "resending.py",
                '            self._connection.execute(_RESENDING["note_passed_before"], self._facts)\n',
                "",
            ),
        ),
        (f"{_REBUILD}::test_a_message_that_was_filtered_and_passes_is_sent_once_if_the_stream_has_a_table",),
    ),
    Mutation(
        "an earlier batch takes a key from a later one",
        (_edit("stream_tables.py", "        if redone is not None:\n", "        if False:\n"),),
        (f"{_REBUILD}::test_the_first_of_a_key_is_the_one_in_the_earliest_batch_that_passes_now",),
    ),
    Mutation(
        "a batch that has lost a key is redone",
        (
            _edit(
                "sql/streams.sql",
                "    set generation = least(b.generation, p.generation - 1)\n",
                "    set generation = b.generation\n",
            ),
        ),
        (f"{_REBUILD}::test_a_key_of_a_batch_that_is_redone_later_than_another_goes_over_to_it",),
    ),
)

NOT_ALONE: Final = {
    "register": "registering is one function; tests/integration/test_start.py has what it promises",
    "hold_back_low": "the same condition of number_segments as hold_back",
    "one_range": "a segment is made for each range; there is no other place that could join them",
    "one_session": "there is one connection in publish, and nothing that could open another",
    "renew_fenced": "renewing is the same function as sending",
}
"""Protections of the model that the code has no separate line for, and why."""
