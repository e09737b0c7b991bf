"""The model of size: what follows from what, that its figures are the measured ones, and that the page has them."""

import re
import shlex
import subprocess
import sys
from typing import Any, Final

import msgspec
import pytest
from benchmarks.model import (
    A_MILLION,
    A_MILLION_KEYS,
    TABLES,
    TEN_THOUSAND,
    Load,
    Rows,
    costs,
    limits,
    markdown,
    rows,
    size,
)

from local.home import REPOSITORY
from shell_pages import blocks_of

PAGE: Final = (REPOSITORY / "docs" / "scaling.md").read_text(encoding="utf-8")
PERFORMANCE: Final = (REPOSITORY / "docs" / "performance.md").read_text(encoding="utf-8")


def other(load: Load, **changes: Any) -> Load:
    return msgspec.structs.replace(load, **changes)


# -- what a run leaves -------------------------------------------------------------------------------------


def test_a_small_run_of_windows_leaves_a_batch_and_a_result_for_each_key() -> None:
    load = Load(messages_per_second=100, keys=10, corrected=0.2, partitions=4)

    assert rows(load) == Rows(
        batches=1,
        ranges=4,
        runs=1,
        merges=1,
        contributions=22,  # of the minute, of the second after it, and the corrections
        results=10,
        revisions=12,
        sent=12,
        transactions=1,
    )


def test_batches_are_bounded_and_each_contributes_to_each_key() -> None:
    load = Load(messages_per_second=100_000, keys=1_000, corrected=0, partitions=8, shards=2)

    found = rows(load)

    assert (found.batches, found.ranges, found.runs) == (6, 24, 2)
    assert found.contributions == 1_000 * (2 + 6)
    assert rows(other(load, max_records=3_000_000)).batches == 2


def test_an_hour_that_is_read_every_minute_gives_a_sixtieth_of_its_results_a_run() -> None:
    found = rows(Load(keys=60, window_s=3_600, corrected=0))

    assert (found.results, found.contributions) == (1, 61)


@pytest.mark.parametrize(("kind", "results"), [("stream", 600_000), ("pairs", 300_000)])
def test_rows_and_pairs_are_sent_in_lots(kind: Any, results: int) -> None:
    found = rows(Load(messages_per_second=10_000, kind=kind))

    assert (found.results, found.sent, found.contributions, found.revisions) == (results, results, 0, 0)
    assert found.transactions == results / 50_000


def test_more_pipelines_share_the_messages_and_pay_for_their_runs() -> None:
    one, hundred = size(Load()), size(Load(pipelines=100))

    each = costs("windows")
    computed = 99 * 101 * (2 * each.contribution_us + each.result_us) / 1e6
    assert hundred.cpu_s - one.cpu_s == pytest.approx(99 * each.run_us / 1e6 + computed, rel=0.01)
    assert (one.tasks_per_minute, hundred.tasks_per_minute) == (2, 200)


def test_twice_the_shards_halve_what_consume_takes_and_cost_a_task_each() -> None:
    load = Load(messages_per_second=500_000, keys=0)
    one, two = size(load), size(other(load, shards=2))

    each = costs("windows")
    assert two.consume_s - each.task_s == pytest.approx((one.consume_s - each.task_s) / 2)
    assert two.cpu_s - one.cpu_s == pytest.approx(each.task_us / 1e6)


def test_a_tenth_of_the_runs_is_a_tenth_of_what_runs_cost() -> None:
    idle = costs("windows").stack_us / 1e6

    often, seldom = size(TEN_THOUSAND).cpu_s - idle, size(other(TEN_THOUSAND, every_s=600)).cpu_s - idle

    assert often / seldom == pytest.approx(10, rel=0.01)


# -- what breaks first, as the page says -------------------------------------------------------------------


def used(load: Load) -> dict[str, float]:
    return {limit.name: limit.used for limit in limits(load)}


def test_a_million_messages_a_second_take_a_core_and_more_than_a_network_of_1_gbit() -> None:
    assert size(A_MILLION).cpu_s == pytest.approx(60, rel=0.1)
    assert [name for name, part in used(A_MILLION).items() if part > 1] == ["a network of 1 Gbit/s"]


def test_with_many_keys_a_million_a_second_needs_larger_batches() -> None:
    assert used(A_MILLION_KEYS)["one core of PostgreSQL"] > 1
    assert used(A_MILLION_KEYS)["time between two runs"] > 1
    assert used(other(A_MILLION_KEYS, max_records=20_000_000))["time between two runs"] < 1


def test_ten_thousand_pipelines_are_too_many_for_one_scheduler_and_one_broker() -> None:
    found = used(TEN_THOUSAND)

    assert found["one scheduler"] > 10
    assert found["4,000 partitions a broker"] > 10
    assert found["one core of PostgreSQL"] < 0.1
    assert used(other(TEN_THOUSAND, every_s=3_600, partitions=1))["one scheduler"] < 1


# -- the figures -------------------------------------------------------------------------------------------


def figure(begins: str, column: int) -> float:
    """A cell of the first line of performance.md's tables that begins so."""
    found = re.search(rf"^\| {re.escape(begins)} \|.*$", PERFORMANCE, re.MULTILINE)
    assert found, begins
    return float(found[0].strip("| ").split(" | ")[column].replace(",", ""))


def test_what_a_message_costs_is_what_the_page_of_performance_says() -> None:
    windows, stream, pairs = costs("windows"), costs("stream"), costs("pairs")
    wall = sum(figure(f"sales | {step}", 5) for step in ("claim", "read", "decode", "compute", "store"))

    assert windows.message_us == pytest.approx(figure("microbatch | 10,000,000 | 10.5", 9), abs=0.005)
    assert stream.message_us == pytest.approx(
        (figure("microbatch | 10,000,000 | 197", 3) - figure("microbatch | 2,000,000 | 42.7", 3)) / 8, abs=0.2
    )
    assert pairs.message_us == pytest.approx(figure("pairs | all", 6) + figure("pairs | all", 7), abs=0.02)
    assert windows.message_consume_us == pytest.approx(wall, abs=0.03)
    assert stream.message_publish_us == pytest.approx(figure("logins | send", 5), abs=0.01)
    assert pairs.message_publish_us == pytest.approx(figure("pairs | send", 5), abs=0.01)


def test_what_a_result_costs_is_what_the_page_of_performance_says() -> None:
    each = costs("windows")

    assert each.contribution_us == pytest.approx(figure("1,000,000", 2) - figure("4", 2), abs=0.1)
    assert each.contribution_consume_us == pytest.approx(figure("1,000,000", 1) - figure("4", 1), abs=0.1)
    assert each.result_us == pytest.approx(figure("1,000,000", 5) - figure("4", 5), abs=0.1)
    assert each.result_publish_us == pytest.approx(figure("1,000,000", 4) - figure("4", 4), abs=0.1)


def test_a_task_takes_half_of_what_the_live_stack_takes_beyond_the_grace() -> None:
    assert costs("windows").task_s == pytest.approx(figure("the last of all | its topics", 4) / 2, abs=0.01)


# -- the page ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("report", [make() for make in TABLES], ids=lambda report: report.name)
def test_the_page_has_the_tables_of_the_model_and_of_its_measurements(report: Any) -> None:
    assert markdown(report) in PAGE, f"put this in its place:\n\n{markdown(report)}"


@pytest.mark.parametrize(
    "said",
    [
        f"{costs('windows').run_us / 1e6:.2f} CPU seconds a run",
        f"with {costs('windows').task_us / 1e6:.2f} CPU seconds a run",
        f"{size(TEN_THOUSAND).cpu_s:,.0f}"[:-2] + "00 CPU seconds a minute",
        f"{size(Load(messages_per_second=10_000, keys=40_000)).cpu_s:.0f} CPU seconds a minute",
        f"each result costs {costs('windows').result_us + costs('windows').contribution_us:.0f} µs",
    ],
)
def test_figures_in_the_text_are_those_of_the_model(said: str) -> None:
    assert said in " ".join(PAGE.split())


def test_the_command_of_the_page_shows_what_a_load_takes() -> None:
    (command,) = blocks_of(PAGE, "sh")
    program, *arguments = shlex.split(command)
    assert program == ".venv/bin/python"

    done = subprocess.run([sys.executable, *arguments], cwd=REPOSITORY, capture_output=True, text=True, check=True)

    assert "results per second" in done.stdout
    assert "one scheduler" in done.stdout
