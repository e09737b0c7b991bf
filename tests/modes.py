"""Runs that people ask for: of an interval, or of what is to be redone."""

from datetime import UTC, datetime

from fix_pipeline import T0, World
from microbatch.consume import consume
from microbatch.publish import publish
from microbatch.runs import ConsumeSummary, Mode, PublishSummary, Run


def at(seconds: float) -> datetime:
    """A moment, counted from T0."""
    return datetime.fromtimestamp(T0 + seconds, UTC)


def asked(
    mode: Mode, start_s: float, end_s: float, run_id: str, clear_number: int = 0, max_records: int | None = None
) -> Run:
    """A run of an interval; its bounds are counted from T0."""
    return Run("sales", run_id, clear_number, mode, (at(start_s), at(end_s)), max_records)


def of_interval(start_s: float, end_s: float, run_id: str = "interval", max_records: int | None = None) -> Run:
    """A run that reads what is uncovered of an interval."""
    return asked("interval", start_s, end_s, run_id, max_records=max_records)


def reprocess(start_s: float, end_s: float, run_id: str = "reprocess", clear_number: int = 0) -> Run:
    """A run that redoes what meets an interval."""
    return asked("reprocess", start_s, end_s, run_id, clear_number)


def consume_all(world: World, run: Run) -> list[ConsumeSummary]:
    """Consume, all shards one after the other."""
    return [consume(world.pipeline, shard, run, world.connections) for shard in range(world.pipeline.shards)]


def work(world: World, run: Run) -> tuple[list[ConsumeSummary], PublishSummary]:
    """One whole run, as a DAG does it."""
    consumed = consume_all(world, run)
    return consumed, publish(world.pipeline, run, world.connections)
