"""The command that counts again what was counted by an earlier definition."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar
from rich.table import Column, Table

from microbatch.cli_asking import agreed
from microbatch.clock import Clock
from microbatch.deciding import known, session
from microbatch.declared import find_pipeline
from microbatch.modes import bounds_of, refuse_backwards
from microbatch.pipeline import Pipeline
from microbatch.rebuild_choice import Counted
from microbatch.rebuild_work import Progress, Redoing
from microbatch.rebuilding import Found, Interval, Rebuild, mixed, refuse_hindered
from microbatch.runs import PublishSummary
from microbatch.settings import Connections, connections

LINES_S: Final = 5.0
"""How often a line says how far it is where there is no terminal."""


def rebuild(name: str, dags: Path, start: str | None, end: str | None, reason: str | None, *, yes: bool) -> None:
    """Show what a changed definition means for what was counted, ask, and count it again."""
    there, clock = connections(), Clock()
    interval = _interval(start, end)
    pipeline = find_pipeline(dags, name)
    with session(there, f"{name} rebuild") as connection:
        registered = known(connection, there.deployment, name)
        found = Rebuild(connection, pipeline, registered, there, interval).look(clock.now())
    _show(name, found)
    refuse_hindered(name, found.left)
    if not found.differences and not found.left.batches:
        return
    why = agreed(_question(found), reason, yes=yes)
    # A session of its own: the answer may have taken longer than an idle one lives.
    with session(there, f"{name} rebuild") as connection:
        decision_id = Rebuild(connection, pipeline, registered, there, interval).decide(found, why)
    print(f"on record as decision {decision_id}; if this is cut off, the same command goes on with what is left")
    with _progress() as tell:
        published = Redoing(pipeline, registered, there, interval, decision_id, tell, clock).work()
    _report(pipeline, there, published)


def _interval(start: str | None, end: str | None) -> Interval:
    first, last = bounds_of(start, end)
    if first is not None and last is not None:
        refuse_backwards((first, last), start, end)
    return Interval(first, last)


# -- what is shown and asked -----------------------------------------------------------------------------------


def _show(name: str, found: Found) -> None:
    console = Console(highlight=False)
    for difference in found.differences:
        console.print(f"differs: {difference}", markup=False, soft_wrap=True)
    left = found.left
    if not found.differences and not left.batches and not left.hindered:
        print(f"{name}: nothing to rebuild; all that is meant was counted by the definition that its file has now")
        return
    if not found.differences:
        print(f"{name}: its definition is registered; these batches were counted by an earlier one:")
    table = Table(
        "batches of the source",
        *(Column(title, justify="right", no_wrap=True) for title in ("batches", "messages")),
        Column("numbers", no_wrap=True),
        Column("read (UTC)", overflow="fold"),
    )
    _add(table, "to be redone", left.batches)
    for reason, batches in left.hindered.items():
        _add(table, f"cannot be redone: {reason}", batches)
    _add(table, "losses: nothing to redo", left.losses)
    console.print(table)
    for output, windows in found.windows.items():
        console.print(f"{windows:,} windows of {escape(output)} get numbers from those to be redone", soft_wrap=True)


def _add(table: Table, what: str, batches: list[Counted]) -> None:
    if not batches and what != "to be redone":
        return
    numbers, read = "-", "-"
    if batches:
        numbers = f"{batches[0].batch_id} to {batches[-1].batch_id}"
        times = [batch.batch_time for batch in batches]
        read = f"{_time(min(times))} to {_time(max(times))}"
    messages = sum(batch.messages for batch in batches)
    table.add_row(what, f"{len(batches):,}", f"{messages:,}", numbers, read)


def _time(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S}"


def _question(found: Found) -> str:
    batches = f"{len(found.left.batches):,} batches"
    if not found.differences:
        return f"Redo {batches}?"
    return f"Let this be the definition from now on, and redo {batches}?"


# -- how far it is, and what came of it ------------------------------------------------------------------------


@contextmanager
def _progress() -> Iterator[Callable[[Progress], None]]:
    """A bar on a terminal; elsewhere a line now and then."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield _lines()
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Bar(*columns, console=console) as bar:
        task = bar.add_task("batches", total=None)

        def tell(now: Progress) -> None:
            total = now.batches + now.batches_left
            description = f"batches ({now.messages:,} messages)"
            bar.update(task, description=description, completed=now.batches, total=total)

        yield tell


def _lines() -> Callable[[Progress], None]:
    told_s = time.monotonic()

    def tell(now: Progress) -> None:
        nonlocal told_s
        if now.batches_left and time.monotonic() - told_s < LINES_S:
            return
        told_s = time.monotonic()
        total, messages = now.batches + now.batches_left, now.messages + now.messages_left
        print(
            f"{now.batches:,} of {total:,} batches redone, {now.messages:,} of {messages:,} messages", file=sys.stderr
        )

    return tell


def _report(pipeline: Pipeline, there: Connections, published: list[PublishSummary]) -> None:
    revisions = sum(each.revisions for each in published)
    corrections = sum(each.corrections for each in published)
    print(f"published {revisions:,} revisions, {corrections:,} of them corrections")
    with session(there, f"{pipeline.name} rebuild") as connection:
        for output, results in mixed(pipeline, connection).items():
            if results:
                print(
                    f"{results:,} results of {output} also sum batches that were not redone, of the earlier definition:"
                    f" {output}_mixed has them"
                )
