"""`python -m faults.headline`: the headline run on a stack of its own. Exit status 0 only if nothing is wrong."""

import argparse
import json
import multiprocessing
import os
import random
import signal
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from faults.headline import report, story
from faults.headline.pipelines import NAMES
from fix_child import wait_for
from fix_stack import Stack
from local import demo
from local import stack as local_stack
from local.airflow_api import AirflowApi
from microbatch.settings import Connections
from own_stack import own_stack

if TYPE_CHECKING:
    from collections.abc import Callable

    from local.stack import Running


def main() -> int:
    """Run it and print what came of it; returns the exit status."""
    options = _parser().parse_args()
    console = Console(highlight=False)
    order = story.Order(options.seed, options.kills, options.messages, airflow=True, deadline_s=options.minutes * 60)
    console.print(f"seed {order.seed}: {order.blows} signals, {order.messages:,} messages")
    _preload()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # whoever ends it lets it clean up
    try:
        ending = _run(order, lambda line: console.print(line, soft_wrap=True, markup=False))
    except BaseException:
        console.print(_again(order))
        raise
    report.show(ending, console)
    if options.json:
        options.json.write_text(json.dumps(report.as_json(ending), indent=1), encoding="utf-8")
    if not ending.is_good:
        console.print(_again(order))
    return 0 if ending.is_good else 1


def _run(order: story.Order, say: "Callable[[str], None]") -> story.Ending:
    with tempfile.TemporaryDirectory(prefix="microbatch-headline-") as folder, own_stack(TMPDIR=folder) as home:
        say("starting Kafka, PostgreSQL and Airflow")
        running = local_stack.up(home, lambda _line: None)
        local_stack.declare(running)
        _let_pipelines_run(running)
        ports = running.ports
        stack = Stack(home, ports.kafka, ports.controller, ports.postgres)
        connections = Connections({"bootstrap.servers": stack.bootstrap}, stack.owner_dsn, "default")
        return story.tell(order, stack, connections, Path(folder), say)


def _let_pipelines_run(running: "Running") -> None:
    """Not the producers: this run has its own."""
    api = AirflowApi(running.ports.airflow, running.credentials.airflow_admin)
    wait_for("Airflow has read the DAG files", lambda: {dag.dag_id for dag in api.dags(demo.TAG)} >= set(NAMES))
    for name in NAMES:
        api.unpause(name)


def _preload() -> None:
    """Let all children be forked from a process that has imported everything."""
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, sys.path))
    multiprocessing.get_context("forkserver").set_forkserver_preload(["faults.headline.preload"])


def _again(order: story.Order) -> str:
    return f"repeat it with: make faults SEED={order.seed}"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m faults.headline", description=__doc__)
    add = parser.add_argument
    add("--seed", type=int, default=random.SystemRandom().randrange(1_000_000))
    add("--kills", type=int, default=200, metavar="N", help="signals, SIGKILL and SIGSTOP")
    add("--messages", type=int, default=100_000, metavar="N")
    add("--minutes", type=float, default=45, help="after which it has failed")
    add("--json", type=Path, metavar="FILE", help="keep the outcome here")
    return parser


if __name__ == "__main__":
    sys.exit(main())
