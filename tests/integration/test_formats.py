"""What docs/formats.md promises to readers and producers, seen with Kafka's own Java clients where they can show it."""

import json
import re
import time
from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from enum import Enum
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import msgspec
import pandas as pd
import pytest
from confluent_kafka.cimpl import NewTopic

from fix_everything import Weighed, everything, weigh
from fix_pipeline import T0, Message, World, new_database, new_world, sale
from fix_stack import Stack
from microbatch import (
    Count,
    EpochMillis,
    EpochSeconds,
    Event,
    KafkaTopic,
    Max,
    Min,
    Pipeline,
    PostgresTable,
    Scale,
    Stream,
    Sum,
    Transform,
    TumblingWindow,
)
from microbatch.consume import consume
from microbatch.kafka import Broker
from microbatch.publish import publish
from microbatch.runs import Run
from microbatch.topics import create_topics
from modes import reprocess
from outside import on_topic, read_by_java, send_by_java, topic_config
from recount.kafka import Message as Found

FORMATS: Final = (Path(__file__).parents[2] / "docs" / "formats.md").read_text(encoding="utf-8")
PARTITIONS: Final = 3
LARGEST: Final = 2**63 - 1
OF_SOURCE: Final = {"microbatch.topic", "microbatch.partition", "microbatch.offset", "microbatch.batch"}
OF_ALL: Final = {"microbatch.pipeline", "microbatch.cursor"}
STREAM: Final = [
    *("device", "Select", "number", "price", "height", "city", "tag", "share", "weight", "processed_time", "seen"),
    *("order", "day", "id", "is new", "big", "first sent"),
]


# -- one story with every option, told once and read once --------------------------------------------------------

RENAMED: Final[dict[str, str]] = {}
"""Data that the transform looks up; where it changes, a redo moves results to other keys."""


def weigh_and_rename(readings: pd.DataFrame) -> pd.DataFrame:
    """As `weigh`; devices have other names if they are in RENAMED."""
    readings = weigh(readings)
    readings["device"] = [RENAMED.get(device, device) for device in readings["device"]]
    return readings


def with_all_types(prefix: str) -> Pipeline:
    """Every option, and a column of every type in rows, keys and measures."""
    base = everything(prefix, PARTITIONS)
    stream, *others = base.outputs
    assert isinstance(stream, Stream)
    more = {
        "day": "cast(_event_time as date)",
        "id": "cast(format('00000000-0000-0000-0000-{:012d}', number) as uuid)",
        "is new": "is_new",
        "big": "cast(9223372036854775807 as hugeint) * 10 + number",
        "first sent": "sent",
    }
    types = TumblingWindow(
        "1 hour",
        by=["day", "id", "is new", "price", "seen", "big"],
        measures={"first sent": Min("first sent"), "heaviest": Max("weight"), "weight": Sum("weight")},
        to=[KafkaTopic(f"{prefix}-types", partitions=2)],
        emit="early",
    )
    wider = msgspec.structs.replace(stream, columns={**(stream.columns or {}), **more})
    return everything(
        prefix,
        PARTITIONS,
        transform=Transform(weigh_and_rename, Weighed, version=2),
        outputs=[wider, *others, types],
    )


def reading(order: int, at: float = 0, **changes: Any) -> bytes:
    """A valid reading; `at` is its event time in seconds after T0."""
    plain = {
        "device": "d1",
        "number": 5,
        "price": "10.00",
        "is_new": True,
        "at": T0 + int(at),
        "measured": "2026-11-21T10:00:00Z",
        "colour": "red",
        "kind": "a",
        "place": {"city": "Rome", "height": 1},
        "tags": ["x"],
        "order-id": str(order),
    }
    return json.dumps({**plain, **changes}).encode()


THEIR_HEADERS: Final = (("trace", b"1"), ("microbatch.reason", b"theirs"), ("bytes", b"\xff\x00"), ("trace", b"2"))
LETTERS: Final = [
    # partition, key, value, seconds after T0, headers, reason (None: any)
    (0, b"k1", reading(6, tags=[]), 14, THEIR_HEADERS, "no tag"),
    (1, b"\x00\xfe", b"\xff\x00junk", 15, (), None),
    (1, None, reading(7, at=-3 * 3600 - 60), 16, (), "late"),
]
MINUTE_0: Final = [
    Message(reading(1, weight=LARGEST), 0, b"k1", T0 + 1.25),
    Message(reading(2, number=7, price=0.5, weight=LARGEST), 1, None, T0 + 2),
    Message(
        reading(3, device="d2", number=0, price="-1.25", colour="blue", kind="b", sent=T0 * 1000 + 5),
        2,
        b"\xffkey",
        T0 + 3,
        (("trace", b"1"),),
    ),
    Message(reading(4, device="d2", number=12, price="0.01", colour="blue", kind="b"), 2, b"", T0 + 4),
    Message(reading(5, device="d3", number=1), 0, b"k2", T0 + 5),
    Message(reading(8, is_new=False), 0, b"k2", T0 + 6),
    Message(reading(1, price=9), 0, b"k2", T0 + 7),
    Message(None, 2, b"k2", T0 + 8),
    *(Message(value, partition, key, T0 + s, headers) for partition, key, value, s, headers, _ in LETTERS),
]
MINUTE_1: Final = [
    Message(reading(9, at=30, number=3), 0, b"k1", T0 + 70),
    Message(reading(10, at=61, device="d3", number=11), 2, b"k3", T0 + 71.5),
]


class Told(msgspec.Struct, frozen=True):
    """The world after its story, and what Java's consumer has read of each topic, by the topic's last word."""

    world: World
    java: dict[str, list[Found]]

    @property
    def prefix(self) -> str:
        return self.world.pipeline.source.name.removesuffix("-readings")

    def history(self, topic: str) -> dict[bytes, list[Found]]:
        """The messages of each key, in their order."""
        found: dict[bytes, list[Found]] = defaultdict(list)
        for message in self.java[topic]:
            found[message.key or b""].append(message)
        return found

    def columns(self, schema: str, table: str) -> dict[str, str]:
        return columns_of(self.world, schema, table)


def columns_of(world: World, schema: str, table: str) -> dict[str, str]:
    """Names and types of a table's columns."""
    return dict(
        world.rows(
            "select attname, format_type(atttypid, atttypmod) from pg_attribute"
            " where attrelid = format('%%I.%%I', %s::text, %s::text)::regclass and attnum > 0 order by attnum",
            schema,
            table,
        )
    )


class DiedError(Exception):
    """The publisher died."""


def publish_without_commit(world: World, run: Run) -> None:
    """Publish, and die when all messages are sent and nothing is committed."""

    def die(*_: Any) -> None:
        raise DiedError

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("microbatch.sending.Sender._positions", die)
        with pytest.raises(DiedError):
            publish(world.pipeline, run, world.connections)


@pytest.fixture(scope="module")
def told(stack: Stack) -> Iterator[Told]:
    """Two minutes, a publisher that dies on its way, a correction, results that vanish and come back, an hour's end.

    Results vanish where a redo computes other keys: the transform looks devices up in data that has changed.
    """
    with new_database(stack) as dsn:
        made = new_world(stack, dsn, PARTITIONS)
        world = World(with_all_types(made.pipeline.source.name.removesuffix("-sales-usd")), made.connections)
        create_topics([world.pipeline], world.connections)
        world.send(*MINUTE_0)
        first = world.run_of(0)
        consume(world.pipeline, 0, first, world.connections)
        publish_without_commit(world, first)
        world.run_as(first)
        world.send(*MINUTE_1)
        world.run(1)
        RENAMED["d2"] = "d9"
        world.run_as(reprocess(0, 60, "renamed"))
        RENAMED.clear()
        world.run_as(reprocess(0, 60, "as it was"))
        world.run(59)
        topics = [world.pipeline.dead_letter_topic, *(output.topic for output in world.pipeline.outputs)]
        found = read_by_java(world, [topic.name for topic in topics if topic])
        yield Told(world, {name.rsplit("-", 1)[1]: messages for name, messages in found.items()})


def value_of(message: Found) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(message.value or b"")
    return found


# -- messages ----------------------------------------------------------------------------------------------------


def test_java_and_a_plain_client_read_the_same_messages(told: Told) -> None:
    for name, messages in told.java.items():
        assert messages == on_topic(told.world, f"{told.prefix}-{name}")
        assert messages


def test_each_message_is_seen_once_under_read_committed(told: Told) -> None:
    """The publisher that died has left a copy of the first messages of each topic, which were aborted."""
    for messages in told.java.values():
        assert max({message.partition: message.offset for message in reversed(messages)}.values()) > 0
    for name in ("minutes", "days", "types"):
        revisions = [(message.key, message.header("microbatch.revision")) for message in told.java[name]]
        assert len(revisions) == len(set(revisions))
    for name in ("valid", "pairs", "letters"):
        places = [
            (message.header("microbatch.partition"), message.header("microbatch.offset")) for message in told.java[name]
        ]
        assert len(places) == len(set(places))


@pytest.mark.parametrize(
    ("topic", "names"),
    [
        *((name, OF_ALL | {"microbatch.revision"}) for name in ("minutes", "days", "types")),
        ("valid", OF_ALL | OF_SOURCE),
        ("pairs", OF_ALL | OF_SOURCE),
        ("letters", OF_ALL | OF_SOURCE | {"microbatch.reason"}),
    ],
)
def test_each_message_has_exactly_the_headers_of_its_kind(told: Told, topic: str, names: set[str]) -> None:
    theirs = {name for name, _ in THEIR_HEADERS} - names
    for message in told.java[topic]:
        assert {name for name, _ in message.headers} - theirs == names
        assert message.header("microbatch.pipeline") == "everything"


def test_the_cursor_says_which_ledger_sent_it_and_never_falls_within_a_partition(told: Told) -> None:
    [(ledger,)] = told.world.rows("select ledger::text from microbatch.pipeline")
    for messages in told.java.values():
        last: dict[int, int] = defaultdict(int)
        for message in messages:
            cursor = json.loads(message.header("microbatch.cursor") or "")
            assert list(cursor) == ["ledger", "publication"]
            assert cursor["ledger"] == ledger
            assert cursor["publication"] >= last[message.partition]
            last[message.partition] = cursor["publication"]


# -- results -----------------------------------------------------------------------------------------------------

BY: Final = {
    "minutes": ["device", "Select"],
    "days": ["city"],
    "types": ["day", "id", "is new", "price", "seen", "big"],
}
MEASURES: Final = {
    "minutes": ["price", "weight", "readings", "lowest", "newest", "mean price"],
    "days": ["readings", "highest"],
    "types": ["first sent", "heaviest", "weight"],
}


@pytest.mark.parametrize("topic", BY)
def test_a_result_has_exactly_these_members_in_key_and_value(told: Told, topic: str) -> None:
    key = {"window_start", *BY[topic]}
    for message in told.java[topic]:
        found = json.loads(message.key or b"")
        assert found.keys() == key
        if message.value is not None:
            value = value_of(message)
            assert value.keys() == key | {"window_end", "is_final", "revision", *MEASURES[topic]}
            assert {name: value[name] for name in key} == found
            assert str(value["revision"]) == message.header("microbatch.revision")


def test_one_result_has_the_same_key_bytes_for_ever(told: Told) -> None:
    for topic in BY:
        meanings = [json.dumps(json.loads(key), sort_keys=True) for key in told.history(topic)]
        assert len(meanings) == len(set(meanings))


def test_the_timestamp_of_a_result_is_its_windows_end(told: Told) -> None:
    ends = {"minutes": {T0 + 60, T0 + 120}, "days": {T0 + 13 * 3600}, "types": {T0 + 3600}}
    for topic, expected in ends.items():
        assert {message.timestamp_ms for message in told.java[topic]} == {end * 1000 for end in expected}
        for message in told.java[topic]:
            if message.value is not None:
                end = datetime.fromisoformat(value_of(message)["window_end"])
                assert end.timestamp() * 1000 == message.timestamp_ms


def test_javas_producer_puts_the_same_keys_into_the_same_partitions(told: Told) -> None:
    sent = [message for topic in BY for message in told.java[topic]]
    three = [(message.key or b"", message.partition) for message in sent if message.topic.endswith("-minutes")]
    two = [(message.key or b"", message.partition) for message in sent if message.topic.endswith("-types")]
    assert len({partition for _, partition in three}) > 1
    for keys, partitions in ((three, 3), (two, 2)):
        topic = f"{told.prefix}-java-{partitions}"
        Broker(told.world.connections).create([NewTopic(topic, partitions)])

        send_by_java(told.world, topic, [(key, b"x") for key, _ in keys])

        by_java = {message.key: message.partition for message in on_topic(told.world, topic)}
        assert by_java == dict(keys)


def test_revisions_of_a_key_are_1_2_3_in_this_order_in_one_partition(told: Told) -> None:
    for topic in BY:
        for messages in told.history(topic).values():
            revisions = [int(message.header("microbatch.revision") or 0) for message in messages]
            assert revisions == list(range(1, len(messages) + 1))
            assert len({message.partition for message in messages}) == 1


def test_a_result_that_vanishes_is_a_tombstone_with_a_revision_and_may_come_back(told: Told) -> None:
    stories = {
        json.loads(key)["device"]: [None if message.value is None else value_of(message) for message in messages]
        for key, messages in told.history("minutes").items()
        if json.loads(key)["window_start"] == "2026-11-21T10:00:00Z"
    }
    shape = {
        device: [None if value is None else (value["revision"], value["readings"]) for value in story]
        for device, story in stories.items()
    }
    assert shape == {
        "d1": [(1, 2), (2, 3)],
        "d2": [(1, 2), None, (3, 2)],
        "d3": [(1, 1)],
        "d9": [(1, 2), None],
    }


def test_final_never_becomes_unfinal_and_what_follows_is_a_correction(told: Told) -> None:
    seen = set()
    for topic in BY:
        for messages in told.history(topic).values():
            finals = [value_of(message)["is_final"] for message in messages if message.value is not None]
            assert finals == sorted(finals)
            seen.add(tuple(finals))
    assert {(False, True), (True, True)} <= seen


def test_topics_that_microbatch_creates_for_results_are_compacted_and_for_letters_kept_for_ever(told: Told) -> None:
    for topic in BY:
        assert topic_config(told.world, f"{told.prefix}-{topic}")["cleanup.policy"] == "compact"
    letters = topic_config(told.world, f"{told.prefix}-letters")
    assert (letters["cleanup.policy"], letters["retention.ms"]) == ("delete", "-1")


# -- rows, pairs, dead letters -----------------------------------------------------------------------------------


def test_rows_have_the_streams_columns(told: Told) -> None:
    assert {tuple(sorted(value_of(message))) for message in told.java["valid"]} == {tuple(sorted(STREAM))}
    assert sorted(value_of(message)["order"] for message in told.java["valid"]) == [1, 2, 3, 4, 5, 9, 10]


def test_pairs_have_these_members_and_the_later_event_is_the_second(told: Told) -> None:
    names = ["first_value", "first_partition", "first_offset", "second_value", "second_partition", "second_offset"]
    pairs = [[value_of(message)[name] for name in names] for message in told.java["pairs"]]
    assert sorted(pairs) == [[0, 2, 0, 12, 2, 1], [1, 0, 1, 11, 2, 3], [5, 0, 0, 7, 1, 0]]
    for message in told.java["pairs"]:
        assert set(value_of(message)) == set(names)
        later = (message.header("microbatch.partition"), message.header("microbatch.offset"))
        assert later == (str(value_of(message)["second_partition"]), str(value_of(message)["second_offset"]))


def test_rows_pairs_and_letters_keep_key_and_timestamp_of_the_message_that_they_name(told: Told) -> None:
    name = told.world.pipeline.source.name
    source = {(str(found.partition), str(found.offset)): found for found in on_topic(told.world, name)}
    for topic in ("valid", "pairs", "letters"):
        for message in told.java[topic]:
            assert message.header("microbatch.topic") == name
            found = source[message.header("microbatch.partition") or "", message.header("microbatch.offset") or ""]
            assert (message.key, message.timestamp_ms) == (found.key, found.timestamp_ms)


@pytest.mark.parametrize("topic", ["valid", "pairs", "letters"])
def test_they_go_to_source_partition_mod_partitions_in_the_sources_order(told: Told, topic: str) -> None:
    offsets = defaultdict(list)
    for message in told.java[topic]:
        partition, offset = (int(message.header(f"microbatch.{name}") or -1) for name in ("partition", "offset"))
        assert message.partition == partition % 2
        offsets[partition].append(offset)
    assert all(found == sorted(found) for found in offsets.values())


def test_the_batch_in_a_header_is_the_one_that_read_the_message(told: Told) -> None:
    for topic in ("valid", "pairs", "letters"):
        for message in told.java[topic]:
            place = (message.header("microbatch.partition"), message.header("microbatch.offset"))
            [(batch,)] = told.world.rows(
                "select batch_id::text from microbatch.offset_range"
                " where partition = %s::int and offsets @> %s::bigint",
                *place,
            )
            assert message.header("microbatch.batch") == batch


def test_dead_letters_are_as_they_came_and_our_headers_come_last(told: Told) -> None:
    found = {message.timestamp_ms: message for message in told.java["letters"]}
    assert len(found) == len(LETTERS)
    for partition, key, value, seconds, headers, reason in LETTERS:
        letter = found[(T0 + seconds) * 1000]
        assert (letter.partition, letter.key, letter.value) == (partition % 2, key, value)
        assert letter.headers[: len(headers)] == headers
        ours = [name for name, _ in letter.headers[len(headers) :]]
        assert set(ours) == OF_ALL | OF_SOURCE | {"microbatch.reason"}
        assert letter.header("microbatch.reason") == reason or reason is None


# -- how values look ---------------------------------------------------------------------------------------------


def test_values_look_as_the_table_says(told: Told) -> None:
    rows = {value_of(message)["order"]: value_of(message) for message in told.java["valid"]}
    assert isinstance(rows[3].pop("processed_time"), str)
    assert rows[3] == {
        "device": "d2",
        "Select": "B:blue",
        "number": 0,
        "price": "-1.25",
        "height": "1.0",
        "city": "Rome",
        "tag": "x",
        "share": "-0.4167",
        "weight": 7,
        "seen": "2026-11-21T10:00:00.005000Z",
        "order": 3,
        "day": "2026-11-21",
        "id": "00000000-0000-0000-0000-000000000000",
        "is new": True,
        "big": 92233720368547758070,
        "first sent": "2026-11-21T10:00:00.005000Z",
    }
    assert (rows[1]["seen"], rows[1]["first sent"], rows[1]["price"]) == ("2026-11-21T10:00:00Z", None, "10.00")


def test_measures_look_as_the_table_says(told: Told) -> None:
    [corrected] = [value_of(messages[-1]) for key, messages in told.history("minutes").items() if b'"d1"' in key]
    assert corrected == {
        "window_start": "2026-11-21T10:00:00Z",
        "window_end": "2026-11-21T10:01:00Z",
        "device": "d1",
        "Select": "A:red",
        "price": "20.50",
        "weight": 2 * LARGEST + 7,
        "readings": 3,
        "lowest": "1.0",
        "newest": "2026-11-21T10:00:30Z",
        "mean price": "2.278",
        "is_final": True,
        "revision": 2,
    }


def test_keys_of_every_type_look_like_columns(told: Told) -> None:
    keys = {json.loads(key)["id"][-2:]: json.loads(key) for key in told.history("types")}
    assert keys["00"] == {
        "window_start": "2026-11-21T10:00:00Z",
        "day": "2026-11-21",
        "id": "00000000-0000-0000-0000-000000000000",
        "is new": True,
        "price": "-1.25",
        "seen": "2026-11-21T10:00:00.005000Z",
        "big": 92233720368547758070,
    }


def test_a_measure_over_no_value_at_all_is_null(told: Told) -> None:
    firsts = {json.loads(key)["id"][-2:]: value_of(found[-1]) for key, found in told.history("types").items()}
    assert firsts["05"]["first sent"] is None
    assert firsts["00"]["first sent"] == "2026-11-21T10:00:00.005000Z"


# -- tables ------------------------------------------------------------------------------------------------------


def cells(header: str) -> list[list[str]]:
    """The rows of the table in the document that has this header."""
    lines = iter(FORMATS.splitlines())
    assert header in lines, f"docs/formats.md has no table {header}"
    next(lines)
    found = []
    for line in lines:
        if not line.startswith("|"):
            break
        found.append([cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]])
    return found


def names_in(text: str) -> list[str]:
    return re.findall(r"`([^`]+)`", text)


def documented() -> dict[str, tuple[list[str], list[str]]]:
    """The key and the own columns of each table, by its kind and suffix, such as `window _history`."""
    rows = cells("| table | key | columns beside the declared |")
    return {kind.replace("`", ""): (names_in(key), names_in(columns)) for kind, key, columns in rows}


def tables(told: Told) -> dict[str, tuple[str, str, list[str]]]:
    """Schema, name and declared columns of the tables that occur, by kind and suffix."""
    declared = [*BY["minutes"], *MEASURES["minutes"]]
    partials = [
        *("price", "price__count", "weight", "weight__count", "readings", "lowest", "lowest__count"),
        *("newest", "newest__count", "mean price__sum", "mean price__count"),
    ]
    rows, minutes, pairs = f'{told.prefix} "readings"', f"{told.prefix}_minutes", f"{told.prefix}_pairs"
    return {
        "window": ("public", minutes, declared),
        "window _history": ("public", f"{minutes}_history", declared),
        "window _contribution": ("public", f"{minutes}_contribution", [*BY["minutes"], *partials]),
        "stream": ("public", rows, STREAM),
        "stream _key": ("public", f"{rows}_key", ["device", "order"]),
        "pairs": ("public", pairs, []),
        "pairs _waiting": ("public", f"{pairs}_waiting", []),
    }


def test_the_document_names_exactly_the_tables_and_columns_that_occur(told: Told) -> None:
    expected = tables(told)
    assert documented().keys() == expected.keys()
    for kind, (schema, name, declared) in expected.items():
        assert set(told.columns(schema, name)) == {*declared, *documented()[kind][1]}, kind
    found = told.world.rows("select tablename from pg_tables where schemaname = 'public'")
    assert {name for (name,) in found} == {name for _, name, _ in expected.values()}
    assert {
        name for (name,) in told.world.rows("select tablename from pg_tables where schemaname = 'microbatch_topic'")
    } == {
        f"{told.prefix}-{topic}{suffix}" for topic in ("days", "types") for suffix in ("", "_contribution", "_history")
    }


def test_the_document_names_exactly_the_headers_that_occur(told: Told) -> None:
    occurring = {name for messages in told.java.values() for message in messages for name, _ in message.headers} - {
        name for name, _ in THEIR_HEADERS if not name.startswith("microbatch.")
    }
    listed = [name for names, *_ in cells("| header | on | value (UTF-8 text) |") for name in names_in(names)]
    occurring.add("microbatch.redriven")  # only on a source: tests/faults/test_redrive.py
    assert set(listed) == occurring
    assert set(re.findall(r"`(microbatch\.[a-z]+)`", FORMATS)) == occurring


def test_the_keys_of_tables_are_those_of_the_document(told: Told) -> None:
    declared = {"by": BY["minutes"], "unique": ["device", "order"]}
    for kind, (schema, name, _) in tables(told).items():
        listed = [column for each in documented()[kind][0] for column in declared.get(each, [each])]
        found = told.world.rows(
            "select a.attname from pg_index as i cross join unnest(i.indkey) with ordinality as k (attnum, place)"
            " join pg_attribute as a on a.attrelid = i.indrelid and a.attnum = k.attnum"
            " where i.indisprimary and i.indrelid = format('%%I.%%I', %s::text, %s::text)::regclass order by k.place",
            schema,
            name,
        )
        assert [column for (column,) in found] == (listed or list(told.columns(schema, name))), kind


def test_columns_have_the_types_of_the_document(told: Told) -> None:
    rows = told.columns("public", f'{told.prefix} "readings"')
    window = told.columns("public", f"{told.prefix}_minutes")
    assert {name: rows[name] for name in STREAM} == {
        **dict.fromkeys(["device", "Select", "city", "tag"], "text"),
        **dict.fromkeys(["number", "weight", "order"], "bigint"),
        **dict.fromkeys(["processed_time", "seen", "first sent"], "timestamp with time zone"),
        "price": "numeric(17,2)",
        "height": "numeric(16,1)",
        "share": "numeric(18,4)",
        "day": "date",
        "id": "uuid",
        "is new": "boolean",
        "big": "numeric",
    }
    assert [window[name] for name in MEASURES["minutes"]] == [
        *("numeric(50,2)", "numeric", "bigint", "numeric(16,1)", "timestamp with time zone", "numeric(50,3)")
    ]


def test_a_windows_table_has_what_the_last_messages_of_its_topic_say(told: Told) -> None:
    tables = {
        "minutes": f'"{told.prefix}_minutes"',
        **{topic: f'microbatch_topic."{told.prefix}-{topic}"' for topic in ("days", "types")},
    }
    for topic, table in tables.items():
        last = [value_of(found[-1]) for found in told.history(topic).values() if found[-1].value is not None]
        names = [name for name in last[0] if name != "window_end"]
        shown = ", ".join(f'"{name}"' for name in ("window_end", *names))
        rows = [
            dict(zip(("window_end", *names), row, strict=True))
            for row in told.world.rows(f"select {shown} from {table}")
        ]
        assert sorted(map(plain, rows)) == sorted(json.dumps(value, sort_keys=True) for value in last)


def plain(row: dict[str, Any]) -> str:
    """A row as JSON, written here once more and without the engine's code."""

    def shown(value: Any) -> Any:
        if isinstance(value, datetime):
            return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
        if isinstance(value, Decimal):
            return int(value) if value.as_tuple().exponent == 0 else f"{value:f}"
        return value if value is None or isinstance(value, (int, str)) else str(value)

    return json.dumps({name: shown(value) for name, value in row.items()}, sort_keys=True)


def test_history_has_every_revision_and_the_time_in_which_it_held(told: Told) -> None:
    rows = told.world.rows(
        "select device, window_start, revision, retracted, readings, valid_from, valid_to, batches"
        f' from "{told.prefix}_minutes_history" order by 1, 2, 3'
    )
    messages = {
        (json.loads(message.key or b"")["device"], int(message.header("microbatch.revision") or 0)): message
        for message in told.java["minutes"]
        if b"10:00:00Z" in (message.key or b"")
    }
    first_minute = [row for row in rows if row[1] == datetime.fromtimestamp(T0, UTC)]
    assert {(row[0], row[2]) for row in first_minute} == messages.keys()
    for device, _, revision, retracted, count, _, valid_to, batches in first_minute:
        assert retracted == (messages[device, revision].value is None)
        assert (count is None) == retracted == (batches == [])
        assert (valid_to is None) == ((device, revision + 1) not in messages)
    for row, following in pairwise(rows):
        if row[:2] == following[:2]:
            assert row[6] == following[5]


def test_the_contributions_of_a_results_batches_sum_to_it(told: Told) -> None:
    table = f"{told.prefix}_minutes"
    rows = told.world.rows(
        "select r.readings, r.price, h.batches,"
        " array_agg(c.batch_id order by c.batch_id), sum(c.readings), sum(c.price)"
        f' from "{table}" as r join "{table}_history" as h using (window_start, device, "Select", revision)'
        f' join "{table}_contribution" as c using (window_start, device, "Select")'
        ' group by window_start, device, "Select", r.readings, r.price, h.batches'
    )
    assert len(rows) == 4
    for readings, price, batches, contributing, sum_of_readings, sum_of_prices in rows:
        assert (readings, price, batches) == (sum_of_readings, sum_of_prices, contributing)


def test_a_streams_table_has_the_rows_that_were_sent_and_keys_say_which_was_the_first(told: Told) -> None:
    sent = {
        (int(message.header("microbatch.partition") or -1), int(message.header("microbatch.offset") or -1))
        for message in told.java["valid"]
    }
    for table in (f'"{told.prefix} ""readings"""', f'"{told.prefix} ""readings""_key"'):
        assert set(told.world.rows(f"select source_partition, source_offset from {table}")) == sent


def test_an_event_waits_or_is_in_exactly_one_pair(told: Told) -> None:
    pairs = f'"{told.prefix}_pairs"'
    booked = told.world.rows(
        f"select first_partition, first_offset from {pairs}"
        f" union all select second_partition, second_offset from {pairs}"
        f' union all select source_partition, source_offset from "{told.prefix}_pairs_waiting"'
    )
    rows = told.world.rows(f'select source_partition, source_offset from "{told.prefix} ""readings"""')
    assert sorted(booked) == sorted(rows)


# -- what is not promised ----------------------------------------------------------------------------------------


def test_a_redo_sends_no_row_no_pair_and_no_letter_again(told: Told) -> None:
    assert told.world.rows("select max(attempt) from microbatch.batch") == [(3,)]
    assert [len(told.java[topic]) for topic in ("valid", "pairs", "letters")] == [7, 3, len(LETTERS)]


def test_a_streams_topic_has_the_brokers_retention(told: Told) -> None:
    assert topic_config(told.world, f"{told.prefix}-valid")["retention.ms"] == str(7 * 86_400_000)


def test_a_windows_end_of_exactly_0_is_sent_with_the_time_of_sending(world: World) -> None:
    world.send(sale("ada", 3, -1), sale("bob", 3, -61))
    started_ms = time.time() * 1000

    world.run(minute=0)

    topic = world.pipeline.outputs[0].topic
    assert topic is not None
    found = {value_of(message)["seller_id"]: message.timestamp_ms for message in on_topic(world, topic.name)}
    assert started_ms - 1000 < found["ada"] < time.time() * 1000 + 1000
    assert found["bob"] == -60_000


# -- what a source may contain -----------------------------------------------------------------------------------


class Shade(Enum):
    """Shades."""

    DARK = "dark"


class Inner(Event):
    """A part."""

    city: str


class Given(Event):
    """A field of each type; all may be null or absent, but `needed`."""

    needed: int
    text: str | None = None
    whole: int | None = None
    flag: bool | None = None
    money: Annotated[Decimal, Scale(2)] | None = None
    seconds: EpochSeconds | None = None
    millis: EpochMillis | None = None
    moment: datetime | None = None
    shade: Shade | None = None
    choice: Literal[1, 2] | None = None
    inner: Inner | None = None
    items: list[str] | None = None
    named: str | None = msgspec.field(name="json name", default=None)


COLUMNS: Final = {
    **{
        name: name
        for name in ("text", "whole", "flag", "money", "seconds", "millis", "moment", "shade", "choice", "named")
    },
    "city": '"inner".city',
    "item": "items[1]",
    "key": "coalesce(text, '')",
    "rest": "coalesce(named, '')",
}
TAKEN: Final[list[tuple[str, str, dict[str, Any]]]] = [
    # rule, members of the object, what comes out
    ("unknown members are ignored", '"other": [1e999, {"a": null}]', {}),
    ("of a member that is there twice the last counts", '"text": "a", "text": "b"', {"text": "b"}),
    ("names know case", '"Text": 5', {}),
    ("null is taken where the type says so", '"text": null, "money": null, "inner": null', {}),
    ("what may be absent is as good as null", '"json name": "x", "named": "y"', {"named": "x"}),
    ("nesting", '"other": ' + "[" * 499 + "]" * 499, {}),
    ("brackets in strings are no nesting", '"text": "' + "[" * 600 + '"', {"text": "[" * 600}),
    ("texts", r'"text": "\ud83d\ude00 \u00e9\n"', {"text": "😀 é\n"}),
    ("the greatest integer", '"whole": 9223372036854775807', {"whole": LARGEST}),
    ("the least integer", '"whole": -9223372036854775808', {"whole": -LARGEST - 1}),
    ("booleans", '"flag": false', {"flag": False}),
    ("a decimal as a number", '"money": 1.5', {"money": "1.50"}),
    ("a decimal as a string", '"money": "-1.5"', {"money": "-1.50"}),
    ("a decimal as Python takes it", '"money": " +1_000.5 "', {"money": "1000.50"}),
    ("a decimal with an exponent", '"money": 1e2', {"money": "100.00"}),
    ("zeros at a decimal's end", '"money": 1.5000', {"money": "1.50"}),
    ("15 digits before the point", '"money": 999999999999999.99', {"money": "999999999999999.99"}),
    ("no negative zero", '"money": -0.00', {"money": "0.00"}),
    ("seconds", '"seconds": 1763719200', {"seconds": "2025-11-21T10:00:00Z"}),
    ("seconds as a string", '"seconds": "-1"', {"seconds": "1969-12-31T23:59:59Z"}),
    ("the first second", '"seconds": -62134992000', {"seconds": "0001-01-08T00:00:00Z"}),
    ("the last second", '"seconds": 253401609599', {"seconds": "9999-12-23T23:59:59Z"}),
    ("milliseconds", '"millis": 1763719200005', {"millis": "2025-11-21T10:00:00.005000Z"}),
    ("a time with an offset", '"moment": "2026-11-21T10:00:00+01:30"', {"moment": "2026-11-21T08:30:00Z"}),
    (
        "times are rounded to microseconds",
        '"moment": "2026-11-21T10:00:00.1234567Z"',
        {"moment": "2026-11-21T10:00:00.123457Z"},
    ),
    ("a value of an enumeration", '"shade": "dark", "choice": 2', {"shade": "dark", "choice": 2}),
    ("another event", '"inner": {"city": "Rome", "more": 1}', {"city": "Rome"}),
    ("a list", '"items": ["a"]', {"item": "a"}),
    ("a key of 2,000 bytes", f'"text": "{"ü" * 999}", "json name": "xx"', {"text": "ü" * 999, "named": "xx"}),
]
REFUSED: Final = {
    "unknown members have to be JSON": '"other": NaN',
    "each of two members has to be valid": '"text": 1, "text": "b"',
    "null where the type does not say so": '"needed": null',
    "nesting of 501": '"other": ' + "[" * 500 + "]" * 500,
    "NUL in a text": r'"text": "\u0000"',
    "half a surrogate pair": r'"text": "\ud800"',
    "a number for a text": '"text": 1',
    "an integer with a point": '"whole": 1.0',
    "an integer with an exponent": '"whole": 1e2',
    "an integer as a string": '"whole": "1"',
    "an integer of 65 bits": '"whole": 9223372036854775808',
    "a number for a boolean": '"flag": 1',
    "too many digits after the point": '"money": "1.505"',
    "16 digits before the point": '"money": 1000000000000000',
    "infinity": '"money": "Infinity"',
    "not a number": '"money": "NaN"',
    "seconds with a point": '"seconds": 1.0',
    "seconds as a string with a space": '"seconds": " 1"',
    "a second too early": '"seconds": -62134992001',
    "a second too late": '"seconds": 253401609600',
    "a time without an offset": '"moment": "2026-11-21T10:00:00"',
    "a date for a time": '"moment": "2026-11-21"',
    "a number for a time": '"moment": 1763719200',
    "a time too late": '"moment": "9999-12-24T00:00:00Z"',
    "a value that the enumeration does not have": f'"shade": "{"light" * 200}"',
    "a string of an integer of an enumeration": '"choice": "1"',
    "an invalid part of another event": '"inner": {}',
    "an invalid item of a list": '"items": [null]',
    "a key of 2,001 bytes": f'"text": "{"ü" * 999}", "json name": "xxx"',
}
NOT_OBJECTS: Final = {
    "an array": b"[]",
    "null": b"null",
    "nothing, which is no tombstone": b"",
    "no JSON": b'{"needed": 1',
    "two objects": b'{"needed": 1} {"needed": 1}',
    "a byte order mark": b'\xef\xbb\xbf{"needed": 1}',
    "not UTF-8": b'{"needed": 1, "text": "\xff"}',
    "what must be there is absent": b'{"text": "a"}',
}


class Inputs(msgspec.Struct, frozen=True):
    """What became of each message, by its key: values of rows, reasons of letters; and the types of the rows' table."""

    rows: dict[str, dict[str, Any]]
    letters: dict[str, str]
    types: dict[str, str]


@pytest.fixture(scope="module")
def inputs(stack: Stack) -> Iterator[Inputs]:
    """All of the cases, in one run."""
    with new_database(stack) as dsn:
        made = new_world(stack, dsn, 1)
        name = made.pipeline.source.name
        stream = Stream(columns=COLUMNS, to=[PostgresTable("rows"), KafkaTopic(f"{name}-rows", partitions=1)])
        window = TumblingWindow("1 day", by=["key", "rest"], measures={"n": Count()}, to=[PostgresTable("by_key")])
        world = made.replace(source=KafkaTopic(name, Given), outputs=[stream, window], max_rejected=1.0)
        create_topics([world.pipeline], world.connections)
        objects = {rule: members for rule, members, _ in TAKEN} | REFUSED
        values = {rule: f'{{"needed": 1, {members}}}'.encode() for rule, members in objects.items()}
        world.send(*(Message(value, key=rule.encode()) for rule, value in (values | NOT_OBJECTS).items()))
        world.send(Message(b' {"needed": 1}\n', key=b"space around"), Message(None, key=b"a tombstone"))
        world.run(0)
        rows, letters = on_topic(world, f"{name}-rows"), on_topic(world, world.pipeline.dead_letter_topic.name)
        yield Inputs(
            {(message.key or b"").decode(): value_of(message) for message in rows},
            {(message.key or b"").decode(): message.header("microbatch.reason") or "" for message in letters},
            columns_of(world, "public", "rows"),
        )


@pytest.mark.parametrize(("rule", "expected"), [(rule, expected) for rule, _, expected in TAKEN])
def test_a_source_may_contain(inputs: Inputs, rule: str, expected: dict[str, Any]) -> None:
    shown = {name: value for name, value in inputs.rows[rule].items() if value is not None}
    assert {name: value for name, value in shown.items() if name not in ("key", "rest")} == expected


def test_white_space_around_the_object_is_taken_and_a_tombstone_is_skipped(inputs: Inputs) -> None:
    assert "space around" in inputs.rows
    assert "a tombstone" not in inputs.letters.keys() | inputs.rows.keys()


def test_a_reason_has_at_most_500_characters(inputs: Inputs) -> None:
    assert max(map(len, inputs.letters.values())) == 500
    assert all(inputs.letters.values())


def test_fields_have_the_column_types_of_the_document(inputs: Inputs) -> None:
    assert {name: inputs.types[name] for name in COLUMNS} == {
        **dict.fromkeys(["text", "shade", "named", "city", "item", "key", "rest"], "text"),
        **dict.fromkeys(["whole", "choice"], "bigint"),
        **dict.fromkeys(["seconds", "millis", "moment"], "timestamp with time zone"),
        "flag": "boolean",
        "money": "numeric(17,2)",
    }


@pytest.mark.parametrize("rule", [*REFUSED, *NOT_OBJECTS])
def test_a_dead_letter_is(inputs: Inputs, rule: str) -> None:
    assert rule in inputs.letters
    assert rule not in inputs.rows
