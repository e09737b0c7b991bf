"""`microbatch.testing`: what a pipeline's own unit test sees."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Annotated, Any

import pytest

from microbatch import (
    Count,
    EpochSeconds,
    Event,
    KafkaTopic,
    Mean,
    Pairs,
    Pipeline,
    PostgresTable,
    Scale,
    Stream,
    Sum,
    TumblingWindow,
    testing,
)
from microbatch.decoding import Message
from microbatch.testing import Outcome, Rejected

AT = datetime(2026, 11, 21, 10, tzinfo=UTC)
AT_S = int(AT.timestamp())


class Sale(Event):
    """A sale."""

    seller_id: str
    amount: int
    price: Annotated[Decimal, Scale(2)]
    sale_ts: EpochSeconds


def sale(seller: str = "ada", amount: int = 1, price: str = "1", at: int = AT_S) -> dict[str, Any]:
    return {"seller_id": seller, "amount": amount, "price": price, "sale_ts": at}


def pipeline(*outputs: Any, **more: Any) -> Pipeline:
    return Pipeline(name="sales", source=KafkaTopic("s", Sale, event_time="sale_ts"), outputs=list(outputs), **more)


SUMS = TumblingWindow(
    "1 minute",
    by=["seller_id"],
    measures={"total": Sum("amount"), "mean": Mean("price", scale=1), "sales": Count()},
    to=[PostgresTable("sums"), KafkaTopic("sums-topic")],
)


def test_all_that_comes_out_is_there() -> None:
    made = pipeline(
        Stream(columns={"amount": "amount", "price": "price * 2"}, reject={"big": "amount > 100"}, where="amount > 0"),
        SUMS,
        Pairs("amount", 12, to=[KafkaTopic("pairs")]),
    )
    given = [sale(amount=5), sale("bob", 7, "1.25"), sale(amount=101), sale(amount=-1), None, "junk", sale(amount=3)]

    assert testing.run(made, given, at=AT) == Outcome(
        results={
            "sums": [
                {
                    "window_start": AT,
                    "window_end": AT + timedelta(minutes=1),
                    "seller_id": "ada",
                    "total": Decimal(8),
                    "mean": Decimal("2.0"),
                    "sales": 2,
                },
                {
                    "window_start": AT,
                    "window_end": AT + timedelta(minutes=1),
                    "seller_id": "bob",
                    "total": Decimal(7),
                    "mean": Decimal("2.5"),
                    "sales": 1,
                },
            ]
        },
        rows=[],
        pairs={
            "pairs": [
                {
                    "first_value": 5,
                    "first_partition": 0,
                    "first_offset": 0,
                    "second_value": 7,
                    "second_partition": 0,
                    "second_offset": 1,
                }
            ]
        },
        waiting={"pairs": [3]},
        rejects=[
            Rejected("big", b'{"seller_id":"ada","amount":101,"price":"1","sale_ts":1795255200}', 2),
            Rejected("JSON is malformed: invalid character (byte 0)", b"junk", 5),
        ],
        filtered=1,
        repeated=0,
    )


def test_nothing_gives_nothing() -> None:
    assert testing.run(pipeline(SUMS), [], at=AT) == Outcome({"sums": []}, [], {}, {}, [], 0, 0)


def test_results_come_in_the_order_of_window_and_key() -> None:
    given = [sale("bob", at=AT_S - 60), sale("ada"), sale("ada", at=AT_S - 60), sale("Ada", at=-60), sale(at=0)]

    found = testing.run(pipeline(SUMS), given, at=AT).results["sums"]

    assert [(row["window_start"].year, row["window_start"].minute, row["seller_id"]) for row in found] == [
        (1969, 59, "Ada"),
        (1970, 0, "ada"),
        (2026, 59, "ada"),
        (2026, 59, "bob"),
        (2026, 0, "ada"),
    ]


def test_integers_of_keys_are_ordered_as_numbers() -> None:
    window = TumblingWindow("1 minute", by=["amount"], measures={"n": Count()}, to=[KafkaTopic("t")])

    found = testing.run(pipeline(window), [sale(amount=n) for n in (10, 9, -1)], at=AT).results["t"]

    assert [row["amount"] for row in found] == [-1, 9, 10]


def test_repeats_are_counted_once_each() -> None:
    made = pipeline(Stream(unique=["seller_id"], to=[PostgresTable("rows")]), SUMS)
    messages = [
        Message(1, 5, AT_S * 1000 + 1, None, b'{"seller_id":"ada","amount":1,"price":1,"sale_ts":0}'),
        Message(2, 4, AT_S * 1000, None, b'{"seller_id":"ada","amount":2,"price":1,"sale_ts":0}'),
    ]

    outcome = testing.run(made, messages, at=AT)

    assert [row["amount"] for row in outcome.rows] == [2]
    assert (outcome.repeated, outcome.results["sums"][0]["total"]) == (1, Decimal(2))


def test_rows_come_in_the_order_of_the_messages() -> None:
    made = pipeline(Stream(columns={"n": "amount"}, to=[PostgresTable("rows")]))

    assert testing.run(made, [sale(amount=n) for n in (3, 1, 2)], at=AT).rows == [{"n": 3}, {"n": 1}, {"n": 2}]


def test_the_time_of_the_batch_is_what_is_given_or_now() -> None:
    made = pipeline(Stream(columns={"at": "_batch_time", "sent": "_kafka_timestamp"}, to=[PostgresTable("rows")]))
    before = datetime.now(UTC)

    now = testing.run(made, [sale(at=0)]).rows[0]

    assert testing.run(made, [sale()], at=AT).rows == [{"at": AT, "sent": AT}]
    assert before <= now["at"] <= datetime.now(UTC)


@pytest.mark.parametrize("form", ["dict", "bytes", "str"])
def test_a_message_may_be_given_in_any_form(form: str) -> None:
    text = '{"seller_id":"ada","amount":1,"price":1.5,"sale_ts":1795255200}'
    given: dict[str, Any] = {"dict": sale(price="1.5"), "bytes": text.encode(), "str": text}

    assert testing.run(pipeline(SUMS), [given[form]], at=AT).results["sums"][0]["mean"] == Decimal("1.5")
