"""A changed definition counts again what was counted before it: what is shown, refused, redone and sent."""

from typing import Any

import pytest

from fix_child import check
from fix_cli import Command, advised
from fix_others import delete_messages
from fix_pipeline import T0, Message, World, sale
from fix_rebuild import WHY, Rebuild, amounts_sent, as_declared, send_and_run
from microbatch.errors import DefinitionChangedError, OldDefinitionError
from modes import reprocess, work
from outside import dead_letters


@pytest.fixture
def done(world: World) -> World:
    """Three minutes of a batch each; in two of them an amount is not positive."""
    return send_and_run(world, [3, -1], [5], [7, -2])


def generations(world: World) -> list[int]:
    return [found for (found,) in world.rows("select generation from microbatch.batch order by batch_id")]


def sums(world: World) -> list[tuple[int, int, int]]:
    """Minute, amount, revision."""
    return [(minute, amount, revision) for minute, _, amount, _, _, revision in world.results()]


def mixed(world: World) -> list[tuple[Any, ...]]:
    return world.rows("select generations from aggregated_sales_mixed order by window_start")


# -- what is redone ----------------------------------------------------------------------------------------


def test_a_changed_rule_counts_everything_again_after_the_command_that_the_error_names(
    done: World, rebuild: Rebuild
) -> None:
    strict = as_declared(done, "positive sales")
    with pytest.raises(DefinitionChangedError) as error:
        strict.run(3)
    assert advised(error.value) == ["rebuild", "sales"]

    shown = rebuild(done, "positive sales", *WHY)

    assert shown.exit_code == 0, shown.output
    assert "differs: source.event.amount_usd" in shown.output
    assert "3 windows of aggregated_sales" in shown.output
    assert "3 of 3 batches redone, 5 of 5 messages" in shown.output
    assert "published 2 revisions, 2 of them corrections" in shown.output
    assert sums(done) == [(0, 3, 2), (1, 5, 1), (2, 7, 2)]
    assert (generations(done), mixed(done)) == ([2, 2, 2], [])
    assert len(dead_letters(done)) == 2
    assert done.rows("select kind, reason, details ->> 'generation' from microbatch.decision") == [
        ("rebuild", "the rule was wrong", "2")
    ]
    assert done.rows("select distinct redo_dag_id, redo_run_id from microbatch.batch") == [
        ("microbatch rebuild", "decision 1")
    ]
    assert check(strict).messages == 5
    again = rebuild(done, "positive sales", *WHY)
    assert (again.exit_code, "nothing to rebuild" in again.output) == (0, True)


def test_runs_with_the_new_file_go_on_and_those_with_the_old_one_may_not_write(done: World, rebuild: Rebuild) -> None:
    rebuild(done, "positive sales", *WHY)
    strict = as_declared(done, "positive sales")
    strict.send(Message(sale("ada", 9, T0 + 180)), Message(sale("ada", -9, T0 + 180)))

    with pytest.raises(OldDefinitionError, match="Run it again with the current DAG file"):
        done.run(3)
    strict.run(3)

    assert sums(done)[-1] == (3, 9, 1)
    check(strict)


def test_what_was_rebuilt_can_be_rebuilt_back(done: World, rebuild: Rebuild) -> None:
    rebuild(done, "positive sales", *WHY)

    assert rebuild(done, "sales", *WHY).exit_code == 0

    assert [(minute, amount) for minute, amount, _ in sums(done)] == [(0, 2), (1, 5), (2, 5)]
    assert generations(done) == [3, 3, 3]
    check(done)


def test_an_added_measure_is_filled_in_by_corrections_and_is_no_new_generation(done: World, rebuild: Rebuild) -> None:
    shown = rebuild(done, "sales with their largest", *WHY)

    assert "published 3 revisions, 3 of them corrections" in shown.output
    assert done.rows("select largest, revision, is_final from aggregated_sales order by window_start") == [
        (3, 2, True),
        (5, 2, True),
        (7, 2, True),
    ]
    assert generations(done) == [1, 1, 1]
    check(as_declared(done, "sales with their largest"))


def test_a_measure_that_a_run_has_added_is_filled_in_by_the_same_command(done: World, rebuild: Rebuild) -> None:
    wider = as_declared(done, "sales with their largest")
    wider.run(3)

    shown = rebuild(done, "sales with their largest", *WHY)

    assert "its definition is registered; these batches were counted by an earlier one" in shown.output
    assert done.rows("select count(largest) from aggregated_sales") == [(3,)]


# -- what cannot be --------------------------------------------------------------------------------------------


def test_other_windows_are_refused_before_anything_is_asked(done: World, rebuild: Rebuild) -> None:
    shown = rebuild(done, "sales of two minutes")

    assert shown.exit_code == 1
    assert "outputs.0.size_s: 60 -> 120; nothing was changed. Undo that, or give the changed pipeline another name" in (
        shown.output
    )
    assert done.rows("select generation from microbatch.pipeline") == [(1,)]


def test_without_a_word_of_a_person_nothing_changes(done: World, rebuild: Rebuild) -> None:
    shown = rebuild(done, "positive sales")

    assert (shown.exit_code, "nothing was changed: --yes and --reason" in shown.output) == (1, True)
    assert done.rows("select count(*) from microbatch.decision") == [(0,)]
    done.run(3)


def test_batches_whose_messages_are_deleted_are_an_error_that_names_the_beginning_that_works(
    done: World, rebuild: Rebuild
) -> None:
    delete_messages(done, partition=0, below=1)
    before = done.results()

    refused = rebuild(done, "positive sales", *WHY)
    assert refused.exit_code == 1
    assert "1 batches were deleted by retention; they stay as they are" in refused.output
    assert "What is younger can be: --from 2026-11-21T10:00:01Z" in refused.output
    assert (done.results(), generations(done)) == (before, [1, 1, 1])
    assert done.rows("select generation, (select count(*) from microbatch.decision) from microbatch.pipeline") == [
        (1, 0)
    ]

    shown = rebuild(done, "positive sales", *WHY, "--from", "2026-11-21T10:00:01Z")
    assert shown.exit_code == 0, shown.output
    assert sums(done) == [(0, 2, 1), (1, 5, 1), (2, 7, 2)]
    assert generations(done) == [1, 2, 2]
    again = rebuild(done, "positive sales", *WHY, "--from", "2026-11-21T10:00:01Z")
    assert "nothing to rebuild" in again.output


def test_results_that_two_definitions_feed_are_marked_until_the_rest_is_redone(
    done: World, rebuild: Rebuild, command: Command
) -> None:
    done.send(Message(sale("ada", 4, T0), at_s=T0 + 150))
    done.run(3)

    shown = rebuild(done, "positive sales", *WHY, "--from", "2026-11-21T10:01:00Z", "--to", "2026-11-21T11:00:00Z")
    assert "1 results of aggregated_sales also sum batches that were not redone" in shown.output
    assert mixed(done) == [([1, 2],)]
    told = command(done, "explain", "aggregated_sales", "ada", "--window", "2026-11-21T10:00:00Z").output
    assert "By a definition from before a rebuild: batches 1 (" in told
    assert sums(done)[0][:2] == (0, 6)
    check(as_declared(done, "positive sales"))

    rest = rebuild(done, "positive sales", *WHY)
    assert "its definition is registered; these batches were counted by an earlier one" in rest.output
    assert (mixed(done), sums(done)[0][:2]) == ([], (0, 7))
    check(as_declared(done, "positive sales"))


# -- rows on the topic of a stream -----------------------------------------------------------------------------


@pytest.mark.parametrize(("rows", "strict"), [("rows", "positive rows"), ("sent rows", "positive sent rows")])
def test_a_message_that_is_accepted_after_it_was_rejected_is_sent_once_however_often_that_changes(
    world: World, rebuild: Rebuild, rows: str, strict: str
) -> None:
    first = send_and_run(as_declared(world, strict), [1, -2], [3])
    assert amounts_sent(first) == [1, 3]

    for kind in (rows, strict, rows):
        shown = rebuild(first, kind, *WHY)
        assert shown.exit_code == 0, shown.output
        assert amounts_sent(first) == [1, 3, -2]
        check(as_declared(first, kind))

    assert first.rows("select resolved, row_sent from microbatch.reject") == [(True, True)]


@pytest.mark.parametrize(("rows", "strict"), [("rows", "positive rows"), ("sent rows", "positive sent rows")])
def test_a_message_that_is_accepted_again_was_sent_before_it_was_rejected(
    world: World, rebuild: Rebuild, rows: str, strict: str
) -> None:
    first = send_and_run(as_declared(world, rows), [1, -2])

    for kind in (strict, rows):
        rebuild(first, kind, *WHY)
        assert amounts_sent(first) == [1, -2]
        check(as_declared(first, kind))


def test_a_message_that_was_filtered_and_passes_is_sent_once_if_the_stream_has_a_table(
    world: World, rebuild: Rebuild
) -> None:
    first = send_and_run(as_declared(world, "large rows"), [1, 20])

    for kind in ("rows", "large rows", "rows"):
        rebuild(first, kind, *WHY)
        assert amounts_sent(first) == [20, 1]
        check(as_declared(first, kind))


def test_without_a_table_a_message_that_was_filtered_and_passes_counts_and_is_not_sent(
    world: World, rebuild: Rebuild
) -> None:
    first = send_and_run(as_declared(world, "large sent rows"), [1, 20])

    rebuild(first, "sent rows", *WHY)

    assert amounts_sent(first) == [20]
    assert first.rows("select sales from sale_counts") == [(2,)]
    check(as_declared(first, "sent rows"))


@pytest.mark.parametrize(
    ("rows", "strict"), [("first rows", "first large rows"), ("first sent rows", "first large sent rows")]
)
def test_the_first_of_a_key_is_the_one_in_the_earliest_batch_that_passes_now(
    world: World, rebuild: Rebuild, rows: str, strict: str
) -> None:
    first = send_and_run(as_declared(world, strict), [1], [20], [30])
    assert amounts_sent(first) == [20]

    for kind, counted in ((rows, [(0, 1)]), (strict, [(1, 1)]), (rows, [(0, 1)])):
        shown = rebuild(first, kind, *WHY)
        assert shown.exit_code == 0, shown.output
        assert first.rows("select extract(epoch from window_start)::int, sales from sale_counts") == [
            (T0 + 60 * minute, count) for minute, count in counted
        ]
        assert amounts_sent(first) == [20, 1]
        check(as_declared(first, kind))


def test_a_key_of_a_batch_that_is_redone_later_than_another_goes_over_to_it(world: World, rebuild: Rebuild) -> None:
    """A reprocess has redone the later batch, and the key is its own, when the rebuild comes to the earlier one."""
    strict, wide = as_declared(world, "first large rows"), as_declared(world, "first rows")
    first = send_and_run(strict, [1], [2])
    rebuild(first, "first rows", *WHY, "--from", "2026-11-21T10:01:00Z")
    assert first.rows("select batch_id from sale_rows_key") == [(2,)]
    work(wide, reprocess(60, 120))

    rebuild(first, "first rows", *WHY)

    assert first.rows("select batch_id from sale_rows_key") == [(1,)]
    assert first.rows("select sales from sale_counts") == [(1,)]
    assert generations(first) == [2, 2]
    check(wide)
