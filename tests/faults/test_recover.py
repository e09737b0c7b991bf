"""`microbatch recover` where the group's cursor is not what the ledger has left there: runs go on, nothing is lost."""

import pytest

from fix_child import Children, check
from fix_cli import Command
from fix_late import MESSAGES, RESULTS
from fix_others import cursor, delete_offsets, overwrite_cursor, sent
from fix_pipeline import World
from fix_recover import POINTS, WHY, stopped
from microbatch.crash import CrashPoint
from microbatch.errors import CursorUnexplainedError


@pytest.mark.parametrize("metadata", ["", "somebody was here", '{"ledger": "x", "publication": 1}'])
def test_an_overwritten_cursor_is_written_again_and_runs_go_on(late: World, command: Command, metadata: str) -> None:
    overwrite_cursor(late, metadata)
    words, before = stopped(late), sent(late)

    done = command(late, *words, *WHY)

    assert done.exit_code == 0, done.output
    assert "nothing is missing" in done.output
    assert sent(late) == before
    assert '"publication":' in cursor(late).metadata
    late.run(1)
    assert late.results() == RESULTS
    assert check(late).messages == MESSAGES
    assert late.rows("select kind, reason, details ->> 'case' from microbatch.decision") == [
        ("recover", "we know of it", "Overwritten")
    ]


def test_an_older_cursor_of_ours_is_written_again(late: World, command: Command) -> None:
    """Somebody has put back what the group had before."""
    older = cursor(late).metadata
    late.run(1)
    overwrite_cursor(late, older)
    with pytest.raises(CursorUnexplainedError):
        late.run(2)

    command(late, "recover", "sales", *WHY)

    late.run(2)
    assert check(late).messages == MESSAGES


@pytest.mark.parametrize(
    ("point", "was_sent"), [("publish.after_kafka_commit", True), ("publish.before_kafka_commit", False)]
)
def test_what_was_about_to_be_sent_is_settled_by_our_messages(
    late: World, children: Children, command: Command, point: CrashPoint, was_sent: bool
) -> None:
    run = late.run_of(1, "killed")
    assert children.start(late, run, crash=point).died_by_kill()
    children.start(late, run, crash="publish.after_fence").died_by_kill()  # settles the open transaction
    overwrite_cursor(late, "somebody was here")

    done = command(late, "recover", "sales", *WHY)

    assert ("were sent, and are marked now" in done.output) == was_sent
    assert bool(children.succeed(late, run).sent) != was_sent
    assert check(late).messages == MESSAGES


def test_without_a_yes_and_a_reason_nothing_is_changed(late: World, command: Command) -> None:
    overwrite_cursor(late, "somebody was here")

    asked = command(late, "recover", "sales")

    assert asked.exit_code == 1
    assert "somebody was here" in asked.output
    assert cursor(late).metadata == "somebody was here"
    assert late.rows("select * from microbatch.decision") == []


@pytest.mark.parametrize("is_deleted", [False, True])
def test_where_nothing_is_wrong_nothing_is_recovered(late: World, command: Command, is_deleted: bool) -> None:
    """A cursor that is missing is explained by publish itself."""
    if is_deleted:
        delete_offsets(late)

    done = command(late, "recover", "sales", *WHY)

    assert "nothing to recover" in done.output
    assert late.rows("select * from microbatch.decision") == []
    late.run(1)
    check(late)


@pytest.mark.parametrize("point", POINTS)
def test_a_recovery_that_is_killed_is_finished_by_the_next(
    late: World, children: Children, command: Command, point: CrashPoint
) -> None:
    overwrite_cursor(late, "somebody was here")
    assert children.start(late, late.run_of(1), task="recover", crash=point).died_by_kill()

    done = command(late, "recover", "sales", *WHY)

    assert done.exit_code == 0, done.output
    assert ("nothing to recover" in done.output) == (point == "recover.after_cursor")
    late.run(1)
    assert check(late).messages == MESSAGES


def test_a_publish_that_runs_meanwhile_waits_and_goes_on(late: World, children: Children) -> None:
    overwrite_cursor(late, "somebody was here")
    recovery = children.start(late, late.run_of(1), task="recover", crash="recover.before_commit:stop")
    recovery.wait_until_stopped()
    run = children.start(late, late.run_of(1, "meanwhile"))

    recovery.go_on()

    assert not recovery.outcome().error, recovery.outcome()
    assert not run.outcome().error, run.outcome()
    assert check(late).messages == MESSAGES
