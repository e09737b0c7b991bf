"""Ways out: what a person accepts is left out or let through, on record, and the pipeline goes on."""

import contextlib
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from fix_child import check
from fix_cli import Command, advised
from fix_others import delete_messages
from fix_pipeline import Message, World, interval, sale
from microbatch.errors import OffsetsLostError, TooManyRejectedError
from microbatch.runs import Run

WHY = ("--yes", "--reason", "we know of it")


def decisions(world: World) -> list[tuple[str, str, bool]]:
    return world.rows("select kind, reason, decided_by like '%%@%%' from microbatch.decision order by decision_id")


@pytest.fixture
def lost(world: World) -> World:
    """Partition 0 has lost two of three unread messages, partition 1 none."""
    world.run(0)
    world.send(sale("ada", 3), sale("ada", 4), sale("ada", 5), Message(sale("bob", 7), 1))
    delete_messages(world, 0, below=2)
    return world


@pytest.fixture
def refused(world: World) -> World:
    """A hundred bad messages among which are ten good ones, on two partitions; the batch has failed."""
    world.send(*([b"junk"] * 60), *([sale("ada", 1)] * 10), *(Message(b"bad", 1) for _ in range(40)))
    return world


def test_a_loss_that_a_person_accepts_is_on_record_and_the_rest_is_counted(lost: World, command: Command) -> None:
    with pytest.raises(OffsetsLostError) as error:
        lost.run(1)
    shown = command(lost, *advised(error.value), *WHY)

    assert shown.exit_code == 0, shown.output
    assert "0..1" in shown.output
    lost.run(1)
    assert lost.results() == [(0, "ada", 5, 1, True, 1), (0, "bob", 7, 1, True, 1)]
    assert decisions(lost) == [("accept-loss", "we know of it", True)]
    assert lost.rows("select kind, messages, ranges from microbatch.batch_history order by batch_id limit 1") == [
        ("loss", 0, "[0] 0..1")
    ]
    assert lost.rows("select * from microbatch.gap") == []
    check(lost)


def test_a_loss_that_was_accepted_is_not_asked_for_again(lost: World, command: Command) -> None:
    command(lost, "accept-loss", "sales", *WHY)

    again = command(lost, "accept-loss", "sales", *WHY)

    assert "nothing is lost" in again.output
    assert len(decisions(lost)) == 1


def test_what_retention_takes_after_a_loss_was_accepted_is_another_loss(lost: World, command: Command) -> None:
    command(lost, "accept-loss", "sales", *WHY)
    delete_messages(lost, 1, below=1)

    with pytest.raises(OffsetsLostError, match=r"\[1\]: offsets 0\.\.0 "):
        lost.run(1)

    command(lost, "accept-loss", "sales", *WHY)
    lost.run(1)
    assert lost.results() == [(0, "ada", 5, 1, True, 1)]
    check(lost)


def test_an_accepted_loss_is_left_out_when_batches_are_redone(lost: World, command: Command) -> None:
    command(lost, "accept-loss", "sales", *WHY)
    lost.run(1)

    redone, _ = lost.run_as(Run("sales", "redo", mode="reprocess", interval=interval(0)))

    assert [len(each.batches) for each in redone] == [1]
    check(lost)


def test_without_a_person_nothing_is_accepted(lost: World, command: Command) -> None:
    unasked = command(lost, "accept-loss", "sales")
    no_reason = command(lost, "accept-loss", "sales", "--yes")

    assert (unasked.exit_code, no_reason.exit_code) == (1, 1)
    assert "--yes and --reason" in unasked.output
    assert decisions(lost) == []
    with pytest.raises(OffsetsLostError):
        lost.run(1)


def test_rejects_that_a_person_accepts_are_dead_letters_and_the_rest_is_counted(
    refused: World, command: Command
) -> None:
    with pytest.raises(TooManyRejectedError) as error:
        refused.run(0)
    shown = command(refused, *advised(error.value), *WHY)

    assert shown.exit_code == 0, shown.output
    assert "100 of 110 messages" in shown.output
    refused.run(0)
    assert refused.results() == [(0, "ada", 10, 10, True, 1)]
    assert decisions(refused) == [("accept-rejects", "we know of it", True)]
    assert check(refused).rejected == 100


def test_accepted_rejects_are_accepted_however_the_next_batches_are_cut(refused: World, command: Command) -> None:
    with pytest.raises(TooManyRejectedError):
        refused.run(0)
    command(refused, "accept-rejects", "sales", *WHY)
    refused.send(*([sale("bob", 1)] * 51), *([b"junk"] * 50))

    refused.run(0)

    assert check(refused).rejected == 150


def test_rejects_that_come_later_count_by_themselves(refused: World, command: Command) -> None:
    with pytest.raises(TooManyRejectedError):
        refused.run(0)
    command(refused, "accept-rejects", "sales", *WHY)
    refused.send(*([sale("bob", 1)] * 49), *([b"junk"] * 51))

    with pytest.raises(TooManyRejectedError, match="51 of 100 messages"):
        refused.run(0)

    command(refused, "accept-rejects", "sales", *WHY)
    refused.run(0)
    assert check(refused).rejected == 151


def test_a_batch_that_was_stored_meanwhile_has_nothing_to_accept(refused: World, command: Command) -> None:
    with pytest.raises(TooManyRejectedError):
        refused.run(0)
    refused.replace(max_rejected=1.0).run(0)

    shown = command(refused, "accept-rejects", "sales", *WHY)

    assert "no batch waits" in shown.output
    assert decisions(refused) == []


def test_a_pipeline_that_nobody_knows_is_named(world: World, command: Command) -> None:
    world.run(0)

    shown = command(world, "accept-loss", "nobody", *WHY)

    assert shown.exit_code == 1
    assert "no pipeline 'nobody' is registered" in shown.output


def test_a_person_at_a_terminal_is_asked_and_may_say_no(lost: World, command: Command) -> None:
    command(lost, "accept-loss", "sales")  # sets where everything is

    refused = answering("accept-loss sales", {b"[y/N]": b"n\n"})
    assert b"nothing was changed" in refused
    assert decisions(lost) == []

    accepted = answering("accept-loss sales", {b"[y/N]": b"y\n", b"Why?": b"an old topic\n"})
    assert b"on record as batch" in accepted
    assert decisions(lost) == [("accept-loss", "an old topic", True)]


def answering(command: str, answers: dict[bytes, bytes]) -> bytes:
    """What a command shows on a terminal on which somebody answers its questions."""
    terminal, inner = pty.openpty()
    asking = subprocess.Popen(
        [str(Path(sys.executable).with_name("microbatch")), *command.split()], stdin=inner, stdout=inner, stderr=inner
    )
    os.close(inner)
    shown = b""
    with contextlib.suppress(OSError):  # the terminal's other side is closed when the command ends
        while some := os.read(terminal, 65536):
            shown += some
            for question in [question for question in answers if question in shown]:
                os.write(terminal, answers.pop(question))
    asking.wait(60)
    os.close(terminal)
    return shown
