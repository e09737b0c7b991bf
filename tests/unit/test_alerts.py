"""Prometheus in the containers: its configuration, and its alerts, which promtool evaluates over made-up series."""

import re
import subprocess
from pathlib import Path
from typing import Any, Final, get_args

import pytest
import yaml

from microbatch.metrics import PULLED
from microbatch.states import State
from shell_pages import blocks_of

PROMETHEUS: Final = Path(__file__).parents[2] / "deploy" / "compose" / "prometheus"
ALERTS: Final = (PROMETHEUS / "alerts.yaml").read_text(encoding="utf-8")
PAGE: Final = Path(__file__).parents[2] / "docs" / "metrics.md"
CASES: Final = Path(__file__).parent / "alerts_test.yaml"


def rules() -> list[dict[str, Any]]:
    (group,) = yaml.safe_load(ALERTS)["groups"]
    found: list[dict[str, Any]] = group["rules"]
    return found


def promtool(*arguments: str | Path) -> None:
    """Prometheus's own check has nothing to complain about."""
    command = ["promtool", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def of_the_page() -> str:
    """What docs/metrics.md gives to copy."""
    (block,) = blocks_of(PAGE.read_text(encoding="utf-8"), "yaml")
    return block


@pytest.mark.parametrize("config", [(PROMETHEUS / "prometheus.yml").read_text(), of_the_page()], ids=["ours", "page"])
def test_prometheus_reads_its_configuration_and_the_rules(config: str, tmp_path: Path) -> None:
    token = tmp_path / "airflow.token"
    token.touch()
    (tmp_path / "alerts.yaml").write_text(ALERTS)
    here, replaced = re.subn(r"(?<=credentials_file: )\S+", str(token), config)
    (tmp_path / "prometheus.yml").write_text(here)

    assert replaced == 1
    promtool("check", "config", "--lint=all", "--lint-fatal", tmp_path / "prometheus.yml")


def test_every_alert_fires_when_it_should_and_only_then() -> None:
    promtool("test", "rules", CASES)


def test_every_alert_is_tried_both_ways() -> None:
    tried = {
        (case["alertname"], bool(case["exp_alerts"]))
        for group in yaml.safe_load(CASES.read_text(encoding="utf-8"))["tests"]
        for case in group["alert_rule_test"]
    }

    assert tried == {(rule["alert"], fires) for rule in rules() for fires in (True, False)}


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule["alert"])
def test_an_alert_asks_for_metrics_that_there_are(rule: dict[str, Any]) -> None:
    known = {metric.name: metric for metric in PULLED}
    asked = re.findall(r"microbatch_\w+", rule["expr"])

    assert asked
    assert set(asked) <= known.keys()
    assert set(re.findall(r"\$labels\.(\w+)", f"{rule['annotations']}")) <= set(known[asked[0]].labels)
    assert rule["labels"]["severity"] in {"critical", "warning"}


def test_states_in_alerts_are_states_of_pipelines() -> None:
    states = re.findall(r'state="(\w+)"', ALERTS)

    assert states
    assert set(states) <= set(get_args(State))
