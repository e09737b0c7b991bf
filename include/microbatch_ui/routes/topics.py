"""Topics of the pipelines that a person may see, and their messages."""

from datetime import UTC, datetime
from typing import Annotated, Final

import msgspec
from fastapi import APIRouter, HTTPException, Query, status

from microbatch_ui.access import TopicReaderDep, Viewer
from microbatch_ui.answers import Answer
from microbatch_ui.database import reading
from microbatch_ui.messages import MOST_MESSAGES
from microbatch_ui.pipelines import visible
from microbatch_ui.topic_pages import Ask, page_of
from microbatch_ui.topics import topics_of, uses_of

router: Final = APIRouter(prefix="/api")

_HIGHEST: Final = 2**63 - 1
_NUMBERS: Final = msgspec.json.Decoder(dict[int, Annotated[int, msgspec.Meta(ge=0, le=_HIGHEST)]])
Offset = Annotated[int | None, Query(ge=0, le=_HIGHEST)]


@router.get("/topics")
def topics(viewer: TopicReaderDep) -> Answer:
    """The topics, by name; see `microbatch_ui.topics.Topic`."""
    with reading() as connection:
        return Answer(topics_of(connection, visible(connection, viewer)))


@router.get("/topics/{topic}/messages")
def messages(  # noqa: PLR0913 - each is a parameter of the query
    viewer: TopicReaderDep,
    topic: str,
    *,
    partition: Annotated[int | None, Query(ge=0, le=2**31 - 1)] = None,
    offset: Offset = None,
    time: datetime | None = None,
    after: str | None = None,
    before: str | None = None,
    limit: Annotated[int, Query(ge=1, le=MOST_MESSAGES)] = 50,
    committed: bool = True,
) -> Answer:
    """Messages, the newest first; see `microbatch_ui.topic_pages.TopicPage`.

    Args:
        viewer: who asks.
        topic: one of those that the person may see.
        partition: only of this one.
        offset: from this one of `partition` on.
        time: from then on, by Kafka's timestamps; without a time zone it is UTC.
        after: from these offsets on, as the `next` of another answer: `{"0": 12, "1": 40}`.
        before: below these offsets, as the `previous` of another answer.
        limit: as many at the most.
        committed: false also shows messages of aborted and open transactions.
    """
    if sum(each is not None for each in (offset, time, after, before)) > 1:
        raise _wrong("Give only one of offset, time, after and before: each says where to read")
    if offset is not None and partition is None:
        raise _wrong(f"Offset {offset} is of which partition? Give partition too")
    _check_topic(viewer, topic)
    ask = Ask(
        limit=limit,
        is_committed=committed,
        partition=partition,
        since={partition: offset} if partition is not None and offset is not None else _offsets("after", after),
        time=time if time is None or time.tzinfo else time.replace(tzinfo=UTC),
        before=_offsets("before", before),
    )
    return Answer(page_of(topic, ask))


def _check_topic(viewer: Viewer, topic: str) -> None:
    """A topic of pipelines that the person may not see, or of none, is as if there were none."""
    with reading() as connection:
        if topic not in uses_of(visible(connection, viewer)):
            text = f"There is no topic {topic!r} of a pipeline that you may see; its pipeline's page names the topics"
            raise HTTPException(status.HTTP_404_NOT_FOUND, text)


def _offsets(name: str, text: str | None) -> dict[int, int] | None:
    if text is None:
        return None
    try:
        return _NUMBERS.decode(text)
    except (msgspec.DecodeError, RecursionError):
        raise _wrong(f'{name} is {text[:100]!r}: give offsets by partition, such as {{"0": 12, "1": 40}}') from None


def _wrong(text: str) -> HTTPException:
    return HTTPException(status.HTTP_400_BAD_REQUEST, text)
