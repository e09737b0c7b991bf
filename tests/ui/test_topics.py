"""The topics page: which topics a person sees, and messages as a plain consumer of the test's own has them."""

import json
from collections.abc import Iterator
from threading import Thread
from typing import Any

import msgspec
import pytest
from confluent_kafka import OFFSET_BEGINNING, Consumer, Producer, TopicPartition
from starlette.testclient import TestClient

from fix_others import add_partition, delete_messages, delete_topic, recreate_source
from fix_pipeline import T0, Message, World, new_database, new_world, sale
from fix_stack import Stack
from fix_ui import OpenUi, Person
from outside import open_transaction, wait_for_end

TOPICS = "/microbatch/api/topics"


@pytest.fixture(scope="module")
def registered(stack: Stack) -> Iterator[World]:
    """A sales pipeline that has run once: two sales, and a message that it rejected; two messages came since.

    Tests only read from it.
    """
    with new_database(stack) as dsn:
        world = new_world(stack, dsn)
        world.send(sale("ada", 3), Message(sale("eve", 4), 1), b"<script>alert(1)</script>")
        world.run(0)
        headers = (("trace", b"a"), ("trace", b"\xfe"))
        world.send(Message(b'{"n":12345678901234567890}', 1, b"\xff", T0 + 0.25, headers), Message(sale(), 1))
        yield world


@pytest.fixture
def client(registered: World, open_ui: OpenUi) -> TestClient:
    return open_ui(registered.connections)


def topics(client: TestClient) -> dict[str, dict[str, Any]]:
    answer = client.get(TOPICS)
    assert answer.status_code == 200, answer.text
    return {each["topic"]: each for each in answer.json()}


def ask(client: TestClient, topic: str, **params: Any) -> dict[str, Any]:
    answer = client.get(f"{TOPICS}/{topic}/messages", params=params)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def refusal(client: TestClient, topic: str, **params: Any) -> tuple[int, str]:
    answer = client.get(f"{TOPICS}/{topic}/messages", params=params)
    return answer.status_code, answer.json()["detail"]


def places(page: dict[str, Any]) -> list[tuple[int, int]]:
    return [(message["partition"], message["offset"]) for message in page["messages"]]


def walked(client: TestClient, topic: str, cursor: str, **params: Any) -> list[tuple[int, int]]:
    """All messages from page to page, in the order of the walk: `cursor` is `previous` or `next`."""
    name, has_more = ("before", "has_older") if cursor == "previous" else ("after", "has_newer")
    page = ask(client, topic, **params, **({} if name == "before" else {name: "{}"}))
    found = []
    while True:
        found += places(page) if name == "before" else places(page)[::-1]
        if not page[has_more]:
            return found
        page = ask(client, topic, **params, **{name: json.dumps(page[cursor])})


def plainly(world: World, topic: str, isolation: str = "read_committed") -> dict[int, list[int]]:
    """The offsets of each partition's messages, as a plain consumer reads them."""
    consumer = Consumer(
        {
            "bootstrap.servers": world.connections.bootstrap,
            "group.id": "observer",
            "isolation.level": isolation,
            "enable.partition.eof": True,
        }
    )
    found: dict[int, list[int]] = {p: [] for p in consumer.list_topics(topic, timeout=60).topics[topic].partitions}
    consumer.assign([TopicPartition(topic, partition, OFFSET_BEGINNING) for partition in found])
    left = len(found)
    while left:
        message = consumer.poll(60)
        assert message is not None, f"{topic} does not answer"
        if message.error():
            left -= 1
        else:
            found[message.partition() or 0].append(message.offset() or 0)
    consumer.close()
    return found


def by_partition(found: list[tuple[int, int]], partitions: int = 2) -> dict[int, list[int]]:
    return {partition: [offset for p, offset in found if p == partition] for partition in range(partitions)}


def registered_only(world: World) -> World:
    """A world whose pipeline has run once."""
    world.run(-1)
    return world


def refusal_of_nothing(client: TestClient, world: World) -> tuple[int, str]:
    """What is said of a topic that nobody has, with the name of the pipeline's source."""
    code, text = refusal(client, "nobodys")
    return code, text.replace("nobodys", world.pipeline.source.name)


def produce(world: World) -> None:
    """Transactions over both partitions, every third one aborted, and messages of another producer between them."""
    bootstrap, topic = world.connections.bootstrap, world.pipeline.source.name
    plain = Producer({"bootstrap.servers": bootstrap, "linger.ms": 0})
    producer = Producer({"bootstrap.servers": bootstrap, "transactional.id": f"tail-{topic}"})
    producer.init_transactions(30)
    for number in range(60):
        producer.begin_transaction()
        for n in range(6):
            producer.produce(topic, sale(), partition=n % 2)
            plain.produce(topic, sale(), partition=n % 2)
        assert plain.flush(120) == 0
        if number % 3 == 0:
            assert producer.flush(120) == 0
            producer.abort_transaction(30)
        else:
            producer.commit_transaction(30)


# -- which topics ------------------------------------------------------------------------------------------


def test_topics_say_what_they_are_and_how_far_they_are_read(registered: World, client: TestClient) -> None:
    source = registered.pipeline.source.name

    found = topics(client)

    covered = dict(registered.rows("select partition, covered_until from microbatch.partition_progress"))
    assert covered == {0: 2, 1: 1}
    assert [found[source][name] for name in ("role", "pipelines", "is_there", "messages")] == [
        ["source"],
        ["sales"],
        True,
        5,
    ]
    assert found[source]["readers"] == [{"pipeline": "sales", "behind": 2}]
    assert found[source]["partitions"] == [
        {"partition": 0, "low": 0, "high": 2, "last_stable": 2, "covered_until": 2},
        {"partition": 1, "low": 0, "high": 3, "last_stable": 3, "covered_until": 1},
    ]
    results = registered.pipeline.outputs[0].topic
    assert results is not None
    assert {name: each["role"] for name, each in found.items() if name != source} == {
        results.name: ["results"],
        registered.pipeline.dead_letter_topic.name: ["dead letters"],
    }
    assert all(each["readers"] == [] for name, each in found.items() if name != source)


def test_a_topic_that_is_no_more_says_so(world: World, open_ui: OpenUi) -> None:
    client = open_ui(registered_only(world).connections)
    source = world.pipeline.source.name
    delete_topic(world, source)

    found = topics(client)[source]

    assert [found["is_there"], found["partitions"]] == [False, []]
    assert found["readers"] == [{"pipeline": "sales", "behind": None}]
    assert refusal(client, source)[0] == 404


def test_what_was_covered_of_a_deleted_topic_is_not_said_of_a_new_one(world: World, open_ui: OpenUi) -> None:
    world.send(*[sale()] * 3)
    client = open_ui(registered_only(world).connections)
    recreate_source(world)
    world.send(sale())

    found = topics(client)[world.pipeline.source.name]

    assert [(each["high"], each["covered_until"]) for each in found["partitions"]] == [(1, None), (0, None)]
    assert found["readers"] == [{"pipeline": "sales", "behind": None}]


def test_topics_of_others_are_as_if_there_were_none(registered: World, open_ui: OpenUi) -> None:
    client = open_ui(registered.connections, Person(dags=frozenset({"other"})))

    assert topics(client) == {}
    assert refusal(client, registered.pipeline.source.name) == refusal_of_nothing(client, registered)


def test_messages_are_only_for_those_who_may_read_topics(registered: World, open_ui: OpenUi) -> None:
    client = open_ui(registered.connections, Person(reads_data=False))

    assert client.get(TOPICS).status_code == 403
    assert refusal(client, registered.pipeline.source.name)[0] == 403


# -- which messages ----------------------------------------------------------------------------------------


def test_a_message_is_shown_with_all_that_it_has(registered: World, client: TestClient) -> None:
    (message,) = ask(client, registered.pipeline.source.name, partition=1, offset=1, limit=1)["messages"]

    whole = {"is_json": False, "is_hex": False, "is_cut": False}
    assert message == {
        "partition": 1,
        "offset": 1,
        "timestamp": "2026-11-21T10:00:00.250000Z",
        "timestamp_ms": T0 * 1000 + 250,
        "timestamp_type": "CreateTime",
        "key": {**whole, "text": "ff", "size": 1, "is_hex": True},
        "value": {**whole, "text": '{\n  "n": 12345678901234567890\n}', "size": 26, "is_json": True},
        "headers": [
            ["trace", {**whole, "text": "a", "size": 1}],
            ["trace", {**whole, "text": "fe", "size": 1, "is_hex": True}],
        ],
    }


def test_a_dead_letter_is_shown_as_it_was_sent(registered: World, client: TestClient) -> None:
    (message,) = ask(client, registered.pipeline.dead_letter_topic.name)["messages"]

    assert message["value"]["text"] == "<script>alert(1)</script>"
    assert ["microbatch.offset", "1"] in [[name, shown["text"]] for name, shown in message["headers"]]


def test_the_newest_messages_of_all_partitions_come_by_time(world: World, open_ui: OpenUi) -> None:
    client = open_ui(registered_only(world).connections)
    world.send(*(Message(sale(), n % 2, at_s=T0 + n) for n in range(10)))

    page = ask(client, world.pipeline.source.name, limit=3)

    assert places(page) == [(1, 4), (0, 4), (1, 3)]
    assert [page["has_older"], page["has_newer"]] == [True, False]


def test_a_time_leads_to_the_first_message_from_then_on(world: World, open_ui: OpenUi) -> None:
    client = open_ui(registered_only(world).connections)
    world.send(*(Message(sale(), n % 2, at_s=T0 + n) for n in range(10)))
    source = world.pipeline.source.name

    page = ask(client, source, time="2026-11-21T10:00:05", limit=2)

    assert places(page) == [(0, 3), (1, 2)]
    assert [page["has_older"], page["has_newer"]] == [True, True]
    assert ask(client, source, time="2026-11-21T12:00:00+01:00")["messages"] == []


def test_aborted_and_open_transactions_are_shown_only_if_asked_for(world: World, open_ui: OpenUi) -> None:
    client = open_ui(registered_only(world).connections)
    source = world.pipeline.source.name
    world.send(sale())
    open_transaction(world, *[Message(sale())] * 2).abort_transaction(30)
    wait_for_end(world, 4)
    pending = open_transaction(world, Message(sale()))

    committed, all_ = ask(client, source, partition=0), ask(client, source, partition=0, committed="false")

    assert places(committed) == [(0, 0)]
    assert places(all_) == [(0, 4), (0, 2), (0, 1), (0, 0)]
    assert [committed["next"], all_["next"]] == [{"0": 4}, {"0": 5}]
    pending.commit_transaction(30)
    wait_for_end(world, 6)
    assert places(ask(client, source, partition=0, after=json.dumps(committed["next"]))) == [(0, 4)]


@pytest.mark.parametrize("cursor", ["previous", "next"])
@pytest.mark.parametrize("isolation", ["read_committed", "read_uncommitted"])
def test_page_by_page_each_message_comes_once(world: World, open_ui: OpenUi, cursor: str, isolation: str) -> None:
    client = open_ui(registered_only(world).connections)
    source = world.pipeline.source.name
    # Far more holes than messages, and messages again below them.
    for _ in range(3):
        world.send(*[Message(sale())] * 60, *[Message(sale(), 1)] * 3)
        open_transaction(world, *[Message(sale())] * 1500).abort_transaction(30)
        open_transaction(world, Message(sale())).commit_transaction(30)
    wait_for_end(world, 3 * 1563)

    is_committed = isolation == "read_committed"

    found = walked(client, source, cursor, limit=40 if is_committed else 400, committed=is_committed)

    expected = plainly(world, source, isolation)
    assert sum(map(len, expected.values())) == (192 if is_committed else 192 + 4500)
    assert by_partition(found if cursor == "next" else found[::-1]) == expected


@pytest.mark.parametrize("isolation", ["read_committed", "read_uncommitted"])
def test_the_live_tail_neither_misses_nor_repeats_a_message(world: World, open_ui: OpenUi, isolation: str) -> None:
    client = open_ui(registered_only(world).connections)
    source = world.pipeline.source.name
    params = {"committed": isolation == "read_committed", "limit": 25}
    world.send(sale())
    page = ask(client, source, **params)
    seen = places(page)
    producing = Thread(target=produce, args=(world,))
    producing.start()

    is_over = False
    while not is_over:
        # What was sent before a look has to be there after it.
        is_over = not producing.is_alive()
        page = ask(client, source, **params, after=json.dumps(page["next"]))
        seen += places(page)[::-1]
        is_stable = all(at["last_stable"] == at["high"] for at in page["ends"])
        is_over = is_over and is_stable and not page["has_newer"]

    expected = plainly(world, source, isolation)
    assert min(map(len, expected.values())) > 100
    assert by_partition(seen) == expected


def test_the_live_tail_takes_up_a_new_partition(world: World, open_ui: OpenUi) -> None:
    client = open_ui(registered_only(world).connections)
    page = ask(client, world.pipeline.source.name)
    added = add_partition(world)
    world.send(Message(sale(), added))

    assert places(ask(client, world.pipeline.source.name, after=json.dumps(page["next"]))) == [(added, 0)]


def test_what_retention_has_deleted_is_said(world: World, open_ui: OpenUi) -> None:
    client = open_ui(registered_only(world).connections)
    world.send(*[Message(sale())] * 5)
    delete_messages(world, 0, below=3)

    page = ask(client, world.pipeline.source.name, partition=0, offset=1)

    assert page["deleted"] == [{"partition": 0, "start": 1, "end": 3}]
    assert [places(page), page["has_older"]] == [[(0, 4), (0, 3)], False]


def test_large_messages_come_a_few_at_a_time(world: World, open_ui: OpenUi) -> None:
    client = open_ui(registered_only(world).connections)
    world.send(*[Message(b"x" * 900_000, n % 2) for n in range(14)])
    source = world.pipeline.source.name

    page = ask(client, source)

    assert {message["value"]["is_cut"] for message in page["messages"]} == {True}
    assert {message["value"]["size"] for message in page["messages"]} == {900_000}
    assert by_partition(walked(client, source, "previous")[::-1]) == {0: [*range(7)], 1: [*range(7)]}
    assert by_partition(walked(client, source, "next")) == {0: [*range(7)], 1: [*range(7)]}


# -- what cannot be answered -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("params", "status", "text"),
    [
        ({"offset": 3}, 400, "Offset 3 is of which partition? Give partition too"),
        ({"offset": 3, "partition": 0, "time": "2026-11-21"}, 400, "Give only one of offset, time, after and before"),
        ({"after": '{"0": -1}'}, 400, """after is '{"0": -1}': give offsets by partition, such as"""),
        ({"before": "[" * 9999}, 400, "before is '[[["),
        ({"partition": 2}, 404, "has no partition 2: its last one is 1"),
        ({"partition": 0, "offset": 3}, 409, "[0] ends at offset 2, before 3: ask for a lower one"),
        ({"after": '{"1": 4}'}, 409, "[1] ends at offset 3, before 4"),
    ],
)
def test_a_wrong_question_is_answered_with_a_remedy(
    registered: World, client: TestClient, params: dict[str, Any], status: int, text: str
) -> None:
    found = refusal(client, registered.pipeline.source.name, **params)

    assert found[0] == status
    assert text in found[1]


@pytest.mark.parametrize(
    "params", [{"limit": 0}, {"limit": 501}, {"offset": -1}, {"offset": 2**63}, {"partition": 2**31}]
)
def test_numbers_have_bounds(registered: World, client: TestClient, params: dict[str, Any]) -> None:
    answer = client.get(f"{TOPICS}/{registered.pipeline.source.name}/messages", params=params)

    assert answer.status_code == 422


def test_without_kafka_the_address_is_named(registered: World, open_ui: OpenUi) -> None:
    nowhere = msgspec.structs.replace(registered.connections, kafka={"bootstrap.servers": "127.0.0.1:1"})

    answer = open_ui(nowhere).get(TOPICS)

    assert answer.status_code == 503
    assert "127.0.0.1:1" in answer.json()["detail"]
