"""Scale: what grows with the input, and what must not grow with the past.

`python -m benchmarks.scale [PART ...]` runs the named parts, or all, each on a stack of its own:

    ledger      claim and merge with two years of minutes in the ledger, beside an empty one
    results     the same, with as many results in the tables as the disk allows
    shards      1, 2 and 4 shards
    partitions  4 to 64 partitions
    keys        4 to 1,000,000 keys in a window
    windows     1 to 1,000 windows touched by one batch
"""

import argparse
from collections.abc import Callable
from typing import Final

from benchmarks import scale_input, scale_ledger
from benchmarks.own_stack import OwnStack, own_stack
from benchmarks.reporting import Report, save, show
from rich.console import Console

PARTS: Final[dict[str, Callable[[OwnStack, Console], list[Report]]]] = {
    "ledger": scale_ledger.ledger,
    "results": scale_ledger.results,
    "shards": scale_input.shards,
    "partitions": scale_input.partitions,
    "keys": scale_input.keys,
    "windows": scale_ledger.windows,
}


def main() -> None:
    """Run the parts that are asked for."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.scale", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("parts", nargs="*", metavar="PART", choices=[[], *PARTS], default=[])
    asked = parser.parse_args().parts or list(PARTS)
    console = Console()
    for part in asked:
        with own_stack(console) as stack:
            for report in PARTS[part](stack, console):
                show(report, console)
                save(report)


if __name__ == "__main__":
    main()
