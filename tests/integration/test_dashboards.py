"""Grafana's dashboards: their files are whole, and each query answers, as Grafana asks it, for the role that reads."""

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import combinations
from pathlib import Path
from typing import Any, Final

import msgspec
import psycopg
import pytest
import yaml
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from dag_files import declared
from fix_pipeline import T0, Message, World, new_database, with_topics_of_its_own
from fix_stack import Stack
from microbatch.errors import TooManyRejectedError
from microbatch.settings import Connections
from microbatch.topics import create_topics
from modes import at, of_interval, work

GRAFANA: Final = Path(__file__).parents[2] / "deploy" / "compose" / "grafana"
DASHBOARDS: Final[dict[str, Any]] = {
    file.stem: json.loads(file.read_text()) for file in sorted((GRAFANA / "dashboards").glob("*.json"))
}
SOURCES: Final = {
    source["uid"]: source
    for file in (GRAFANA / "provisioning" / "datasources").glob("*.yaml")
    for source in yaml.safe_load(file.read_text())["datasources"]
}
PANELS: Final = {
    f"{name}: {panel['title']}": panel
    for name, dashboard in DASHBOARDS.items()
    for panel in dashboard["panels"]
    if panel["type"] != "row"
}
VARIABLES: Final = {
    variable["name"]: variable for dashboard in DASHBOARDS.values() for variable in dashboard["templating"]["list"]
}
WIDTH: Final = 24
"""Of Grafana's grid, in columns."""


# -- the files ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", DASHBOARDS)
def test_a_dashboard_is_shown_as_it_is_in_the_file_and_in_utc(name: str) -> None:
    dashboard = DASHBOARDS[name]

    assert dashboard["uid"].startswith("microbatch-")
    assert (dashboard["editable"], dashboard["timezone"]) == (False, "utc")
    assert dashboard["refresh"] in {"30s", "1m"}
    assert "id" not in dashboard, "Grafana gives the number"
    assert dashboard["title"]
    assert dashboard["description"]


def test_no_two_dashboards_are_the_same_to_grafana() -> None:
    assert len({dashboard["uid"] for dashboard in DASHBOARDS.values()}) == len(DASHBOARDS) == 3
    assert len({dashboard["title"] for dashboard in DASHBOARDS.values()}) == len(DASHBOARDS)


def cells(panel: dict[str, Any]) -> set[tuple[int, int]]:
    """The places of the grid that a panel takes."""
    at = panel["gridPos"]
    return {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}


@pytest.mark.parametrize("name", DASHBOARDS)
def test_panels_have_numbers_and_titles_of_their_own_and_do_not_overlap(name: str) -> None:
    panels = DASHBOARDS[name]["panels"]

    assert len({panel["id"] for panel in panels}) == len({panel["title"] for panel in panels}) == len(panels)
    assert [(one["title"], other["title"]) for one, other in combinations(panels, 2) if cells(one) & cells(other)] == []
    assert [panel["title"] for panel in panels if any(x >= WIDTH for x, _ in cells(panel))] == []


@pytest.mark.parametrize("panel", PANELS.values(), ids=PANELS)
def test_every_panel_says_what_it_shows_and_in_which_unit(panel: dict[str, Any]) -> None:
    assert panel["title"]
    assert panel["description"].endswith(".")
    assert panel["fieldConfig"]["defaults"]["unit"]


def test_every_query_asks_the_warehouse() -> None:
    asked = [each["datasource"] for each in (*PANELS.values(), *VARIABLES.values())]
    asked += [target["datasource"] for panel in PANELS.values() for target in panel["targets"]]

    assert {source["uid"] for source in asked} == {"warehouse"}
    assert {source["type"] for source in asked} == {SOURCES["warehouse"]["type"]}


def test_the_warehouse_is_asked_by_the_role_that_reads(stack: Stack) -> None:
    source, at = SOURCES["warehouse"], conninfo_to_dict(stack.reader_dsn)

    assert (source["user"], source["jsonData"]["database"]) == (at["user"], at["dbname"])
    assert source["secureJsonData"] == {"password": "$READER_DB_PASSWORD"}
    assert source["editable"] is False


def test_dashboards_are_read_from_where_they_are_mounted_and_not_changed_in_grafana() -> None:
    (provider,) = yaml.safe_load((GRAFANA / "provisioning" / "dashboards" / "microbatch.yaml").read_text())["providers"]

    assert provider["options"]["path"] == "/var/lib/grafana/dashboards"
    assert provider["allowUiUpdates"] is False


# -- queries, as Grafana expands them ----------------------------------------------------------------------


class Shown(msgspec.Struct, frozen=True):
    """What a dashboard is opened with: the selected time, the interval of its points, values of variables."""

    since: datetime
    until: datetime
    variables: dict[str, list[str]]
    interval_s: int = 60

    def expand(self, query: str) -> str:
        """The query as it reaches PostgreSQL: variables first, which the browser puts in, then macros."""
        filled = re.sub(r"\$\{(\w+):sqlstring\}", lambda found: self._values(found[1]), query)
        filled = filled.replace("$__interval", f"{self.interval_s}s")
        expanded = re.sub(r"\$(\w+)\(([^)]*)\)", lambda found: self._macro(found[1], found[2]), filled)
        assert "$" not in expanded, f"nothing expands this: {expanded}"
        return expanded

    def _values(self, name: str) -> str:
        return ",".join("'" + value.replace("'", "''") + "'" for value in self.variables[name])

    def _macro(self, name: str, given: str) -> str:
        column, *more = (each.strip() for each in given.split(","))
        if name == "__timeFilter":
            return f"{column} BETWEEN '{_rfc3339(self.since)}' AND '{_rfc3339(self.until)}'"
        assert name == "__timeGroupAlias", f"the expander of this test does not know ${name}"
        assert more == [f"{self.interval_s}s"]
        return f'floor(extract(epoch from {column})/{self.interval_s})*{self.interval_s} AS "time"'


def _rfc3339(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def test_queries_are_expanded_as_grafanas_page_has_it() -> None:
    ten = datetime(2026, 11, 21, 10, tzinfo=UTC)
    shown = Shown(ten, ten + timedelta(hours=1), {"city": ["Rome", "L'Aquila"]})

    query = "select $__timeGroupAlias(dt, $__interval) where $__timeFilter(dt) and city in (${city:sqlstring})"

    assert shown.expand(query) == (
        'select floor(extract(epoch from dt)/60)*60 AS "time"'
        " where dt BETWEEN '2026-11-21T10:00:00Z' AND '2026-11-21T11:00:00Z' and city in ('Rome','L''Aquila')"
    )


# -- pipelines that have something for each panel ----------------------------------------------------------


def message(at_s: float = 0, **event: Any) -> Message:
    """Sent that many seconds after T0."""
    return Message(json.dumps(event).encode(), at_s=T0 + at_s)


def sold(seller: str, amount: int, at_s: int = 0, sent_s: int = 0) -> Message:
    return message(sent_s, seller_id=seller, amount_usd=amount, sale_ts=T0 + at_s)


def login(device_type: str, version: str = "2.3.0") -> Message:
    named: dict[str, Any] = dict.fromkeys(("user_id", "ip", "locale", "device_id"), "x")
    return message(**named, device_type=device_type, app_version=version, timestamp=T0 + 5)


def observed(city: str, temp: float, at_s: int) -> Message:
    main = {"temp": temp, "feels_like": temp - 2, "pressure": 1013, "humidity": 93}
    named = {"id": len(city), "name": city, "dt": T0 + at_s, "main": main}
    return message(at_s, **named, wind={"speed": 4.5}, weather=[{"description": "snow"}])


class Opened(msgspec.Struct, frozen=True):
    """Dashboards over a database, as the role that reads."""

    owner: World
    reader: psycopg.Connection[tuple[Any, ...]]
    shown: Shown

    def ask(self, query: str) -> tuple[list[str], list[tuple[Any, ...]]]:
        """The names of the columns, and the rows."""
        cursor = self.reader.execute(self.shown.expand(query).encode())
        return [column.name for column in cursor.description or ()], cursor.fetchall()

    def panel(self, dashboard: str, title: str) -> list[tuple[Any, ...]]:
        """The rows of a panel."""
        (panel,) = [panel for panel in DASHBOARDS[dashboard]["panels"] if panel["title"] == title]
        return self.ask(panel["targets"][0]["rawSql"])[1]


@pytest.fixture(scope="module")
def opened(stack: Stack) -> Iterator[Opened]:
    """The five pipelines after some runs: results, corrections, rejects, a failed attempt and a gap."""
    with new_database(stack) as dsn:
        connections = Connections({"bootstrap.servers": stack.bootstrap}, dsn, "dashboards")

        def world(file: str) -> World:
            pipeline = with_topics_of_its_own(declared(file), "dashboards", partitions=1)
            create_topics([pipeline], connections)
            return World(pipeline, connections)

        sales, orders, logins, pairs, weather = map(world, ("sales", "orders", "logins", "number_pairs", "weather"))
        sales.send(sold("ada", 3), sold("bob", 5), Message(b"junk"), sold("ada", 4, 60))
        sales.run(minute=1)
        sales.send(sold("ada", 10, sent_s=150), sold("ada", 1, 180, 180))
        sales.run(minute=3)
        orders.send(message(order_id="1", country="DE", amount="7.05", ordered_at=at(5).isoformat()))
        orders.run(minute=0)
        orders.send(*[Message(b"junk", at_s=T0 + 60)] * 100)
        with pytest.raises(TooManyRejectedError):
            orders.run(minute=1)
        logins.send(login("android"), login("iOS"), login("iOS"), login("web"), login("iOS", "1.0"))
        logins.run(minute=0)
        pairs.send(message(number=1), message(120, number=5), message(121, number=7))
        work(pairs, of_interval(120, 180))
        weather.send(observed("Oslo", -3.5, 0), observed("Rome", 11.25, 30), observed("Oslo", -1.5, 90))
        weather.run(minute=2)

        reads = make_conninfo(stack.reader_dsn, dbname=conninfo_to_dict(dsn)["dbname"])
        with psycopg.connect(reads, autocommit=True, options="-c timezone=UTC") as reader:
            values = {
                "deployment": ["dashboards"],
                "pipeline": ["logins", "number_pairs", "orders", "sales", "weather"],
                "city": ["Oslo", "Rome"],
            }
            # All windows, and all batches, which have the time of this run.
            now = datetime.now(UTC)
            shown = Shown(min(at(0), now) - timedelta(hours=1), max(at(0), now) + timedelta(hours=1), values)
            yield Opened(sales, reader, shown)


@pytest.mark.parametrize("name", VARIABLES)
def test_a_variable_has_the_values_that_there_are(opened: Opened, name: str) -> None:
    columns, rows = opened.ask(VARIABLES[name]["query"])

    assert len(columns) == 1
    assert [value for (value,) in rows] == opened.shown.variables[name]


NUMBERS: Final = (int, float, Decimal)
POINTS: Final = {name: panel for name, panel in PANELS.items() if panel["type"] == "timeseries"}
OTHERS: Final = {name: panel for name, panel in PANELS.items() if panel["type"] != "timeseries"}


@pytest.mark.parametrize("panel", POINTS.values(), ids=POINTS)
def test_a_series_has_its_points_in_order_each_with_a_name_and_a_number(opened: Opened, panel: dict[str, Any]) -> None:
    (target,) = panel["targets"]
    columns, rows = opened.ask(target["rawSql"])

    assert target["format"] == "time_series"
    assert columns[:2] == ["time", "metric"]
    assert len(columns) == 3
    assert rows
    assert {type(metric) for _, metric, _ in rows} == {str}
    assert all(isinstance(value, NUMBERS) for _, _, value in rows)
    assert rows == sorted(rows, key=lambda row: row[0])
    assert len({row[:2] for row in rows}) == len(rows)


@pytest.mark.parametrize("panel", OTHERS.values(), ids=OTHERS)
def test_a_table_or_number_has_something_to_show(opened: Opened, panel: dict[str, Any]) -> None:
    (target,) = panel["targets"]
    columns, rows = opened.ask(target["rawSql"])

    assert target["format"] == "table"
    assert rows
    assert len(set(columns)) == len(columns)
    fitted = {override["matcher"]["options"] for override in panel["fieldConfig"]["overrides"]}
    assert fitted <= set(columns), "an override of a column that there is not"
    if panel["type"] == "stat":
        assert all(isinstance(row[-1], NUMBERS) for row in rows)
        assert sum(row[-1] for row in rows)


# -- their numbers -----------------------------------------------------------------------------------------


def summed(rows: list[tuple[Any, ...]]) -> dict[str, Any]:
    """The sum of each series."""
    names = sorted({name for _, name, *_ in rows})
    return {name: sum(value for _, each, value in rows if each == name) for name in names}


def test_messages_and_rejects_are_those_of_the_ledger(opened: Opened) -> None:
    read = {"logins": 5, "number_pairs": 2, "orders": 1, "sales": 6, "weather": 3}
    reasons = dict(opened.owner.rows("select reason, count(*) from microbatch.reject group by 1"))

    assert summed(opened.panel("microbatch", "Messages by pipeline")) == read
    assert opened.panel("microbatch", "Messages read") == [(17,)]
    assert opened.panel("microbatch", "Share of rejected messages") == [(pytest.approx(3 / 17),)]
    assert summed(opened.panel("microbatch", "Rejected messages by reason")) == reasons
    assert {"unsupported device type", "app version is too old"} < reasons.keys()
    assert len(opened.panel("microbatch", "Newest rejects")) == 3


def test_what_is_not_as_it_should_be_is_told(opened: Opened) -> None:
    pipelines = {row[0]: row for row in opened.panel("microbatch", "Pipelines")}

    assert [name for name, row in pipelines.items() if row[-2]] == ["orders"]
    assert pipelines["orders"][-1].startswith("TooManyRejectedError: ")
    assert [row[1] for row in opened.panel("microbatch", "Newest failed attempts")] == ["orders"]
    assert [(row[0], row[2:]) for row in opened.panel("microbatch", "Gaps")] == [("number_pairs", (0, 0, 1, 1))]
    lag = {(row[0], row[2]): row[5] for row in opened.panel("microbatch", "Lag by partition")}
    assert {partition: offsets for partition, offsets in lag.items() if offsets} == {("number_pairs", 0): 3}
    assert summed(opened.panel("microbatch", "Late messages by result table")) == {"public.aggregated_sales": 1}
    assert summed(opened.panel("microbatch", "How late messages come")) == {"public.aggregated_sales": 90}


def test_results_are_those_of_the_tables(opened: Opened) -> None:
    amounts = opened.owner.rows("select seller_id, sum(amount_usd) from aggregated_sales group by 1")

    assert summed(opened.panel("results", "Sales by seller")) == dict(amounts) == {"ada": 18, "bob": 5}
    assert opened.panel("results", "Sales") == [(23,)]
    assert summed(opened.panel("results", "Orders by country")) == {"DE": Decimal("7.05")}
    assert summed(opened.panel("results", "Logins by device type")) == {"android": 1, "iOS": 2}
    assert summed(opened.panel("results", "Number pairs by their numbers")) == {"5 + 7": 1}


def test_a_correction_is_shown_with_what_held_before(opened: Opened) -> None:
    ((published, *correction),) = opened.panel("results", "Newest corrections of sales")

    assert summed(opened.panel("results", "Corrections by table")) == {"aggregated_sales": 1}
    assert correction == [at(0), "ada", 3, 13, 10, 2]
    assert opened.owner.rows("select valid_from from aggregated_sales_history where revision = 2") == [(published,)]


def test_the_board_of_cities_has_the_newest_observation_and_the_hour(opened: Opened) -> None:
    assert opened.panel("weather", "Temperature now") == [("Oslo", -1.5), ("Rome", 11.25)]
    assert [row[:3] for row in opened.panel("weather", "Newest observations")] == [
        ("Oslo", at(90), "snow"),
        ("Rome", at(30), "snow"),
    ]
    hour = {name: value for _, name, value in opened.panel("weather", "Temperature by the hour")}
    assert [hour[f"Oslo {of}"] for of in ("mean", "lowest", "highest")] == [-2.5, -3.5, -1.5]
    assert opened.panel("weather", "Hours")[0][:6] == (at(0), "Oslo", Decimal("-2.50"), -3.5, -1.5, 2)


def test_what_is_not_selected_is_not_shown(opened: Opened) -> None:
    of_sales = msgspec.structs.replace(opened.shown, variables={**opened.shown.variables, "pipeline": ["sales"]})
    earlier = msgspec.structs.replace(opened.shown, until=opened.shown.since)

    def read(shown: Shown) -> list[tuple[Any, ...]]:
        return msgspec.structs.replace(opened, shown=shown).panel("microbatch", "Messages read")

    assert (read(of_sales), read(earlier)) == ([(6,)], [(0,)])
