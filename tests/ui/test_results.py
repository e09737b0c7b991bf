"""Results as lines and as rows: the same numbers as in the tables, and no more of them read than are shown."""

import itertools
import json
import time
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Any

import psycopg
import pytest
from starlette.testclient import TestClient

from fix_pipeline import T0, World, sale
from fix_ui import OpenUi
from microbatch import Count, EpochSeconds, Event, Scale, Sum, TumblingWindow
from outside import sink

MakeWorld = Callable[..., World]
MINUTE = 60


class Priced(Event):
    """Something that is sold at a price."""

    name: str
    price: Annotated[Decimal, Scale(2)]
    at: EpochSeconds


def ask(client: TestClient, path: str, status: int = 200, /, **params: Any) -> Any:
    answer = client.get(f"/microbatch/api/pipelines/sales/results/{path}", params=params)
    assert answer.status_code == status, answer.text
    return answer.json()


def series(client: TestClient, **params: Any) -> Any:
    return ask(client, "aggregated_sales/series", **params)


def moment(minute: int) -> str:
    return datetime.fromtimestamp(T0 + minute * MINUTE, UTC).isoformat()


def fill(world: World, windows: int, keys: int) -> None:
    """Write results by SQL: of key `s<n>`, the amount n + 1, in each minute from T0 on; without statistics of them.

    Nobody else shall read the table meanwhile: what it says of its reads would have that too.
    """
    with psycopg.connect(world.connections.postgres) as connection:
        connection.execute("alter table aggregated_sales set (autovacuum_enabled = off)")
        connection.execute("alter index aggregated_sales_window_start_idx set (autosummarize = off)")
        connection.execute(
            "insert into aggregated_sales (window_start, window_end, seller_id, amount_usd, sales, is_final, revision,"
            " updated_at) select w, w + interval '1 minute', 's' || k, k + 1, 1, true, 1, now()"
            " from generate_series(0, %(windows)s - 1) as m,"
            " lateral (select to_timestamp(%(t0)s) + m * interval '1 minute') as start (w),"
            " generate_series(0, %(keys)s - 1) as k order by w",
            {"windows": windows, "keys": keys, "t0": T0},
        )


# -- lines -------------------------------------------------------------------------------------------------


def test_a_line_has_the_numbers_of_its_key(world: World, open_ui: OpenUi) -> None:
    world.send(sale("ada", 3), sale("bob", 4), sale("ada", 5, T0 + 3 * MINUTE), sale("bob", 6, T0 + 3 * MINUTE))
    world.run(3)

    found = series(open_ui(world.connections))

    assert found == {
        "measure": "amount_usd",
        "times": [T0 + minute * MINUTE for minute in range(4)],
        "series": [
            {"key": ["bob"], "label": "bob", "values": [4.0, None, None, 6.0]},
            {"key": ["ada"], "label": "ada", "values": [3.0, None, None, 5.0]},
        ],
        "corrections": [],
        "windows": 4,
        "is_cut": False,
        "keys_total": 2,
    }


def test_keys_measure_and_span_can_be_chosen(world: World, open_ui: OpenUi) -> None:
    for minute in range(5):
        world.send(*(sale(seller, 7, T0 + minute * MINUTE) for seller in ("ada", "bob", "cid")))
    world.run(4)

    found = series(
        open_ui(world.connections),
        key=['["cid"]', '["nobody"]'],
        measure="sales",
        **{"from": moment(1), "to": moment(3)},
    )

    assert [(line["key"], line["values"]) for line in found["series"]] == [
        (["cid"], [1.0, 1.0]),
        (["nobody"], [None, None]),
    ]
    assert found["times"] == [T0 + MINUTE, T0 + 2 * MINUTE]


def test_corrections_are_revisions_of_what_was_final(world: World, open_ui: OpenUi) -> None:
    world.send(sale("ada", 3), sale("bob", 4))
    world.run(0)
    world.send(sale("ada", 10), sale("ada", 1, T0 + MINUTE))
    world.run(1)

    found = series(open_ui(world.connections), key=['["ada"]', '["bob"]'])

    ((at,),) = world.rows("select valid_from from aggregated_sales_history where revision = 2")
    corrected = found["corrections"]
    assert [(row["window_start"], row["key"], row["revision"]) for row in corrected] == [
        ("2026-11-21T10:00:00Z", ["ada"], 2)
    ]
    assert datetime.fromisoformat(corrected[0]["at"]) == at


def test_revisions_of_open_windows_are_no_corrections(world: World, open_ui: OpenUi) -> None:
    early = TumblingWindow("1 hour", ["seller_id"], {"sales": Count()}, [sink(world, "hours")], emit="early")
    world = world.replace(outputs=[early])
    world.send(sale())
    world.run(0)
    world.send(sale())
    world.run(1)

    found = ask(open_ui(world.connections), f"{world.pipeline.source.name}-hours/series")

    assert [line["values"] for line in found["series"]] == [[2.0]]
    assert found["corrections"] == []


def test_days_of_a_time_zone_are_those_that_have_results(world: World, open_ui: OpenUi) -> None:
    by_day = TumblingWindow("1 day", [], {"sales": Count()}, [sink(world, "days")], timezone="America/New_York")
    world = world.replace(outputs=[by_day])
    # Clocks go back there on November 1st: that day has 25 hours.
    days = ["2026-10-30T12:00-04:00", "2026-11-01T00:30-04:00", "2026-11-01T23:30-05:00", "2026-11-02T12:00-05:00"]
    world.send(*(sale(at=int(datetime.fromisoformat(day).timestamp())) for day in days))
    world.run(0)
    client, table = open_ui(world.connections), f"{world.pipeline.source.name}-days"

    found = ask(client, f"{table}/series")
    later = ask(client, f"microbatch_topic.{table}/series", **{"from": "2026-11-01T00:00-04:00"})

    starts = ["2026-10-30T04:00Z", "2026-11-01T04:00Z", "2026-11-02T05:00Z"]
    assert found["times"] == [datetime.fromisoformat(start).timestamp() for start in starts]
    assert found["series"] == [{"key": [], "label": table, "values": [1.0, 2.0, 1.0]}]
    assert later["times"] == found["times"][1:]


def test_a_key_may_have_several_columns_of_any_type(world: World, open_ui: OpenUi) -> None:
    source = world.pipeline.source
    window = TumblingWindow("1 minute", ["name", "price"], {"sum": Sum("price")}, [sink(world, "prices")])
    world = world.replace(source=type(source)(source.name, Priced, event_time="at", partitions=2), outputs=[window])
    world.send(*(json.dumps({"name": "a / b", "price": price, "at": T0}).encode() for price in ("1.50", "1.50", "2")))
    world.run(0)
    client, path = open_ui(world.connections), f"{source.name}-prices/series"

    found = ask(client, path)
    chosen = ask(client, path, key='["a / b", "1.5"]')

    assert [(line["key"], line["values"]) for line in found["series"]] == [
        (["a / b", "1.50"], [3.0]),
        (["a / b", "2.00"], [2.0]),
    ]
    assert chosen["series"][0]["values"] == [3.0]
    assert "invalid input syntax for type numeric" in ask(client, path, 400, key='["a", "dear"]')["detail"]


def test_before_the_first_result_there_is_nothing(world: World, open_ui: OpenUi) -> None:
    world.send(sale())
    world.run(-1)
    client = open_ui(world.connections)

    assert (series(client)["times"], series(client)["series"]) == ([], [])
    assert ask(client, "aggregated_sales/rows")["rows"] == []


@pytest.mark.parametrize(
    ("path", "params", "status", "said"),
    [
        ("nothing/series", {}, 404, "has no table 'nothing' of windows; take one that it has: aggregated_sales"),
        ("aggregated_sales/series", {"measure": "x"}, 400, "take one that it has: amount_usd, sales"),
        (
            "aggregated_sales/series",
            {"key": "ada"},
            400,
            "give a JSON array of texts, one for each of: seller_id (text)",
        ),
        ("aggregated_sales/rows", {"key": '["a", "b"]'}, 400, "one for each of: seller_id (text)"),
        ("aggregated_sales/rows", {"before": "x"}, 400, "before='x' is no place in aggregated_sales; leave it out"),
        ("aggregated_sales/rows", {"before": '["2026-11-21T10:00"]'}, 400, "leave it out to begin anew"),
    ],
)
def test_what_cannot_be_asked_is_answered_with_what_can(
    world: World, open_ui: OpenUi, path: str, params: dict[str, str], status: int, said: str
) -> None:
    world.send(sale())
    world.run(0)

    assert said in ask(open_ui(world.connections), path, status, **params)["detail"]


def test_a_day_of_a_thousand_keys_is_read_by_index(make_world: MakeWorld, open_ui: OpenUi) -> None:
    world = make_world()
    world.run(0)
    windows, keys = 1441, 1000
    fill(world, windows, keys)
    client = open_ui(world.connections)
    before = rows_read(world)

    found = series(client)

    assert (found["windows"], found["is_cut"], found["keys_total"]) == (1440, True, 1000)
    assert [line["key"] for line in found["series"]] == [[f"s{number}"] for number in range(999, 991, -1)]
    assert all(line["values"] == [1000.0 - place] * 1440 for place, line in enumerate(found["series"]))
    shown = 8 * 1440
    scanned, fetched = wait_for_statistics(world, before, shown)
    assert scanned == 0
    # The newest window is read to find its largest keys.
    assert fetched <= shown + keys + 10


def rows_read(world: World) -> tuple[int, int]:
    """Of the table of results: by scans of the whole table, and by index."""
    ((scanned, fetched),) = world.rows(
        "select seq_tup_read, coalesce(idx_tup_fetch, 0) from pg_stat_user_tables where relname = 'aggregated_sales'"
    )
    return scanned, fetched


def wait_for_statistics(world: World, before: tuple[int, int], least: int) -> tuple[int, int]:
    """What was read since then; a session tells it when it ends."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        scanned, fetched = (now - then for now, then in zip(rows_read(world), before, strict=True))
        if scanned + fetched >= least:
            return scanned, fetched
        time.sleep(0.05)
    raise AssertionError("the sessions have told nothing")


# -- rows --------------------------------------------------------------------------------------------------


def pages(client: TestClient, **params: Any) -> list[list[list[Any]]]:
    """The rows of all pages: window, key, amount."""
    found, before = [], None
    for _ in range(20):
        page = ask(client, "aggregated_sales/rows", **params, **({"before": before} if before else {}))
        names = [column["name"] for column in page["columns"]]
        shown = [names.index(name) for name in ("window_start", "seller_id", "amount_usd")]
        found.append([[row[at] for at in shown] for row in page["rows"]])
        before = page["next"]
        if before is None:
            return found
    raise AssertionError("the pages do not end")


def in_table(world: World, where: str = "true") -> list[list[Any]]:
    rows = world.rows(
        'select to_char(window_start, \'YYYY-MM-DD"T"HH24:MI:SS"Z"\'), seller_id, amount_usd::text'
        f" from aggregated_sales where {where} order by window_start desc, seller_id desc"
    )
    return [list(row) for row in rows]


def test_pages_of_rows_are_the_table_newest_first(world: World, open_ui: OpenUi) -> None:
    world.run(0)
    fill(world, 30, 11)
    client = open_ui(world.connections)

    found = pages(client)
    between = pages(client, **{"from": moment(3), "to": moment(5)})

    assert [len(page) for page in found] == [100, 100, 100, 30]
    assert list(itertools.chain(*found)) == in_table(world)
    assert between == [in_table(world, "window_start >= '2026-11-21 10:03Z' and window_start < '2026-11-21 10:05Z'")]


def test_pages_of_a_key_step_from_window_to_window(world: World, open_ui: OpenUi) -> None:
    world.run(0)
    fill(world, 3000, 2)
    with psycopg.connect(world.connections.postgres) as connection:
        # What is left of the key lies in two pages' worth of windows, the older ones far from the newest.
        connection.execute("delete from aggregated_sales where seller_id = 's1' and window_start > '2026-11-21 10:50Z'")

    found = pages(open_ui(world.connections), key='["s1"]')

    assert list(itertools.chain(*found)) == in_table(world, "seller_id = 's1'")
    assert sum(map(len, found)) == 51


def test_rows_show_numbers_without_loss(world: World, open_ui: OpenUi) -> None:
    world.send(sale("ada", 2**62), sale("ada", 2**62))
    world.run(0)

    found = ask(open_ui(world.connections), "aggregated_sales/rows")

    row = dict(zip([column["name"] for column in found["columns"]], found["rows"][0], strict=True))
    assert (row["amount_usd"], row["sales"], row["is_final"], row["revision"]) == (str(2**63), 2, True, 1)
    assert list(row)[:5] == ["window_start", "window_end", "seller_id", "amount_usd", "sales"]
