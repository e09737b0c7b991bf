"""One task of microbatch, consume or publish, as a process: what all its contestants have in common."""

import json
import os
import sys
from collections.abc import Callable

from microbatch import Pipeline
from microbatch.consume import consume
from microbatch.publish import publish
from microbatch.runs import Run
from microbatch.settings import connections


def work(pipeline: Callable[[str], Pipeline]) -> None:
    """Do the task that the argument names, of the pipeline of the topic `BENCH_TOPIC`; print what was done."""
    made, run, there = pipeline(os.environ["BENCH_TOPIC"]), Run("bench", "bench"), connections()
    done = consume(made, 0, run, there) if sys.argv[1] == "consume" else publish(made, run, there)
    print(json.dumps(done.describe()))
