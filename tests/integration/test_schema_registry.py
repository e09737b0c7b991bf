"""Values in Avro and Protobuf, from producers with a schema registry to results: exactly once, bad ones whole."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Any

import msgspec
import pytest

import recount
from fix_cli import Command
from fix_pipeline import T0, World
from fix_registry import StandIn, Writer, message_types, schema_id, unknown
from microbatch import (
    Avro,
    Count,
    Event,
    KafkaTopic,
    PostgresTable,
    Protobuf,
    Scale,
    Stream,
    Sum,
    TumblingWindow,
    cli_audit,
    declared,
)
from microbatch.errors import DefinitionChangedError, SchemaRegistryRefusedError, SchemaRegistryUnreachableError
from modes import reprocess, work
from outside import dead_letters

MakeWorld = Callable[..., World]
Formatted = Callable[..., World]
AT = datetime.fromtimestamp(T0, UTC)


class Sold(Event):
    """A sale, in either format."""

    seller_id: str
    amount: Annotated[Decimal, Scale(2)]
    sold_at: datetime
    channel: str | None = None


ADA = {"seller_id": "ada", "amount": Decimal("1.10"), "sold_at": AT}


def versions(world: World) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """Three versions of a schema, each with a field more, that no other test has registered."""
    fields = [
        {"name": "seller_id", "type": "string"},
        {"name": "amount", "type": {"type": "bytes", "logicalType": "decimal", "precision": 12, "scale": 2}},
        {"name": "sold_at", "type": {"type": "long", "logicalType": "timestamp-millis"}},
        {"name": "channel", "type": "string", "default": "shop"},
        {"name": "till", "type": "int", "default": 0},
    ]
    name = {"type": "record", "name": "Sold", "namespace": world.connections.deployment.replace("-", "_")}
    first, second, third = ({**name, "fields": fields[:count]} for count in (3, 4, 5))
    return first, second, third


_FIELDS = """
  field { name: "seller_id" number: 1 type: TYPE_STRING label: LABEL_OPTIONAL }
  field { name: "amount" number: 2 type: TYPE_STRING label: LABEL_OPTIONAL }
  field { name: "sold_at" number: 3 type: TYPE_MESSAGE type_name: ".google.protobuf.Timestamp" label: LABEL_OPTIONAL }
"""
TYPES = message_types(
    "integration", "".join(f'message_type {{ name: "{name}" {_FIELDS} }}' for name in ("Sold", "Returned"))
)


def sold(kind: str = "Sold", seller: str = "ada", amount: str = "1.10") -> Any:
    message = TYPES[kind](seller_id=seller, amount=amount)
    message.sold_at.FromDatetime(AT)
    return message


def formatted(world: World, url: str, values: Any) -> World:
    """The same world, whose source has values of a format."""
    topic = world.pipeline.source.name
    source = KafkaTopic(topic, Sold, event_time="sold_at", partitions=1, values=values)
    window = TumblingWindow(
        "1 minute",
        by=["seller_id"],
        measures={"amount": Sum("amount"), "sales": Count()},
        to=[PostgresTable("sold"), KafkaTopic(f"{topic}-sold", partitions=1)],
    )
    quick = {"url": url, "timeout": 5.0, "max.retries": 0}
    connections = msgspec.structs.replace(world.connections, schema_registry=quick)
    return World(
        world.replace(source=source, outputs=[Stream(to=[PostgresTable("sold_rows")]), window]).pipeline, connections
    )


@pytest.fixture
def sales(make_world: MakeWorld, apicurio: str) -> Callable[[Any], World]:
    """A function that makes a world whose source has values of a format, by the real registry."""
    return lambda values: formatted(make_world(partitions=1), apicurio, values)


def check(world: World) -> recount.Report:
    """The independent check, which reads the source with the client's own deserializers."""
    values = world.pipeline.source.values
    report = recount.check(
        world.pipeline.name,
        world.connections.bootstrap,
        world.connections.postgres,
        world.connections.deployment,
        patience_s=5.0,
        formats=recount.Formats(
            world.connections.schema_registry, lambda: values.message if isinstance(values, Protobuf) else None
        ),
    )
    assert report.ok, report.render()
    return report


def results(world: World) -> list[tuple[str, Decimal, int, bool]]:
    return world.rows("select seller_id, amount, sales, is_final from sold order by 1")


def channels(world: World) -> list[str | None]:
    return [channel for (channel,) in world.rows("select channel from sold_rows order by source_offset")]


@pytest.fixture
def writer(apicurio: str, request: pytest.FixtureRequest) -> Iterator[Writer]:
    """Writes values by the real registry, with a subject of each test's own."""
    with Writer(apicurio, request.node.name) as writer:
        yield writer


def test_values_in_avro_count_whatever_version_of_the_schema_wrote_them(
    sales: Callable[[Any], World], writer: Writer, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = sales(Avro())
    schema, second_schema, third_schema = versions(world)
    first = writer.avro(schema, ADA)
    second = writer.avro(second_schema, {**ADA, "amount": Decimal("2.20"), "channel": "web"})
    # The registry gives the next schema the next number: what has it now comes from a producer that is too early.
    third = unknown(b"".join((second, b"\x06")), schema_id(second) + 1)
    bad = [b'{"seller_id": "ada"}', b"\0\0", first[:-4], third, unknown(first, 4_000_000)]
    world.send(first, second, *bad, None, second)

    world.run(minute=0)

    assert results(world) == [("ada", Decimal("5.50"), 3, True)]
    assert channels(world) == [None, "web", "web"]
    letters = dead_letters(world)
    assert [letter.value for letter in letters] == bad
    assert letters[3].header("microbatch.reason") == f"schema id {schema_id(third)} is not in the schema registry"
    assert check(world).rejected == 5

    again = writer.avro(third_schema, {**ADA, "amount": Decimal("2.20"), "channel": "web", "till": 3})
    assert again == third
    # What was unknown then stays a reject, until somebody wants it back.
    assert check(world).rejected == 5
    shown = command(
        world, "redrive", "sales", "--rejected-for", f"id {schema_id(third)} is", "--yes", "--reason", "it is there now"
    )
    assert shown.exit_code == 0, shown.output
    world.run(minute=1)
    world.run(minute=2)

    assert results(world) == [("ada", Decimal("7.70"), 4, True)]
    assert check(world).rejected == 5
    monkeypatch.setattr(declared, "find_pipeline", lambda *_: world.pipeline)
    monkeypatch.setattr(cli_audit, "find_pipeline", lambda *_: world.pipeline)
    monkeypatch.setenv("SCHEMA_REGISTRY_URL", world.connections.schema_registry["url"])
    explained = command(world, "explain", "sold", "ada", "--window", "2026-11-21T10:00Z", "--messages")
    assert '{"seller_id":"ada","amount":"1.10","sold_at":"2026-11-21T10:00:00Z"}' in explained.output
    assert "what the batch contributes" in explained.output, explained.output
    assert command(world, "audit", "sales").exit_code == 0


def test_a_redo_accepts_what_the_registry_knows_by_now(sales: Callable[[Any], World], writer: Writer) -> None:
    world = sales(Avro())
    schema, second_schema, third_schema = versions(world)
    first = writer.avro(schema, ADA)
    early = unknown(first, schema_id(writer.avro(second_schema, {**ADA, "channel": "web"})) + 1) + b"\x06web\x06"
    world.send(first, early)
    world.run(minute=0)
    assert results(world) == [("ada", Decimal("1.10"), 1, True)]
    assert writer.avro(third_schema, {**ADA, "channel": "web", "till": 3}) == early

    work(world, reprocess(0, 60))

    assert results(world) == [("ada", Decimal("2.20"), 2, True)]
    check(world)


def test_values_in_protobuf_count_and_those_of_another_type_do_not(
    sales: Callable[[Any], World], writer: Writer, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = sales(Protobuf(TYPES["Sold"]))
    good = writer.protobuf(sold())
    bad = [
        b"junk",
        writer.protobuf(sold("Returned")),
        good[:-3],
        unknown(good, 4_000_000),
        writer.protobuf(sold(amount="x")),
    ]
    world.send(good, *bad, None, writer.protobuf(sold(seller="bob", amount="0.05")))

    world.run(minute=0)

    assert results(world) == [("ada", Decimal("1.10"), 1, True), ("bob", Decimal("0.05"), 1, True)]
    letters = dead_letters(world)
    assert [letter.value for letter in letters] == bad
    assert letters[1].header("microbatch.reason") == "is of type integration.Returned, not integration.Sold"
    assert check(world).rejected == 5
    monkeypatch.setattr(cli_audit, "find_pipeline", lambda *_: world.pipeline)
    monkeypatch.setenv("SCHEMA_REGISTRY_URL", world.connections.schema_registry["url"])
    assert command(world, "audit", "sales").exit_code == 0


def test_a_pipeline_that_changes_its_format_is_rebuilt_and_never_read_by_the_old_one(
    sales: Callable[[Any], World], writer: Writer
) -> None:
    world = sales(Avro())
    world.send(writer.avro(versions(world)[0], ADA))
    world.run(minute=0)

    with pytest.raises(DefinitionChangedError, match=r"source\.values: .*avro.* -> None.*microbatch rebuild sales"):
        world.replace(source=msgspec.structs.replace(world.pipeline.source, values=None)).run(minute=1)


def test_check_tries_the_registry_if_there_is_one(
    world: World, stand_in: StandIn, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "schema registry" not in command(world, "check").output

    monkeypatch.setenv("SCHEMA_REGISTRY_URL", stand_in.url)
    assert f"ok      schema registry at {stand_in.url}" in command(world, "check").output
    stand_in.trouble = 403
    refused = command(world, "check")

    assert f"failed  the schema registry at {stand_in.url} refuses" in refused.output
    assert refused.exit_code == 1


def test_a_run_without_a_registry_fails_and_the_next_one_loses_nothing(
    make_world: MakeWorld, stand_in: StandIn
) -> None:
    world = formatted(make_world(partitions=1), stand_in.url, Avro())
    with Writer(stand_in.url, "sold") as writer:
        world.send(b"junk", writer.avro(versions(world)[0], ADA), b"junk")

    for trouble, expected in ((503, SchemaRegistryUnreachableError), (401, SchemaRegistryRefusedError)):
        stand_in.trouble = trouble
        with pytest.raises(expected, match=stand_in.url):
            world.run(minute=0)
        assert world.rows("select from microbatch.batch") == []
        assert world.rows("select error from microbatch.failure order by failed_at desc limit 1")[0][0].startswith(
            expected.__name__
        )
    stand_in.trouble = None
    world.run(minute=1)

    assert results(world) == [("ada", Decimal("1.10"), 1, True)]
    assert [letter.value for letter in dead_letters(world)] == [b"junk", b"junk"]
    check(world)
