"""A task of the scale benchmark, as a process of its own: consume or publish.

`python -m benchmarks.scale_work TASK NAME PARTITIONS SHARDS` prints how many messages it has read or sent. With
several shards, `consume` is a process for each.
"""

import json
import subprocess
import sys

import msgspec
from benchmarks.past import sales_pipeline

from microbatch.consume import consume
from microbatch.publish import publish
from microbatch.runs import Run
from microbatch.settings import connections

RUN = Run("scale", "scale")


def main(task: str, name: str, partitions: int, shards: int, shard: int | None = None) -> int:
    """Do it; returns the number of messages."""
    if task == "consume" and shard is None and shards > 1:
        return _all_shards(name, partitions, shards)
    pipeline = sales_pipeline(f"sales-{name}", partitions, results=f"results-{name}")
    pipeline = msgspec.structs.replace(pipeline, shards=shards)
    if task == "consume":
        return consume(pipeline, shard or 0, RUN, connections()).messages
    return publish(pipeline, RUN, connections()).sent


def _all_shards(name: str, partitions: int, shards: int) -> int:
    command = [sys.executable, "-m", __spec__.name, "consume", name, str(partitions), str(shards)]
    running = [subprocess.Popen([*command, str(shard)], stdout=subprocess.PIPE, text=True) for shard in range(shards)]
    return sum(json.loads(_last_line(process)) for process in running)


def _last_line(process: "subprocess.Popen[str]") -> str:
    output, _ = process.communicate()
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, process.args, output)
    return output.strip().splitlines()[-1]


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], sys.argv[2], *map(int, sys.argv[3:]))))
