"""The command that goes from a published number back to where it comes from. Times are UTC."""

import sys
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import msgspec
import psycopg
from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

from microbatch.cli_data import ask, kafka_at, shown_text
from microbatch.cli_watch import moment
from microbatch.decoding import Message
from microbatch.errors import RunParamsError
from microbatch.event import EPOCH
from microbatch.explaining import Batch, Explainer, Explanation, Revision
from microbatch.settings import deployment, schema_registry_settings

NONE: Final = "-"
_SHOWN_BATCHES: Final = 20


def explain(at: dict[str, str], table: str, key: list[str], window: str, dags: Path | None) -> None:
    """Print a result's revisions and batches, and with a folder of DAG files the messages that it is made of."""
    wanted = _moment(window)
    # A file or a pipe has no width: nothing is folded there.
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 10_000)
    with ask(at) as connection:
        found = Explainer(connection, deployment()).explain(table, key, wanted)
        for line in (*_title(found), *_revisions(found.revisions)):
            console.print(line, markup=False)
        console.print(f"what was summed, of {found.output.source_topic}:", markup=False)
        console.print(_batch_table(found))
        for line in _notes(found):
            console.print(line, markup=False)
        if dags is not None:
            _print_messages(connection, found, at, dags)


def _title(found: Explanation) -> Iterator[str]:
    key = ", ".join(f"{name} {_shown(value)}" for name, value in found.key.items())
    start, end = found.window
    until = moment(end, start)
    yield f"{found.output.table} of pipeline {found.output.pipeline}"
    yield f"window {_time(start)} to {until} UTC{', ' if key else ''}{key}"
    yield ""


def _revisions(revisions: list[Revision]) -> Iterator[str]:
    """A few lines for each revision: what is new against the one before is what people look for."""
    before: list[int] = []
    was_final = False
    for each in revisions:
        states = [
            "retracted" if each.retracted else "",
            "final" if each.is_final else "not final",
            "a correction" if was_final else "",
        ]
        until = _time(each.valid_to) if each.valid_to else "now"
        yield f"revision {each.revision}: {', '.join(filter(None, states))}; from {_time(each.valid_from)} to {until}"
        yield f"  {_numbers(each.numbers)}" if not each.retracted else "  nothing contributes any more"
        new = [number for number in each.batches if number not in before]
        gone = [number for number in before if number not in each.batches]
        summed = "1 batch" if len(each.batches) == 1 else f"{len(each.batches):,} batches"
        yield f"  sums {summed}; new: {_list(new)}{f'; gone: {_list(gone)}' if gone else ''}"
        yield f"  merged by run {each.run_id} of {each.dag_id}"
        before, was_final = each.batches, each.is_final
    if not revisions:
        yield "no revision: it is not published yet"
    yield ""


def _batch_table(found: Explanation) -> Table:
    table = Table(
        Column("batch", justify="right", no_wrap=True),
        Column("in revisions", no_wrap=True),
        Column("contributes", overflow="fold", min_width=20),
        Column("offsets", no_wrap=True),
        Column("read by run", overflow="fold"),
    )
    for batch in found.batches:
        numbers = found.contributions.get(batch.batch_id)
        read = [f"{batch.run_id}", f"of {batch.dag_id}", f"at {_time(batch.batch_time)}"]
        if batch.last_id is not None:
            read = ["archived: single batches are not known any more", f"read from {_time(batch.batch_time)}"]
        if batch.committed_at is not None:
            read.append(f"committed {_time(batch.committed_at)}")
        table.add_row(
            _name(batch),
            _membership(batch, found.revisions),
            escape("\n".join(_each(numbers))) if numbers else "nothing now",
            escape(batch.ranges.replace(", ", "\n")),
            escape("\n".join(read)),
        )
    return table


def _name(batch: Batch) -> str:
    """Its number; of an archive, the numbers that it stands for."""
    return f"{batch.batch_id}" if batch.last_id is None else f"{batch.batch_id}..{batch.last_id}"


def _membership(batch: Batch, revisions: list[Revision]) -> str:
    """From which revision on a batch is summed, and to which, if later ones do without it."""
    numbers = [each.revision for each in revisions if any(map(batch.has, each.batches))]
    if not numbers:
        return "none yet"
    first, last = numbers[0], numbers[-1]
    if last == revisions[-1].revision:
        return f"{first}" if first == last else f"{first} to {last}"
    return f"{first} to {last}, no more"


def _notes(found: Explanation) -> Iterator[str]:
    newest = found.revisions[-1] if found.revisions else None
    former = [batch for batch in found.batches if batch.is_former]
    if former:
        which = ", ".join(map(_name, former))
        name = found.output.pipeline
        yield f"By a definition from before a rebuild: batches {which} (`microbatch rebuild {name}` redoes them)."
    for batch in found.batches:
        if batch.redone_at is None:
            continue
        by = f"by run {batch.redo_run_id} of {batch.redo_dag_id}"
        since = newest is not None and batch.batch_id in newest.batches and batch.redone_at > newest.valid_from
        now = "; what it contributes is shown as it is since then" if since else ""
        yield f"Batch {batch.batch_id} was redone at {_time(batch.redone_at)} {by}{now}."
    if found.lost_offsets:
        lost = f"{found.lost_offsets:,} offsets were never read and are in no number"
        yield f"{found.output.pipeline} has accepted losses: {lost}."


# -- messages ------------------------------------------------------------------------------------------------


def _print_messages(connection: psycopg.Connection, found: Explanation, at: dict[str, str], dags: Path) -> None:
    """Print the messages of each batch that contributes, and whether they give what it has stored."""
    from microbatch.declared import find_pipeline  # noqa: PLC0415 - with it comes what runs pipelines
    from microbatch.tracing import Tracer  # noqa: PLC0415 - as above

    pipeline = find_pipeline(dags, found.output.pipeline)
    there = msgspec.structs.replace(kafka_at(at), schema_registry=schema_registry_settings())
    tracer = Tracer(connection, pipeline, found, there)
    for batch in found.batches:
        stored = found.contributions.get(batch.batch_id)
        if stored is None:
            continue
        if batch.last_id is not None:
            print(
                f"\nbatches {_name(batch)}: archived, so that it is not known which messages each of them has counted"
            )
            continue
        if batch.is_former:
            print(f"\nbatch {batch.batch_id}: computed by a definition from before a rebuild, which no file has now")
            continue
        print(f"\nbatch {batch.batch_id}: partition@offset, Kafka's time, key, value")
        for message in tracer.messages(batch):
            print(f"  {_line(message, tracer.shown(message))}")
        traced = tracer.traced
        for item in traced.deleted:
            print(f"  {found.output.source_topic}{item}: deleted since, retention does not keep them")
        given = "1 message gives" if traced.messages == 1 else f"{traced.messages:,} messages give"
        print(f"  {given} {_judged(traced.numbers, stored, is_partial=bool(traced.deleted))}")


def _judged(numbers: dict[str, Any], stored: dict[str, Any], *, is_partial: bool) -> str:
    """What messages give, and whether that is what is stored; columns that a batch did not compute are not compared."""
    differs = {name: value for name, value in stored.items() if value is not None and numbers.get(name) != value}
    given = _numbers(numbers) if numbers else "nothing"
    if not differs:
        return f"{given}: what the batch contributes"
    if is_partial:
        return f"{given}; the batch contributes {_numbers(stored)}, the rest is of messages that are deleted"
    return f"{given}, but the batch contributes {_numbers(stored)}: `microbatch audit` tells more"


def _line(message: Message, value: bytes | None) -> str:
    when = EPOCH + timedelta(milliseconds=message.timestamp_ms)
    place = f"{message.partition}@{message.offset}"
    return f"{place}  {when.isoformat()}  key={shown_text(message.key)}  {shown_text(value)}"


# -- text for people -----------------------------------------------------------------------------------------


def _moment(text: str) -> datetime:
    """A moment; UTC if it says no zone.

    Raises:
        RunParamsError: it is none.
    """
    try:
        found = datetime.fromisoformat(text)
        return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        remedy = "give any moment in the window, such as 2026-11-21T10:00:00Z"
        raise RunParamsError(param="window", value=text, remedy=remedy) from error


def _time(when: datetime) -> str:
    return f"{when:%Y-%m-%d %H:%M:%S}"


def _numbers(values: dict[str, Any]) -> str:
    return ", ".join(_each(values))


def _each(values: dict[str, Any]) -> list[str]:
    return [f"{name} {_shown(value)}" for name, value in values.items()]


def _shown(value: object) -> str:
    """A value of a column; texts as they are, if they are one word."""
    if value is None:
        return NONE
    if isinstance(value, Decimal):
        return f"{value:f}"
    text = f"{value:%Y-%m-%dT%H:%M:%SZ}" if isinstance(value, datetime) else str(value)
    return text if text.isprintable() and text and " " not in text else repr(text)


def _list(numbers: Iterable[int]) -> str:
    texts = [str(number) for number in numbers]
    shown = ", ".join(texts[:_SHOWN_BATCHES])
    return f"{shown} and {len(texts) - _SHOWN_BATCHES} more" if len(texts) > _SHOWN_BATCHES else shown or "none"
