"""Orders: the file that comes with the project, other files, and their replay."""

import json
import random
from collections import Counter, defaultdict
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import msgspec
import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from producers import cli, sending
from producers.base import Good, Shares, messages
from producers.make_orders import FILE, lines
from producers.message import Message
from producers.order_file import NoOrdersError, OrderFileUnreadableError, read_orders
from producers.orders import _replay_of_setting, orders, replay

NOON = datetime(2026, 11, 21, 12, 0, 0, 250_000, tzinfo=UTC)
GOOD = b'{"order_id": "A1", "country": "DE", "amount": 12.30}'
CHANCE = random.Random(1)  # noqa: S311 - no secrets


def written(folder: Path, *content: bytes) -> Path:
    file = folder / "orders.json"
    file.write_bytes(b"\n".join(content))
    return file


def order(number: int) -> bytes:
    return b'{"order_id": "A%d", "country": "DE", "amount": %d.50}' % (number, number)


def order_ids(events: list[Good]) -> list[str]:
    return [msgspec.json.decode(event.fields["order_id"]) for event in events]


# -- include/data/orders.json ------------------------------------------------------------------------------


def test_the_file_is_what_the_script_makes() -> None:
    assert FILE.read_bytes() == "".join(f"{line}\n" for line in lines()).encode()


def test_it_has_orders_of_many_countries_with_two_decimals() -> None:
    found = [json.loads(line, parse_float=str) for line in lines()]
    amounts = defaultdict(list)
    for one in found:
        amounts[one["country"]].append(Decimal(one["amount"]))

    assert len(found) == len({one["order_id"] for one in found}) == 10_000
    assert all(Decimal(one["amount"]) > 0 and one["amount"][-3] == "." for one in found)
    assert len(amounts) >= 20
    assert len({sum(of_one) for of_one in amounts.values()}) == len(amounts)
    assert max(map(len, amounts.values())) > 20 * min(map(len, amounts.values()))


def test_it_has_no_bad_line() -> None:
    found = read_orders(FILE)
    assert len(found.orders) == 10_000
    assert found.complaints == []


# -- reading a file ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (b'{"order_id": "A1"', "Input data was truncated"),
        (b'{"country": "DE", "amount": 1}', "missing required field `order_id`"),
        (b'{"order_id": 7, "country": "DE", "amount": 1}', "Expected `str`, got `int` - at `$.order_id`"),
        (GOOD.replace(b"DE", b"DEU"), "- at `$.country`"),
        (GOOD.replace(b"DE", b"DE\\n"), "- at `$.country`"),
        (GOOD.replace(b"12.30", b"12.345"), "above 0 with at most two decimals, got 12.345 - at `$.amount`"),
        (GOOD.replace(b"12.30", b"0"), "got 0 - at `$.amount`"),
        (GOOD.replace(b"12.30", b"-1"), "got -1 - at `$.amount`"),
        (GOOD.replace(b"12.30", b'"NaN"'), "got NaN - at `$.amount`"),
        (GOOD.replace(b"12.30", b"1" + b"0" * 5000), "got 1000"),
        (GOOD.replace(b"A1", b"\xff"), "invalid start byte"),
        (b"[]", "Expected `object`, got `array`"),
        (b"null", "Expected `object`, got `null`"),
        (b"[" * 10_000, ""),
    ],
)
def test_a_bad_line_is_named_with_its_reason_and_skipped(tmp_path: Path, bad: bytes, reason: str) -> None:
    file = written(tmp_path, GOOD, b"", bad, GOOD, b"")

    found = read_orders(file)

    assert len(found.orders) == 2
    [complaint] = found.complaints
    assert complaint.startswith(f"{file}, line 3 is skipped: ")
    assert reason in complaint
    assert len(complaint) < 300


def test_of_many_bad_lines_the_first_ten_are_named_and_the_rest_are_counted(tmp_path: Path) -> None:
    file = written(tmp_path, GOOD, *[b"x"] * 1234)

    complaints = read_orders(file).complaints

    assert [line.split(" is ")[0] for line in complaints[:10]] == [f"{file}, line {n}" for n in range(2, 12)]
    assert complaints[10:] == [f"{file}: 1,224 more bad lines are skipped"]


@given(ends=st.lists(st.sampled_from([b"\n", b"\r\n", b"\n\n", b"\n \t\r\n"]), min_size=3, max_size=3))
def test_blank_lines_and_other_line_ends_are_nothing(
    tmp_path_factory: pytest.TempPathFactory, ends: list[bytes]
) -> None:
    file = tmp_path_factory.mktemp("orders") / "orders.json"
    file.write_bytes(b"".join(order(number) + end for number, end in enumerate(ends, 1)))

    found = read_orders(file)

    assert [one.country for one in found.orders] == ["DE"] * 3
    assert found.complaints == []


def test_a_file_without_an_order_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(NoOrdersError, match=r"has no order among its 2 lines that are not blank \(first: .*line 2 is"):
        read_orders(written(tmp_path, b"", b"x", b"y"))
    with pytest.raises(NoOrdersError, match=r"has no order among its 0 lines that are not blank; a line is such as \{"):
        read_orders(written(tmp_path))


def test_a_missing_file_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(OrderFileUnreadableError, match=r"none\.json: No such file .* --file or ORDERS_FILE"):
        read_orders(tmp_path / "none.json")
    with pytest.raises(OrderFileUnreadableError, match="Is a directory"):
        read_orders(tmp_path)


# -- replay ------------------------------------------------------------------------------------------------


def test_values_are_carried_over_as_they_stand_in_the_file(tmp_path: Path) -> None:
    line = b'{"order_id":"\\u00e9", "country":"DE", "amount": 12.30, "more": [1.10, 1e400], "big": 9999999999999999999}'
    make = replay(read_orders(written(tmp_path, line)).orders)

    event = make(CHANCE, 0, NOON)

    assert event.key == b"DE"
    assert msgspec.json.encode(event.fields) == (
        b'{"order_id":"\\u00e9","country":"DE","amount":12.30,"more":[1.10, 1e400],"big":9999999999999999999,'
        b'"ordered_at":"2026-11-21T12:00:00.250000Z"}'
    )


@given(first=st.integers(0, 10**6))
def test_orders_come_in_their_order_and_begin_again_after_the_last(
    tmp_path_factory: pytest.TempPathFactory, first: int
) -> None:
    file = written(tmp_path_factory.mktemp("orders"), order(0), b"bad", order(1), order(2))
    make = replay(read_orders(file).orders)

    found = order_ids([make(CHANCE, number, NOON) for number in range(first, first + 7)])

    assert found == [f"A{number % 3}" for number in range(first, first + 7)]


def test_a_run_begins_at_a_place_that_depends_on_its_seed() -> None:
    def first(seed: int) -> str:
        [event] = messages(orders, Shares(), [NOON], seed)
        found: str = json.loads(event[0].value or b"")["order_id"]
        return found

    assert first(1) == first(1)
    assert len({first(seed) for seed in range(10)}) == 10


def test_the_setting_names_another_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("ORDERS_FILE", str(written(tmp_path, b"bad", order(7))))
    _replay_of_setting.cache_clear()

    event = orders.good(CHANCE, 5, NOON)

    assert order_ids([event]) == ["A7"]
    assert "line 1 is skipped" in caplog.text
    _replay_of_setting.cache_clear()


# -- microbatch produce orders --file ----------------------------------------------------------------------


def produced(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> tuple[list[str], str]:
    """The ids of the orders that the command sends, and what it says on stderr."""
    found: list[Message] = []

    def keep(_topic: str, _kafka: object, events: list[list[Message]], *_: object, **__: object) -> int:
        found.extend(message for event in events for message in event)
        return len(found)

    monkeypatch.setattr(sending, "send_at_once", keep)
    monkeypatch.setattr(sending, "send", keep)
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "127.0.0.1:1")
    monkeypatch.setenv("POSTGRES_DSN", "-")
    monkeypatch.setenv("POSTGRES_OWNER_DSN", "-")
    app = typer.Typer()
    app.command()(cli.produce)
    done = CliRunner().invoke(app, ["orders", *arguments])
    assert done.exit_code == 0, done.output
    return [json.loads(message.value or b"")["order_id"] for message in found], done.stderr


@pytest.mark.parametrize(
    ("options", "numbers"),
    [([], [0, 1, 2]), (["--rate", "50"], [0, 1, 2]), (["--count", "5"], [0, 1, 2, 0, 1])],
)
def test_the_command_replays_a_file_once_or_as_often_as_it_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: list[str], numbers: list[int]
) -> None:
    file = written(tmp_path, order(0), b"bad", order(1), order(2))

    found, said = produced(monkeypatch, "--file", str(file), *options)

    assert found == [f"A{number}" for number in numbers]
    assert said.startswith(f"{file}, line 2 is skipped: ")


def test_a_file_is_replayed_as_it_is_unless_shares_are_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = written(tmp_path, *map(order, range(1, 501)))

    as_it_is, _ = produced(monkeypatch, "--file", str(file))
    with_duplicates, _ = produced(monkeypatch, "--file", str(file), "--duplicate-share", "0.5", "--seed", "1")

    assert as_it_is == [f"A{number}" for number in range(1, 501)]
    assert list(dict.fromkeys(with_duplicates)) == as_it_is
    assert 200 < sum(count == 2 for count in Counter(with_duplicates).values()) < 300
