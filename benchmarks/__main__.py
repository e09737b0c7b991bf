"""`make bench`: all benchmarks that need no running stack, one after another, each on servers of its own.

Those of the live stack are `python -m benchmarks.live`. One that fails does not keep the others from running.
"""

import subprocess
import sys
import time
from typing import Final

from rich.console import Console

BENCHMARKS: Final = ("throughput", "steps", "streams", "scale", "catchup", "pages", "sizes", "many")


def main() -> None:
    """Run them; the exit status says whether all could be measured."""
    console, failed = Console(), []
    for at, name in enumerate(BENCHMARKS, 1):
        console.rule(f"{at} of {len(BENCHMARKS)}: {name}")
        started_s = time.monotonic()
        done = subprocess.run([sys.executable, "-m", f"benchmarks.{name}"], check=False)
        console.print(f"{name}: {(time.monotonic() - started_s) / 60:.1f} minutes")
        if done.returncode:
            failed.append(name)
    if failed:
        raise SystemExit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
