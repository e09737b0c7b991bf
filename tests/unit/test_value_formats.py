"""Values in Avro and Protobuf become the JSON that has the same fields; what cannot be said of them stops the run."""

import io
import json
import re
import sys
import types
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Annotated, Any
from uuid import UUID

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fix_registry import StandIn, Writer, message_types, schema_id, unknown
from local.home import REPOSITORY
from microbatch import Avro, Count, Event, KafkaTopic, Pipeline, PostgresTable, Protobuf, Scale, TumblingWindow
from microbatch.decoding import Decoded, Decoder, Message
from microbatch.definition import beyond_rebuild, definition, difference
from microbatch.errors import (
    DeclarationError,
    MicrobatchError,
    SchemaRegistryRefusedError,
    SchemaRegistrySettingsError,
    SchemaRegistryUnreachableError,
    SettingMissingError,
    TransientError,
    ValueFormatError,
)
from microbatch.outputs import AnyOutput
from microbatch.testing import raw, run
from microbatch.translating import Translate, translator
from recount.definition import parse
from recount.errors import InvalidError, RecountError
from recount.events import judge
from recount.value_formats import Formats, reader

AT = datetime(2026, 11, 21, 10, 0, 0, 123456, UTC)
AT_MS = 1_795_255_200_123
OUTPUTS: list[AnyOutput] = [TumblingWindow("1 minute", by=[], measures={"n": Count()}, to=[PostgresTable("t")])]

QUICK = {"timeout": 0.5, "max.retries": 0, "retries.wait.ms": 1, "retries.max.wait.ms": 2}

Reads = Callable[..., Any]


class Sold(Event):
    """What the tests send, in both formats."""

    seller: str
    amount: Annotated[Decimal, Scale(2)]
    at: datetime
    number: int
    note: str | None = None


def pipeline(values: Any, event: type[Event] = Sold, event_time: str | None = "at") -> Pipeline:
    return Pipeline(name="p", source=KafkaTopic("s", event, event_time=event_time, values=values), outputs=OUTPUTS)


def record(*fields: tuple[str, Any], name: str = "Sold") -> dict[str, Any]:
    return {"type": "record", "name": name, "fields": [{"name": field, "type": kind} for field, kind in fields]}


def logical(kind: str, of: str, **more: Any) -> dict[str, Any]:
    return {"type": of, "logicalType": kind, **more}


SOLD = record(
    ("seller", "string"),
    ("amount", logical("decimal", "bytes", precision=12, scale=2)),
    ("at", logical("timestamp-micros", "long")),
    ("number", "long"),
)
SOLD_NOW = {**SOLD, "fields": [*SOLD["fields"], {"name": "note", "type": ["null", "string"], "default": None}]}
SALE = {"seller": "ada", "amount": Decimal("-12.30"), "at": AT, "number": 2**62}

TYPES = message_types(
    "unit",
    """
    message_type {
      name: "Sold"
      field { name: "seller" number: 1 type: TYPE_STRING label: LABEL_OPTIONAL }
      field { name: "amount" number: 2 type: TYPE_STRING label: LABEL_OPTIONAL }
      field { name: "at" number: 3 type: TYPE_MESSAGE type_name: ".google.protobuf.Timestamp" label: LABEL_OPTIONAL }
      field { name: "number" number: 4 type: TYPE_INT64 label: LABEL_OPTIONAL }
      field {
        name: "note" number: 5 type: TYPE_STRING label: LABEL_OPTIONAL proto3_optional: true oneof_index: 0
      }
      oneof_decl { name: "_note" }
    }
    message_type {
      name: "Other"
      field { name: "seller" number: 1 type: TYPE_STRING label: LABEL_OPTIONAL }
    }
    message_type {
      name: "All"
      field { name: "i32" number: 1 type: TYPE_SINT32 label: LABEL_OPTIONAL }
      field { name: "u64" number: 2 type: TYPE_UINT64 label: LABEL_OPTIONAL }
      field { name: "flag" number: 3 type: TYPE_BOOL label: LABEL_OPTIONAL }
      field { name: "double" number: 4 type: TYPE_DOUBLE label: LABEL_OPTIONAL }
      field { name: "float" number: 5 type: TYPE_FLOAT label: LABEL_REPEATED }
      field { name: "blob" number: 6 type: TYPE_BYTES label: LABEL_OPTIONAL }
      field { name: "color" number: 7 type: TYPE_ENUM type_name: ".unit.Color" label: LABEL_OPTIONAL }
      field { name: "colors" number: 8 type: TYPE_ENUM type_name: ".unit.Color" label: LABEL_REPEATED }
      field { name: "inner" number: 9 type: TYPE_MESSAGE type_name: ".unit.Other" label: LABEL_OPTIONAL }
      field { name: "inners" number: 10 type: TYPE_MESSAGE type_name: ".unit.Other" label: LABEL_REPEATED }
      field { name: "flags" number: 11 type: TYPE_MESSAGE type_name: ".unit.All.FlagsEntry" label: LABEL_REPEATED }
      field { name: "took" number: 12 type: TYPE_MESSAGE type_name: ".google.protobuf.Duration" label: LABEL_OPTIONAL }
      field {
        name: "wrapped" number: 13 type: TYPE_MESSAGE type_name: ".google.protobuf.Int64Value" label: LABEL_OPTIONAL
      }
      field { name: "free" number: 14 type: TYPE_MESSAGE type_name: ".google.protobuf.Struct" label: LABEL_OPTIONAL }
      field { name: "left" number: 15 type: TYPE_STRING label: LABEL_OPTIONAL oneof_index: 0 }
      field { name: "right" number: 16 type: TYPE_STRING label: LABEL_OPTIONAL oneof_index: 0 }
      oneof_decl { name: "side" }
      nested_type {
        name: "FlagsEntry"
        options { map_entry: true }
        field { name: "key" number: 1 type: TYPE_BOOL label: LABEL_OPTIONAL }
        field { name: "value" number: 2 type: TYPE_MESSAGE type_name: ".unit.Other" label: LABEL_OPTIONAL }
      }
    }
    enum_type { name: "Color" value { name: "NONE" number: 0 } value { name: "RED" number: 1 } }
    """,
)


def sold(**changes: Any) -> Any:
    message = TYPES["Sold"](seller="ada", amount="-12.30", number=2**62)
    message.at.FromDatetime(AT)
    for name, value in changes.items():
        setattr(message, name, value)
    return message


@pytest.fixture
def writer(stand_in: StandIn) -> Iterator[Writer]:
    with Writer(stand_in.url, "s") as writer:
        yield writer


@pytest.fixture
def translate(stand_in: StandIn) -> Callable[[Any], Translate]:
    """A function that gives what translates values of a format, by the registry that errs."""

    def made(values: Any) -> Translate:
        found = translator(KafkaTopic("s", Sold, values=values), {"url": stand_in.url})
        assert found is not None
        return found

    return made


def decoded(values: Any, translate: Translate, *given: bytes | None) -> Decoded:
    messages = [raw(Message(0, offset, AT_MS, None, value)) for offset, value in enumerate(given)]
    return Decoder(pipeline(values), translate).decode(messages)


@pytest.fixture
def by_recount(stand_in: StandIn) -> Iterator[Callable[[Pipeline], Reads]]:
    """A function that gives how the independent check reads a pipeline's values."""
    with ExitStack() as opened:

        def made(declared: Pipeline) -> Reads:
            plain = parse(definition(declared))
            formats = Formats({"url": stand_in.url, **QUICK}, lambda: TYPES["Sold"])
            read = opened.enter_context(reader(plain, formats))
            return lambda value: dict(judge(plain, value, AT_MS, read).values)

        yield made


# -- what fields become ----------------------------------------------------------------------------------------


def test_each_type_of_avro_becomes_what_json_says_for_it(writer: Writer, translate: Reads) -> None:
    schema = record(
        ("decimal", logical("decimal", "bytes", precision=20, scale=4)),
        ("millis", logical("timestamp-millis", "long")),
        ("micros", logical("timestamp-micros", "long")),
        ("nanos", logical("timestamp-nanos", "long")),
        ("local", logical("local-timestamp-millis", "long")),
        ("day", logical("date", "int")),
        ("clock", logical("time-micros", "long")),
        ("id", logical("uuid", "string")),
        ("long", "long"),
        ("double", "double"),
        ("float", "float"),
        ("endless", {"type": "array", "items": "double"}),
        ("flag", "boolean"),
        ("bytes", "bytes"),
        ("fixed", {"type": "fixed", "name": "Two", "size": 2}),
        ("color", {"type": "enum", "name": "Color", "symbols": ["RED", "BLUE"]}),
        ("map", {"type": "map", "values": ["null", "long"]}),
        ("inner", ["null", record(("n", "int"), name="Inner")]),
        ("nothing", ["null", "string"]),
    )
    value = {
        "decimal": Decimal("1234567890123.4500"),
        "millis": AT,
        "micros": AT,
        "nanos": 1,
        "local": datetime(2026, 11, 21, 10),  # noqa: DTZ001 - it has no zone
        "day": date(2026, 11, 21),
        "clock": time(10, 0, 0, 5),
        "id": UUID(int=5),
        "long": -(2**63),
        "double": 0.1,
        "float": 0.5,
        "endless": [float("nan"), float("inf"), float("-inf"), 1.0],
        "flag": True,
        "bytes": b"\xff\x00",
        "fixed": b"ab",
        "color": "BLUE",
        "map": {"a": None, "b": 2},
        "inner": {"n": 7},
        "nothing": None,
    }

    assert json.loads(translate(Avro())(writer.avro(schema, value))) == {
        "decimal": "1234567890123.4500",
        "millis": "2026-11-21T10:00:00.123000Z",
        "micros": "2026-11-21T10:00:00.123456Z",
        "nanos": 1,
        "local": "2026-11-21T10:00:00",
        "day": "2026-11-21",
        "clock": "10:00:00.000005",
        "id": "00000000-0000-0000-0000-000000000005",
        "long": -(2**63),
        "double": 0.1,
        "float": 0.5,
        "endless": ["NaN", "Infinity", "-Infinity", 1.0],
        "flag": True,
        "bytes": "/wA=",
        "fixed": "YWI=",
        "color": "BLUE",
        "map": {"a": None, "b": 2},
        "inner": {"n": 7},
        "nothing": None,
    }


def test_each_type_of_protobuf_becomes_what_json_says_for_it(writer: Writer, translate: Reads) -> None:
    other = TYPES["Other"]
    message = TYPES["All"](
        i32=-5,
        u64=2**64 - 1,
        double=float("inf"),
        float=[0.5, float("nan"), float("-inf")],
        blob=b"\xff\x00",
        color=1,
        colors=[0, 1, 9],
        inners=[other(seller="a"), other()],
        right="r",
    )
    message.flags[True].seller = "yes"
    message.took.FromMilliseconds(1500)
    message.wrapped.value = 2**62
    message.free.update({"a": [1, None]})

    assert json.loads(translate(Protobuf(TYPES["All"]))(writer.protobuf(message))) == {
        "i32": -5,
        "u64": 2**64 - 1,
        "flag": False,
        "double": "Infinity",
        "float": [0.5, "NaN", "-Infinity"],
        "blob": "/wA=",
        "color": "RED",
        "colors": ["NONE", "RED", 9],
        "inner": None,
        "inners": [{"seller": "a"}, {"seller": ""}],
        "flags": {"true": {"seller": "yes"}},
        "took": "1.500s",
        "wrapped": 2**62,
        "free": {"a": [1.0, None]},
        "left": None,
        "right": "r",
    }


def test_events_of_both_formats_are_exact_and_recount_reads_the_same(
    writer: Writer, translate: Reads, by_recount: Reads
) -> None:
    given = {
        Avro(): [writer.avro(SOLD, SALE), writer.avro(SOLD_NOW, {**SALE, "note": "n"})],
        Protobuf(TYPES["Sold"]): [writer.protobuf(sold()), writer.protobuf(sold(note="n"))],
    }

    for values, messages in given.items():
        found = decoded(values, translate(values), *messages)
        recounted = [by_recount(pipeline(values))(value) for value in messages]

        assert found.rejects == []
        events = [msgspec.structs.asdict(event) for event in found.events]
        assert events == [{**SALE, "note": None}, {**SALE, "note": "n"}] == recounted


def test_a_schema_that_refers_to_another_one_is_read(stand_in: StandIn, translate: Reads) -> None:
    color = {"type": "enum", "name": "Color", "namespace": "shop", "symbols": ["RED", "BLUE"]}
    number = stand_in.register({"schema": json.dumps(color)})
    refers = {
        "schema": json.dumps(record(("color", "shop.Color"))),
        "references": [{"name": "shop.Color", "subject": "color", "version": number}],
    }
    value = b"\0" + stand_in.register(refers).to_bytes(4, "big") + b"\x02"

    assert translate(Avro())(value) == b'{"color":"BLUE"}'


# -- what is a reject ------------------------------------------------------------------------------------------


def test_what_is_no_value_of_its_format_is_a_reject_in_its_place(writer: Writer, translate: Reads) -> None:
    for values, good in ((Avro(), writer.avro(SOLD, SALE)), (Protobuf(TYPES["Sold"]), writer.protobuf(sold()))):
        bad = [b"", b"\0", b'{"seller": "ada"}', good[:-3], unknown(good, 99), good[:5] + b"\xff" * 20]

        found = decoded(values, translate(values), good, None, *bad, good)

        assert [message.offset() for message in found.messages] == [0, 8]
        assert [reject.message.value for reject in found.rejects] == bad
        assert [reject.message.offset for reject in found.rejects] == [2, 3, 4, 5, 6, 7]
        assert found.rejects[4].reason == "schema id 99 is not in the schema registry"


def test_a_time_or_a_text_that_cannot_be_is_a_reject(writer: Writer, translate: Reads) -> None:
    far = record(("at", "long"))
    whole = writer.avro(far, {"at": 2**62})
    time_id = schema_id(writer.avro(record(("at", logical("timestamp-micros", "long"))), {"at": AT}))
    text_id = schema_id(writer.avro(record(("at", "string")), {"at": ""}))

    found = decoded(Avro(), translate(Avro()), unknown(whole, time_id), unknown(b"\0\0\0\0\0\x04\xff\xfe", text_id))

    assert "date value out of range" in found.rejects[0].reason
    assert "utf-8" in found.rejects[1].reason


@pytest.mark.parametrize("gives_text", [False, True])
def test_another_type_of_protobuf_is_a_reject_though_its_bytes_would_do(
    stand_in: StandIn, writer: Writer, translate: Reads, by_recount: Reads, gives_text: bool
) -> None:
    stand_in.gives_text = gives_text
    values, other = Protobuf(TYPES["Sold"]), writer.protobuf(TYPES["Other"]())
    good = writer.protobuf(sold())

    found = decoded(values, translate(values), other, good)

    assert [reject.reason for reject in found.rejects] == ["is of type unit.Other, not unit.Sold"]
    read = by_recount(pipeline(values))
    assert read(good)["number"] == 2**62
    with pytest.raises(InvalidError, match=r"is of type unit\.Other"):
        read(other)


def test_where_a_registry_gives_only_text_any_type_is_read_by_the_class(
    stand_in: StandIn, writer: Writer, translate: Reads, by_recount: Reads
) -> None:
    stand_in.gives_text = "always"
    values, other = Protobuf(TYPES["Sold"]), writer.protobuf(TYPES["Other"](seller="ada"))

    assert json.loads(translate(values)(other))["seller"] == "ada"
    with pytest.raises(InvalidError, match="is not"):
        by_recount(pipeline(values))(other)


@pytest.mark.parametrize(
    "schema",
    [
        record(("next", ["null", "Sold"])),
        {**record(("next", ["null", "shop.Sold"])), "namespace": "shop"},
        record(("all", {"type": "array", "items": {"type": "map", "values": record(("up", "Sold"), name="In")}})),
    ],
)
def test_a_schema_that_contains_itself_is_not_read_for_a_deep_value_would_end_the_process(
    stand_in: StandIn, translate: Reads, by_recount: Reads, schema: dict[str, Any]
) -> None:
    number = stand_in.register({"schema": json.dumps(schema)})
    deep = b"\0" + number.to_bytes(4, "big") + b"\x02" * 10_000_000 + b"\0"

    found = decoded(Avro(), translate(Avro()), deep)

    assert "contains itself" in found.rejects[0].reason
    with pytest.raises(InvalidError, match="contains itself"):
        by_recount(pipeline(Avro()))(deep)


def test_two_records_side_by_side_of_one_type_are_no_schema_that_contains_itself(
    writer: Writer, translate: Reads
) -> None:
    schema = record(("a", record(("n", "int"), name="In")), ("b", "In"))

    assert translate(Avro())(writer.avro(schema, {"a": {"n": 1}, "b": {"n": 2}})) == b'{"a":{"n":1},"b":{"n":2}}'


def test_recount_rejects_what_the_engine_rejects(writer: Writer, translate: Reads, by_recount: Reads) -> None:
    goods = {Avro(): writer.avro(SOLD_NOW, {**SALE, "note": "nö"}), Protobuf(TYPES["Sold"]): writer.protobuf(sold())}
    reads = {values: (translate(values), by_recount(pipeline(values))) for values in goods}

    @settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(st.sampled_from([*goods]), st.integers(0, 60), st.binary(max_size=4), st.integers(0, 4))
    def same(values: Any, at: int, put: bytes, less: int) -> None:
        value = goods[values][:at] + put + goods[values][at + less :]
        mine, theirs = reads[values]
        found = decoded(values, mine, value)
        try:
            recounted = theirs(value)
        except InvalidError:
            recounted = None
        assert [msgspec.structs.asdict(event) for event in found.events] == ([] if recounted is None else [recounted])

    same()


# -- a registry that does not answer ---------------------------------------------------------------------------

TROUBLES: dict[str, tuple[int | str, type[MicrobatchError]]] = {
    "an error of its own": (500, SchemaRegistryUnreachableError),
    "too many questions": (429, SchemaRegistryUnreachableError),
    "silence": ("silence", SchemaRegistryUnreachableError),
    "a page of somebody else": ("<html>Sign in</html>", SchemaRegistryUnreachableError),
    "JSON of somebody else": ("[]", SchemaRegistryUnreachableError),
    "a page that is not there": (404, SchemaRegistryRefusedError),
    "no right": (403, SchemaRegistryRefusedError),
}


@pytest.mark.parametrize("form", ["avro", "protobuf"])
@pytest.mark.parametrize("trouble", TROUBLES)
def test_a_registry_that_does_not_answer_is_no_fault_of_a_message(
    stand_in: StandIn, writer: Writer, by_recount: Reads, form: str, trouble: str
) -> None:
    values = Avro() if form == "avro" else Protobuf(TYPES["Sold"])
    value = writer.avro(SOLD, SALE) if form == "avro" else writer.protobuf(sold())
    stand_in.trouble, expected = TROUBLES[trouble]
    read = translator(KafkaTopic("s", Sold, values=values), {"url": stand_in.url, **QUICK})
    assert read is not None

    with pytest.raises(expected, match=stand_in.url) as raised:
        decoded(values, read, b"junk", value)
    with pytest.raises(RecountError) as recounted:
        by_recount(pipeline(values))(value)
    assert not isinstance(recounted.value, InvalidError)
    assert isinstance(raised.value, TransientError) == (expected is SchemaRegistryUnreachableError)

    stand_in.trouble = None
    assert len(decoded(values, read, value).events) == 1


def test_nobody_at_the_address_is_no_fault_of_a_message(writer: Writer) -> None:
    value = writer.avro(SOLD, SALE)
    read = translator(KafkaTopic("s", Sold, values=Avro()), {"url": "http://127.0.0.1:9", **QUICK})
    assert read is not None

    with pytest.raises(SchemaRegistryUnreachableError, match=r"at http://127\.0\.0\.1:9 does not answer \(Connect"):
        decoded(Avro(), read, value)


def test_a_login_is_used_and_a_wrong_one_is_an_error_without_secrets(stand_in: StandIn) -> None:
    stand_in.login = "me:s3cret"
    value = Writer(stand_in.url, "s", **{"basic.auth.user.info": "me:s3cret"}).avro(SOLD, SALE)
    topic = KafkaTopic("s", Sold, values=Avro())
    right = translator(topic, {"url": stand_in.url, "basic.auth.user.info": "me:s3cret"})
    wrong = translator(topic, {"url": stand_in.url.replace("//", "//me:wr0ng@")})
    assert right is not None
    assert wrong is not None

    assert len(decoded(Avro(), right, value).events) == 1
    with pytest.raises(SchemaRegistryRefusedError, match="HTTP status 401") as raised:
        decoded(Avro(), wrong, value)
    assert stand_in.url in str(raised.value)
    assert "wr0ng" not in str(raised.value)


def test_each_schema_is_asked_for_once_known_or_not(stand_in: StandIn, writer: Writer, translate: Reads) -> None:
    good = writer.avro(SOLD, SALE)
    stand_in.asked.clear()

    found = decoded(Avro(), translate(Avro()), *[good, unknown(good, 77)] * 50)
    again = decoded(Avro(), translate(Avro()), good, unknown(good, 77))

    assert (len(found.events), len(found.rejects), len(again.rejects)) == (50, 50, 1)
    assert stand_in.asked == ["/schemas/ids/1", "/schemas/ids/77", "/schemas/ids/77"]


# -- what is missing -------------------------------------------------------------------------------------------


def test_without_an_address_the_error_says_where_to_write_it() -> None:
    with pytest.raises(SettingMissingError, match=r"'schema_registry_default'.*SCHEMA_REGISTRY_URL"):
        translator(KafkaTopic("s", Sold, values=Avro()), {})


@pytest.mark.parametrize(("values", "module"), [(Avro(), "avro_values"), (Protobuf(TYPES["Sold"]), "protobuf_values")])
def test_without_the_packages_the_error_names_the_extra(
    monkeypatch: pytest.MonkeyPatch, values: Any, module: str
) -> None:
    monkeypatch.setitem(sys.modules, f"microbatch.{module}", None)

    with pytest.raises(ValueFormatError, match=rf"pip install 'microbatch\[{module.removesuffix('_values')}\]'"):
        translator(KafkaTopic("s", Sold, values=values), {"url": "http://127.0.0.1:9"})


@pytest.mark.parametrize("wrong", [{"colour": "red"}, {"url": "me:s3cret@host"}, {"max.retries": "s3cret"}])
def test_settings_that_the_client_refuses_are_an_error_without_secrets(wrong: dict[str, Any]) -> None:
    with pytest.raises(SchemaRegistrySettingsError, match="schema_registry_default") as raised:
        translator(KafkaTopic("s", Sold, values=Avro()), {"url": "http://127.0.0.1:9", **wrong})
    assert "s3cret" not in str(raised.value)


# -- declarations ----------------------------------------------------------------------------------------------


def test_the_format_is_part_of_the_definition_and_json_is_not_mentioned() -> None:
    json_, avro = definition(pipeline(None)), definition(pipeline(Avro()))
    protobuf = definition(pipeline(Protobuf(TYPES["Sold"])))

    assert "values" not in json_["source"]
    assert difference(json_, avro) == ["source.values: None -> {'format': 'avro'}"]
    assert protobuf["source"]["values"] == {"format": "protobuf", "message": "unit.Sold"}
    assert beyond_rebuild(json_, avro) == []


def test_a_sink_has_no_format_and_protobuf_needs_a_message_type() -> None:
    source, sink = KafkaTopic("s", Sold), KafkaTopic("out", values=Avro())
    with pytest.raises(DeclarationError, match=r"the sink 'out' has values=Avro.*; leave it out: sinks are written"):
        Pipeline(name="p", source=source, outputs=[TumblingWindow("1 minute", [], {"n": Count()}, [sink])])
    with pytest.raises(DeclarationError, match="which is no message type of Protobuf; name the class"):
        pipeline(Protobuf(io.BytesIO))


def test_a_unit_test_of_a_pipeline_needs_no_registry() -> None:
    given = {"seller": "ada", "amount": "1.00", "at": "2026-11-21T10:00:00Z", "number": 1}

    assert run(pipeline(Avro()), [given]).results["t"][0]["n"] == 1


def test_recount_says_what_it_needs(stand_in: StandIn) -> None:
    plain = parse(definition(pipeline(Protobuf(TYPES["Sold"]))))
    without = Formats({"url": stand_in.url})
    other = Formats({"url": stand_in.url}, lambda: TYPES["Other"])
    with pytest.raises(RecountError, match="SCHEMA_REGISTRY_URL"), reader(plain, Formats({})):
        pass
    with pytest.raises(RecountError, match="as `microbatch audit` does"), reader(plain, without):
        pass
    with (
        pytest.raises(RecountError, match=r"the ledger has Protobuf's type unit.Sold, not unit.Other"),
        reader(plain, other),
    ):
        pass


def test_the_declaration_in_the_documentation_is_one() -> None:
    page = (REPOSITORY / "docs" / "formats.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    module = types.ModuleType("documented")
    sys.modules["documented"] = module  # msgspec resolves the annotations of an event through it
    exec(compile(block, "formats.md", "exec"), vars(module))  # noqa: S102 - it is ours

    declared = Pipeline(name="p", source=vars(module)["source"], outputs=OUTPUTS)

    assert definition(declared)["source"]["values"] == {"format": "avro"}
