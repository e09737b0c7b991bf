"""`python -m model` in the folder tests: looks at every state of every scenario. `--help` says what else it can do."""

from __future__ import annotations

import argparse
import time

from model.scenarios import SCENARIOS
from model.search import Found, search, shortest, walk
from model.state import PROTECTIONS, Rules

TOGETHER = [("exclusion", "shard_lock"), ("shard_lock", "redo_row")]


def tell(found: Found) -> None:
    print(f'  VIOLATION in "{found.scenario}" after {found.depth} steps: {found.problem}')
    for number, text in enumerate(found.trace, 1):
        print(f"    {number:3}. {text}")


def check(names: list[str], without: Rules, max_states: int) -> bool:
    """Search each scenario; print what was found. True if nothing was."""
    good, total, began = True, 0, time.monotonic()
    for name in names:
        start = time.monotonic()
        found, states, whole = search(name, without, max_states)
        total += states
        how = "all states" if whole else "stopped"
        print(f"  {name:18} {states:8} states ({how}), {time.monotonic() - start:.1f} s", flush=True)
        if found:
            tell(found)
            good = False
    print(f"  {total} states, {time.monotonic() - began:.1f} s: {'no violation' if good else 'VIOLATIONS'}")
    return good


def mutations(names: list[str], max_states: int) -> None:
    """Take protections away: one at a time, and those that stand in for each other."""
    alone = [frozenset({name}) for name in PROTECTIONS]
    print("| without | shortest violation | scenario | steps |\n| --- | --- | --- | --- |")
    for without in alone + [frozenset(names) for names in TOGETHER]:
        found, states = shortest(names, without, max_states)
        text = f"{found.problem} | {found.scenario} | {found.depth}" if found else f"none in {states} states | |"
        print(f"| {' + '.join(sorted(without))} | {text} |", flush=True)


def main() -> int:
    listing = "\n".join(f"  {name:18} {text}" for name, text in PROTECTIONS.items())
    parser = argparse.ArgumentParser(
        description="Check the exactly-once protocol of design.md.",
        epilog=f"names:\n{listing}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--without", nargs="+", default=[], choices=sorted(PROTECTIONS), metavar="NAME", help="take protections away"
    )
    parser.add_argument(
        "--trace",
        nargs="+",
        choices=sorted(PROTECTIONS),
        metavar="NAME",
        help="the shortest counterexample without these, step by step",
    )
    parser.add_argument("--mutations", action="store_true", help="take each protection away in turn, print a table")
    parser.add_argument(
        "--scenario",
        nargs="+",
        choices=sorted(SCENARIOS),
        default=list(SCENARIOS),
        metavar="NAME",
        help=f"some of: {'; '.join(SCENARIOS)}",
    )
    parser.add_argument("--walks", type=int, default=0, help="random walks through a larger scenario instead")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--max-states", type=int, default=1_000_000, help="for each scenario")
    args = parser.parse_args()
    without = frozenset(args.without)
    if args.mutations:
        mutations(args.scenario, args.max_states)
    elif args.trace:
        found, states = shortest(args.scenario, frozenset(args.trace), args.max_states)
        tell(found) if found else print(f"no violation in {states} states")
    elif args.walks:
        found = walk(without, args.walks, args.seed)
        if found:
            tell(found)
        print(f"{args.walks} walks from seed {args.seed}: {'a violation' if found else 'no violation'}")
        return 1 if found else 0
    else:
        return 0 if check(args.scenario, without, args.max_states) else 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
