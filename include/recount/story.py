"""The check, from beginning to end."""

from recount import check_dead_letters, check_ledger, check_pairs, check_rest, check_streams, check_tables, check_topics
from recount.frames import Function
from recount.picture import Picture, Place, take
from recount.report import Report


def check(  # noqa: PLR0913, each is a fact of the place, and tests name them
    pipeline: str,
    bootstrap: str,
    dsn: str,
    deployment: str = "default",
    settled: bool = False,
    *,
    compacted: bool = False,
    patience_s: float = 20.0,
    transform: Function | None = None,
) -> Report:
    """Compare all that a pipeline has stored and sent with its input, read whole.

    Args:
        pipeline: its name.
        bootstrap: Kafka's address.
        dsn: a libpq connection string; a role that may only read is enough.
        deployment: the deployment that the pipeline belongs to.
        settled: everything must be covered up to the last stable offsets, and every window with
            events closed.
        compacted: compaction may have removed earlier revisions and old tombstones from result topics.
        patience_s: how long to wait for a moment in which the engine is at rest; then it is judged as it is.
        transform: the pipeline's transform, DataFrame to DataFrame; the ledger has only its hash.

    Raises:
        PipelineUnknownError: the ledger does not have it.
        UncountableError: its definition has something that this check does not know, or a transform that
            was not given.
    """
    place = Place(pipeline, bootstrap, dsn, deployment, settled, compacted, patience_s, transform)
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
    )
