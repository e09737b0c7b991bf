"""The README's "Your own pipeline in five minutes": its commands, run one after the other as they stand there."""

import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from fix_stack import Stack

Shell = Callable[[str], subprocess.CompletedProcess[str]]

ROOT = Path(__file__).parents[2]
SECTION = "## Your own pipeline in five minutes\n"


def scripts() -> list[str]:
    """The blocks of commands of the section."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    section = text.partition(SECTION)[2].partition("\n## ")[0]
    return re.findall(r"^```sh\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)


@pytest.fixture
def shell(tmp_path: Path, stack: Stack, warehouse: str) -> Shell:
    """Runs a script in an empty folder, on servers that know nothing of it; gives what it did."""
    (tmp_path / ".venv").symlink_to(ROOT / ".venv")
    environment = {
        **os.environ,
        "KAFKA_BOOTSTRAP_SERVERS": stack.bootstrap,
        "POSTGRES_OWNER_DSN": warehouse,
        "POSTGRES_DSN": warehouse,
        "MICROBATCH_DEPLOYMENT": tmp_path.name,
        "EDITOR": "true",
    }

    def run(script: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["/bin/bash", "-euc", script],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )

    return run


def output(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 0, f"{done.args}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def test_the_readmes_commands_lead_from_nothing_to_rows(shell: Shell) -> None:
    # What goes on until Ctrl-C is looked at once.
    once = [re.sub(r"(microbatch watch \w+)", r"\1 --once", script) for script in scripts()]

    new, sent, run = [output(shell(script)) for script in once]

    assert "dags/payments.py\ntests/pipelines/test_payments.py\n" in new
    assert "2 passed" in new
    assert sent == "3 messages sent to payments\n"
    assert "3 messages in 1 batch, 1 rejected; caught up" in run
    assert re.search(r"2026-01-01 10:00:00\+00 .* a +│ 7 +│ 2 +│ True +│ 1", run), run
    assert '"total":7,"events":2,"is_final":true,"revision":1}' in run
    assert '{"key": "a", "amount": "many"}' in run
    assert "payments_per_minute, the newest rows" in run


NEW = """
.venv/bin/microbatch new {name}
.venv/bin/microbatch send {name} <<< '{{"key": "a", "amount": 3, "at": "2026-01-01T10:00:00Z"}}'
.venv/bin/microbatch run {name}
"""


def test_a_run_has_the_modes_of_airflows_form(shell: Shell) -> None:
    output(shell(NEW.format(name="modes")))
    run, interval = ".venv/bin/microbatch run modes", '--from 2026-01-01T00:00Z --to "$(date -u +%FT%TZ)"'

    again = output(shell(f"{run} --mode interval {interval}"))
    redone = output(shell(f"{run} --mode reprocess --max-records 10 {interval}"))
    refused = shell(f"{run} --mode interval --from yesterday --to 2026-01-01")

    assert again.startswith("shard 0: all of the interval was read before, by batch 1;")
    assert redone.startswith("shard 0: ")
    assert output(shell(".venv/bin/microbatch sql 'select attempt from microbatch.batch'")).count("│ 2") == 1
    assert refused.returncode == 1
    assert refused.stderr.startswith("microbatch: from of the run is 'yesterday'; that is no time of ISO 8601: give ")
    assert refused.stderr.count("\n") == 1


def test_a_pipeline_goes_on_under_another_name(shell: Shell) -> None:
    output(shell(NEW.format(name="before")))

    done = output(
        shell("""
            sed -i 's/name="before"/name="after"/' dags/before.py
            .venv/bin/microbatch rename before after
            .venv/bin/microbatch run after
            .venv/bin/microbatch lag
        """)
    )
    refused = shell(".venv/bin/microbatch rename before elsewhere")

    assert done.startswith("before is after now")
    assert "shard 0: 0 messages in 0 batches, 0 rejected; caught up" in done
    assert "│ after" in done
    assert refused.returncode == 1
    assert refused.stderr == "microbatch: no pipeline 'elsewhere' in dags; declared there: after\n"
