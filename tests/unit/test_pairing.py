"""Pairs: over several batches they are those of a brute-force pairing in the order of the ledger."""

from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from microbatch import Event, KafkaTopic, Pairs, Pipeline, PostgresTable, testing
from microbatch.decoding import Message
from microbatch.pairing import PairEvents, Waiting

NOW = datetime(2026, 11, 21, 10, tzinfo=UTC)
Place = tuple[int, int, int, int]
"""Batch, Kafka's timestamp in milliseconds, partition, offset: the order of the ledger."""
Facts = tuple[int, int, int]
"""Number, partition, Kafka's timestamp in milliseconds."""


class Number(Event):
    """A number."""

    v: int


def pipeline(sum_: int = 12) -> Pipeline:
    return Pipeline(
        name="p",
        source=KafkaTopic("s", Number),
        outputs=[Pairs("v", sum_, to=[PostgresTable("pairs"), KafkaTopic("t")])],
    )


def messages(batch: list[Facts], first: int) -> list[Message]:
    """The messages of a batch; an offset is a place in the whole log."""
    return [
        Message(partition, first + n, ms, b"k%d" % n, b'{"v": %d}' % value)
        for n, (value, partition, ms) in enumerate(batch)
    ]


class Pair(NamedTuple):
    """A pair as an object of Python."""

    numbers: tuple[int, int]
    first: tuple[int, int]
    second: tuple[int, int]
    first_batch_id: int | None
    key: bytes | None
    timestamp_ms: int


def pairs_of(events: PairEvents, partition: int) -> Iterator[Pair]:
    for some in events.pairs(partition, 0, 2**62):
        columns = [some.first_batch_ids, some.keys, some.timestamps_ms, some.offsets, *some.values]
        for row in zip(*(column.to_pylist() for column in columns), strict=True):
            first_batch_id, key, ms, place, number, first_partition, first_offset, partner, part, offset = row
            assert place == offset
            yield Pair((number, partner), (first_partition, first_offset), (part, offset), first_batch_id, key, ms)


class Ledger:
    """What several batches leave, with what waits kept by hand."""

    def __init__(self, sum_: int = 12) -> None:
        self.pipeline = pipeline(sum_)
        self.waiting: dict[tuple[int, int], Waiting] = {}
        self.pairs: list[tuple[tuple[int, int], tuple[int, int]]] = []

    def add(self, batch_id: int, batch: list[Message], chunk: int = 100) -> None:
        """Book a batch; only what can have a partner is shown to it, as Postgres does."""
        with testing.computation_of(self.pipeline, NOW) as computation:
            for at in range(0, len(batch), chunk):
                testing.computed(computation, batch[at : at + chunk])
            events = computation.pairs(self.pipeline.pairs[0])
            events.pair(self._oldest(events.numbers()))
            for partition in sorted({message.partition for message in batch}):
                for pair in pairs_of(events, partition):
                    first, second = pair.first, pair.second
                    assert sum(pair.numbers) == self.pipeline.pairs[0].sum
                    assert (pair.first_batch_id is None) == (first not in self.waiting)
                    origin = next(m for m in batch if (m.partition, m.offset) == second)
                    assert (pair.key, pair.timestamp_ms) == (origin.key, origin.timestamp_ms)
                    self.pairs.append((first, second))
            for item in list(events.matched()):
                assert self.waiting.pop((item.partition, item.offset)) == item
            self.waiting |= {(item.partition, item.offset): item for item in events.left(batch_id)}

    def _oldest(self, numbers: dict[int, int]) -> list[Waiting]:
        found = []
        for number, most in numbers.items():
            fits = [w for w in self.waiting.values() if w.value == self.pipeline.pairs[0].sum - number]
            found += sorted(fits, key=lambda w: (w.batch_id, w.kafka_timestamp, w.partition, w.offset))[:most]
        return found


def brute_force(events: list[tuple[Place, int]], sum_: int) -> tuple[set[Any], set[Any]]:
    """Pairs of (partition, offset), the earlier first, and those that wait: one event after the other."""
    queues: dict[int, list[Place]] = defaultdict(list)
    pairs = set()
    for place, value in sorted(events):
        partners = queues[sum_ - value]
        if partners:
            pairs.add((partners.pop(0)[2:], place[2:]))
        else:
            queues[value].append(place)
    return pairs, {place[2:] for queue in queues.values() for place in queue}


facts = st.tuples(st.integers(0, 12), st.integers(0, 2), st.integers(0, 3))


@settings(max_examples=25)
@given(st.lists(st.lists(facts, max_size=8), max_size=4), st.integers(1, 5), st.sampled_from([12, 7]), st.randoms())
def test_pairs_over_batches_are_those_of_plain_python(
    batches: list[list[Facts]], chunk: int, sum_: int, random: Any
) -> None:
    ledger, events, first = Ledger(sum_), [], 0
    for batch_id, batch in enumerate(batches, 1):
        sent = messages(batch, first)
        events += [
            ((batch_id, m.timestamp_ms, m.partition, m.offset), v) for m, (v, *_) in zip(sent, batch, strict=True)
        ]
        first += len(batch)
        # The order in which a batch is read is no order of the ledger.
        random.shuffle(sent)
        ledger.add(batch_id, sent, chunk)

    pairs, waiting = brute_force(events, sum_)

    assert len(ledger.pairs) == len(set(ledger.pairs))
    assert set(ledger.pairs) == pairs
    assert set(ledger.waiting) == waiting


def test_half_the_sum_pairs_the_first_with_the_second_across_batches() -> None:
    ledger = Ledger()
    for batch_id in range(1, 6):
        ledger.add(batch_id, messages([(6, 0, 0)], batch_id))

    assert ledger.pairs == [((0, 1), (0, 2)), ((0, 3), (0, 4))]
    assert list(ledger.waiting) == [(0, 5)]


def test_the_oldest_that_waits_gets_the_partner() -> None:
    ledger = Ledger()
    ledger.add(1, messages([(5, 1, 9)], 0))
    ledger.add(2, messages([(5, 0, 1)], 1))
    ledger.add(3, messages([(7, 0, 0)], 2))

    assert ledger.pairs == [((1, 0), (0, 2))]
    assert list(ledger.waiting) == [(0, 1)]
    assert ledger.waiting[0, 1].kafka_timestamp == datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=1)


@pytest.mark.parametrize("value", [-(2**63), 2**63 - 1, 2**62, -(2**62)])
def test_a_number_whose_partner_has_more_than_64_bits_waits_and_harms_nobody(value: int) -> None:
    outcome = testing.run(pipeline(), [{"v": 5}, {"v": value}, {"v": 7}, {"v": value}], at=NOW)

    assert [(pair["first_offset"], pair["second_offset"]) for pair in outcome.pairs["pairs"]] == [(0, 2)]
    assert outcome.waiting["pairs"] == [value, value]


def test_the_widest_numbers_have_partners() -> None:
    outcome = testing.run(pipeline(-1), [{"v": -(2**63)}, {"v": 2**63 - 1}], at=NOW)

    assert outcome.waiting["pairs"] == []
    assert outcome.pairs["pairs"][0]["second_value"] == 2**63 - 1


def test_numbers_that_are_rejected_are_not_paired() -> None:
    outcome = testing.run(pipeline(), [{"v": 5}, b"junk", None, {"v": 7.5}, {"v": 7}], at=NOW)

    assert outcome.pairs["pairs"] == [
        {
            "first_value": 5,
            "first_partition": 0,
            "first_offset": 0,
            "second_value": 7,
            "second_partition": 0,
            "second_offset": 4,
        }
    ]
    assert [reject.offset for reject in outcome.rejects] == [1, 3]


def test_the_events_of_a_batch_are_known_paired_or_not() -> None:
    made = pipeline()
    with testing.computation_of(made, NOW) as computation:
        testing.computed(computation, messages([(5, 0, 0), (7, 1, 0), (1, 0, 0)], 0))
        events = computation.pairs(made.pairs[0])

        assert events.events() == {(5, 0, 0), (7, 1, 1), (1, 0, 2)}
        assert events.numbers() == {5: 1, 7: 1, 1: 1}
