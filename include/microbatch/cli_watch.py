"""Commands that show how pipelines are: tables from what `microbatch.watching` answers. Times are UTC."""

import sys
import time
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, Final

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.table import Column, Table
from rich.text import Text

from microbatch.cli_data import ask, kafka_at
from microbatch.clock import Clock
from microbatch.kafka import Broker
from microbatch.settings import deployment
from microbatch.states import Verdict
from microbatch.watching import Batch, Freshness, Gap, Lag, Newest, Questions, Registered

REFRESH_S: Final = 2.0
NEWEST_ROWS: Final = 8
LAST_BATCHES: Final = 4
NONE: Final = "-"
ALARMING: Final = ("behind", "stopped")


def lag(at: dict[str, str], name: str | None) -> None:
    """Print how far each source partition is covered, beside what Kafka has now."""
    with ask(at) as connection:
        questions = Questions(connection, deployment())
        if pipelines := _registered(questions, name):
            found = questions.lag(pipelines, _broker(at))
            _print(_lag_table(found, with_pipeline=True), *_lag_notes(found))


def gaps(at: dict[str, str], name: str | None) -> None:
    """Print the offsets that were stepped over."""
    with ask(at) as connection:
        questions = Questions(connection, deployment())
        if pipelines := _registered(questions, name):
            found = questions.gaps(pipelines)
            names = ", ".join(pipeline.name for pipeline in pipelines)
            _print(_gap_table(found) if found else Text(f"No gaps: {names}."))


def freshness(at: dict[str, str], name: str | None) -> None:
    """Print from when and up to when each pipeline is complete, and its last error."""
    with ask(at) as connection:
        questions = Questions(connection, deployment())
        if pipelines := _registered(questions, name):
            found = questions.freshness(pipelines)
            now = Clock().now()
            _print(_freshness_table(found, now), *(line for each in found for line in _errors(each, now)))


def check(at: dict[str, str], name: str | None) -> int:
    """Print a line for each pipeline that is behind or has stopped; returns the exit status: 1 if there is one.

    For cron and the like: it asks the ledger alone, so it tells also while no run is, or no Airflow.
    """
    with ask(at) as connection:
        questions = Questions(connection, deployment())
        verdicts = questions.verdicts(_registered(questions, name))
    lines = [_alarm(pipeline, verdict) for pipeline, verdict in verdicts.items() if verdict.state in ALARMING]
    print(*lines, sep="\n", end="\n" if lines else "")
    return 1 if lines else 0


def _alarm(pipeline: str, verdict: Verdict) -> str:
    return f"{pipeline}: {verdict.state}: {verdict.reason}. {verdict.remedy}"


def watch(at: dict[str, str], name: str, *, once: bool) -> None:
    """Show a pipeline's newest results, lag, batches and last error, again and again until Ctrl-C, or once."""
    broker, console = _broker(at), Console(highlight=False)
    with ask(at) as connection:
        questions = Questions(connection, deployment())
        pipeline = questions.registered(name)[0]
        if once:
            console.print(_view(questions, pipeline, broker, console.width))
            return
        try:
            with Live(console=console, auto_refresh=False, vertical_overflow="crop") as live:
                while True:
                    live.update(_view(questions, pipeline, broker, console.width), refresh=True)
                    time.sleep(REFRESH_S)
        except KeyboardInterrupt:
            return


# -- a screen of `watch` -----------------------------------------------------------------------------------


def _view(questions: Questions, pipeline: Registered, broker: Broker, width: int) -> RenderableType:
    now = Clock().now()
    fresh = questions.freshness([pipeline])[0]
    until = NONE if fresh.complete_until is None else f"{moment(fresh.complete_until, now)} UTC"
    behind = "" if fresh.behind_by_s is None else f" ({duration(fresh.behind_by_s)} ago)"
    title = f"[b]{escape(pipeline.name)}[/b]  complete until {until}{behind}  [dim]{now:%H:%M:%S} UTC[/dim]"
    lags = questions.lag([pipeline], broker)
    return Group(
        Text.from_markup(title),
        # On top: what a terminal has no room for is cut off below.
        *_errors(fresh, now),
        *(_newest_table(newest, now, width) for newest in questions.newest(pipeline, NEWEST_ROWS)),
        _lag_table(lags, with_pipeline=False),
        *_lag_notes(lags),
        _batch_table(questions.last_batches(pipeline, LAST_BATCHES), now),
    )


def _newest_table(newest: Newest, now: datetime, width: int) -> Table:
    """As many whole columns as fit; the title counts the others."""
    columns = [[name, *(_cell(row[at], now) for row in newest.rows)] for at, name in enumerate(newest.columns)]
    fitting, used = 0, 1
    for column in columns:
        used += max(map(len, column)) + 3  # two spaces and a line
        fitting += used <= width
    shown = columns[: max(1, fitting)]
    more = f", without {len(columns) - len(shown)} columns" if len(shown) < len(columns) else ""
    title = f"{escape(newest.title)}, the newest rows{more}"
    table = Table(*(Column(escape(name), overflow="ellipsis") for name, *_ in shown), **_titled(title))
    for row in zip(*(cells for _, *cells in shown), strict=True):
        table.add_row(*map(escape, row))
    if not newest.rows:
        table.add_row("[dim]none yet[/dim]")
    return table


def _batch_table(batches: list[Batch], now: datetime) -> Table:
    columns = ("batch", "committed", "messages", "rejected", "repeated", "filtered")
    table = Table(
        *(Column(name, justify="right", no_wrap=True) for name in columns),
        Column("offsets", overflow="fold"),
        **_titled("the last batches"),
    )
    for batch in batches:
        counts = (batch.messages, batch.rejected, batch.repeated, batch.filtered)
        cells = [str(batch.batch_id), _moment_or_none(batch.committed_at, now), *(f"{count:,}" for count in counts)]
        table.add_row(*cells, escape(batch.ranges or ""))
    if not batches:
        table.add_row("[dim]none[/dim]")
    return table


def _titled(title: str) -> dict[str, Any]:
    return {"title": title, "title_justify": "left"}


# -- the tables of `lag`, `gaps`, `freshness` --------------------------------------------------------------


def _lag_table(found: list[Lag], *, with_pipeline: bool) -> Table:
    numbers = ("covered", "stable end", "end", "behind")
    table = Table(
        *([Column("pipeline", overflow="fold")] if with_pipeline else []),
        Column("source", overflow="fold"),
        *(Column(name, justify="right", no_wrap=True) for name in numbers),
        Column("last look", no_wrap=True),
        **_titled("the source now (offsets; UTC)"),
    )
    now = Clock().now()
    for each in found:
        stable, end = (each.now.last_stable, each.now.high_watermark) if each.now else (None, None)
        table.add_row(
            *([escape(each.pipeline)] if with_pipeline else []),
            escape(f"{each.topic}[{each.partition}]"),
            *(_number(value) for value in (each.covered_until, stable, end, each.behind)),
            _moment_or_none(each.looked_at, now),
        )
    return table


def _lag_notes(found: list[Lag]) -> Iterable[Text]:
    """What the numbers mean that a person should act on."""
    for each in found:
        place = f"{each.topic}[{each.partition}]"
        if each.now is None:
            yield Text(f"{place}: Kafka has no such partition now.", style="red")
        elif each.behind is not None and each.behind < 0:
            text = f"{place} ends below what is covered: the topic was truncated or created anew."
            yield Text(text, style="red")
        elif each.now.last_stable < each.now.high_watermark:
            text = f"{place}: another producer's transaction is open at offset {each.now.last_stable:,}."
            yield Text(text, style="yellow")


def _gap_table(found: list[Gap]) -> Table:
    table = Table("pipeline", "source", "offsets", Column("messages at most", justify="right"))
    for gap in found:
        table.add_row(
            escape(gap.pipeline),
            escape(f"{gap.topic}[{gap.partition}]"),
            f"{gap.start_offset}..{gap.end_offset - 1}",
            f"{gap.end_offset - gap.start_offset:,}",
        )
    table.caption = "The next run reads them."
    table.caption_justify = "left"
    return table


def _freshness_table(found: list[Freshness], now: datetime) -> Table:
    table = Table(
        *("pipeline", "complete from", "complete until (UTC)", "ago"),
        Column("behind", justify="right"),
        *("last look", "last batch"),
        Column("failures", justify="right"),
    )
    for each in found:
        table.add_row(
            escape(each.pipeline),
            _moment_or_none(each.complete_from, now),
            _moment_or_none(each.complete_until, now),
            NONE if each.behind_by_s is None else duration(each.behind_by_s),
            _number(each.behind),
            _moment_or_none(each.looked_at, now),
            _moment_or_none(each.last_batch_at, now),
            f"{each.failures:,}",
        )
    return table


def _errors(fresh: Freshness, now: datetime) -> Iterable[Text]:
    """The last error, if a pipeline has had one: red if nothing has succeeded since."""
    if fresh.last_error is None:
        return
    count = f"{fresh.failures} since the last batch" if fresh.failures else "a batch has succeeded since"
    at = _moment_or_none(fresh.last_failure_at, now)
    yield Text(f"{fresh.pipeline}: last error at {at} UTC, {count}:", style="red" if fresh.failures else "dim")
    yield Text(fresh.last_error)


# -- text for people ---------------------------------------------------------------------------------------


def duration(seconds: float) -> str:
    """A length of time in its two largest units, such as `2 min 3 s`."""
    left = max(0, int(seconds))
    parts: list[str] = []
    for unit, size in (("d", 86_400), ("h", 3600), ("min", 60), ("s", 1)):
        count, left = divmod(left, size)
        if count or (unit == "s" and not parts):
            parts.append(f"{count} {unit}")
        elif parts:
            break
    return " ".join(parts[:2])


def moment(when: datetime, now: datetime) -> str:
    """A time in UTC; without its date if that is today's."""
    utc = when.astimezone(UTC)
    return f"{utc:%H:%M:%S}" if utc.date() == now.astimezone(UTC).date() else f"{utc:%Y-%m-%d %H:%M:%S}"


def _moment_or_none(when: datetime | None, now: datetime) -> str:
    return NONE if when is None else moment(when, now)


def _number(value: int | None) -> str:
    return NONE if value is None else f"{value:,}"


def _cell(value: object, now: datetime) -> str:
    if isinstance(value, datetime):
        return moment(value, now)
    return NONE if value is None else str(value)


# -- what all of them do -----------------------------------------------------------------------------------


def _registered(questions: Questions, name: str | None) -> list[Registered]:
    found = questions.registered(name)
    if not found:
        print(f"No pipeline is registered in deployment {deployment()!r} yet: its first run does that.")
    return found


def _broker(at: dict[str, str]) -> Broker:
    return Broker(kafka_at(at))


def _print(*parts: RenderableType) -> None:
    # A file or a pipe has no width: nothing is folded there.
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 10_000)
    for part in parts:
        console.print(part)
