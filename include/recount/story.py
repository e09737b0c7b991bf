"""The check, from beginning to end."""

from typing import Final

from recount import (
    check_dead_letters,
    check_ledger,
    check_pairs,
    check_rest,
    check_streams,
    check_tables,
    check_topics,
    uncounted,
)
from recount.frames import Function
from recount.kafka import Address
from recount.picture import Picture, take
from recount.place import Place, Watch, nobody
from recount.report import Report
from recount.times import Interval
from recount.value_formats import Formats

NO_FORMATS: Final = Formats({})


def check(  # noqa: PLR0913, each is a fact of the place, and tests name them
    pipeline: str,
    bootstrap: Address,
    dsn: str,
    deployment: str = "default",
    settled: bool = False,
    *,
    compacted: bool = False,
    patience_s: float = 20.0,
    transform: Function | None = None,
    formats: Formats = NO_FORMATS,
) -> Report:
    """Compare all that a pipeline has stored and sent with its input, read whole.

    Args:
        pipeline: its name.
        bootstrap: Kafka's address, or librdkafka's settings with it.
        dsn: a libpq connection string; a role that may only read is enough.
        deployment: the deployment that the pipeline belongs to.
        settled: everything must be covered up to the last stable offsets, and every window with
            events closed.
        compacted: compaction may have removed earlier revisions and old tombstones from result topics.
        patience_s: how long to wait for a moment in which the engine is at rest; then it is judged as it is.
        transform: the pipeline's transform, DataFrame to DataFrame; the ledger has only its hash.
        formats: what is needed for values that are not JSON.

    Raises:
        PipelineUnknownError: the ledger does not have it.
        UncountableError: its definition has something that this check does not know, or a transform that
            was not given.
    """
    place = Place(pipeline, bootstrap, dsn, deployment, settled, compacted, patience_s, transform, formats)
    return judge(take(place))


def audit(  # noqa: PLR0913, each is a fact of the place
    pipeline: str,
    bootstrap: Address,
    dsn: str,
    deployment: str = "default",
    *,
    interval: Interval | None = None,
    patience_s: float = 60.0,
    transform: Function | None = None,
    formats: Formats = NO_FORMATS,
    watch: Watch = nobody,
) -> Report:
    """Do the same with a live pipeline of any age, or with what has to do with an interval.

    What retention has deleted since it was counted, and what compaction has taken from the result topics, is no
    difference: batches whose input is gone are taken as the ledger has them, and the report names them.

    Args:
        pipeline: its name.
        bootstrap: Kafka's address, or librdkafka's settings with it.
        dsn: a libpq connection string; a role that may only read is enough.
        deployment: the deployment that the pipeline belongs to.
        interval: judge only the windows that start inside, and the batches that contribute to them or have read
            messages whose Kafka timestamps are inside.
        patience_s: how long to wait for a moment in which the pipeline is at rest.
        transform: the pipeline's transform; it is called only if the definition has one.
        formats: what is needed for values that are not JSON.
        watch: is told how far it is.

    Raises:
        BusyError: there was no such moment.
        PipelineUnknownError, UncountableError: as `check` does.
    """
    place = Place(
        pipeline,
        bootstrap,
        dsn,
        deployment,
        settled=False,
        compacted=True,
        patience_s=patience_s,
        transform=transform,
        formats=formats,
        is_audit=True,
        interval=interval,
        watch=watch,
    )
    return judge(take(place))


def judge(picture: Picture) -> Report:
    """All comparisons of a picture; a function of it alone."""
    findings = [
        *check_ledger.check(picture),
        *check_tables.check(picture),
        *check_topics.check(picture),
        *check_streams.check(picture),
        *check_pairs.check(picture),
        *check_dead_letters.check(picture),
        *check_rest.check(picture),
    ]
    return Report(
        pipeline=picture.pipeline,
        messages=picture.counted.messages,
        rejected=picture.counted.rejected,
        findings=tuple(findings),
        batches=sum(picture.scope.reads(batch_id) for batch_id in picture.ledger.batches),
        read=picture.read,
        on_trust=uncounted.on_trust(picture),
        losses=uncounted.losses(picture),
        decisions=picture.ledger.decisions,
    )
