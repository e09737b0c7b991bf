"""`microbatch audit`: the independent check (package `recount`), as a person asks for it. Times are UTC."""

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime
from functools import cache, partial
from pathlib import Path
from typing import Any, Final

import psycopg
from confluent_kafka import KafkaException
from rich.console import Console, Group, RenderableType
from rich.markup import escape
from rich.padding import Padding
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Column, Table
from rich.text import Text

import recount
from microbatch.addresses import find_stack
from microbatch.cli_data import kafka_at, needed
from microbatch.clock import Clock
from microbatch.declared import find_pipeline
from microbatch.errors import MicrobatchError, RunParamsError
from microbatch.modes import moment_of, refuse_backwards
from microbatch.settings import deployment, schema_registry_settings
from microbatch.value_formats import Protobuf
from recount import Decision, Finding, Formats, Interval, Part, RecountError, Report, Watch

SHOWN_DIFFERENCES: Final = 20
SHOWN_BATCHES: Final = 5
AGREES, DIFFERS, COULD_NOT_LOOK = 0, 1, 2


def audit(name: str, dags: Path, *, start: str | None, end: str | None, patience_s: float) -> int:
    """Recount a pipeline's input, compare it with all that it gave, and print what was found; returns the exit status.

    Args:
        name: the pipeline.
        dags: the folder with its file, which is read only if the pipeline has a transform, or values in Protobuf.
        start: `--from`: with it and `end`, only what has to do with an interval is judged.
        end: `--to`, not included.
        patience_s: how long to wait for a moment in which the pipeline is at rest.
    """
    try:
        at, interval = find_stack(), _interval(start, end)
        with _progress() as watch:
            report = recount.audit(
                name,
                kafka_at(at).kafka,
                needed(at, "POSTGRES_DSN"),
                deployment(),
                interval=interval,
                patience_s=patience_s,
                transform=partial(_transformed, dags, name),
                formats=Formats(schema_registry_settings(), partial(_message_type, dags, name)),
                watch=watch,
            )
    except (MicrobatchError, RecountError, KafkaException, psycopg.Error) as error:
        print(f"microbatch: could not look: {str(error).strip()}", file=sys.stderr)
        return COULD_NOT_LOOK
    # A file or a pipe has no width: nothing is folded there.
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 10_000)
    console.print(_page(report, interval))
    return AGREES if report.ok else DIFFERS


def _interval(start: str | None, end: str | None) -> Interval | None:
    if start is None and end is None:
        return None
    if start is None or end is None:
        param = "from" if start is None else "to"
        raise RunParamsError(param=param, value=None, remedy="give both --from and --to, or neither")
    interval = Interval(moment_of("from", start), moment_of("to", end))
    refuse_backwards((interval.start, interval.end), start, end)
    return interval


def _transformed(dags: Path, name: str, frame: Any) -> Any:
    """What the transform makes of a frame that the pipeline's file declares: the ledger has only its hash."""
    return _transform(dags, name)(frame)


@cache
def _transform(dags: Path, name: str) -> Any:
    declared = find_pipeline(dags, name).transform
    if declared is None:
        raise RecountError("{} has a transform in the ledger, and none in {}", name, dags)
    return declared.function


def _message_type(dags: Path, name: str) -> Any:
    """The class of Protobuf's values that the pipeline's file declares: the ledger has only its name."""
    values = find_pipeline(dags, name).source.values
    if not isinstance(values, Protobuf):
        raise RecountError("{} has values in Protobuf in the ledger, and not in {}", name, dags)
    return values.message


@contextmanager
def _progress() -> Iterator[Watch]:
    """On a terminal, a bar of the offsets that have been read; it is gone when all is read."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("looking", total=None)

        def watch(what: str, done: int, total: int) -> None:
            progress.update(task, description=escape(what), completed=done, total=total or None)

        yield watch


# -- the page ----------------------------------------------------------------------------------------------


def _page(report: Report, interval: Interval | None) -> RenderableType:
    now = Clock().now()
    return Group(
        *_head(report, interval, now),
        _findings(report.findings),
        *_uncounted(report),
        *_decisions(report.decisions),
        *_differences(report.findings),
        _verdict(report),
    )


def _head(report: Report, interval: Interval | None, now: datetime) -> Iterable[Text]:
    what = f"from {interval}" if interval else "everything"
    yield Text.from_markup(f"[b]{escape(report.pipeline)}[/b]: {what}, looked at {now:%Y-%m-%d %H:%M:%S} UTC")
    counted = f"{report.messages:,} messages of {report.batches:,} batches counted again"
    yield Text(f"{counted}, {report.rejected:,} of them rejects; {report.read:,} read")
    if interval:
        yield Text("Of the topics that it writes, all was read that is as young as that.", style="dim")
    if not report.messages:
        yield Text("There was nothing to count: this says nothing about messages.", style="yellow")


def _findings(findings: Iterable[Finding]) -> Table:
    table = Table("compared", Column("how many", justify="right", no_wrap=True), Column("verdict", no_wrap=True))
    for finding in findings:
        name = Text(finding.name)
        if finding.note:
            name.append(f"\n  {finding.note}", style="dim")
        count = len(finding.differences)
        verdict = (
            Text(f"{count:,} differ{'s' if count == 1 else ''}", style="bold red")
            if count
            else Text("agrees", style="green")
        )
        if not finding.compared and not count:
            verdict = Text("-", style="dim")
        table.add_row(name, f"{finding.compared:,}", verdict)
    return table


def _uncounted(report: Report) -> Iterable[RenderableType]:
    """What the verdict does not cover."""
    if report.on_trust:
        offsets = sum(part.end - part.start for part in report.on_trust)
        yield Text(f"Not counted again, and taken as the ledger has it: {offsets:,} offsets", style="yellow")
        yield _parts(report.on_trust, ("why", [part.why for part in report.on_trust]))
    if report.losses:
        offsets = sum(part.end - part.start for part in report.losses)
        decided = {decision.decision_id: decision for decision in report.decisions}
        who = [_whose(decided.get(part.decision_id or 0)) for part in report.losses]
        yield Text(f"Never counted, a loss that was accepted: {offsets:,} offsets", style="yellow")
        yield _parts(report.losses, ("decided by", who))


def _parts(parts: tuple[Part, ...], last: tuple[str, list[str]]) -> Table:
    table = Table("source", "offsets", "batches", Column(last[0], overflow="fold"))
    for part, text in zip(parts, last[1], strict=True):
        shown = ", ".join(map(str, part.batches[:SHOWN_BATCHES]))
        more = f" and {len(part.batches) - SHOWN_BATCHES} more" if len(part.batches) > SHOWN_BATCHES else ""
        table.add_row(escape(part.where), f"{part.start}..{part.end - 1}", shown + more, escape(text))
    return table


def _whose(decision: Decision | None) -> str:
    return "nobody" if decision is None else f"{decision.decided_by}, decision {decision.decision_id}"


def _decisions(decisions: tuple[Decision, ...]) -> Iterable[RenderableType]:
    if not decisions:
        return
    columns = ("decision", "command", "when (UTC)", Column("who", overflow="fold"), Column("why", overflow="fold"))
    table = Table(*columns, title="what people have decided", title_justify="left")
    for each in decisions:
        when = f"{each.decided_at:%Y-%m-%d %H:%M:%S}"
        table.add_row(str(each.decision_id), each.kind, when, escape(each.decided_by), escape(each.reason))
    yield table


def _differences(findings: Iterable[Finding]) -> Iterable[RenderableType]:
    for finding in findings:
        if not finding.differences:
            continue
        yield Text(finding.name, style="bold red")
        for text in finding.differences[:SHOWN_DIFFERENCES]:
            yield Padding(Text(text), (0, 0, 0, 2), expand=False)
        if (more := len(finding.differences) - SHOWN_DIFFERENCES) > 0:
            yield Padding(Text(f"… and {more:,} more", style="dim"), (0, 0, 0, 2), expand=False)


def _verdict(report: Report) -> Text:
    if report.ok:
        but = " that could be counted again" if report.on_trust else ""
        return Text(f"All{but} agrees.", style="bold green")
    wrong = [finding for finding in report.findings if finding.differences]
    count = sum(len(finding.differences) for finding in wrong)
    differences = "1 difference" if count == 1 else f"{count:,} differences"
    return Text(f"{differences} in {len(wrong)} of {len(report.findings)} comparisons.", style="bold red")
