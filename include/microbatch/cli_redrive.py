"""The command that sends dead letters to their topic again."""

from datetime import timedelta
from typing import Final

from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

from microbatch.checking import LATE
from microbatch.cli_asking import agreed
from microbatch.deciding import Known, known, session
from microbatch.event import EPOCH
from microbatch.modes import bounds_of
from microbatch.redriving import Choice, Found, Redrive
from microbatch.settings import connections

SHOWN_REASONS: Final = 20


def redrive(name: str, rejected_for: str, start: str | None, end: str | None, reason: str | None, *, yes: bool) -> None:
    """Show which dead letters would go back to their topic, ask, and let the next publish send them."""
    there = connections()
    choice = Choice(rejected_for, *bounds_of(start, end))
    waiting = Console(stderr=True)
    with session(there, f"{name} redrive") as connection, waiting.status("reading the dead letters"):
        pipeline = known(connection, there.deployment, name)
        found = Redrive(connection, pipeline, there, choice).look()
    _show(pipeline, found)
    if not found.messages:
        print(f"{name}: nothing to send again")
        return
    why = agreed(f"Send these {found.messages:,} messages to {pipeline.source_topic} again?", reason, yes=yes)
    # A session of its own: the answer may have taken longer than an idle one lives.
    with session(there, f"{name} redrive") as connection, waiting.status("writing them into the outbox"):
        decision_id = Redrive(connection, pipeline, there, choice).send(found, why)
    print(
        f"on record as decision {decision_id}; {found.messages:,} messages are in the outbox. The next run sends them, "
        f"and the one after it reads them; to send them now: microbatch run {name}"
    )


def _show(pipeline: Known, found: Found) -> None:
    table = Table(
        Column("rejected for", overflow="fold"),
        Column("messages", justify="right", no_wrap=True),
    )
    reasons = sorted(found.reasons.items(), key=lambda item: (-item[1], item[0]))
    for text, count in reasons[:SHOWN_REASONS]:
        table.add_row(escape(text), f"{count:,}")
    if left := reasons[SHOWN_REASONS:]:
        table.add_row(f"[dim]{len(left):,} other reasons[/dim]", f"{sum(count for _, count in left):,}")
    console = Console(highlight=False)
    if found.messages:
        letters = pipeline.definition["dead_letters"]
        print(f"dead letters of {pipeline.name} in {letters}, to be sent to {pipeline.source_topic} again:")
        console.print(table)
    for line in _notes(pipeline, found):
        console.print(line, markup=False, soft_wrap=True)


def _notes(pipeline: Known, found: Found) -> list[str]:
    notes = []
    if found.oldest_ms is not None and found.newest_ms is not None:
        notes.append(f"Their timestamps, which they keep: {_time(found.oldest_ms)} to {_time(found.newest_ms)} UTC.")
    if found.redriven_before:
        notes.append(f"Sent again before, and not once more: {found.redriven_before:,}.")
    if found.missing:
        unsent = " or it is not sent and committed yet (run the pipeline, then look again)" if found.unsent else ""
        notes.append(
            f"Rejects whose dead letter is not there, for retention has deleted it{unsent}: {found.missing:,}."
        )
    if LATE in found.reasons:
        notes.append(f"Those that were too late will be too late again: {found.reasons[LATE]:,}.")
    if found.messages:
        topic = pipeline.source_topic
        notes.append(f"Every reader of {topic} gets them again, other pipelines too; {pipeline.name} counts them anew.")
    return notes


def _time(timestamp_ms: int) -> str:
    try:
        return f"{EPOCH + timedelta(milliseconds=timestamp_ms):%Y-%m-%d %H:%M:%S}"
    except OverflowError:
        return f"{timestamp_ms} ms"
