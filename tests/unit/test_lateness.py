"""Late messages of a batch: what is counted, and for which windows."""

import json
from datetime import UTC, datetime, timedelta

from microbatch import Count, EpochSeconds, Event, KafkaTopic, Pipeline, PostgresTable, Stream, TumblingWindow, testing
from microbatch.decoding import Message
from microbatch.lateness import Late

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MINUTE = TumblingWindow("1 minute", by=["seller"], measures={"sales": Count()}, to=[PostgresTable("minutes")])
HOUR = TumblingWindow("1 hour", by=[], measures={"sales": Count()}, to=[PostgresTable("hours")])


class Sale(Event):
    """A sale."""

    seller: str
    at: EpochSeconds


def pipeline(*outputs: Stream | TumblingWindow) -> Pipeline:
    return Pipeline(name="p", source=KafkaTopic("s", Sale, event_time="at"), outputs=list(outputs))


def sale(offset: int, at_s: int, arrived_s: float, seller: str = "ada") -> Message:
    return Message(0, offset, int(arrived_s * 1000), None, json.dumps({"seller": seller, "at": at_s}).encode())


def late(made: Pipeline, *chunks: list[Message], output: int = 0) -> list[Late]:
    with testing.computation_of(made, EPOCH) as computation:
        for each in chunks:
            testing.computed(computation, each)
        # The first event of each key counts, and nothing was booked before.
        computation.decide(lambda keys: [(partition, offset) for *_, partition, offset in keys])
        return list(computation.late(made.windows[output]).rows())


def test_chunks_count_together_and_the_latest_one_says_how_late() -> None:
    first = [sale(0, 0, 59.999), sale(1, 5, 60), sale(2, 61, 130, "bob")]
    second = [sale(3, 59, 90.5, "bob"), sale(4, 61, 119.999)]

    assert late(pipeline(MINUTE), first, second) == [
        Late(EPOCH, 2, timedelta(seconds=30.5)),
        Late(EPOCH + timedelta(minutes=1), 1, timedelta(seconds=10)),
    ]


def test_each_output_has_its_own_windows() -> None:
    messages = [sale(0, 0, 90), sale(1, 0, 3600.25)]

    assert late(pipeline(MINUTE, HOUR), messages, output=1) == [Late(EPOCH, 1, timedelta(milliseconds=250))]


def test_what_the_stream_leaves_out_is_not_late() -> None:
    only_ada = Stream(where="seller = 'ada'")

    assert late(pipeline(only_ada, MINUTE), [sale(0, 0, 90, "bob"), sale(1, 0, 61)]) == [
        Late(EPOCH, 1, timedelta(seconds=1))
    ]


def test_what_repeats_an_earlier_message_is_not_late() -> None:
    unique = Stream(unique=["seller"], to=[PostgresTable("rows")])

    assert late(pipeline(unique, MINUTE), [sale(0, 0, 61), sale(1, 0, 90)]) == [Late(EPOCH, 1, timedelta(seconds=1))]


def test_a_batch_without_late_messages_has_no_rows() -> None:
    assert late(pipeline(MINUTE), [sale(0, 0, 1)]) == []
